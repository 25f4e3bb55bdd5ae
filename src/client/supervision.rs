//! Keeps a client connected.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem;
use std::time::Instant;

use super::postponed::Postponed;
use super::{Client, State, closed};
use crate::clock;
use crate::connection::{Arrival, Connection};
use crate::error::{ErrorKind, Phase};
use crate::logger::record;
use crate::protocol::{Ack, Action, Event, Retry};
use crate::update::{Disconnected, Gap, Loss, Update};
use crate::wait::context::Watched;
use crate::{Error, Result};

impl Client {
    /// Goes a step further: reads something into the queue, or tries to connect. False where the
    /// deadline came first.
    pub(super) fn advance(&mut self, deadline: Option<Instant>, watched: &Watched) -> Result<bool> {
        self.restore_postponed();
        if !matches!(self.state, State::Open(_)) && self.subscriptions.has_requests() {
            self.disconnected();
            if !self.queue.is_empty() {
                return Ok(true);
            }
        }
        match &mut self.state {
            State::Closed => Err(closed()),
            State::Failed(_) => match mem::replace(&mut self.state, State::Closed) {
                State::Failed(error) => Err(error),
                _ => Err(closed()),
            },
            State::Waiting(at) => {
                let at = *at;
                self.attempt_by(at, deadline, watched)
            }
            State::Connecting(_) => self.wait_for_attempt(deadline, watched),
            State::Open(_) => {
                if self.renewing.is_some() && self.take_renewal() {
                    return Ok(true);
                }
                if self.renew_at.is_some() && self.renew() {
                    return Ok(true);
                }
                if self.handing_over.is_some() && self.advance_old()? {
                    return Ok(true);
                }
                if self.handing_over.is_some() && self.loss.is_some() {
                    self.settle();
                    if !self.queue.is_empty() {
                        return Ok(true);
                    }
                }
                self.plan_fill();
                if self.filling.is_some() && self.fill_step(deadline, watched)? {
                    return Ok(true);
                }
                if self.is_full() {
                    return Ok(!self.queue.is_empty());
                }
                self.read(deadline, watched)
            }
        }
    }

    /// Reads from the connection. False where the deadline came first.
    fn read(&mut self, deadline: Option<Instant>, watched: &Watched) -> Result<bool> {
        let (watched, judged_at) = self.watched_with_old(watched);
        let renew_at = self.renew_at();
        let fill_at = self.fill_at();
        let State::Open(connection) = &mut self.state else {
            return Ok(true);
        };
        let times = deadline.into_iter().chain(self.postponed.until);
        let until = times.chain(judged_at).chain(renew_at).chain(fill_at).min();
        connection.watch(watched);
        match connection.read(until).transpose() {
            Some(read) => self.arrived(read)?,
            None if self.has_read_all() => {}
            // Time to ask for what was postponed.
            None if until != deadline => {}
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Takes the next event of what has been read already. Something else that comes before it goes
    /// into the queue, and ends this.
    pub(super) fn take_event(&mut self) -> Result<Option<Event>> {
        let queued = self.queue.len();
        let is_straight = self.handing_over.is_none() && self.filling.is_none();
        while self.queue.len() == queued
            && (is_straight || !self.is_full())
            && let State::Open(connection) = &mut self.state
        {
            match connection.read_buffered().transpose() {
                Some(Ok(Arrival::Event(event))) if is_straight => {
                    return Ok(Some(event));
                }
                Some(read) => self.arrived(read)?,
                None => break,
            }
        }
        Ok(None)
    }

    fn arrived(&mut self, read: Result<Arrival>) -> Result<()> {
        match read {
            Ok(Arrival::Event(event)) => self.event_arrived(event),
            Ok(Arrival::Unknown(unknown)) => self.queue.push_back(Update::Unknown(unknown)),
            Ok(Arrival::Pong(time)) => {
                if let Some(filling) = self.filling.as_mut().filter(|filling| filling.awaits_pong) {
                    filling.ponged();
                }
                if let State::Open(connection) = &mut self.state
                    && mem::take(&mut connection.is_pong_awaited)
                {
                    self.queue.push_back(Update::Pong(time));
                }
            }
            Ok(Arrival::Watched) => {
                // What had been received came first.
                self.has_read_all();
                let ready = self.watch_state.watched.ready();
                self.queue.extend(ready.map(Update::FdReady));
            }
            Ok(Arrival::Ack(ack)) => {
                self.acknowledged(ack);
                self.send_requests();
            }
            Ok(Arrival::Sent) => self.send_requests(),
            Err(error) => self.failed(error)?,
        }
        Ok(())
    }

    /// Requests the streams that were postponed until now, even while data arrives.
    fn restore_postponed(&mut self) {
        if self.postponed.until.is_none() {
            return;
        }
        for stream in self.postponed.take(Instant::now()) {
            self.subscriptions.resume(&stream);
        }
        self.send_requests();
    }

    /// Takes a new connection.
    pub(super) fn opened(&mut self, connection: Connection) {
        self.state = State::Open(connection);
        self.open_is_new();
    }

    /// Takes note of a new connection, and restores the subscriptions.
    pub(super) fn open_is_new(&mut self) {
        self.connections += 1;
        // A gap tells of those that end a loss.
        self.queue.push_back(Update::Connected);
        self.plan_renewal(random());
        self.backoff.connected();
        self.postponed = Postponed::new(Instant::now());
        if !self.drain_old() {
            self.resubscribe();
        }
    }

    /// Subscribes on a new connection to what was subscribed before.
    pub(super) fn resubscribe(&mut self) {
        self.subscriptions.connected();
        self.settle();
        self.send_requests();
    }

    /// Decides what becomes of a failure: waits for another attempt, or passes it on.
    pub(super) fn failed(&mut self, error: Error) -> Result<()> {
        if error.kind() == ErrorKind::Stopped {
            return Err(error);
        }
        let uncompressed_at = self.retry_without_compression(&error);
        if self.failed_to_renew(&error) {
            return Ok(());
        }
        let is_of_request = matches!(error.phase(), Phase::Subscribe | Phase::Unsubscribe);
        self.failures.unanswered_connections +=
            u32::from(is_of_request && error.kind() == ErrorKind::TimedOut);
        let now = Instant::now();
        let retry_at = self
            .backoff
            .failed(error.retry(), error.retry_after(), random(), now);
        let retry_at = uncompressed_at.or(retry_at);
        self.renewing = None;
        let open = mem::replace(&mut self.state, State::Closed);
        let was_open = matches!(open, State::Open(_));
        if was_open {
            self.learn(&error);
        }
        let is_over = self
            .config
            .connect_deadline
            .is_some_and(|deadline| deadline <= now);
        let retry_at = retry_at.filter(|_| !is_over);
        let retry_at = retry_at.map(|at| self.route.next_attempt().map_or(at, |next| next.max(at)));
        if !self.wait_for_new(&open, &error)
            && let State::Open(connection) = open
            && self.loss.is_none()
        {
            let loss = Loss {
                // No later than the end of the gap, however the clock was set.
                from: connection.complete_at().past_date(),
                reason: error.to_string(),
            };
            // Events may come before the answer to the subscription.
            let had_stream = connection.has_events() || !self.subscriptions.subscribed().is_empty();
            if retry_at.is_some() {
                if had_stream && self.can_put_aside(&connection) {
                    self.put_aside(connection, loss.from, None);
                } else {
                    // The loss is reported first.
                    self.queue.push_back(Update::Lost(loss.clone()));
                }
            }
            self.loss = Some(loss).filter(|_| had_stream);
        }
        if was_open && !self.has_old() {
            self.lost_history();
        }
        let Some(at) = retry_at else {
            self.leave_old();
            self.subscriptions.clear();
            self.state = State::Failed(error);
            return Ok(());
        };
        if error.is_of_compression() {
            let peer = self.peer();
            record!(
                self.config.logger,
                Warn,
                "compression is not offered to {peer} any more"
            );
        }
        self.state = State::Waiting(at);
        let error = error.retry_as(Retry::Always);
        self.disconnected();
        // A caller that waits for something else needs the last one alone.
        if let Some(Update::Disconnected(_)) = self.queue.back() {
            self.queue.pop_back();
        }
        let disconnected = Disconnected::new(error.clone(), at - now);
        self.queue.push_back(Update::Disconnected(disconnected));
        self.failures.push(error, at - now);
        Ok(())
    }

    /// Offers no compression to a service that failed at it. Returns when to connect again, if that is
    /// at once: nothing is lost yet.
    fn retry_without_compression(&mut self, error: &Error) -> Option<Instant> {
        if !error.is_of_compression() || !mem::take(&mut self.config.compression) {
            return None;
        }
        (error.phase() == Phase::Upgrade).then(Instant::now)
    }

    pub(super) fn disconnected(&mut self) {
        let acks = self.subscriptions.disconnected();
        self.queue.extend(acks.into_iter().map(Update::Ack));
    }

    pub(super) fn send_requests(&mut self) {
        // On a connection that is not subscribed yet, all is requested at once.
        if self.is_draining() || self.awaits_beginnings() {
            return;
        }
        if let State::Open(connection) = &mut self.state {
            connection.request(|| self.subscriptions.next_request());
        }
    }

    fn acknowledged(&mut self, mut ack: Ack) {
        if self.handing_over.is_some() && self.refused_to_renew(&ack) {
            return;
        }
        if ack.is_transient()
            && !self.config.retry_for.is_zero()
            && self.subscriptions.postpone(&ack)
        {
            let words = ack.outcome.as_ref().err().cloned().unwrap_or_default();
            let stream = ack.stream.clone();
            let now = Instant::now();
            if let Some(delay) = self.postponed.push(stream.clone(), random(), now) {
                let (peer, delay) = (self.peer(), delay.as_secs_f64());
                record!(
                    self.config.logger,
                    Warn,
                    "subscribe: {peer} refused {stream}: {words}; asking again in {delay:.1} s"
                );
            }
            ack.is_retried = true;
            self.queue.push_back(Update::Ack(ack));
            // Its other streams do not wait for this one.
            self.give_up_old("a stream is refused on the new connection");
            if !self.has_old() {
                self.fill();
            }
            return;
        }
        match (ack.action, &ack.outcome) {
            (Action::Subscribe, Ok(())) => self.backoff.granted(),
            (Action::Unsubscribe, Ok(())) => {
                if let Some(filling) = &mut self.filling {
                    filling.unsubscribed(&ack.stream);
                }
            }
            _ => {}
        }
        if self.subscriptions.acknowledged(&ack) {
            self.queue.push_back(Update::Ack(ack));
        }
        self.settle();
    }

    /// Ends a gap once everything is subscribed: only then the connection counts.
    pub(super) fn settle(&mut self) {
        let State::Open(_) = self.state else { return };
        if !self.subscriptions.is_settled() {
            return;
        }
        self.backoff.subscribed(Instant::now());
        self.failures.end();
        self.settled_at = clock::now();
        if self.prove() || self.fill() {
            return;
        }
        if let Some(Loss { from, reason }) = self.loss.take() {
            let to = self.take_subscribed_at().unwrap_or_else(clock::now);
            // The clock may have been set back since.
            let from = from.min(to);
            self.queue
                .push_back(Update::Gap(Gap::new(from, to, reason)));
        }
    }
}

/// Returns a number that is random enough to keep clients from coming back at the same time.
fn random() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
