//! Has an old connection prove that nothing is missing: by the pong to a last ping, and by the events
//! of both connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Client;
use super::old::{HandingOver, Leaving, MOST_HELD, Old, Proof, Stage};
use crate::clock;
use crate::connection::close::Patience;
use crate::logger::record;
use crate::protocol::{Action, ON_THE_WAY, Request};
use crate::update::{Handover, Loss, Update};

/// A sender doubles the time between its retransmissions (RFC 6298 §5.5): after an outage, the data
/// that it has kept comes within as much time again. Beyond this, new events do not wait for it.
const RETRANSMITTED: Duration = Duration::from_secs(90);

/// Delay before the old connection is asked once more.
const ONCE_MORE: Duration = Duration::from_secs(1);

/// Time for the farewell of an old connection, which has just answered.
const FAREWELL: Duration = Duration::from_millis(400);

impl Client {
    /// Has the old connection prove that nothing is missing, since all streams are subscribed on the
    /// new one. Returns whether the proof is awaited.
    pub(super) fn prove(&mut self) -> bool {
        let patience = self.pong_timeout() / 2;
        let pause = self.renewal.pause();
        let Some(old) = self.old_mut() else {
            return false;
        };
        let Stage::Subscribing = old.stage else {
            return true;
        };
        // A connection that is replaced has little time left.
        let patience = match old.renewed {
            Some(_) => patience.min(pause),
            None => patience,
        };
        let Ok(fd) = old.connection.try_clone_fd() else {
            self.give_up_old("there are no more file descriptors");
            return false;
        };
        old.stage = Stage::Proving(Proof {
            subscribed_at: clock::now(),
            most_bytes: old.connection.arrived_bytes() + 2 * ON_THE_WAY,
            is_asked: false,
            is_repeated: false,
            deadline: Instant::now().checked_add(patience),
            fd: fd.into(),
        });
        self.ask_old(false);
        self.has_old()
    }

    pub(super) fn pong_timeout(&self) -> Duration {
        match self.config.ping_timeout {
            Duration::ZERO => self.config.ack_timeout,
            timeout => timeout,
        }
    }

    /// Sends the ping to the old connection, once there is an event that has to come before its pong,
    /// or `is_time`.
    pub(super) fn ask_old(&mut self, is_time: bool) {
        let pong_timeout = self.pong_timeout();
        let Some(HandingOver {
            old:
                Some(Old {
                    stage: Stage::Proving(proof),
                    connection,
                    has_other_streams,
                    ..
                }),
            overlap,
            ..
        }) = self.handing_over.as_deref_mut()
        else {
            return;
        };
        let is_due = is_time || !proof.is_repeated && (self.serves_both || overlap.has_ids());
        if proof.is_asked || !is_due {
            return;
        }
        if !proof.is_repeated && !*has_other_streams {
            overlap.expect_held();
        }
        let silence = connection.heard_at().elapsed();
        let patience = if silence <= RETRANSMITTED {
            pong_timeout.max(silence)
        } else {
            pong_timeout
        };
        proof.is_asked = true;
        proof.deadline = Instant::now().checked_add(patience);
        proof.most_bytes = connection.arrived_bytes() + 2 * ON_THE_WAY;
        if connection.ping().is_err() {
            // What has come on it says why.
            proof.deadline = Some(Instant::now());
        }
    }

    /// Takes a pong of the old connection. Where an event has not come on it, asks once more: a service
    /// need not write to both at once.
    pub(super) fn pong_arrived(&mut self) {
        let Some(HandingOver {
            old: Some(old),
            overlap,
            ..
        }) = self.handing_over.as_deref_mut()
        else {
            return;
        };
        match &mut old.stage {
            Stage::Proving(proof) if proof.is_asked => {
                if proof.is_repeated || overlap.agrees() {
                    self.proven();
                } else {
                    proof.is_repeated = true;
                    proof.is_asked = false;
                    proof.deadline = Some(Instant::now() + ONCE_MORE);
                }
            }
            // The answer to a ping of the caller.
            _ => {}
        }
    }

    /// Takes the last pong of the old connection: all that was sent before it has come.
    fn proven(&mut self) {
        let streams: Vec<_> = self.subscriptions.subscribed().iter().cloned().collect();
        let Some(HandingOver {
            old: Some(old),
            overlap,
            subscribed_at,
            ..
        }) = self.handing_over.as_deref_mut()
        else {
            return;
        };
        let Stage::Proving(proof) = &old.stage else {
            return;
        };
        let to = proof.subscribed_at;
        let agrees = overlap.agrees();
        self.serves_both |= agrees && overlap.expects_ids();
        old.renewed = None;
        let from = old.followed_at.map_or(old.from, |at| at.past_date());
        old.stage = Stage::Leaving(Leaving {
            subscribed_at: to,
            streams: streams.into_iter(),
            deadline: Instant::now() + FAREWELL,
            fd: Arc::clone(&proof.fd),
        });
        if agrees {
            self.loss = None;
            self.renewal.succeeded();
        } else {
            *subscribed_at = Some(to);
            let what = "serves the newest connection alone";
            self.hand_over_no_more(what);
            self.loss = Some(Loss {
                from,
                reason: format!("{} {what}", self.peer()),
            });
        }
    }

    /// Asks for the unsubscriptions that are still to be sent. Returns whether all are answered, or no
    /// longer awaited.
    pub(super) fn unsubscribe_old(&mut self) -> bool {
        let Some(Old {
            connection,
            stage: Stage::Leaving(leaving),
            ..
        }) = self.old_mut()
        else {
            return false;
        };
        connection.request(|| {
            Some(Request {
                action: Action::Unsubscribe,
                stream: leaving.streams.next()?,
                ticket: 0,
            })
        });
        let is_answered = connection.pending() == 0 && leaving.streams.len() == 0;
        is_answered || leaving.deadline <= Instant::now()
    }

    /// Ends a handover whose old connection has proved that nothing is missing. Returns whether there
    /// is one.
    pub(super) fn leave_proven(&mut self) -> bool {
        let Some(handing_over) = &mut self.handing_over else {
            return false;
        };
        let is_proven = |old: &mut Old| matches!(old.stage, Stage::Leaving(_));
        let Some(Old {
            connection,
            stage: Stage::Leaving(leaving),
            from,
            mut events,
            ..
        }) = handing_over.old.take_if(is_proven)
        else {
            return false;
        };
        if self.config.in_background {
            connection.close_in_background(Vec::new(), Patience::new(FAREWELL, FAREWELL));
        } else {
            let left = leaving.deadline.saturating_duration_since(Instant::now());
            let patience = Patience::new(left, left);
            // Beyond the size, the new connection brings them.
            let mut late = Vec::new();
            let farewell = handing_over.close(connection, [], &patience, MOST_HELD, |event| {
                events += 1;
                late.push(event);
            });
            for event in late {
                self.pushed(event);
            }
            if let Err(error) = farewell.closed {
                record!(self.config.logger, Debug, "the old connection: {error}");
            }
        }
        let to = leaving.subscribed_at;
        if self.loss.is_none() {
            self.queue.push_back(Update::Handover(Handover {
                from: from.min(to),
                to,
                events,
            }));
        }
        self.tell_loss();
        self.release();
        true
    }
}
