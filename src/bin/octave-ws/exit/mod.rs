//! Exit codes, errors and advice.

use std::error;
use std::fmt;
use std::io;

use octave_ws::cli::help;
use octave_ws::settings::{SettingSources, SettingValue};
use octave_ws::{Error, ErrorKind, Phase, Setting};

use crate::wait::WaitEnded;

pub(crate) mod source;

/// Exit codes: those of `sysexits.h`, as the README lists them.
pub(crate) const USAGE: u8 = 64;
pub(crate) const UNAVAILABLE: u8 = 69;
pub(crate) const OUTPUT: u8 = 74;
pub(crate) const INCOMPLETE: u8 = 75;
pub(crate) const PROTOCOL: u8 = 76;
pub(crate) const REFUSED: u8 = 77;
pub(crate) const CONFIG: u8 = 78;

/// An end that is no success.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// The error, in one line.
    pub(crate) message: String,
    /// The advice that follows in parentheses.
    pub(crate) advice: Option<String>,
    /// Whether the same reader has been told already.
    pub(crate) is_reported: bool,
}

/// Formats the text after `error: `.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.advice {
            Some(advice) => write!(f, "{} ({advice})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            advice: None,
            is_reported: false,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, help::with_hint(&message.into()))
    }

    /// Creates the failure of a refused subscription. If `is_transient`, the advice is to try again.
    pub(crate) fn refused(message: String, is_transient: bool) -> Self {
        Self {
            code: REFUSED,
            message,
            advice: Some(refused_stream(is_transient).to_owned()),
            is_reported: false,
        }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(CONFIG, message)
    }

    /// Creates the failure of a command that a signal has stopped before its end.
    pub(crate) fn stopped() -> Self {
        Self::new(INCOMPLETE, "stopped before it was done")
    }

    pub(crate) fn no_session() -> Self {
        Self::new(UNAVAILABLE, "stopped before there was a session")
    }

    /// Creates the failure of an unreadable file of the configuration.
    pub(crate) fn unreadable(what: &str, error: &io::Error) -> Self {
        let message = format!("config: {what} cannot be read: {error}");
        match WaitEnded::of(error) {
            Some(_) => Self::late(&message),
            None => Self::config(message),
        }
    }

    /// Creates the failure of a wait that the deadline of the run has ended.
    fn late(message: &str) -> Self {
        Self::new(INCOMPLETE, format!("timeout: {message}"))
    }

    #[allow(clippy::needless_pass_by_value, reason = "it is mapped from a result")]
    pub(crate) fn signals(error: io::Error) -> Self {
        Self::new(UNAVAILABLE, format!("signals: {error}"))
    }

    #[allow(clippy::needless_pass_by_value, reason = "it is mapped from a result")]
    pub(crate) fn input(error: io::Error) -> Self {
        Self::new(OUTPUT, format!("input: standard input: {error}"))
    }

    pub(crate) fn output(name: &str, error: &io::Error) -> Self {
        match WaitEnded::of(error) {
            Some(WaitEnded::Stopped) => Self::stopped(),
            Some(_) => Self::late(&format!("output: {name} is not being read")),
            None => Self::new(OUTPUT, format!("output: {name}: {error}")),
        }
    }
}

/// An end before it was done.
pub(crate) enum End {
    /// Stopped by SIGINT or SIGTERM.
    Stopped,
    ReaderGone,
    /// The deadline has passed; with the last failure before it.
    Overdue(Option<String>),
    /// Lines were left at the end, because the reader did not read.
    Unread(WaitEnded),
    Failed(Failure),
}

impl End {
    /// Creates the failure of an output that could not be opened, for want of a reader or for a
    /// lock.
    pub(crate) fn of_opening(name: &str, error: &io::Error) -> Self {
        match WaitEnded::of(error) {
            Some(WaitEnded::Stopped) => Self::Stopped,
            Some(_) => {
                let message = format!("output: {name} could not be opened in time");
                Self::Failed(Failure::late(&message))
            }
            None => Self::of_output(name, error),
        }
    }

    pub(crate) fn of_output(name: &str, error: &io::Error) -> Self {
        match WaitEnded::of(error) {
            Some(cut) => Self::Unread(cut),
            None if error.kind() == io::ErrorKind::BrokenPipe => Self::ReaderGone,
            None => Self::Failed(Failure::output(name, error)),
        }
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Stopped => Self::Stopped,
            _ => Self::Failed(error.into()),
        }
    }
}

/// The library's error with its causes, and what to do about it.
impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let cause = error::Error::source(error).and_then(|cause| cause.downcast_ref());
        if cause.and_then(WaitEnded::of).is_some() {
            return Self::late(&error.report());
        }
        let sources = source::setting_sources();
        Self {
            code: code(error),
            message: error.report(),
            advice: advice(error, sources),
            is_reported: false,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

fn code(error: &Error) -> u8 {
    match (error.kind(), error.phase()) {
        (ErrorKind::Config, _) => CONFIG,
        (
            ErrorKind::Refused,
            Phase::Session | Phase::Subscribe | Phase::Unsubscribe | Phase::History,
        ) => REFUSED,
        (ErrorKind::UnusableId | ErrorKind::Malformed | ErrorKind::TooLong, _)
        | (ErrorKind::TimedOut, Phase::Subscribe | Phase::Unsubscribe) => PROTOCOL,
        _ => UNAVAILABLE,
    }
}

const LATER: &str = "try again later";

fn refused_stream(is_transient: bool) -> &'static str {
    if is_transient {
        LATER
    } else {
        "check the name of the stream, and what the user may read"
    }
}

fn advice(error: &Error, sources: &SettingSources) -> Option<String> {
    let proxy = || match sources.of(Setting::Proxy) {
        Some(source) => format!("the proxy, set by {source}"),
        None => "the proxy".to_owned(),
    };
    Some(match (error.kind(), error.phase(), error.setting()) {
        (ErrorKind::Config, _, Some(setting)) => match (sources.of(setting), setting) {
            (Some(source), Setting::Token) => format!("from {source}"),
            (Some(source), Setting::CaPem) => {
                let file = sources.ca_file.as_ref().map(|file| &file.value);
                format!("{:?}, set by {source}", file.map_or("", String::as_str))
            }
            (Some(source), _) => format!("set by {source}"),
            (None, Setting::Company) => "see --company".to_owned(),
            (None, Setting::Token) => "see --token-file".to_owned(),
            (None, Setting::Api) => "see --api".to_owned(),
            (None, _) => return None,
        },
        (ErrorKind::Refused, Phase::Session, _) if is_http_to_https(error, sources) => {
            "give https:// in the endpoint".to_owned()
        }
        (ErrorKind::Refused, Phase::History, _) if error.status() == Some(404) => {
            "check the name of the stream, and --api".to_owned()
        }
        (ErrorKind::Refused, Phase::History, _) if error.status() == Some(400) => return None,
        (ErrorKind::Refused, Phase::Session | Phase::History, _) => credentials(sources),
        (ErrorKind::Refused, Phase::Proxy, _) => {
            format!("check the user and password of {}", proxy())
        }
        (ErrorKind::Refused, ..) => refused_stream(error.is_retryable()).to_owned(),
        (ErrorKind::Status(407), Phase::Proxy, _) => {
            format!(
                "check the user and password of {}: only Basic authentication is supported",
                proxy()
            )
        }
        (_, Phase::Proxy, _) => format!("check {}", proxy()),
        (_, Phase::Resolve | Phase::Connect, Some(Setting::Proxy)) => {
            format!("check the network and {}", proxy())
        }
        (ErrorKind::Disconnected | ErrorKind::TimedOut, Phase::Resolve | Phase::Connect, _) => {
            "check the endpoint and the network".to_owned()
        }
        (ErrorKind::Tls, Phase::Tls, _) => match &sources.ca_file {
            Some(SettingValue { value, source }) => {
                format!("check the endpoint, the clock and the CA file {value:?}, set by {source}")
            }
            None => "check the endpoint, --ca-file and the clock".to_owned(),
        },
        (ErrorKind::Status(408 | 425 | 429 | 500..), ..) => LATER.to_owned(),
        (ErrorKind::Malformed | ErrorKind::Status(_), Phase::Upgrade, _) => {
            "check the endpoint, and that proxies on the way allow WebSockets".to_owned()
        }
        (
            ErrorKind::Malformed | ErrorKind::Status(300..400 | 404 | 405 | 410),
            Phase::Session,
            _,
        ) => "check the endpoint".to_owned(),
        (ErrorKind::Malformed | ErrorKind::Status(_), Phase::History, _) => {
            "check --api".to_owned()
        }
        _ => return None,
    })
}

/// Returns whether HTTP was spoken to a port of HTTPS, by the words of the usual servers.
fn is_http_to_https(error: &Error, sources: &SettingSources) -> bool {
    let is_plain = |given: &SettingValue| given.value.starts_with("http://");
    let words = error.to_string();
    sources.endpoint.as_ref().is_some_and(is_plain)
        && (words.contains("HTTPS") || words.contains("SSL"))
}

/// Whose were refused, and where they came from. The token is not shown.
fn credentials(sources: &SettingSources) -> String {
    let SettingSources {
        user,
        company: Some(company),
        token: Some(token),
        ..
    } = sources
    else {
        return "check OCTAVE_USER, OCTAVE_COMPANY and the token".to_owned();
    };
    let (users, user) = match user {
        Some(user) => (
            format!("{}, ", user.source),
            format!("user {:?}", user.value),
        ),
        None => (String::new(), "no user".to_owned()),
    };
    let SettingValue { value, source } = company;
    format!("check {users}{source} and the token: {user}, company {value:?}, token from {token}")
}
