use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

use crate::clock;
use crate::config::Config;
use crate::connection::Connection;
use crate::error::{ErrorKind, Phase};
use crate::protocol::{Action, Backoff, Event, Renewal, Stream, Subscriptions};
use crate::secret::Redactor;
use crate::transport::Route;
use crate::update::{Loss, Update};
use crate::wait::context::Watched;
use crate::{Error, Result};

use attempt::Attempt;
use failures::Failures;
use filling::Filling;
use old::HandingOver;
use postponed::Postponed;

mod attempt;
pub(crate) mod cost;
mod failures;
mod fill;
mod filling;
mod handover;
mod leave;
mod old;
mod own_loop;
mod postponed;
mod proof;
mod recent;
mod renewal;

mod standings;
mod state;
mod subscribe;
mod supervision;
mod waiting;
mod watch;

/// A client of the service, with one connection at a time, and the one before it until its events have
/// come (see [`Config::handover`]).
///
/// It blocks, has no thread of its own, and does its work only while one of its methods runs. Call
/// [`Client::next`] or [`Client::run`] all the time, so that pings are answered. Dropping it drops the
/// connection; [`Client::close`] closes it properly.
///
/// A first program needs [`Client::connect`], [`Client::subscribe`], [`Client::next`] and
/// [`Client::close`]. Many streams are subscribed sooner by [`Client::request`], which does not wait; a
/// program with descriptors of its own uses [`Client::watch`].
///
/// If [`Config::retry_for`] allows it, the client reconnects after a loss, with growing delays and a
/// new session, and subscribes all streams again. The service does not replay events: [`Update::Lost`]
/// reports a loss, and [`Update::Gap`] the period for which events may be missing. Where the old
/// connection proves that none is, [`Update::Handover`] takes the place of both.
///
/// ```no_run
/// use std::time::Duration;
///
/// use octave_ws::{Client, Config, Update};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::connect(&Config::from_env()?.retry_for(Duration::MAX))?;
/// client.subscribe(&"/my_company/devices/gw1/temperature".parse()?)?;
/// loop {
///     match client.next(Duration::from_secs(60))? {
///         Update::Event(event) => println!("{}", event.value()),
///         Update::Gap(gap) => eprintln!("events may be missing: {}", gap.reason),
///         _ => {}
///     }
/// }
/// # }
/// ```
pub struct Client {
    config: Config,
    route: Route,
    /// The secrets of this connection and those before it.
    redactor: Redactor,
    backoff: Backoff,
    state: State,
    /// Number of connections so far.
    connections: u64,
    /// Bytes that the last connection took to be made.
    connecting_bytes: Option<u64>,
    subscriptions: Subscriptions,
    postponed: Postponed,
    loss: Option<Loss>,
    handing_over: Option<Box<HandingOver>>,
    /// Whether the service is known to serve two connections.
    serves_both: bool,
    renewal: Renewal,
    /// When all streams were subscribed on the last connection.
    settled_at: SystemTime,
    /// When it was opened, and when it is replaced.
    opened_at: Instant,
    renew_at: Option<Instant>,
    /// The attempt in the background that is to replace it.
    renewing: Option<Attempt>,
    failures: Failures,
    /// The reading of history, if that is asked for.
    filling: Option<Box<Filling>>,
    watch_state: WatchState,
    /// Whether the last call found nothing to do before new data or a later time.
    is_idle: bool,
    /// Updates that have arrived and are not returned yet.
    queue: VecDeque<Update>,
}

/// The descriptors of the caller, and the state of watching them.
#[derive(Default)]
struct WatchState {
    watched: Watched,
    /// Whether the last update was [`Update::FdReady`].
    was_notified: bool,
    /// Whether the last attempt to connect was cut short by it. The next one is not, so that one
    /// comes to its end.
    cut_short: bool,
}

#[allow(clippy::large_enum_variant, reason = "there is one of them")]
enum State {
    Open(Connection),
    /// Until the next attempt.
    Waiting(Instant),
    /// An attempt is made in the background.
    Connecting(Attempt),
    /// Closed by an error, which is returned after all updates before it.
    Failed(Error),
    Closed,
}

impl Client {
    /// Connects: requests a session and opens its WebSocket.
    ///
    /// # Errors
    /// `Config` before anything is sent; `Refused` for the credentials; `Stopped`; and all others of
    /// connecting, by [`Error::phase`] and [`Error::kind`].
    pub fn connect(config: &Config) -> Result<Self> {
        let mut client = Self::new(config)?;
        while let State::Waiting(_) | State::Connecting(_) = client.state {
            client.advance(None, &Watched::default())?;
        }
        client.queue.clear();
        match client.state {
            State::Failed(error) => Err(error),
            _ => Ok(client),
        }
    }

    /// Creates a client that is not connected yet. [`Client::next`] connects, as it does after a loss,
    /// and returns [`Update::Connected`]. This allows a program to [watch](Client::watch) something else
    /// meanwhile.
    ///
    /// # Errors
    /// `Config`, and `System` if there are no more file descriptors.
    pub fn new(config: &Config) -> Result<Self> {
        let now = Instant::now();
        let route = Route::new(config)?;
        let mut config = config.clone();
        Ok(Self {
            filling: Filling::new(&mut config, &route)?,
            route,
            redactor: Redactor::default(),
            backoff: Backoff::new(config.retry_for, now),
            state: State::Waiting(now),
            connections: 0,
            connecting_bytes: None,
            subscriptions: Subscriptions::default(),
            postponed: Postponed::new(now),
            loss: None,
            handing_over: None,
            serves_both: false,
            renewal: Renewal::new(config.renew_every),
            settled_at: clock::now(),
            opened_at: now,
            renew_at: None,
            renewing: None,
            failures: Failures::default(),
            watch_state: WatchState::default(),
            is_idle: false,
            queue: VecDeque::new(),
            config,
        })
    }

    /// Subscribes to a stream and waits for the acknowledgement. Whatever else arrives meanwhile is
    /// kept for [`Client::next`], up to the size of two messages of [`Config::max_message`], and at
    /// least 1 MiB.
    ///
    /// # Errors
    /// - `Refused`, with the reason that the service gave. The client can be used further.
    /// - `TimedOut`, without an answer within [`Config::ack_timeout`]. With [`Config::retry_for`], the
    ///   request is repeated on up to three new connections before.
    /// - `TooLong`, if more arrived than can be kept.
    /// - Those of [`Client::next`].
    pub fn subscribe(&mut self, stream: &Stream) -> Result<()> {
        self.ask(Action::Subscribe, stream)
    }

    /// Unsubscribes from a stream and waits for the acknowledgement. [`Client::next`] may still return
    /// events of the stream that arrived before it.
    ///
    /// # Errors
    /// As [`Client::subscribe`].
    pub fn unsubscribe(&mut self, stream: &Stream) -> Result<()> {
        self.ask(Action::Unsubscribe, stream)
    }

    /// Sends a text message unchanged, for requests that have no method. The answer is a
    /// [`Update::Unknown`]. A subscription made this way is not restored after a loss, nor ended by
    /// [`Client::close`]. Waits while the service does not read, up to the ack timeout.
    ///
    /// # Errors
    /// As [`Client::ping`].
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.on_connection(|connection| connection.send(text))
    }

    /// Sends a ping (RFC 6455 §5.5.2). The answer is a [`Update::Pong`]; of several pings, only the last
    /// may be answered.
    ///
    /// # Errors
    /// `Disconnected` without a connection, or where it cannot be written to any more; what has arrived
    /// and the loss follow with [`Client::next`].
    pub fn ping(&mut self) -> Result<()> {
        self.on_connection(|connection| {
            connection.is_pong_awaited = true;
            connection.ping()
        })
    }

    fn on_connection(&mut self, act: impl FnOnce(&mut Connection) -> Result<()>) -> Result<()> {
        self.is_idle = false;
        let State::Open(connection) = &mut self.state else {
            let message = "there is no connection now";
            return Err(Error::new(Phase::Socket, ErrorKind::Disconnected, message));
        };
        act(connection)
    }

    /// Returns the next event, acknowledgement or change, or [`Update::TimedOut`] after `timeout`. A
    /// timeout of zero returns received data, or makes an attempt to reconnect that is due.
    ///
    /// A call takes longer than `timeout` while it connects: up to [`Config::connect_timeout`] for each
    /// phase, and [`Client::set_connect_limit`] for all of them; and by up to 1.8 s when the service closes
    /// the connection, or an old one is closed after a handover. With [`Config::connect_in_background`] it
    /// takes no longer than `timeout` and 100 ms, and with a timeout of zero it never waits for the network,
    /// unless history is read, see [`Config::fill`](crate::Config::fill).
    ///
    /// # Errors
    /// `Stopped`, after which the client can still be used and closed. After any other error, which
    /// says how the connection ended, the client is closed.
    pub fn next(&mut self, timeout: Duration) -> Result<Update> {
        let deadline = Instant::now().checked_add(timeout);
        self.next_by(deadline)
    }

    /// Returns what has been read from the connection and not been returned yet, without waiting and
    /// without a system call: what a program takes before it looks after something else. Only where
    /// the service has closed the connection does it wait, as [`Client::next`] does.
    ///
    /// # Errors
    /// As [`Client::next`].
    #[inline]
    pub fn next_buffered(&mut self) -> Result<Option<Update>> {
        self.is_idle = false;
        if self.queue.is_empty()
            && let Some(event) = self.take_event()?
        {
            return Ok(Some(Update::Event(event)));
        }
        Ok(self.next_queued())
    }

    /// Passes everything that arrives to the callback, until that returns `Break`.
    ///
    /// ```no_run
    /// # fn run(client: &mut octave_ws::Client) -> octave_ws::Result<()> {
    /// use std::ops::ControlFlow;
    ///
    /// use octave_ws::Update;
    ///
    /// client.run(|next| {
    ///     match next {
    ///         Update::Event(event) => println!("{}", event.value()),
    ///         Update::Ack(ack) => eprintln!("{} {}: {:?}", ack.action, ack.stream, ack.outcome),
    ///         Update::Gap(gap) => eprintln!("events may be missing: {}", gap.reason),
    ///         _ => {}
    ///     }
    ///     ControlFlow::Continue(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::next`], including `Stopped`.
    pub fn run(&mut self, mut callback: impl FnMut(Update) -> ControlFlow<()>) -> Result<()> {
        loop {
            match self.next_by(None)? {
                Update::Closed => return Err(closed()),
                next => {
                    if callback(next).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Returns an iterator over the events, without acknowledgements, losses and gaps. It ends after an
    /// error.
    ///
    /// ```no_run
    /// # fn print(client: &mut octave_ws::Client) -> octave_ws::Result<()> {
    /// for event in client.events() {
    ///     println!("{}", event?.value());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&mut self) -> Events<'_> {
        Events::new(self)
    }

    /// Limits connecting, with all retries, to this time from now, until the next call. A failure
    /// after it closes the client. A run of limited time sets it before [`Client::next`] connects; an
    /// attempt in the background that has begun keeps the limit that it had.
    /// Default: none.
    pub fn set_connect_limit(&mut self, limit: Option<Duration>) {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        self.config.connect_deadline = deadline;
    }

    fn next_by(&mut self, deadline: Option<Instant>) -> Result<Update> {
        loop {
            if let Some(next) = self.next_buffered()? {
                return Ok(next);
            }
            if let State::Closed = self.state {
                return Ok(Update::Closed);
            }
            let watched = self.watch_state.watched.clone();
            // Fails for good once nothing is left to hand over.
            if !self.advance(deadline, &watched)? {
                self.is_idle = true;
                return Ok(Update::TimedOut);
            }
        }
    }
}

/// An iterator over events, returned by [`Client::events`].
#[derive(Debug)]
pub struct Events<'a> {
    client: &'a mut Client,
    is_over: bool,
}

impl<'a> Events<'a> {
    fn new(client: &'a mut Client) -> Self {
        Self {
            client,
            is_over: false,
        }
    }

    fn wait(&mut self) -> Result<Event> {
        loop {
            match self.client.next_by(None)? {
                Update::Event(event) => return Ok(event),
                Update::Closed => return Err(closed()),
                _ => {}
            }
        }
    }
}

/// Waits for each. After an error, which it yields, it is over.
impl Iterator for Events<'_> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let event = self.wait();
        self.is_over = event.is_err();
        Some(event)
    }
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
