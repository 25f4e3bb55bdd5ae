use std::time::Duration;

use crate::Error;
use crate::logger::{Logger, record};

/// The failures of a client, and the warnings about them.
#[derive(Default)]
pub(super) struct Failures {
    /// The last failure, and the number of its repetitions in a row.
    last: Option<(Error, u32)>,
    /// A warning that is logged before the wait for the next attempt: by then, everything that
    /// arrived before the failure has been returned.
    pending_warning: Option<String>,
    /// Number of connections on which an answer did not come in time, since it was requested.
    pub(super) unanswered_connections: u32,
}

impl Failures {
    pub(super) fn last(&self) -> Option<&Error> {
        self.last.as_ref().map(|(error, _)| error)
    }

    /// Takes note of a failure after which the next attempt is made.
    pub(super) fn push(&mut self, error: Error, delay: Duration) {
        let failure = error.report();
        let (times, repeated) = match &self.last {
            Some((last, times)) if last.report() == failure => {
                (times + 1, format!(" ({} times)", times + 1))
            }
            _ => (1, String::new()),
        };
        let delay = delay.as_secs_f64();
        let message = format!("{failure}{repeated}; trying again in {delay:.1} s");
        self.pending_warning = Some(message);
        self.last = Some((error, times));
    }

    /// Logs the warning about the last failure, once.
    pub(super) fn warn(&mut self, logger: &Logger) {
        if let Some(message) = self.pending_warning.take() {
            record!(logger, Warn, "{message}");
        }
    }

    /// Forgets the last failure: all streams are subscribed again.
    pub(super) fn end(&mut self) {
        self.last = None;
    }
}
