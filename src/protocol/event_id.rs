use std::fmt::{self, Write as _};

/// The id of an event, in 16 bytes. That of the documented form, a letter and 24 hexadecimal digits,
/// takes no memory beyond itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct EventId(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    Hex(u8, [u8; DIGITS / 2]),
    Other(Box<Box<str>>),
}

const DIGITS: usize = 24;

impl EventId {
    pub(crate) fn new(text: &str) -> Self {
        Self(hex(text).unwrap_or_else(|| Form::Other(Box::new(text.into()))))
    }
}

/// Reads the documented form, as [`EventId`] formats it.
fn hex(text: &str) -> Option<Form> {
    let (&letter, digits) = text.as_bytes().split_first()?;
    let digits: &[u8; DIGITS] = digits.try_into().ok()?;
    let mut bytes = [0; DIGITS / 2];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    letter
        .is_ascii_lowercase()
        .then_some(Form::Hex(letter, bytes))
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Hex(letter, bytes) => {
                f.write_char(char::from(*letter))?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Form::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_as_it_is_spelled() {
        for (text, is_short) in [
            ("e65f0c1a24b5a8d2c0c3a5001", true),
            ("e65F0C1A24B5A8D2C0C3A5001", false),
            ("E65f0c1a24b5a8d2c0c3a5001", false),
            ("e65f0c1a24b5a8d2c0c3a500g", false),
            ("e65f0c1a24b5a8d2c0c3a50", false),
            ("é5f0c1a24b5a8d2c0c3a5001", false),
            ("e1", false),
            ("", false),
        ] {
            let id = EventId::new(text);
            assert_eq!(id.to_string(), text);
            assert_eq!(matches!(id.0, Form::Hex(..)), is_short, "{text}");
            assert_eq!(id, EventId::new(text));
            assert_eq!(size_of_val(&id), 16);
        }
        assert_ne!(
            EventId::new("e65f0c1a24b5a8d2c0c3a5001"),
            EventId::new("s65f0c1a24b5a8d2c0c3a5001")
        );
    }
}
