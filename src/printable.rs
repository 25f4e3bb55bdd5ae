use std::fmt;

/// Displays a text from outside safely: characters that control a terminal, break a line or change
/// the direction of writing are escaped, as `\u{1b}`.
///
/// ```
/// use octave_ws::Printable;
///
/// assert_eq!(Printable("no \u{1b}[2J such stream").to_string(), r"no \u{1b}[2J such stream");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(is_hostile) {
            let (plain, hostile) = rest.split_at(at);
            let mut chars = hostile.chars();
            f.write_str(plain)?;
            if let Some(c) = chars.next() {
                write!(f, "{}", c.escape_unicode())?;
            }
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

/// Maximum length of a shown peer's text, in bytes.
const LIMIT: usize = 200;

/// Returns a peer's words, fit to be shown: escaped, and cut.
pub(crate) fn escape_words(text: &str) -> String {
    // Escaping makes no character shorter.
    let text = text.trim();
    let mut end = text.len().min(LIMIT + 1);
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let mut shown = Printable(&text[..end]).to_string();
    if shown.len() > LIMIT {
        let fits = |&at: &usize| shown.is_char_boundary(at);
        let end = (0..=LIMIT).rev().find(fits).unwrap_or_default();
        shown.truncate(end);
        shown.push_str("...");
    }
    shown
}

/// Controls (C0, C1), line and paragraph separators, and what reorders text or is not seen.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                // Tags, that may spell out whatever they like.
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_characters_are_escaped() {
        for (text, shown) in [
            ("plain, h\u{e9}, \u{6f22}", "plain, h\u{e9}, \u{6f22}"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("a\nb\r", "a\\u{a}b\\u{d}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}txt.exe\u{2066}", "\\u{202e}txt.exe\\u{2066}"),
            ("\u{2028}", "\\u{2028}"),
            ("a\u{e0041}\u{e007f}", "a\\u{e0041}\\u{e007f}"),
        ] {
            assert_eq!(Printable(text).to_string(), shown);
        }
    }
}
