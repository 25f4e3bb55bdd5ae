use std::time::{Duration, Instant};

use crate::config::Config;
use crate::cookies::Cookies;
use crate::error::{ErrorKind, Phase};
use crate::protocol::{
    Ack, Action, Due, Event, Exchange, HEARTBEAT, Incoming, Liveness, Stream, Text, Unknown,
};
use crate::secret::Quote;
use crate::session::{self, Session, SessionId};
use crate::socket::{Received, Socket};
use crate::step::Step;
use crate::transport::Route;
use crate::transport::wire::Watched;
use crate::{Error, Result};

/// How long it may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long is looked for an answer that is late, where something else comes in.
const REPRIEVE: Duration = Duration::from_secs(1);

/// As many bytes may come in meanwhile: more are not on their way at the same time, so that what is
/// behind them was sent later.
const ON_THE_WAY: u64 = 8 << 20;

/// As many messages of no interest are read beyond a deadline.
const MAX_IGNORED: usize = 256;

/// How many bytes of requests wait for their answers at most: what the buffers of a peer take that
/// reads nothing.
const WINDOW: usize = 64 << 10;

/// One open connection to the service, and all that dies with it.
pub(crate) struct Connection {
    socket: Socket,
    exchange: Exchange,
    quote: Quote,
    /// The last ping that was asked for: how many there were, and when it was sent.
    ping: (u64, Option<Instant>),
    watched: Watched,
    /// How long an answer that is late may still be looked for. What comes in behind a reader that
    /// was busy takes its time. With it, how many bytes had come in when that began.
    reprieve: Option<(Duration, u64)>,
    /// How many bytes had come in when the peer was last known to live.
    heard: u64,
    ack_timeout: Duration,
}

/// Whether an upgrade may do on a new connection that did not on the one that was kept from the
/// session. That may have ended without a word, and some balancers know the server of a WebSocket
/// by its connection alone.
fn may_do_on_another(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Disconnected => true,
        // At once would be before the time that was asked for.
        ErrorKind::Status(_) => error.retry_after().is_none(),
        _ => false,
    }
}

/// What came in.
pub(crate) enum Arrival {
    Event(Event),
    Ack(Ack),
    Unknown(Unknown),
    /// The answer to a ping that was asked for, after so long.
    Pong(Duration),
    /// Nothing did, or not only that: what is watched is ready.
    Watched,
}

impl Connection {
    /// Connects, asks for a session and opens its socket, all on one TCP connection where the
    /// service lets it be.
    pub(crate) fn open(config: &Config, route: &mut Route) -> Result<Self> {
        let credentials = &config.credentials;
        let upgrade = |link, route: &Route, id: &SessionId, cookies: &Cookies| {
            let endpoint = &route.endpoint;
            let path = id.path(endpoint);
            let deadline = config.phase_deadline();
            Socket::upgrade(link, endpoint, &path, cookies, config.max_message, deadline)
        };
        let link = route.dial(config.phase_deadline())?;
        let Session { id, cookies, link } =
            session::open(link, route, credentials, config.phase_deadline())?;
        let kept = link.map(|link| upgrade(link, route, &id, &cookies));
        let mut socket = match kept {
            Some(Err(error)) if may_do_on_another(&error) => {
                log::debug!("{error}; trying again on a new connection");
                let link = route.dial(config.phase_deadline())?;
                let again = upgrade(link, route, &id, &cookies);
                // The session may count as used by then: the first refusal tells more.
                let is_refusal = |error: &Error| matches!(error.kind(), ErrorKind::Status(_));
                again.map_err(|last| if is_refusal(&error) { error } else { last })?
            }
            Some(kept) => kept?,
            None => upgrade(route.dial(config.phase_deadline())?, route, &id, &cookies)?,
        };
        socket.set_connected();
        route.observer.notify(&Step::Upgraded);
        let liveness = Liveness {
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            heartbeat: config.heartbeat,
        };
        let mut quote = Quote::new(&credentials.token);
        quote.hide(id.expose_secret());
        cookies.secrets().for_each(|cookie| quote.hide(cookie));
        Ok(Self {
            heard: socket.received(),
            socket,
            exchange: Exchange::new(liveness, config.ack_timeout, Instant::now()),
            quote,
            ping: (0, None),
            watched: Watched::default(),
            reprieve: None,
            ack_timeout: config.ack_timeout,
        })
    }

    /// Sends a request.
    pub(crate) fn request(&mut self, action: Action, stream: &Stream) -> Result<()> {
        log::debug!("{action}: asked for {stream}");
        let now = Instant::now();
        let text = self.exchange.request(action, stream.clone(), now);
        self.socket.send(text, now + self.ack_timeout)
    }

    /// Sends a text that is the caller's own.
    pub(crate) fn send(&mut self, text: &str) -> Result<()> {
        self.exchange.sent(text);
        let deadline = Instant::now() + self.ack_timeout;
        self.socket.send(text.to_owned(), deadline)
    }

    /// Asks for a pong, in place of the last one.
    pub(crate) fn ping(&mut self) -> Result<()> {
        let now = Instant::now();
        self.ping = (self.ping.0 + 1, Some(now));
        let payload = self.ping.0.to_be_bytes();
        self.socket.ping(&payload, now + self.ack_timeout)
    }

    /// Whether another request may be sent. A service that is busy with answers need not read, and
    /// this must not wait for it with a write.
    pub(crate) fn may_request(&self) -> bool {
        self.exchange.pending_bytes() < WINDOW
    }

    /// When the peer was last heard of.
    pub(crate) fn heard_at(&self) -> Instant {
        self.exchange.heard_at()
    }

    /// From now on a read that finds nothing ends while this is ready, too.
    pub(crate) fn watch(&mut self, watched: Watched) {
        self.socket.watch(watched.clone());
        self.watched = watched;
    }

    /// The next thing to come in, `None` if that is nothing by the deadline. What has come is taken
    /// before anything is held against the peer.
    ///
    /// # Errors
    /// `Stopped` leaves the connection as it was. After any other it is of no more use.
    pub(crate) fn read(&mut self, deadline: Option<Instant>) -> Result<Option<Arrival>> {
        if self.socket.take_noticed() {
            return Ok(Some(Arrival::Watched));
        }
        let mut ignored = 0;
        loop {
            let now = Instant::now();
            let due = self.exchange.due(now);
            let until = match &due {
                Due::Nothing(next) => deadline.into_iter().chain(*next).min(),
                Due::Ping => {
                    log::trace!("socket: ping");
                    self.socket.ping(&[], now + self.ack_timeout)?;
                    continue;
                }
                Due::Heartbeat => {
                    log::trace!("socket: heartbeat");
                    let text = HEARTBEAT.to_owned();
                    self.socket.send(text, now + self.ack_timeout)?;
                    continue;
                }
                Due::Dead => Some(now),
                Due::AckLate(action, stream) => match self.reprieve {
                    Some((Duration::ZERO, _)) => return Err(self.late(*action, stream)),
                    reprieve => {
                        let left = reprieve.map(|(left, _)| left).unwrap_or_default();
                        deadline.into_iter().chain(Some(now + left)).min()
                    }
                },
            };
            let received = self.socket.read(until)?;
            let after = Instant::now();
            let bytes = self.socket.received();
            let alive = received.is_some() || bytes != self.heard;
            if alive {
                self.exchange.heard(after);
                self.heard = bytes;
            }
            self.reprieve = match &due {
                Due::AckLate(action, stream) => match self.reprieve {
                    // It cannot come before the end of the message that is coming in.
                    _ if alive && received.is_none() && self.socket.is_amid_message() => {
                        Some((self.ack_timeout, bytes))
                    }
                    None if !alive => return Err(self.late(*action, stream)),
                    None => Some((REPRIEVE, bytes)),
                    Some((_, since)) if bytes - since > ON_THE_WAY => Some((Duration::ZERO, since)),
                    Some((left, since)) => Some((left.saturating_sub(after - now), since)),
                },
                _ => None,
            };
            let is_nothing = received.is_none();
            if let Some(received) = received
                && let Some(arrival) = self.arrived(received)?
            {
                return Ok(Some(arrival));
            }
            if is_nothing && due == Due::Dead && !alive {
                let message = format!("no sign of life from {}", self.socket.peer());
                return Err(Error::new(Phase::Socket, ErrorKind::TimedOut, message));
            }
            if is_nothing && self.watched.is_ready() {
                return Ok(Some(Arrival::Watched));
            }
            // Something may have come behind what was none of the caller's business.
            ignored += 1;
            if deadline.is_some_and(|deadline| deadline <= after)
                && (is_nothing || ignored == MAX_IGNORED)
            {
                return Ok(None);
            }
        }
    }

    /// The next thing of what has been read already, which needs neither a clock nor a deadline.
    ///
    /// # Errors
    /// Those of [`Connection::read`].
    pub(crate) fn read_buffered(&mut self) -> Result<Option<Arrival>> {
        loop {
            let received = self.socket.read_buffered()?;
            // It was heard of when that was read.
            self.heard = self.socket.received();
            match received {
                None => return Ok(None),
                Some(received) => {
                    if let Some(arrival) = self.arrived(received)? {
                        return Ok(Some(arrival));
                    }
                }
            }
        }
    }

    fn late(&self, action: Action, stream: &Stream) -> Error {
        let peer = self.socket.peer();
        let message = format!("{peer} did not answer in time to {action} {stream}");
        Error::new(Phase::Subscribe, ErrorKind::TimedOut, message)
    }

    fn arrived(&mut self, received: Received) -> Result<Option<Arrival>> {
        let text = match received {
            Received::Text(text) => text,
            Received::Ping => return Ok(None),
            Received::Pong(payload) => {
                let (number, sent_at) = &mut self.ping;
                let is_answer = payload[..] == number.to_be_bytes();
                let answered = sent_at.take_if(|_| is_answer);
                return Ok(answered.map(|at| Arrival::Pong(at.elapsed())));
            }
            Received::Binary => {
                let unknown = Unknown::new(Text::default(), "it is binary and not UTF-8");
                return Ok(Some(Arrival::Unknown(unknown)));
            }
            Received::Close(words) => {
                let (peer, words) = (self.socket.peer(), self.quote.quote(&words));
                let message = format!("{peer} closed {words}");
                return Err(Error::new(Phase::Socket, ErrorKind::Disconnected, message));
            }
        };
        let arrival = match Incoming::parse(text) {
            Incoming::Event(event) => Arrival::Event(event),
            Incoming::Unknown(unknown) => Arrival::Unknown(unknown),
            Incoming::Answer(answer, text) => match self.exchange.answered(&answer) {
                Some(mut ack) => {
                    ack.outcome = ack.outcome.map_err(|words| self.quote.quote(&words));
                    ack.text = text;
                    Arrival::Ack(ack)
                }
                None => Arrival::Unknown(Unknown::new(text, "it answers no pending request")),
            },
        };
        Ok(Some(arrival))
    }

    /// Unsubscribes from the streams, closes with 1000 and waits for the answers to both. It takes
    /// no more than two seconds, and no stop cuts it short. Hands over what comes in before the
    /// streams are unsubscribed.
    ///
    /// # Errors
    /// Those of the connection, `TimedOut` where an answer did not come.
    pub(crate) fn close(
        mut self,
        subscribed: impl IntoIterator<Item = Stream>,
        arrived: impl FnMut(Arrival),
    ) -> Result<()> {
        log::debug!("socket: closing the connection to {}", self.socket.peer());
        self.socket.ignore_stop();
        self.watch(Watched::default());
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let half = Instant::now() + CLOSE_TIMEOUT / 2;
        let unsubscribed = self.unsubscribe(subscribed, half, arrived);
        let closed = self.socket.close(deadline);
        unsubscribed.and(closed)
    }

    fn unsubscribe(
        &mut self,
        streams: impl IntoIterator<Item = Stream>,
        deadline: Instant,
        mut arrived: impl FnMut(Arrival),
    ) -> Result<()> {
        let mut streams = streams.into_iter();
        loop {
            while self.may_request()
                && let Some(stream) = streams.next()
            {
                let action = Action::Unsubscribe;
                let text = self.exchange.request(action, stream, Instant::now());
                self.socket.send(text, deadline)?;
            }
            if self.exchange.pending() == 0 {
                return Ok(());
            }
            // Events may come in for as long as it takes: the clock is looked at here too.
            let arrival = self.read(Some(deadline))?;
            let is_nothing = arrival.is_none();
            arrival.into_iter().for_each(&mut arrived);
            if is_nothing || Instant::now() >= deadline {
                let message = format!("{} did not answer in time", self.socket.peer());
                return Err(Error::new(Phase::Subscribe, ErrorKind::TimedOut, message));
            }
        }
    }
}
