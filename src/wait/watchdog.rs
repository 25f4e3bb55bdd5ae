use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A function that is called at an interval during waits.
#[derive(Clone, Default)]
pub(crate) struct Watchdog(Option<(Duration, Arc<Feed>)>);

type Feed = dyn Fn() + Send + Sync;

impl Watchdog {
    pub(crate) fn new(every: Duration, call: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some((every, Arc::new(call))))
    }

    /// Calls the function. Returns the time until the next call.
    pub(crate) fn feed(&self) -> Option<Duration> {
        self.0.as_ref().map(|(every, call)| {
            call();
            *every
        })
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watchdog")
    }
}
