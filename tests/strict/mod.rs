//! A second parser of JSON, for a second opinion: the grammar of RFC 8259, and nothing else.

/// Whether a text is one JSON document.
pub(crate) fn is_json(text: &str) -> bool {
    let mut rest = Rest(text.as_bytes());
    // How what is open closes.
    let mut open = Vec::new();
    loop {
        // A value begins.
        rest.space();
        let is_begun = match rest.next() {
            Some(b'{') if rest.closes(b'}') => true,
            Some(b'{') => {
                open.push(b'}');
                if !rest.key() {
                    return false;
                }
                continue;
            }
            Some(b'[') if rest.closes(b']') => true,
            Some(b'[') => {
                open.push(b']');
                continue;
            }
            Some(b'"') => rest.string(),
            Some(b't') => rest.word(b"rue"),
            Some(b'f') => rest.word(b"alse"),
            Some(b'n') => rest.word(b"ull"),
            Some(first) => rest.number(first),
            None => false,
        };
        if !is_begun {
            return false;
        }
        // And is over, and maybe others with it.
        loop {
            rest.space();
            let Some(end) = open.last().copied() else {
                return rest.0.is_empty();
            };
            match rest.next() {
                Some(b',') if end == b']' => break,
                Some(b',') if rest.key() => break,
                Some(found) if found == end => drop(open.pop()),
                _ => return false,
            }
        }
    }
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let rest = self.0.strip_prefix(word);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn closes(&mut self, end: u8) -> bool {
        self.space();
        self.word(&[end])
    }

    fn key(&mut self) -> bool {
        self.space();
        self.word(b"\"") && self.string() && self.closes(b':')
    }

    /// What stands behind its first quotation mark.
    fn string(&mut self) -> bool {
        while let Some(byte) = self.next() {
            match byte {
                b'"' => return true,
                b'\\' => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u')
                        if (0..4).all(|_| self.next().is_some_and(|b| b.is_ascii_hexdigit())) => {}
                    _ => return false,
                },
                0..0x20 => return false,
                _ => {}
            }
        }
        false
    }

    fn digits(&mut self) -> usize {
        let length = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        self.0 = &self.0[length..];
        length
    }

    fn number(&mut self, first: u8) -> bool {
        let first = if first == b'-' {
            self.next()
        } else {
            Some(first)
        };
        match first {
            Some(b'0') => {}
            Some(b'1'..=b'9') => drop(self.digits()),
            _ => return false,
        }
        if self.word(b".") && self.digits() == 0 {
            return false;
        }
        if self.word(b"e") || self.word(b"E") {
            let _ = self.word(b"+") || self.word(b"-");
            return self.digits() > 0;
        }
        true
    }
}
