//! Waits for sockets: until one is ready, a deadline, a stop, or a watched descriptor.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use crate::wait::context::WaitContext;
use crate::wait::ended::WaitEnded;
use crate::wait::poll::{is_ready, poll_until};
#[cfg(any(feature = "sim", test))]
use crate::wait::stop::Stop;

/// Waits until the socket is ready for these events.
///
/// # Errors
/// [`ErrorKind::WouldBlock`] at the deadline; [`WaitEnded::Stopped`] at a stop; errors of
/// poll(2).
#[cfg(any(feature = "sim", test))]
pub(crate) fn wait(
    socket: impl AsFd,
    events: PollFlags,
    stop: Option<&Stop>,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let wait_context = WaitContext {
        stop: stop.cloned(),
        ..WaitContext::default()
    };
    wait_for(&[socket], events, &wait_context, deadline)
}

/// Waits until one of the sockets is ready for these events.
///
/// # Errors
/// As [`poll_sockets`]; [`ErrorKind::WouldBlock`] at the deadline, and when only a watched descriptor
/// is ready.
pub(crate) fn wait_for(
    sockets: &[impl AsFd],
    events: PollFlags,
    wait_context: &WaitContext,
    deadline: Option<Instant>,
) -> io::Result<()> {
    match poll_sockets(sockets, events, wait_context, deadline)? {
        found if found.is_ready => Ok(()),
        _ => Err(ErrorKind::WouldBlock.into()),
    }
}

/// The end of a wait. At its deadline, both are false.
pub(crate) struct Found {
    pub(crate) is_ready: bool,
    pub(crate) is_watched_ready: bool,
}

/// Waits until one of the sockets is ready for these events, or a watched descriptor is.
///
/// # Errors
/// [`WaitEnded::Stopped`], and errors of poll(2).
pub(crate) fn poll_sockets(
    sockets: &[impl AsFd],
    events: PollFlags,
    wait_context: &WaitContext,
    deadline: Option<Instant>,
) -> io::Result<Found> {
    let stop = wait_context.stop.as_ref();
    let own = sockets.iter().map(|socket| PollFd::new(socket, events));
    let mut fds: Vec<_> = own.collect();
    fds.extend(stop.map(|stop| PollFd::new(stop, PollFlags::IN)));
    let cancel = wait_context.cancel.as_deref();
    fds.extend(cancel.map(|fd| PollFd::new(fd, PollFlags::IN)));
    let others = fds.len();
    let watched = wait_context.watched.entries();
    fds.extend(watched.map(|(fd, events)| PollFd::from_borrowed_fd(fd, events)));
    loop {
        let next_call = wait_context
            .watchdog
            .feed()
            .map(|time| Instant::now() + time);
        let until = deadline.into_iter().chain(next_call).min();
        if poll_until(&mut fds, until)? == 0 && until != deadline {
            continue;
        }
        if fds[sockets.len()..others].iter().any(is_ready) {
            return Err(WaitEnded::Stopped.into());
        }
        return Ok(Found {
            is_ready: fds[..sockets.len()].iter().any(is_ready),
            is_watched_ready: fds[others..].iter().any(is_ready),
        });
    }
}
