use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Stream;
use super::message::{self, Action, Answer, msg_id};
use super::request::{Ack, Request};

/// Keep-alive settings: they tell a silent connection from a dead one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Liveness {
    /// A ping after so long without a byte; zero turns pings off.
    pub(crate) ping_interval: Duration,
    /// Dead after so long without a byte since the ping; zero turns pings off, too.
    pub(crate) ping_timeout: Duration,
    /// A heartbeat frame this often; zero for never.
    pub(crate) heartbeat: Duration,
}

/// The state of one connection: what was asked and not yet answered, and what is due when.
#[derive(Debug)]
pub(crate) struct Exchange {
    liveness: Liveness,
    ack_timeout: Duration,
    last_id: u64,
    pending: BTreeMap<u64, Pending>,
    /// Time of the last answer.
    answered_at: Option<Instant>,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    heartbeat_at: Instant,
    /// Whether the peer is no longer judged, nor sent anything that it has not been asked for.
    is_aside: bool,
}

#[derive(Debug)]
struct Pending {
    request: Request,
    sent_at: Instant,
}

/// The next action of an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing, until then.
    Nothing(Option<Instant>),
    Ping,
    Heartbeat,
    /// The peer has not answered a ping in time.
    Dead,
    /// The request went unanswered.
    AckLate(Action, Stream),
}

impl Exchange {
    pub(crate) fn new(liveness: Liveness, ack_timeout: Duration, now: Instant) -> Self {
        Self {
            liveness,
            ack_timeout,
            last_id: 0,
            pending: BTreeMap::new(),
            answered_at: None,
            heard_at: now,
            pinged_at: None,
            heartbeat_at: now,
            is_aside: false,
        }
    }

    /// Stops all timers.
    pub(crate) fn put_aside(&mut self) {
        self.is_aside = true;
    }

    /// Starts the timers again.
    pub(crate) fn take_back(&mut self) {
        self.is_aside = false;
    }

    /// Returns the number of requests that wait for their answer.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Returns the text of a request; its answer is expected from now on.
    pub(crate) fn request(&mut self, request: Request, now: Instant) -> String {
        self.last_id += 1;
        let text = message::request(self.last_id, request.action, &request.stream);
        self.pending.insert(
            self.last_id,
            Pending {
                request,
                sent_at: now,
            },
        );
        text
    }

    /// A text of the caller's own was sent. The `msgId` that it may have is not given to a request
    /// after it: their answers could not be told apart.
    pub(crate) fn sent(&mut self, text: &str) {
        let id = msg_id(text).and_then(|id| id.parse().ok());
        // Close to the greatest number there would be none left.
        if let Some(id) = id.filter(|&id: &u64| id < u64::MAX / 2) {
            self.last_id = self.last_id.max(id);
        }
    }

    /// Returns the answered request and its outcome; `None` if no request waits for this answer.
    pub(crate) fn answered(&mut self, answer: &Answer, now: Instant) -> Option<Ack> {
        let msg_id = answer.msg_id.as_ref()?;
        // Another spelling of the id is another id.
        let id = msg_id
            .parse()
            .ok()
            .filter(|id: &u64| id.to_string() == *msg_id)?;
        let Pending { request, .. } = self.pending.remove(&id)?;
        self.answered_at = Some(now);
        Some(Ack {
            status: answer.status,
            ticket: request.ticket,
            ..Ack::new(request.action, request.stream, answer.outcome.clone())
        })
    }

    /// Returns when the peer was last heard of.
    pub(crate) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Bytes have come in, the last of them then: the peer lives.
    pub(crate) fn heard(&mut self, at: Instant) {
        if at > self.heard_at {
            self.heard_at = at;
            self.pinged_at = None;
        }
    }

    /// Returns when the first of the requests that wait is late. While others are answered, a
    /// service is at work, and time counts from the last answer.
    fn late_at(&self) -> Option<Instant> {
        // Ids grow: the lowest one was sent first.
        let (_, first) = self.pending.first_key_value()?;
        let since = self
            .answered_at
            .map_or(first.sent_at, |at| at.max(first.sent_at));
        Some(since + self.ack_timeout)
    }

    /// Returns the action that is due at `now`. A ping or heartbeat that is returned counts as
    /// sent.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if self.is_aside {
            return Due::Nothing(None);
        }
        let late_at = self.late_at();
        if late_at.is_some_and(|at| at <= now)
            && let Some((_, first)) = self.pending.first_key_value()
        {
            let Request { action, stream, .. } = &first.request;
            return Due::AckLate(*action, stream.clone());
        }
        let Liveness {
            ping_interval,
            ping_timeout,
            heartbeat,
        } = self.liveness;
        let mut next = late_at;
        let mut until = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        if !ping_interval.is_zero() && !ping_timeout.is_zero() {
            match self.pinged_at {
                Some(at) if at + ping_timeout <= now => return Due::Dead,
                Some(at) => until(at + ping_timeout),
                None if self.heard_at + ping_interval <= now => {
                    self.pinged_at = Some(now);
                    return Due::Ping;
                }
                None => until(self.heard_at + ping_interval),
            }
        }
        if !heartbeat.is_zero() {
            if self.heartbeat_at + heartbeat <= now {
                self.heartbeat_at = now;
                return Due::Heartbeat;
            }
            until(self.heartbeat_at + heartbeat);
        }
        Due::Nothing(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn exchange(now: Instant) -> Exchange {
        let liveness = Liveness {
            ping_interval: 20 * SECOND,
            ping_timeout: 5 * SECOND,
            heartbeat: Duration::ZERO,
        };
        Exchange::new(liveness, 10 * SECOND, now)
    }

    fn answer(msg_id: &str) -> Answer {
        Answer {
            msg_id: Some(msg_id.to_owned()),
            outcome: Ok(()),
            status: None,
        }
    }

    fn granted(path: &str) -> Ack {
        Ack {
            ticket: 5,
            ..Ack::new(Action::Subscribe, stream(path), Ok(()))
        }
    }

    fn request(action: Action, stream: Stream) -> Request {
        Request {
            action,
            stream,
            ticket: 5,
        }
    }

    fn stream(path: &str) -> Stream {
        path.parse().unwrap()
    }

    #[test]
    fn answers_find_their_requests_in_any_order_and_once() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        for path in ["/a", "/b"] {
            exchange.request(request(Action::Subscribe, stream(path)), now);
        }
        assert_eq!(exchange.pending(), 2);
        assert_eq!(exchange.answered(&answer("7"), now), None);
        for other in ["x", "01", "+1", "0000000001", " 1", "1.0"] {
            assert_eq!(exchange.answered(&answer(other), now), None);
        }
        assert_eq!(exchange.answered(&answer("2"), now), Some(granted("/b")));
        assert_eq!(exchange.answered(&answer("2"), now), None);
        assert_eq!(exchange.answered(&answer("1"), now), Some(granted("/a")));
        assert_eq!(exchange.pending(), 0);
    }

    #[test]
    fn an_id_of_the_callers_own_is_not_given_again() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        for own in [
            r#"{"msgId":"7"}"#,
            r#"{"msgId":3}"#,
            r#"{"msgId":"x"}"#,
            "{",
            "{}",
        ] {
            exchange.sent(own);
        }
        for great in [u64::MAX, u64::MAX / 2] {
            exchange.sent(&format!(r#"{{"msgId":{great}}}"#));
        }
        exchange.request(request(Action::Subscribe, stream("/a")), now);
        assert_eq!(exchange.answered(&answer("7"), now), None);
        assert_eq!(exchange.answered(&answer("8"), now), Some(granted("/a")));
    }

    #[test]
    fn while_others_are_answered_time_counts_from_the_last_answer() {
        let start = Instant::now();
        let mut exchange = exchange(start);
        for n in 0..100 {
            exchange.request(request(Action::Subscribe, stream(&format!("/{n}"))), start);
        }
        let mut now = start;
        for n in 1..100 {
            now += 9 * SECOND;
            exchange.heard(now);
            assert!(matches!(exchange.due(now), Due::Nothing(_)));
            exchange.answered(&answer(&n.to_string()), now).unwrap();
        }
        assert_eq!(exchange.due(now), Due::Nothing(Some(now + 10 * SECOND)));
        let late = Due::AckLate(Action::Subscribe, stream("/99"));
        assert_eq!(exchange.due(now + 10 * SECOND), late);
        // No answer makes the time of a later request shorter.
        exchange.answered(&answer("100"), now).unwrap();
        now += 100 * SECOND;
        exchange.request(request(Action::Subscribe, stream("/100")), now);
        exchange.heard(now);
        assert_eq!(exchange.due(now), Due::Nothing(Some(now + 10 * SECOND)));
    }

    #[test]
    fn a_request_unanswered_is_late_by_name() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        exchange.request(request(Action::Subscribe, stream("/a")), now);
        exchange.request(request(Action::Unsubscribe, stream("/b")), now + SECOND);
        assert_eq!(exchange.due(now), Due::Nothing(Some(now + 10 * SECOND)));
        exchange.answered(&answer("1"), now);
        assert_eq!(exchange.due(now), Due::Nothing(Some(now + 11 * SECOND)));
        assert_eq!(
            exchange.due(now + 11 * SECOND),
            Due::AckLate(Action::Unsubscribe, stream("/b"))
        );
    }

    #[test]
    fn silence_is_pinged_and_then_dead() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        assert_eq!(exchange.due(now), Due::Nothing(Some(now + 20 * SECOND)));
        assert_eq!(exchange.due(now + 20 * SECOND), Due::Ping);
        assert_eq!(
            exchange.due(now + 20 * SECOND),
            Due::Nothing(Some(now + 25 * SECOND))
        );
        assert_eq!(exchange.due(now + 25 * SECOND), Due::Dead);
    }

    #[test]
    fn any_byte_is_a_sign_of_life() {
        let now = Instant::now();
        let mut exchange = exchange(now);
        assert_eq!(exchange.due(now + 20 * SECOND), Due::Ping);
        exchange.heard(now + 24 * SECOND);
        assert_eq!(
            exchange.due(now + 25 * SECOND),
            Due::Nothing(Some(now + 44 * SECOND))
        );
    }

    #[test]
    fn pings_can_be_off_and_heartbeats_on() {
        let now = Instant::now();
        let liveness = Liveness {
            ping_interval: Duration::ZERO,
            ping_timeout: SECOND,
            heartbeat: 3 * SECOND,
        };
        let mut exchange = Exchange::new(liveness, SECOND, now);
        assert_eq!(
            exchange.due(now + SECOND),
            Due::Nothing(Some(now + 3 * SECOND))
        );
        assert_eq!(exchange.due(now + 3 * SECOND), Due::Heartbeat);
        assert_eq!(
            exchange.due(now + 3 * SECOND),
            Due::Nothing(Some(now + 6 * SECOND))
        );
    }
}
