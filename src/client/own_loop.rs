//! A client in a loop of the caller's.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::{Client, State};

/// Interval for looking at the old connection of a handover, or at the attempt that is to replace a
/// connection: one descriptor is lent.
const LOOK_AT_OTHER: Duration = Duration::from_millis(50);

/// For a poll(2) or epoll(7) of the caller's: call [`Client::next`] with a timeout of zero until it
/// returns [`Update::TimedOut`](crate::Update::TimedOut), then wait for the descriptor and the time. Waits
/// are level-triggered: data may be left unread. A [`Stop`](crate::Stop) has a descriptor of its own.
impl Client {
    /// Returns the descriptor to wait for, if there is one now: that of the connection, or of an attempt
    /// in the [background](crate::Config::connect_in_background). It may change with each call of
    /// [`Client::next`]. Only wait for it.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Open(connection) => Some(connection.as_fd()),
            State::Connecting(attempt) => Some(attempt.as_fd()),
            State::Waiting(_) | State::Failed(_) | State::Closed => None,
        }
    }

    /// Returns whether to wait until the descriptor is readable: while there is one, unless as many events
    /// wait for history as may.
    pub fn wants_read(&self) -> bool {
        self.as_fd().is_some() && !self.is_full()
    }

    /// Returns whether to wait until the descriptor is writable, too.
    pub fn wants_write(&self) -> bool {
        match &self.state {
            State::Open(connection) => connection.wants_write(),
            _ => false,
        }
    }

    /// Returns when to call [`Client::next`] at the latest, if the descriptor is not ready before: now,
    /// unless the last call returned [`Update::TimedOut`](crate::Update::TimedOut) and nothing was asked
    /// for since. `None` if there is no such time.
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.state {
            State::Closed if self.queue.is_empty() => None,
            _ if !self.is_idle => Some(Instant::now()),
            State::Waiting(at) => Some(*at),
            State::Open(connection) => {
                let looks = self.is_handing_over() || self.renewing.is_some();
                let look_at = looks.then(|| Instant::now() + LOOK_AT_OTHER);
                let times = [
                    self.postponed.until,
                    self.renew_at(),
                    look_at,
                    self.fill_at(),
                ];
                // Nothing is read or sent while as many events wait as may.
                let idle_until = connection.idle_until().filter(|_| !self.is_full());
                times.into_iter().flatten().chain(idle_until).min()
            }
            State::Connecting(_) | State::Failed(_) | State::Closed => None,
        }
    }
}
