use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::PollFlags;

use crate::wait::poll::{is_hung_up, is_readable};
use crate::wait::stop::Stop;
use crate::wait::watchdog::Watchdog;

/// Descriptors and functions that a wait sees to.
#[derive(Clone, Default)]
pub(crate) struct WaitContext {
    /// `None` while closing: the close handshake follows the stop.
    pub(crate) stop: Option<Stop>,
    pub(crate) watched: Watched,
    pub(crate) watchdog: Watchdog,
    /// Another descriptor whose readiness is a stop.
    pub(crate) cancel: Option<Arc<OwnedFd>>,
}

impl WaitContext {
    /// Returns the context without the watched descriptors, for waits that they must not cut short.
    pub(crate) fn unwatched(&self) -> Self {
        Self {
            watched: Watched::default(),
            ..self.clone()
        }
    }

    /// Returns whether the other descriptor is ready.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.as_deref().is_some_and(is_readable)
    }

    /// Returns whether it is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(Stop::is_stopped)
    }
}

/// Descriptors of the caller's that a wait ends for.
#[derive(Clone, Default)]
pub(crate) struct Watched {
    /// Ready once one of them has data, or its end.
    pub(crate) readable: Arc<[OwnedFd]>,
    /// Ready once its other end is closed.
    pub(crate) hangup: Option<Arc<OwnedFd>>,
    /// Another socket of the client's own, ready once it has data or its end.
    pub(crate) socket: Option<Arc<OwnedFd>>,
}

impl Watched {
    /// Returns whether a wait would end at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready().is_some() || self.socket.as_deref().is_some_and(is_readable)
    }

    /// Returns which descriptor of the caller's would end a wait at once.
    pub(crate) fn ready(&self) -> Option<FdReady> {
        let hangup = self.hangup.as_deref();
        if hangup.is_some_and(is_hung_up) {
            return Some(FdReady::HungUp);
        }
        let mut readable = self.readable.iter();
        let at = readable.position(is_readable);
        at.map(FdReady::Readable)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let readable = self.readable.iter().chain(self.socket.as_deref());
        let readable = readable.map(|fd| (fd.as_fd(), PollFlags::IN));
        // poll(2) reports a hangup unasked.
        let hangup = self.hangup.as_deref();
        let hangup = hangup.map(|fd| (fd.as_fd(), PollFlags::empty()));
        readable.chain(hangup)
    }
}

/// The watched descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FdReady {
    /// The one with this index in the arguments of [`Client::watch`](crate::Client::watch) is readable
    /// or at its end.
    Readable(usize),
    /// The one of [`Client::watch_hangup`](crate::Client::watch_hangup) has no reader any more.
    HungUp,
}
