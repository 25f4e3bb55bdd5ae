//! poll(2).

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Maximum timeout of one poll(2), whose milliseconds have 32 bits.
const AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// Waits until a descriptor is ready. Returns the number of ready ones, 0 at the deadline.
///
/// # Errors
/// Errors of poll(2).
pub fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left.min(AT_MOST)).ok());
        match poll(fds, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            Ok(0) if left > Some(AT_MOST) => {}
            done => return Ok(done?),
        }
    }
}

/// Returns whether the last poll(2) found the descriptor ready.
pub fn is_ready(fd: &PollFd<'_>) -> bool {
    !fd.revents().is_empty()
}

/// Returns whether a write would not block.
pub fn is_writable(fd: impl AsFd) -> bool {
    is_ready_now(fd, PollFlags::OUT)
}

/// Returns whether there is something to read, or the end.
pub fn is_readable(fd: impl AsFd) -> bool {
    is_ready_now(fd, PollFlags::IN)
}

/// Returns whether the other end is closed.
pub fn is_hung_up(fd: impl AsFd) -> bool {
    // poll(2) reports a hangup unasked.
    is_ready_now(fd, PollFlags::empty())
}

fn is_ready_now(fd: impl AsFd, events: PollFlags) -> bool {
    let mut fds = [PollFd::new(&fd, events)];
    poll_until(&mut fds, Some(Instant::now())).is_ok_and(|ready| ready > 0)
}
