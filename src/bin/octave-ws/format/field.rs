//! The values of an event that templates and tables show.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use octave_ws::Event;

/// The members of the Event object.
const MEMBERS: [&str; 15] = [
    "elems",
    "id",
    "object",
    "streamId",
    "path",
    "creationDate",
    "creatorId",
    "lastEditDate",
    "lastEditorId",
    "generatedDate",
    "companyId",
    "hash",
    "location",
    "metadata",
    "tags",
];

/// The milliseconds of `9999-12-31T23:59:59.999Z`, the last date of RFC 3339.
const LAST_DATE: i64 = 253_402_300_799_999;

/// A value of an event, or of its arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// A member of the Event object, by the names that lead to it.
    Member(Vec<String>),
    /// The whole Event object.
    Json,
    /// The `resource` of the message.
    Resource,
    /// The time of arrival.
    At,
    /// The event's own time: that of its generation, or else of its creation.
    Time,
    /// The number of the event in this run, from 1 on.
    Count,
    /// The first of these that is there.
    First(Vec<Field>),
}

/// An event with the circumstances of its arrival.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) event: &'a Event,
    /// The time of arrival, in RFC 3339.
    pub(crate) at: &'a str,
    /// The number of events so far, with this one.
    pub(crate) count: u64,
}

/// The value of a field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    /// JSON of one line that is not a string.
    Json(Cow<'a, str>),
}

impl Field {
    /// Reads the name of a field: `elems.a.b`, or `a|b` for the first that is there.
    ///
    /// # Errors
    /// The part that names none.
    pub(crate) fn parse(name: &str) -> Result<Self, &str> {
        if name.contains('|') {
            return name
                .split('|')
                .map(Self::parse)
                .collect::<Result<_, _>>()
                .map(Self::First);
        }
        Ok(match name {
            "json" => Self::Json,
            "resource" => Self::Resource,
            "at" => Self::At,
            "time" => Self::Time,
            "n" => Self::Count,
            _ => {
                let path: Vec<String> = name.split('.').map(str::to_owned).collect();
                let is_known = MEMBERS.contains(&&*path[0]);
                if !is_known || path.iter().any(String::is_empty) {
                    return Err(name);
                }
                Self::Member(path)
            }
        })
    }

    /// Returns the value that it has in an event, if any.
    pub(crate) fn of<'a>(&self, arrived: Arrived<'a>) -> Option<Value<'a>> {
        let Arrived { event, at, count } = arrived;
        match self {
            Self::Member(path) => Some(Value::of(member(event, path)?)),
            Self::Json => Some(Value::of(event.value())),
            Self::Resource => Some(Value::Text(event.resource()?.into())),
            Self::At => Some(Value::Text(at.into())),
            Self::Time => {
                let time = humantime::format_rfc3339_millis(own_time(event)?);
                Some(Value::Text(time.to_string().into()))
            }
            Self::Count => Some(Value::Json(count.to_string().into())),
            Self::First(fields) => {
                let values = || fields.iter().filter_map(|field| field.of(arrived));
                let is_null =
                    |value: &Value<'_>| matches!(value, Value::Json(json) if json == "null");
                values()
                    .find(|value| !is_null(value))
                    .or_else(|| values().next())
            }
        }
    }
}

/// Returns when an event was generated, or else created.
pub(crate) fn own_time(event: &Event) -> Option<SystemTime> {
    let date = event.generated_date().or_else(|| event.creation_date())?;
    let millis = u64::try_from(date).ok().filter(|_| date <= LAST_DATE)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

/// Returns a member by its path. A name may have dots of its own, or stand for several names.
fn member<'a>(event: &'a Event, path: &[String]) -> Option<&'a str> {
    let found = event.member_at(path.iter().map(String::as_str));
    match path {
        _ if found.is_some() => found,
        [first, rest @ ..] if rest.len() > 1 => {
            let name = rest.join(".");
            event.member_at([first.as_str(), &name])
        }
        [first, name] if name.contains('.') => {
            event.member_at([first.as_str()].into_iter().chain(name.split('.')))
        }
        _ => None,
    }
}

impl<'a> Value<'a> {
    fn of(json: &'a str) -> Self {
        if !json.starts_with('"') {
            // Raw line breaks stand between tokens only (RFC 8259 §7).
            return Self::Json(if json.contains(['\n', '\r']) {
                json.replace(['\n', '\r'], "").into()
            } else {
                json.into()
            });
        }
        if let Ok(text) = serde_json::from_str::<String>(json) {
            return Self::Text(text.into());
        }
        // A lone surrogate, as it came.
        let text = json
            .strip_prefix('"')
            .and_then(|json| json.strip_suffix('"'));
        Self::Text(text.unwrap_or(json).into())
    }
}

/// Appends a text with its line breaks and controls escaped as in JSON.
pub(crate) fn push_in_one_line(line: &mut String, text: &str) {
    let has_to_be_escaped = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut rest = text;
    while let Some(at) = rest.find(has_to_be_escaped) {
        let (plain, escaped) = rest.split_at(at);
        line.push_str(plain);
        let mut chars = escaped.chars();
        match chars.next() {
            Some('\n') => line.push_str("\\n"),
            Some('\r') => line.push_str("\\r"),
            Some('\t') => line.push_str("\\t"),
            Some(c) => {
                // Writing to a string cannot fail.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            None => {}
        }
        rest = chars.as_str();
    }
    line.push_str(rest);
}
