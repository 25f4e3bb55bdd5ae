//! Waits of tests, which end: a test whose wait is in vain fails, and says for what it waited.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::iter;
use std::ops::Deref;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use octave_ws::sim::Seen;

/// Longer than anything takes, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(60);

/// How long is waited between two looks at what tells nobody of its change: a file, a process.
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
pub(crate) struct Told(pub(crate) Receiver<Seen>);

impl Told {
    /// One after the other, until the stand-in is gone.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Seen> {
        iter::from_fn(|| match self.0.recv_timeout(LIMIT) {
            Ok(seen) => Some(seen),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more is seen"),
        })
    }
}

impl Deref for Told {
    type Target = Receiver<Seen>;

    fn deref(&self) -> &Receiver<Seen> {
        &self.0
    }
}
