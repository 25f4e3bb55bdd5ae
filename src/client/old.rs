//! The connection before the present one.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::connection::close::Patience;
use crate::connection::{Arrival, Connection};
use crate::protocol::{Event, Overlap, Subscriptions};

/// An old connection until its events have come, and the ids of its last ones.
pub(super) struct HandingOver {
    /// `None` once it is over.
    pub(super) old: Option<Old>,
    pub(super) overlap: Overlap,
    /// The overlap of the old connection with the one before it.
    pub(super) earlier: Option<Overlap>,
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
    /// The streams are being subscribed on the new connection, open since then.
    Subscribing(SystemTime),
    Proving(Proof),
}

/// A ping to the old connection, whose pong proves that everything sent before has come.
pub(super) struct Proof {
    /// When the new connection was opened, and when its last stream was subscribed.
    pub(super) opened_at: SystemTime,
    pub(super) subscribed_at: SystemTime,
    /// Whether the ping is sent. It waits for an event of the new connection, which has to come on the
    /// old one, too, until it is known that the service serves both.
    pub(super) is_asked: bool,
    /// Whether it is the second one, since an event has not come before the first pong.
    pub(super) is_repeated: bool,
    /// When the ping is sent in any case, or its pong is no longer awaited.
    pub(super) deadline: Option<Instant>,
    /// The socket of the old connection.
    pub(super) fd: Arc<OwnedFd>,
}

impl HandingOver {
    /// Closes the old connection, after what has come on it.
    pub(super) fn leave(&mut self, mut callback: impl FnMut(Event)) {
        let Some(old) = self.old.take() else { return };
        let at_once = Patience::new(Duration::ZERO, Duration::ZERO);
        let _ = old.connection.close([], &at_once, |arrival| {
            let Arrival::Event(event) = arrival else {
                return;
            };
            let earlier = self.earlier.as_mut();
            if earlier.is_some_and(|earlier| earlier.is_delivered(&event)) {
                return;
            }
            // Where there is no room for the id, the event may come twice.
            let _ = self.overlap.deliver(&event);
            callback(event);
        });
        self.overlap.release().for_each(callback);
    }

    /// Returns whether to drop an event of the new connection.
    pub(super) fn is_delivered(&mut self, event: &Event) -> bool {
        self.overlap.is_delivered(event)
    }
}
