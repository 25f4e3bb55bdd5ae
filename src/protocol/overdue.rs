use std::time::{Duration, Instant};

/// Time for which a late answer is still looked for behind other messages: a peer that was busy may
/// have sent much.
const LATE_ACK_GRACE: Duration = Duration::from_secs(1);

/// Maximum number of bytes before the answer: more are not on their way at the same time, so that
/// what follows them was sent later.
pub(crate) const ON_THE_WAY: u64 = 8 << 20;

/// Judges an answer whose deadline has passed: it is late once it cannot be on its way any more.
#[derive(Debug)]
pub(crate) struct Overdue {
    ack_timeout: Duration,
    since: Option<Since>,
}

/// The state when the deadline had passed.
#[derive(Debug)]
struct Since {
    bytes: u64,
    /// Time at which nothing was left to read.
    empty_at: Option<Instant>,
}

/// The result of a read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Whether there is nothing more to read.
    pub(crate) is_empty: bool,
    /// Whether a part of a message has come in, and not its end.
    pub(crate) is_amid: bool,
    /// Total number of bytes received.
    pub(crate) bytes: u64,
    /// Time of the last read.
    pub(crate) heard_at: Instant,
}

impl Overdue {
    pub(crate) fn new(ack_timeout: Duration) -> Self {
        Self {
            ack_timeout,
            since: None,
        }
    }

    /// Notes that no answer is overdue.
    pub(crate) fn reset(&mut self) {
        self.since = None;
    }

    /// Returns until when the next read may wait, by the result of the last one.
    pub(crate) fn until(&self, last: Look, now: Instant) -> Instant {
        match &self.since {
            Some(_) if last.is_amid => last.heard_at + self.ack_timeout,
            Some(Since {
                empty_at: Some(at), ..
            }) => *at + LATE_ACK_GRACE,
            _ => now,
        }
    }

    /// Takes what a read has found while an answer was overdue. Returns whether that is late.
    pub(crate) fn is_late(&mut self, look: Look, before: u64, now: Instant) -> bool {
        let since = self.since.get_or_insert(Since {
            bytes: before,
            empty_at: None,
        });
        if look.bytes - since.bytes > ON_THE_WAY {
            return true;
        }
        if !look.is_empty {
            return false;
        }
        // The answer cannot come before the end of the message that is being received.
        if look.is_amid && now < look.heard_at + self.ack_timeout {
            return false;
        }
        let empty_at = *since.empty_at.get_or_insert(now);
        look.bytes == since.bytes || look.is_amid || empty_at + LATE_ACK_GRACE <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Ten bytes have come in, the last of them now.
    fn look(heard_at: Instant) -> Look {
        Look {
            is_empty: true,
            is_amid: false,
            bytes: 10,
            heard_at,
        }
    }

    #[test]
    fn it_is_late_at_once_where_nothing_comes() {
        let now = Instant::now();
        let mut overdue = Overdue::new(10 * SECOND);
        assert_eq!(overdue.until(look(now), now), now);
        assert!(overdue.is_late(look(now), 10, now));
    }

    #[test]
    fn a_late_answer_is_awaited_for_a_second_after_the_last_data() {
        let now = Instant::now();
        let mut overdue = Overdue::new(10 * SECOND);
        let more = Look {
            is_empty: false,
            ..look(now)
        };
        assert!(!overdue.is_late(more, 0, now));
        // However long the caller takes for what has come.
        let mut later = now + 100 * SECOND;
        assert!(!overdue.is_late(more, 0, later));
        assert!(!overdue.is_late(look(later), 0, later));
        assert_eq!(overdue.until(look(later), later), later + SECOND);
        later += Duration::from_millis(999);
        assert!(!overdue.is_late(look(later), 0, later));
        later += Duration::from_millis(1);
        assert!(!overdue.is_late(more, 0, later));
        // Something else comes now and then.
        assert!(overdue.is_late(look(later), 0, later));
        overdue.reset();
        assert!(!overdue.is_late(look(later), 0, later));
    }

    #[test]
    fn more_than_can_be_on_its_way_was_sent_later() {
        let now = Instant::now();
        let mut overdue = Overdue::new(SECOND);
        let more = |bytes| Look {
            is_empty: false,
            bytes,
            ..look(now)
        };
        assert!(!overdue.is_late(more(5 + ON_THE_WAY), 5, now));
        assert!(overdue.is_late(more(6 + ON_THE_WAY), 5, now));
    }

    #[test]
    fn it_follows_the_end_of_a_partial_message() {
        let start = Instant::now();
        let mut overdue = Overdue::new(3 * SECOND);
        let amid = |heard_at| Look {
            is_amid: true,
            ..look(heard_at)
        };
        // A part every 2.9 s, for minutes.
        for n in 0..100 {
            let heard_at = start + n * Duration::from_millis(2900);
            assert!(!overdue.is_late(amid(heard_at), 10, heard_at));
            assert_eq!(
                overdue.until(amid(heard_at), heard_at),
                heard_at + 3 * SECOND
            );
            assert!(!overdue.is_late(amid(heard_at), 10, heard_at + 2 * SECOND));
        }
        let heard_at = start + SECOND;
        assert!(overdue.is_late(amid(heard_at), 10, heard_at + 3 * SECOND));
    }
}
