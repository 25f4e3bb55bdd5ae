//! Records, on standard output or in a file.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Seek, SeekFrom};
use std::iter;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Instant, SystemTime};

use memchr::memchr2;
use octave_ws::wait::poll;

use crate::exit::{End, Failure, INCOMPLETE};
use crate::format::Format;
use crate::format::header::Header;
use crate::output::parts::{parts, pieces};
pub(crate) use crate::output::print::print;
use crate::output::record::Line;
use crate::output::rotate::Rotated;
use crate::output::target::{Part, Target};
use crate::output::watched::Watched;
use crate::wait::sink::Sink;

mod begin;
mod descriptor;
pub(crate) mod folder;
mod last;
mod parts;
mod print;
pub(crate) mod record;
pub(crate) mod replace;
mod rights;
mod rotate;
pub(crate) mod state;
pub(crate) mod tail;
pub(crate) mod target;
pub(crate) mod text;
mod watched;
mod write;
mod zone;

/// Writes whole lines, together while there are more to come.
pub(crate) struct Output {
    sink: Sink,
    /// Its name in errors.
    name: String,
    lines: Vec<u8>,
    /// The bytes written of an unfinished line. 0 where the line cannot be finished.
    begun: usize,
    /// Ends of events in the buffered lines, and the lengths of their messages.
    events: Vec<(usize, u64)>,
    /// Number of events lost to an output that failed, and the total length of their messages.
    lost: (u64, u64),
    /// The `FILE.part`, until it is renamed.
    part: Option<Part>,
    missing_since: Option<SystemTime>,
    watched: Option<Watched>,
    format: Format,
    rotated: Option<Rotated>,
    /// Number of buffered bytes that are written at once.
    threshold: usize,
    header: Header,
    /// Whether a new file is still to be given its header.
    is_header_due: bool,
}

/// Number of buffered bytes that are written at once.
const FLUSH_THRESHOLD: usize = 64 << 10;

/// Maximum length of an escaped byte: `\u{1b}`.
const ESCAPED: usize = 6;

impl Output {
    pub(crate) fn stdout() -> Result<Self, End> {
        Self::opened(Sink::stdout(), "standard output")
    }

    /// Returns a file that is appended to, and can be [opened again](Output::reopen).
    ///
    /// # Errors
    /// 74 where that fails, and for a file that is not of this format.
    pub(crate) fn appended(path: &str, format: &Format) -> Result<Self, End> {
        let mut missing_since = None;
        let mut watched = None;
        let sink = Target::of(Path::new(path)).and_then(|place| match place {
            Target::Stream(sink) => Ok(sink),
            Target::File(place) => {
                let appended = target::append(&place, format.table())?;
                missing_since = appended.missing_since;
                watched = Some(Watched::new(path.into()));
                appended.tell(path);
                Ok(Sink::of_file(appended.file))
            }
        });
        match sink {
            Ok(sink) => Ok(Self {
                missing_since,
                watched,
                format: format.clone(),
                ..Self::new(sink, path)
            }),
            Err(error) => Err(End::of_opening(path, &error)),
        }
    }

    /// Opens the file again under its name, which may be that of another one by now. What was
    /// written before stays in the old one.
    pub(crate) fn reopen(&mut self) -> Result<(), End> {
        self.flush()?;
        self.finish()?;
        // Else this process itself would be found to write to it.
        target::unlock(self.sink.file());
        let again = Self::appended(&self.name, &self.format)?;
        (self.sink, self.watched) = (again.sink, again.watched);
        if let Some(rotated) = &mut self.rotated {
            // A link may lead elsewhere by now.
            let place = fs::canonicalize(&self.name);
            let opened = place.and_then(|place| rotated.reopened(place, self.sink.file()));
            opened.map_err(|error| End::of_output(&self.name, &error))?;
        }
        self.is_header_due = false;
        log::info!("output: {} was reopened", self.name);
        Ok(())
    }

    /// Returns a file that is there once it is [finished](Output::finish), and as it was until
    /// then.
    ///
    /// # Errors
    /// 75 where another process is about to write the same file.
    pub(crate) fn whole_file(path: &str) -> Result<Self, End> {
        let target = Target::of(Path::new(path));
        let file = match target.map_err(|error| End::of_opening(path, &error))? {
            Target::Stream(sink) => return Ok(Self::new(sink, path)),
            Target::File(file) => file,
        };
        let created = Part::create(file).and_then(|part| {
            let sink = Sink::of_file(part.file().try_clone()?);
            let mut output = Self::new(sink, &part.name().to_string_lossy());
            output.part = Some(part);
            Ok(output)
        });
        let part = format!("{path}.part");
        created.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                let message = format!("output: another run is writing {part}");
                Failure::new(INCOMPLETE, message).into()
            }
            // The folder of both.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => End::of_opening(path, &error),
            _ => End::of_opening(&part, &error),
        })
    }

    fn new(sink: Sink, name: &str) -> Self {
        Self {
            sink,
            name: name.to_owned(),
            lines: Vec::new(),
            begun: 0,
            events: Vec::new(),
            lost: (0, 0),
            part: None,
            missing_since: None,
            watched: None,
            format: Format::Nothing,
            rotated: None,
            threshold: FLUSH_THRESHOLD,
            header: Header::default(),
            is_header_due: false,
        }
    }

    /// Returns an output that takes nothing.
    pub(crate) fn nowhere() -> Result<Self, End> {
        let name = "/dev/null";
        Self::opened(Sink::open(Path::new(name)), name)
    }

    fn opened(sink: io::Result<Sink>, name: &str) -> Result<Self, End> {
        match sink {
            Ok(sink) => Ok(Self::new(sink, name)),
            Err(error) => Err(End::of_opening(name, &error)),
        }
    }

    /// Returns when to [look](Output::look) again.
    pub(crate) fn due(&self) -> Option<Instant> {
        let rotation = self.rotated.as_ref().and_then(Rotated::due);
        let watched = self.watched.as_ref().and_then(Watched::due);
        rotation.into_iter().chain(watched).min()
    }

    /// Looks whether a file is still where it was, if it is time or the last time, and whether it is old.
    pub(crate) fn look(&mut self, is_last: bool) {
        if self.lines.is_empty() {
            self.rotate_if_due();
        }
        if let Some(watched) = &mut self.watched {
            watched.look(self.sink.file(), is_last);
        }
    }

    /// Returns since when events may be missing in a file that held records before, told once.
    pub(crate) fn take_missing_since(&mut self) -> Option<SystemTime> {
        self.missing_since.take()
    }

    /// Returns a descriptor that reports the reader's departure, if the output has a reader.
    pub(crate) fn reader(&self) -> io::Result<Option<OwnedFd>> {
        if self.is_file() {
            return Ok(None);
        }
        self.sink.as_fd().try_clone_to_owned().map(Some)
    }

    /// Returns whether the reader is gone.
    pub(crate) fn is_left(&self) -> bool {
        !self.is_file() && poll::is_hung_up(&self.sink)
    }

    /// Returns whether lines stay where they are written.
    pub(crate) fn is_file(&self) -> bool {
        self.sink.is_file()
    }

    /// Writes a line, sooner or later.
    pub(crate) fn write<'a>(&mut self, line: impl Into<Line<'a>>) -> Result<(), End> {
        self.write_line(line.into(), None)
    }

    /// Writes the line of an event, whose message had this length.
    pub(crate) fn write_event(&mut self, line: Line<'_>, length: u64) -> Result<(), End> {
        self.write_line(line, Some(length))
    }

    fn write_line(&mut self, line: Line<'_>, length: Option<u64>) -> Result<(), End> {
        if !line.is_printable && line.body.len() < FLUSH_THRESHOLD {
            parts(line).for_each(|part| self.lines.extend_from_slice(part));
            self.events
                .extend(length.map(|length| (self.lines.len(), length)));
            return self.flush_if_enough();
        }
        let has_breaks = || memchr2(b'\n', b'\r', line.body.as_bytes()).is_some();
        if line.is_printable || has_breaks() {
            // A line that can be held back as a whole is not torn by those before it.
            if self.lines.len() + ESCAPED * line.body.len() + line.head.len() >= FLUSH_THRESHOLD {
                self.flush()?;
            }
            return self.write_in_pieces(line, length);
        }
        // Without a copy.
        self.flush()?;
        let parts = [line.head, line.body, line.tail, "\n"].map(str::as_bytes);
        let end = parts.iter().map(|part| part.len()).sum();
        self.events.extend(length.map(|length| (end, length)));
        self.write_out(&parts)
    }

    /// Writes a line that may be longer than what is held back.
    fn write_in_pieces(&mut self, line: Line<'_>, length: Option<u64>) -> Result<(), End> {
        let mut pieces = iter::once(Cow::Borrowed(line.head))
            .chain(pieces(line))
            .chain([line.tail, "\n"].map(Cow::Borrowed));
        while let Some(piece) = pieces.next() {
            self.lines.extend_from_slice(piece.as_bytes());
            if piece == "\n" {
                break;
            }
            if let Err(end) = self.flush_if_enough() {
                // A line that was begun is written to its end, as far as the system lets pipes
                // grow.
                let is_cut = matches!(end, End::Unread(_));
                if !is_cut || self.begun == 0 || self.end_line(pieces).is_err() {
                    self.lost.0 += u64::from(length.is_some());
                    self.lost.1 += length.unwrap_or_default();
                }
                return Err(end);
            }
        }
        self.events
            .extend(length.map(|length| (self.lines.len(), length)));
        self.flush_if_enough()
    }

    /// Writes the rest of a line whose reader is waited for no longer.
    fn end_line<'a>(&mut self, mut rest: impl Iterator<Item = Cow<'a, str>>) -> io::Result<()> {
        self.begun = 0;
        rest.try_for_each(|piece| self.sink.squeeze_in(piece.as_bytes()))
    }

    fn flush_if_enough(&mut self) -> Result<(), End> {
        if self.lines.len() < self.threshold {
            return Ok(());
        }
        self.flush()
    }

    /// Returns the number of written events that did not reach the output, and the total length of
    /// their messages.
    pub(crate) fn lost(&self) -> (u64, u64) {
        self.lost
    }

    /// Returns the length of `FILE.part`, so that what is written from now on can be taken back.
    pub(crate) fn length(&self) -> Option<u64> {
        let part = self.part.as_ref()?;
        Some(part.file().metadata().ok()?.len())
    }

    /// Takes back what was written since it had this length.
    pub(crate) fn take_back(&mut self, length: u64) -> Result<(), End> {
        let mut file = self.sink.file();
        let done = file.metadata().and_then(|now| {
            // Another process may have emptied it meanwhile.
            let length = length.min(now.len());
            file.set_len(length)?;
            file.seek(SeekFrom::Start(length))
        });
        match done {
            Ok(_) => Ok(()),
            Err(error) => Err(End::of_output(&self.name, &error)),
        }
    }

    /// Writes what has been held back. After an error it is gone.
    pub(crate) fn flush(&mut self) -> Result<(), End> {
        if !self.lines.is_empty() {
            self.rotate_if_due();
        }
        if mem::take(&mut self.is_header_due) {
            let header: Vec<u8> = self.header.line().collect();
            for (end, _) in &mut self.events {
                *end += header.len();
            }
            self.lines.splice(..0, header);
        }
        let mut lines = mem::take(&mut self.lines);
        let written = self.write_out(&[&lines]);
        lines.clear();
        // Frees the memory of a long line.
        lines.shrink_to(2 * FLUSH_THRESHOLD);
        self.lines = lines;
        written
    }

    /// Fails where what was written to a file has not come to stay.
    pub(crate) fn sync(&mut self) -> Result<(), End> {
        let synced = match &self.part {
            // `FILE.part` is synced as a whole.
            Some(_) => Ok(()),
            None => self.sink.sync(),
        };
        synced.map_err(|error| End::of_output(&self.name, &error))
    }

    /// Completes the output: renames `FILE.part`, and syncs any file.
    pub(crate) fn finish(&mut self) -> Result<(), End> {
        self.sync()?;
        if let Some(part) = &self.part {
            part.finish()
                .map_err(|error| End::of_output(&self.name, &error))?;
            self.part = None;
        }
        Ok(())
    }

    /// Ends a run early: leaves a `FILE.part` that holds so many events, and removes one without an
    /// event.
    ///
    /// Returns the line to report.
    pub(crate) fn leave(&mut self, events: u64) -> Option<String> {
        let part = self.part.take().filter(Part::is_there)?;
        let name = &self.name;
        if events > 0 {
            return Some(format!("output: {name} holds what came, events: {events}"));
        }
        let error = part.remove().err()?;
        Some(format!("output: {name} cannot be removed: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use octave_ws::Printable;

    use super::*;
    use crate::settings::Rotation;

    #[test]
    fn buffered_lines_stay_in_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("file"), folder.path().join("old"));
        let mut output = Output::appended(path.to_str().unwrap(), &Format::Event)
            .ok()
            .unwrap();
        output.write("{}").ok().unwrap();
        fs::rename(&path, &old).unwrap();
        output.reopen().ok().unwrap();
        output.write("[]").ok().unwrap();
        output.flush().ok().unwrap();
        let text = |path| fs::read_to_string(path).unwrap();
        assert_eq!((text(&old), text(&path)), ("{}\n".into(), "[]\n".into()));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut output = Output::appended(path.to_str().unwrap(), &Format::Event)
            .ok()
            .unwrap();
        // Characters of two bytes, at odd places.
        let body = format!("x{}", "\u{e9}\u{9b}".repeat(FLUSH_THRESHOLD));
        let line = Line {
            head: "head ",
            body: &body,
            tail: "",
            is_printable: true,
        };
        output.write_event(line, 1).ok().unwrap();
        output.flush().ok().unwrap();
        let wanted = format!("head {}\n", Printable(&body));
        assert!(fs::read_to_string(path).unwrap() == wanted);
    }

    #[test]
    fn a_short_text_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut output = Output::appended(path.to_str().unwrap(), &Format::Event)
            .ok()
            .unwrap();
        for body in ["x".repeat(3000), "\u{9b}".repeat(1500)] {
            let line = Line {
                head: "head ",
                body: &body,
                tail: "",
                is_printable: true,
            };
            for _ in 0..100 {
                output.write_event(line, 1).ok().unwrap();
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.is_empty() || text.ends_with('\n'));
            }
        }
    }

    #[test]
    fn only_raw_line_breaks_are_left_out() {
        let mut output = Output::stdout().ok().unwrap();
        let (head, tail) = ("[", "]");
        for body in ["{\r\n \"a\": \"\\n\"\n}", "{ }"] {
            let line = Line {
                head,
                body,
                tail,
                is_printable: false,
            };
            output.write(line).ok().unwrap();
        }
        assert_eq!(output.lines, b"[{ \"a\": \"\\n\"}]\n[{ }]\n");
    }

    #[test]
    fn a_file_with_a_header_alone_is_due_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "n\n").unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(old).unwrap();
        let format = crate::format::parse("csv").unwrap();
        let mut output = Output::appended(path.to_str().unwrap(), &format)
            .ok()
            .unwrap();
        let rotation = Rotation {
            size: None,
            every: Some(Duration::from_secs(1)),
            keep: None,
        };
        let header = Header::default();
        header.set("n");
        output.set_rotation(rotation, header).ok().unwrap();
        output.watched = None;
        output.look(false);
        assert!(output.due().is_none());
        output.flush().ok().unwrap();
        assert!(output.due().is_none());
        output.write("1").ok().unwrap();
        output.flush().ok().unwrap();
        assert!(output.due().is_some());
        assert_eq!(fs::read_to_string(path).unwrap(), "n\n1\n");
    }
}
