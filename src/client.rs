use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::connection::{Arrival, Connection};
use crate::dial::Route;
use crate::error::{ErrorKind, Phase};
use crate::protocol::{Ack, Action, Event, Stream, Unknown};
use crate::{Error, Result};

/// A client of the service, with one open connection.
///
/// It blocks, has no thread of its own, and does nothing but while one of its methods runs: one of
/// them should, most of the time, so that pings are answered. Dropped, it just ends the connection;
/// [`close`](Client::close) takes leave.
pub struct Client {
    peer: String,
    connection: Option<Connection>,
    subscribed: BTreeSet<Stream>,
    /// What came in while something else was waited for.
    queue: VecDeque<Next>,
}

/// What [`Client::next`] found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Next {
    /// An event of a stream.
    Event(Event),
    /// The answer to a [`Client::request`].
    Ack(Ack),
    /// A message that is neither.
    Unknown(Unknown),
    /// Nothing came in by the deadline. The next call may find something.
    TimedOut,
    /// The connection is closed, and stays so. Why was the error of an earlier call.
    Closed,
}

impl Client {
    /// Connects: a session, and the WebSocket that belongs to it.
    ///
    /// # Errors
    /// `Config` before anything is sent; `Refused` for the credentials; otherwise what failed is
    /// told by [`Error::phase`] and [`Error::kind`], and whether it may pass by
    /// [`Error::is_retryable`].
    pub fn connect(config: &Config) -> Result<Self> {
        let route = Route::new(config)?;
        let connection = Connection::open(config, &route)?;
        Ok(Self {
            peer: route.endpoint.to_string(),
            connection: Some(connection),
            subscribed: BTreeSet::new(),
            queue: VecDeque::new(),
        })
    }

    /// Subscribes to a stream and waits until that is acknowledged. What else comes in meanwhile
    /// is kept for [`Client::next`].
    ///
    /// # Errors
    /// `Refused` with the service's words, after which the client can go on; `TimedOut` without an
    /// answer in time, and those of [`Client::next`], after which it is closed.
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
        self.attempt(|connection| connection.request(action, stream))
            .map(drop)
    }

    /// The next thing to come in, waiting for it for `timeout` at most. Zero takes what has come
    /// in already.
    ///
    /// # Errors
    /// `Stopped`, after which the client can be asked again and closed. After any other, which says
    /// how the connection came to its end, it is closed.
    pub fn next(&mut self, timeout: Duration) -> Result<Next> {
        let deadline = Instant::now().checked_add(timeout);
        self.next_by(deadline)
    }

    /// Hands what comes in to the callbacks, until one of them breaks.
    ///
    /// ```no_run
    /// # fn run(client: &mut octave_ws::Client) -> octave_ws::Result<()> {
    /// use std::ops::ControlFlow;
    ///
    /// client.run(
    ///     |ack| {
    ///         println!("{} {}: {:?}", ack.action, ack.stream, ack.outcome);
    ///         ControlFlow::Continue(())
    ///     },
    ///     |event| {
    ///         println!("{}", event.value());
    ///         ControlFlow::Continue(())
    ///     },
    /// )
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Client::next`], `Stopped` among them.
    pub fn run(
        &mut self,
        mut on_ack: impl FnMut(Ack) -> ControlFlow<()>,
        mut on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
        loop {
            let flow = match self.next_by(None)? {
                Next::Event(event) => on_event(event),
                Next::Ack(ack) => on_ack(ack),
                Next::Unknown(unknown) => {
                    log::warn!("a message was skipped: {}", unknown.reason());
                    ControlFlow::Continue(())
                }
                Next::TimedOut => ControlFlow::Continue(()),
                Next::Closed => return Err(closed()),
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    /// Unsubscribes from everything, closes with 1000 and waits for the answers, for two seconds
    /// at most and whether it is stopped or not. Take what has come in before with [`Client::next`]
    /// and a timeout of zero: here it is dropped.
    ///
    /// # Errors
    /// What went wrong with that. The connection is ended all the same.
    pub fn close(self) -> Result<()> {
        match self.connection {
            Some(connection) => connection.close(self.subscribed),
            None => Ok(()),
        }
    }

    /// Whom it is connected to, as `HOST:PORT`.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The streams that are subscribed: acknowledged, and not since unsubscribed.
    pub fn subscribed(&self) -> impl Iterator<Item = &Stream> {
        self.subscribed.iter()
    }

    fn ask(&mut self, action: Action, stream: &Stream) -> Result<()> {
        let asked = self.attempt(|connection| connection.request(action, stream))?;
        loop {
            match self.arrival(None)? {
                Some(Arrival::Ack(id, ack)) if id == asked => {
                    self.note(&ack);
                    return ack.outcome.map_err(|words| {
                        let message = format!("{action} {stream} was refused: {words}");
                        Error::new(Phase::Subscribe, ErrorKind::Refused, message)
                    });
                }
                Some(arrival) => {
                    let next = self.arrived(arrival);
                    self.queue.push_back(next);
                }
                None => {}
            }
        }
    }

    fn next_by(&mut self, deadline: Option<Instant>) -> Result<Next> {
        if let Some(next) = self.queue.pop_front() {
            return Ok(next);
        }
        if self.connection.is_none() {
            return Ok(Next::Closed);
        }
        match self.arrival(deadline)? {
            Some(arrival) => Ok(self.arrived(arrival)),
            None => Ok(Next::TimedOut),
        }
    }

    fn arrival(&mut self, deadline: Option<Instant>) -> Result<Option<Arrival>> {
        self.attempt(|connection| connection.read(deadline))
    }

    fn arrived(&mut self, arrival: Arrival) -> Next {
        match arrival {
            Arrival::Event(event) => Next::Event(event),
            Arrival::Unknown(unknown) => Next::Unknown(unknown),
            Arrival::Ack(_, ack) => {
                self.note(&ack);
                Next::Ack(ack)
            }
        }
    }

    /// Keeps the list of what is subscribed.
    fn note(&mut self, ack: &Ack) {
        if ack.outcome.is_err() {
            return;
        }
        match ack.action {
            Action::Subscribe => self.subscribed.insert(ack.stream.clone()),
            Action::Unsubscribe => self.subscribed.remove(&ack.stream),
        };
    }

    /// Does something with the connection, which does not outlive an error but for a stop.
    fn attempt<T>(&mut self, act: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let connection = self.connection.as_mut().ok_or_else(closed)?;
        let done = act(connection);
        if let Err(error) = &done
            && error.kind() != ErrorKind::Stopped
        {
            self.connection = None;
            self.subscribed.clear();
        }
        done
    }
}

fn closed() -> Error {
    let message = "the connection is closed";
    Error::new(Phase::Socket, ErrorKind::Disconnected, message)
}
