use std::error;
use std::fmt;
use std::ops::Range;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// Inflates the payloads of messages, RFC 7692 §7.2.2, piece by piece.
///
/// The window is kept from message to message: a sender without context takeover does not refer to
/// it, and a sender that confuses the two parameters does.
pub(crate) struct Inflater {
    decoder: DecompressorOxide,
    /// The last 32 KiB, a ring: what any window of a sender holds.
    window: Box<[u8; WINDOW]>,
    end: usize,
    /// Whether all of the window has been written.
    is_full: bool,
    /// Whether the decoder is at the beginning of a block, and nothing of that has come.
    is_fresh: bool,
}

const WINDOW: usize = 32 << 10;

/// The end of a flush, which senders leave out, and a last empty block. Data that stops amid a block
/// makes something else of it: output, or no end.
const TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// Data that is no DEFLATE stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadData;

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            decoder: DecompressorOxide::new(),
            window: vec![0; WINDOW]
                .try_into()
                .unwrap_or_else(|_| unreachable!("the length is right")),
            end: 0,
            is_full: false,
            is_fresh: true,
        }
    }

    /// Inflates as much of the input as the window has room for. Returns the number of bytes read,
    /// and where the output is in [`Inflater::window`].
    pub(crate) fn inflate(&mut self, input: &[u8]) -> Result<(usize, Range<usize>), BadData> {
        let start = self.start();
        let mut used = 0;
        loop {
            let (status, read) = self.step(&input[used..])?;
            used += read;
            match status {
                // A final block (RFC 7692 §7.2.3.4) ends a message, or not.
                TINFLStatus::Done if used < input.len() => {}
                _ => return Ok((used, start..self.end)),
            }
        }
    }

    /// Ends a message whose input is complete, and all output of which has been taken, while there
    /// [is room](Self::has_room).
    pub(crate) fn finish(&mut self) -> Result<(), BadData> {
        if self.is_fresh {
            return Ok(());
        }
        let end = self.end;
        match self.step(&TAIL)? {
            (TINFLStatus::Done, read) if read == TAIL.len() && self.end == end => Ok(()),
            _ => Err(BadData),
        }
    }

    /// Returns whether there is room for more output behind the last.
    pub(crate) fn has_room(&self) -> bool {
        self.end < WINDOW
    }

    pub(crate) fn output(&self, range: Range<usize>) -> &[u8] {
        &self.window[range]
    }

    /// Returns where output begins.
    fn start(&mut self) -> usize {
        if self.end == WINDOW {
            self.end = 0;
            self.is_full = true;
        }
        self.end
    }

    fn step(&mut self, input: &[u8]) -> Result<(TINFLStatus, usize), BadData> {
        let mut flags = TINFL_FLAG_HAS_MORE_INPUT;
        if !self.is_full {
            // No distance reaches beyond the beginning.
            flags |= TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        }
        let window = &mut self.window[..];
        let (status, read, written) = decompress(&mut self.decoder, input, window, self.end, flags);
        self.end += written;
        self.is_fresh &= read == 0;
        match status {
            TINFLStatus::Done => {
                self.decoder.init();
                self.is_fresh = true;
            }
            TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput => {}
            _ => return Err(BadData),
        }
        Ok((status, read))
    }
}

impl fmt::Display for BadData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a compressed message cannot be inflated")
    }
}

impl error::Error for BadData {}
