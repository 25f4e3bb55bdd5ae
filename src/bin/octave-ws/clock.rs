//! The time of day, which is shown and nothing else.

use std::time::SystemTime;

/// What the clock reads, and 1970 where it is set to before: no format has earlier dates.
pub(crate) fn now() -> SystemTime {
    SystemTime::now().max(SystemTime::UNIX_EPOCH)
}
