//! The progress of each stream: its beginning, its history, and the events that are pushed.

use std::collections::BTreeMap;

use crate::protocol::Stream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its beginning is looked for, before it is subscribed.
    Beginning,
    /// Its beginning is found.
    Begun,
    /// It has no beginning: its history cannot be read.
    Without,
    /// It is subscribed, and its history is to be read.
    Pending,
    /// Its history is read, and its events go out as they come.
    Live,
}

#[derive(Default)]
pub(super) struct Standings {
    streams: BTreeMap<Stream, Standing>,
    beginning: usize,
    pending: usize,
}

impl Standings {
    /// Returns the standing of a stream, by its id or path as requested.
    pub(super) fn get(&self, name: &str) -> Option<Standing> {
        self.streams.get(name).copied()
    }

    pub(super) fn set(&mut self, stream: &Stream, standing: Standing) {
        self.remove(stream);
        self.count(standing, 1);
        self.streams.insert(stream.clone(), standing);
    }

    pub(super) fn remove(&mut self, stream: &Stream) {
        if let Some(standing) = self.streams.remove(stream) {
            self.count(standing, -1);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of streams whose beginnings are looked for.
    pub(super) fn beginning(&self) -> usize {
        self.beginning
    }

    /// Returns the number of streams whose history is to be read.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    fn count(&mut self, standing: Standing, change: isize) {
        let count = match standing {
            Standing::Beginning => &mut self.beginning,
            Standing::Pending => &mut self.pending,
            _ => return,
        };
        *count = count.saturating_add_signed(change);
    }
}
