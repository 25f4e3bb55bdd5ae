//! Cuts a line into the parts that are written.

use std::borrow::Cow;
use std::iter;

use memchr::{memchr, memchr2, memrchr};
use octave_ws::Printable;

use crate::output::record::Line;

/// Maximum length of a piece, before escaping.
const PIECE: usize = 64 << 10;

/// Returns a line as it is, with its end. Raw line breaks stand between tokens only (RFC 8259 §7):
/// they can be left out.
pub(super) fn parts(line: Line<'_>) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line.body.as_bytes());
    let body = iter::from_fn(move || {
        let bytes = rest.take()?;
        let Some(at) = memchr2(b'\n', b'\r', bytes) else {
            return Some(bytes);
        };
        rest = Some(&bytes[at + 1..]);
        Some(&bytes[..at])
    });
    let [head, tail, end] = [line.head, line.tail, "\n"].map(str::as_bytes);
    iter::once(head).chain(body).chain([tail, end])
}

/// Returns the body of a line without its raw line breaks, as it is shown, in pieces.
pub(super) fn pieces<'a>(line: Line<'a>) -> impl Iterator<Item = Cow<'a, str>> {
    let parts = line.body.split(['\n', '\r']);
    parts.flat_map(move |mut rest| {
        iter::from_fn(move || {
            let mut end = rest.len().min(PIECE);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            let piece: &'a str;
            (piece, rest) = rest.split_at(end);
            (!piece.is_empty()).then(|| {
                if line.is_printable {
                    Printable(piece).to_string().into()
                } else {
                    piece.into()
                }
            })
        })
    })
}

/// Returns the length of the whole lines that fit into `most` bytes, or of the first one if that is
/// longer.
pub(super) fn whole_lines(bytes: &[u8], most: usize) -> usize {
    let most = &bytes[..bytes.len().min(most)];
    let end = memrchr(b'\n', most).or_else(|| memchr(b'\n', bytes));
    end.map_or(bytes.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_written_where_they_fit() {
        assert_eq!(whole_lines(b"a\nbc\n", 10), 5);
        let long = [b"a\n".as_slice(), &[b'x'; 10], b"\nb\n"].concat();
        assert_eq!(whole_lines(&long, 10), 2);
        assert_eq!(whole_lines(&long[2..], 10), 11);
    }
}
