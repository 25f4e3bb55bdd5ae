//! Takes leave of the service.

use std::thread;
use std::time::{Duration, Instant};

use super::{Arrival, Connection};
use crate::error::{ErrorKind, Phase};
use crate::logger::{Logger, record};
use crate::protocol::{Action, ON_THE_WAY, Request, Stream};
use crate::update::Loss;
use crate::wait::context::Watched;
use crate::{Error, Result};

/// Timeout for the answer to a close.
const CLOSE: Duration = Duration::from_millis(750);

/// Default time for leaving, and the time after a stop.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Without an answer, a ping is sent after this time, and its pong suffices.
const PING: Duration = Duration::from_millis(500);
const PONG_SUFFICES: Duration = Duration::from_millis(750);

/// Bytes that arrive for this time, in this number, without completing a message are a flood of
/// unsolicited frames.
const FLOOD: Duration = Duration::from_secs(1);
const FLOOD_BYTES: u64 = 64 << 10;

/// Time for reading what has arrived when the timeout is zero.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(50);

/// The result of closing a connection.
pub(crate) struct Farewell {
    pub(crate) closed: Result<()>,
    /// The loss before the close: nothing has shown that everything sent was received.
    pub(crate) lost: Option<Loss>,
}

/// The timeouts of closing a connection.
pub(crate) struct Patience {
    /// Timeout for the answers to the unsubscriptions. The time that the caller takes for the
    /// updates before them does not count.
    answers: Duration,
    /// Total time.
    all: Duration,
}

/// Unless the caller says otherwise.
impl Default for Patience {
    fn default() -> Self {
        Self::new(Duration::MAX, LEAVE_TIMEOUT)
    }
}

impl Patience {
    pub(crate) fn new(answers: Duration, all: Duration) -> Self {
        Self { answers, all }
    }

    /// Returns the total timeout for the answers to the unsubscriptions: a close takes time, too.
    fn for_answers(&self) -> Duration {
        self.all / 8 * 7
    }
}

/// The time at which closing began, and the bytes received by then.
struct Begun {
    at: Instant,
    bytes: u64,
    /// Whether a ping was answered that was sent since: behind all that was sent before. Other data
    /// may have been on its way for long.
    is_answered: bool,
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
        let peer = self.socket.peer();
        record!(
            self.logger,
            Debug,
            "socket: closing the connection to {peer}"
        );
        self.watch(Watched::default());
        let mut begun = Begun {
            at: Instant::now(),
            bytes: self.socket.wire().arrived(),
            is_answered: false,
        };
        self.socket.set_limit(begun.at.checked_add(patience.all));
        let mut streams = subscribed.into_iter().peekable();
        let is_subscribed = streams.peek().is_some();
        let unsubscribed = if patience.all.is_zero() {
            self.take_rest(begun.at, &mut arrived)
        } else {
            self.unsubscribe(streams, &mut begun, patience, &mut arrived)
        };
        let is_complete = unsubscribed.is_ok() || begun.is_answered;
        let lost = (is_subscribed && !is_complete).then(|| Loss {
            from: self.complete_at().past_date(),
            reason: unsubscribed
                .as_ref()
                .map_or_else(Error::to_string, |()| String::new()),
        });
        let closed = match unsubscribed {
            Err(error) if error.kind() != ErrorKind::TimedOut => Err(error),
            done => {
                // Who has not answered so far is not waited for.
                let time = if is_complete { CLOSE } else { Duration::ZERO };
                done.and(self.socket.close(Instant::now() + time))
            }
        };
        Farewell { closed, lost }
    }

    /// Unsubscribes and closes in a thread of its own, by this timeout. What still arrives is dropped.
    pub(crate) fn close_in_background(mut self, subscribed: Vec<Stream>, patience: Patience) {
        // Nothing is logged on other threads.
        self.logger = Logger::new(|_, _| {});
        let close = move || drop(self.close(subscribed, &patience, |_| {}));
        let thread = thread::Builder::new().name("close".to_owned());
        // Without a thread, the connection is dropped.
        let _ = thread.spawn(close);
    }

    /// Hands over what has come, where there is no time for anything else.
    fn take_rest(&mut self, now: Instant, arrived: &mut impl FnMut(Arrival)) -> Result<()> {
        while now.elapsed() < DRAIN_TIMEOUT {
            match self.read(Some(now)) {
                Ok(None) => break,
                Ok(Some(arrival)) => arrived(arrival),
                Err(error) if error.kind() == ErrorKind::Stopped => {
                    self.socket.wire().ignore_stop();
                }
                Err(error) => return Err(error),
            }
        }
        // Nothing was asked: only what lies there unread is known to be missing.
        let wire = self.socket.wire();
        if wire.arrived() == wire.coming().bytes && !self.socket.is_amid_message() {
            return Ok(());
        }
        Err(self.unread())
    }

    fn unread(&self) -> Error {
        let message = format!("not all was read in time that {} sent", self.socket.peer());
        Error::new(Phase::Unsubscribe, ErrorKind::TimedOut, message)
    }

    fn unsubscribe(
        &mut self,
        streams: impl IntoIterator<Item = Stream>,
        begun: &mut Begun,
        patience: &Patience,
        arrived: &mut impl FnMut(Arrival),
    ) -> Result<()> {
        let mut streams = streams.into_iter().peekable();
        let mut end = begun.at.checked_add(patience.for_answers());
        // How long nothing came that was waited for.
        let mut waited = Duration::ZERO;
        // Since when no message has come, and how many bytes had by then.
        let mut since = (Instant::now(), begun.bytes);
        // A service that does not answer may still answer a ping.
        let mut has_pinged = false;
        loop {
            // A stop that ended the reads would end the writes, too.
            if self.socket.wire().take_stop() {
                let now = Instant::now();
                let all = begun.at.checked_add(patience.all);
                end = end.into_iter().chain([now + LEAVE_TIMEOUT / 8 * 7]).min();
                let limit = all.into_iter().chain([now + LEAVE_TIMEOUT]).min();
                self.socket.set_limit(limit);
            }
            self.request(|| {
                let is_over = end.is_some_and(|end| end <= Instant::now());
                let stream = streams.next_if(|_| !is_over)?;
                Some(Request {
                    action: Action::Unsubscribe,
                    stream,
                    ticket: 0,
                })
            });
            if self.exchange.pending() == 0 && streams.peek().is_none() {
                return Ok(());
            }
            let now = Instant::now();
            let next = if has_pinged {
                patience.answers
            } else {
                PING.min(patience.answers / 2)
            };
            let until = now.checked_add(next.saturating_sub(waited));
            let until = until.into_iter().chain(end).min();
            let read = self.read(until.into_iter().chain([now + FLOOD]).min());
            waited += now.elapsed();
            let is_nothing = match read {
                Ok(None) => until.is_some_and(|until| until <= Instant::now()),
                Ok(Some(arrival)) => {
                    begun.is_answered |= has_pinged && matches!(arrival, Arrival::Pong(_));
                    arrived(arrival);
                    since = (Instant::now(), self.socket.wire().coming().bytes);
                    false
                }
                Err(error) if error.kind() == ErrorKind::Stopped => continue,
                Err(error) => return Err(error),
            };
            let is_over = end.is_some_and(|end| end <= Instant::now());
            if is_nothing && !has_pinged && !is_over {
                has_pinged = true;
                // Where it cannot be sent, the next read says so.
                let _ = self.ping();
                continue;
            }
            // The peer is alive, and its answer is not worth a longer wait.
            let is_late = waited >= PONG_SUFFICES && begun.is_answered;
            let is_flood = since.0.elapsed() >= FLOOD
                && self.socket.wire().coming().bytes > since.1 + FLOOD_BYTES
                && !self.socket.is_amid_message();
            let is_beyond = self.socket.wire().coming().bytes > begun.bytes + ON_THE_WAY;
            if (is_over || is_beyond) && !begun.is_answered && !is_nothing {
                return Err(self.unread());
            }
            if is_nothing || is_late || is_flood || is_beyond || is_over {
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
    fn answers_are_waited_for_within_the_timeout() {
        for all in [0, 1, 700, 1500, 3000, 100_000].map(Duration::from_millis) {
            let patience = Patience::new(Duration::MAX, all);
            assert!(patience.for_answers() <= all);
            assert!(all.is_zero() || patience.for_answers() > all / 2);
        }
    }
}
