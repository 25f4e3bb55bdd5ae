//! The values of options.

use std::time::{Duration, SystemTime};

use argh::FromArgValue;
use octave_ws::Since;
use octave_ws::settings::{parse_duration, parse_interval, parse_size, parse_timeout};

/// The format of a line on standard error.
#[derive(Clone, Copy, FromArgValue)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    /// Returns the format that the command line asks for, even if other words are wrong.
    pub(crate) fn typed(words: &[String]) -> Self {
        let is_joined = words.iter().any(|word| word == "--log-format=json");
        if is_joined
            || words
                .windows(2)
                .any(|pair| pair == ["--log-format", "json"])
        {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// The format of a status file.
#[derive(Clone, Copy, FromArgValue)]
pub(crate) enum StatusFormat {
    Json,
    Prometheus,
}

/// The format of messages in `shell`.
#[derive(Clone, Copy, FromArgValue)]
pub(crate) enum ShellFormat {
    Text,
    Message,
}

/// The streams that must be granted.
#[derive(Clone, Copy, Default, PartialEq, Eq, FromArgValue)]
pub(crate) enum Require {
    #[default]
    All,
    Any,
}

/// A number from 1 up.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number, at least 1".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// A number of files, from 1 up.
pub(crate) fn parse_keep(text: &str) -> Result<u32, String> {
    let count = parse_count(text)?;
    count
        .try_into()
        .map_err(|_| "give a smaller number".to_owned())
}

/// A period of at least a second.
pub(crate) fn parse_period(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        period if period < Duration::from_secs(1) => Err("give at least 1s".to_owned()),
        period => Ok(period),
    }
}

/// A date, which stands for its midnight, or a time of RFC 3339; UTC unless it has an offset.
pub(crate) fn parse_time(text: &str) -> Result<SystemTime, String> {
    time(text).ok_or_else(|| "give a time such as 2026-11-30T08:00:00Z".to_owned())
}

fn time(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked("2026-11-30".len())?;
    let rest = if rest.is_empty() { "T00:00:00" } else { rest };
    let rest = rest.strip_prefix(['T', ' '])?;
    let at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
    let (clock, offset) = rest.split_at(at);
    if clock.contains(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.')) {
        return None;
    }
    let time = humantime::parse_rfc3339(&format!("{date}T{clock}Z")).ok()?;
    if matches!(offset, "" | "Z") {
        return Some(time);
    }
    let is_east = offset.starts_with('+');
    let (hours, minutes) = offset[1..].split_once(':')?;
    let number = |digits: &str, most| match digits.parse() {
        // parse() takes a sign, too.
        Ok(number) if digits.len() == 2 && !digits.starts_with('+') => {
            Some(number).filter(|number: &u64| *number <= most)
        }
        _ => None,
    };
    let offset = Duration::from_secs(number(hours, 23)? * 3600 + number(minutes, 59)? * 60);
    if is_east {
        time.checked_sub(offset)
    } else {
        time.checked_add(offset)
    }
}

/// A time, or a duration before now.
pub(crate) fn parse_since(text: &str) -> Result<Since, String> {
    if let Some(date) = time(text) {
        return Ok(Since::Date(date));
    }
    let wanted = || "give a time such as 2026-11-30T08:00:00Z or a duration such as 1h".to_owned();
    let ago = humantime::parse_duration(text).map_err(|_| wanted())?;
    Ok(Since::Ago(ago))
}

// The library parses them again, as it does those of the config file.

pub(crate) fn valid_duration(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

pub(crate) fn valid_timeout(text: &str) -> Result<String, String> {
    parse_timeout(text).map(|_| text.to_owned())
}

pub(crate) fn valid_interval(text: &str) -> Result<String, String> {
    parse_interval(text).map(|_| text.to_owned())
}

pub(crate) fn valid_size(text: &str) -> Result<String, String> {
    parse_size(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_date_and_may_have_an_offset() {
        let wanted = humantime::parse_rfc3339("2026-11-30T08:00:00Z").unwrap();
        for text in [
            "2026-11-30T08:00:00Z",
            "2026-11-30T08:00:00.000Z",
            "2026-11-30 08:00:00",
            "2026-11-30T08:00:00+00:00",
            "2026-11-30T09:30:00+01:30",
            "2026-11-29 23:00:00-09:00",
        ] {
            assert_eq!(parse_time(text), Ok(wanted), "{text}");
        }
        let midnight = humantime::parse_rfc3339("2026-11-30T00:00:00Z").unwrap();
        assert_eq!(parse_time("2026-11-30"), Ok(midnight));
        for text in [
            "",
            "2026-11-3é",
            "2026-11-30T",
            "2026-11-30Z",
            "2026-02-30",
            "2026-11-30T08:00:00Zx",
            "2026-11-30T08:00:00ZZ",
            "2026-11-30T08:00:00+1:00",
            "2026-11-30T08:00:00++1:00",
            "2026-11-30T08:00:00+01:00Z",
            "2026-11-30T08:00:00Z+01:00",
            "2026-11-30T08:00:00+24:00",
            "1970-01-01T00:00:00-24:00",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
