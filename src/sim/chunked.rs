//! Reads the data of a client, a chunk at a time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustls::{ServerConnection, StreamOwned};

pub(super) type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Maximum number of bytes that are read at once.
const CHUNK: usize = 16 << 10;

/// A client's TLS, below a WebSocket.
pub(super) struct Chunked<'a> {
    /// The bytes that have come, at first those behind the upgrade.
    come: io::Cursor<Vec<u8>>,
    is_ended: bool,
    pub(super) tls: &'a mut Tls,
}

impl<'a> Chunked<'a> {
    pub(super) fn new(tls: &'a mut Tls, early: Vec<u8>) -> Self {
        Self {
            come: io::Cursor::new(early),
            is_ended: false,
            tls,
        }
    }

    /// Takes bytes that have come, for later reads. Returns whether there are any.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        if self.come.position() == self.come.get_ref().len() as u64 {
            self.come.set_position(0);
            let come = self.come.get_mut();
            come.resize(CHUNK, 0);
            let read = self.tls.read(come);
            come.truncate(*read.as_ref().unwrap_or(&0));
            match read {
                Ok(n) => self.is_ended = n == 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Read for Chunked<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.come.read(out)? {
            0 if !self.is_ended => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Chunked<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.tls.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tls.flush()
    }
}
