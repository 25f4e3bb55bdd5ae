//! What is said on standard error: a line each.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use crate::exit::Failure;

pub(crate) fn failure(failure: &Failure) {
    say("error: ", &failure.message);
}

pub(crate) fn warning(message: &str) {
    say("warning: ", message);
}

/// Something that went as it should.
pub(crate) fn note(message: &str) {
    say("", message);
}

fn say(kind: &str, message: &str) {
    // In one write(2), so that lines of several processes do not mix.
    let line = format!("{kind}{}\n", printable(message));
    // Where standard error is gone there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Nothing from outside steers a terminal or breaks a line.
fn printable(message: &str) -> String {
    message.chars().fold(String::new(), |mut line, c| {
        if c.is_control() {
            let _ = write!(line, "{}", c.escape_unicode());
        } else {
            line.push(c);
        }
        line
    })
}
