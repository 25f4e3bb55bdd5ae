//! Input, cut into commands.

use std::collections::VecDeque;
use std::mem;

/// The maximum size of a command, in bytes.
pub(crate) const LONGEST: usize = 1 << 20;

/// Commands of an input that comes in pieces: a line each, or JSON over several lines.
#[derive(Default)]
pub(crate) struct Commands {
    whole: VecDeque<Result<String, Refused>>,
    /// The beginning of the next one.
    begun: Vec<u8>,
    kind: Kind,
    is_too_long: bool,
}

/// Input that is not a command, and is dropped whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    LongLine,
    LongJson,
    NotUtf8,
}

#[derive(Default)]
enum Kind {
    #[default]
    Blank,
    Words,
    Json(Braces),
}

impl Commands {
    /// Takes a piece of a line, its end excepted.
    pub(crate) fn take(&mut self, piece: &[u8]) {
        for &byte in piece {
            match &mut self.kind {
                Kind::Json(braces) => braces.take(byte),
                Kind::Words => break,
                Kind::Blank if byte.is_ascii_whitespace() => {}
                Kind::Blank if byte == b'{' => self.kind = Kind::Json(Braces::opened()),
                Kind::Blank => self.kind = Kind::Words,
            }
        }
        if self.is_too_long {
            return;
        }
        if self.begun.len() + piece.len() > LONGEST {
            self.is_too_long = true;
            self.begun = Vec::new();
            self.whole.push_back(Err(match self.kind {
                Kind::Json(_) => Refused::LongJson,
                _ => Refused::LongLine,
            }));
        } else {
            self.begun.extend_from_slice(piece);
        }
    }

    /// Takes the end of a line. JSON continues until its braces are closed.
    pub(crate) fn end_line(&mut self) {
        if self.is_json_open() {
            self.take(b"\n");
            return;
        }
        let is_too_long = self.is_too_long;
        let begun = self.give_up();
        if !is_too_long {
            let command = String::from_utf8(begun).map_err(|_| Refused::NotUtf8);
            self.whole.push_back(command);
        }
    }

    /// Forgets the command that is not whole, and returns it.
    pub(crate) fn give_up(&mut self) -> Vec<u8> {
        self.kind = Kind::Blank;
        self.is_too_long = false;
        mem::take(&mut self.begun)
    }

    /// Returns the next one.
    pub(crate) fn pop(&mut self) -> Option<Result<String, Refused>> {
        self.whole.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    /// Returns whether JSON has begun whose braces are open.
    pub(crate) fn is_json_open(&self) -> bool {
        matches!(&self.kind, Kind::Json(braces) if braces.depth > 0)
    }
}

/// Counts the braces and brackets of JSON that are open.
struct Braces {
    depth: usize,
    is_string: bool,
    is_escaped: bool,
}

impl Braces {
    fn opened() -> Self {
        Self {
            depth: 1,
            is_string: false,
            is_escaped: false,
        }
    }

    fn take(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.is_string => self.is_escaped = true,
            b'"' => self.is_string = !self.is_string,
            b'{' | b'[' if !self.is_string => self.depth += 1,
            b'}' | b']' if !self.is_string => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

impl Refused {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::LongLine => "a line over 1 MiB is not a command",
            Self::LongJson => "JSON over 1 MiB is not sent",
            Self::NotUtf8 => "a line that is not UTF-8 is not a command",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the commands of an input that comes in pieces of `size` bytes.
    fn cut(input: &[u8], size: usize) -> Vec<Result<String, Refused>> {
        let mut commands = Commands::default();
        for piece in input.chunks(size) {
            for line in piece.split_inclusive(|&byte| byte == b'\n') {
                match line.strip_suffix(b"\n") {
                    Some(line) => {
                        commands.take(line);
                        commands.end_line();
                    }
                    None => commands.take(line),
                }
            }
        }
        std::iter::from_fn(|| commands.pop()).collect()
    }

    #[test]
    fn commands_are_lines_and_json_in_braces() {
        let input = b"one\n\n {\"a\": [\n\"}\\\"\",\n{}]}\n\xff\n{\"\xff\"}\ntwo {\nthree";
        let expected = [
            Ok("one".to_owned()),
            Ok(String::new()),
            Ok(" {\"a\": [\n\"}\\\"\",\n{}]}".to_owned()),
            Err(Refused::NotUtf8),
            Err(Refused::NotUtf8),
            Ok("two {".to_owned()),
        ];
        for size in 1..input.len() {
            assert_eq!(cut(input, size), expected, "{size}");
        }
    }

    #[test]
    fn an_oversized_line_is_refused_whole_and_at_once() {
        let long = "x".repeat(LONGEST);
        for size in [1000, 4096, 4 * LONGEST] {
            let input = format!("{long}\n{long}x\n{{\"a\":\"{long}\",\n\"b\":\n1}}\nnext\n");
            let commands = cut(input.as_bytes(), size);
            let expected = [
                Ok(long.clone()),
                Err(Refused::LongLine),
                Err(Refused::LongJson),
                Ok("next".to_owned()),
            ];
            assert!(commands == expected, "{size}");
            assert_eq!(
                cut(format!("{long}x").as_bytes(), size),
                [Err(Refused::LongLine)]
            );
        }
    }
}
