//! Formats the lines of output.

use std::fmt::Write;

use octave_ws::{Event, Filled, Gap, Handover, Loss, Stream, Traffic};
use serde_json::Value;

use crate::format::Format;
use crate::format::field::Arrived;
use crate::format::header::Header;
use crate::output::text::{Now, TextLines};
use crate::settings::ListenSettings;

/// A change or an event of a run.
pub(crate) enum Record<'a> {
    Connected(&'a str),
    Subscribed(&'a Stream),
    Event(&'a Event),
    Refused(&'a Stream),
    Lost(&'a Loss),
    Gap(&'a Gap),
    Filled(&'a Filled),
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
    /// Number of events from the history, where that is read.
    pub(crate) filled: Option<u64>,
}

/// Makes lines of records.
pub(crate) struct Lines {
    format: Format,
    text: TextLines,
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

impl Lines {
    pub(crate) fn new(format: Format, settings: &ListenSettings) -> Self {
        let widths = settings.streams.iter();
        let widths = widths.map(|stream| stream.as_str().chars().count());
        let width = widths.max().unwrap_or_default();
        Self {
            format,
            text: TextLines::new(width, settings.text),
            now: Now::default(),
            count: 0,
            head: String::new(),
        }
    }

    /// Returns the line with which each file begins. It may be known later.
    pub(crate) fn header(&self) -> Header {
        self.format.header()
    }

    /// Returns the line that an output is to begin with, if any. One that is appended to has this first
    /// line.
    ///
    /// # Errors
    /// Says how the first line differs from the one that this format has.
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
            (Format::Text, Record::Event(event)) => (self.text.push(&mut self.head, event), ""),
            (Format::Template(template), Record::Event(event)) => {
                self.count += 1;
                let (at, count) = (self.now.read(false), self.count);
                template.push(&mut self.head, Arrived { event, at, count });
                ("", "")
            }
            (Format::Table(table), Record::Event(event)) => {
                self.count += 1;
                let (at, count) = (self.now.read(false), self.count);
                if let Some(columns) = table.push(&mut self.head, Arrived { event, at, count }) {
                    log::warn!(
                        "format: the columns are those of the first event, other members are left out: \
                         --fields {columns}"
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

    /// Formats a record up to the event.
    fn json(&mut self, record: &Record<'_>) {
        let date = |at| humantime::format_rfc3339_millis(at);
        let head = &mut self.head;
        head.push_str(r#"{"at":""#);
        head.push_str(self.now.read(false));
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
                if event.is_from_history() {
                    head.push_str(r#","history":true"#);
                }
                head.push_str(r#","event":"#);
            }
            // Writing to a string cannot fail.
            Record::Lost(Loss { from, reason, .. }) => {
                let _ = write!(head, r#""lost","from":"{}","reason":"#, date(*from));
                push_string(head, reason);
            }
            Record::Gap(gap) => {
                let (from, to) = (date(gap.from), date(gap.to));
                let _ = write!(head, r#""gap","from":"{from}","to":"{to}","reason":"#);
                push_string(head, &gap.reason);
                if let Some((stream, why)) = &gap.stream {
                    head.push_str(r#","stream":"#);
                    push_string(head, stream.as_str());
                    let _ = write!(head, r#","why":"{why}""#);
                }
            }
            Record::Filled(filled) => {
                head.push_str(r#""filled","stream":"#);
                push_string(head, filled.stream.as_str());
                if let Some((from, to)) = filled.span {
                    let (from, to) = (date(from), date(to));
                    let _ = write!(head, r#","from":"{from}","to":"{to}""#);
                }
                let _ = write!(head, r#","events":{}"#, filled.events);
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
                    filled,
                } = summary;
                let _ = write!(
                    head,
                    r#""summary","events":{events},"gaps":{gaps},"bytes":{bytes}"#
                );
                if let Some(filled) = filled {
                    let _ = write!(head, r#","filled":{filled}"#);
                }
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
