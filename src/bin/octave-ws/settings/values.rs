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

/// A time, of RFC 3339.
pub(crate) fn parse_time(text: &str) -> Result<SystemTime, String> {
    let wanted = || "give a time such as 2026-11-30T08:00:00Z".to_owned();
    humantime::parse_rfc3339_weak(text).map_err(|_| wanted())
}

/// A time, or a duration before now.
pub(crate) fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(date) = humantime::parse_rfc3339_weak(text) {
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
