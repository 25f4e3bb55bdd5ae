//! Takes leave of the service.

use std::time::Duration;

use super::{Client, State};
use crate::Result;
use crate::clock;
use crate::connection::Arrival;
use crate::connection::close::{Farewell, Patience};
use crate::protocol::Event;
use crate::update::{Loss, Update};

impl Client {
    /// Unsubscribes all streams, closes the WebSocket with code 1000, and waits for the answers, up to
    /// 1.5 s, also after a [`Stop`](crate::Stop). Events that arrive meanwhile are dropped.
    ///
    /// # Errors
    /// Whatever went wrong. The connection is closed in any case.
    pub fn close(self) -> Result<()> {
        self.close_with(|_| {})
    }

    /// Closes as [`Client::close`] does, and passes to the callback what arrives before the streams are
    /// unsubscribed. A [`Update::Lost`] says that events may be missing from the end: nothing of the
    /// service has shown that the connection lasted until now.
    ///
    /// # Errors
    /// As [`Client::close`].
    pub fn close_with(self, callback: impl FnMut(Update)) -> Result<()> {
        self.leave(&Patience::default(), callback)
    }

    /// Closes as [`Client::close_with`] does, within `timeout`. Waits for the answer of the service up
    /// to [`Config::ping_timeout`](crate::Config::ping_timeout), so that a caller learns whether the
    /// connection lasted. A [`Stop`](crate::Stop) limits the wait to 1.5 s.
    ///
    /// # Errors
    /// As [`Client::close`].
    pub fn close_within(self, timeout: Duration, callback: impl FnMut(Update)) -> Result<()> {
        let patience = Patience::new(self.pong_timeout(), timeout);
        self.leave(&patience, callback)
    }

    fn leave(mut self, patience: &Patience, mut callback: impl FnMut(Update)) -> Result<()> {
        self.leave_proven();
        self.queue.drain(..).for_each(&mut callback);
        let streams: Vec<_> = self.subscriptions.subscribed().iter().cloned().collect();
        let is_alive = self.loss.is_none();
        let mut filling = self.filling.take();
        let mut is_dropped = filling
            .as_ref()
            .is_some_and(|filling| filling.is_incomplete());
        // Behind an event that goes out, nothing may be left to read.
        let mut goes_out = |event: &Event| {
            let Some(filling) = &mut filling else {
                return true;
            };
            let is_held = filling.holds(event);
            is_dropped |= is_held;
            !is_held && !filling.has_delivered(event)
        };
        let reason = "the history was not read to its end";
        let settled_at = self.settled_at.min(clock::now());
        let unread = Update::Lost(Loss::new(settled_at, reason));
        if let Some(handing_over) = &mut self.handing_over {
            if let Some(old) = handing_over.old.take_if(|_| is_alive) {
                // One that was to be replaced: its answers show that nothing is missing.
                let connection = old.connection;
                let most = usize::MAX;
                let farewell = handing_over.close(connection, streams, patience, most, |event| {
                    if goes_out(&event) {
                        callback(Update::Event(event));
                    }
                });
                let held = handing_over.overlap.release().filter(&mut goes_out);
                held.map(Update::Event).for_each(&mut callback);
                let lost = farewell.lost.map(Update::Lost);
                lost.into_iter().for_each(&mut callback);
                self.leave_new(goes_out, &mut callback);
                if is_dropped {
                    callback(unread);
                }
                return farewell.closed;
            }
            handing_over.leave(|event| {
                if goes_out(&event) {
                    callback(Update::Event(event));
                }
            });
            let held = handing_over.overlap.release().filter(&mut goes_out);
            held.map(Update::Event).for_each(&mut callback);
        }
        let State::Open(connection) = self.state else {
            return Ok(());
        };
        let Farewell { closed, lost } =
            connection.close(streams, patience, |arrival| match arrival {
                Arrival::Event(event) => {
                    let handing_over = self.handing_over.as_mut();
                    let is_delivered = handing_over.is_some_and(|of| of.is_delivered(&event));
                    if !is_delivered && goes_out(&event) {
                        callback(Update::Event(event));
                    }
                }
                Arrival::Unknown(unknown) => callback(Update::Unknown(unknown)),
                // The answers are those that it waits for itself.
                Arrival::Ack(_) | Arrival::Pong(_) | Arrival::Watched | Arrival::Sent => {}
            });
        if is_dropped && self.loss.is_none() {
            callback(unread);
            return closed;
        }
        // A loss that is not over yet began before.
        if let (Some(loss), None) = (lost, self.loss) {
            callback(Update::Lost(loss));
        }
        closed
    }

    /// Closes the new connection beside an old one that has been closed in order.
    fn leave_new(self, mut goes_out: impl FnMut(&Event) -> bool, mut callback: impl FnMut(Update)) {
        let (State::Open(connection), Some(mut handing_over)) = (self.state, self.handing_over)
        else {
            return;
        };
        let at_once = Patience::new(Duration::ZERO, Duration::ZERO);
        let _ = connection.close([], &at_once, |arrival| {
            if let Arrival::Event(event) = arrival
                && !handing_over.is_delivered(&event)
                && goes_out(&event)
            {
                callback(Update::Event(event));
            }
        });
    }
}
