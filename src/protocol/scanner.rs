//! Checks that a text is one JSON document (RFC 8259), and finds members of it: in one pass, without
//! recursion, and without memory but for what is nested deeply.

use std::ops::Range;

/// Why a text has no members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    NotJson,
    /// It is another JSON document.
    NotObject,
}

/// The members of a JSON object by the given names, unparsed; of duplicates the last.
///
/// The whole text is checked to be one JSON document.
///
/// # Errors
/// That it is none, or another.
pub(super) fn members<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], Unfit> {
    let mut found = [None; N];
    let mut is_object = false;
    let mut scanner = Scanner {
        bytes: json.as_bytes(),
        at: 0,
    };
    let is_json = scanner.document(&mut is_object, |key, value| {
        let key = &json[key];
        let index = if key.contains('\\') {
            // None where it holds a lone surrogate.
            let key: Option<String> = serde_json::from_str(&format!("\"{key}\"")).ok();
            names.iter().position(|name| Some(*name) == key.as_deref())
        } else {
            names.iter().position(|name| *name == key)
        };
        if let Some(index) = index {
            found[index] = Some(&json[value]);
        }
    });
    match (is_json, is_object) {
        (Some(()), true) => Ok(found),
        (Some(()), false) => Err(Unfit::NotObject),
        (None, _) => Err(Unfit::NotJson),
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Where something ends that is not JSON, `None` stands for it.
impl Scanner<'_> {
    /// Passes over the whole text. Members of an outermost object are handed on: what stands between
    /// the quotation marks of the key, and the value.
    fn document(
        &mut self,
        is_object: &mut bool,
        mut member: impl FnMut(Range<usize>, Range<usize>),
    ) -> Option<()> {
        let mut open = Open::default();
        // Those of the outermost object.
        let (mut key, mut value) = (0..0, 0);
        self.space();
        loop {
            if open.depth == 1 {
                value = self.at;
            }
            match self.next()? {
                b'"' => self.string()?,
                b'{' => {
                    *is_object |= open.depth == 0;
                    open.push(true);
                    self.space();
                    if !self.take(b'}') {
                        self.key(&open, &mut key)?;
                        continue;
                    }
                    open.pop();
                }
                b'[' => {
                    open.push(false);
                    self.space();
                    if !self.take(b']') {
                        continue;
                    }
                    open.pop();
                }
                b'-' => {
                    let first = self.next()?;
                    self.number(first)?;
                }
                first @ b'0'..=b'9' => self.number(first)?,
                b't' => self.rest(b"rue")?,
                b'f' => self.rest(b"alse")?,
                b'n' => self.rest(b"ull")?,
                _ => return None,
            }
            // A value has ended, and whatever ends with it.
            loop {
                if open.depth == 1 && open.is_object() {
                    member(key.clone(), value..self.at);
                }
                self.space();
                if open.depth == 0 {
                    return (self.at == self.bytes.len()).then_some(());
                }
                match (self.next()?, open.is_object()) {
                    (b',', true) => {
                        self.space();
                        self.key(&open, &mut key)?;
                        break;
                    }
                    (b',', false) => {
                        self.space();
                        break;
                    }
                    (b'}', true) | (b']', false) => open.pop(),
                    _ => return None,
                }
            }
        }
    }

    /// Passes over a key and its colon.
    fn key(&mut self, open: &Open, key: &mut Range<usize>) -> Option<()> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.at;
        self.string()?;
        if open.depth == 1 {
            *key = start..self.at - 1;
        }
        self.space();
        if !self.take(b':') {
            return None;
        }
        self.space();
        Some(())
    }

    /// Passes over a string whose first quotation mark is behind (RFC 8259 §7).
    fn string(&mut self) -> Option<()> {
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            self.next().filter(u8::is_ascii_hexdigit)?;
                        }
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    /// Passes over a number whose first digit is behind (RFC 8259 §6).
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.take(b'.') {
            self.next().filter(u8::is_ascii_digit)?;
            self.digits();
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.next().filter(u8::is_ascii_digit)?;
            self.digits();
        }
        Some(())
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn rest(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| {
            self.at += word.len();
        })
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }
}

/// How many bytes come before the first quotation mark, backslash or control character. Eight are
/// looked at together.
fn plain(bytes: &[u8]) -> usize {
    /// The high bit of each byte that is less than `n`, or one behind such a byte.
    fn less(word: u64, n: u8) -> u64 {
        word.wrapping_sub(EACH * u64::from(n)) & !word
    }
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;

    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*eight);
        let quote = word ^ (EACH * u64::from(b'"'));
        let backslash = word ^ (EACH * u64::from(b'\\'));
        let found = (less(word, b' ') | less(quote, 1) | less(backslash, 1)) & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_special = |b: &u8| matches!(b, b'"' | b'\\' | 0..b' ');
    let rest = &bytes[at..];
    at + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The arrays and objects that have begun and not ended.
#[derive(Default)]
struct Open {
    depth: usize,
    /// The innermost ones, a bit each, that of the last one the lowest: whether it is an object.
    last: u64,
    /// Those around them.
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
mod tests {
    use super::*;

    #[test]
    fn members_are_found_where_they_lie() {
        let json =
            "{ \"a\" : [1, {\"b\": 2}] ,\"\\u0062\":-1.5e+3 , \"c\":{\"a\":0},\"a\": null}\n";
        assert_eq!(
            members(json, ["a", "b", "c", "d"]),
            Ok([Some("null"), Some("-1.5e+3"), Some("{\"a\":0}"), None])
        );
        assert_eq!(members("{}", ["a"]), Ok([None]));
        assert_eq!(members("[{\"a\":1}]", ["a"]), Err(Unfit::NotObject));
        assert_eq!(members("{\"a\":1", ["a"]), Err(Unfit::NotJson));
        assert_eq!(members("{} {}", ["a"]), Err(Unfit::NotJson));
        // A key that no Rust string holds.
        assert_eq!(members(r#"{"\ud800":1}"#, [""]), Ok([None]));
    }

    #[test]
    fn any_depth_is_left_in_the_order_that_it_was_entered() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 1_000_000] {
            let mut json = r#"[{"a":"#.repeat(depth) + "0";
            json += &"}]".repeat(depth);
            assert_eq!(members(&json, [""]), Err(Unfit::NotObject), "{depth}");
            json.pop();
            assert_eq!(members(&json, [""]), Err(Unfit::NotJson), "{depth}");
            json.push('}');
            assert_eq!(members(&json, [""]), Err(Unfit::NotJson), "{depth}");
        }
    }

    #[test]
    fn what_ends_a_string_is_found_wherever_it_is() {
        for length in 0..40 {
            for byte in 0..=u8::MAX {
                let mut bytes = vec![b'x'; length];
                bytes.push(byte);
                bytes.extend(b"y\"");
                let is_special = byte < b' ' || byte == b'"' || byte == b'\\';
                let wanted = if is_special { length } else { length + 2 };
                assert_eq!(plain(&bytes), wanted, "{length} {byte}");
            }
        }
    }
}
