//! Records, on standard output or in a file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::mem;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use octave_ws::Stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_getfd};

use crate::exit::{End, Failure, INCOMPLETE};
use crate::place::{self, Part, Place};

/// Writes whole lines, together while there are more to come.
pub(crate) struct Output {
    file: File,
    /// As errors name it.
    name: String,
    lines: Vec<u8>,
    stop: Stop,
    /// Whether a write may have to wait for a reader.
    has_reader: bool,
    /// When to wait no longer, once it is stopped.
    until: Option<Instant>,
    /// Where the file is still to be put in its place.
    part: Option<Part>,
}

/// As many bytes are no longer held back.
const ENOUGH: usize = 64 << 10;

/// A pipe that poll(2) finds writable takes as much without waiting (POSIX: `PIPE_BUF`, and a page
/// on Linux).
const AT_ONCE: usize = 4096;

/// How long a reader that reads nothing is waited for, once it is stopped.
const LAST_WAIT: Duration = Duration::from_millis(300);

impl Output {
    pub(crate) fn stdout(stop: &Stop) -> Result<Self, End> {
        let name = "standard output";
        // Not `Stdout`, which flushes at each line break.
        let file = if CLOSED.load(Ordering::Relaxed) {
            Err(Errno::BADF.into())
        } else {
            io::stdout().as_fd().try_clone_to_owned().map(File::from)
        };
        file.and_then(|file| Self::new(file, name, stop))
            .map_err(|error| End::of_output(name, &error))
    }

    /// A file that is appended to, and can be [opened again](Output::reopen).
    pub(crate) fn appended(path: &str, stop: &Stop) -> Result<Self, End> {
        Self::append(path, stop).map_err(|error| End::of_output(path, &error))
    }

    fn append(path: &str, stop: &Stop) -> io::Result<Self> {
        let file = match Place::of(Path::new(path), stop)? {
            Place::Stream(file) => file,
            Place::File(place) => {
                let (file, torn) = place::append(&place)?;
                if torn > 0 {
                    log::warn!("output: {path}: a torn last line was cut off, {torn} bytes");
                }
                file
            }
        };
        Self::new(file, path, stop)
    }

    /// Opens the file again under its name, which may be that of another one by now. What was
    /// written before stays in the old one.
    pub(crate) fn reopen(&mut self) -> Result<(), End> {
        self.flush()?;
        let again = Self::appended(&self.name, &self.stop)?;
        (self.file, self.has_reader) = (again.file, again.has_reader);
        log::info!("output: {} is open again", self.name);
        Ok(())
    }

    /// A file that is there once it is [finished](Output::finish), and as it was until then.
    ///
    /// # Errors
    /// 75 where another process is about to write the same file.
    pub(crate) fn whole_file(path: &str, stop: &Stop) -> Result<Self, End> {
        let output = Place::of(Path::new(path), stop).and_then(|place| match place {
            Place::Stream(file) => Self::new(file, path, stop),
            Place::File(file) => {
                let part = Part::create(file)?;
                let mut output = Self::new(part.file().try_clone()?, path, stop)?;
                output.part = Some(part);
                Ok(output)
            }
        });
        output.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                let message = format!("output: another run is writing {path}.part");
                Failure::new(INCOMPLETE, message).into()
            }
            _ => End::of_output(path, &error),
        })
    }

    fn new(file: File, name: &str, stop: &Stop) -> io::Result<Self> {
        Ok(Self {
            has_reader: !file.metadata()?.is_file(),
            file,
            name: name.to_owned(),
            lines: Vec::new(),
            stop: stop.clone(),
            until: None,
            part: None,
        })
    }

    /// Whether lines stay where they are written.
    pub(crate) fn is_file(&self) -> bool {
        !self.has_reader
    }

    /// Writes one JSON document as one line, sooner or later.
    pub(crate) fn write(&mut self, json: &str) -> Result<(), End> {
        self.lines.extend_from_slice(one_line(json).as_bytes());
        self.lines.push(b'\n');
        if self.lines.len() < ENOUGH {
            return Ok(());
        }
        self.flush()
    }

    /// Writes what has been held back. After an error it is gone.
    pub(crate) fn flush(&mut self) -> Result<(), End> {
        let mut lines = mem::take(&mut self.lines);
        let written = if self.has_reader {
            self.write_to_reader(&lines)
        } else {
            self.write_to_file(&lines)
        };
        lines.clear();
        // One long line does not take its memory for good.
        lines.shrink_to(ENOUGH);
        self.lines = lines;
        written.map_err(|error| End::of_output(&self.name, &error))
    }

    /// All that there is has been written: a file that was to be whole is.
    pub(crate) fn finish(&mut self) -> Result<(), End> {
        let finished = self.part.take().map_or(Ok(()), |part| part.finish());
        finished.map_err(|error| End::of_output(&self.name, &error))
    }

    /// Leaves no part of a line where not all of it fits.
    fn write_to_file(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let torn = bytes[..written].rsplit(|&b| b == b'\n').next();
                    self.cut(torn.map_or(0, <[u8]>::len));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes the last bytes away again, if they are the file's last.
    fn cut(&mut self, length: usize) {
        let end = self.file.metadata().map(|metadata| metadata.len());
        if let (Ok(end), Ok(position)) = (end, self.file.stream_position())
            && end == position
        {
            // It was of no use to the one who gets the error, either.
            let _ = self.file.set_len(end - length as u64);
        }
    }

    fn write_to_reader(&mut self, mut bytes: &[u8]) -> io::Result<()> {
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
        done => done.map_err(|error| Failure::output("standard output", &error)),
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
