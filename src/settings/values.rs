//! Values as people write them.

use std::time::Duration;

/// A duration as `250ms`, `10s` or `1h30m`.
///
/// # Errors
/// Fails with what to give instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "give a duration such as 250ms, 10s or 1h30m".to_owned())
}

/// A duration of more than nothing.
///
/// # Errors
/// Fails with what to give instead.
pub fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("give a duration of more than 0s, such as 10s".to_owned()),
        timeout => Ok(timeout),
    }
}

/// As [`parse_duration`], of at least a second, unless it is zero.
///
/// # Errors
/// Fails with what to give instead.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Ok(Duration::ZERO),
        often if often < Duration::from_secs(1) => {
            Err("give a duration of at least 1s, or 0s for never".to_owned())
        }
        interval => Ok(interval),
    }
}

/// `true` or `false`.
///
/// # Errors
/// Fails with what to give instead.
pub(crate) fn parse_switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "give true or false".to_owned())
}

/// A size in bytes as `4096`, `64KiB` or `16MiB`; at least 1.
///
/// # Errors
/// Fails with what to give instead.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        _ => None,
    };
    let number: Option<usize> = digits.parse().ok().filter(|&number| number > 0);
    let size = number.zip(unit);
    size.and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| "give a size such as 4096, 64KiB or 16MiB".to_owned())
}
