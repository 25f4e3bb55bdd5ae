use std::str::FromStr;

use serde_json::value::RawValue;

use super::stream::Stream;
use crate::Event;
use crate::protocol::{Incoming, Text};

/// Events to send, one JSON document per line, in place of generated ones.
///
/// An Event object, as a client prints it, is sent unchanged to the subscribers of its `streamId` or
/// `path`. Any other document becomes the `elems` of an event on every stream.
///
/// ```
/// use octave_ws::sim::{Options, Script, Sim};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let script: Script = r#"{"temperature":21.5}"#.parse()?;
/// let sim = Sim::start_with(Options::default().rate(10.0).script(script))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Script(Vec<Event>);

impl Script {
    /// Returns the first line of the stream's from the `position` on, and where the next one may
    /// be.
    pub(super) fn next(&self, stream: &Stream, position: usize) -> Option<(&Event, usize)> {
        let mut lines = self.0.iter().enumerate().skip(position);
        let (at, line) = lines.find(|(_, line)| is_of(line, stream))?;
        Some((line, at + 1))
    }
}

/// Skips empty lines.
///
/// # Errors
/// The number of the first line that is not JSON.
impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty());
        let lines = lines.map(|(n, line)| {
            let value: &RawValue = serde_json::from_str(line)
                .map_err(|error| format!("line {}, column {}: not JSON", n + 1, error.column()))?;
            match Incoming::parse(Text::from(format!(r#"{{"value":{value}}}"#))) {
                Incoming::Event(event) => Ok(event),
                _ => Err(format!("line {}: not an event", n + 1)),
            }
        });
        lines.collect::<Result<_, _>>().map(Self)
    }
}

/// Returns whether a line is a whole Event object, not just its `elems`.
pub(super) fn is_whole(line: &Event) -> bool {
    line.stream_id().is_some() || line.path().is_some()
}

fn is_of(line: &Event, stream: &Stream) -> bool {
    !is_whole(line)
        || line.stream_id().as_deref() == Some(&stream.id)
        || line.path().as_deref() == Some(&stream.path)
}
