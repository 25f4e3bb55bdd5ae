//! Edits a line at a terminal: keys in, lines out.

use std::collections::VecDeque;
use std::mem;
use std::str;

use unicode_width::UnicodeWidthChar;

use crate::commands::shell::cut::LONGEST;

/// A line that is edited, and those before it.
#[derive(Default)]
pub(crate) struct Editor {
    line: Vec<char>,
    /// Index of the character before which the next one is inserted.
    cursor: usize,
    history: VecDeque<Vec<char>>,
    /// Index of the edited history line; the length of the history for a new line.
    recalled: usize,
    /// The beginning of a key.
    rest: Vec<u8>,
}

/// The effect of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyEvent {
    /// The line is done.
    Line(String),
    /// The line was discarded with ^C.
    GivenUp(String),
    /// There will be none any more.
    End,
}

/// The number of lines in the history.
const REMEMBERED: usize = 100;

/// The maximum length of a line in the history, in characters.
const LONGEST_REMEMBERED: usize = 4096;

impl Editor {
    /// Takes what was typed, which may end within a key.
    pub(crate) fn press(&mut self, bytes: &[u8]) -> Vec<KeyEvent> {
        let mut typed = mem::take(&mut self.rest);
        typed.extend_from_slice(bytes);
        let mut rest = &typed[..];
        let mut pressed = Vec::new();
        while !rest.is_empty() {
            let Some((key, behind)) = split_key(rest) else {
                self.rest = rest.to_vec();
                break;
            };
            pressed.extend(self.key(key));
            rest = behind;
        }
        pressed
    }

    /// Returns whether nothing has been typed since the last line.
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Returns the line in as many columns, the cursor among them, and how many of them are behind
    /// that.
    pub(crate) fn window(&self, columns: usize) -> (String, usize) {
        let (before, behind) = self.line.split_at(self.cursor);
        // Behind the end, the cursor has a column of its own.
        let mut left = columns.saturating_sub(behind.first().map_or(1, |&c| width(c)));
        let mut fits = |c: &&char| {
            let fitted = left.checked_sub(width(**c));
            left = fitted.unwrap_or(left);
            fitted.is_some()
        };
        let start = self.cursor - before.iter().rev().take_while(&mut fits).count();
        // A mark is not shown without the character below it.
        let marks = before[start..].iter().take_while(|&&c| width(c) == 0);
        let start = start + if start > 0 { marks.count() } else { 0 };
        let shown_behind = behind.iter().skip(1).take_while(&mut fits).count();
        let end = self.line.len().min(self.cursor + 1 + shown_behind);
        let behind = self.line[self.cursor..end].iter().map(|&c| width(c)).sum();
        (self.line[start..end].iter().collect(), behind)
    }

    /// Returns the start of the character before the cursor, with its combining marks.
    fn previous(&self) -> usize {
        let before = &self.line[..self.cursor];
        before.iter().rposition(|&c| width(c) > 0).unwrap_or(0)
    }

    /// Returns the end of the character at the cursor, with its combining marks.
    fn next(&self) -> usize {
        let behind = self.line.iter().skip(self.cursor + 1);
        let marks = behind.take_while(|&&c| width(c) == 0).count();
        self.line.len().min(self.cursor + 1 + marks)
    }

    fn key(&mut self, key: &[u8]) -> Option<KeyEvent> {
        match key {
            b"\r" | b"\n" => return Some(self.enter()),
            b"\x03" => {
                self.cursor = 0;
                self.recalled = self.history.len();
                return Some(KeyEvent::GivenUp(
                    mem::take(&mut self.line).iter().collect(),
                ));
            }
            b"\x04" if self.line.is_empty() => return Some(KeyEvent::End),
            b"\x04" | b"\x1b[3~" => self.cut(self.cursor, self.next()),
            b"\x7f" | b"\x08" => self.cut(self.previous(), self.cursor),
            b"\x15" => self.cut(0, self.cursor),
            b"\x0b" => self.cut(self.cursor, self.line.len()),
            b"\x17" => self.cut(self.start_of_word(), self.cursor),
            b"\x01" | b"\x1b[H" | b"\x1bOH" | b"\x1b[1~" => self.cursor = 0,
            b"\x05" | b"\x1b[F" | b"\x1bOF" | b"\x1b[4~" => self.cursor = self.line.len(),
            b"\x02" | b"\x1b[D" | b"\x1bOD" => self.cursor = self.previous(),
            b"\x06" | b"\x1b[C" | b"\x1bOC" => self.cursor = self.next(),
            b"\x10" | b"\x1b[A" | b"\x1bOA" => self.recall(self.recalled.saturating_sub(1)),
            b"\x0e" | b"\x1b[B" | b"\x1bOB" => self.recall(self.recalled + 1),
            // Bytes that are not UTF-8 are no key.
            key => {
                let c = str::from_utf8(key).ok().and_then(|key| key.chars().next());
                if let Some(c) = c.filter(|c| !c.is_control() && self.line.len() <= LONGEST) {
                    self.line.insert(self.cursor, c);
                    self.cursor += 1;
                }
            }
        }
        None
    }

    fn enter(&mut self) -> KeyEvent {
        let line = mem::take(&mut self.line);
        self.cursor = 0;
        let is_long = line.len() > LONGEST_REMEMBERED;
        if !line.is_empty() && !is_long && self.history.back() != Some(&line) {
            self.history.push_back(line.clone());
            if self.history.len() > REMEMBERED {
                self.history.pop_front();
            }
        }
        self.recalled = self.history.len();
        KeyEvent::Line(line.into_iter().collect())
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.line.drain(from..to.min(self.line.len()).max(from));
        self.cursor = from;
    }

    fn start_of_word(&self) -> usize {
        let before = &self.line[..self.cursor];
        let end = before
            .iter()
            .rposition(|c| *c != ' ')
            .map_or(0, |at| at + 1);
        let blank = before[..end].iter().rposition(|c| *c == ' ');
        blank.map_or(0, |at| at + 1)
    }

    fn recall(&mut self, which: usize) {
        self.recalled = which.min(self.history.len());
        self.line = self.history.get(self.recalled).cloned().unwrap_or_default();
        self.cursor = self.line.len();
    }
}

/// Returns the columns of a character: 0 for a combining mark.
fn width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Returns the first key and what follows it; `None` where it is not whole.
fn split_key(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_final = |b: &u8| (0x40..0x7f).contains(b);
    let length = match bytes {
        // ECMA-48: parameters, and a letter at the end.
        [0x1b, b'[', rest @ ..] => 3 + rest.iter().position(is_final)?,
        [0x1b, b'O', ..] => 3,
        [0x1b, ..] => 2,
        _ => match str::from_utf8(&bytes[..bytes.len().min(4)]) {
            Err(error) if error.valid_up_to() == 0 => error.error_len()?,
            _ => match bytes.first()? {
                ..0x80 => 1,
                ..0xe0 => 2,
                ..0xf0 => 3,
                _ => 4,
            },
        },
    };
    bytes.split_at_checked(length)
}

#[cfg(test)]
mod tests {

    use super::*;

    fn line(keys: &str) -> String {
        let mut editor = Editor::default();
        match editor.press(format!("{keys}\r").as_bytes()).pop() {
            Some(KeyEvent::Line(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_edit_the_line() {
        for (keys, expected) in [
            ("abc", "abc"),
            ("abc\x7f\x7fd", "ad"),
            ("bc\x01a\x05d", "abcd"),
            ("ac\x1b[Db\x1b[Cd", "abcd"),
            ("abc\x1b[D\x1b[D\x1b[3~", "ac"),
            ("one two  \x17three", "one three"),
            ("one two\x01\x06\x0b", "o"),
            ("one two\x02\x15", "o"),
            ("\x7f\x1b[3~\x1b[D\x1b[A\x1b[B\x17", ""),
            ("a\x1b[1;5Cb\x1bxc\x1b[200~", "abc"),
            ("h\u{e9}\u{20ac}\u{1f600}\x7f!", "h\u{e9}\u{20ac}!"),
            ("a\tb\0", "ab"),
            // A character goes with the marks above it.
            ("xe\u{301}\u{302}\x7fy", "xy"),
            ("xe\u{301}\x1b[Dy\x1b[Cz", "xye\u{301}z"),
            ("xe\u{301}y\x01\x06\x04", "xy"),
        ] {
            assert_eq!(line(keys), expected, "{keys:?}");
        }
    }

    #[test]
    fn an_invalid_utf_8_byte_affects_no_other() {
        for stray in [
            &b"\xff"[..],
            b"\x80",
            b"\xe9",
            b"\xc3",
            b"\xf0\x9f",
            b"\xed\xa0\x80",
        ] {
            let mut editor = Editor::default();
            let typed = [b"ab", stray, b"cd\r"].concat();
            let pressed: Vec<_> = typed
                .chunks(1)
                .flat_map(|byte| editor.press(byte))
                .collect();
            assert_eq!(pressed, [KeyEvent::Line("abcd".to_owned())], "{stray:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut editor = Editor::default();
        let piece = "x".repeat(LONGEST);
        editor.press(piece.as_bytes());
        editor.press(piece.as_bytes());
        let line = KeyEvent::Line("x".repeat(LONGEST + 1));
        assert!(editor.press(b"\r") == [line]);
        assert!(editor.history.is_empty());
    }

    #[test]
    fn a_window_is_as_wide_as_the_columns_of_its_characters() {
        let mut editor = Editor::default();
        editor.press("a\u{6e29}e\u{301}\u{5ea6}b".as_bytes());
        assert_eq!(editor.window(20).1, 0);
        assert_eq!(editor.window(5), ("e\u{301}\u{5ea6}b".to_owned(), 0));
        assert_eq!(editor.window(4), ("\u{5ea6}b".to_owned(), 0));
        editor.press(b"\x1b[D\x1b[D");
        assert_eq!(editor.window(20).1, 3);
        assert_eq!(editor.window(3), ("e\u{301}\u{5ea6}".to_owned(), 2));
        assert_eq!(editor.window(2), ("\u{5ea6}".to_owned(), 2));
        editor.press(b"\x01");
        assert_eq!(editor.window(4), ("a\u{6e29}e\u{301}".to_owned(), 4));
    }

    #[test]
    fn lines_are_recalled_and_the_end_is_an_empty_one() {
        let mut editor = Editor::default();
        let pressed = editor.press(b"one\rtwo\rtwo\r\r\x1b[A\x1b[A!\r\x10\x10\x0e\x04\x0e\x04");
        let lines = ["one", "two", "two", "", "one!"];
        let lines = lines.map(|line| KeyEvent::Line(line.to_owned()));
        assert_eq!(pressed[..5], lines);
        assert_eq!(pressed[5..], [KeyEvent::End]);
    }

    #[test]
    fn a_long_line_is_shown_around_its_cursor() {
        let mut editor = Editor::default();
        editor.press(b"0123456789");
        assert_eq!(editor.window(20), ("0123456789".to_owned(), 0));
        assert_eq!(editor.window(4), ("789".to_owned(), 0));
        editor.press(b"\x01");
        assert_eq!(editor.window(4), ("0123".to_owned(), 4));
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;
        use crate::seed::property;

        proptest! {
            #![proptest_config(property(256))]

            /// For any input, cut anywhere: the same lines.
            #[test]
            fn keys_come_in_any_pieces(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x1b), Just(b'['), Just(0xe6), Just(0xcc), Just(0x81)], 0..60), at in 0_usize..60, columns in 2_usize..20) {
                let (mut whole, mut cut) = (Editor::default(), Editor::default());
                let (first, second) = bytes.split_at(at.min(bytes.len()));
                let mut pressed = cut.press(first);
                cut.window(columns);
                pressed.extend(cut.press(second));
                prop_assert_eq!(whole.press(&bytes), pressed);
                let (window, behind) = whole.window(columns);
                let shown: usize = window.chars().map(width).sum();
                prop_assert!(shown <= columns && behind <= shown);
            }
        }
    }
}
