//! Lines for eyes.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use octave_ws::{Event, Printable, clock};

use crate::format::field::own_time;
use crate::output::zone;
use crate::settings::TextStyle;

/// Maximum width of the column of paths.
const WIDEST: usize = 40;

/// Maximum length of a shown path or resource.
const LONGEST: usize = 4 << 10;

/// Time by which an event's own time has to differ from its arrival to be shown.
const NOTICED: Duration = Duration::from_secs(60);

/// Lays out events for eyes.
pub(crate) struct TextLines {
    style: TextStyle,
    /// Width of the column of paths, in characters.
    width: usize,
    now: Now,
}

impl TextLines {
    /// The column of paths is at least `width` characters wide.
    pub(crate) fn new(width: usize, style: TextStyle) -> Self {
        Self {
            style,
            width: width.min(WIDEST),
            now: Now::default(),
        }
    }

    /// Appends the beginning of a line: `00:28:07.123Z  /a/path  `, and the event's own time if that is
    /// another one. Returns the rest, `{"temperature":21.5}`, which is still to be escaped.
    pub(crate) fn push<'a>(&mut self, head: &mut String, event: &'a Event) -> &'a str {
        let TextStyle {
            is_coloured,
            is_local,
        } = self.style;
        let now = self.now.read(is_local);
        let time = now.split_once('T').map_or("", |(_, time)| time);
        let [path, elems] = event.members(["path", "elems"]);
        let path = path.filter(|path| path.len() <= LONGEST);
        let path = path.and_then(|path| serde_json::from_str::<Cow<'_, str>>(path).ok());
        let resource = event.resource().filter(|name| name.len() <= LONGEST);
        let path = path.as_deref().or(resource).unwrap_or("-");
        let path = Printable(path).to_string();
        self.width = self.width.max(path.chars().count().min(WIDEST));
        let elems = elems.filter(|elems| *elems != "null");
        let width = self.width;
        let [dim, cyan, plain] = if is_coloured {
            ["\x1b[2m", "\x1b[36m", "\x1b[0m"]
        } else {
            [""; 3]
        };
        // Writing to a string cannot fail.
        let _ = write!(head, "{dim}{time}{plain}  {cyan}{path:width$}{plain}  ");
        if let Some(own) = own_time(event).filter(|own| is_noticed(*own, clock::now())) {
            let _ = write!(head, "{dim}[{}]{plain} ", zone::seconds(own, is_local));
        }
        elems.unwrap_or(event.value())
    }
}

fn is_noticed(own: SystemTime, now: SystemTime) -> bool {
    let apart = now
        .duration_since(own)
        .unwrap_or_else(|error| error.duration());
    apart > NOTICED
}

/// The present time in RFC 3339, in milliseconds. Many events come within one.
#[derive(Default)]
pub(crate) struct Now {
    millis: u128,
    text: String,
}

impl Now {
    pub(crate) fn read(&mut self, is_local: bool) -> &str {
        let now = clock::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.unwrap_or_default().as_millis();
        if self.text.is_empty() || self.millis != millis {
            self.millis = millis;
            self.text = zone::millis(now, is_local);
        }
        &self.text
    }
}
