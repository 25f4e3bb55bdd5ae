//! The signals that end a run, and the one that does not.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use octave_ws::Stop;
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::{flag, low_level};

/// Lets SIGINT and SIGTERM pull the stop. A second one of them ends the process at once, with 128
/// and its number.
pub(crate) fn catch(stop: &Stop) -> io::Result<()> {
    let pulled = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In the order of registration: the flag is not set yet when the first one looks at it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&pulled))?;
        flag::register(signal, Arc::clone(&pulled))?;
        low_level::pipe::register(signal, stop.waker()?)?;
    }
    Ok(())
}

/// Becomes readable, and no more than that happens, with each SIGHUP.
pub(crate) fn hangups() -> io::Result<OwnedFd> {
    noted(SIGHUP)
}

/// The same with each SIGTSTP: a terminal's ^Z.
pub(crate) fn suspensions() -> io::Result<OwnedFd> {
    noted(SIGTSTP)
}

fn noted(signal: i32) -> io::Result<OwnedFd> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    low_level::pipe::register(signal, write)?;
    Ok(read)
}

/// Forgets those that there were.
pub(crate) fn forget(noted: &OwnedFd) {
    while rustix::io::read(noted, &mut [0; 64]).is_ok_and(|n| n > 0) {}
}

/// Stops the process, as SIGTSTP does by default, until it is let go on.
pub(crate) fn suspend() -> io::Result<()> {
    low_level::emulate_default_handler(SIGTSTP)
}

/// A signal that would end the process where it stands.
pub(crate) struct Deadly(Arc<AtomicUsize>);

impl Deadly {
    /// Lets SIGQUIT and SIGHUP pull the stop instead.
    pub(crate) fn catch(stop: &Stop) -> io::Result<Self> {
        let caught = Arc::new(AtomicUsize::new(0));
        for signal in [SIGQUIT, SIGHUP] {
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&caught), number)?;
            low_level::pipe::register(signal, stop.waker()?)?;
        }
        Ok(Self(caught))
    }

    /// Ends the process by it, if there was one, now that all is done.
    pub(crate) fn end(&self) {
        match self.0.load(Ordering::Relaxed) {
            0 => {}
            signal => {
                let signal = i32::try_from(signal).unwrap_or(SIGHUP);
                // Where that fails, the process ends as it would have.
                let _ = low_level::emulate_default_handler(signal);
            }
        }
    }
}
