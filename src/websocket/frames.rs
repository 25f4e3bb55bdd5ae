use std::error;
use std::fmt;
use std::io::{self, Read, Write};
use std::mem;
use std::time::Duration;

use super::header::{header_length, payload_length};
use crate::clock::Moment;
use crate::transport::Link;

/// A link below a WebSocket, which sees to it that a message has an end.
///
/// tungstenite's read returns when a message is complete. A peer can send fragments without end,
/// empty ones even, or a byte now and then, which tungstenite does not limit. It also allocates a
/// frame's size as soon as it is announced; a long frame is handed to it in pieces.
pub(crate) struct MessageLimit {
    link: Link,
    /// Bytes received after the answer to the upgrade.
    early: io::Cursor<Vec<u8>>,
    frames: Frames,
    /// The link's waiting time before the message that is being received.
    waited_before: Duration,
    /// Time up to which everything sent before this message had been read.
    complete_before: Moment,
    /// The failure of reads, once the bytes before it are returned.
    failure: Option<LimitExceeded>,
}

/// Minimum time for a message to arrive, whatever its length.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes for which a message gets a second more: a tenth of the rate of GPRS.
const SLOWEST: u64 = 256;

/// Maximum number of empty frames within a message: fragments, pings.
const MAX_EMPTY: u32 = 16 << 10;

/// Number of bytes beyond twice the limit that a compressed message may have: flushes of short
/// fragments make it longer than it is.
const COMPRESSED: u64 = 64 << 10;

/// Length beyond which a frame is returned in pieces: more than is read at once.
const PIECE: u64 = 1 << 20;

impl MessageLimit {
    pub(crate) fn new(link: Link, early: Vec<u8>, max_message: usize, is_compressed: bool) -> Self {
        Self {
            early: io::Cursor::new(early),
            frames: Frames::new(max_message as u64, is_compressed),
            waited_before: Duration::ZERO,
            complete_before: link.at_last_read().complete_at,
            link,
            failure: None,
        }
    }

    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(crate) fn link_ref(&self) -> &Link {
        &self.link
    }

    /// Returns whether a part of a message has come in, and not its end.
    pub(crate) fn is_amid_message(&self) -> bool {
        self.frames.is_amid_message()
    }

    /// Returns up to when all that was sent has come in, as far as is known. What has come in parts
    /// has not.
    pub(crate) fn complete_at(&self) -> Moment {
        if self.is_amid_message() {
            self.complete_before
        } else {
            self.link.at_last_read().complete_at
        }
    }

    fn read_in(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.early.read(out)? {
            0 => {
                let is_amid = self.is_amid_message();
                self.link.wire().measure(is_amid);
                self.link.read(out)
            }
            n => Ok(n),
        }
    }
}

impl Read for MessageLimit {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let pending = self.frames.take_pending(out);
            if pending > 0 {
                return Ok(pending);
            }
            if let Some(failure) = self.failure {
                return Err(io::Error::other(failure));
            }
            let most = self.frames.at_most(out.len());
            let n = self.read_in(&mut out[..most])?;
            if n == 0 {
                return Ok(0);
            }
            let waited = self.link.wire().waited();
            let was_amid = self.is_amid_message();
            let (handed_on, failure) = self.frames.pass(&mut out[..n]);
            let has_ended = self.frames.take_has_ended();
            if has_ended {
                self.waited_before = waited;
            }
            if has_ended || !was_amid {
                self.complete_before = self.link.at_last_read().complete_at;
            }
            let time = waited.saturating_sub(self.waited_before);
            let is_slow = self.is_amid_message() && time > self.frames.allowed();
            self.failure = failure.or(is_slow.then_some(LimitExceeded::TooSlow));
            if handed_on > 0 {
                return Ok(handed_on);
            }
        }
    }
}

impl Write for MessageLimit {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.link.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.link.flush()
    }
}

/// Follows the headers of frames, RFC 6455 §5.2, in the bytes that go by.
struct Frames {
    max_message: u64,
    /// The maximum length of a compressed message, as it is sent.
    max_compressed: u64,
    /// The maximum length of this message.
    limit: u64,
    /// The beginning of a header, which is handed on as a whole.
    head: Vec<u8>,
    /// Bytes of a header, returned before what arrives.
    pending: Vec<u8>,
    /// Bytes left of the payload of a frame, or of a piece of one.
    left: u64,
    /// Bytes of the frame after that piece, and whether it is the last frame of its message.
    rest: Option<(u64, bool)>,
    is_control: bool,
    /// Whether there is a message whose last frame has not begun.
    is_open: bool,
    /// The length of that message, as far as it was announced and as far as it has come.
    announced: u64,
    received: u64,
    /// Number of empty frames within the message.
    empty: u32,
    has_ended: bool,
}

impl Frames {
    fn new(max_message: u64, is_compressed: bool) -> Self {
        Self {
            max_message,
            max_compressed: if is_compressed {
                // The inflated length counts. A message ends, too, if nothing comes of it.
                max_message.saturating_mul(2).saturating_add(COMPRESSED)
            } else {
                max_message
            },
            limit: max_message,
            head: Vec::new(),
            pending: Vec::new(),
            left: 0,
            rest: None,
            is_control: false,
            is_open: false,
            announced: 0,
            received: 0,
            empty: 0,
            has_ended: false,
        }
    }

    fn is_amid_message(&self) -> bool {
        !self.head.is_empty() || self.left > 0 || self.is_open
    }

    /// Returns the time allowed for the message that is being received.
    fn allowed(&self) -> Duration {
        PATIENCE + Duration::from_secs(self.received / SLOWEST)
    }

    /// Returns whether a message has come to its end since this was asked last.
    fn take_has_ended(&mut self) -> bool {
        mem::take(&mut self.has_ended)
    }

    fn take_pending(&mut self, out: &mut [u8]) -> usize {
        let n = self.pending.len().min(out.len());
        out[..n].copy_from_slice(&self.pending[..n]);
        self.pending.drain(..n);
        n
    }

    /// Returns the maximum size of a read: not beyond a header that is held back, nor beyond a
    /// piece.
    fn at_most(&self, most: usize) -> usize {
        if !self.head.is_empty() {
            return most.min(header_length(&self.head) - self.head.len());
        }
        match self.rest {
            Some(_) => usize::try_from(self.left).map_or(most, |left| most.min(left)),
            None => most,
        }
    }

    /// Takes note of what has come in, [`at_most`](Self::at_most) as much as that. Returns how much
    /// of it is to be handed on, and what is wrong behind that.
    fn pass(&mut self, bytes: &mut [u8]) -> (usize, Option<LimitExceeded>) {
        let was_held_back = !self.head.is_empty();
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                at += self.payload(bytes.len() - at);
                continue;
            }
            let rest = &bytes[at..];
            // Most headers come whole.
            let length = match header_length(rest) {
                length if self.head.is_empty() && length <= rest.len() => length,
                _ => 1,
            };
            self.head.extend_from_slice(&rest[..length]);
            at += length;
            if self.head.len() == header_length(&self.head) {
                let begun = self.begin();
                let length = self.head.len();
                if let Err(failure) = begun {
                    self.head.clear();
                    // A header that was held back is all that there is.
                    return (at.saturating_sub(length), Some(failure));
                }
                if was_held_back {
                    // Before the next piece of it, if it has come to its end already.
                    self.pending.splice(..0, self.head.drain(..));
                    return (0, None);
                }
                bytes[at - length..at].copy_from_slice(&self.head);
                self.head.clear();
            }
        }
        if was_held_back && !self.head.is_empty() {
            return (0, None);
        }
        (bytes.len() - self.head.len(), None)
    }

    /// Begins a frame whose header is complete.
    fn begin(&mut self) -> Result<(), LimitExceeded> {
        let is_last = self.head[0] & 0x80 != 0;
        let length = payload_length(&self.head);
        self.is_control = self.head[0] & 0x08 != 0;
        self.left = length;
        if self.is_control {
            // RFC 6455 §5.5: "MUST have a payload length of 125 bytes or less".
            if length > 125 {
                return Err(LimitExceeded::LongControl);
            }
        } else {
            // Only its continuation ends a message: it stays cut off by another.
            let is_cut = self.is_open && self.head[0] & 0x0f != 0;
            self.is_open = !is_last || is_cut;
            if self.head[0] & 0x0f != 0 {
                self.limit = if self.head[0] & 0x40 == 0 {
                    self.max_message
                } else {
                    self.max_compressed
                };
            }
            self.announced = self.announced.saturating_add(length);
            if self.announced > self.limit {
                return Err(LimitExceeded::TooLong {
                    length: self.announced,
                    limit: self.max_message,
                });
            }
        }
        if self.is_open && (self.is_control || length == 0) {
            self.empty += 1;
            if self.empty > MAX_EMPTY {
                return Err(LimitExceeded::Empty);
            }
        }
        if length > PIECE {
            self.left = PIECE;
            self.rest = Some((length - PIECE, is_last));
            self.is_open = true;
            self.head[0] &= 0x7f;
            self.head[2..10].copy_from_slice(&PIECE.to_be_bytes());
        } else if length == 0 {
            self.end();
        }
        Ok(())
    }

    /// Counts received bytes of payload. Returns how many of them belong to this frame.
    fn payload(&mut self, bytes: usize) -> usize {
        let n = self.left.min(bytes as u64);
        self.left -= n;
        if !self.is_control {
            self.received += n;
        }
        if self.left == 0 {
            self.end();
        }
        // No more than `bytes`.
        usize::try_from(n).unwrap_or(bytes)
    }

    /// Ends a frame, or a piece of one.
    fn end(&mut self) {
        if let Some((rest, is_last)) = self.rest.take() {
            self.left = rest.min(PIECE);
            let more = rest - self.left;
            self.rest = (more > 0).then_some((more, is_last));
            let ends = more == 0 && is_last;
            self.is_open = !ends;
            self.pending = vec![if ends { 0x80 } else { 0 }, 127];
            self.pending.extend(self.left.to_be_bytes());
        } else if !self.is_open {
            (self.announced, self.received, self.empty) = (0, 0, 0);
            self.has_ended = true;
        }
    }
}

/// The limit that a message has exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitExceeded {
    /// The announced length.
    TooLong {
        length: u64,
        limit: u64,
    },
    /// Too many frames without content.
    Empty,
    TooSlow,
    LongControl,
}

impl LimitExceeded {
    /// Returns the exceeded limit inside an I/O error, if there is one.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // By the name that the program's option has, too.
            Self::TooLong { length, limit } => write!(
                f,
                "a message of {length} bytes is over --max-message ({})",
                Size(*limit)
            ),
            Self::Empty => f.write_str("a message of empty frames has no end"),
            Self::TooSlow => f.write_str("a message did not end in time"),
            Self::LongControl => f.write_str("a control frame is too long"),
        }
    }
}

impl error::Error for LimitExceeded {}

/// Formats a size for people.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        let units = [(20, "MiB"), (10, "KiB")];
        let unit = units
            .iter()
            .find(|(bits, _)| bytes % (1 << bits) == 0 && *bytes > 0);
        match unit {
            Some((bits, name)) => write!(f, "{} {name}", bytes >> bits),
            None => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::{frame_header, messages};
    use super::*;

    /// Returns the header of a frame as a server sends it.
    fn header(first: u8, length: usize) -> Vec<u8> {
        frame_header(first, length, false)
    }

    /// All that is handed on, where as many bytes are read at a time as `cuts` say in turn.
    fn handed_on(
        frames: &mut Frames,
        mut bytes: &[u8],
        cuts: &[usize],
    ) -> Result<Vec<u8>, LimitExceeded> {
        let mut all = Vec::new();
        let mut out = vec![0; 16 << 10];
        for &cut in cuts.iter().cycle() {
            let pending = frames.take_pending(&mut out[..cut]);
            all.extend_from_slice(&out[..pending]);
            if pending > 0 {
                continue;
            }
            let n = frames.at_most(cut).min(bytes.len());
            if n == 0 {
                break;
            }
            out[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            let (passed, failure) = frames.pass(&mut out[..n]);
            all.extend_from_slice(&out[..passed]);
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
        Ok(all)
    }

    #[test]
    fn a_frame_is_judged_by_its_announced_length() {
        let limit = 1 << 20;
        let over = |length| {
            let limit = limit as u64;
            Some(LimitExceeded::TooLong { length, limit })
        };
        for (frames, end) in [
            (vec![header(0x81, limit)], None),
            (vec![header(0x81, limit + 1)], over(limit as u64 + 1)),
            (vec![header(0x81, 1 << 40)], over(1 << 40)),
            (vec![header(0x89, 126)], Some(LimitExceeded::LongControl)),
            (
                vec![header(0x01, 0); 1 + MAX_EMPTY as usize],
                Some(LimitExceeded::Empty),
            ),
            (
                [
                    vec![header(0x01, 0)],
                    vec![header(0x89, 0); MAX_EMPTY as usize],
                ]
                .concat(),
                Some(LimitExceeded::Empty),
            ),
            (
                [
                    vec![header(0x01, 0)],
                    vec![header(0x89, 0); MAX_EMPTY as usize - 1],
                ]
                .concat(),
                None,
            ),
            // With content.
            (
                [
                    vec![header(0x01, 0)],
                    vec![vec![0, 1, b'a']; 2 * MAX_EMPTY as usize],
                ]
                .concat(),
                None,
            ),
            // Each by itself.
            (vec![header(0x89, 0); 2 + MAX_EMPTY as usize], None),
            (vec![header(0x81, 0); 2 + MAX_EMPTY as usize], None),
        ] {
            let bytes = frames.concat();
            let handed_on = handed_on(&mut Frames::new(limit as u64, false), &bytes, &[4096]);
            assert_eq!(handed_on.err(), end);
        }
    }

    #[test]
    fn bytes_before_a_bad_header_are_returned() {
        let good = [header(0x81, 1), b"a".to_vec()].concat().repeat(3);
        for bad in [header(0x81, 1 << 40), header(0x89, 126), header(0x82, 9)] {
            let mut bytes = [&good[..], &bad].concat();
            let (passed, failure) = Frames::new(8, false).pass(&mut bytes);
            assert_eq!(passed, good.len());
            assert!(failure.is_some());
        }
    }

    #[test]
    fn a_frame_is_cut_where_it_is_longer_than_a_piece() {
        let piece = usize::try_from(PIECE).unwrap();
        for (length, heads) in [(piece, 10), (piece + 1, 20), (2 * piece + 1, 30)] {
            let bytes = [header(0x81, length), vec![b'a'; length]].concat();
            let mut frames = Frames::new(u64::MAX, false);
            let all = handed_on(&mut frames, &bytes, &[4096]).unwrap();
            assert_eq!(all.len(), length + heads);
            assert_eq!(messages(&all).len(), 1);
        }
    }

    #[test]
    fn a_header_is_read_to_its_end_and_no_further() {
        for (first, length) in [(0x81, 5), (0x81, 300), (0x81, 70_000)] {
            let head = header(first, length);
            let mut frames = Frames::new(1 << 20, false);
            assert_eq!(frames.at_most(1000), 1000);
            for at in 0..head.len() - 1 {
                assert_eq!(frames.pass(&mut head[at..=at].to_vec()), (0, None));
                // After two bytes it is known how long it is.
                let whole = if at == 0 { 2 } else { head.len() };
                assert_eq!(frames.at_most(1000), whole - at - 1);
                assert_eq!(frames.at_most(1), 1);
            }
        }
    }

    #[test]
    fn a_message_is_amid_from_its_first_byte_to_its_last() {
        let mut frames = Frames::new(1 << 20, false);
        assert!(!frames.is_amid_message());
        // Two fragments, a ping between them.
        let bytes = [0x01, 2, b'a', b'b', 0x89, 1, b'c', 0x80, 1, b'd'];
        let (last, before) = bytes.split_last().unwrap();
        for &byte in before {
            handed_on(&mut frames, &[byte], &[1]).unwrap();
            assert!(frames.is_amid_message());
            assert!(!frames.take_has_ended());
        }
        handed_on(&mut frames, &[*last], &[1]).unwrap();
        assert!(!frames.is_amid_message());
        assert!(frames.take_has_ended() && !frames.take_has_ended());
        // Another one does not end it.
        let mut cut = Frames::new(1 << 20, false);
        handed_on(&mut cut, &[0x01, 1, b'a', 0x81, 1, b'b'], &[1]).unwrap();
        assert!(cut.is_amid_message() && !cut.take_has_ended());
        // By the header alone, and by the payload alone.
        for (begin, end) in [(&[0x81][..], &[0][..]), (&[0x81, 1], b"a")] {
            handed_on(&mut frames, begin, &[1]).unwrap();
            assert!(frames.is_amid_message());
            handed_on(&mut frames, end, &[1]).unwrap();
            assert!(!frames.is_amid_message());
        }
    }

    #[test]
    fn only_content_buys_time() {
        let mut frames = Frames::new(1 << 20, false);
        let mut give = |bytes: Vec<u8>| {
            handed_on(&mut frames, &bytes, &[4096]).unwrap();
            frames.allowed().as_secs()
        };
        assert_eq!(give(header(0x01, 0)), 30);
        assert_eq!(give(header(0, 0).repeat(1000)), 30);
        assert_eq!(give([header(0, 512), vec![b'a'; 511]].concat()), 31);
        assert_eq!(give(vec![b'a']), 32);
        assert_eq!(give([header(0x89, 125), vec![b'a'; 125]].concat()), 32);
        assert_eq!(give([0, 1, b'a'].repeat(256)), 33);
        assert_eq!(give(header(0x80, 0)), 30);
        assert!(frames.take_has_ended() && !frames.is_amid_message());
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;
        use crate::seed::property;

        proptest! {
            #![proptest_config(property(256))]

            /// For any frames, cut anywhere: the same messages, and no long frame.
            #[test]
            fn frames_arrive_whole_or_in_pieces(
                parts in prop::collection::vec((0_u8..3, prop_oneof![
                    0_usize..3, 120_usize..130, 65_530_usize..65_540, 1_048_570_usize..1_048_580,
                    Just(3 << 20),
                ]), 1..6),
                cuts in prop::collection::vec(1_usize..5000, 1..5),
            ) {
                let mut bytes = Vec::new();
                let mut is_open = false;
                for (kind, length) in parts {
                    let opcode = u8::from(!is_open);
                    let (first, length) = match kind {
                        0 => (0x89, length.min(125)),
                        1 => (opcode, length),
                        _ => (0x80 | opcode, length),
                    };
                    if kind > 0 {
                        is_open = kind == 1;
                    }
                    bytes.extend(header(first, length));
                    bytes.extend((0..length).map(|n| n.to_be_bytes()[7]));
                }
                if is_open {
                    bytes.extend(header(0x80, 0));
                }
                let mut frames = Frames::new(u64::MAX, false);
                let all = handed_on(&mut frames, &bytes, &cuts).unwrap();
                prop_assert!(!frames.is_amid_message());
                prop_assert!(messages(&all) == messages(&bytes));
            }
        }
    }
}
