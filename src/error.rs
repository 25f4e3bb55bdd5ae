use std::error;
use std::fmt;
use std::time::Duration;

use crate::protocol::{Retry, Stream, may_pass};

/// What went wrong, in which phase, and with whom.
///
/// `Display` says this error's own part in one line and names the peer; what caused it is in
/// [`source`](error::Error::source). `Debug` is both in one line, as [`Error::in_full`], which is
/// what a `main` shows that returns it. Neither the token nor a session id is in any of them.
pub struct Error(Box<Inner>);

struct Inner {
    phase: Phase,
    kind: ErrorKind,
    message: String,
    setting: Option<Setting>,
    status: Option<u16>,
    stream: Option<Stream>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
    retry_after: Option<Duration>,
    /// In place of what phase and kind say.
    retry: Option<Retry>,
}

/// A `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The stage in which an error came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Before anything was sent.
    Config,
    /// The name of the service, or of the proxy.
    Resolve,
    /// The TCP connection.
    Connect,
    /// The proxy's answer to CONNECT.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The HTTPS POST for a session.
    Session,
    /// The WebSocket handshake.
    Upgrade,
    /// A subscription, from its request to its acknowledgement.
    Subscribe,
    /// The open WebSocket.
    Socket,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Session => "session",
            Self::Upgrade => "upgrade",
            Self::Subscribe => "subscribe",
            Self::Socket => "socket",
        })
    }
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is invalid or incomplete.
    Config,
    /// This machine could not do its part: no file descriptor, no memory, no thread.
    System,
    /// No connection came about, or the one there was is lost.
    Disconnected,
    /// A phase did not end by its deadline.
    TimedOut,
    /// The peer's certificate, or its TLS, is not acceptable.
    Untrusted,
    /// An HTTP answer with a status that is no success.
    Status(u16),
    /// The service refused the credentials or the subscription, or a SOCKS proxy the user.
    Refused,
    /// An answer that is not what the protocol says.
    Malformed,
    /// A session id that must not reach a URL.
    UnusableId,
    /// A message longer than the limit.
    TooLong,
    /// [`Stop`](crate::Stop) was called.
    Stopped,
}

/// A part of a [`Config`](crate::Config) that an error can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// The URL of the service.
    Endpoint,
    /// The user of the [`Credentials`](crate::Credentials).
    User,
    /// Their company.
    Company,
    /// Their token.
    Token,
    /// The CA certificates.
    CaPem,
    /// The proxy.
    Proxy,
}

impl Error {
    pub(crate) fn new(phase: Phase, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            phase,
            kind,
            message: message.into(),
            setting: None,
            status: None,
            stream: None,
            source: None,
            retry_after: None,
            retry: None,
        }))
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Phase::Config, ErrorKind::Config, message)
    }

    pub(crate) fn about(mut self, setting: Setting) -> Self {
        self.0.setting = Some(setting);
        self
    }

    pub(crate) fn stopped(phase: Phase) -> Self {
        Self::new(phase, ErrorKind::Stopped, "stopped")
    }

    pub(crate) fn because(
        mut self,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn refused_with(mut self, status: Option<u16>) -> Self {
        self.0.status = status;
        self
    }

    pub(crate) fn of_stream(mut self, stream: Stream) -> Self {
        self.0.stream = Some(stream);
        self
    }

    /// The stage in which the error came up.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The setting that is invalid, or that led to a peer other than the service. `None` where it
    /// is none of them alone.
    pub fn setting(&self) -> Option<Setting> {
        self.0.setting
    }

    /// The status, as of HTTP, that the peer answered with: always for `Status`, and where a refusal
    /// has one.
    pub fn status(&self) -> Option<u16> {
        match self.0.kind {
            ErrorKind::Status(status) => Some(status),
            _ => self.0.status,
        }
    }

    /// The stream that was refused, or not answered for, if it is about one.
    pub fn stream(&self) -> Option<&Stream> {
        self.0.stream.as_ref()
    }

    /// The error and what caused it, in one line.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = error::Error::source(self);
        while let Some(error) = cause {
            let more = error.to_string();
            // Some say what their own cause says.
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }

    /// Whether the same again, later, may succeed.
    pub fn is_retryable(&self) -> bool {
        !matches!(self.retry(), Retry::Never | Retry::AtMost(0))
    }

    /// The same may help so often, whatever kind of failure it is.
    pub(crate) fn retry_as(mut self, retry: Retry) -> Self {
        self.0.retry = Some(retry);
        self
    }

    /// How often the same again may help.
    pub(crate) fn retry(&self) -> Retry {
        if let Some(retry) = self.0.retry {
            return retry;
        }
        match (self.0.kind, self.0.phase) {
            (ErrorKind::Status(300..=399), _) | (ErrorKind::Status(407), Phase::Proxy) => {
                Retry::AtMost(0)
            }
            // A page of somebody else's, perhaps, as a login to a network shows.
            (ErrorKind::Malformed, Phase::Session) => Retry::AtMost(2),
            // The session has expired, and each attempt is a new one.
            (ErrorKind::Status(401 | 403 | 404 | 410), Phase::Upgrade) => Retry::AtMost(4),
            (
                ErrorKind::Disconnected
                | ErrorKind::TimedOut
                | ErrorKind::Malformed
                | ErrorKind::TooLong
                | ErrorKind::System,
                _,
            )
            | (ErrorKind::Status(_), Phase::Upgrade | Phase::Proxy) => Retry::Always,
            (ErrorKind::Refused, Phase::Subscribe) | (ErrorKind::Status(_), _)
                if self.status().is_some_and(may_pass) =>
            {
                Retry::Always
            }
            (
                ErrorKind::Untrusted
                | ErrorKind::Refused
                | ErrorKind::UnusableId
                | ErrorKind::Status(_),
                _,
            ) => Retry::AtMost(0),
            (ErrorKind::Config | ErrorKind::Stopped, _) => Retry::Never,
        }
    }

    /// How long the service asked to wait before that, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub(crate) fn not_before(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.phase, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_full())
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_final_or_retried() {
        use ErrorKind::{
            Config, Disconnected, Malformed, Refused, Status, Stopped, System, TimedOut, TooLong,
            Untrusted, UnusableId,
        };
        use Retry::{Always, AtMost, Never};
        for (phase, kind, retry) in [
            (Phase::Config, Config, Never),
            (Phase::Resolve, Disconnected, Always),
            (Phase::Resolve, TimedOut, Always),
            (Phase::Resolve, System, Always),
            (Phase::Connect, Disconnected, Always),
            (Phase::Connect, TimedOut, Always),
            (Phase::Connect, Stopped, Never),
            (Phase::Proxy, Status(407), AtMost(0)),
            (Phase::Proxy, Status(302), AtMost(0)),
            (Phase::Proxy, Status(502), Always),
            (Phase::Proxy, Malformed, Always),
            (Phase::Proxy, TimedOut, Always),
            (Phase::Tls, Untrusted, AtMost(0)),
            (Phase::Tls, TimedOut, Always),
            (Phase::Tls, Disconnected, Always),
            (Phase::Session, Refused, AtMost(0)),
            (Phase::Session, Status(302), AtMost(0)),
            (Phase::Session, Status(404), AtMost(0)),
            (Phase::Session, Status(409), AtMost(0)),
            (Phase::Session, Status(408), Always),
            (Phase::Session, Status(425), Always),
            (Phase::Session, Status(429), Always),
            (Phase::Session, Status(500), Always),
            (Phase::Session, Status(503), Always),
            (Phase::Session, Malformed, AtMost(2)),
            (Phase::Session, UnusableId, AtMost(0)),
            (Phase::Session, Disconnected, Always),
            (Phase::Session, TimedOut, Always),
            (Phase::Upgrade, Status(401), AtMost(4)),
            (Phase::Upgrade, Status(404), AtMost(4)),
            (Phase::Upgrade, Status(410), AtMost(4)),
            (Phase::Upgrade, Status(200), Always),
            (Phase::Upgrade, Status(400), Always),
            (Phase::Upgrade, Status(429), Always),
            (Phase::Upgrade, Status(503), Always),
            (Phase::Upgrade, Status(307), AtMost(0)),
            (Phase::Upgrade, Malformed, Always),
            (Phase::Subscribe, Refused, AtMost(0)),
            (Phase::Subscribe, TimedOut, Always),
            (Phase::Socket, Disconnected, Always),
            (Phase::Socket, TimedOut, Always),
            (Phase::Socket, Malformed, Always),
            (Phase::Socket, TooLong, Always),
        ] {
            let error = Error::new(phase, kind, "");
            assert_eq!(error.retry(), retry, "{phase} {kind:?}");
        }
    }
}
