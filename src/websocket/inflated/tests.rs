use flate2::{Compress, Compression, FlushCompress};

use super::super::header::{frame_header, messages};
use super::*;

const LIMIT: usize = 1 << 20;

/// A sender of messages.
struct Compressing {
    compress: Compress,
    keeps_window: bool,
}

impl Compressing {
    fn new(keeps_window: bool) -> Self {
        Self {
            compress: Compress::new(Compression::default(), false),
            keeps_window,
        }
    }

    /// Returns the payload of a compressed message, RFC 7692 §7.2.1.
    fn payload(&mut self, text: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(2 * text.len() + 100);
        self.compress
            .compress_vec(text, &mut payload, FlushCompress::Sync)
            .unwrap();
        assert!(payload.ends_with(&[0, 0, 0xff, 0xff]));
        payload.truncate(payload.len() - 4);
        if !self.keeps_window {
            self.compress.reset();
        }
        payload
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [frame_header(first, payload.len(), false), payload.to_vec()].concat()
}

/// Reads bytes that arrive in pieces of such lengths into buffers of such lengths.
fn read(bytes: &[u8], arriving: &[usize], buffers: &[usize]) -> Result<Vec<u8>, InflateError> {
    read_as(Sender::Server, bytes, arriving, buffers)
}

fn read_as(
    sender: Sender,
    bytes: &[u8],
    arriving: &[usize],
    buffers: &[usize],
) -> Result<Vec<u8>, InflateError> {
    struct Arriving<'a>(&'a [u8], Box<dyn Iterator<Item = usize> + 'a>);
    impl Read for Arriving<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = self.1.next().unwrap().min(out.len()).min(self.0.len());
            (&self.0[..n]).read_exact(&mut out[..n])?;
            self.0 = &self.0[n..];
            Ok(n)
        }
    }
    let lengths = Box::new(arriving.iter().copied().cycle());
    let mut inflated = Inflated::new(Arriving(bytes, lengths), sender, true, LIMIT);
    let mut all = Vec::new();
    for &length in buffers.iter().cycle() {
        let mut out = vec![0; length];
        match inflated.read(&mut out) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&out[..n]),
            Err(error) => {
                let inner = error.get_ref().unwrap();
                return Err(*inner.downcast_ref::<InflateError>().unwrap());
            }
        }
    }
    Ok(all)
}

fn texts_of(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let all = read(&frames.concat(), &[4096], &[16 << 10]).unwrap();
    messages(&all).into_iter().map(|(_, text)| text).collect()
}

/// The examples of RFC 7692 §7.2.3.
#[test]
fn each_kind_of_block_is_read() {
    let hello: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for payload in [
        hello,
        &[0, 5, 0, 0xfa, 0xff, b'H', b'e', b'l', b'l', b'o', 0],
        // A last block, with the byte that follows it and without.
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[
            0xf2, 0x48, 0x05, 0, 0, 0, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0,
        ],
    ] {
        let again = frame(0xc1, &[0xf2, 0, 0x11, 0, 0]);
        let texts = texts_of(&[frame(0xc1, payload), again, frame(0xc1, hello)]);
        assert_eq!(texts, [b"Hello"; 3]);
    }
    let fragments = [frame(0x41, &hello[..3]), frame(0x80, &hello[3..])];
    assert_eq!(texts_of(&fragments), [b"Hello"]);
    // Nothing, as it should be sent and as some send it.
    for nothing in [&[0][..], &[]] {
        let frames = [frame(0xc1, nothing), frame(0xc1, hello)];
        assert_eq!(texts_of(&frames), [&b""[..], b"Hello"]);
    }
}

#[test]
fn bad_data_follows_what_came_before() {
    let text: Vec<u8> = (0..350_u32).flat_map(|n| (n * n).to_be_bytes()).collect();
    let payload = Compressing::new(false).payload(&text);
    // A distance of one, in the first message.
    let too_far = vec![0x02, 0x83, 0x00];
    let cut = (1..payload.len()).map(|end| payload[..end].to_vec());
    for bad in cut.chain([too_far, vec![0x06], vec![0xff; 40]]) {
        assert_eq!(
            read(&frame(0xc1, &bad), &[7], &[100]),
            Err(InflateError::BadData),
            "{bad:x?}"
        );
    }
    let bytes = [frame(0xc1, &payload), frame(0x81, b"b"), frame(0xc1, &[6])].concat();
    let mut inflated = Inflated::new(&bytes[..], Sender::Server, true, LIMIT);
    let mut all = vec![0; 2000];
    let mut end = 0;
    while let Ok(n) = inflated.read(&mut all[end..]) {
        end += n;
    }
    let texts = messages(&all[..end]);
    assert_eq!(texts, [(1, text), (1, b"b".to_vec())]);
    assert!(inflated.read(&mut all).is_err());
}

#[test]
fn the_limit_is_one_of_inflated_bytes() {
    for (length, is_within) in [(LIMIT, true), (LIMIT + 1, false), (9 * LIMIT, false)] {
        let payload = Compressing::new(true).payload(&vec![b'a'; length]);
        let done = read(&frame(0xc1, &payload), &[4096], &[16 << 10]);
        match done {
            Ok(all) => assert!(is_within && messages(&all)[0].1.len() == length),
            Err(error) => {
                let limit = LIMIT as u64;
                assert_eq!(error, InflateError::TooLong { limit });
                assert!(!is_within);
            }
        }
    }
    // Each message by itself.
    let mut sender = Compressing::new(true);
    let frames: Vec<_> = (0..3)
        .map(|_| frame(0xc1, &sender.payload(&vec![b'a'; LIMIT])))
        .collect();
    assert_eq!(texts_of(&frames).len(), 3);
}

#[test]
fn a_bit_where_none_may_be_is_left() {
    for frames in [
        // A fragment, with and without a message that it belongs to; a ping; another bit.
        vec![frame(0x41, &[0xf2, 0x48]), frame(0xc0, &[0])],
        vec![frame(0xc0, &[0])],
        vec![frame(0x01, b"a"), frame(0xc0, b"b")],
        vec![frame(0xc9, b"")],
        // Amid another message, with data that is bad; a mask.
        vec![frame(0x01, b"a"), frame(0xc1, &[6])],
        vec![frame(0x41, &[0xf2, 0x48]), frame(0xc1, &[6])],
        vec![[&frame_header(0xc1, 1, true)[..], &[6]].concat()],
        vec![frame(0xe1, &[0])],
        vec![frame(0xc3, &[0])],
    ] {
        let all = read(&frames.concat(), &[4096], &[4096]).unwrap();
        let last = frames.last().unwrap();
        assert!(all.ends_with(last), "{all:x?}");
    }
}

#[test]
fn a_mask_is_removed() {
    let payload = Compressing::new(true).payload(b"of a client");
    let mask = [1, 2, 3, 0x84];
    let mut bytes = frame_header(0xc1, payload.len(), true);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    for arriving in [1, 3, 4096] {
        let all = read_as(Sender::Client, &bytes, &[arriving], &[4096]).unwrap();
        let expected = [&frame_header(0x81, 11, true)[..], b"of a client"].concat();
        if arriving == 4096 {
            assert_eq!(all, expected);
        }
        assert_eq!(messages(&all), [(1, b"of a client".to_vec())]);
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::property;

    proptest! {
        #![proptest_config(property(256))]

        /// For any messages, fragments and cuts: what was sent.
        #[test]
        fn messages_arrive_as_they_were_sent(
            texts in prop::collection::vec((any::<bool>(), prop_oneof![
                prop::collection::vec(any::<u8>(), 0..600),
                prop::collection::vec(Just(b'a'), 0..70_000),
                prop::collection::vec(0_u8..4, 30_000..70_000),
            ]), 1..5),
            keeps_window in any::<bool>(),
            fragments in prop::collection::vec(0_usize..5000, 1..5),
            arriving in prop::collection::vec(1_usize..6000, 1..5),
            buffers in prop::collection::vec(1_usize..20_000, 1..5),
        ) {
            let mut sender = Compressing::new(keeps_window);
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            let mut lengths = fragments.iter().cycle();
            for (is_compressed, text) in texts {
                let payload = if is_compressed { sender.payload(&text) } else { text.clone() };
                let mut first = if is_compressed { 0x41 } else { 0x01 };
                let mut rest = &payload[..];
                for _ in 0..3 {
                    let (part, behind) = rest.split_at(rest.len().min(*lengths.next().unwrap()));
                    bytes.extend(frame(first, part));
                    bytes.extend(frame(0x89, b"ping"));
                    expected.push((0x89, b"ping".to_vec()));
                    rest = behind;
                    first = 0;
                }
                bytes.extend(frame(first | 0x80, rest));
                expected.push((1, text));
            }
            let all = read(&bytes, &arriving, &buffers).unwrap();
            prop_assert!(messages(&all) == expected);
        }
    }
}
