use std::time::{Duration, Instant};

use crate::clock::Moment;
use crate::config::Config;
use crate::error::{ErrorKind, Phase};
use crate::logger::{Logger, record};
use crate::protocol::{
    Ack, Action, Due, Event, Exchange, Incoming, Liveness, Look, ON_THE_WAY, Overdue, Stream, Text,
    UnknownMessage,
};
use crate::secret::Redactor;
use crate::session::{self, Session};
use crate::step::Step;
use crate::transport::Route;
use crate::transport::coming::Coming;
use crate::wait::context::Watched;
use crate::websocket::handshake::UpgradeRequest;
use crate::websocket::socket::{Received, Socket};
use crate::{Error, Result};

mod aside;
pub(crate) mod close;
mod own_loop;
mod send;

/// Number of bytes read past a deadline, and the time for that: what a caller waits for may follow them.
const BEYOND: u64 = 256 << 10;
const BEYOND_TIME: Duration = Duration::from_millis(50);

/// Number of signs of life that are passed over at once, without a look at the clock.
const MOST_SIGNS: u32 = 1000;

/// An open connection to the service, and all state that ends with it.
pub(crate) struct Connection {
    socket: Socket,
    exchange: Exchange,
    redactor: Redactor,
    /// The last ping that was asked for: how many there were, and when it was sent.
    ping: (u64, Option<Instant>),
    /// Whether the caller of the client waits for a pong.
    pub(crate) is_pong_awaited: bool,
    watched: Watched,
    overdue: Overdue,
    has_events: bool,
    /// Whether it has failed because pings went unanswered: its socket is still open.
    is_silent: bool,
    /// The failure of the connection, returned after everything that has arrived.
    failed: Option<Failed>,
    ack_timeout: Duration,
    logger: Logger,
    /// Until when there is nothing to do without new data, since the last read found none.
    idle_until: Option<Instant>,
}

struct Failed {
    error: Error,
    /// Number of bytes received by then.
    bytes: u64,
}

/// Returns whether to retry an upgrade on a new connection after it failed on the one kept from the
/// session: that may have ended silently, and some balancers route a WebSocket by its connection.
fn should_retry_upgrade(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Disconnected => true,
        // At once would be before the time that was asked for.
        ErrorKind::Status(_) => error.retry_after().is_none(),
        _ => false,
    }
}

/// A received message of a connection.
pub(crate) enum Arrival {
    Event(Event),
    Ack(Ack),
    Unknown(UnknownMessage),
    /// The answer to a ping that was asked for, after so long.
    Pong(Duration),
    /// A watched descriptor is ready.
    Watched,
    /// All requests are sent, and the peer takes more.
    Sent,
}

impl Connection {
    /// Connects, asks for a session and opens its socket, all on one TCP connection where the
    /// service lets it be.
    /// The secrets of this connection are added to those that are not to be quoted.
    pub(crate) fn open(
        config: &Config,
        route: &mut Route,
        redactor: &mut Redactor,
    ) -> Result<Self> {
        let credentials = config.credentials.as_ref().map_err(Clone::clone)?;
        let link = route.dial(config.phase_deadline())?;
        let Session { id, cookies, link } =
            session::open(link, route, credentials, redactor, config.phase_deadline())?;
        let path = id.path(&route.endpoint);
        let request = UpgradeRequest {
            path: &path,
            user_agent: &config.user_agent,
            cookies: &cookies,
            offers_compression: config.compression,
            redactor,
        };
        let upgrade = |link, route: &Route| {
            let deadline = config.phase_deadline();
            Socket::upgrade(
                link,
                &route.endpoint,
                &request,
                config.max_message,
                deadline,
            )
        };
        let kept = link.map(|link| upgrade(link, route));
        let mut socket = match kept {
            Some(Err(error)) if should_retry_upgrade(&error) => {
                record!(
                    config.logger,
                    Debug,
                    "{error}; trying again on a new connection"
                );
                let link = route.dial(config.phase_deadline())?;
                let again = upgrade(link, route);
                // The session may count as used by then: the first refusal tells more.
                let is_refusal = |error: &Error| matches!(error.kind(), ErrorKind::Status(_));
                again.map_err(|last| if is_refusal(&error) { error } else { last })?
            }
            Some(kept) => kept?,
            None => upgrade(route.dial(config.phase_deadline())?, route)?,
        };
        socket.wire().set_connected();
        socket.set_in_background(config.in_background);
        let is_compressed = socket.is_compressed();
        route.observer.notify(&Step::Upgraded { is_compressed });
        let liveness = Liveness {
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            heartbeat: config.heartbeat,
        };
        Ok(Self {
            socket,
            exchange: Exchange::new(liveness, config.ack_timeout, Instant::now()),
            redactor: redactor.clone(),
            ping: (0, None),
            is_pong_awaited: false,
            watched: Watched::default(),
            overdue: Overdue::new(config.ack_timeout),
            has_events: false,
            is_silent: false,
            failed: None,
            ack_timeout: config.ack_timeout,
            logger: config.logger.clone(),
            idle_until: None,
        })
    }

    /// Keeps the first failure until everything that has arrived is returned. A stop is no failure:
    /// unsent data is written with the next, and the next read returns the stop.
    fn unless_failed(&mut self, done: Result<()>) {
        if let Err(error) = done
            && error.kind() != ErrorKind::Stopped
        {
            let bytes = self.socket.wire().coming().bytes;
            self.failed.get_or_insert(Failed { error, bytes });
        }
    }

    /// Returns when the peer was last heard of.
    pub(crate) fn heard_at(&self) -> Instant {
        self.exchange.heard_at()
    }

    /// Returns whether events have come.
    pub(crate) fn has_events(&self) -> bool {
        self.has_events
    }

    /// Returns up to when all that was sent has come in, as far as is known.
    pub(crate) fn complete_at(&self) -> Moment {
        self.socket.complete_at()
    }

    /// Sets where it logs.
    pub(crate) fn set_logger(&mut self, logger: Logger) {
        self.logger = logger;
    }

    /// Makes a read without data end while this is ready, too.
    pub(crate) fn watch(&mut self, watched: Watched) {
        self.socket.wire().watch(watched.clone());
        self.watched = watched;
    }

    /// Returns the next arrival, `None` at the deadline. What has arrived is returned before the
    /// peer is judged, and before any failure.
    ///
    /// # Errors
    /// `Stopped` leaves the connection as it was. After any other it is of no more use.
    pub(crate) fn read(&mut self, deadline: Option<Instant>) -> Result<Option<Arrival>> {
        let mut passed: Option<(u64, Instant)> = None;
        loop {
            if self.socket.wire().take_watch_ready() {
                return Ok(Some(Arrival::Watched));
            }
            if self.failed.is_some() {
                return self.read_rest();
            }
            if self.socket.wire().take_all_sent() {
                let sent = self.socket.flush();
                self.unless_failed(sent);
                return Ok(Some(Arrival::Sent));
            }
            let now = Instant::now();
            let stuck_at = self.stuck_at();
            if stuck_at.is_some_and(|at| at <= now) {
                let stuck = Err(self.socket.stopped_reading());
                self.unless_failed(stuck);
                continue;
            }
            let due = self.exchange.due(now);
            let until = match &due {
                Due::Nothing(next) => *next,
                Due::Ping => {
                    self.send_ping();
                    continue;
                }
                Due::Heartbeat => {
                    self.send_heartbeat();
                    continue;
                }
                Due::Dead => Some(now),
                Due::AckLate(..) => {
                    let last = self.look(true);
                    Some(self.overdue.until(last, now))
                }
            };
            let before = self.socket.wire().coming();
            let next = until.into_iter().chain(stuck_at).min();
            let received = self.socket.read(deadline.into_iter().chain(next).min())?;
            if received.is_none() && self.socket.wire().is_read_ended() {
                continue;
            }
            let is_empty = received.is_none();
            let judged = self.judge(&due, is_empty, &before);
            self.unless_failed(judged);
            if let Some(received) = received
                && let Some(arrival) = self.arrived(received)?
            {
                return Ok(Some(arrival));
            }
            if is_empty && self.watched.is_ready() {
                return Ok(Some(Arrival::Watched));
            }
            // Something may have come behind what was none of the caller's business.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                let bytes = self.socket.wire().coming().bytes;
                let is_idle = is_empty && self.failed.is_none();
                self.idle_until = if is_idle { next } else { Some(now) };
                let (since, at) = *passed.get_or_insert((bytes, now));
                if is_empty || bytes - since > BEYOND || at.elapsed() > BEYOND_TIME {
                    return Ok(None);
                }
            }
        }
    }

    fn look(&mut self, is_empty: bool) -> Look {
        let Coming {
            bytes, heard_at, ..
        } = self.socket.wire().coming();
        Look {
            is_empty,
            is_amid: self.socket.is_amid_message(),
            bytes,
            heard_at,
        }
    }

    /// Fails the connection for an overdue pong or answer, unless the last read shows that the peer is
    /// alive.
    fn judge(&mut self, due: &Due, is_empty: bool, before: &Coming) -> Result<()> {
        let look = self.look(is_empty);
        self.exchange.heard(look.heard_at);
        let Due::AckLate(action, stream) = due else {
            self.overdue.reset();
            if *due == Due::Dead && is_empty && look.bytes == before.bytes {
                self.is_silent = true;
                let message = format!("no response to ping from {}", self.socket.peer());
                return Err(Error::new(Phase::Socket, ErrorKind::TimedOut, message));
            }
            return Ok(());
        };
        if self.overdue.is_late(look, before.bytes, Instant::now()) {
            return Err(self.late(*action, stream));
        }
        Ok(())
    }

    /// Returns the next of the arrivals before a failure, which follows them.
    fn read_rest(&mut self) -> Result<Option<Arrival>> {
        loop {
            let since = self.failed.as_ref().map_or(0, |failed| failed.bytes);
            let is_over = self.socket.wire().coming().bytes - since > ON_THE_WAY;
            // The reason in a close frame says more.
            let received = if is_over {
                None
            } else {
                self.socket.read(Some(Instant::now()))?
            };
            match (received, self.failed.take()) {
                (None, Some(failed)) => return Err(failed.error),
                (None, None) => return Ok(None),
                (Some(received), failed) => {
                    self.failed = failed;
                    if let Some(arrival) = self.arrived(received)? {
                        return Ok(Some(arrival));
                    }
                }
            }
        }
    }

    /// Returns the next thing of what has been read already, which needs neither a clock nor a
    /// deadline.
    ///
    /// # Errors
    /// As [`Connection::read`].
    pub(crate) fn read_buffered(&mut self) -> Result<Option<Arrival>> {
        for _ in 0..MOST_SIGNS {
            let Some(received) = self.socket.read_buffered()? else {
                break;
            };
            if let Some(arrival) = self.arrived(received)? {
                return Ok(Some(arrival));
            }
        }
        Ok(None)
    }

    fn late(&self, action: Action, stream: &Stream) -> Error {
        let peer = self.socket.peer();
        let message = format!("{peer} did not answer in time to {action} {stream}");
        Error::new(Phase::of(action), ErrorKind::TimedOut, message)
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
                let unknown = UnknownMessage::new(Text::default(), "it is binary and not UTF-8");
                return Ok(Some(Arrival::Unknown(unknown)));
            }
            Received::Close(words) => {
                let (peer, words) = (self.socket.peer(), self.redactor.redact(&words));
                let message = format!("{peer} closed {words}");
                return Err(Error::new(Phase::Socket, ErrorKind::Disconnected, message));
            }
        };
        let arrival = match Incoming::parse(text) {
            Incoming::Event(event) => {
                self.has_events = true;
                Arrival::Event(event)
            }
            Incoming::Unknown(unknown) => Arrival::Unknown(unknown),
            Incoming::Answer(answer, text) => match self.exchange.answered(&answer, Instant::now())
            {
                Some(mut ack) => {
                    ack.outcome = ack.outcome.map_err(|words| self.redactor.redact(&words));
                    ack.text = text;
                    Arrival::Ack(ack)
                }
                None => {
                    Arrival::Unknown(UnknownMessage::new(text, "it answers no pending request"))
                }
            },
        };
        Ok(Some(arrival))
    }
}
