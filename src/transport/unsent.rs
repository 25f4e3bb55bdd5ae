use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::TcpStream;
use std::time::Instant;

use rustix::net::SendFlags;

/// Written data that the socket has not taken yet.
pub(super) struct Unsent {
    bytes: Vec<u8>,
    /// When the socket has last taken a part of it, or there was nothing to take.
    since: Instant,
    /// Whether writes leave data here instead of waiting.
    is_queue: bool,
    /// Whether a read ends once all is sent.
    ends_read: bool,
}

/// Number of bytes beyond which no more is taken.
const MAX_UNSENT: usize = 64 << 10;

impl Unsent {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            since: Instant::now(),
            is_queue: false,
            ends_read: false,
        }
    }

    pub(super) fn is_queue(&self) -> bool {
        self.is_queue
    }

    pub(super) fn set_queue(&mut self, is_queue: bool) {
        self.is_queue = is_queue;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes data, and returns how much that is. Fails with `WouldBlock` if there is too much already,
    /// and a read ends once that is sent.
    pub(super) fn push(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.bytes.len() >= MAX_UNSENT {
            self.ends_read = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.bytes.is_empty() {
            self.since = Instant::now();
        }
        let before = self.bytes.len();
        for data in data {
            self.bytes.extend_from_slice(data);
        }
        Ok(self.bytes.len() - before)
    }

    /// Sends as much as the socket takes without waiting, and returns how much that was. What cannot be
    /// sent is dropped with the error.
    pub(super) fn send(&mut self, mut tcp: &TcpStream) -> io::Result<usize> {
        let mut sent = 0;
        while !self.bytes.is_empty() {
            match tcp.write(&self.bytes) {
                Ok(n) => {
                    sent += n;
                    self.bytes.drain(..n);
                    self.since = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.bytes.clear();
                    return Err(error);
                }
            }
        }
        Ok(sent)
    }

    /// Returns since when the socket has taken nothing, if there is something to take.
    pub(super) fn since(&self) -> Option<Instant> {
        (!self.bytes.is_empty()).then_some(self.since)
    }

    /// Ends a read once all is sent, if it is not.
    pub(super) fn end_read(&mut self) {
        self.ends_read = !self.bytes.is_empty();
    }

    /// Returns whether a read ends for it.
    pub(super) fn is_read_ended(&self) -> bool {
        self.ends_read && self.is_queue && self.bytes.is_empty()
    }

    /// Returns whether a read ends for it, and resets that.
    pub(super) fn take_read_ended(&mut self) -> bool {
        let is_ended = self.is_read_ended();
        self.ends_read &= !is_ended;
        is_ended
    }
}

/// Sends data in one packet, as far as it fits. Not by writev(2), which raises SIGPIPE: not all programs
/// ignore it.
pub(super) fn send(tcp: &TcpStream, data: &[IoSlice<'_>]) -> io::Result<usize> {
    let data = data.iter().map(|data| &**data).collect::<Vec<_>>().concat();
    Ok(rustix::net::send(tcp, &data, SendFlags::NOSIGNAL)?)
}

/// Copies an I/O error.
pub(super) fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}
