use std::mem;
use std::time::{Duration, Instant};

use crate::protocol::{Backoff, Retry, Stream};

/// Streams that had been granted and were refused on a new connection, by a refusal that may pass.
pub(super) struct Postponed {
    streams: Vec<Stream>,
    /// Time of the next request, if streams are postponed.
    pub(super) until: Option<Instant>,
    backoff: Backoff,
}

impl Postponed {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            streams: Vec::new(),
            until: None,
            backoff: Backoff::new(Duration::MAX, now),
        }
    }

    /// Postpones a stream. Returns for how long, where that was not told yet.
    pub(super) fn push(&mut self, stream: Stream, random: u32, now: Instant) -> Option<Duration> {
        self.streams.push(stream);
        if self.until.is_some() {
            return None;
        }
        self.until = self.backoff.failed(Retry::Always, None, random, now);
        self.until.map(|until| until - now)
    }

    /// Returns the streams that are due.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Stream> {
        match self.until {
            Some(until) if until <= now => {
                self.until = None;
                mem::take(&mut self.streams)
            }
            _ => Vec::new(),
        }
    }
}
