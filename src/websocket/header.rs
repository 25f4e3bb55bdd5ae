//! The headers of frames, RFC 6455 §5.2.

/// Returns the length of the header with this beginning, as far as it is known yet.
#[inline]
pub(super) fn header_length(head: &[u8]) -> usize {
    let Some(second) = head.get(1) else { return 2 };
    let length = match second & 0x7f {
        126 => 2 + 2,
        127 => 2 + 8,
        _ => 2,
    };
    // The mask, which a server must not send.
    length + if second & 0x80 == 0 { 0 } else { 4 }
}

/// Returns the payload length of a complete header.
#[inline]
pub(super) fn payload_length(head: &[u8]) -> u64 {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
    match head[1] & 0x7f {
        126 => number(&head[2..4]),
        127 => number(&head[2..10]),
        length => length.into(),
    }
}

/// Writes the header of a frame in place of another, with a mask of zeros if it has one.
pub(super) fn write_header(head: &mut Vec<u8>, first: u8, length: usize, is_masked: bool) {
    head.clear();
    head.push(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..126), _) => head.push(length),
        (_, Ok(length)) => {
            head.push(126);
            head.extend(length.to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    if is_masked {
        head[1] |= 0x80;
        head.extend([0; 4]);
    }
}

/// Returns the header of a frame.
#[cfg(test)]
pub(super) fn frame_header(first: u8, length: usize, is_masked: bool) -> Vec<u8> {
    let mut head = Vec::new();
    write_header(&mut head, first, length, is_masked);
    head
}

/// Returns the messages of frames: their payloads, and the first byte of their first frame.
#[cfg(test)]
pub(super) fn messages(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut messages: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut open: Option<(u8, Vec<u8>)> = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = header_length(rest);
        let payload = usize::try_from(payload_length(&rest[..length])).unwrap();
        let (head, behind) = rest.split_at(length);
        let (payload, behind) = behind.split_at(payload);
        rest = behind;
        if head[0] & 0x08 != 0 {
            messages.push((head[0], payload.to_vec()));
            continue;
        }
        let (_, message) = open.get_or_insert((head[0] & 0x0f, Vec::new()));
        message.extend_from_slice(payload);
        if head[0] & 0x80 != 0 {
            messages.extend(open.take());
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_may_have_a_mask() {
        for (second, length) in [(0x80, 6), (0xfe, 8), (0xff, 14), (0x7e, 4), (0x7f, 10)] {
            assert_eq!(header_length(&[0x81, second]), length);
        }
    }

    #[test]
    fn a_header_says_its_length() {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 1 << 30] {
            for is_masked in [false, true] {
                let head = frame_header(0x81, length, is_masked);
                assert_eq!(header_length(&head), head.len());
                assert_eq!(payload_length(&head), length as u64);
            }
        }
    }
}
