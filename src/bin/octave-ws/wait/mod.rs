//! The one place where the program waits for anything but the service: poll(2), with the stop and
//! the deadlines of the process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use octave_ws::Stop;
pub(crate) use octave_ws::wait::ended::WaitEnded;
use octave_ws::wait::poll::{is_ready, poll_until};
use rustix::event::{PollFd, PollFlags};

mod bridge;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod terminal;

/// Timeout for a stalled reader after a stop, which has two seconds for everything.
const LAST_WAIT: Duration = Duration::from_millis(1900);

/// The same, once the run is over.
const PATIENCE: Duration = Duration::from_secs(2);

/// Delay before the next attempt of a write that failed although poll(2) reported room.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// The limits of the waits of this process.
struct Limits {
    stop: Option<Stop>,
    deadline: Option<Instant>,
    end: Option<Instant>,
    /// The deadline for readers, which is set once the stop is noticed.
    last: Option<Instant>,
}

static LIMITS: Mutex<Limits> = Mutex::new(Limits {
    stop: None,
    deadline: None,
    end: None,
    last: None,
});

/// Makes a stop end each wait: at once, or soon after where a reader is waited for.
pub(crate) fn set_stop(stop: &Stop) {
    limits().stop = Some(stop.clone());
}

/// Limits each wait to a deadline.
pub(crate) fn set_deadline(deadline: Option<Instant>) {
    limits().deadline = deadline;
}

/// Limits the waits for a reader from this time on: the reader has to take something now and then.
pub(crate) fn set_end(end: Option<Instant>) {
    limits().end = end;
}

/// Notes the stop. Returns how long a reader is still waited for.
pub(crate) fn stopped() -> Duration {
    let now = Instant::now();
    let last = *limits().last.get_or_insert(now + LAST_WAIT);
    last.saturating_duration_since(now)
}

/// Waits until a write does not have to. The reader took something last at `moved_at`.
///
/// # Errors
/// A [`WaitEnded`], as an [`io::Error`].
pub(crate) fn writable(fd: impl AsFd, moved_at: Instant) -> io::Result<()> {
    for_reader(Some(fd.as_fd()), moved_at, None)
}

/// Does the same, until the given time.
///
/// # Errors
/// A [`WaitEnded`], as an [`io::Error`].
pub(crate) fn writable_by(fd: impl AsFd, time: Instant) -> io::Result<()> {
    for_reader(Some(fd.as_fd()), Instant::now(), Some(time))
}

/// Pauses for a moment: poll(2) has reported room, and the write would have blocked.
///
/// # Errors
/// A [`WaitEnded`], as an [`io::Error`].
pub(crate) fn retry(moved_at: Instant) -> io::Result<()> {
    for_reader(None, moved_at, Some(Instant::now() + RETRY_DELAY))
}

fn for_reader(
    fd: Option<BorrowedFd<'_>>,
    moved_at: Instant,
    until: Option<Instant>,
) -> io::Result<()> {
    loop {
        let (stop, limit) = {
            let limits = limits();
            let end = limits.end.map(|end| end.max(moved_at) + PATIENCE);
            let ends = [
                (limits.last, WaitEnded::Stopped),
                (limits.deadline, WaitEnded::TimedOut),
                (end, WaitEnded::ReaderStalled),
            ];
            let ends = ends.into_iter().filter_map(|(at, cut)| Some((at?, cut)));
            // Once it is stopped, that is no news.
            let stop = limits.stop.clone().filter(|_| limits.last.is_none());
            (stop, ends.min_by_key(|&(at, _)| at))
        };
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        fds.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
        fds.extend(stop.iter().map(|stop| PollFd::new(stop, PollFlags::IN)));
        let first = limit.map(|(at, _)| at).into_iter().chain(until).min();
        let ready = poll_until(&mut fds, first)?;
        if fd.is_some() && is_ready(&fds[0]) {
            return Ok(());
        }
        match limit {
            _ if ready > 0 => _ = stopped(),
            Some((at, cut)) if at <= Instant::now() => return Err(cut.into()),
            _ => return Ok(()),
        }
    }
}

/// Waits for something to read. What comes without end does not outlast the limits either.
///
/// # Errors
/// A [`WaitEnded`], as an [`io::Error`].
pub(crate) fn readable(fd: impl AsFd) -> io::Result<()> {
    input(Some(fd.as_fd()), None)
}

/// Waits for so long.
///
/// # Errors
/// A [`WaitEnded`], as an [`io::Error`].
pub(crate) fn pause(time: Duration) -> io::Result<()> {
    input(None, Some(Instant::now() + time))
}

fn input(fd: Option<BorrowedFd<'_>>, until: Option<Instant>) -> io::Result<()> {
    let (stop, deadline) = {
        let limits = limits();
        (limits.stop.clone(), limits.deadline)
    };
    let mut fds: Vec<PollFd<'_>> = Vec::new();
    fds.extend(stop.iter().map(|stop| PollFd::new(stop, PollFlags::IN)));
    fds.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    poll_until(&mut fds, deadline.into_iter().chain(until).min())?;
    if stop.is_some() && is_ready(&fds[0]) {
        return Err(WaitEnded::Stopped.into());
    }
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return Err(WaitEnded::TimedOut.into());
    }
    Ok(())
}

fn limits() -> MutexGuard<'static, Limits> {
    LIMITS.lock().unwrap_or_else(PoisonError::into_inner)
}
