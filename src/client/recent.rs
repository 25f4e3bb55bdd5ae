//! The events that history has shown, and that may still be pushed.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::mem;

use crate::protocol::EventId;

/// Number of the last events that are kept, at least. What history has shown longer ago has been pushed:
/// between two requests the connection is read.
const LEAST: usize = 16_384;

/// Ids of events, whatever their dates, each with a hash of the name of its stream: a service may
/// count the events of each stream by itself.
#[derive(Default)]
pub(super) struct RecentIds {
    last: HashSet<(u64, EventId)>,
    before: HashSet<(u64, EventId)>,
    hasher: RandomState,
}

impl RecentIds {
    /// Adds an event of the stream of this name.
    pub(super) fn insert(&mut self, name: &str, id: EventId) {
        if self.last.len() >= LEAST {
            self.before = mem::take(&mut self.last);
        }
        self.last.insert((self.hasher.hash_one(name), id));
    }

    /// Returns whether an event is one of a stream of these names.
    pub(super) fn contains<'a>(
        &self,
        mut names: impl Iterator<Item = &'a str>,
        id: &EventId,
    ) -> bool {
        !self.is_empty()
            && names.any(|name| {
                let key = (self.hasher.hash_one(name), id.clone());
                self.last.contains(&key) || self.before.contains(&key)
            })
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ids_of_each_stream_are_kept() {
        let id = |n: usize| EventId::new(&n.to_string());
        let mut shown = RecentIds::default();
        let has = |shown: &RecentIds, name, n| shown.contains([name].into_iter(), &id(n));
        assert!(shown.is_empty());
        for n in 0..10 * LEAST {
            shown.insert("/a", id(n));
            assert!(has(&shown, "/a", n) && has(&shown, "/a", n.saturating_sub(LEAST - 1)));
            assert!(!has(&shown, "/b", n));
        }
        let kept = shown.last.len() + shown.before.len();
        assert!(kept <= 2 * LEAST, "{kept}");
        shown.clear();
        assert!(shown.is_empty() && !has(&shown, "/a", 10 * LEAST - 1));
    }
}
