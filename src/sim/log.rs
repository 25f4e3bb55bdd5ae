use std::fmt;
use std::net::SocketAddr;

use rustls::HandshakeKind;

/// Something that a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// The client's end of the TCP connection.
    pub peer: SocketAddr,
    /// What it did on it.
    pub what: What,
}

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It made a TCP connection.
    Connected,
    /// It finished a TLS handshake; `resumed` is one that was shortened by an earlier one.
    Handshake {
        /// Whether an earlier handshake was taken up again.
        resumed: bool,
    },
    /// It was given a session; these are the first characters of its id.
    Session(String),
    /// It was answered with an HTTP status other than success.
    Refused {
        /// The first line of its request, without the id of a session.
        request: String,
        /// The status that it got.
        status: u16,
    },
    /// It asked for something that it will not be answered: a fault.
    Swallowed,
    /// It opened the WebSocket of a session; these are the first characters of its id.
    Opened(String),
    /// It subscribed to a stream, named as it named it.
    Subscribed(String),
    /// It unsubscribed from a stream, named as it named it.
    Unsubscribed(String),
    /// It sent a request that was not granted, for this reason.
    NotGranted(String),
    /// It sent a text that is no request.
    Text(String),
    /// It sent a heartbeat, as a text.
    Heartbeat,
    /// It sent a ping.
    Ping,
    /// It sent a pong.
    Pong,
    /// It closed the WebSocket, with this code if it gave one.
    Closed(Option<u16>),
    /// Its TCP connection came to an end; here is how, where it was not at an end of things.
    Disconnected(Option<String>),
}

impl What {
    pub(super) fn handshake(kind: Option<HandshakeKind>) -> Self {
        Self::Handshake {
            resumed: kind == Some(HandshakeKind::Resumed),
        }
    }
}

/// One line, without a line break.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.peer, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Handshake { resumed: false } => f.write_str("full TLS handshake"),
            Self::Handshake { resumed: true } => f.write_str("resumed TLS handshake"),
            Self::Session(start) => write!(f, "session {start}..."),
            Self::Refused { request, status } => {
                write!(f, "{} refused with {status}", request.escape_debug())
            }
            Self::Swallowed => f.write_str("left without an answer"),
            Self::Opened(start) => write!(f, "socket of session {start}... opened"),
            Self::Subscribed(stream) => write!(f, "subscribed to {}", stream.escape_debug()),
            Self::Unsubscribed(stream) => {
                write!(f, "unsubscribed from {}", stream.escape_debug())
            }
            Self::NotGranted(reason) => write!(f, "not granted: {}", reason.escape_debug()),
            Self::Text(text) => write!(f, "no request: {}", text.escape_debug()),
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
