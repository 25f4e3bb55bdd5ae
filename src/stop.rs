use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::ready;

/// Ends whatever a client is waiting for: from another thread, or from a signal handler.
///
/// It is made beforehand and given to the [`Config`](crate::Config), so that connecting can be
/// stopped too. Its clones are one and the same; once stopped it stays stopped.
#[derive(Clone)]
pub struct Stop(Arc<Pipe>);

/// Nobody reads from it: that it has become readable is the signal.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Stop {
    /// A stop that nobody has pulled yet. It takes two file descriptors.
    ///
    /// # Errors
    /// The operating system's, where there are no more file descriptors.
    pub fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Pipe { read, write })))
    }

    /// Stops.
    pub fn stop(&self) {
        // The one way to fail is a pipe full of earlier stops.
        let _ = rustix::io::write(&self.0.write, &[1]);
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        ready::is_readable(self)
    }

    /// A file descriptor that stops when a byte is written to it: for a signal handler, which may
    /// do little more than write(2). It does not block.
    ///
    /// # Errors
    /// The operating system's, where there are no more file descriptors.
    pub fn waker(&self) -> io::Result<OwnedFd> {
        self.0.write.try_clone()
    }
}

/// The end that becomes readable, for a poll(2) of one's own. Do not read from it.
impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.read.as_fd()
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.is_stopped()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_and_wakers_are_one_and_stay_stopped() {
        let called = Stop::new().unwrap();
        called.clone().stop();
        let woken = Stop::new().unwrap();
        rustix::io::write(woken.waker().unwrap(), b"x").unwrap();
        for stop in [called, woken] {
            assert!(stop.is_stopped() && stop.clone().is_stopped());
        }
        assert!(!Stop::new().unwrap().is_stopped());
    }
}
