//! The signals that end a run, and the one that does not.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use octave_ws::Stop;
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
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
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    low_level::pipe::register(SIGHUP, write)?;
    Ok(read)
}

/// Forgets those that there were.
pub(crate) fn forget(hangups: &OwnedFd) {
    while rustix::io::read(hangups, &mut [0; 64]).is_ok_and(|n| n > 0) {}
}
