//! The connection before the present one.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::vec;

use crate::clock::Moment;
use crate::connection::close::{Farewell, Patience};
use crate::connection::{Arrival, Connection};
use crate::protocol::{Event, Overlap, Stream, Subscriptions};

/// Maximum size of the events of a new connection that wait for those of the old one.
pub(super) const MOST_HELD: usize = 1 << 20;

/// An old connection until its events have come, and the ids of its last ones.
pub(super) struct HandingOver {
    /// `None` once it is over.
    pub(super) old: Option<Old>,
    pub(super) overlap: Overlap,
    /// The overlap of the old connection with the one before it.
    earlier: Option<Overlap>,
    /// When the last stream was subscribed on the new connection, where the old one was given up
    /// since.
    pub(super) subscribed_at: Option<SystemTime>,
}

pub(super) struct Old {
    pub(super) connection: Connection,
    pub(super) stage: Stage,
    /// When it was last known that everything sent had been received.
    pub(super) from: SystemTime,
    /// Number of events that have come since.
    pub(super) events: u64,
    /// When it was opened.
    pub(super) opened_at: Instant,
    /// When the first connection after it was opened.
    pub(super) followed_at: Option<Moment>,
    /// Whether other streams may be subscribed on the new connection: their events need not come on
    /// this one.
    pub(super) has_other_streams: bool,
    /// The subscriptions of a connection that is replaced although it is alive, unless others have
    /// been asked for since.
    pub(super) renewed: Option<Subscriptions>,
}

pub(super) enum Stage {
    /// Its events wait in its socket for a new connection.
    Waiting,
    /// A new connection is open, and not subscribed: what has come by then cannot come there, too.
    /// That is up to this number of bytes.
    Draining(u64),
    /// The streams are being subscribed on the new connection.
    Subscribing,
    Proving(Proof),
    /// Nothing is missing: it is being unsubscribed, and its last events come before the answers.
    Leaving(Leaving),
}

/// A ping to the old connection, whose pong proves that everything sent before has come.
pub(super) struct Proof {
    /// When the last stream was subscribed on the new connection.
    pub(super) subscribed_at: SystemTime,
    /// Whether the ping is sent. It waits for an event of the new connection, which has to come on the
    /// old one, too, until it is known that the service serves both.
    pub(super) is_asked: bool,
    /// Whether the ping is the second one: an event had not come before the first pong.
    pub(super) is_repeated: bool,
    /// Number of bytes of the old connection before which the pong has to come.
    pub(super) most_bytes: u64,
    /// When the ping is sent in any case, or its pong is no longer awaited.
    pub(super) deadline: Option<Instant>,
    /// The socket of the old connection.
    pub(super) fd: Arc<OwnedFd>,
}

/// The end of an old connection that has proved that nothing is missing. A service that answers pings
/// before it sends the events that wait still sends those before the answers to requests.
pub(super) struct Leaving {
    /// When the last stream was subscribed on the new connection.
    pub(super) subscribed_at: SystemTime,
    /// The streams that are still to be unsubscribed.
    pub(super) streams: vec::IntoIter<Stream>,
    /// When the answers are no longer awaited.
    pub(super) deadline: Instant,
    /// The socket of the old connection.
    pub(super) fd: Arc<OwnedFd>,
}

impl HandingOver {
    pub(super) fn new(old: Old, before: Option<Self>) -> Self {
        Self {
            old: Some(old),
            overlap: Overlap::new(MOST_HELD),
            earlier: before.and_then(|before| {
                if before.overlap.is_over() {
                    before.earlier
                } else {
                    Some(before.overlap)
                }
            }),
            subscribed_at: None,
        }
    }

    /// Takes an event of the old connection. Returns it if it is to be delivered, and whether there is
    /// room for its id.
    pub(super) fn take_late(&mut self, event: Event) -> Option<(Event, bool)> {
        let earlier = self.earlier.as_mut();
        if earlier.is_some_and(|earlier| earlier.is_delivered(&event)) {
            return None;
        }
        let old = self.old.as_mut();
        let is_draining = old.is_some_and(|old| matches!(old.stage, Stage::Draining(_)));
        // Before it is subscribed, a new connection brings nothing.
        let is_single = is_draining && !self.overlap.has_events();
        let has_room = is_single || self.overlap.deliver(&event).is_ok();
        Some((event, has_room))
    }

    /// Goes back to the old connection: returns the events that came on the new one alone, which the old
    /// one may still bring.
    pub(super) fn go_back(&mut self) -> Vec<Event> {
        let events: Vec<Event> = self.overlap.release().collect();
        self.overlap = Overlap::new(MOST_HELD);
        for event in &events {
            let _ = self.overlap.deliver(event);
        }
        events
    }

    /// Returns whether no event can come twice any more, and the end of a loss was taken.
    pub(super) fn is_over(&self) -> bool {
        let earlier = self.earlier.as_ref();
        self.old.is_none()
            && self.subscribed_at.is_none()
            && self.overlap.is_over()
            && earlier.is_none_or(Overlap::is_over)
    }

    /// Closes the old connection, after what has come on it. Events of the new one are still held.
    pub(super) fn leave(&mut self, mut callback: impl FnMut(Event)) {
        let Some(old) = self.old.take() else { return };
        let at_once = Patience::new(Duration::ZERO, Duration::ZERO);
        let _ = self.close(old.connection, [], &at_once, usize::MAX, &mut callback);
    }

    /// Closes an old connection, and passes on the events that still come on it, up to this size, in
    /// bytes.
    pub(super) fn close(
        &mut self,
        connection: Connection,
        streams: impl IntoIterator<Item = Stream>,
        patience: &Patience,
        most: usize,
        mut callback: impl FnMut(Event),
    ) -> Farewell {
        let mut bytes = 0;
        connection.close(streams, patience, |arrival| {
            if let Arrival::Event(event) = arrival
                && bytes <= most
                // Where there is no room for the id, the event may come twice.
                && let Some((event, _)) = self.take_late(event)
            {
                bytes += event.message().len();
                callback(event);
            }
        })
    }

    /// Returns whether to drop an event of the new connection.
    pub(super) fn is_delivered(&mut self, event: &Event) -> bool {
        let earlier = self.earlier.as_mut();
        self.overlap.is_delivered(event)
            || earlier.is_some_and(|earlier| earlier.is_delivered(event))
    }
}
