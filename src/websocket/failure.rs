//! The failures of a WebSocket, and the close that the peer gets for each.

use std::io;
use std::time::Instant;

use tungstenite::protocol::frame::coding::CloseCode;

use super::frames::LimitExceeded;
use super::inflated::InflateError;
use super::socket::{LEAVE, Socket};
use crate::Error;
use crate::error::{ErrorKind, Phase};

impl Socket {
    /// Names an error, and tells the service of it where that is the culprit.
    pub(super) fn failed(&mut self, error: tungstenite::Error) -> Error {
        use tungstenite::Error as E;
        use tungstenite::error::ProtocolError;
        let peer = &self.peer;
        let (kind, message, code) = match error {
            E::Io(error) => {
                if let Some(limit) = LimitExceeded::of(&error) {
                    return self.over_limit(limit);
                }
                return match InflateError::of(&error) {
                    Some(failure) => self.not_inflated(failure),
                    None => Error::from_io(Phase::Socket, peer, error),
                };
            }
            E::ConnectionClosed
            | E::AlreadyClosed
            | E::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                let end = io::ErrorKind::UnexpectedEof.into();
                return Error::from_io(Phase::Socket, peer, end);
            }
            E::Capacity(_) => {
                let message = format!("{peer} sent a message over the limit");
                (ErrorKind::TooLong, message, CloseCode::Size)
            }
            E::Utf8(_) => {
                let message = format!("{peer} sent a text that is not UTF-8");
                (ErrorKind::Malformed, message, CloseCode::Invalid)
            }
            _ => {
                let message = format!("{peer} broke the WebSocket protocol");
                (ErrorKind::Malformed, message, CloseCode::Protocol)
            }
        };
        self.fail(code);
        // The bit of a compressed message, where there may be none.
        let is_bit = matches!(error, E::Protocol(ProtocolError::NonZeroReservedBits));
        let failed = Error::new(Phase::Socket, kind, message).because(error);
        if is_bit {
            failed.of_compression()
        } else {
            failed
        }
    }

    fn over_limit(&mut self, limit: LimitExceeded) -> Error {
        let peer = &self.peer;
        let message = format!("from {peer}: {limit}");
        let (kind, code, message) = match limit {
            LimitExceeded::TooLong { .. } | LimitExceeded::Empty => {
                (ErrorKind::TooLong, CloseCode::Size, message)
            }
            LimitExceeded::TooSlow => (ErrorKind::TimedOut, CloseCode::Size, message),
            LimitExceeded::LongControl => {
                let message = format!("{peer} broke the WebSocket protocol");
                (ErrorKind::Malformed, CloseCode::Protocol, message)
            }
        };
        self.fail(code);
        Error::new(Phase::Socket, kind, message)
    }

    fn not_inflated(&mut self, failure: InflateError) -> Error {
        let message = format!("from {}: {failure}", self.peer);
        match failure {
            InflateError::TooLong { .. } => {
                self.fail(CloseCode::Size);
                Error::new(Phase::Socket, ErrorKind::TooLong, message)
            }
            InflateError::BadData => {
                self.fail(CloseCode::Invalid);
                Error::new(Phase::Socket, ErrorKind::Malformed, message).of_compression()
            }
        }
    }

    /// RFC 6455 §7.1.7: _Fail the WebSocket Connection_.
    fn fail(&mut self, code: CloseCode) {
        let soon = self.limited(Instant::now() + LEAVE);
        self.wire().set_deadline(Some(soon));
        let _ = self.send_close(code);
        self.drain();
    }
}
