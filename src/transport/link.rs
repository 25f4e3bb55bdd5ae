use std::io::{self, Read, Write};
use std::mem;

use crate::transport::coming::Coming;
use crate::transport::tls;
use crate::transport::wire::Wire;

/// A connection to the service, ready for HTTP and for what comes after.
pub(crate) struct Link {
    layer: Layer,
    /// Whether nothing has been written since the handshake.
    is_first: bool,
    /// The received data when the last read returned data: TLS buffers later data.
    at_last_read: Coming,
}

#[allow(clippy::large_enum_variant, reason = "the larger one is for tests")]
pub(super) enum Layer {
    Plain(Wire),
    Tls(Box<tls::Stream>),
}

impl Layer {
    fn wire_ref(&self) -> &Wire {
        match self {
            Self::Plain(wire) => wire,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn wire(&mut self) -> &mut Wire {
        match self {
            Self::Plain(wire) => wire,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Link {
    pub(super) fn new(mut layer: Layer) -> Self {
        let at_last_read = layer.wire().coming();
        Self {
            layer,
            is_first: true,
            at_last_read,
        }
    }

    pub(crate) fn wire(&mut self) -> &mut Wire {
        self.layer.wire()
    }

    /// Returns the TCP socket below, by a shared reference.
    pub(crate) fn wire_ref(&self) -> &Wire {
        self.layer.wire_ref()
    }

    /// Returns what had been received when the last read returned data.
    pub(crate) fn at_last_read(&self) -> &Coming {
        &self.at_last_read
    }

    /// Returns whether something has come in since, a part of a TLS record.
    pub(crate) fn is_amid_record(&mut self) -> bool {
        self.layer.wire().coming().bytes != self.at_last_read.bytes
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shut(&mut self) {
        if let Layer::Tls(stream) = &mut self.layer {
            stream.conn.send_close_notify();
        }
        // The peer may be gone already.
        let _ = self.flush();
    }
}

/// An invalid TLS record fails with `ConnectionAborted`: above a link, `InvalidData` is HTTP that
/// cannot be parsed.
impl Read for Link {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.layer {
            Layer::Plain(wire) => wire.read(out),
            Layer::Tls(stream) => stream.read(out).or_else(|error| {
                // Data decrypted before an invalid record.
                match stream.conn.reader().read(out) {
                    Ok(n) if n > 0 => Ok(n),
                    _ if error.kind() == io::ErrorKind::InvalidData => {
                        Err(io::Error::new(io::ErrorKind::ConnectionAborted, error))
                    }
                    _ => Err(error),
                }
            }),
        }?;
        self.at_last_read = self.layer.wire().coming();
        Ok(n)
    }
}

/// Writes report no failure of received data: the next read does, after the data before it.
impl Write for Link {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let is_first = mem::take(&mut self.is_first);
        match &mut self.layer {
            Layer::Plain(wire) => wire.write(data),
            Layer::Tls(stream) => match tls::write(stream, data, is_first) {
                // rustls has found a record invalid.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(data.len()),
                done => done,
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Layer::Tls(stream) = &mut self.layer {
            tls::send(stream)?;
        }
        self.layer.wire().flush()
    }
}
