use std::io::{self, Read};
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::Utf8Bytes;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Message, WebSocket};

use crate::clock::Moment;
use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Phase};
use crate::transport::Link;
use crate::transport::wire::Wire;
use crate::websocket::frames::MessageLimit;
use crate::websocket::handshake::{self, UpgradeRequest, Upgraded};
use crate::websocket::inflated::{Inflated, Sender};
use crate::{Error, Result};

/// An open WebSocket.
pub(crate) struct Socket {
    websocket: WebSocket<Frames>,
    is_compressed: bool,
    pub(super) peer: String,
    limit: Option<Instant>,
    /// Whether no call waits for the end of the connection.
    in_background: bool,
}

/// The stream below a WebSocket.
type Frames = Inflated<MessageLimit>;

/// A received message, except those that the WebSocket protocol handles itself.
pub(crate) enum Received {
    Text(Utf8Bytes),
    /// A binary frame that is not text either.
    Binary,
    /// A sign of life, and no more.
    Ping,
    /// The answer to the ping with these bytes.
    Pong(Bytes),
    /// The service closes, with what it says of it. It has been answered; only the end follows.
    Close(String),
}

/// tungstenite fills as much with zeros before each read.
const READ_BUFFER: usize = 16 << 10;

/// Maximum size of the pongs that are not sent yet. Beyond that, only the last ping is answered (RFC 6455
/// §5.5.3). More than tungstenite's buffer for writes.
const MAX_PONGS: usize = 256 << 10;

/// Timeout for a peer that is left to read everything and end the connection. Its system retries
/// after 0.2 s, 0.4 s and 0.8 s if ours had no room.
pub(super) const LEAVE: Duration = Duration::from_millis(1500);
const LEAVE_AT_MOST: Duration = Duration::from_millis(1800);

impl Socket {
    /// Makes a WebSocket of a link, by the deadline.
    ///
    /// # Errors
    /// `Status` for a refusal, `Malformed` for an answer that violates RFC 6455, and I/O errors of
    /// the connection.
    pub(crate) fn upgrade(
        mut link: Link,
        endpoint: &Endpoint,
        request: &UpgradeRequest<'_>,
        max_message: usize,
        deadline: Instant,
    ) -> Result<Self> {
        link.wire().set_deadline(Some(deadline));
        let Upgraded {
            rest,
            is_compressed,
        } = handshake::handshake(&mut link, endpoint, request)?;
        // A pong is not to wait for a peer that reads nothing.
        link.wire().set_queueing(true);
        let frames = MessageLimit::new(link, rest, max_message, is_compressed);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_write_buffer_size(MAX_PONGS)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        Ok(Self {
            websocket: WebSocket::from_raw_socket(
                Inflated::new(frames, Sender::Server, is_compressed, max_message),
                Role::Client,
                Some(config),
            ),
            is_compressed,
            peer: endpoint.to_string(),
            limit: None,
            in_background: false,
        })
    }

    /// Returns whether the peer may compress its messages.
    pub(crate) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// Returns the next thing to come in, `None` if that is nothing by the deadline.
    pub(crate) fn read(&mut self, deadline: Option<Instant>) -> Result<Option<Received>> {
        self.wire().set_deadline(deadline);
        let message = self.message()?;
        Ok(message.map(|message| self.received_of(message)))
    }

    /// Returns the next thing of what has been read from the connection already.
    pub(crate) fn read_buffered(&mut self) -> Result<Option<Received>> {
        self.wire().set_buffered_only(true);
        let message = self.message();
        self.wire().set_buffered_only(false);
        Ok(message?.map(|message| self.received_of(message)))
    }

    fn message(&mut self) -> Result<Option<Message>> {
        match self.websocket.read() {
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(None)
            }
            done => done.map(Some).map_err(|error| self.failed(error)),
        }
    }

    fn received_of(&mut self, message: Message) -> Received {
        match message {
            Message::Text(text) => Received::Text(text),
            Message::Binary(bytes) => {
                Utf8Bytes::try_from(bytes).map_or(Received::Binary, Received::Text)
            }
            // A frame by itself is not among what is read.
            Message::Ping(_) | Message::Frame(_) => Received::Ping,
            Message::Pong(payload) => Received::Pong(payload),
            Message::Close(frame) => {
                self.drain();
                Received::Close(close_text(frame.as_ref()))
            }
        }
    }

    /// Sends each message back as it came, until the service closes or the deadline comes. Returns
    /// the last text.
    #[cfg(feature = "sim")]
    pub(crate) fn echo(mut self, deadline: Instant) -> Result<String> {
        let mut last = String::new();
        loop {
            self.wire().set_deadline(Some(deadline));
            let Some(message) = self.message()? else {
                break;
            };
            match &message {
                Message::Close(_) => {
                    self.drain();
                    break;
                }
                Message::Text(text) => text.as_str().clone_into(&mut last),
                Message::Binary(_) => {}
                _ => continue,
            }
            self.write(message, deadline)?;
        }
        Ok(last)
    }

    /// Keeps a text, to be sent with the next [`Socket::flush`].
    pub(crate) fn queue(&mut self, text: String) -> Result<()> {
        self.queue_message(Message::text(text))
    }

    /// Keeps a request for a sign of life, to be sent with the next [`Socket::flush`].
    /// The pong has the same bytes, 125 at most.
    pub(crate) fn queue_ping(&mut self, payload: &[u8]) -> Result<()> {
        self.queue_message(Message::Ping(Bytes::copy_from_slice(payload)))
    }

    fn queue_message(&mut self, message: Message) -> Result<()> {
        let done = self.unlimited(|websocket| websocket.write(message));
        self.unless_full(done)
    }

    /// Sends what is queued, as far as the peer takes it. Reads send the rest while they wait.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let done = self.websocket.flush();
        self.unless_full(done)
    }

    /// Writes something that is no pong, whatever its size.
    fn unlimited<T>(&mut self, write: impl FnOnce(&mut WebSocket<Frames>) -> T) -> T {
        let limit = |websocket: &mut WebSocket<Frames>, most| {
            websocket.set_config(|config| config.max_write_buffer_size = most);
        };
        limit(&mut self.websocket, usize::MAX);
        let done = write(&mut self.websocket);
        limit(&mut self.websocket, MAX_PONGS);
        done
    }

    /// Ignores that the queue is full: tungstenite keeps the message for the next flush.
    fn unless_full(&mut self, done: tungstenite::Result<()>) -> Result<()> {
        match done {
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(())
            }
            done => done.map_err(|error| self.failed(error)),
        }
    }

    /// Sends a text, by the deadline.
    pub(crate) fn send(&mut self, text: String, deadline: Instant) -> Result<()> {
        self.write(Message::text(text), deadline)
    }

    /// Returns whether a part of a message has come in, or of a TLS record, and not its end.
    pub(crate) fn is_amid_message(&mut self) -> bool {
        self.websocket.get_ref().get_ref().is_amid_message() || self.link().is_amid_record()
    }

    fn link(&mut self) -> &mut Link {
        self.websocket.get_mut().get_mut().link()
    }

    /// Returns the TCP socket below, to set and ask how reads and writes wait.
    pub(crate) fn wire(&mut self) -> &mut Wire {
        self.link().wire()
    }

    /// Returns the TCP socket below, by a shared reference.
    pub(crate) fn wire_ref(&self) -> &Wire {
        self.websocket.get_ref().get_ref().link_ref().wire_ref()
    }

    /// Sets whether the end of the connection is waited for in a thread of its own.
    pub(crate) fn set_in_background(&mut self, in_background: bool) {
        self.in_background = in_background;
    }

    /// Limits the waits of writes, and the wait for the end of a connection.
    pub(crate) fn set_limit(&mut self, limit: Option<Instant>) {
        self.limit = limit;
    }

    /// Returns the time, but not beyond the limit.
    pub(super) fn limited(&self, time: Instant) -> Instant {
        self.limit.map_or(time, |limit| limit.min(time))
    }

    fn write(&mut self, message: Message, deadline: Instant) -> Result<()> {
        let deadline = self.limited(deadline);
        self.wire().set_deadline(Some(deadline));
        self.wire().set_queueing(false);
        let sent = self.unlimited(|websocket| websocket.send(message));
        self.wire().set_queueing(true);
        sent.map_err(|error| match error {
            tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stopped_reading()
            }
            error => self.failed(error),
        })
    }

    /// Returns the failure of a peer that has taken nothing for too long.
    pub(crate) fn stopped_reading(&self) -> Error {
        let message = format!("{} stopped reading", self.peer);
        Error::new(Phase::Socket, ErrorKind::TimedOut, message)
    }

    /// Returns up to when all that was sent has come in, as far as is known.
    pub(crate) fn complete_at(&self) -> Moment {
        self.websocket.get_ref().get_ref().complete_at()
    }

    /// Returns the peer, as errors name it.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// Closes with 1000 and waits for the answer and the end, until the deadline. What else comes
    /// in meanwhile is dropped.
    ///
    /// # Errors
    /// I/O errors of the connection; `TimedOut` without an answer.
    pub(crate) fn close(mut self, deadline: Instant) -> Result<()> {
        self.wire().ignore_stop();
        self.wire().set_queueing(false);
        let deadline = self.limited(deadline);
        self.wire().set_deadline(Some(deadline));
        let mut step = self.send_close(CloseCode::Normal);
        let mut answered = false;
        loop {
            match step {
                Ok(()) | Err(tungstenite::Error::Utf8(_)) => {}
                // RFC 6455 §7.1.1: the server ends the TCP connection first. After an answer there
                // is no need to wait for that.
                Err(_) if answered => break,
                Err(tungstenite::Error::ConnectionClosed) => break,
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    let message = format!("{} did not answer the close in time", self.peer);
                    return Err(Error::new(Phase::Socket, ErrorKind::TimedOut, message));
                }
                Err(error) => return Err(self.failed(error)),
            }
            step = self.websocket.read().map(|message| {
                answered |= matches!(message, Message::Close(_));
            });
        }
        self.link().shut();
        Ok(())
    }

    pub(super) fn send_close(&mut self, code: CloseCode) -> tungstenite::Result<()> {
        let reason = Utf8Bytes::default();
        self.unlimited(|websocket| websocket.close(Some(CloseFrame { code, reason })))
    }

    /// Sends what is left to send, a close above all, and reads on to the end: a connection that
    /// is closed with bytes unread is reset, and the last words with it.
    pub(super) fn drain(&mut self) {
        let limit = self.limited(Instant::now() + LEAVE_AT_MOST);
        let end = if self.in_background {
            Instant::now()
        } else {
            limit
        };
        let next = || Some(end.min(Instant::now() + LEAVE));
        self.wire().set_deadline(next());
        self.wire().set_queueing(false);
        let _ = self.websocket.flush();
        let link = self.link();
        // An end that stood in a buffer is an end, too.
        link.wire().set_buffered_only(false);
        link.shut();
        let mut dropped = [0; 4096];
        while Instant::now() < end && link.read(&mut dropped).is_ok_and(|n| n > 0) {
            link.wire().set_deadline(next());
        }
        if self.in_background {
            self.wire().linger(limit);
        }
    }
}

fn close_text(frame: Option<&CloseFrame>) -> String {
    match frame {
        None => "without a code".to_owned(),
        Some(frame) if frame.reason.is_empty() => format!("with {}", u16::from(frame.code)),
        Some(frame) => format!("with {} {}", u16::from(frame.code), frame.reason),
    }
}
