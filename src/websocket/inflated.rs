use std::error;
use std::fmt;
use std::io::{self, Read, Write};
use std::mem;
use std::ops::Range;

use super::frames::Size;
use super::header::{header_length, payload_length, write_header};
use super::inflate::{BadData, Inflater};

/// A stream below a WebSocket, from which compressed messages (RFC 7692) are read as plain ones.
///
/// tungstenite has no extensions. What it must not see of them is a first frame with the bit RSV1;
/// where that bit must not be, it is left, and tungstenite refuses it.
pub(crate) struct Inflated<S> {
    stream: S,
    reader: Option<Box<Reader>>,
}

/// The peer that sends the frames.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    #[cfg(any(feature = "sim", test))]
    Client,
    Server,
}

impl<S> Inflated<S> {
    /// Leaves everything as it is, unless compression has been agreed upon.
    pub(crate) fn new(stream: S, sender: Sender, is_compressed: bool, max_message: usize) -> Self {
        let reader = is_compressed.then(|| Box::new(Reader::new(sender, max_message as u64)));
        Self { stream, reader }
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: Read> Read for Inflated<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.reader {
            None => self.stream.read(out),
            Some(reader) => reader.read(&mut self.stream, out),
        }
    }
}

impl<S: Write> Write for Inflated<S> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.stream.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Bytes read at once.
const INPUT: usize = 4 << 10;

struct Reader {
    sender: Sender,
    inflater: Inflater,
    max_message: u64,
    input: Box<[u8]>,
    /// The part of the input that has not been read.
    rest: Range<usize>,
    /// The beginning of a header.
    head: Vec<u8>,
    frame: Frame,
    /// The compressed message that is being received.
    message: Option<Message>,
    /// Whether another message is being received.
    is_amid_other: bool,
    /// A header, and the output behind it, which are returned before anything else is read.
    out_head: Vec<u8>,
    out: Output,
    failure: Option<InflateError>,
}

/// The frame that is being received.
#[derive(Default)]
struct Frame {
    /// Bytes left of the payload.
    left: u64,
    is_compressed: bool,
    is_last: bool,
    /// The mask, from that of the next byte on.
    mask: Option<[u8; 4]>,
}

struct Message {
    /// The first byte of its next frame.
    opcode: u8,
    /// The inflated length, so far.
    length: u64,
}

enum Output {
    Input(Range<usize>),
    Inflated(Range<usize>),
}

impl Reader {
    fn new(sender: Sender, max_message: u64) -> Self {
        Self {
            sender,
            inflater: Inflater::new(),
            max_message,
            input: vec![0; INPUT].into(),
            rest: 0..0,
            head: Vec::new(),
            frame: Frame::default(),
            message: None,
            is_amid_other: false,
            out_head: Vec::new(),
            out: Output::Input(0..0),
            failure: None,
        }
    }

    fn read(&mut self, stream: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.take_output(out);
            if n > 0 {
                return Ok(n);
            }
            if let Some(failure) = self.failure {
                return Err(io::Error::other(failure));
            }
            if self.rest.is_empty() && !self.is_ending() {
                let n = stream.read(&mut self.input)?;
                if n == 0 {
                    return Ok(0);
                }
                self.rest = 0..n;
                self.unmask();
            }
            if let Err(failure) = self.step() {
                self.failure = Some(failure);
            }
        }
    }

    fn take_output(&mut self, out: &mut [u8]) -> usize {
        let head = self.out_head.len().min(out.len());
        out[..head].copy_from_slice(&self.out_head[..head]);
        self.out_head.drain(..head);
        let (range, bytes) = match &mut self.out {
            Output::Input(range) => (range.clone(), &self.input[range.clone()]),
            Output::Inflated(range) => (range.clone(), self.inflater.output(range.clone())),
        };
        let body = bytes.len().min(out.len() - head);
        out[head..][..body].copy_from_slice(&bytes[..body]);
        let left = range.start + body..range.end;
        match &mut self.out {
            Output::Input(range) | Output::Inflated(range) => *range = left,
        }
        head + body
    }

    /// Returns whether all of a compressed message has come in, and not all of it is inflated.
    fn is_ending(&self) -> bool {
        let Frame {
            left,
            is_compressed,
            is_last,
            ..
        } = self.frame;
        left == 0 && is_compressed && is_last && self.message.is_some()
    }

    /// Reads a part of the input, up to some output.
    fn step(&mut self) -> Result<(), InflateError> {
        if self.frame.left == 0 && !self.is_ending() {
            self.header()
        } else if self.frame.is_compressed {
            self.inflate()
        } else {
            let payload = self.payload();
            self.frame.left -= payload.len() as u64;
            self.rest.start = payload.end;
            self.out = Output::Input(payload);
            Ok(())
        }
    }

    /// Returns the part of the input that belongs to this frame.
    fn payload(&self) -> Range<usize> {
        let Range { start, end } = self.rest;
        let left = usize::try_from(self.frame.left).unwrap_or(usize::MAX);
        start..end.min(start.saturating_add(left))
    }

    /// Reads a byte of a header, and begins a frame with the last one.
    fn header(&mut self) -> Result<(), InflateError> {
        self.head.push(self.input[self.rest.start]);
        self.rest.start += 1;
        if self.head.len() < header_length(&self.head) {
            return Ok(());
        }
        let head = &self.head;
        let (bits, opcode) = (head[0] & 0x70, head[0] & 0x0f);
        let is_last = head[0] & 0x80 != 0;
        let is_masked = head[1] & 0x80 != 0;
        // RFC 7692 §6: RSV1 is set on the first frame of a message, and on no other.
        let may_begin = self.message.is_none() && !self.is_amid_other;
        let begins = bits == 0x40 && matches!(opcode, 1 | 2) && may_begin;
        let continues = bits == 0 && opcode == 0 && self.message.is_some();
        // RFC 6455 §5.1: the client masks its frames, the server does not.
        let is_well_masked = is_masked == (self.sender != Sender::Server);
        if opcode & 0x08 == 0 && self.message.is_none() && !begins {
            self.is_amid_other = !is_last && (opcode != 0 || self.is_amid_other);
        }
        self.frame = Frame {
            left: payload_length(head),
            is_compressed: (begins || continues) && is_well_masked,
            is_last,
            mask: is_masked.then(|| [0, 1, 2, 3].map(|n| head[head.len() - 4 + n])),
        };
        if begins && is_well_masked {
            self.message = Some(Message { opcode, length: 0 });
        }
        if !self.frame.is_compressed {
            mem::swap(&mut self.head, &mut self.out_head);
            self.head.clear();
            return Ok(());
        }
        self.head.clear();
        self.unmask();
        if self.frame.left == 0 {
            return self.inflate();
        }
        Ok(())
    }

    /// Removes the mask of what has come in of a compressed frame.
    fn unmask(&mut self) {
        let payload = self.payload();
        if let Some(mask) = self
            .frame
            .mask
            .as_mut()
            .filter(|_| self.frame.is_compressed)
        {
            for byte in &mut self.input[payload] {
                *byte ^= mask[0];
                mask.rotate_left(1);
            }
        }
    }

    /// Inflates what there is of a frame, and makes a frame of the output.
    fn inflate(&mut self) -> Result<(), InflateError> {
        let payload = self.payload();
        let (read, output) = self.inflater.inflate(&self.input[payload])?;
        self.rest.start += read;
        self.frame.left -= read as u64;
        let is_over = self.frame.left == 0 && self.frame.is_last && self.inflater.has_room();
        if is_over {
            self.inflater.finish()?;
        }
        let Some(message) = &mut self.message else {
            return Ok(());
        };
        message.length += output.len() as u64;
        if message.length > self.max_message {
            let limit = self.max_message;
            return Err(InflateError::TooLong { limit });
        }
        // The first frame of a message goes before a control frame that came behind it.
        let is_first = message.opcode != 0 && self.frame.left == 0;
        if is_over || is_first || !output.is_empty() {
            let first = mem::take(&mut message.opcode) | if is_over { 0x80 } else { 0 };
            let is_masked = self.frame.mask.is_some();
            write_header(&mut self.out_head, first, output.len(), is_masked);
            self.out = Output::Inflated(output);
        }
        if is_over {
            self.message = None;
        }
        Ok(())
    }
}

/// The reason why a compressed message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InflateError {
    BadData,
    /// The inflated length is over the limit.
    TooLong {
        limit: u64,
    },
}

impl InflateError {
    /// Returns the reason inside an I/O error, if there is one.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<BadData> for InflateError {
    fn from(BadData: BadData) -> Self {
        Self::BadData
    }
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadData => {
                f.write_str("a compressed message cannot be inflated (see --no-compression)")
            }
            Self::TooLong { limit } => write!(
                f,
                "a compressed message is over --max-message ({})",
                Size(*limit)
            ),
        }
    }
}

impl error::Error for InflateError {}

#[cfg(test)]
mod tests;
