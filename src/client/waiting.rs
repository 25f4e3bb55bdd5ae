//! Pushed events that wait for the history of their streams.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::protocol::{Event, EventId};

/// Events, in the order in which they came. Each is read once: there may be thousands, and as many
/// streams.
#[derive(Default)]
pub(super) struct Waiting {
    events: BTreeMap<u64, Pushed>,
    /// The numbers of the events of each stream, by its names.
    by_name: HashMap<String, Vec<u64>>,
    /// The first name and the id of each event: one may come over two connections.
    keys: HashSet<(String, EventId)>,
    next: u64,
    bytes: usize,
}

struct Pushed {
    event: Event,
    key: (String, EventId),
    date: i64,
}

impl Waiting {
    /// Keeps an event of the streams of these names.
    pub(super) fn push(&mut self, mut event: Event, id: EventId, date: i64, names: Vec<String>) {
        let key = (names.first().cloned().unwrap_or_default(), id);
        if !self.keys.insert(key.clone()) {
            return;
        }
        event.detach();
        self.bytes += event.message().len();
        for name in names {
            self.by_name.entry(name).or_default().push(self.next);
        }
        self.events.insert(self.next, Pushed { event, key, date });
        self.next += 1;
    }

    /// Returns the ids and dates of the events of a stream.
    pub(super) fn of(&self, name: &str) -> Vec<(EventId, i64)> {
        let numbers = self.by_name.get(name).into_iter().flatten();
        let events = numbers.filter_map(|number| self.events.get(number));
        events
            .map(|pushed| (pushed.key.1.clone(), pushed.date))
            .collect()
    }

    /// Returns whether events of a stream wait.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Takes the events of a stream out.
    pub(super) fn take(&mut self, name: &str) -> Vec<Event> {
        let numbers = self.by_name.remove(name).into_iter().flatten();
        let events = numbers.filter_map(|number| self.events.remove(&number));
        let events = events.map(|pushed| {
            self.keys.remove(&pushed.key);
            pushed.event
        });
        let events: Vec<Event> = events.collect();
        self.bytes -= events
            .iter()
            .map(|event| event.message().len())
            .sum::<usize>();
        events
    }

    /// Takes all events out.
    pub(super) fn take_all(&mut self) -> Vec<Event> {
        let all = std::mem::take(self).events;
        all.into_values().map(|pushed| pushed.event).collect()
    }

    /// Returns the first name of each stream whose events wait.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.keys.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Returns the size of the events, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
