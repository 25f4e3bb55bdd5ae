use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// Returns the time, or 1970 if the clock is set to before: no format has earlier dates.
pub fn now() -> SystemTime {
    SystemTime::now().max(SystemTime::UNIX_EPOCH)
}

/// Returns a date in milliseconds since the Unix epoch.
pub(crate) fn millis(date: SystemTime) -> i64 {
    let since = date.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

/// Returns the date of a number of milliseconds since the Unix epoch. No format has earlier dates than
/// that, nor later ones than the year 9999.
pub(crate) fn date(millis: i64) -> SystemTime {
    const LAST: u64 = 253_402_300_799_999;
    let millis = u64::try_from(millis).unwrap_or_default().min(LAST);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

/// A moment by both clocks. Neither can be computed from the other: one is set, one may stand while
/// the machine is suspended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    pub(crate) date: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            date: now(),
        }
    }

    /// Returns the date. Where the clock has been set back behind it, that is as far back as the
    /// moment is by the other clock.
    pub(crate) fn past_date(&self) -> SystemTime {
        let now = now();
        if self.date <= now {
            return self.date;
        }
        now.checked_sub(self.at.elapsed()).unwrap_or(now)
    }
}

/// Returns whether a clock that reads this was never set: it is before the time of the build.
pub fn is_unset(reading: SystemTime) -> bool {
    reading < SystemTime::UNIX_EPOCH + Duration::from_secs(BUILT_AT)
}

/// Unix time of the build, set by the build script.
const BUILT_AT: u64 = match u64::from_str_radix(env!("BUILT_AT"), 10) {
    Ok(seconds) => seconds,
    Err(_) => 0,
};

/// The same for TLS, whose own clock would panic.
#[derive(Debug)]
pub(crate) struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = now().duration_since(SystemTime::UNIX_EPOCH);
        Some(UnixTime::since_unix_epoch(since.unwrap_or_default()))
    }
}
