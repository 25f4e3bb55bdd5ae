use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::connection::{Arrival, Connection};
use crate::error::{ErrorKind, Phase};
use crate::next::{Loss, Next};
use crate::protocol::{Action, Backoff, Stream, Subscriptions};
use crate::transport::Route;
use crate::transport::wire::Watched;
use crate::{Error, Result};

pub use events::Events;
use postponed::Postponed;

mod events;
mod postponed;
mod subscribe;
mod supervision;

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
    pending_warning: Option<String>,
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
    was_notified: bool,
    /// Whether the last attempt to connect was cut short by it. The next one is not, so that one
    /// comes to its end.
    cut_short: bool,
}

#[allow(clippy::large_enum_variant, reason = "there is one of them")]
enum State {
    Open(Connection),
    /// For the time of the next attempt.
    Waiting(Instant),
    Closed,
}

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
            pending_warning: None,
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

    /// The events alone, one after the other, for whoever does not care about acks and gaps.
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
}

/// To whom, how that stands, and how many streams are subscribed.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.peer())
            .field("is_connected", &self.is_connected())
            .field("subscribed", &self.subscriptions.subscribed().len())
            .finish_non_exhaustive()
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
