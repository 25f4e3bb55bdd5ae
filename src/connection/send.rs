//! Sends requests and signs of life.

use std::time::Instant;

use super::Connection;
use crate::error::{ErrorKind, Phase};
use crate::logger::record;
use crate::protocol::{HEARTBEAT, Request};
use crate::{Error, Result};

/// Size of the requests that are sent together: what a TLS record takes.
const TOGETHER: usize = 16 << 10;

impl Connection {
    /// Sends requests, as many as the peer takes. [`Arrival::Sent`] says when it takes more. Where they
    /// cannot be sent, [`Connection::read`] says so.
    pub(crate) fn request(&mut self, mut next: impl FnMut() -> Option<Request>) {
        while self.failed.is_none() && self.socket.wire().is_all_sent() {
            let mut length = 0;
            while length < TOGETHER
                && let Some(request) = next()
            {
                let (action, stream) = (request.action, &request.stream);
                record!(self.logger, Debug, "{action}: asked for {stream}");
                let text = self.exchange.request(request, Instant::now());
                length += text.len();
                let queued = self.socket.queue(text);
                self.unless_failed(queued);
            }
            if length == 0 {
                return;
            }
            self.flush(Ok(()));
        }
    }

    /// Sends a text that is the caller's own.
    ///
    /// # Errors
    /// `Disconnected` where it cannot be sent. [`Connection::read`] says why.
    pub(crate) fn send(&mut self, text: &str) -> Result<()> {
        self.exchange.sent(text);
        let deadline = Instant::now() + self.ack_timeout;
        let sent = self.socket.send(text.to_owned(), deadline);
        self.unless_failed(sent);
        self.check_sent()
    }

    /// Asks for a pong, in place of the last one.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub(crate) fn ping(&mut self) -> Result<()> {
        self.ping = (self.ping.0 + 1, Some(Instant::now()));
        let payload = self.ping.0.to_be_bytes();
        let queued = self.socket.queue_ping(&payload);
        self.flush(queued);
        self.check_sent()
    }

    fn check_sent(&mut self) -> Result<()> {
        if self.failed.is_none() && !self.socket.wire().is_broken() {
            return Ok(());
        }
        let message = format!("nothing can be sent to {} any more", self.socket.peer());
        Err(Error::new(Phase::Socket, ErrorKind::Disconnected, message))
    }

    /// Sends a request for a sign of life.
    pub(super) fn send_ping(&mut self) {
        record!(self.logger, Trace, "socket: ping");
        let queued = self.socket.queue_ping(&[]);
        self.flush(queued);
    }

    pub(super) fn send_heartbeat(&mut self) {
        record!(self.logger, Trace, "socket: heartbeat");
        let queued = self.socket.queue(HEARTBEAT.to_owned());
        self.flush(queued);
    }

    /// Sends what is queued, as far as the peer takes it.
    fn flush(&mut self, queued: Result<()>) {
        let sent = queued.and_then(|()| self.socket.flush());
        self.unless_failed(sent);
    }

    /// Returns when a peer that takes nothing, and sends nothing, has failed. Sends what the peer takes
    /// meanwhile.
    pub(super) fn stuck_at(&mut self) -> Option<Instant> {
        let wire = self.socket.wire();
        wire.unsent_since()?;
        wire.send_queued();
        let since = wire.unsent_since()?;
        // One that is busy with answers need not read.
        let heard_at = wire.coming().heard_at;
        Some(since.max(heard_at) + self.ack_timeout)
    }
}
