use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::mem;

use super::Event;

/// Maximum number of ids, and of events, that are kept.
const MAX_EVENTS: usize = 4096;

/// The events of an old and a new connection that are both subscribed, so that each is delivered
/// once: those of the old one first.
///
/// An event is dropped only where the other connection has delivered the same one, with its id, and once
/// for each time: some services give one id to several events. Events without an id are never dropped.
#[derive(Debug)]
pub(crate) struct Overlap {
    held: Held,
    /// The events that the old connection has delivered and the new one may still bring: how often.
    delivered: HashMap<Digest, usize>,
    hasher: RandomState,
    /// Number of events of the new connection that were looked up.
    looked_up: usize,
}

/// The events of the new connection that wait for those of the old one.
#[derive(Debug, Default)]
struct Held {
    /// In order, `None` for those that the old connection has delivered since.
    events: Vec<Option<Event>>,
    /// The places of the events that are the same.
    places: HashMap<Digest, VecDeque<usize>>,
    /// Number of events with an id for each stream, by its id.
    streams: BTreeMap<Box<str>, usize>,
    bytes: usize,
    most_bytes: usize,
    /// Number of events that the old connection has to deliver, too.
    expected: usize,
    /// Whether one of them has an id.
    expects_ids: bool,
}

/// A hash of an event and its stream.
type Digest = u64;

/// There is no room for another event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Overlap {
    /// Creates an overlap that holds events up to this size, in bytes.
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self {
            held: Held {
                most_bytes,
                ..Held::default()
            },
            delivered: HashMap::new(),
            hasher: RandomState::new(),
            looked_up: 0,
        }
    }

    /// Takes note of an event that the old connection delivers.
    ///
    /// # Errors
    /// `Full` if it cannot be kept.
    pub(crate) fn deliver(&mut self, event: &Event) -> Result<(), Full> {
        let Some(digest) = self.digest(event) else {
            return Ok(());
        };
        if self.held.remove(digest) {
            return Ok(());
        }
        // Events of a stream come in the same order on both: the new connection has brought a later
        // one of this stream, and will not bring this one.
        if self.held.has_stream(event) {
            return Ok(());
        }
        if self.delivered.len() >= MAX_EVENTS && !self.delivered.contains_key(&digest) {
            return Err(Full);
        }
        *self.delivered.entry(digest).or_default() += 1;
        Ok(())
    }

    /// Holds an event of the new connection.
    ///
    /// # Errors
    /// `Full` if it is held, and no further one can be.
    pub(crate) fn hold(&mut self, event: Event) -> Result<(), Full> {
        // Of those that the old connection has delivered before.
        if self.is_delivered(&event) {
            return Ok(());
        }
        let digest = self.digest(&event);
        self.held.push(event, digest)
    }

    /// Expects the events that are held now on the old connection, too.
    pub(crate) fn expect_held(&mut self) {
        self.held.expected = self.held.events.len();
        self.held.expects_ids = self.has_ids();
    }

    /// Returns whether events are held.
    pub(crate) fn has_events(&self) -> bool {
        self.held.events.iter().any(Option::is_some)
    }

    /// Returns whether events with an id are held, which the old connection has not delivered.
    pub(crate) fn has_ids(&self) -> bool {
        !self.held.places.is_empty()
    }

    /// Returns whether events with an id are expected on the old connection.
    pub(crate) fn expects_ids(&self) -> bool {
        self.held.expects_ids
    }

    /// Returns whether the old connection has delivered all expected events that have an id.
    pub(crate) fn agrees(&self) -> bool {
        let mut expected = self.held.events.iter().take(self.held.expected).flatten();
        expected.all(|event| !has_id(event))
    }

    /// Returns the held events that the old connection has not delivered, in order.
    pub(crate) fn release(&mut self) -> impl Iterator<Item = Event> {
        mem::take(&mut self.held).events.into_iter().flatten()
    }

    /// Returns whether to drop an event of the new connection: the old one has delivered it.
    pub(crate) fn is_delivered(&mut self, event: &Event) -> bool {
        self.looked_up += 1;
        let Some(digest) = self.digest(event) else {
            return false;
        };
        let Some(times) = self.delivered.get_mut(&digest) else {
            return false;
        };
        *times -= 1;
        if *times == 0 {
            self.delivered.remove(&digest);
        }
        true
    }

    /// Returns the digest of an event that has an id.
    fn digest(&self, event: &Event) -> Option<Digest> {
        let content = (stream(event), event.value());
        has_id(event).then(|| self.hasher.hash_one(content))
    }

    /// Returns whether no event of the new connection can be one of the old one any more: all have
    /// come, or as many others as are kept.
    pub(crate) fn is_over(&self) -> bool {
        self.delivered.is_empty() || self.looked_up >= MAX_EVENTS
    }
}

impl Held {
    fn push(&mut self, mut event: Event, digest: Option<Digest>) -> Result<(), Full> {
        event.detach();
        if let Some(digest) = digest {
            let places = self.places.entry(digest).or_default();
            places.push_back(self.events.len());
            *self.streams.entry(stream(&event).into()).or_default() += 1;
        }
        self.bytes += event.message().len();
        self.events.push(Some(event));
        if self.events.len() >= MAX_EVENTS || self.bytes > self.most_bytes {
            return Err(Full);
        }
        Ok(())
    }

    /// Removes the first event with this digest. Returns whether there is one.
    fn remove(&mut self, digest: Digest) -> bool {
        let Some(places) = self.places.get_mut(&digest) else {
            return false;
        };
        let place = places.pop_front();
        if places.is_empty() {
            self.places.remove(&digest);
        }
        let Some(event) = place.and_then(|at| self.events[at].take()) else {
            return false;
        };
        self.bytes -= event.message().len();
        if let Some(count) = self.streams.get_mut(stream(&event)) {
            *count -= 1;
            if *count == 0 {
                self.streams.remove(stream(&event));
            }
        }
        true
    }

    fn has_stream(&self, event: &Event) -> bool {
        self.streams.contains_key(stream(event))
    }
}

fn stream(event: &Event) -> &str {
    event.resource().unwrap_or_default()
}

/// Returns whether an event has an id, which need not be a string.
fn has_id(event: &Event) -> bool {
    let [id] = event.members(["id"]);
    id.is_some_and(|id| id != "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> Event {
        of_stream("s1", id)
    }

    fn of_stream(stream: &str, id: &str) -> Event {
        let id = if id.is_empty() {
            String::new()
        } else {
            format!(r#""id":"{id}","#)
        };
        let text = format!(
            r#"{{"object":"event","type":"message","resource":"{stream}","value":{{{id}"path":"/a"}}}}"#
        );
        Event::from_message(text).unwrap()
    }

    /// Returns the ids of the released events.
    fn released(overlap: &mut Overlap) -> Vec<String> {
        let events = overlap.release();
        events
            .map(|event| event.id().unwrap_or_default().into_owned())
            .collect()
    }

    #[test]
    fn an_event_of_both_connections_is_delivered_by_the_old_one() {
        let mut overlap = Overlap::new(1 << 20);
        for id in ["a", "b"] {
            assert_eq!(overlap.deliver(&event(id)), Ok(()));
        }
        for id in ["b", "c"] {
            assert_eq!(overlap.hold(event(id)), Ok(()));
        }
        assert_eq!(overlap.deliver(&event("c")), Ok(()));
        assert_eq!(overlap.deliver(&event("d")), Ok(()));
        assert_eq!(overlap.hold(event("e")), Ok(()));
        assert_eq!(released(&mut overlap), ["e"]);
        assert!(!overlap.is_over());
        assert!(overlap.is_delivered(&event("d")));
        assert!(!overlap.is_delivered(&event("f")));
        assert!(overlap.is_delivered(&event("a")));
        assert!(overlap.is_over());
    }

    #[test]
    fn nothing_is_dropped_but_for_an_id_of_the_other_connection() {
        let mut overlap = Overlap::new(1 << 20);
        // Twice on the old one, and three times on the new one.
        for id in ["a", "", "a"] {
            overlap.deliver(&event(id)).unwrap();
        }
        for id in ["a", "", "a", "b", "b", "a"] {
            overlap.hold(event(id)).unwrap();
        }
        overlap.deliver(&event("b")).unwrap();
        assert_eq!(released(&mut overlap), ["", "b", "a"]);
        assert!(!overlap.is_delivered(&event("b")));
        assert!(!overlap.is_delivered(&event("")));
    }

    #[test]
    fn events_of_one_id_are_the_same_only_if_all_of_them_is() {
        let event = |n: usize| {
            let value = format!(r#"{{"id":17,"elems":{n}}}"#);
            let message = format!(r#"{{"type":"message","resource":"s1","value":{value}}}"#);
            Event::from_message(message).unwrap()
        };
        let mut overlap = Overlap::new(1 << 20);
        overlap.deliver(&event(1)).unwrap();
        overlap.hold(event(1)).unwrap();
        overlap.hold(event(2)).unwrap();
        overlap.hold(event(3)).unwrap();
        overlap.expect_held();
        overlap.deliver(&event(2)).unwrap();
        assert!(!overlap.agrees());
        overlap.deliver(&event(3)).unwrap();
        assert!(overlap.agrees() && overlap.is_over());
        overlap.hold(event(4)).unwrap();
        assert_eq!(overlap.release().count(), 1);
    }

    #[test]
    fn events_before_those_that_the_new_connection_has_brought_take_no_room() {
        let mut overlap = Overlap::new(1 << 20);
        overlap.hold(event("last")).unwrap();
        for n in 0..2 * MAX_EVENTS {
            assert_eq!(overlap.deliver(&event(&n.to_string())), Ok(()));
        }
        // One that follows, and one of another stream.
        overlap.deliver(&event("last")).unwrap();
        overlap.deliver(&event("next")).unwrap();
        overlap.deliver(&of_stream("s2", "other")).unwrap();
        assert_eq!(released(&mut overlap), [""; 0]);
        assert!(!overlap.is_delivered(&event("7")));
        assert!(overlap.is_delivered(&event("next")));
        assert!(!overlap.is_delivered(&of_stream("s3", "other")));
        assert!(overlap.is_delivered(&of_stream("s2", "other")));
    }

    #[test]
    fn held_events_are_expected_on_the_old_connection() {
        let mut overlap = Overlap::new(1 << 20);
        overlap.expect_held();
        assert!(overlap.agrees());
        for id in ["a", "", "b", "b"] {
            overlap.hold(event(id)).unwrap();
        }
        overlap.expect_held();
        overlap.hold(event("c")).unwrap();
        for id in ["a", "b"] {
            overlap.deliver(&event(id)).unwrap();
            assert!(!overlap.agrees());
        }
        overlap.deliver(&event("b")).unwrap();
        assert!(overlap.agrees());
    }

    #[test]
    fn ids_and_events_are_bounded() {
        let mut overlap = Overlap::new(1 << 20);
        for n in 0..MAX_EVENTS {
            assert_eq!(overlap.deliver(&event(&n.to_string())), Ok(()));
        }
        assert_eq!(overlap.deliver(&event("one more")), Err(Full));
        assert_eq!(overlap.deliver(&event("7")), Ok(()));
        for (length, room) in [(10, MAX_EVENTS), (10_000, 100)] {
            let mut overlap = Overlap::new(1 << 20);
            let held = (0..).take_while(|_| overlap.hold(event(&"x".repeat(length))).is_ok());
            assert!((room..room * 11 / 10).contains(&(held.count() + 1)));
            assert!(overlap.release().count() >= room);
        }
    }

    #[test]
    fn ids_are_kept_for_as_many_events() {
        let mut overlap = Overlap::new(1 << 20);
        assert!(overlap.is_over());
        overlap.deliver(&event("a")).unwrap();
        for _ in 1..MAX_EVENTS {
            assert!(!overlap.is_delivered(&event("b")));
            assert!(!overlap.is_over());
        }
        assert!(!overlap.is_delivered(&event("b")));
        assert!(overlap.is_over());
    }
}
