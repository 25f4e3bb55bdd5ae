use std::time::Instant;

use crate::clock::Moment;

/// The amount and the time of received data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coming {
    /// Number of bytes.
    pub(crate) bytes: u64,
    /// Time of the last read.
    pub(crate) heard_at: Instant,
    /// Time at which nothing was left to read, before the end.
    pub(crate) empty_at: Moment,
    /// When there was last nothing to read before the last bytes came: all that had been sent by
    /// then has been read, however late.
    pub(crate) complete_at: Moment,
}

impl Coming {
    pub(super) fn new() -> Self {
        let now = Moment::now();
        Self {
            bytes: 0,
            heard_at: now.at,
            empty_at: now,
            complete_at: now,
        }
    }

    /// Notes that nothing is left to read.
    pub(super) fn empty(&mut self) {
        self.empty_at = Moment::now();
    }

    /// Counts read bytes. The number of those left is unknown.
    pub(super) fn read(&mut self, bytes: usize) {
        // The time of the end is unknown.
        if bytes == 0 {
            return;
        }
        self.complete_at = self.empty_at;
        self.heard_at = Instant::now();
        self.bytes += bytes as u64;
    }
}
