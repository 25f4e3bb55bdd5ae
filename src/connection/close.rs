//! Takes leave of the service.

use std::time::{Duration, Instant};

use super::{Arrival, Connection};
use crate::clock;
use crate::error::{ErrorKind, Phase};
use crate::next::Loss;
use crate::protocol::{Action, Request, Stream};
use crate::transport::attention::Watched;
use crate::{Error, Result};

/// How long the answer to a close may take.
const CLOSE: Duration = Duration::from_millis(750);

/// How long those to the unsubscriptions may take, once it is stopped.
const UNSUBSCRIBE: Duration = Duration::from_millis(750);

/// After so long without an answer a pong will do.
const PING: Duration = Duration::from_secs(1);

/// How a connection was left.
pub(crate) struct Farewell {
    pub(crate) closed: Result<()>,
    /// What may have been lost before: that the connection lasted until it was left has not shown.
    pub(crate) lost: Option<Loss>,
}

/// As many bytes the system may have taken in and not tell of yet.
const UNDER_WAY: u64 = 256 << 10;

/// When it was begun to leave, and how many bytes had come in by then.
struct Begun {
    at: Instant,
    bytes: u64,
}

/// How long it may take to leave.
pub(crate) struct Patience {
    /// For the answers to the unsubscriptions.
    pub(crate) answers: Duration,
    /// For everything.
    pub(crate) all: Duration,
}

/// Unless the caller says otherwise.
impl Default for Patience {
    fn default() -> Self {
        Self {
            answers: UNSUBSCRIBE,
            all: UNSUBSCRIBE + CLOSE,
        }
    }
}

impl Patience {
    /// No longer than `timeout` on the whole, and for the answers no longer than `answers`.
    pub(crate) fn new(answers: Duration, timeout: Duration) -> Self {
        let answers = answers.min(timeout.saturating_sub(CLOSE).max(timeout / 2));
        Self {
            answers,
            all: timeout.min(answers.saturating_add(CLOSE)),
        }
    }
}

impl Connection {
    /// Unsubscribes from the streams, closes with 1000 and waits for the answers to both. A stop cuts
    /// this down to two seconds. Hands over what comes in before the streams are unsubscribed.
    pub(crate) fn close(
        mut self,
        subscribed: impl IntoIterator<Item = Stream>,
        patience: &Patience,
        mut arrived: impl FnMut(Arrival),
    ) -> Farewell {
        log::debug!("socket: closing the connection to {}", self.socket.peer());
        self.watch(Watched::default());
        let begun = Begun {
            at: Instant::now(),
            bytes: self.socket.arrived(),
        };
        let mut streams = subscribed.into_iter().peekable();
        let is_subscribed = streams.peek().is_some();
        let unsubscribed = self
            .take_rest(begun.at, &mut arrived)
            .and_then(|()| self.unsubscribe(streams, &begun, patience.answers, &mut arrived));
        let is_alive = unsubscribed.is_ok() || self.has_heard_since(&begun);
        let lost = (is_subscribed && !is_alive).then(|| Loss {
            from: self.complete_at().date.min(clock::now()),
            reason: unsubscribed
                .as_ref()
                .map_or_else(Error::to_string, |()| String::new()),
        });
        let closed = match unsubscribed {
            Err(error) if error.kind() != ErrorKind::TimedOut => Err(error),
            done => {
                // Who has not answered so far is not waited for.
                let time = if is_alive {
                    patience.all
                } else {
                    Duration::ZERO
                };
                let deadline = (begun.at + time).min(Instant::now() + CLOSE);
                done.and(self.socket.close(deadline))
            }
        };
        Farewell { closed, lost }
    }

    /// Whether something was sent since, if not the answers.
    fn has_heard_since(&mut self, begun: &Begun) -> bool {
        let coming = self.socket.coming();
        coming.bytes > begun.bytes + UNDER_WAY || coming.complete_at.at >= begun.at
    }

    /// Hands over what has come in so far.
    fn take_rest(&mut self, now: Instant, arrived: &mut impl FnMut(Arrival)) -> Result<()> {
        loop {
            match self.read(Some(now)) {
                Ok(None) => return Ok(()),
                Ok(Some(arrival)) => arrived(arrival),
                Err(error) if error.kind() == ErrorKind::Stopped => self.socket.ignore_stop(),
                Err(error) => return Err(error),
            }
            // What comes without a pause ends with the answers.
            if Instant::now() > now + UNSUBSCRIBE / 2 {
                return Ok(());
            }
        }
    }

    fn unsubscribe(
        &mut self,
        streams: impl IntoIterator<Item = Stream>,
        begun: &Begun,
        patience: Duration,
        arrived: &mut impl FnMut(Arrival),
    ) -> Result<()> {
        let mut streams = streams.into_iter();
        let mut deadline = begun.at + patience;
        // A service that does not answer may still answer a ping.
        let now = Instant::now();
        let mut ping_at = Some(now + (deadline.saturating_duration_since(now) / 2).min(PING));
        loop {
            while self.may_request()
                && deadline > Instant::now()
                && let Some(stream) = streams.next()
            {
                let request = Request {
                    action: Action::Unsubscribe,
                    stream,
                    ticket: 0,
                };
                let text = self.exchange.request(request, Instant::now());
                let sent = self.socket.send(text, deadline);
                self.unless_failed(sent);
            }
            if self.exchange.pending() == 0 && streams.next().is_none() {
                return Ok(());
            }
            // Events may come in for as long as it takes: the clock is looked at here too.
            let until = ping_at.map_or(deadline, |at| at.min(deadline));
            let is_nothing = match self.read(Some(until)) {
                Ok(None) if ping_at.take_if(|at| *at <= Instant::now()).is_some() => {
                    // Where it cannot be sent, the next read says so.
                    let _ = self.ping();
                    false
                }
                Ok(arrival) => {
                    let is_nothing = arrival.is_none();
                    arrival.into_iter().for_each(&mut *arrived);
                    is_nothing
                }
                Err(error) if error.kind() == ErrorKind::Stopped => {
                    self.socket.ignore_stop();
                    deadline = deadline.min(Instant::now() + UNSUBSCRIBE);
                    false
                }
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            // That it lives is known, and its answer is not worth a longer wait.
            let is_late = now >= begun.at + UNSUBSCRIBE && self.has_heard_since(begun);
            if is_nothing || is_late || now >= deadline {
                let message = format!("{} did not answer in time", self.socket.peer());
                return Err(Error::new(Phase::Unsubscribe, ErrorKind::TimedOut, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_close_are_waited_for_within_the_timeout() {
        for timeout in [0, 1, 700, 1500, 3000, 100_000].map(Duration::from_millis) {
            for answers in [0, 400, 10_000, 3_600_000].map(Duration::from_millis) {
                let patience = Patience::new(answers, timeout);
                assert!(patience.answers <= answers);
                assert!(patience.answers <= patience.all);
                assert!(patience.all <= timeout);
            }
        }
        let patience = Patience::new(Duration::MAX, Duration::MAX);
        assert_eq!(patience.all, Duration::MAX);
    }
}
