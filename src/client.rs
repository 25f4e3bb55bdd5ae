use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::clock;
use crate::config::Config;
use crate::connection::{Arrival, Connection};
use crate::error::{ErrorKind, Phase};
use crate::next::{Gap, Loss, Next};
use crate::protocol::{Ack, Action, Backoff, Retry, Stream, Subscriptions};
use crate::transport::Route;
use crate::transport::wire::{self, Watched};
use crate::{Error, Result};

/// A client of the service, with one connection at a time.
///
/// It blocks, has no thread of its own, and does nothing but while one of its methods runs: one of
/// them should, most of the time, so that pings are answered. Dropped, it just ends the connection;
/// [`close`](Client::close) takes leave.
///
/// A connection that is lost is made again for as long as [`Config::retry_for`] says: with growing
/// delays, a new session, and every stream subscribed once more. What the streams had meanwhile is
/// lost: [`Next::Lost`] says so at once, and [`Next::Gap`] from when to when.
pub struct Client {
    config: Config,
    route: Route,
    backoff: Backoff,
    state: State,
    /// Whether there was no connection yet.
    is_new: bool,
    subscriptions: Subscriptions,
    postponed: Postponed,
    loss: Option<Loss>,
    /// A failure that is to be logged once it is waited for the next attempt: by then, what came
    /// in before it has been handed over.
    unsaid: Option<String>,
    /// How it failed last, and how often in a row.
    failure: Option<(Error, u32)>,
    /// On how many connections an answer did not come in time, since it was asked for.
    late: u32,
    aside: Aside,
    /// What came in and was not asked for yet.
    queue: VecDeque<Next>,
}

/// What the caller has to see to besides.
#[derive(Default)]
struct Aside {
    watched: Watched,
    /// Whether the caller was told last that something of it is ready.
    was_told: bool,
    /// Whether the last attempt to connect was cut short by it. The next one is not, so that one
    /// comes to its end.
    cut_short: bool,
}

/// Streams that had been granted and were refused on a new connection, by a refusal that may pass.
struct Postponed {
    streams: Vec<Stream>,
    /// When to ask for them again, if there are any.
    until: Option<Instant>,
    backoff: Backoff,
}

impl Postponed {
    fn new(now: Instant) -> Self {
        Self {
            streams: Vec::new(),
            until: None,
            backoff: Backoff::new(Duration::MAX, now),
        }
    }

    /// Postpones a stream. Returns for how long, where that was not told yet.
    fn push(&mut self, stream: Stream, now: Instant) -> Option<Duration> {
        self.streams.push(stream);
        if self.until.is_some() {
            return None;
        }
        self.until = self.backoff.failed(Retry::Always, None, random(), now);
        self.until.map(|until| until - now)
    }

    /// Those whose time has come.
    fn take(&mut self, now: Instant) -> Vec<Stream> {
        match self.until {
            Some(until) if until <= now => {
                self.until = None;
                mem::take(&mut self.streams)
            }
            _ => Vec::new(),
        }
    }
}

#[allow(clippy::large_enum_variant, reason = "there is one of them")]
enum State {
    Open(Connection),
    /// For the time of the next attempt.
    Waiting(Instant),
    Closed,
}

/// How long after an attempt that was cut short the next one is made.
const CUT_SHORT: Duration = Duration::from_secs(1);

/// A subscription is given up that was not answered on so many connections.
const MAX_LATE: u32 = 4;

/// As many messages of the greatest length are kept while an answer is waited for.
const KEPT_MESSAGES: usize = 2;
const KEPT_AT_LEAST: usize = 1 << 20;

impl Client {
    /// Connects: a session, and the WebSocket that belongs to it.
    ///
    /// # Errors
    /// `Config` before anything is sent; `Refused` for the credentials; `Stopped`; otherwise what
    /// failed is told by [`Error::phase`] and [`Error::kind`], and whether it may pass by
    /// [`Error::is_retryable`].
    pub fn connect(config: &Config) -> Result<Self> {
        let mut client = Self::new(config)?;
        while let State::Waiting(at) = client.state {
            let deadline = client.config.connect_deadline;
            if !client.attempt_by(at, deadline, &Watched::default())? {
                let message = format!("no connection to {} in time", client.peer());
                return Err(Error::new(Phase::Connect, ErrorKind::TimedOut, message));
            }
        }
        client.queue.clear();
        Ok(client)
    }

    /// A client without a connection. [`Client::next`] connects, as it does after a loss, and finds
    /// [`Next::Connected`]: for a program that has something to [watch](Client::watch) meanwhile.
    ///
    /// # Errors
    /// `Config`, and `System` where there are no file descriptors left.
    pub fn new(config: &Config) -> Result<Self> {
        let now = Instant::now();
        Ok(Self {
            config: config.clone(),
            route: Route::new(config)?,
            backoff: Backoff::new(config.retry_for, now),
            state: State::Waiting(now),
            is_new: true,
            subscriptions: Subscriptions::default(),
            postponed: Postponed::new(now),
            loss: None,
            unsaid: None,
            failure: None,
            late: 0,
            aside: Aside::default(),
            queue: VecDeque::new(),
        })
    }

    /// Subscribes to a stream and waits until that is acknowledged. What else comes in meanwhile
    /// is kept for [`Client::next`], up to the memory of two messages of [`Config::max_message`],
    /// 1 MiB at least.
    ///
    /// # Errors
    /// `Refused` with the service's words, `TooLong` where more came in than is kept, and `TimedOut`
    /// without an answer within [`Config::ack_timeout`], on four connections in turn where
    /// [`Config::retry_for`] lets there be as many, after which the client can go on; those of
    /// [`Client::next`]. What was not answered is asked for again on the next connection.
    pub fn subscribe(&mut self, stream: &Stream) -> Result<()> {
        self.ask(Action::Subscribe, stream)
    }

    /// Unsubscribes from a stream and waits until that is acknowledged. Events of it may still be
    /// among those that [`Client::next`] finds.
    ///
    /// # Errors
    /// Those of [`Client::subscribe`].
    pub fn unsubscribe(&mut self, stream: &Stream) -> Result<()> {
        self.ask(Action::Unsubscribe, stream)
    }

    /// Sends a request without waiting: its answer will be a [`Next::Ack`].
    ///
    /// # Errors
    /// Those of [`Client::next`].
    pub fn request(&mut self, action: Action, stream: &Stream) -> Result<()> {
        match self.state {
            State::Closed => Err(closed()),
            State::Open(_) => {
                self.subscriptions.request(action, stream.clone());
                self.send_requests()
            }
            State::Waiting(_) => {
                self.subscriptions.request(action, stream.clone());
                self.disconnected();
                Ok(())
            }
        }
    }

    /// Sends a text as it stands, for what there is no method for. What is answered to it is a
    /// [`Next::Unknown`], and [`Client::close`] does not undo what it does.
    ///
    /// # Errors
    /// Those of [`Client::ping`].
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.on_connection(|connection| connection.send(text))
    }

    /// Asks for a sign of life: a [`Next::Pong`], for the last ping at least.
    ///
    /// # Errors
    /// `Disconnected` where there is no connection now, and those of [`Client::next`].
    pub fn ping(&mut self) -> Result<()> {
        self.on_connection(Connection::ping)
    }

    fn on_connection(&mut self, act: impl FnOnce(&mut Connection) -> Result<()>) -> Result<()> {
        let State::Open(connection) = &mut self.state else {
            let message = "there is no connection now";
            return Err(Error::new(Phase::Socket, ErrorKind::Disconnected, message));
        };
        match act(connection) {
            Ok(()) => Ok(()),
            Err(error) => self.failed(error),
        }
    }

    /// The next thing to come in, waiting for it for `timeout` at most. Zero takes what has come
    /// in already, or makes the attempt to connect again that is due. An attempt to connect again, once begun, is not cut short by the timeout, but by
    /// [`Client::set_connect_deadline`].
    ///
    /// # Errors
    /// `Stopped`, after which the client can be asked again and closed. After any other, which says
    /// how the connection came to its end, it is closed.
    pub fn next(&mut self, timeout: Duration) -> Result<Next> {
        let deadline = Instant::now().checked_add(timeout);
        self.next_by(deadline)
    }

    /// Hands what comes in to the callback, until it breaks.
    ///
    /// ```no_run
    /// # fn run(client: &mut octave_ws::Client) -> octave_ws::Result<()> {
    /// use std::ops::ControlFlow;
    ///
    /// use octave_ws::Next;
    ///
    /// client.run(|next| {
    ///     match next {
    ///         Next::Event(event) => println!("{}", event.value()),
    ///         Next::Ack(ack) => eprintln!("{} {}: {:?}", ack.action, ack.stream, ack.outcome),
    ///         Next::Gap(gap) => eprintln!("events may be missing: {}", gap.reason),
    ///         _ => {}
    ///     }
    ///     ControlFlow::Continue(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Client::next`], `Stopped` among them.
    pub fn run(&mut self, mut callback: impl FnMut(Next) -> ControlFlow<()>) -> Result<()> {
        loop {
            match self.next_by(None)? {
                Next::Closed => return Err(closed()),
                next => {
                    if callback(next).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Unsubscribes from everything, closes with 1000 and waits for the answers, for two seconds
    /// at most and whether it is stopped or not. What comes in meanwhile is dropped.
    ///
    /// # Errors
    /// What went wrong with that. The connection is ended all the same.
    pub fn close(self) -> Result<()> {
        self.close_with(|_| {})
    }

    /// The same, and hands what comes in before the streams are unsubscribed to the callback: what
    /// [`Client::next`] would have found.
    ///
    /// # Errors
    /// Those of [`Client::close`].
    pub fn close_with(mut self, mut callback: impl FnMut(Next)) -> Result<()> {
        self.queue.drain(..).for_each(&mut callback);
        match self.state {
            State::Open(connection) => {
                let streams = self.subscriptions.subscribed().iter().cloned();
                connection.close(streams, |arrival| match arrival {
                    Arrival::Event(event) => callback(Next::Event(event)),
                    Arrival::Unknown(unknown) => callback(Next::Unknown(unknown)),
                    // The answers are those that it waits for itself.
                    Arrival::Ack(_) | Arrival::Pong(_) | Arrival::Watched => {}
                })
            }
            State::Waiting(_) | State::Closed => Ok(()),
        }
    }

    /// Whom it connects to, as `HOST:PORT`.
    pub fn peer(&self) -> String {
        self.route.endpoint.to_string()
    }

    /// Whether there is a connection, as far as is known.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// How the last attempt to connect failed, where there was none since that has come to a
    /// connection with all streams subscribed.
    pub fn last_failure(&self) -> Option<&Error> {
        self.failure.as_ref().map(|(error, _)| error)
    }

    /// When the service was last heard of, if there is a connection.
    pub fn heard_at(&self) -> Option<Instant> {
        match &self.state {
            State::Open(connection) => Some(connection.heard_at()),
            State::Waiting(_) | State::Closed => None,
        }
    }

    /// The loss that lasts, if one does: events may be missing since then. It goes on until all is
    /// subscribed again, and beyond the end of the client.
    pub fn loss(&self) -> Option<&Loss> {
        self.loss.as_ref()
    }

    /// The streams that have been acknowledged, and not since unsubscribed.
    pub fn subscribed(&self) -> impl Iterator<Item = &Stream> {
        self.subscriptions.subscribed().iter()
    }

    /// From now on no attempt to connect goes beyond this, instead of
    /// [`Config::connect_deadline`].
    pub fn set_connect_deadline(&mut self, deadline: Option<Instant>) {
        self.config.connect_deadline = deadline;
    }

    /// From now on [`Client::next`] also waits for one of these descriptors to have something to read,
    /// or to have come to its end, and then finds [`Next::Readable`], again and again until it is read:
    /// for a program that has no other place to wait for both. What comes in does not wait for it,
    /// and it does not wait for a pause in what comes in. An attempt to connect is cut short by it, and
    /// made again a second later.
    pub fn watch(&mut self, readable: impl IntoIterator<Item = OwnedFd>) {
        self.aside.watched.readable = readable.into_iter().collect();
    }

    /// The same for a descriptor that is written to: once nobody is at its other end any more,
    /// [`Client::next`] finds [`Next::Readable`].
    pub fn watch_hangup(&mut self, written: Option<OwnedFd>) {
        self.aside.watched.hangup = written.map(Arc::new);
    }

    fn ask(&mut self, action: Action, stream: &Stream) -> Result<()> {
        let mut looked_at = self.queue.len();
        let mut kept = 0;
        self.late = 0;
        self.request(action, stream)?;
        loop {
            let is_answer = |next: &Next| match next {
                Next::Ack(ack) => ack.action == action && ack.stream == *stream,
                _ => false,
            };
            self.queue.iter_mut().skip(looked_at).for_each(Next::detach);
            let mut new = self.queue.iter().skip(looked_at);
            kept += new.clone().map(Next::cost).sum::<usize>();
            if let Some(at) = new.position(is_answer)
                && let Some(Next::Ack(ack)) = self.queue.remove(looked_at + at)
            {
                return ack.outcome.map_err(|words| {
                    let refused = match action {
                        Action::Subscribe => format!("refused {stream}"),
                        Action::Unsubscribe => format!("refused to unsubscribe {stream}"),
                    };
                    let message = format!("{} {refused}: {words}", self.peer());
                    let error = Error::new(Phase::Subscribe, ErrorKind::Refused, message);
                    error.refused_with(ack.status)
                });
            }
            let most = self.config.max_message.saturating_mul(KEPT_MESSAGES);
            if kept > most.max(KEPT_AT_LEAST) {
                let peer = self.peer();
                let message = format!("more came from {peer} before its answer than can be kept");
                return Err(Error::new(Phase::Subscribe, ErrorKind::TooLong, message));
            }
            looked_at = self.queue.len();
            self.advance(None, Watched::default())?;
            if self.late == MAX_LATE {
                let peer = self.peer();
                let message = format!("{peer} did not answer in time to {action} {stream}");
                return Err(Error::new(Phase::Subscribe, ErrorKind::TimedOut, message));
            }
        }
    }

    fn next_by(&mut self, deadline: Option<Instant>) -> Result<Next> {
        loop {
            if let Some(next) = self.queue.pop_front() {
                return Ok(next);
            }
            if let State::Closed = self.state {
                return Ok(Next::Closed);
            }
            if !self.advance(deadline, self.aside.watched.clone())? {
                return Ok(Next::TimedOut);
            }
        }
    }

    /// Goes a step further: reads something into the queue, or tries to connect. False where the
    /// deadline came first.
    fn advance(&mut self, deadline: Option<Instant>, watched: Watched) -> Result<bool> {
        self.restore_postponed()?;
        match &mut self.state {
            State::Closed => Err(closed()),
            State::Waiting(at) => {
                let at = *at;
                self.attempt_by(at, deadline, &watched)
            }
            State::Open(connection) => {
                connection.watch(watched);
                let until = deadline.into_iter().chain(self.postponed.until).min();
                match connection.read(until) {
                    // Time to ask for what was postponed.
                    Ok(None) if until != deadline => {}
                    Ok(None) => return Ok(false),
                    Ok(Some(Arrival::Event(event))) => self.queue.push_back(Next::Event(event)),
                    Ok(Some(Arrival::Unknown(unknown))) => {
                        self.queue.push_back(Next::Unknown(unknown));
                    }
                    Ok(Some(Arrival::Pong(time))) => self.queue.push_back(Next::Pong(time)),
                    Ok(Some(Arrival::Watched)) => self.queue.push_back(Next::Readable),
                    Ok(Some(Arrival::Ack(ack))) => {
                        self.acknowledged(ack);
                        self.send_requests()?;
                    }
                    Err(error) => self.failed(error)?,
                }
                Ok(true)
            }
        }
    }

    /// Asks for the streams that were postponed until now, whatever comes in meanwhile.
    fn restore_postponed(&mut self) -> Result<()> {
        if self.postponed.until.is_none() {
            return Ok(());
        }
        for stream in self.postponed.take(Instant::now()) {
            self.subscriptions.restore(stream);
        }
        self.send_requests()
    }

    /// Waits until it is time and tries to connect. False where the deadline comes first.
    fn attempt_by(
        &mut self,
        at: Instant,
        deadline: Option<Instant>,
        watched: &Watched,
    ) -> Result<bool> {
        if let Some(message) = self.unsaid.take() {
            log::warn!("{message}");
        }
        self.route.attention.watched = watched.clone();
        let until = deadline.map_or(at, |deadline| deadline.min(at));
        match self.route.wait_until(until) {
            Err(error) if wire::is_stop(&error) => return Err(Error::stopped(Phase::Connect)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(()) => {}
            Err(error) => {
                let message = "no way to wait";
                return Err(Error::new(Phase::Connect, ErrorKind::System, message).because(error));
            }
        }
        let is_time = at <= Instant::now();
        // Where nobody reads what is watched, it does not keep an attempt from being made.
        if watched.is_ready() && !(is_time && self.aside.was_told) {
            self.aside.was_told = true;
            self.queue.push_back(Next::Readable);
            return Ok(true);
        }
        self.aside.was_told = false;
        if !is_time {
            return Ok(false);
        }
        let may_cut_short = !self.aside.cut_short && !watched.is_ready();
        if !may_cut_short {
            self.route.attention.watched = Watched::default();
        }
        self.aside.cut_short = false;
        self.config.renew_credentials();
        match Connection::open(&self.config, &mut self.route) {
            Ok(connection) => self.opened(connection)?,
            // Which is nobody's fault.
            Err(error) if may_cut_short && error.is_retryable() && watched.is_ready() => {
                self.aside.cut_short = true;
                self.aside.was_told = true;
                self.state = State::Waiting(Instant::now() + CUT_SHORT);
                self.queue.push_back(Next::Readable);
            }
            Err(error) => self.failed(error)?,
        }
        Ok(true)
    }

    /// Takes a new connection, and subscribes on it to whatever is wanted.
    fn opened(&mut self, connection: Connection) -> Result<()> {
        self.state = State::Open(connection);
        if mem::take(&mut self.is_new) {
            self.queue.push_back(Next::Connected);
        }
        self.backoff.connected();
        self.postponed = Postponed::new(Instant::now());
        self.subscriptions.connected();
        self.settle();
        self.send_requests()
    }

    /// Decides what becomes of a failure: waits for another attempt, or passes it on.
    fn failed(&mut self, error: Error) -> Result<()> {
        if error.kind() == ErrorKind::Stopped {
            return Err(error);
        }
        let is_late = (error.kind(), error.phase()) == (ErrorKind::TimedOut, Phase::Subscribe);
        self.late += u32::from(is_late);
        let now = Instant::now();
        let retry_at = self
            .backoff
            .failed(error.retry(), error.retry_after(), random(), now);
        let open = mem::replace(&mut self.state, State::Closed);
        // What was lost first, whatever follows.
        if let State::Open(connection) = open
            && !self.subscriptions.subscribed().is_empty()
            && self.loss.is_none()
        {
            let silence = now.saturating_duration_since(connection.heard_at());
            let from = clock::now().checked_sub(silence);
            let from = from.unwrap_or(SystemTime::UNIX_EPOCH);
            let loss = Loss {
                from: from.max(SystemTime::UNIX_EPOCH),
                reason: error.to_string(),
            };
            if retry_at.is_some() {
                self.queue.push_back(Next::Lost(loss.clone()));
            }
            self.loss = Some(loss);
        }
        let Some(at) = retry_at else {
            self.subscriptions.clear();
            return Err(error);
        };
        self.state = State::Waiting(at);
        let error = error.retry_as(Retry::Always);
        self.disconnected();
        let over = self.config.connect_deadline;
        if over.is_some_and(|deadline| deadline <= now) {
            return Err(error);
        }
        self.say_retry(error, at - now);
        Ok(())
    }

    fn say_retry(&mut self, error: Error, delay: Duration) {
        let failure = error.in_full();
        let (times, repeated) = match &self.failure {
            Some((last, times)) if last.in_full() == failure => {
                (times + 1, format!(" ({} times)", times + 1))
            }
            _ => (1, String::new()),
        };
        let delay = delay.as_secs_f64();
        let message = format!("{failure}{repeated}; trying again in {delay:.1} s");
        self.unsaid = Some(message);
        self.failure = Some((error, times));
    }

    fn disconnected(&mut self) {
        let acks = self.subscriptions.disconnected();
        self.queue.extend(acks.into_iter().map(Next::Ack));
    }

    fn send_requests(&mut self) -> Result<()> {
        while let State::Open(connection) = &mut self.state
            && connection.may_request()
            && let Some((action, stream)) = self.subscriptions.next_request()
        {
            if let Err(error) = connection.request(action, &stream) {
                self.failed(error)?;
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, ack: Ack) {
        if ack.may_pass() && self.subscriptions.is_restored(&ack.stream) {
            let words = ack.outcome.err().unwrap_or_default();
            let stream = ack.stream.to_string();
            if let Some(delay) = self.postponed.push(ack.stream, Instant::now()) {
                let (peer, delay) = (self.peer(), delay.as_secs_f64());
                log::warn!(
                    "subscribe: {peer} refused {stream}: {words}; asking again in {delay:.1} s"
                );
            }
            return;
        }
        if (ack.action, &ack.outcome) == (Action::Subscribe, &Ok(())) {
            self.backoff.granted();
        }
        if self.subscriptions.acknowledged(&ack) {
            self.queue.push_back(Next::Ack(ack));
        }
        self.settle();
    }

    /// Once everything is subscribed, the connection counts, and a gap has its end.
    fn settle(&mut self) {
        let State::Open(_) = self.state else { return };
        if !self.subscriptions.is_settled() {
            return;
        }
        self.backoff.subscribed(Instant::now());
        self.failure = None;
        if let Some(Loss { from, reason }) = self.loss.take() {
            let to = clock::now();
            self.queue.push_back(Next::Gap(Gap { from, to, reason }));
        }
    }
}

/// Good enough to keep clients from coming back at the same time.
fn random() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

fn closed() -> Error {
    let message = "the connection is closed";
    Error::new(Phase::Socket, ErrorKind::Disconnected, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_go_to_another_thread() {
        fn check<T: Send + Sync>() {}
        check::<Client>();
        check::<Config>();
    }
}
