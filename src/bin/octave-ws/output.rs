//! Records on standard output.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, fcntl_getfd};

use crate::exit::Failure;

/// Writes whole lines, together while there are more to come.
pub(crate) struct Output {
    file: File,
    lines: Vec<u8>,
}

/// As many bytes are no longer held back.
const ENOUGH: usize = 64 << 10;

impl Output {
    pub(crate) fn stdout() -> io::Result<Self> {
        if CLOSED.load(Ordering::Relaxed) {
            return Err(Errno::BADF.into());
        }
        // Not `Stdout`, which flushes at each line break.
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self {
            file: stdout.into(),
            lines: Vec::new(),
        })
    }

    /// Writes one JSON document as one line, sooner or later.
    pub(crate) fn write(&mut self, json: &str) -> io::Result<()> {
        self.lines.extend_from_slice(one_line(json).as_bytes());
        self.lines.push(b'\n');
        if self.lines.len() < ENOUGH {
            return Ok(());
        }
        self.flush()
    }

    /// Writes what has been held back. After an error it is gone.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.lines);
        self.lines.clear();
        // One long line does not take its memory for good.
        self.lines.shrink_to(ENOUGH);
        written
    }
}

/// Whether the process began without a standard output.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before `main`: by then, Rust has put /dev/null where nothing was, and records would vanish
/// in it as if they had been written.
#[allow(unsafe_code, reason = "nothing that is safe runs before main")]
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_CLOSED: extern "C" fn() = note_closed;

#[cfg(target_os = "linux")]
extern "C" fn note_closed() {
    let closed = fcntl_getfd(rustix::stdio::stdout()) == Err(Errno::BADF);
    CLOSED.store(closed, Ordering::Relaxed);
}

/// Prints a text that is all there is to print.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let written = Output::stdout().and_then(|mut output| {
        output.lines = format!("{}\n", text.trim_end()).into_bytes();
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
