//! Formats the lines of output.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use octave_ws::{Event, Handover, Loss, Printable, Stream, Traffic, clock};
use serde_json::Value;

use crate::format::Format;
use crate::format::field::Arrived;
use crate::settings::ListenSettings;

/// A change or an event of a run.
pub(crate) enum Record<'a> {
    Connected(&'a str),
    Subscribed(&'a Stream),
    Event(&'a Event),
    Refused(&'a Stream),
    Lost(&'a Loss),
    /// Begin, end and reason of a period for which events may be missing.
    Gap(SystemTime, SystemTime, &'a str),
    Handover(&'a Handover),
    Summary(Summary, &'a Traffic),
}

/// All of a run, at its end.
#[derive(Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) events: u64,
    pub(crate) gaps: u64,
    /// Total length of the events' messages.
    pub(crate) bytes: u64,
    pub(crate) exit: u8,
}

/// Makes lines of records.
pub(crate) struct Lines {
    format: Format,
    is_coloured: bool,
    /// Width of the column of paths, in characters.
    width: usize,
    now: Now,
    /// Number of events so far, where lines show it.
    count: u64,
    /// Time of the last line.
    head: String,
}

/// A line in parts, without its end.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) head: &'a str,
    /// JSON that may have raw line breaks between its tokens.
    pub(crate) body: &'a str,
    pub(crate) tail: &'a str,
    /// Whether the body is for eyes: what could steer a terminal is escaped.
    pub(crate) is_printable: bool,
}

impl<'a> From<&'a str> for Line<'a> {
    fn from(body: &'a str) -> Self {
        let (head, tail, is_printable) = ("", "", false);
        Self {
            head,
            body,
            tail,
            is_printable,
        }
    }
}

/// Maximum width of the column of paths.
const WIDEST: usize = 40;

/// Maximum length of a shown path or resource.
const LONGEST: usize = 4 << 10;

impl Lines {
    pub(crate) fn new(settings: &ListenSettings) -> Self {
        let widths = settings.streams.iter();
        let widths = widths.map(|stream| stream.as_str().chars().count());
        Self {
            format: settings.format.clone(),
            is_coloured: settings.is_coloured,
            width: widths.max().unwrap_or_default().min(WIDEST),
            now: Now::default(),
            count: 0,
            head: String::new(),
        }
    }

    /// Returns the line that an output is to begin with, if any. One that is appended to has this first
    /// line.
    ///
    /// # Errors
    /// The first line, where the lines of this format do not fit it.
    pub(crate) fn begin(
        &mut self,
        first_line: impl FnOnce() -> Option<String>,
    ) -> Result<Option<String>, String> {
        match &mut self.format {
            Format::Table(table) => table.begin(first_line().as_deref()),
            _ => Ok(None),
        }
    }

    /// Returns the line of a record, if it has one in this format.
    pub(crate) fn line<'a>(&'a mut self, record: &Record<'a>) -> Option<Line<'a>> {
        self.head.clear();
        let (body, tail) = match (&mut self.format, record) {
            (Format::Event, Record::Event(event)) => (event.value(), ""),
            (Format::Message, Record::Event(event)) => (event.message(), ""),
            (Format::Text, Record::Event(event)) => (self.text(event), ""),
            (Format::Template(template), Record::Event(event)) => {
                self.count += 1;
                let (at, count) = (self.now.read(), self.count);
                template.push(&mut self.head, Arrived { event, at, count });
                ("", "")
            }
            (Format::Table(table), Record::Event(event)) => {
                self.count += 1;
                let (at, count) = (self.now.read(), self.count);
                if let Some(columns) = table.push(&mut self.head, Arrived { event, at, count }) {
                    log::warn!(
                        "format: the columns are those of the first event: --fields {columns}"
                    );
                }
                ("", "")
            }
            (Format::Record, record) => {
                self.json(record);
                match record {
                    Record::Event(event) => (event.value(), "}"),
                    _ => ("", "}"),
                }
            }
            _ => return None,
        };
        Some(Line {
            head: &self.head,
            body,
            tail,
            is_printable: matches!(self.format, Format::Text),
        })
    }

    /// For eyes: `00:28:07.123Z  /a/path  {"temperature":21.5}`. Returns its end.
    fn text<'a>(&mut self, event: &'a Event) -> &'a str {
        let now = self.now.read();
        let time = now.split_once('T').map_or("", |(_, time)| time);
        let [path, elems] = event.members(["path", "elems"]);
        let path = path.filter(|path| path.len() <= LONGEST);
        let path = path.and_then(|path| serde_json::from_str::<Cow<'_, str>>(path).ok());
        let resource = event.resource().filter(|name| name.len() <= LONGEST);
        let path = path.as_deref().or(resource).unwrap_or("-");
        let path = Printable(path).to_string();
        self.width = self.width.max(path.chars().count().min(WIDEST));
        let elems = elems.filter(|elems| *elems != "null");
        let (head, width) = (&mut self.head, self.width);
        // Writing to a string cannot fail.
        let _ = if self.is_coloured {
            write!(head, "\x1b[2m{time}\x1b[0m  \x1b[36m{path:width$}\x1b[0m  ")
        } else {
            write!(head, "{time}  {path:width$}  ")
        };
        elems.unwrap_or(event.value())
    }

    /// Formats a record up to the event.
    fn json(&mut self, record: &Record<'_>) {
        let date = |at| humantime::format_rfc3339_millis(at);
        let head = &mut self.head;
        head.push_str(r#"{"at":""#);
        head.push_str(self.now.read());
        head.push_str(r#"","kind":"#);
        match record {
            Record::Connected(peer) => {
                head.push_str(r#""connected","peer":"#);
                push_string(head, peer);
            }
            Record::Subscribed(stream) => {
                head.push_str(r#""subscribed","stream":"#);
                push_string(head, stream.as_str());
            }
            Record::Refused(stream) => {
                head.push_str(r#""refused","stream":"#);
                push_string(head, stream.as_str());
            }
            Record::Event(event) => {
                head.push_str(r#""event","resource":"#);
                match event.resource() {
                    None => head.push_str("null"),
                    Some(resource) => push_string(head, resource),
                }
                head.push_str(r#","event":"#);
            }
            // Writing to a string cannot fail.
            Record::Lost(Loss { from, reason, .. }) => {
                let _ = write!(head, r#""lost","from":"{}","reason":"#, date(*from));
                push_string(head, reason);
            }
            Record::Gap(from, to, reason) => {
                let (from, to) = (date(*from), date(*to));
                let _ = write!(head, r#""gap","from":"{from}","to":"{to}","reason":"#);
                push_string(head, reason);
            }
            Record::Handover(Handover {
                from, to, events, ..
            }) => {
                let (from, to) = (date(*from), date(*to));
                let _ = write!(
                    head,
                    r#""handover","from":"{from}","to":"{to}","events":{events}"#
                );
            }
            Record::Summary(summary, traffic) => {
                let Summary {
                    events,
                    gaps,
                    bytes,
                    exit,
                } = summary;
                let _ = write!(
                    head,
                    r#""summary","events":{events},"gaps":{gaps},"bytes":{bytes}"#
                );
                let counts = [
                    ("received", traffic.received()),
                    ("sent", traffic.sent()),
                    ("connections", traffic.connections()),
                    ("full_handshakes", traffic.full_handshakes()),
                    ("resumed_handshakes", traffic.resumed_handshakes()),
                ];
                for (name, count) in counts {
                    let _ = write!(head, r#","{name}":{count}"#);
                }
                let _ = write!(head, r#","exit":{exit}"#);
            }
        }
    }
}

fn push_string(json: &mut String, text: &str) {
    let has_to_be_escaped = |b| matches!(b, 0..b' ' | b'"' | b'\\');
    if text.bytes().any(has_to_be_escaped) {
        json.push_str(&Value::from(text).to_string());
    } else {
        json.push('"');
        json.push_str(text);
        json.push('"');
    }
}

/// The time of day in RFC 3339, in UTC and milliseconds. Many events come within one.
#[derive(Default)]
struct Now {
    millis: u128,
    text: String,
}

impl Now {
    fn read(&mut self) -> &str {
        let now = clock::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.unwrap_or_default().as_millis();
        if self.text.is_empty() || self.millis != millis {
            self.millis = millis;
            self.text = humantime::format_rfc3339_millis(now).to_string();
        }
        &self.text
    }
}
