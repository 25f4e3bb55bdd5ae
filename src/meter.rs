use std::error;
use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::dial::Link;

/// A link below a WebSocket, which sees to it that a message has an end.
///
/// tungstenite's read comes back when a message is whole. What is sent instead may be fragments
/// without end, empty ones even, or a byte now and then, and is none of its business.
pub(crate) struct Meter {
    link: Link,
    tally: Tally,
}

/// Whoever is no slower than this has time enough: 4 KiB/s, and half a minute besides.
const SLOWEST: u64 = 4 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// As many bytes may stand for one of a message, for it may come in fragments of one byte, each
/// with its header.
const OVERHEAD: u64 = 4;
const SMALLEST_LIMIT: u64 = 64 << 10;

impl Meter {
    pub(crate) fn new(link: Link, max_message: usize) -> Self {
        let tally = Tally {
            message: None,
            max_message: max_message as u64,
        };
        Self { link, tally }
    }

    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(crate) fn is_amid_message(&self) -> bool {
        self.tally.message.is_some()
    }

    /// A message has come to its end.
    pub(crate) fn whole(&mut self) {
        self.tally.message = None;
    }

    /// A control frame has come, perhaps amid the fragments of a message: its bytes do not count.
    pub(crate) fn control(&mut self, payload: usize) {
        self.tally.control(payload);
    }
}

impl Read for Meter {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.link.read(out)?;
        if n > 0 {
            self.tally
                .count(n, Instant::now())
                .map_err(io::Error::other)?;
        }
        Ok(n)
    }
}

impl Write for Meter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.link.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.link.flush()
    }
}

/// What has come in of a message that is not whole.
struct Tally {
    /// How many bytes, and since when.
    message: Option<(u64, Instant)>,
    max_message: u64,
}

impl Tally {
    fn count(&mut self, n: usize, now: Instant) -> Result<(), NoEnd> {
        let (bytes, since) = self.message.get_or_insert((0, now));
        *bytes += n as u64;
        let limit = self.max_message.saturating_mul(OVERHEAD);
        if *bytes > limit.max(SMALLEST_LIMIT) {
            return Err(NoEnd::TooLong);
        }
        let allowed = PATIENCE + Duration::from_secs(*bytes / SLOWEST);
        if now.duration_since(*since) > allowed {
            return Err(NoEnd::TooSlow);
        }
        Ok(())
    }

    fn control(&mut self, payload: usize) {
        let frame = 2 + payload as u64;
        self.message = match self.message {
            Some((bytes, since)) if bytes > frame => Some((bytes - frame, since)),
            _ => None,
        };
    }
}

/// How a message showed that it has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoEnd {
    TooLong,
    TooSlow,
}

impl NoEnd {
    /// What a read has failed with, if it is this.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for NoEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message has no end")
    }
}

impl error::Error for NoEnd {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tally() -> (Tally, Instant) {
        let tally = Tally {
            message: None,
            max_message: 1 << 20,
        };
        (tally, Instant::now())
    }

    #[test]
    fn a_byte_now_and_then_is_not_enough_and_a_slow_link_is() {
        let (mut tally, start) = tally();
        assert_eq!(tally.count(1, start), Ok(()));
        assert_eq!(tally.count(1, start + 30 * SECOND), Ok(()));
        assert_eq!(tally.count(1, start + 31 * SECOND), Err(NoEnd::TooSlow));
        tally.message = None;
        for second in 0..256 {
            assert_eq!(tally.count(4096, start + second * SECOND), Ok(()));
        }
    }

    #[test]
    fn fragments_of_a_byte_fit_and_fragments_without_end_do_not() {
        let (mut tally, start) = tally();
        for _ in 0..1 << 20 {
            assert_eq!(tally.count(3, start), Ok(()));
        }
        let ends = (0..1 << 20).any(|_| tally.count(3, start) == Err(NoEnd::TooLong));
        assert!(ends);
    }

    #[test]
    fn control_frames_do_not_count_and_do_not_hide_what_does() {
        let (mut tally, start) = tally();
        tally.count(7, start).unwrap();
        tally.control(5);
        assert_eq!(tally.message, None);
        tally.count(2 + 7, start).unwrap();
        tally.control(5);
        assert_eq!(tally.message, Some((2, start)));
        assert_eq!(tally.count(2, start + 31 * SECOND), Err(NoEnd::TooSlow));
    }
}
