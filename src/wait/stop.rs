use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::wait::poll;

/// Interrupts a client, from another thread or a signal handler.
///
/// A signal by itself ends no wait, nor does a flag that its handler sets: a client waits on after an
/// interrupted system call. Call [`Stop::stop`] in the handler, or write to the [waker](Stop::waker).
///
/// It is part of the [`Config`](crate::Config), so that it interrupts connecting, too. Clones share
/// one state, and a stop cannot be undone.
///
/// ```
/// use std::thread;
///
/// use octave_ws::{Config, Credentials, Stop, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let stop = Stop::new()?;
/// let config = Config::new(Credentials::new("my_company", Token::new("secret"))).stop(stop.clone());
/// thread::spawn(move || stop.stop());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Stop(Arc<Pipe>);

/// Never read: being readable is the signal.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Stop {
    /// Creates a stop. It uses two file descriptors.
    ///
    /// # Errors
    /// Those of the operating system, if there are no more file descriptors.
    pub fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Pipe { read, write })))
    }

    /// Interrupts every client that has it, now and later. It is async-signal-safe (a write(2) that does
    /// not block, without an allocation or a lock), and leaves errno as it was.
    pub fn stop(&self) {
        // The one way to fail is a pipe full of earlier stops.
        let _ = rustix::io::write(&self.0.write, &[1]);
    }

    /// Returns whether [`Stop::stop`] was called or the [waker](Stop::waker) written to.
    pub fn is_stopped(&self) -> bool {
        poll::is_readable(self)
    }

    /// Returns a file descriptor. Writing a byte to it stops, without blocking: a signal handler may
    /// do that.
    ///
    /// # Errors
    /// Those of the operating system, if there are no more file descriptors.
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
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn errno_is_left_as_it_was() {
        let stop = Stop::new().unwrap();
        let errno = || io::Error::last_os_error().raw_os_error();
        // More than the pipe takes.
        for _ in 0..100_000 {
            std::fs::File::open("/nowhere").unwrap_err();
            let before = errno();
            stop.stop();
            assert_eq!(
                (errno(), before),
                (before, Some(Errno::NOENT.raw_os_error()))
            );
        }
    }

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
