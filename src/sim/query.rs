use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The query of a request for events.
pub(super) struct Query {
    /// The path of the stream.
    pub(super) path: Option<String>,
    filter: Vec<Comparison>,
    is_by_generation: bool,
    pub(super) is_descending: bool,
    pub(super) start: usize,
    pub(super) limit: usize,
}

/// A comparison of a date with a number of milliseconds since the Unix epoch.
struct Comparison {
    is_of_generation: bool,
    operator: &'static str,
    value: i64,
}

/// The longer ones first.
const OPERATORS: [&str; 6] = [">=", "<=", "!=", "==", ">", "<"];

impl Query {
    /// Reads what follows the question mark of a URL.
    ///
    /// # Errors
    /// Fails with what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut query = Self {
            path: None,
            filter: Vec::new(),
            is_by_generation: false,
            is_descending: true,
            start: 0,
            limit: 20,
        };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).ok_or("the query is not UTF-8")?;
            match name {
                "path" => query.path = Some(value.into_owned()),
                "filter" => query.filter = filter(&value)?,
                "sort" => query.is_by_generation = is_generation(&value)?,
                "order" => {
                    query.is_descending = match &*value {
                        "asc" => false,
                        "desc" => true,
                        _ => return Err("order is asc or desc"),
                    }
                }
                "start" => query.start = value.parse().map_err(|_| "start is a number")?,
                "limit" => query.limit = value.parse().map_err(|_| "limit is a number")?,
                _ => {}
            }
        }
        Ok(query)
    }

    /// Returns whether an event of these dates is asked for.
    pub(super) fn admits(&self, created: i64, generated: i64) -> bool {
        self.filter.iter().all(|comparison| {
            let date = if comparison.is_of_generation {
                generated
            } else {
                created
            };
            match comparison.operator {
                ">=" => date >= comparison.value,
                "<=" => date <= comparison.value,
                "!=" => date != comparison.value,
                "==" => date == comparison.value,
                ">" => date > comparison.value,
                _ => date < comparison.value,
            }
        })
    }

    /// Returns the date to sort by.
    pub(super) fn key(&self, created: i64, generated: i64) -> i64 {
        if self.is_by_generation {
            generated
        } else {
            created
        }
    }
}

fn filter(text: &str) -> Result<Vec<Comparison>, &'static str> {
    let comparison = |part: &str| {
        let found = OPERATORS.iter().filter_map(|operator| {
            let at = part.find(operator)?;
            Some((at, *operator))
        });
        // The first, and at one place the longest.
        let (at, operator) = found.min_by_key(|(at, _)| *at)?;
        let name = part[..at].trim();
        let value = part[at + operator.len()..].trim();
        Some(Comparison {
            is_of_generation: is_generation(name).ok()?,
            operator,
            value: value.parse().ok()?,
        })
    };
    let parts = text.split("&&").map(comparison);
    parts
        .collect::<Option<_>>()
        .ok_or("the filter cannot be read")
}

fn is_generation(name: &str) -> Result<bool, &'static str> {
    match name {
        "creationDate" => Ok(false),
        "generatedDate" => Ok(true),
        _ => Err("the stand-in sorts and filters by creationDate and generatedDate"),
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_compares_dates_with_milliseconds() {
        let text = "filter=creationDate%3E%3D5%26%26generatedDate<9&sort=creationDate&order=asc&limit=7&start=2";
        let query = Query::parse(text).unwrap();
        assert!(query.admits(5, 8) && !query.admits(4, 8) && !query.admits(5, 9));
        assert_eq!(
            (query.is_descending, query.start, query.limit),
            (false, 2, 7)
        );
        for (operator, admitted) in [
            (">", [false, false, true]),
            (">=", [false, true, true]),
            ("<", [true, false, false]),
            ("<=", [true, true, false]),
            ("==", [false, true, false]),
            ("!=", [true, false, true]),
        ] {
            let query = Query::parse(&format!("filter=creationDate{operator}5")).unwrap();
            assert_eq!(
                [4, 5, 6].map(|date| query.admits(date, 0)),
                admitted,
                "{operator}"
            );
        }
        let query = Query::parse("path=%2Fdemo/a%20b").unwrap();
        assert_eq!(query.path.as_deref(), Some("/demo/a b"));
        assert!(query.is_descending && query.limit == 20);
        for wrong in [
            "filter=x>1",
            "filter=creationDate",
            "filter=creationDate>a",
            "order=up",
            "limit=x",
            "path=%FF",
            "sort=id",
        ] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }
}
