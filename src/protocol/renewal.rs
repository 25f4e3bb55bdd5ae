use std::time::{Duration, Instant};

/// Number of connections in a row that end after the same time, and how much those times may differ.
const IN_A_ROW: u32 = 3;
const SAME: Duration = Duration::from_secs(1);

/// Ends after shorter times are no plan, and longer ones are rare enough.
const SHORTEST: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Decides when a connection is replaced, before the peer ends it.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// Longest time before a connection is replaced; zero for never.
    every: Duration,
    /// Number of connections that the peer has ended in a row, and their shortest and longest age.
    ended: Option<(u32, Duration, Duration)>,
    /// Number of attempts in a row to replace a connection that have failed.
    failures: u32,
}

impl Renewal {
    /// Replaces a connection after this time; zero for never.
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            every,
            ended: None,
            failures: 0,
        }
    }

    /// Takes note that a connection of this age has ended, by the peer or otherwise. Returns the age
    /// that all have come to, and the time after which they are replaced from now on, where that is
    /// new.
    pub(crate) fn ended(&mut self, age: Duration, by_peer: bool) -> Option<(Duration, Duration)> {
        if !by_peer || !(SHORTEST..LONGEST).contains(&age) {
            self.ended = None;
            return None;
        }
        self.ended = match self.ended {
            Some((count, least, most)) if most.max(age) <= least.min(age) + SAME => {
                Some((count + 1, least.min(age), most.max(age)))
            }
            _ => Some((1, age, age)),
        };
        let (count, lifetime, _) = self.ended?;
        let every = lifetime / 5 * 4;
        let is_better = self.every.is_zero() || every < self.every;
        if count < IN_A_ROW || !is_better {
            return None;
        }
        self.every = every;
        Some((lifetime, every))
    }

    /// Returns when to replace a connection that was opened then: up to a tenth sooner, by a number all
    /// of whose bits are equally likely, so that clients do not come together.
    pub(crate) fn due(&self, opened_at: Instant, random: u32) -> Option<Instant> {
        if self.every.is_zero() {
            return None;
        }
        let sooner = self
            .every
            .mul_f64(f64::from(random) / 4_294_967_296.0 / 10.0);
        opened_at.checked_add(self.every.saturating_sub(sooner))
    }

    /// Returns a short time beside the interval.
    pub(crate) fn pause(&self) -> Duration {
        (self.every / 20).max(Duration::from_secs(1))
    }

    /// Takes note that a connection could not be replaced. Returns how long to wait: twice as long each
    /// time, up to the interval.
    pub(crate) fn failed(&mut self) -> Duration {
        let longer = self.pause().saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        longer.min(self.every.max(self.pause()))
    }

    /// Takes note that a connection was replaced.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn connections_are_replaced_up_to_a_tenth_before_the_interval() {
        let now = Instant::now();
        assert_eq!(Renewal::new(Duration::ZERO).due(now, 0), None);
        let renewal = Renewal::new(100 * SECOND);
        assert_eq!(renewal.due(now, 0), Some(now + 100 * SECOND));
        assert_eq!(renewal.due(now, 1 << 31), Some(now + 95 * SECOND));
        let soonest = renewal.due(now, u32::MAX).unwrap();
        assert!(now + 90 * SECOND < soonest && soonest < now + 91 * SECOND);
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let mut renewal = Renewal::new(100 * SECOND);
        let pauses = [(); 6].map(|()| renewal.failed().as_secs());
        assert_eq!(pauses, [5, 10, 20, 40, 80, 100]);
        renewal.succeeded();
        assert_eq!(renewal.failed().as_secs(), 5);
    }

    #[test]
    fn three_equal_ends_teach_four_fifths_of_the_lifetime() {
        let mut renewal = Renewal::new(Duration::ZERO);
        let age = |millis| Duration::from_millis(millis);
        for other in [31_100, 30_000, 31_100] {
            assert_eq!(renewal.ended(age(other), true), None);
        }
        assert_eq!(renewal.ended(age(30_500), true), None);
        // Anything else begins it again.
        assert_eq!(renewal.ended(age(30_500), false), None);
        assert_eq!(renewal.ended(age(30_500), true), None);
        assert_eq!(renewal.ended(age(30_000), true), None);
        let learned = renewal.ended(age(30_900), true);
        assert_eq!(learned, Some((30 * SECOND, 24 * SECOND)));
        let now = Instant::now();
        assert_eq!(renewal.due(now, 0), Some(now + 24 * SECOND));
        // It is said once.
        assert_eq!(renewal.ended(age(30_400), true), None);
    }

    #[test]
    fn an_interval_that_is_short_enough_is_kept() {
        let mut renewal = Renewal::new(20 * SECOND);
        for _ in 0..5 {
            assert_eq!(renewal.ended(30 * SECOND, true), None);
        }
        let mut renewal = Renewal::new(60 * SECOND);
        let learned = [(); 3].map(|()| renewal.ended(30 * SECOND, true));
        assert_eq!(learned[2], Some((30 * SECOND, 24 * SECOND)));
    }

    #[test]
    fn hasty_and_rare_ends_teach_nothing() {
        for age in [SECOND, 14 * SECOND, LONGEST] {
            let mut renewal = Renewal::new(Duration::ZERO);
            for _ in 0..5 {
                assert_eq!(renewal.ended(age, true), None);
            }
        }
    }
}
