//! What a line of output holds.

use std::borrow::Cow;

use std::time::SystemTime;

use octave_ws::{Event, Loss, Printable, Stream};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::clock;
use crate::settings::ListenSettings;
use crate::settings::args::Format;

/// Something that a run meets with.
pub(crate) enum Record<'a> {
    Connected(&'a str),
    Subscribed(&'a Stream),
    Event(&'a Event),
    Refused(&'a Stream),
    Lost(&'a Loss),
    /// From when to when events may be missing, and why.
    Gap(SystemTime, SystemTime, &'a str),
    Summary(Summary),
}

/// All of a run, at its end.
#[derive(Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) events: u64,
    pub(crate) gaps: u64,
    /// Of the events' messages.
    pub(crate) bytes: u64,
    pub(crate) exit: u8,
}

/// Makes lines of records.
pub(crate) struct Lines {
    format: Format,
    is_coloured: bool,
    /// That of the column of paths, in characters.
    width: usize,
}

/// Longer paths do not push the column of the others.
const WIDEST: usize = 40;

impl Lines {
    pub(crate) fn new(settings: &ListenSettings) -> Self {
        let widths = settings.streams.iter();
        let widths = widths.map(|stream| stream.as_str().chars().count());
        Self {
            format: settings.format,
            is_coloured: settings.is_coloured,
            width: widths.max().unwrap_or_default().min(WIDEST),
        }
    }

    /// The line of a record, if it has one in this format. There may be raw line breaks in it, all
    /// of them between the tokens of JSON.
    pub(crate) fn line<'a>(&mut self, record: &Record<'a>) -> Option<Cow<'a, str>> {
        match (self.format, record) {
            (Format::Event, Record::Event(event)) => Some(event.value().into()),
            (Format::Message, Record::Event(event)) => Some(event.message().into()),
            (Format::Text, Record::Event(event)) => Some(self.text(event).into()),
            (Format::Record, record) => Some(json(record).into()),
            _ => None,
        }
    }

    /// For eyes: `00:28:07.123Z  /a/path  {"temperature":21.5}`.
    fn text(&mut self, event: &Event) -> String {
        let now = now();
        let time = now.split_once('T').map_or("", |(_, time)| time);
        let path = event.path();
        let path = path.as_deref().or(event.resource()).unwrap_or("-");
        let path = Printable(path).to_string();
        self.width = self.width.max(path.chars().count().min(WIDEST));
        let elems = event.elems::<Option<&RawValue>>().ok().flatten();
        let elems = elems.map_or(event.value(), RawValue::get);
        let elems = elems.replace(['\n', '\r'], "");
        let (elems, width) = (Printable(&elems), self.width);
        if self.is_coloured {
            format!("\x1b[2m{time}\x1b[0m  \x1b[36m{path:width$}\x1b[0m  {elems}")
        } else {
            format!("{time}  {path:width$}  {elems}")
        }
    }
}

fn json(record: &Record<'_>) -> String {
    let string = |text: &str| Value::from(text).to_string();
    let date = |at| humantime::format_rfc3339_millis(at);
    let rest = match record {
        Record::Connected(peer) => format!(r#""connected","peer":{}"#, string(peer)),
        Record::Subscribed(stream) => {
            format!(r#""subscribed","stream":{}"#, string(stream.as_str()))
        }
        Record::Refused(stream) => {
            format!(r#""refused","stream":{}"#, string(stream.as_str()))
        }
        Record::Event(event) => {
            let resource = event.resource().map_or("null".to_owned(), string);
            let value = event.value();
            format!(r#""event","resource":{resource},"event":{value}"#)
        }
        Record::Lost(loss) => format!(
            r#""lost","from":"{}","reason":{}"#,
            date(loss.from),
            string(&loss.reason)
        ),
        Record::Gap(from, to, reason) => format!(
            r#""gap","from":"{}","to":"{}","reason":{}"#,
            date(*from),
            date(*to),
            string(reason)
        ),
        Record::Summary(summary) => {
            let Summary {
                events,
                gaps,
                bytes,
                exit,
            } = summary;
            format!(r#""summary","events":{events},"gaps":{gaps},"bytes":{bytes},"exit":{exit}"#)
        }
    };
    format!(r#"{{"at":"{}","kind":{rest}}}"#, now())
}

/// RFC 3339, in UTC and milliseconds.
fn now() -> String {
    humantime::format_rfc3339_millis(clock::now()).to_string()
}
