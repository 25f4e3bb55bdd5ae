//! Records on standard output.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use octave_ws::Stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_getfd};

use crate::exit::Failure;

/// Writes whole lines, together while there are more to come.
pub(crate) struct Output {
    file: File,
    lines: Vec<u8>,
    stop: Stop,
    /// Whether a write may have to wait for a reader.
    has_reader: bool,
    /// When to wait no longer, once it is stopped.
    until: Option<Instant>,
}

/// As many bytes are no longer held back.
const ENOUGH: usize = 64 << 10;

/// A pipe that poll(2) finds writable takes as much without waiting (POSIX: `PIPE_BUF`, and a page
/// on Linux).
const AT_ONCE: usize = 4096;

/// How long a reader that reads nothing is waited for, once it is stopped.
const LAST_WAIT: Duration = Duration::from_millis(300);

impl Output {
    pub(crate) fn stdout(stop: &Stop) -> io::Result<Self> {
        if CLOSED.load(Ordering::Relaxed) {
            return Err(Errno::BADF.into());
        }
        // Not `Stdout`, which flushes at each line break.
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self {
            has_reader: !file.metadata()?.is_file(),
            file,
            lines: Vec::new(),
            stop: stop.clone(),
            until: None,
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
    ///
    /// # Errors
    /// `TimedOut` where it is stopped and nobody reads.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut lines = mem::take(&mut self.lines);
        let written = self.write_all(&lines);
        lines.clear();
        // One long line does not take its memory for good.
        lines.shrink_to(ENOUGH);
        self.lines = lines;
        written
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if !self.has_reader {
            return self.file.write_all(bytes);
        }
        while !bytes.is_empty() {
            self.wait()?;
            let (now, later) = bytes.split_at(at_once(bytes));
            self.file.write_all(now)?;
            bytes = later;
        }
        Ok(())
    }

    /// Waits until a write does not have to.
    fn wait(&mut self) -> io::Result<()> {
        loop {
            let left = self
                .until
                .map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
            let mut fds = [
                PollFd::new(&self.file, PollFlags::OUT),
                PollFd::new(&self.stop, PollFlags::IN),
            ];
            // Once it is stopped, that is no news.
            let watched = if self.until.is_some() { 1 } else { 2 };
            match poll(&mut fds[..watched], timeout.as_ref()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => self.until = Some(Instant::now() + LAST_WAIT),
            }
        }
    }
}

/// How much to write in one go: whole lines where they fit.
fn at_once(bytes: &[u8]) -> usize {
    let most = bytes.len().min(AT_ONCE);
    let end_of_line = bytes[..most].iter().rposition(|&b| b == b'\n');
    end_of_line.map_or(most, |at| at + 1)
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
    let written = if CLOSED.load(Ordering::Relaxed) {
        Err(Errno::BADF.into())
    } else {
        let text = format!("{}\n", text.trim_end());
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
    };
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
    fn whole_lines_are_written_where_they_fit() {
        assert_eq!(at_once(b"a\nbc\n"), 5);
        let long = [b"a\n".as_slice(), &[b'x'; AT_ONCE]].concat();
        assert_eq!(at_once(&long), 2);
        assert_eq!(at_once(&long[2..]), AT_ONCE);
    }

    #[test]
    fn only_raw_line_breaks_are_left_out() {
        assert_eq!(one_line("{\r\n \"a\": \"\\n\"\n}"), "{ \"a\": \"\\n\"}");
        assert!(matches!(one_line("{ }"), Cow::Borrowed("{ }")));
    }
}
