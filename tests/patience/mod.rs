//! Waits of tests, which end: a test whose wait is in vain fails, and says for what it waited.
#![allow(dead_code, reason = "each test takes what it needs")]

#[cfg(feature = "sim")]
use std::iter;
#[cfg(feature = "sim")]
use std::ops::Deref;
#[cfg(feature = "sim")]
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

#[cfg(feature = "sim")]
use octave_ws::sim::Observation;

/// Longer than anything takes, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(60);

/// Interval of checks of a file or a process, whose changes nothing signals.
const BETWEEN: Duration = Duration::from_millis(5);

/// Looks now and then until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(BETWEEN);
    }
}

/// What a stand-in sees.
#[cfg(feature = "sim")]
pub(crate) struct Told(pub(crate) Receiver<Observation>);

#[cfg(feature = "sim")]
impl Told {
    /// One after the other, until the stand-in is gone.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Observation> {
        iter::from_fn(|| match self.0.recv_timeout(LIMIT) {
            Ok(seen) => Some(seen),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more is seen"),
        })
    }
}

#[cfg(feature = "sim")]
impl Deref for Told {
    type Target = Receiver<Observation>;

    fn deref(&self) -> &Receiver<Observation> {
        &self.0
    }
}
