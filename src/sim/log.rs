use std::fmt;
use std::net::SocketAddr;

use rustls::HandshakeKind;

/// An action of a client, received by [`Options::observer`](super::Options).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observation {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The action.
    pub action: ClientAction,
}

/// An action of a client. `Display` formats it as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAction {
    /// Opened a TCP connection.
    Connected,
    /// Completed a TLS handshake.
    Handshake {
        /// Whether it resumed an earlier TLS session.
        resumed: bool,
    },
    /// Was given a session: the first characters of its id.
    Session(String),
    /// Was given events of the history.
    History {
        /// The stream, named as the client named it.
        stream: String,
        /// Number of events.
        events: usize,
    },
    /// Got an HTTP status other than success.
    Refused {
        /// The request line, with the session id removed.
        request: String,
        /// The status.
        status: u16,
    },
    /// Sent a request that is not answered, because of a fault.
    Ignored,
    /// Opened the WebSocket of a session: the first characters of its id.
    Opened(String),
    /// Subscribed to a stream, named as the client named it.
    Subscribed(String),
    /// Unsubscribed from a stream, named as the client named it.
    Unsubscribed(String),
    /// Sent a request that was refused, for this reason.
    NotGranted(String),
    /// Sent a text that is not a request.
    Text(String),
    /// Sent the text `{"type":"heartbeat"}`.
    Heartbeat,
    /// Sent a ping.
    Ping,
    /// Sent a pong.
    Pong,
    /// Closed the WebSocket, with this code if it gave one.
    Closed(Option<u16>),
    /// Disconnected; `Some` says how, if it was not an orderly end.
    Disconnected(Option<String>),
}

impl ClientAction {
    pub(super) fn handshake(kind: Option<HandshakeKind>) -> Self {
        Self::Handshake {
            resumed: kind == Some(HandshakeKind::Resumed),
        }
    }
}

/// Formats one line, without a line break.
impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.peer, self.action)
    }
}

impl fmt::Display for ClientAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Handshake { resumed: false } => f.write_str("full TLS handshake"),
            Self::Handshake { resumed: true } => f.write_str("resumed TLS handshake"),
            Self::Session(start) => write!(f, "session {start}..."),
            Self::History { stream, events } => {
                write!(f, "{events} past events of {}", stream.escape_debug())
            }
            Self::Refused { request, status } => {
                write!(f, "{} refused with {status}", request.escape_debug())
            }
            Self::Ignored => f.write_str("request not answered (fault)"),
            Self::Opened(start) => write!(f, "socket of session {start}... opened"),
            Self::Subscribed(stream) => write!(f, "subscribed to {}", stream.escape_debug()),
            Self::Unsubscribed(stream) => {
                write!(f, "unsubscribed from {}", stream.escape_debug())
            }
            Self::NotGranted(reason) => write!(f, "refused: {}", reason.escape_debug()),
            Self::Text(text) => write!(f, "not a request: {}", text.escape_debug()),
            Self::Heartbeat => f.write_str("heartbeat"),
            Self::Ping => f.write_str("ping"),
            Self::Pong => f.write_str("pong"),
            Self::Closed(None) => f.write_str("closed without a code"),
            Self::Closed(Some(code)) => write!(f, "closed with {code}"),
            Self::Disconnected(None) => f.write_str("disconnected"),
            Self::Disconnected(Some(how)) => write!(f, "disconnected: {}", how.escape_debug()),
        }
    }
}
