use std::time::{Duration, Instant};

/// The delay before the first retry is at most this; each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Longest delay where the service was not reached: an attempt costs it nothing, and the path may
/// be back.
const LONGEST_UNREACHED: Duration = Duration::from_secs(15);
/// The longest that a service's Retry-After is obeyed.
const LONGEST_ASKED: Duration = Duration::from_secs(5 * 60);
/// A connection that was subscribed for so long starts the delays over.
const STABLE: Duration = Duration::from_secs(15);
/// Time for which refusals are retried after a connection was subscribed: those of restarted
/// balancers, captive portals and rotated tokens pass.
const PASSING: Duration = Duration::from_secs(15 * 60);

/// Whether, and how often, to repeat what failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    /// At most so often in a row; for 15 minutes once a stream was subscribed.
    AtMost(u32),
    Always,
    /// Always, and soon: the service was not reached.
    Unreached,
}

/// Decides when to make the next attempt, and when to give up.
#[derive(Debug)]
pub(crate) struct Backoff {
    retry_for: Duration,
    /// Begin of the time without a connection.
    since: Option<Instant>,
    /// Time at which all streams were subscribed, if they are.
    subscribed_at: Option<Instant>,
    attempts: u32,
    /// Number of failures that may be retried a few times only.
    limited: u32,
    /// Time of the first of them.
    limited_since: Option<Instant>,
    /// Whether a stream was ever subscribed.
    was_granted: bool,
}

impl Backoff {
    /// Gives up where there was no connection for `retry_for`; zero never tries again.
    pub(crate) fn new(retry_for: Duration, now: Instant) -> Self {
        Self {
            retry_for,
            since: Some(now),
            subscribed_at: None,
            attempts: 0,
            limited: 0,
            limited_since: None,
            was_granted: false,
        }
    }

    /// There is a connection, to which nothing is subscribed yet.
    pub(crate) fn connected(&mut self) {
        self.limited = 0;
        self.limited_since = None;
    }

    /// A stream is subscribed: the credentials and the peer are the right ones.
    pub(crate) fn granted(&mut self) {
        self.was_granted = true;
    }

    /// All streams are subscribed.
    pub(crate) fn subscribed(&mut self, now: Instant) {
        self.since = None;
        self.subscribed_at.get_or_insert(now);
    }

    /// Notes that a connection was lost or failed. Returns when to make the next attempt, `None`
    /// for never.
    ///
    /// The delay is `random` of the longest one, all of whose bits are taken to be equally likely
    /// (full jitter), and at least what the service asked for.
    pub(crate) fn failed(
        &mut self,
        retry: Retry,
        asked: Option<Duration>,
        random: u32,
        now: Instant,
    ) -> Option<Instant> {
        if let Some(at) = self.subscribed_at.take()
            && at + STABLE <= now
        {
            self.attempts = 0;
        }
        let since = *self.since.get_or_insert(now);
        let mut left = self.retry_for.saturating_sub(now - since);
        match retry {
            Retry::Never => return None,
            Retry::AtMost(_) if self.was_granted => {
                let since = *self.limited_since.get_or_insert(now);
                left = left.min(PASSING.saturating_sub(now - since));
            }
            Retry::AtMost(limit) => {
                self.limited += 1;
                if self.limited > limit {
                    return None;
                }
            }
            Retry::Always | Retry::Unreached => self.limited_since = None,
        }
        if left.is_zero() {
            return None;
        }
        let most = match retry {
            Retry::Unreached => LONGEST_UNREACHED,
            _ => LONGEST,
        };
        let longest = FIRST.saturating_mul(1 << self.attempts.min(16)).min(most);
        self.attempts = self.attempts.saturating_add(1);
        // A fraction of 2^32.
        let delay = longest.mul_f64(f64::from(random) / 4_294_967_296.0);
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        // A last attempt when time is up, so that it is not given up early.
        Some(now + delay.max(asked).min(left))
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FOREVER: Duration = Duration::from_secs(1 << 30);

    fn longest(backoff: &mut Backoff, now: Instant) -> Duration {
        let at = backoff.failed(Retry::Always, None, u32::MAX, now).unwrap();
        (at - now).saturating_add(Duration::from_millis(1))
    }

    #[test]
    fn delays_double_from_a_second_to_a_minute_and_are_jittered_in_full() {
        let now = Instant::now();
        let mut backoff = Backoff::new(FOREVER, now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert_eq!(longest(&mut backoff, now).as_secs(), seconds);
        }
        for _ in 0..100 {
            assert_eq!(longest(&mut backoff, now).as_secs(), 60);
        }
        let soonest = backoff.failed(Retry::Always, None, 0, now);
        assert_eq!(soonest, Some(now));
        let half = backoff.failed(Retry::Always, None, 1 << 31, now);
        assert_eq!(half, Some(now + 30 * SECOND));
    }

    #[test]
    fn delays_are_short_while_the_service_is_not_reached() {
        let now = Instant::now();
        let mut backoff = Backoff::new(FOREVER, now);
        for seconds in [1, 2, 4, 8, 15, 15, 15] {
            let at = backoff.failed(Retry::Unreached, None, u32::MAX, now);
            let delay = at.unwrap() - now + Duration::from_millis(1);
            assert_eq!(delay.as_secs(), seconds);
        }
        assert_eq!(longest(&mut backoff, now).as_secs(), 60);
    }

    #[test]
    fn they_start_over_once_it_was_subscribed_for_15_s() {
        let mut now = Instant::now();
        let mut backoff = Backoff::new(FOREVER, now);
        for _ in 0..5 {
            longest(&mut backoff, now);
        }
        backoff.connected();
        backoff.subscribed(now);
        now += 14 * SECOND;
        assert_eq!(longest(&mut backoff, now).as_secs(), 32);
        backoff.connected();
        now += 3600 * SECOND;
        assert_eq!(
            longest(&mut backoff, now).as_secs(),
            60,
            "it was never subscribed"
        );
        backoff.subscribed(now);
        // Subscribing to more does not make it younger.
        backoff.subscribed(now + 14 * SECOND);
        now += 15 * SECOND;
        assert_eq!(longest(&mut backoff, now).as_secs(), 1);
    }

    #[test]
    fn behind_a_balancer_that_ends_each_connection_it_is_connected_nearly_always() {
        let start = Instant::now();
        let mut now = start;
        let mut backoff = Backoff::new(FOREVER, now);
        let lifetime = 30 * SECOND;
        for n in 0..100_u32 {
            backoff.connected();
            backoff.subscribed(now);
            now += lifetime;
            // Spread over all delays that there may be.
            let random = n.wrapping_mul(0x9e37_79b9);
            now = backoff.failed(Retry::Always, None, random, now).unwrap();
        }
        assert!(100 * lifetime >= (now - start).mul_f64(0.95));
    }

    #[test]
    fn retry_after_is_a_minimum_of_at_most_five_minutes() {
        let now = Instant::now();
        let mut backoff = Backoff::new(FOREVER, now);
        let mut after = |asked: u64| {
            let asked = Some(Duration::from_secs(asked));
            let at = backoff.failed(Retry::Always, asked, 0, now).unwrap();
            (at - now).as_secs()
        };
        assert_eq!(after(7), 7);
        assert_eq!(after(1_000_000), 300);
    }

    #[test]
    fn it_gives_up_once_there_was_no_connection_for_long_enough() {
        let start = Instant::now();
        let mut now = start;
        let mut backoff = Backoff::new(10 * SECOND, start);
        while let Some(at) = backoff.failed(Retry::Always, None, u32::MAX, now) {
            assert!(at > now && at <= start + 10 * SECOND);
            now = at;
        }
        assert_eq!(now, start + 10 * SECOND);
        // The time counts from the loss of a connection that was subscribed.
        backoff.subscribed(now);
        now += 3600 * SECOND;
        assert!(backoff.failed(Retry::Always, None, 0, now).is_some());
        assert!(
            backoff
                .failed(Retry::Always, None, 0, now + 10 * SECOND)
                .is_none()
        );
        let mut never = Backoff::new(Duration::ZERO, now);
        assert_eq!(never.failed(Retry::Always, None, 0, now), None);
    }

    #[test]
    fn some_failures_are_final_at_once_or_after_a_few() {
        let now = Instant::now();
        let mut backoff = Backoff::new(FOREVER, now);
        let mut failed = |retry| backoff.failed(retry, None, 0, now).is_some();
        assert!(!failed(Retry::Never));
        assert!(failed(Retry::AtMost(2)));
        assert!(failed(Retry::Always));
        assert!(failed(Retry::AtMost(2)));
        assert!(!failed(Retry::AtMost(2)));
        backoff.connected();
        assert!(backoff.failed(Retry::AtMost(2), None, 0, now).is_some());
    }

    #[test]
    fn permanent_errors_are_retried_for_15_minutes_after_a_subscription() {
        let start = Instant::now();
        let mut now = start;
        let mut backoff = Backoff::new(FOREVER, now);
        backoff.connected();
        backoff.subscribed(now);
        assert_eq!(backoff.failed(Retry::AtMost(0), None, 0, now), None);
        backoff.connected();
        backoff.granted();
        let refused = |backoff: &mut Backoff, from: Instant| {
            let mut now = from;
            while let Some(at) = backoff.failed(Retry::AtMost(0), None, u32::MAX, now) {
                now = at;
            }
            assert_eq!((now - from).as_secs(), 15 * 60);
            now
        };
        now = refused(&mut backoff, now);
        // Another failure in between restarts the time.
        assert!(backoff.failed(Retry::Always, None, 0, now).is_some());
        now = refused(&mut backoff, now);
        backoff.connected();
        now = refused(&mut backoff, now);
        assert_eq!(backoff.failed(Retry::Never, None, 0, now), None);
        // And no longer than there may be no connection at all.
        let mut backoff = Backoff::new(SECOND, now);
        backoff.granted();
        assert!(backoff.failed(Retry::AtMost(0), None, 0, now).is_some());
        now += SECOND;
        assert_eq!(backoff.failed(Retry::AtMost(0), None, 0, now), None);
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;
        use crate::seed::property;

        proptest! {
            #![proptest_config(property(256))]

            /// For any order of failures, a delay is within its bounds, and retries end when, and
            /// only when, they have to.
            #[test]
            fn delays_keep_within_their_bounds(
                retry_for in 0_u64..100_000,
                steps in prop::collection::vec((0_u64..200, any::<u32>(), 0_u8..4, 0_u64..1000), 0..100),
            ) {
                let mut now = Instant::now();
                let mut lost_at = Some(now);
                let retry_for = Duration::from_secs(retry_for);
                let mut backoff = Backoff::new(retry_for, now);
                for (seconds, random, what, asked) in steps {
                    now += Duration::from_secs(seconds);
                    let asked = (what == 3).then(|| Duration::from_secs(asked));
                    if what == 0 {
                        backoff.connected();
                        backoff.subscribed(now);
                        lost_at = None;
                        continue;
                    }
                    let since = *lost_at.get_or_insert(now);
                    match backoff.failed(Retry::Always, asked, random, now) {
                        None => {
                            prop_assert!(now - since >= retry_for);
                            return Ok(());
                        }
                        Some(at) => {
                            prop_assert!(at >= now && at <= since + retry_for);
                            let most = LONGEST.max(asked.unwrap_or_default().min(LONGEST_ASKED));
                            prop_assert!(at - now <= most);
                            let least = asked.unwrap_or_default().min(LONGEST_ASKED);
                            prop_assert!(at - now >= least || at == since + retry_for);
                        }
                    }
                }
            }
        }
    }
}
