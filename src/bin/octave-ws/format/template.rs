//! A line of output as the user lays it out: text with fields in braces.

use super::field::{Arrived, Field, Value, push_in_one_line};

/// A text with fields in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

impl Template {
    /// Reads a template: `{field}`, `{{` and `}}` for braces, and `\t`, `\n` and `\\`.
    ///
    /// # Errors
    /// Names the wrong part, and its place.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        let place = |rest: &str| text[..text.len() - rest.len()].chars().count() + 1;
        while let Some(at) = rest.find(['{', '}', '\\']) {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            let escapes = [
                ("{{", '{'),
                ("}}", '}'),
                ("\\t", '\t'),
                ("\\n", '\n'),
                ("\\\\", '\\'),
            ];
            if let Some((escape, c)) = escapes.iter().find(|(escape, _)| rest.starts_with(escape)) {
                plain.push(*c);
                rest = &rest[escape.len()..];
                continue;
            }
            let place = place(rest);
            if rest.starts_with('\\') {
                let escape: String = rest.chars().take(2).collect();
                return Err(format!(
                    "unknown escape {escape} at character {place}: there are \\t, \\n and \\\\"
                ));
            }
            if rest.starts_with('}') {
                return Err(format!(
                    "}} without {{ at character {place}: write }}}} for a brace"
                ));
            }
            let Some((name, after)) = rest[1..].split_once('}') else {
                return Err(format!(
                    "{{ without }} at character {place}: write {{{{ for a brace"
                ));
            };
            let field = Field::parse(name).map_err(|unknown| {
                let within = if unknown == name {
                    String::new()
                } else {
                    format!(" in {{{name}}}")
                };
                format!("unknown member {{{unknown}}}{within} at character {place}: {KNOWN}")
            })?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Field(field));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// Appends the line of an event, without its end.
    pub(crate) fn push(&self, line: &mut String, arrived: Arrived<'_>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field(field) => match field.of(arrived) {
                    Some(Value::Text(text)) => push_in_one_line(line, &text),
                    Some(Value::Json(json)) => line.push_str(&json),
                    None => {}
                },
            }
        }
    }
}

/// The fields there are, for errors.
pub(super) const KNOWN: &str = "there are time, at, n, path, resource, json, elems.NAME, tags.NAME \
                                and the other members of the Event";

#[cfg(test)]
mod tests {
    use octave_ws::Event;

    use super::*;

    fn line(template: &str, value: &str) -> String {
        let message =
            format!(r#"{{"type":"message","object":"event","resource":"s1","value":{value}}}"#);
        let event = Event::from_message(message).unwrap();
        let (at, count) = ("2026-01-01T00:00:00.000Z", 7);
        let event = &event;
        let mut line = String::new();
        let template = Template::parse(template).unwrap();
        template.push(&mut line, Arrived { event, at, count });
        line
    }

    #[test]
    fn members_are_shown_as_they_came() {
        let value = r#"{"path":"/a","elems":{"a":{"b":1.50e400,"s":"x\ty\u001b\u2028\\z"},
            "list":[1,
            2],"t":true,"zero":null,"bad":"\ud800\""},"tags":{"x":"\u00e9"},"creationDate":1587387677625}"#;
        for (template, wanted) in [
            (
                "{at}\\t{path}\\t{elems.a.b}",
                "2026-01-01T00:00:00.000Z\t/a\t1.50e400",
            ),
            ("{elems.a.s}", "x\\ty\\u001b\\u2028\\z"),
            (
                "{elems.t}{elems.zero}{elems.none}{elems.none.deeper}{elems.t.deeper}",
                "truenull",
            ),
            ("{elems.bad}", "\\ud800\\\""),
            ("{tags.x}", "\u{e9}"),
            ("{elems.list}", "[1,            2]"),
            ("{n} {resource} {time}", "7 s1 2020-04-20T13:01:17.625Z"),
            ("{{{n}}}\\n\\\\", "{7}\n\\"),
            (
                "{elems.none|path}{elems.zero|n}{elems.zero|elems.none}",
                "/a7null",
            ),
            ("no member", "no member"),
        ] {
            assert_eq!(line(template, value), wanted, "{template}");
        }
        assert!(line("{json}", value).starts_with(r#"{"path":"/a","elems""#));
    }

    #[test]
    fn times_out_of_range_are_missing() {
        for (generated, created, wanted) in [
            ("null", "0", "1970-01-01T00:00:00.000Z"),
            ("1", "0", "1970-01-01T00:00:00.001Z"),
            ("253402300799999", "0", "9999-12-31T23:59:59.999Z"),
            ("253402300800000", "0", ""),
            ("-1", "0", ""),
            ("9223372036854775807", "0", ""),
            ("\"x\"", "null", ""),
        ] {
            let value = format!(r#"{{"generatedDate":{generated},"creationDate":{created}}}"#);
            assert_eq!(line("{time}", &value), wanted, "{generated} {created}");
        }
    }

    #[test]
    fn a_wrong_template_is_refused_with_the_place() {
        for (template, wanted) in [
            ("{foo}", "unknown member {foo} at character 1"),
            (
                "\u{e9}{n} {elems..a}",
                "unknown member {elems..a} at character 6",
            ),
            (
                "{path|foo}",
                "unknown member {foo} in {path|foo} at character 1",
            ),
            ("{}", "unknown member {} at character 1"),
            ("a{n", "{ without } at character 2"),
            ("a}", "} without { at character 2"),
            ("a\\q", "unknown escape \\q at character 2"),
            ("a\\", "unknown escape \\ at character 2"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.starts_with(wanted), "{template}: {error}");
        }
    }
}
