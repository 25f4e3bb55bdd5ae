use std::error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::protocol::{Action, Retry, Stream, is_transient};
use crate::wait::ended::WaitEnded;

/// An error: its phase, its kind, and a text that names the peer.
///
/// `Display` is one line without the cause, which is in [`source`](error::Error::source). `Debug` is
/// one line with all causes, as [`Error::report`]: a `main` that returns the error prints it. No
/// text contains the token or a session id.
///
/// ```
/// use octave_ws::{Client, Config, Credentials, ErrorKind, Setting, Token};
///
/// let config = Config::new(Credentials::new("my_company", Token::new("")));
/// let error = Client::connect(&config).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Config);
/// assert_eq!(error.setting(), Some(Setting::Token));
/// assert_eq!(error.to_string(), "config: the token is empty");
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    phase: Phase,
    kind: ErrorKind,
    message: String,
    setting: Option<Setting>,
    status: Option<u16>,
    stream: Option<Stream>,
    source: Option<Arc<dyn error::Error + Send + Sync>>,
    retry_after: Option<Duration>,
    /// Overrides the retry of phase and kind.
    retry: Option<Retry>,
    is_of_compression: bool,
}

/// A `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The phase in which an error occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Checking the configuration, before anything is sent.
    Config,
    /// Looking up the name of the service or the proxy.
    Resolve,
    /// The TCP connection.
    Connect,
    /// The request to the proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The HTTPS POST for a session.
    Session,
    /// The WebSocket handshake.
    Upgrade,
    /// A subscription, from the request to its acknowledgement.
    Subscribe,
    /// The end of a subscription, from the request to its acknowledgement.
    Unsubscribe,
    /// The open WebSocket.
    Socket,
    /// A request for the history of a stream.
    History,
}

impl Phase {
    pub(crate) fn of(action: Action) -> Self {
        match action {
            Action::Subscribe => Self::Subscribe,
            Action::Unsubscribe => Self::Unsubscribe,
        }
    }
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
            Self::Unsubscribe => "unsubscribe",
            Self::Socket => "socket",
            Self::History => "history",
        })
    }
}

/// The kind of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is invalid or incomplete.
    Config,
    /// The operating system could not provide a file descriptor, memory or a thread.
    System,
    /// There is no connection: it could not be made, or was lost.
    Disconnected,
    /// A phase did not complete by its deadline.
    TimedOut,
    /// The TLS handshake failed, for example because of an invalid certificate.
    Tls,
    /// An HTTP status other than success.
    Status(u16),
    /// The service refused the credentials or a subscription, or a proxy refused the user.
    Refused,
    /// An answer that violates the protocol.
    Malformed,
    /// A session id that cannot be part of a URL.
    UnusableId,
    /// A message exceeded [`Config::max_message`](crate::Config::max_message).
    TooLong,
    /// [`Stop`](crate::Stop) was called.
    Stopped,
}

/// A setting of a [`Config`](crate::Config) that an error can refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// The URL of the REST API.
    Api,
    /// The URL of the service.
    Endpoint,
    /// The user of the [`Credentials`](crate::Credentials).
    User,
    /// The company of the credentials.
    Company,
    /// The token of the credentials.
    Token,
    /// The CA certificates.
    CaPem,
    /// The proxy.
    Proxy,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "invalid configuration",
            Self::System => "system error",
            Self::Disconnected => "disconnected",
            Self::TimedOut => "timed out",
            Self::Tls => "TLS failed",
            Self::Status(status) => return write!(f, "HTTP status {status}"),
            Self::Refused => "refused",
            Self::Malformed => "malformed answer",
            Self::UnusableId => "unusable session id",
            Self::TooLong => "message too long",
            Self::Stopped => "stopped",
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Endpoint => "endpoint",
            Self::Api => "API",
            Self::User => "user",
            Self::Company => "company",
            Self::Token => "token",
            Self::CaPem => "CA certificates",
            Self::Proxy => "proxy",
        })
    }
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
            is_of_compression: false,
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

    /// Takes the end of a wait, which is `WouldBlock` at its deadline.
    pub(crate) fn of_wait(phase: Phase, wait: io::Result<()>) -> Result<(), Self> {
        wait.or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Ok(()),
            _ if WaitEnded::is_stop(&error) => Err(Self::stopped(phase)),
            _ => Err(Self::new(phase, ErrorKind::System, "poll failed").because(error)),
        })
    }

    /// Creates the error for an I/O error of a connection to this peer.
    pub(crate) fn from_io(phase: Phase, peer: impl fmt::Display, error: io::Error) -> Self {
        if WaitEnded::is_stop(&error) {
            return Self::stopped(phase);
        }
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                let message = match phase {
                    Phase::Connect => format!("connection to {peer} timed out"),
                    Phase::Tls => format!("handshake with {peer} timed out"),
                    _ => format!("timed out waiting for an answer from {peer}"),
                };
                Self::new(phase, ErrorKind::TimedOut, message)
            }
            io::ErrorKind::InvalidData => {
                let message = format!("the answer of {peer} is not HTTP");
                Self::new(phase, ErrorKind::Malformed, message).because(error)
            }
            io::ErrorKind::UnexpectedEof => {
                let message = format!("{peer} ended the connection");
                Self::new(phase, ErrorKind::Disconnected, message)
            }
            _ => {
                let message = format!("the connection to {peer} was lost");
                Self::new(phase, ErrorKind::Disconnected, message).because(error)
            }
        }
    }

    pub(crate) fn because(
        mut self,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(Arc::from(source.into()));
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

    pub(crate) fn of_compression(mut self) -> Self {
        self.0.is_of_compression = true;
        self
    }

    /// Returns whether the peer's compression is at fault.
    pub(crate) fn is_of_compression(&self) -> bool {
        self.0.is_of_compression
    }

    /// Returns the phase in which the error occurred.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the setting that is invalid, or that led to a peer other than the service, if it is
    /// a single one.
    pub fn setting(&self) -> Option<Setting> {
        self.0.setting
    }

    /// Returns the HTTP status of the peer: always for `ErrorKind::Status`, and for a refusal that
    /// has one.
    pub fn status(&self) -> Option<u16> {
        match self.0.kind {
            ErrorKind::Status(status) => Some(status),
            _ => self.0.status,
        }
    }

    /// Returns the stream that was refused or not acknowledged, if the error is about one.
    pub fn stream(&self) -> Option<&Stream> {
        self.0.stream.as_ref()
    }

    /// Returns the error and its causes in one line, separated by `: `.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = error::Error::source(self);
        while let Some(error) = cause {
            let more = crate::Printable(&error.to_string()).to_string();
            // Some say what their own cause says.
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }

    /// Returns whether a later attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        !matches!(self.retry(), Retry::Never | Retry::AtMost(0))
    }

    /// Overrides how often to repeat, whatever the kind.
    pub(crate) fn retry_as(mut self, retry: Retry) -> Self {
        self.0.retry = Some(retry);
        self
    }

    /// Returns whether, and how often, to repeat what failed.
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
                ErrorKind::Disconnected | ErrorKind::TimedOut | ErrorKind::System,
                Phase::Resolve | Phase::Connect,
            ) => Retry::Unreached,
            (
                ErrorKind::Disconnected
                | ErrorKind::TimedOut
                | ErrorKind::Malformed
                | ErrorKind::TooLong
                | ErrorKind::System,
                _,
            )
            | (ErrorKind::Status(_), Phase::Upgrade | Phase::Proxy) => Retry::Always,
            (ErrorKind::Refused, Phase::Subscribe | Phase::Unsubscribe)
            | (ErrorKind::Status(_), _)
                if self.status().is_some_and(is_transient) =>
            {
                Retry::Always
            }
            (
                ErrorKind::Tls | ErrorKind::Refused | ErrorKind::UnusableId | ErrorKind::Status(_),
                _,
            ) => Retry::AtMost(0),
            (ErrorKind::Config | ErrorKind::Stopped, _) => Retry::Never,
        }
    }

    /// Returns the delay that the service asked for (`Retry-After`, RFC 9110 §10.2.3), if it did.
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
        write!(f, "{}: {}", self.0.phase, crate::Printable(&self.0.message))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report())
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
            Config, Disconnected, Malformed, Refused, Status, Stopped, System, TimedOut, Tls,
            TooLong, UnusableId,
        };
        use Retry::{Always, AtMost, Never, Unreached};
        for (phase, kind, retry) in [
            (Phase::Config, Config, Never),
            (Phase::Resolve, Disconnected, Unreached),
            (Phase::Resolve, TimedOut, Unreached),
            (Phase::Resolve, System, Unreached),
            (Phase::Connect, Disconnected, Unreached),
            (Phase::Connect, TimedOut, Unreached),
            (Phase::Connect, Stopped, Never),
            (Phase::Proxy, Status(407), AtMost(0)),
            (Phase::Proxy, Status(302), AtMost(0)),
            (Phase::Proxy, Status(502), Always),
            (Phase::Proxy, Malformed, Always),
            (Phase::Proxy, TimedOut, Always),
            (Phase::Tls, Tls, AtMost(0)),
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
