use std::ops::Range;

use zlib_rs::{Inflate, InflateFlush, Status};

/// Inflates the payloads of messages, RFC 7692 §7.2.2, piece by piece.
///
/// The window is kept from message to message: a sender without context takeover does not refer to
/// it, and a sender that confuses the two parameters does.
pub(crate) struct Inflater {
    inflate: Inflate,
    /// The last output, a ring. It outlives a final block, at which `inflate` loses its window.
    window: Box<[u8]>,
    end: usize,
    /// Whether all of the window has been written.
    is_full: bool,
    /// Whether the last message, or final block, is complete, and nothing has come since.
    is_fresh: bool,
}

/// The greatest window that a sender may have: 2 to the power of these bits.
const WINDOW_BITS: u8 = 15;
const WINDOW: usize = 1 << WINDOW_BITS;

/// The end of a flush, which senders leave out.
const TAIL: usize = 4;

/// The tail, and one more byte. If that is read, the data did not end with a block.
const TAIL_AND_MORE: [u8; TAIL + 1] = [0, 0, 0xff, 0xff, 0];

/// Data that is no DEFLATE stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadData;

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            inflate: Inflate::new(false, WINDOW_BITS),
            window: vec![0; WINDOW].into(),
            end: 0,
            is_full: false,
            is_fresh: true,
        }
    }

    /// Inflates as much of the input as the window has room for. Returns the number of bytes read,
    /// and where the output is, for [`Inflater::output`].
    pub(crate) fn inflate(&mut self, input: &[u8]) -> Result<(usize, Range<usize>), BadData> {
        if self.end == WINDOW {
            self.end = 0;
            self.is_full = true;
        }
        let start = self.end;
        let mut used = 0;
        loop {
            let (status, read) = self.step(&input[used..], InflateFlush::NoFlush)?;
            used += read;
            // A final block (RFC 7692 §7.2.3.4) ends a message, or not.
            if status != Status::StreamEnd || used == input.len() {
                return Ok((used, start..self.end));
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
        let (status, read) = self.step(&TAIL_AND_MORE, InflateFlush::Block)?;
        if status != Status::Ok || read != TAIL || self.end != end {
            return Err(BadData);
        }
        self.is_fresh = true;
        Ok(())
    }

    /// Returns whether there is room for more output behind the last.
    pub(crate) fn has_room(&self) -> bool {
        self.end < WINDOW
    }

    pub(crate) fn output(&self, range: Range<usize>) -> &[u8] {
        &self.window[range]
    }

    /// Inflates until the input ends, the window, a final block, or with such a flush any block.
    fn step(&mut self, input: &[u8], flush: InflateFlush) -> Result<(Status, usize), BadData> {
        let totals = |inflate: &Inflate| (inflate.total_in(), inflate.total_out());
        let (read, written) = totals(&self.inflate);
        let room = &mut self.window[self.end..];
        let status = self.inflate.decompress(input, room, flush);
        let status = status.map_err(|_| BadData)?;
        let (read_by_now, written_by_now) = totals(&self.inflate);
        // No more than the input, and the room.
        let [read, written] = [read_by_now - read, written_by_now - written]
            .map(|bytes| usize::try_from(bytes).unwrap_or_default());
        self.end += written;
        self.is_fresh &= read == 0;
        if status == Status::StreamEnd {
            self.restart()?;
        }
        Ok((status, read))
    }

    /// Begins another stream that may refer to the output so far.
    fn restart(&mut self) -> Result<(), BadData> {
        self.inflate.reset(false);
        self.is_fresh = true;
        let (newer, older) = self.window.split_at(self.end);
        let older = if self.is_full { older } else { &[] };
        for part in [older, newer] {
            self.inflate.set_dictionary(part).map_err(|_| BadData)?;
        }
        Ok(())
    }
}
