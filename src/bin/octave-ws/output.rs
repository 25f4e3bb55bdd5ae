//! Records on standard output.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use crate::exit::Failure;

/// Writes whole lines, together while there are more to come.
pub(crate) struct Output(BufWriter<File>);

impl Output {
    pub(crate) fn stdout() -> io::Result<Self> {
        // Not `Stdout`, which flushes at each line break.
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self(BufWriter::with_capacity(64 << 10, stdout.into())))
    }

    /// Writes one JSON document as one line, sooner or later.
    pub(crate) fn write(&mut self, json: &str) -> io::Result<()> {
        self.0.write_all(one_line(json).as_bytes())?;
        self.0.write_all(b"\n")
    }

    /// Writes what has been held back.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Prints a text that is all there is to print.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let written = Output::stdout().and_then(|mut output| {
        output.0.write_all(text.trim_end().as_bytes())?;
        output.0.write_all(b"\n")?;
        output.flush()
    });
    match written {
        // Whoever does not read it misses nothing.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| Failure::output(&error)),
    }
}

/// Raw line breaks stand between tokens only (RFC 8259 §7): they can be left out.
fn one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) {
        Cow::Owned(json.replace(['\n', '\r'], ""))
    } else {
        Cow::Borrowed(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_raw_line_breaks_are_left_out() {
        assert_eq!(one_line("{\r\n \"a\": \"\\n\"\n}"), "{ \"a\": \"\\n\"}");
        assert!(matches!(one_line("{ }"), Cow::Borrowed("{ }")));
    }
}
