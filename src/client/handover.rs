//! Hands over from a connection to the next: what the old one still holds comes first, and its last
//! pong proves that nothing is missing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::old::{HandingOver, Old, Stage};
use super::{Client, State};
use crate::clock::Moment;
use crate::connection::{Arrival, Connection};
use crate::error::ErrorKind;
use crate::logger::record;
use crate::protocol::{Event, Subscriptions};
use crate::update::{Loss, Update};
use crate::wait::context::Watched;
use crate::{Error, Result};

/// A connection that ends so soon after another one is opened ends because of it.
const REPLACED: Duration = Duration::from_secs(2);

const TOO_MANY: &str = "too many events to compare those of two connections";

impl Client {
    /// Returns whether a failed connection is kept for a handover.
    pub(super) fn can_put_aside(&self, connection: &Connection) -> bool {
        self.config.handover && connection.is_silent()
    }

    /// Keeps a connection until the events on it have come, with its subscriptions if it is alive.
    pub(super) fn put_aside(
        &mut self,
        mut connection: Connection,
        from: SystemTime,
        renewed: Option<Subscriptions>,
    ) {
        connection.put_aside();
        // Before, the connection was not subscribed.
        let from = from.max(self.settled_at);
        let old = Old {
            connection,
            stage: Stage::Waiting,
            from,
            events: 0,
            opened_at: self.opened_at,
            followed_at: None,
            has_other_streams: !self.subscriptions.is_at_rest(),
            renewed,
        };
        let before = self.handing_over.take().map(|before| *before);
        self.handing_over = Some(Box::new(HandingOver::new(old, before)));
    }

    pub(super) fn old(&self) -> Option<&Old> {
        self.handing_over.as_ref()?.old.as_ref()
    }

    pub(super) fn old_mut(&mut self) -> Option<&mut Old> {
        self.handing_over.as_mut()?.old.as_mut()
    }

    /// Returns whether there is an old connection.
    pub(super) fn has_old(&self) -> bool {
        self.old().is_some()
    }

    /// Returns whether the new connection is to be subscribed later.
    pub(super) fn is_draining(&self) -> bool {
        self.old()
            .is_some_and(|old| matches!(old.stage, Stage::Draining(_)))
    }

    /// Keeps an old connection for the next attempt, since this one has failed, or its connection is
    /// silent, too. Gives the old one up where the service has ended the new one, or refuses it. Returns
    /// whether there was an old one.
    pub(super) fn wait_for_new(&mut self, new: &State, error: &Error) -> bool {
        self.leave_proven();
        if let Some(handing_over) = &mut self.handing_over {
            handing_over.subscribed_at = None;
        }
        let Some(old) = self.old_mut() else {
            return false;
        };
        old.stage = Stage::Waiting;
        let from = old.from;
        // A connection that was to be replaced.
        self.loss.get_or_insert_with(|| Loss {
            from,
            reason: error.to_string(),
        });
        if self.is_second_refused(error) {
            self.hand_over_no_more("refuses a second connection");
            self.leave_old();
        } else if let State::Open(connection) = new
            && !connection.is_silent()
        {
            self.leave_old();
        }
        true
    }

    /// Begins to read the old connection, since there is a new one. Returns whether there is an old one.
    pub(super) fn drain_old(&mut self) -> bool {
        let Some(old) = self.old_mut() else {
            return false;
        };
        old.stage = Stage::Draining(old.connection.arrived_bytes());
        old.followed_at.get_or_insert_with(Moment::now);
        true
    }

    /// Reads the old connection where it is its turn. Returns what that led to, `None` where it is the
    /// new one's turn.
    pub(super) fn advance_old(&mut self) -> Result<bool> {
        let Some(old) = self.old_mut() else {
            return Ok(false);
        };
        let is_drained = match &old.stage {
            Stage::Waiting | Stage::Subscribing => return Ok(false),
            Stage::Leaving(_) => {
                if self.unsubscribe_old() {
                    self.leave_proven();
                    return Ok(true);
                }
                false
            }
            Stage::Draining(bytes) => old.connection.read_bytes() > *bytes,
            Stage::Proving(proof) if old.connection.read_bytes() > proof.most_bytes => {
                self.give_up_old("its pong does not come behind what is sent");
                return Ok(true);
            }
            Stage::Proving(_) => false,
        };
        let read = match self.old_mut() {
            Some(old) if !is_drained => old.connection.read(Some(Instant::now())),
            _ => Ok(None),
        };
        match read {
            Ok(Some(arrival)) => self.old_arrived(arrival),
            Ok(None) => return Ok(self.old_is_empty()),
            Err(error) if error.kind() == ErrorKind::Stopped => return Err(error),
            Err(error) => {
                // A connection that was alive ends since there is another one.
                let is_ended = self.loss.is_none() && error.kind() == ErrorKind::Disconnected;
                let followed_at = self.old_mut().and_then(|old| old.followed_at);
                if is_ended && followed_at.is_some_and(|at| at.at.elapsed() < REPLACED) {
                    self.hand_over_no_more("ends a connection when another one is opened");
                }
                self.give_up_old(&error.to_string());
            }
        }
        Ok(true)
    }

    /// Decides what follows where nothing more has come on the old connection. Returns whether
    /// anything does.
    fn old_is_empty(&mut self) -> bool {
        let Some(old) = self.old_mut() else {
            return false;
        };
        match &old.stage {
            Stage::Draining(_) => {
                old.stage = Stage::Subscribing;
                self.resubscribe();
                true
            }
            Stage::Proving(proof) if proof.deadline.is_some_and(|at| at <= Instant::now()) => {
                if proof.is_asked {
                    self.give_up_old(&format!("no response to ping from {}", self.peer()));
                } else {
                    self.ask_old(true);
                }
                true
            }
            _ => false,
        }
    }

    /// Takes an arrival of the old connection.
    fn old_arrived(&mut self, arrival: Arrival) {
        let Some(handing_over) = &mut self.handing_over else {
            return;
        };
        match arrival {
            Arrival::Event(event) => {
                let Some((event, has_room)) = handing_over.take_late(event) else {
                    return;
                };
                self.pushed(event);
                if let Some(old) = self.old_mut() {
                    old.events += 1;
                }
                if !has_room {
                    self.give_up_old(TOO_MANY);
                }
            }
            Arrival::Unknown(unknown) => self.queue.push_back(Update::Unknown(unknown)),
            Arrival::Pong(_) => self.pong_arrived(),
            // Of requests that were made on it.
            Arrival::Ack(_) | Arrival::Watched | Arrival::Sent => {}
        }
    }

    /// Gives the old connection up: events may be missing. The reason is that of the loss, unless the
    /// connection was lost before.
    pub(super) fn give_up_old(&mut self, reason: &str) {
        if self.leave_proven() {
            return;
        }
        let Some(handing_over) = &mut self.handing_over else {
            return;
        };
        let Some(old) = handing_over.old.take() else {
            return;
        };
        record!(
            self.config.logger,
            Debug,
            "the old connection is given up: {reason}"
        );
        let mut is_subscribed = true;
        match old.stage {
            Stage::Proving(proof) => handing_over.subscribed_at = Some(proof.subscribed_at),
            Stage::Draining(_) => is_subscribed = false,
            Stage::Waiting | Stage::Subscribing | Stage::Leaving(_) => {}
        }
        // What has come late says nothing of what was sent before it is complete.
        self.loss.get_or_insert_with(|| Loss {
            from: old.from,
            reason: reason.to_owned(),
        });
        self.tell_loss();
        self.release();
        if !is_subscribed {
            self.resubscribe();
        }
    }

    pub(super) fn tell_loss(&mut self) {
        let lost = self.loss.clone().map(Update::Lost);
        if lost.is_some() {
            self.lost_history();
        }
        self.queue.extend(lost);
    }

    /// Gives the old connection up, after what has come on it.
    pub(super) fn leave_old(&mut self) {
        if let Some(handing_over) = &mut self.handing_over
            && handing_over.old.is_some()
        {
            let mut late = Vec::new();
            handing_over.leave(|event| late.push(event));
            let released: Vec<Event> = handing_over.overlap.release().collect();
            for event in late {
                self.pushed(event);
            }
            if self.filling.is_none() {
                self.queue.extend(released.into_iter().map(Update::Event));
            }
            self.tell_loss();
        }
    }

    /// Takes the end of the time for which events may be missing, where the connection was subscribed
    /// before that was known.
    pub(super) fn take_subscribed_at(&mut self) -> Option<SystemTime> {
        let subscribed_at = self.handing_over.as_mut()?.subscribed_at.take();
        self.end_overlap();
        subscribed_at
    }

    /// Returns the held events.
    pub(super) fn release(&mut self) {
        let Some(handing_over) = &mut self.handing_over else {
            return;
        };
        let events: Vec<Event> = handing_over.overlap.release().collect();
        for event in events {
            self.pushed(event);
        }
        self.end_overlap();
    }

    pub(super) fn end_overlap(&mut self) {
        self.handing_over.take_if(|of| of.is_over());
    }

    /// Takes an event of the new connection.
    pub(super) fn event_arrived(&mut self, event: Event) {
        let Some(handing_over) = &mut self.handing_over else {
            self.pushed(event);
            return;
        };
        if handing_over.old.is_some() {
            if handing_over.overlap.hold(event).is_err() {
                self.give_up_old(TOO_MANY);
            }
            self.ask_old(false);
            return;
        }
        if !handing_over.is_delivered(&event) {
            self.pushed(event);
        }
        self.end_overlap();
    }

    /// Returns what a read of the new connection ends for, and when.
    pub(super) fn watched_with_old(&self, watched: &Watched) -> (Watched, Option<Instant>) {
        let mut watched = watched.clone();
        if let Some(attempt) = &self.renewing {
            watched.socket = Some(attempt.over());
        }
        let (fd, deadline) = match self.old().map(|old| &old.stage) {
            Some(Stage::Proving(proof)) => (&proof.fd, proof.deadline),
            Some(Stage::Leaving(leaving)) => (&leaving.fd, Some(leaving.deadline)),
            _ => return (watched, None),
        };
        watched.socket = Some(Arc::clone(fd));
        (watched, deadline)
    }
}
