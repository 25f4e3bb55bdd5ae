//! The extension permessage-deflate (RFC 7692), as a server agrees to it.

use flate2::{Compress, Compression, FlushCompress};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use super::http::Request;

/// Compresses the messages of a connection.
pub(super) struct Compressor {
    compress: Compress,
    keeps_window: bool,
    /// The parameters of the answer.
    parameters: String,
}

impl Compressor {
    /// Accepts the first of the client's offers that can be kept, if there is one.
    pub(super) fn accept(request: &Request) -> Option<Self> {
        request
            .values("sec-websocket-extensions")
            .find_map(Self::of)
    }

    fn of(offer: &str) -> Option<Self> {
        let mut parts = offer.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") {
            return None;
        }
        let mut keeps_window = true;
        let mut parameters = String::new();
        for parameter in parts {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (parameter, None),
            };
            match (name, value) {
                ("server_no_context_takeover", None) => keeps_window = false,
                ("client_no_context_takeover", None) | ("server_max_window_bits", Some("15")) => {}
                // The client may have any window, and this one has the greatest.
                ("client_max_window_bits", _) => continue,
                _ => return None,
            }
            parameters.push_str("; ");
            parameters.push_str(parameter);
        }
        Some(Self {
            compress: Compress::new(Compression::default(), false),
            keeps_window,
            parameters,
        })
    }

    /// Returns the header that answers the offer.
    pub(super) fn header(&self) -> String {
        let parameters = &self.parameters;
        format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n")
    }

    /// Compresses a message, RFC 7692 §7.2.1.
    pub(super) fn message(&mut self, text: &str) -> Message {
        let mut payload = Vec::with_capacity(text.len() + 64);
        let mut rest = text.as_bytes();
        loop {
            let before = self.compress.total_in();
            // There is always room.
            let _ = self
                .compress
                .compress_vec(rest, &mut payload, FlushCompress::Sync);
            let read = self.compress.total_in() - before;
            rest = &rest[usize::try_from(read).unwrap_or(rest.len())..];
            if rest.is_empty() && payload.len() < payload.capacity() {
                break;
            }
            payload.reserve(payload.len());
        }
        payload.truncate(payload.len() - TAIL);
        if !self.keeps_window {
            self.compress.reset();
        }
        let header = FrameHeader {
            rsv1: true,
            opcode: OpCode::Data(Data::Text),
            ..FrameHeader::default()
        };
        Message::Frame(Frame::from_payload(header, payload.into()))
    }
}

/// Length of the empty block at the end of a flush, which is not sent.
const TAIL: usize = 4;
