//! The signals that end a run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use octave_ws::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
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
