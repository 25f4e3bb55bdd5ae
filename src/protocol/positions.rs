use std::collections::BTreeMap;

use super::position::Position;
use super::{Event, EventId, Stream};

/// Maximum number of ids of all streams.
const MOST: usize = 65_536;

/// The positions of streams: what has been received of each.
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

    pub(crate) fn get(&self, stream: &Stream) -> Option<&Position> {
        self.streams.get(stream)
    }

    /// Returns the position of a stream, an empty one if it had none.
    pub(crate) fn position(&mut self, stream: &Stream) -> &mut Position {
        if !self.streams.contains_key(stream) {
            self.streams.insert(stream.clone(), Position::default());
        }
        self.streams.entry(stream.clone()).or_default()
    }

    /// Takes note of an event of a stream that is delivered.
    pub(crate) fn deliver(&mut self, stream: &Stream, event: &Event) {
        let (Some(id), Some(date)) = (event.id(), event.creation_date()) else {
            return;
        };
        let position = self.position(stream);
        let before = position.known().len();
        position.know(EventId::new(&id), date);
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
