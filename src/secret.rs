use std::cmp::Reverse;
use std::fmt;

use crate::printable::Printable;

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

    /// The token itself.
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

/// Makes a peer's words fit to be shown: secrets that it may have echoed are taken out, what could
/// steer a terminal is escaped, and at most 200 bytes are left.
#[derive(Clone)]
pub(crate) struct Quote {
    secrets: Vec<String>,
}

impl Quote {
    const LIMIT: usize = 200;

    pub(crate) fn new(token: &Token) -> Self {
        let mut quote = Self {
            secrets: Vec::new(),
        };
        quote.hide(token.expose_secret());
        quote
    }

    pub(crate) fn hide(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.secrets.push(secret.to_owned());
        }
        // One that is part of another would leave the rest of that.
        self.secrets.sort_by_key(|secret| Reverse(secret.len()));
    }

    pub(crate) fn quote(&self, words: &str) -> String {
        let words = self.redact(words.trim());
        let mut shown = Printable(&words).to_string();
        if shown.len() > Self::LIMIT {
            let fits = |&at: &usize| shown.is_char_boundary(at);
            let end = (0..=Self::LIMIT).rev().find(fits).unwrap_or_default();
            shown.truncate(end);
            shown.push_str("...");
        }
        shown
    }

    /// In one go, so that none is found in what stands for another.
    fn redact(&self, mut words: &str) -> String {
        let mut shown = String::new();
        while let Some(first) = words.chars().next() {
            let found = self.secrets.iter();
            let found = found
                .map(String::as_str)
                .find(|&secret| words.starts_with(secret));
            let length = if let Some(secret) = found {
                shown.push_str("[redacted]");
                secret.len()
            } else {
                shown.push(first);
                first.len_utf8()
            };
            words = &words[length..];
        }
        shown
    }
}

impl fmt::Debug for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quote(redacted)")
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
    fn words_of_a_peer_are_made_fit_to_be_shown() {
        let mut quote = Quote::new(&Token::new("tok"));
        quote.hide("sid");
        quote.hide("a-sid.tok");
        quote.hide("e");
        assert_eq!(
            quote.quote(" a-sid.tok: bad tok for\u{1b}[2J sid\u{9b}\u{202e}e "),
            "[redacted]: bad [redacted] for\\u{1b}[2J [redacted]\\u{9b}\\u{202e}[redacted]"
        );
        assert_eq!(
            quote.quote(&"\u{e9}".repeat(300)),
            format!("{}...", "\u{e9}".repeat(100))
        );
    }
}
