use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::Value;
use serde_json::value::RawValue;

use super::event::Key;
use super::position::Position;
use super::scanner::members;
use super::{Event, EventId, Stream, Why};

/// Maximum number of ids of all streams.
const MAX_IDS: usize = 65_536;

/// Number of more ids after which old ones are forgotten again, if there are too many.
const STEP: usize = 4096;

/// The positions of streams: what has been received of each. Their history is read from there on, see
/// [`Config::positions`](crate::Config::positions).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    streams: BTreeMap<Stream, Position>,
    /// Number of ids.
    known: usize,
}

impl Positions {
    /// Returns the number of streams.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Returns whether no stream has a position.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Returns whether a stream has a position.
    pub fn contains(&self, stream: &Stream) -> bool {
        self.streams.contains_key(stream)
    }

    /// Returns whether it is known where a stream begins.
    pub(crate) fn is_begun(&self, stream: &Stream) -> bool {
        self.get(stream)
            .is_some_and(|position| position.from().is_some() || !position.starts_after_gap)
    }

    /// Takes note of an event that is received for good. Streams without a position are left out.
    pub fn receive(&mut self, event: &Event) {
        let Some(key) = Key::of(event) else { return };
        for name in key.names() {
            self.know(name, &key);
        }
    }

    /// Takes note of an event of this stream that is received for good.
    pub(crate) fn receive_of(&mut self, stream: &Stream, event: &Event) {
        let Some(key) = Key::of(event) else { return };
        self.change(stream, |position| {
            position.know(EventId::new(&key.id), key.date);
        });
    }

    /// Takes the positions of the streams that have none here.
    pub fn adopt_new(&mut self, other: &Self) {
        for (stream, position) in &other.streams {
            if !self.streams.contains_key(stream) {
                self.known += position.known().len();
                self.streams.insert(stream.clone(), position.clone());
            }
        }
    }

    /// Reads what [`Display`](fmt::Display) has formatted. Returns `None` for another text.
    pub fn from_json(json: &str) -> Option<Self> {
        let streams: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(json).ok()?;
        let mut positions = Self::default();
        for (name, json) in streams {
            let stream: Stream = name.parse().ok()?;
            let [from, ids, partial, passes] =
                members(json.get(), ["from", "ids", "partial", "passes"]).ok()?;
            let from = match from {
                Some(from) => Some(from.parse().ok()?),
                None => None,
            };
            let ids: BTreeMap<Cow<'_, str>, i64> = serde_json::from_str(ids?).ok()?;
            let known = ids.iter().map(|(id, date)| (*date, EventId::new(id)));
            let mut position = Position::restored(from, known);
            position.is_partial = partial == Some("true");
            position.starts_after_gap = passes == Some("true");
            positions.known += position.known().len();
            positions.streams.insert(stream, position);
        }
        Some(positions)
    }

    /// Returns whether an event is known, by any name of its stream.
    pub(crate) fn knows(&self, key: &Key<'_>, id: &EventId) -> bool {
        let mut positions = key.names().filter_map(|name| self.streams.get(name));
        positions.any(|position| position.knows(id, key.date))
    }

    /// Returns whether a stream of this name has a position.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.streams.contains_key(name)
    }

    /// Takes note of a gap of a stream that was told of.
    pub(crate) fn pass(&mut self, stream: &Stream, why: Why) {
        // Events that were removed do not come back.
        if !matches!(why, Why::Evicted | Why::NoHistory) {
            self.change(stream, Position::pass);
        }
    }

    pub(crate) fn get(&self, stream: &Stream) -> Option<&Position> {
        self.streams.get(stream)
    }

    /// Changes the position of a stream, an empty one if it had none.
    pub(crate) fn change<R>(
        &mut self,
        stream: &Stream,
        change: impl FnOnce(&mut Position) -> R,
    ) -> R {
        let position = self.streams.entry(stream.clone()).or_default();
        let before = position.known().len();
        let done = change(position);
        let after = position.known().len();
        self.count(before, after);
        done
    }

    fn know(&mut self, name: &str, key: &Key<'_>) {
        let Some(position) = self.streams.get_mut(name) else {
            return;
        };
        let before = position.known().len();
        position.know(EventId::new(&key.id), key.date);
        let after = position.known().len();
        self.count(before, after);
    }

    /// Counts the ids of a position that has changed, and forgets old ones where those are too many.
    fn count(&mut self, before: usize, after: usize) {
        let earlier = self.known;
        self.known = (earlier + after).saturating_sub(before);
        // Those of one millisecond all stay: that need not be tried for each.
        if self.known >= MAX_IDS && self.known / STEP > earlier / STEP {
            self.shrink();
        }
    }

    /// Forgets old ids of all streams.
    fn shrink(&mut self) {
        let most = MAX_IDS / 2 / self.streams.len().max(1);
        for position in self.streams.values_mut() {
            position.shrink(most.max(1));
            position.shrink_to_fit();
        }
        let known = self.streams.values().map(|position| position.known().len());
        self.known = known.sum();
    }
}

/// Formats a JSON object with a member for each stream, for [`Positions::from_json`].
impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (n, (stream, position)) in self.streams.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{}:{{", Value::from(stream.as_str()))?;
            if let Some(from) = position.from() {
                write!(f, r#""from":{from},"#)?;
            }
            if position.is_partial {
                f.write_str(r#""partial":true,"#)?;
            }
            if position.starts_after_gap {
                f.write_str(r#""passes":true,"#)?;
            }
            f.write_str(r#""ids":{"#)?;
            for (n, (date, id)) in position.known().enumerate() {
                let comma = if n > 0 { "," } else { "" };
                write!(f, "{comma}{}:{date}", Value::from(id.to_string()))?;
            }
            f.write_str("}}")?;
        }
        f.write_char('}')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(path: &str, n: u64, date: i64) -> Event {
        let value = format!(r#"{{"id":"e{n:024x}","creationDate":{date},"path":"{path}"}}"#);
        Event::from_message(format!(r#"{{"type":"message","value":{value}}}"#)).unwrap()
    }

    #[test]
    fn they_are_written_and_read_again() {
        let mut positions = Positions::default();
        let (one, other): (Stream, Stream) = ("/a\"b".parse().unwrap(), "/b".parse().unwrap());
        positions.change(&one, |_| ());
        assert_eq!(positions.to_string(), r#"{"/a\"b":{"ids":{}}}"#);
        positions.change(&other, |_| ());
        positions.receive(&event("/b", 7, 10_000));
        positions.receive(&event("/c", 8, 10_000));
        assert_eq!(positions.len(), 2);
        let json =
            r#"{"/a\"b":{"ids":{}},"/b":{"from":5000,"ids":{"e000000000000000000000007":10000}}}"#;
        assert_eq!(positions.to_string(), json);
        assert_eq!(Positions::from_json(json).as_ref(), Some(&positions));
        positions.pass(&other, Why::Refused);
        positions.change(&other, |position| position.is_partial = true);
        let json = positions.to_string();
        assert_eq!(Positions::from_json(&json), Some(positions), "{json}");
        for broken in [
            "",
            "[]",
            "{",
            r#"{"a":{"ids":{}}}"#,
            r#"{"/a":{}}"#,
            r#"{"/a":{"ids":{"e":"x"}}}"#,
            r#"{"/a":{"from":"x","ids":{}}}"#,
            "\0\0\0",
        ] {
            assert_eq!(Positions::from_json(broken), None, "{broken}");
        }
    }

    #[test]
    fn all_together_are_bounded() {
        let mut positions = Positions::default();
        let paths: Vec<String> = (0..1000).map(|n| format!("/{n}")).collect();
        for path in &paths {
            positions.change(&path.parse().unwrap(), |_| ());
        }
        for n in 0..200_u64 {
            for path in &paths {
                positions.receive(&event(path, n, i64::try_from(n).unwrap()));
            }
        }
        assert_bounded(&positions);
    }

    #[test]
    fn the_ids_of_beginnings_count() {
        let mut positions = Positions::default();
        for n in 0..5000 {
            positions.change(&format!("/{n}").parse().unwrap(), |position| {
                for id in 0..20 {
                    position.know(EventId::new(&format!("e{id:024x}")), id);
                }
            });
        }
        assert_bounded(&positions);
    }

    fn assert_bounded(positions: &Positions) {
        let of_each = positions.streams.values();
        let known: usize = of_each.map(|position| position.known().len()).sum();
        assert_eq!(known, positions.known);
        assert!((MAX_IDS / 4..=MAX_IDS).contains(&known), "{known}");
    }
}
