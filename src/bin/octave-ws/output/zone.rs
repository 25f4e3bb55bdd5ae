//! Dates in UTC, or in the time zone of this machine.

use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime};

/// The end of the dates of RFC 3339, that of the year 9999.
const END: Duration = Duration::from_secs(253_402_300_800);

/// Returns a date in RFC 3339, in milliseconds.
pub(super) fn millis(at: SystemTime, is_local: bool) -> String {
    let (at, offset) = in_zone(at, is_local);
    marked(&humantime::format_rfc3339_millis(at), offset)
}

/// Returns a date in RFC 3339, in whole seconds.
pub(super) fn seconds(at: SystemTime, is_local: bool) -> String {
    let (at, offset) = in_zone(at, is_local);
    marked(&humantime::format_rfc3339_seconds(at), offset)
}

/// Returns a date as clocks of this zone show it, and their offset. One that cannot be written so stays
/// in UTC.
fn in_zone(at: SystemTime, is_local: bool) -> (SystemTime, Option<i32>) {
    let offset = if is_local { offset(at) } else { None };
    let shifted = offset.and_then(|offset| shifted(at, offset));
    (shifted.unwrap_or(at), offset.filter(|_| shifted.is_some()))
}

/// Returns the time by which clocks of this zone are ahead of UTC, in seconds. Without a zone, `None`.
#[allow(unsafe_code, reason = "the C library knows the time zone")]
fn offset(at: SystemTime) -> Option<i32> {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let time: libc::time_t = since.as_secs().try_into().ok()?;
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both are valid for the call. Zeros are valid parts, should it fail.
    let parts = unsafe {
        if libc::localtime_r(&raw const time, parts.as_mut_ptr()).is_null() {
            return None;
        }
        parts.assume_init()
    };
    i32::try_from(parts.tm_gmtoff).ok()
}

fn shifted(at: SystemTime, offset: i32) -> Option<SystemTime> {
    let time = Duration::from_secs(offset.unsigned_abs().into());
    let shifted = if offset < 0 {
        at.checked_sub(time)
    } else {
        at.checked_add(time)
    };
    let first = SystemTime::UNIX_EPOCH;
    shifted.filter(|at| *at >= first && *at < first + END)
}

fn marked(date: &humantime::Rfc3339Timestamp, offset: Option<i32>) -> String {
    let date = date.to_string();
    let Some(offset) = offset else { return date };
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    let date = date.trim_end_matches('Z');
    format!("{date}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_shifted_by_the_offset() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_587_387_677_625);
        assert_eq!(millis(at, false), "2020-04-20T13:01:17.625Z");
        for (offset, wanted) in [
            (7200, "2020-04-20T15:01:17.625+02:00"),
            (-12_600, "2020-04-20T09:31:17.625-03:30"),
            (0, "2020-04-20T13:01:17.625+00:00"),
        ] {
            let date = humantime::format_rfc3339_millis(shifted(at, offset).unwrap());
            assert_eq!(marked(&date, Some(offset)), wanted);
        }
        let begin = SystemTime::UNIX_EPOCH;
        assert_eq!(shifted(begin, -3600), None);
        let last = begin + END - Duration::from_millis(1);
        assert_eq!(shifted(last, 3600), None);
    }
}
