use std::fmt;

use crate::printable;

/// An API token. `Debug` is redacted, and there is no `Display`.
///
/// ```
/// use octave_ws::Token;
///
/// assert_eq!(format!("{:?}", Token::new("hunter2\n")), "Token(redacted)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Makes a token of a text, without the white space around it, such as the line break at the end
    /// of a file.
    pub fn new(token: impl AsRef<str>) -> Self {
        Self(token.as_ref().trim().to_owned())
    }

    /// Returns the token itself.
    pub(crate) fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// A URL in which a secret may stand, as a user and a password do. `Debug` leaves those out.
#[derive(Clone)]
pub(crate) struct Url(String);

impl Url {
    pub(crate) fn new(url: String) -> Self {
        Self(url)
    }

    pub(crate) fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        match rest.rsplit_once('@') {
            Some((_, host)) => write!(f, "\"{scheme}://(redacted)@{}\"", host.escape_debug()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// Makes a peer's text safe to show: removes secrets that the peer may have echoed, escapes control
/// characters, and cuts the text at 200 bytes.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    /// The last one was added last.
    secrets: Vec<String>,
}

/// Maximum number of secrets: those of several connections, since a service may echo an earlier one.
const MAX_SECRETS: usize = 64;

impl Redactor {
    pub(crate) fn hide(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        self.secrets.retain(|known| known != secret);
        if self.secrets.len() == MAX_SECRETS {
            self.secrets.remove(0);
        }
        self.secrets.push(secret.to_owned());
    }

    pub(crate) fn redact(&self, words: &str) -> String {
        printable::escape_words(&self.remove_secrets(words.trim()))
    }

    /// Replaces all secrets in one pass, so that no secret is found in a replacement.
    fn remove_secrets(&self, mut words: &str) -> String {
        let mut shown = String::new();
        while let Some(first) = words.chars().next() {
            let secrets = self.secrets.iter();
            // The longest: a secret may be part of another.
            let found = secrets.filter_map(|secret| spelled(words, secret)).max();
            let length = if let Some(length) = found {
                shown.push_str("[redacted]");
                length
            } else {
                shown.push(first);
                first.len_utf8()
            };
            words = &words[length..];
        }
        shown
    }
}

/// Returns the length of the secret at the beginning of a text: as it is, or as pages, JSON and
/// URLs spell it.
fn spelled(text: &str, secret: &str) -> Option<usize> {
    let mut rest = text;
    let mut left = secret.as_bytes();
    while !left.is_empty() {
        let mut buffer = [0; 4];
        let first = rest.chars().next()?;
        // A character that begins escapes may stand for itself.
        let escaped = escaped(rest).filter(|(bytes, _)| left.starts_with(bytes));
        let (bytes, length) = match &escaped {
            Some((bytes, length)) => (&bytes[..], *length),
            None => (first.encode_utf8(&mut buffer).as_bytes(), first.len_utf8()),
        };
        left = left.strip_prefix(bytes)?;
        rest = &rest[length..];
    }
    Some(text.len() - rest.len())
}

/// Returns the bytes that an escape at the beginning of a text stands for, and how long it is.
fn escaped(text: &str) -> Option<(Vec<u8>, usize)> {
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok();
    if let Some(rest) = text.strip_prefix('%') {
        let byte = u8::from_str_radix(rest.get(..2)?, 16).ok()?;
        return Some((vec![byte], 3));
    }
    let (found, length) = if let Some(rest) = text.strip_prefix("\\u") {
        (number(rest.get(..4)?, 16)?, 6)
    } else if let Some(rest) = text.strip_prefix('\\') {
        (rest.chars().next().filter(char::is_ascii)?.into(), 2)
    } else {
        let (name, _) = text.strip_prefix('&')?.split_once(';')?;
        let found = match name {
            "amp" => '&'.into(),
            "lt" => '<'.into(),
            "gt" => '>'.into(),
            "quot" => '"'.into(),
            "apos" => '\''.into(),
            _ => match name.strip_prefix('#')? {
                hex if hex.starts_with(['x', 'X']) => number(&hex[1..], 16)?,
                digits => number(digits, 10)?,
            },
        };
        (found, name.len() + 2)
    };
    let found = char::from_u32(found)?.to_string();
    Some((found.into_bytes(), length))
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_in_debug() {
        assert_eq!(format!("{:?}", Token::new("hunter2\n")), "Token(redacted)");
        for (url, shown) in [
            ("https://u:p@h@host/p", "\"https://(redacted)@host/p\""),
            ("u:p@host\n", "\"://(redacted)@host\\n\""),
            ("https://host", "\"https://host\""),
        ] {
            assert_eq!(format!("{:?}", Url::new(url.to_owned())), shown);
        }
    }

    #[test]
    fn a_secret_is_known_in_each_spelling() {
        let mut redactor = Redactor::default();
        redactor.hide("a/b+c&<\u{e4}");
        for echoed in [
            "a/b+c&<\u{e4}",
            "a%2Fb%2bc%26%3C%C3%A4",
            "a%2Fb+c&<%c3%a4",
            r"a\/b\u002bc\u0026\u003C\u00e4",
            "a&#47;b&#x2B;c&amp;&lt;&#228;",
            "%61/b+c&amp;&lt;\u{e4}",
        ] {
            let told = redactor.redact(&format!("no {echoed} here"));
            assert_eq!(told, "no [redacted] here", "{echoed}");
        }
        for other in ["a%2", "a/b", "a&#47", "a\\", "a%zz", "&;", "a&#x;"] {
            assert_eq!(redactor.redact(other), other);
        }
    }

    #[test]
    fn words_of_a_peer_are_made_fit_to_be_shown() {
        let mut redactor = Redactor::default();
        redactor.hide("tok");
        redactor.hide("sid");
        redactor.hide("a-sid.tok");
        redactor.hide("e");
        assert_eq!(
            redactor.redact(" a-sid.tok: bad tok for\u{1b}[2J sid\u{9b}\u{202e}e "),
            "[redacted]: bad [redacted] for\\u{1b}[2J [redacted]\\u{9b}\\u{202e}[redacted]"
        );
        assert_eq!(
            redactor.redact(&"\u{e9}".repeat(300)),
            format!("{}...", "\u{e9}".repeat(100))
        );
    }
}
