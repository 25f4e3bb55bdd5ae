use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether a connection is made, or is not to be.
pub(crate) fn is_writable(fd: impl AsFd) -> bool {
    is_ready_now(fd, PollFlags::OUT)
}

/// Whether there is something to read, or the end of it.
pub(crate) fn is_readable(fd: impl AsFd) -> bool {
    is_ready_now(fd, PollFlags::IN)
}

pub(crate) fn is_ready_now(fd: impl AsFd, what: PollFlags) -> bool {
    let mut fds = [PollFd::new(&fd, what)];
    loop {
        match poll(&mut fds, Some(&Timespec::default())) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.is_ok_and(|ready| ready > 0),
        }
    }
}
