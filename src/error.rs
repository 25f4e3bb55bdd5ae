use std::error;
use std::fmt;

/// What went wrong, in which phase, and with whom.
///
/// `Display` says this error's own part in one line and names the peer; what caused it is in
/// [`source`](error::Error::source). Neither the token nor a session id is in either, nor in
/// `Debug`.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    phase: Phase,
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn error::Error + Send + Sync>>,
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
    /// The service refused the credentials or the subscription.
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

impl Error {
    pub(crate) fn new(phase: Phase, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            phase,
            kind,
            message: message.into(),
            source: None,
        }))
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Phase::Config, ErrorKind::Config, message)
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

    /// The stage in which the error came up.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same again, later, may succeed.
    pub fn is_retryable(&self) -> bool {
        match self.0.kind {
            ErrorKind::Disconnected
            | ErrorKind::TimedOut
            | ErrorKind::Malformed
            | ErrorKind::TooLong
            | ErrorKind::System => true,
            ErrorKind::Status(status) => match self.0.phase {
                // RFC 6455 gives no status of a refused upgrade a meaning: a session expires.
                Phase::Upgrade => !(300..400).contains(&status),
                Phase::Proxy => status != 407,
                _ => matches!(status, 408 | 425 | 429 | 500..),
            },
            ErrorKind::Config
            | ErrorKind::Untrusted
            | ErrorKind::Refused
            | ErrorKind::UnusableId
            | ErrorKind::Stopped => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.phase, self.0.message)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
