use std::collections::BTreeMap;

use super::event::Key;
use super::position::Position;
use super::{Event, EventId, Stream, Why};

/// Maximum number of ids of all streams.
const MOST: usize = 65_536;

/// The positions of streams: what has been received of each. Their history is read from there on, see
/// [`Config::positions`](crate::Config::positions).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// By the id or the path of the stream.
    streams: BTreeMap<String, Position>,
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
        self.streams.contains_key(stream.as_str())
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
        self.position(stream);
        self.know(stream.as_str(), &key);
    }

    /// Returns whether a stream of this name has a position.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.streams.contains_key(name)
    }

    /// Takes note of a gap of a stream that was told of.
    pub(crate) fn pass(&mut self, stream: &Stream, why: Why) {
        // Events that were removed do not come back.
        if !matches!(why, Why::Evicted | Why::NoHistory) {
            self.position(stream).pass();
        }
    }

    pub(crate) fn get(&self, stream: &Stream) -> Option<&Position> {
        self.streams.get(stream.as_str())
    }

    /// Returns the position of a stream, an empty one if it had none.
    pub(crate) fn position(&mut self, stream: &Stream) -> &mut Position {
        let name = stream.as_str();
        if !self.streams.contains_key(name) {
            self.streams.insert(name.to_owned(), Position::default());
        }
        self.streams.entry(name.to_owned()).or_default()
    }

    fn know(&mut self, name: &str, key: &Key<'_>) {
        let Some(position) = self.streams.get_mut(name) else {
            return;
        };
        let before = position.known().len();
        position.know(EventId::new(&key.id), key.date);
        let now = position.known().len();
        self.known = (self.known + now).saturating_sub(before);
        if self.known > MOST {
            self.shrink();
        }
    }

    /// Forgets old ids of all streams.
    fn shrink(&mut self) {
        let most = MOST / 2 / self.streams.len().max(1);
        for position in self.streams.values_mut() {
            position.shrink(most.max(1));
        }
        let known = self.streams.values().map(|position| position.known().len());
        self.known = known.sum();
    }
}
