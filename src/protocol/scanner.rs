//! Checks that a text is one JSON document (RFC 8259), and finds members of it: in one pass, without
//! recursion, and without memory but for what is nested deeply.

use std::ops::Range;

/// Why a text has no members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    NotJson,
    /// Valid JSON, but no object.
    NotObject,
}

/// Returns the members of a JSON object by the given names, unparsed; of duplicates the last.
///
/// The whole text is checked to be one JSON document.
///
/// # Errors
/// Fails for invalid JSON, and for JSON that is no object.
pub(super) fn members<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], Invalid> {
    let mut found = [None; N];
    let is_object = document(json.as_bytes(), |key, is_escaped, value| {
        let index = if is_escaped {
            // `"\u0074ype"` is `"type"`. No string where it holds a lone surrogate, and none of the
            // names where it is longer than those are with an escape for each character.
            let longest = names.iter().map(|name| LONGEST_ESCAPE * name.len()).max();
            let key = Some(key).filter(|key| Some(key.len()) <= longest);
            let key: Option<String> =
                key.and_then(|key| serde_json::from_str(&format!("\"{}\"", &json[key])).ok());
            names.iter().position(|name| Some(*name) == key.as_deref())
        } else {
            let key = &json.as_bytes()[key];
            names.iter().position(|name| name.as_bytes() == key)
        };
        if let Some(index) = index {
            found[index] = Some(&json[value]);
        }
    });
    match is_object {
        Some(true) => Ok(found),
        Some(false) => Err(Invalid::NotObject),
        None => Err(Invalid::NotJson),
    }
}

/// `\u0061`.
const LONGEST_ESCAPE: usize = 6;

/// Whether a document is an object; `None` where it is not JSON. Members of the object are handed on:
/// what stands between the quotation marks of the key, whether that has escapes, and the value.
fn document(json: &[u8], mut member: impl FnMut(Range<usize>, bool, Range<usize>)) -> Option<bool> {
    let mut at = space(json, 0);
    let is_object = json.get(at) == Some(&b'{');
    if !is_object {
        at = value(json, at)?;
    } else if let Some(end) = empty(json, at + 1, b'}') {
        at = end;
    } else {
        loop {
            let start = space(json, at + 1);
            let (end, is_escaped) = key(json, start)?;
            let name = start + 1..end - 1;
            let start = space(json, colon(json, end)?);
            at = value(json, start)?;
            member(name, is_escaped, start..at);
            at = space(json, at);
            match *json.get(at)? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        at += 1;
    }
    (space(json, at) == json.len()).then_some(is_object)
}

/// Returns the offset after a value, and all that is nested in it.
fn value(json: &[u8], mut at: usize) -> Option<usize> {
    let mut open = Open::default();
    loop {
        let first = *json.get(at)?;
        at += 1;
        match first {
            b'"' => at = string(json, at)?.0,
            b'{' => {
                if let Some(end) = empty(json, at, b'}') {
                    at = end;
                } else {
                    open.push(true);
                    at = key_and_colon(json, at)?;
                    continue;
                }
            }
            b'[' => {
                if let Some(end) = empty(json, at, b']') {
                    at = end;
                } else {
                    open.push(false);
                    continue;
                }
            }
            b'-' => at = number(json, at)?,
            b'0'..=b'9' => at = number(json, at - 1)?,
            b't' => at = rest(json, at, b"rue")?,
            b'f' => at = rest(json, at, b"alse")?,
            b'n' => at = rest(json, at, b"ull")?,
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            _ => return None,
        }
        // The end of the value.
        while open.depth > 0 {
            let next = *json.get(at)?;
            at += 1;
            match next {
                b',' if open.is_object() => {
                    at = key_and_colon(json, at)?;
                    break;
                }
                b',' => break,
                b'}' if open.is_object() => open.pop(),
                b']' if !open.is_object() => open.pop(),
                b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => return None,
            }
        }
        if open.depth == 0 {
            return Some(at);
        }
    }
}

/// Returns the offset after the end of an array or an object, if it is the next.
fn empty(json: &[u8], at: usize, end: u8) -> Option<usize> {
    let at = space(json, at);
    (json.get(at) == Some(&end)).then_some(at + 1)
}

/// Returns the offset after the key of a member and its colon.
#[inline]
fn key_and_colon(json: &[u8], at: usize) -> Option<usize> {
    let (end, _) = key(json, space(json, at))?;
    colon(json, end)
}

/// Returns the offset after a key, and whether it has escapes.
#[inline]
fn key(json: &[u8], at: usize) -> Option<(usize, bool)> {
    match *json.get(at)? {
        b'"' => string(json, at + 1),
        _ => None,
    }
}

/// Returns the offset after a colon.
#[inline]
fn colon(json: &[u8], at: usize) -> Option<usize> {
    let at = space(json, at);
    (*json.get(at)? == b':').then_some(at + 1)
}

/// Returns the offset after a string that begins behind its first quotation mark (RFC 8259 §7), and
/// whether it has escapes.
#[inline]
fn string(json: &[u8], start: usize) -> Option<(usize, bool)> {
    let end = plain(json, start);
    if json.get(end) == Some(&b'"') {
        return Some((end + 1, false));
    }
    let end = escaped(json, end)?;
    Some((end, true))
}

/// Returns the offset after a string, from its first escape on.
#[inline(never)]
fn escaped(json: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = plain(json, escape(json, at + 1)?),
            _ => return None,
        }
    }
}

/// Returns the offset after an escape that begins behind its backslash.
fn escape(json: &[u8], at: usize) -> Option<usize> {
    match *json.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => {
            let digits = json.get(at + 1..at + 5)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
        }
        _ => None,
    }
}

/// Returns the offset of the first quotation mark, backslash or control character.
// Inlined, its constants do not stay in registers: a third slower.
#[inline(never)]
pub(super) fn plain(json: &[u8], start: usize) -> usize {
    // Eight bytes are looked at together. Most strings are short.
    let (eights, _) = json[start..].as_chunks();
    let mut at = start;
    for eight in eights {
        let found = special(u64::from_le_bytes(*eight));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
        if at == start + 32 {
            break;
        }
    }
    long_plain(json, at)
}

/// The same, with 32 bytes looked at together.
#[inline(never)]
fn long_plain(json: &[u8], start: usize) -> usize {
    let is_plain = |bytes: &&[[u8; 8]; 4]| {
        bytes.iter().fold(0, |found, eight| {
            found | special(u64::from_le_bytes(*eight))
        }) == 0
    };
    let (eights, _) = json[start..].as_chunks();
    let (fours, _) = eights.as_chunks();
    let mut at = start + 32 * fours.iter().take_while(is_plain).count();
    while let Some(word) = eight(json, at) {
        let found = special(word);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_special = |b: &u8| matches!(b, b'"' | b'\\' | 0..b' ');
    let rest = &json[at..];
    at + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// Returns the high bit of each quotation mark, backslash and control character, and maybe of some
/// bytes behind the first.
#[inline]
fn special(word: u64) -> u64 {
    // Less than 0x21 once the bit is turned over: control characters and the quotation mark.
    let quotes = (word ^ (EACH * 0x02)).wrapping_sub(EACH * 0x21);
    let backslashes = (word ^ (EACH * u64::from(b'\\'))).wrapping_sub(EACH);
    (quotes | backslashes) & !word & (EACH * 0x80)
}

/// A byte in each of eight.
const EACH: u64 = 0x0101_0101_0101_0101;

/// Eight bytes, the first one the lowest, if there are as many.
#[inline]
fn eight(json: &[u8], at: usize) -> Option<u64> {
    let bytes = json.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// Returns the offset after a number without its sign (RFC 8259 §6).
fn number(json: &[u8], at: usize) -> Option<usize> {
    let mut at = match *json.get(at)? {
        b'0' => at + 1,
        b'1'..=b'9' => digits(json, at)?,
        _ => return None,
    };
    if json.get(at) == Some(&b'.') {
        at = digits(json, at + 1)?;
    }
    if let Some(b'e' | b'E') = json.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = json.get(at) {
            at += 1;
        }
        at = digits(json, at)?;
    }
    Some(at)
}

/// Returns the offset after digits, of which there is one at least.
#[inline]
fn digits(json: &[u8], start: usize) -> Option<usize> {
    const HALVES: u64 = 0xf0 * EACH;

    let mut at = start;
    while let Some(word) = eight(json, at) {
        // The high halves of digits are 3, and stay so for six more.
        let halves = (word & HALVES) | ((word.wrapping_add(EACH * 6) & HALVES) >> 4);
        let other = halves ^ (EACH * 0x33);
        if other != 0 {
            at += other.trailing_zeros() as usize / 8;
            return (at > start).then_some(at);
        }
        at += 8;
    }
    while json.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    (at > start).then_some(at)
}

fn rest(json: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    json.get(at..)?.starts_with(word).then(|| at + word.len())
}

/// Returns the offset after white space.
#[inline]
fn space(json: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = json.get(at) {
        at += 1;
    }
    at
}

/// The arrays and objects that have begun and not ended.
#[derive(Default)]
struct Open {
    depth: usize,
    /// The innermost ones, a bit each, that of the last one the lowest: whether it is an object.
    last: u64,
    /// The values around them.
    outer: Vec<u64>,
}

impl Open {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.last);
        }
        self.last = self.last << 1 | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.last = match self.outer.pop_if(|_| self.depth.is_multiple_of(64)) {
            Some(last) => last,
            None => self.last >> 1,
        };
    }

    fn is_object(&self) -> bool {
        self.last & 1 == 1
    }
}

#[cfg(test)]
mod tests;
