//! Attempts to connect, on the thread of the caller or in the background.

use std::io;
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::{Client, State};
use crate::connection::Connection;
use crate::error::{ErrorKind, Phase};
use crate::logger::{Logger, record};
use crate::secret::Redactor;
use crate::step::{Observer, Step};
use crate::transport::Route;
use crate::update::Update;
use crate::wait::context::{WaitContext, Watched};
use crate::wait::{poll, sockets};
use crate::{Error, LogLevel, Result};

/// Delay between an attempt that was cut short and the next one.
const CUT_SHORT: Duration = Duration::from_secs(1);

/// Time for connecting while a connection waits that is alive.
const RENEWED_WITHIN: Duration = Duration::from_secs(5);

/// An attempt on a thread of its own. Dropping it ends the attempt, and the thread.
pub(super) struct Attempt {
    /// At its end once the attempt is over; shutting it down ends the attempt.
    over: Arc<OwnedFd>,
    thread: Option<JoinHandle<Outcome>>,
    /// Number of bytes of all connections before it.
    before: u64,
    /// Calls of the caller's functions, which are made on the caller's thread.
    calls: Calls,
}

type Calls = Arc<Mutex<Vec<Call>>>;

enum Call {
    Log(LogLevel, String),
    Observe(Step),
}

struct Outcome {
    opened: Result<Connection>,
    route: Route,
    redactor: Redactor,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Its waits end.
        let _ = rustix::net::shutdown(&self.over, rustix::net::Shutdown::Both);
        // Its thread does not outlive the client.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Attempt {
    /// Returns a descriptor that is readable once it is over.
    pub(super) fn over(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.over)
    }
}

/// Readable once the attempt is over.
impl AsFd for Attempt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.over.as_fd()
    }
}

impl Client {
    /// Waits until it is time and tries to connect. False where the deadline comes first.
    pub(super) fn attempt_by(
        &mut self,
        at: Instant,
        deadline: Option<Instant>,
        watched: &Watched,
    ) -> Result<bool> {
        self.failures.warn(&self.config.logger);
        self.route.wait_context.watched = watched.clone();
        let until = deadline.map_or(at, |deadline| deadline.min(at));
        Error::of_wait(Phase::Connect, self.route.wait_until(until))?;
        let is_time = at <= Instant::now();
        // Ready descriptors that the caller does not read must not prevent an attempt.
        if let Some(ready) = watched.ready()
            && !(is_time && self.watch_state.was_notified)
        {
            self.watch_state.was_notified = true;
            self.queue.push_back(Update::FdReady(ready));
            return Ok(true);
        }
        self.watch_state.was_notified = false;
        if !is_time {
            return Ok(false);
        }
        if let Err(error) = self.config.renew_credentials() {
            self.failed(error)?;
            return Ok(true);
        }
        self.route.renew_trust(&mut self.config);
        if self.config.in_background {
            match self.begin(self.config.connect_deadline) {
                Ok(attempt) => {
                    self.state = State::Connecting(attempt);
                    return Ok(true);
                }
                Err(error) => {
                    let what = "calls wait for it";
                    record!(
                        self.config.logger,
                        Debug,
                        "connect: no thread: {error}; {what}"
                    );
                }
            }
        }
        self.attempt(watched)?;
        Ok(true)
    }

    /// Tries to connect, on this thread.
    fn attempt(&mut self, watched: &Watched) -> Result<()> {
        let may_cut_short = !self.watch_state.cut_short && !watched.is_ready();
        if !may_cut_short {
            self.route.wait_context.watched = Watched::default();
        }
        self.watch_state.cut_short = false;
        let limit = self.config.connect_deadline;
        self.config.connect_deadline = self.connect_deadline();
        let before = self.route.traffic().total();
        let opened = Connection::open(&self.config, &mut self.route, &mut self.redactor);
        self.config.connect_deadline = limit;
        match opened {
            Ok(connection) => self.connected(connection, before),
            // The attempt was cut short, which is no failure.
            Err(error) => match watched.ready() {
                Some(ready) if may_cut_short && error.is_retryable() => {
                    self.watch_state.cut_short = true;
                    self.watch_state.was_notified = true;
                    self.state = State::Waiting(Instant::now() + CUT_SHORT);
                    self.queue.push_back(Update::FdReady(ready));
                }
                _ => self.failed(error)?,
            },
        }
        Ok(())
    }

    /// Begins an attempt in the background, by the deadline.
    fn begin(&mut self, deadline: Option<Instant>) -> io::Result<Attempt> {
        let before = self.route.traffic().total();
        let (over, end) = UnixStream::pair()?;
        let mut config = self.config.clone();
        config.connect_deadline = deadline;
        let calls = Calls::default();
        if config.logger.is_set() {
            let calls = Arc::clone(&calls);
            config.logger = Logger::new(move |level, line| {
                let call = Call::Log(level, line.to_owned());
                lock(&calls).push(call);
            });
        }
        let mut redactor = self.redactor.clone();
        let mut route = self.route.lend();
        let steps = Arc::clone(&calls);
        let observer = Observer::new(move |step| lock(&steps).push(Call::Observe(step.clone())));
        route.observer = observer.with_logger(&config.logger);
        route.wait_context = WaitContext {
            stop: self.route.wait_context.stop.clone(),
            cancel: Some(Arc::new(OwnedFd::from(end.try_clone()?))),
            ..WaitContext::default()
        };
        let connect = move || {
            let opened = Connection::open(&config, &mut route, &mut redactor);
            route.wait_context.cancel = None;
            // A process that was forked meanwhile may hold it open.
            let _ = end.shutdown(Shutdown::Both);
            Outcome {
                opened,
                route,
                redactor,
            }
        };
        let thread = thread::Builder::new().name("connect".to_owned());
        let thread = thread.spawn(connect)?;
        Ok(Attempt {
            over: Arc::new(over.into()),
            thread: Some(thread),
            before,
            calls,
        })
    }

    /// Waits for the end of an attempt in the background. False where the deadline comes first.
    pub(super) fn wait_for_attempt(
        &mut self,
        deadline: Option<Instant>,
        watched: &Watched,
    ) -> Result<bool> {
        let State::Connecting(attempt) = &self.state else {
            return Ok(true);
        };
        self.make_calls(attempt);
        if !poll::is_readable(&attempt.over) {
            self.route.wait_context.watched = watched.clone();
            let context = &self.route.wait_context;
            let over = [&attempt.over];
            let waited = sockets::wait_for(&over, PollFlags::IN, context, deadline);
            Error::of_wait(Phase::Connect, waited)?;
        }
        if poll::is_readable(&attempt.over) {
            self.take_outcome()?;
            return Ok(true);
        }
        let ready = watched.ready();
        self.queue.extend(ready.map(Update::FdReady));
        Ok(ready.is_some())
    }

    /// Takes the outcome of an attempt in the background.
    fn take_outcome(&mut self) -> Result<()> {
        let now = Instant::now();
        let connecting = mem::replace(&mut self.state, State::Waiting(now));
        let State::Connecting(attempt) = connecting else {
            return Ok(());
        };
        let Some((opened, before)) = self.outcome(attempt) else {
            return Ok(());
        };
        match opened {
            Ok(connection) => self.connected(connection, before),
            Err(error) => self.failed(error)?,
        }
        Ok(())
    }

    /// Returns what an attempt has led to, and the number of bytes before it.
    fn outcome(&mut self, mut attempt: Attempt) -> Option<(Result<Connection>, u64)> {
        self.make_calls(&attempt);
        let outcome = attempt.thread.take()?.join();
        let outcome = outcome.unwrap_or_else(|payload| panic::resume_unwind(payload));
        self.route.take_back(outcome.route);
        self.redactor = outcome.redactor;
        let logger = &self.config.logger;
        let opened = outcome.opened.map(|mut connection| {
            connection.set_logger(logger.clone());
            connection
        });
        Some((opened, attempt.before))
    }

    /// Calls the caller's functions for what an attempt has done so far.
    fn make_calls(&self, attempt: &Attempt) {
        let calls = mem::take(&mut *lock(&attempt.calls));
        for call in calls {
            match call {
                Call::Log(level, line) => {
                    self.config
                        .logger
                        .log(level, module_path!(), format_args!("{line}"));
                }
                Call::Observe(step) => self.config.observer.call(&step),
            }
        }
    }

    fn connected(&mut self, connection: Connection, before: u64) {
        self.connecting_bytes = Some(self.route.traffic().total() - before);
        self.opened(connection);
    }

    /// Begins an attempt to replace the connection, which is kept in use meanwhile.
    pub(super) fn begin_renewal(&mut self) -> Result<()> {
        self.config.renew_credentials()?;
        self.route.renew_trust(&mut self.config);
        let soon = Instant::now() + RENEWED_WITHIN;
        let limit = self.config.connect_deadline.into_iter().chain([soon]).min();
        let attempt = self.begin(limit).map_err(|error| {
            let message = "no thread";
            Error::new(Phase::Connect, ErrorKind::System, message).because(error)
        })?;
        self.renewing = Some(attempt);
        Ok(())
    }

    /// Takes the outcome of an attempt to replace the connection, if it is over.
    pub(super) fn renewal_outcome(&mut self) -> Option<Result<Connection>> {
        self.make_calls(self.renewing.as_ref()?);
        let attempt = self
            .renewing
            .take_if(|attempt| poll::is_readable(&attempt.over))?;
        let (opened, before) = self.outcome(attempt)?;
        self.connecting_bytes = Some(self.route.traffic().total() - before);
        Some(opened)
    }

    /// Returns when an attempt that begins now has to be done, if it is limited.
    fn connect_deadline(&self) -> Option<Instant> {
        // The connection is alive that waits meanwhile.
        let soon = self.renewed().map(|_| Instant::now() + RENEWED_WITHIN);
        self.config.connect_deadline.into_iter().chain(soon).min()
    }
}

fn lock(calls: &Mutex<Vec<Call>>) -> MutexGuard<'_, Vec<Call>> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}
