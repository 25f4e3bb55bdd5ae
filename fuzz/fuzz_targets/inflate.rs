#![no_main]

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::Duration;

use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;
use octave_ws::{Client, Update};
use octave_ws_fuzz::{Place, Service};

static SERVICE: LazyLock<Service> = LazyLock::new(|| Service::start(Place::Compressed));

/// The payloads of messages: each begins with its length.
fn payloads(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&length, rest) = bytes.split_first()?;
        let (payload, rest) = rest.split_at(usize::from(length % 126).min(rest.len()));
        bytes = rest;
        Some(payload)
    })
}

/// What zlib makes of a payload, RFC 7692 §7.2.2. Nothing beyond a final block, which ends its
/// stream, nor beyond an error.
fn inflated(zlib: &mut Decompress, payload: &[u8]) -> Option<Vec<u8>> {
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut text = Vec::with_capacity(1 << 20);
    let status = zlib.decompress_vec(&input, &mut text, FlushDecompress::Sync);
    matches!(status, Ok(Status::Ok | Status::BufError)).then_some(text)
}

fuzz_target!(|bytes: &[u8]| {
    let mut frames = Vec::new();
    let mut zlib = Decompress::new(false);
    let mut texts: VecDeque<Vec<u8>> = VecDeque::new();
    let mut is_known = true;
    for payload in payloads(bytes) {
        frames.extend([0xc1, payload.len() as u8]);
        frames.extend(payload);
        // An empty payload is taken for an empty message, where zlib takes the end for a beginning.
        is_known &= !payload.is_empty();
        if is_known {
            match inflated(&mut zlib, payload) {
                Some(text) => texts.push_back(text),
                None => is_known = false,
            }
        }
    }
    SERVICE.give(&frames);
    let mut client = Client::connect(&SERVICE.config).expect("an upgrade");
    // The service ends the connection, so that each message is followed by one, or by an error.
    while let Ok(next) = client.next(Duration::from_secs(60)) {
        let expected = texts.pop_front();
        match (next, expected) {
            (Update::Unknown(message), Some(text)) => assert_eq!(message.text().as_bytes(), text),
            (Update::Event(event), Some(text)) => assert!(text.ends_with(event.message().as_bytes())),
            (Update::TimedOut | Update::Closed, _) => panic!("the end is not noticed"),
            (_, None) => assert!(!is_known, "more than was sent"),
            _ => {}
        }
    }
});
