//! A file or a named pipe for each stream.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use octave_ws::{Event, Printable};

use crate::exit::{End, Failure, OUTPUT};
use crate::output::Output;
use crate::output::record::{Lines, Record};
use crate::settings::ListenSettings;
use crate::settings::streams::fnv_1a;
use crate::wait::WaitEnded;

/// Maximum number of files that are open at once.
const MAX_OPEN: usize = 256;

/// Maximum length of a name, in bytes: a number follows where the file is rotated.
const LONGEST: usize = 240;

/// The files in a folder.
pub(crate) struct Folder<'a> {
    path: PathBuf,
    settings: &'a ListenSettings,
    open: BTreeMap<String, Open>,
    /// Number of events so far.
    count: u64,
    /// The events that did not reach the files that were closed, and the total length of their messages.
    lost: (u64, u64),
}

struct Open {
    output: Output,
    lines: Lines,
    /// The number of its last event.
    used: u64,
    /// The path of its first event.
    path: Option<String>,
    /// Whether it is known that another path leads to the same name.
    is_shared: bool,
}

impl<'a> Folder<'a> {
    /// # Errors
    /// 74 where it is not a folder.
    pub(crate) fn new(path: PathBuf, settings: &'a ListenSettings) -> Result<Self, End> {
        let is_folder = fs::metadata(&path).and_then(|found| {
            if found.is_dir() {
                Ok(())
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        });
        is_folder.map_err(|error| End::of_opening(&path.display().to_string(), &error))?;
        Ok(Self {
            path,
            settings,
            open: BTreeMap::new(),
            count: 0,
            lost: (0, 0),
        })
    }

    /// Writes the line of an event, sooner or later, to the file of its stream.
    pub(crate) fn write(&mut self, event: &Event) -> Result<(), End> {
        self.count += 1;
        let name = name(event, self.settings.rotation.is_some());
        let length = event.message().len() as u64;
        if !self.open.contains_key(&name) {
            self.make_room()?;
            match self.opened(&name, event) {
                Ok(open) => _ = self.open.insert(name.clone(), open),
                Err(end) => {
                    self.lost.0 += 1;
                    self.lost.1 += length;
                    return Err(match end {
                        // The event is left.
                        End::Stopped => End::Unread(WaitEnded::Stopped),
                        end => end,
                    });
                }
            }
        }
        let Some(open) = self.open.get_mut(&name) else {
            return Ok(());
        };
        open.used = self.count;
        let path = event.path();
        if path.as_deref() != open.path.as_deref() && !open.is_shared {
            open.is_shared = true;
            let [one, other] = [&open.path.as_deref(), &path.as_deref()]
                .map(|path| Printable(path.unwrap_or("no path")).to_string());
            log::warn!("output: {name} holds the events of {one} and of {other}");
        }
        let written = match open.lines.line(&Record::Event(event)) {
            Some(line) => open.output.write_event(line, length),
            None => Ok(()),
        };
        written.map_err(|end| of_reader(&name, end))
    }

    fn opened(&self, name: &str, event: &Event) -> Result<Open, End> {
        let path = self.path.join(name).display().to_string();
        let settings = self.settings;
        if settings.rotation.is_some() {
            Output::resume(&path)?;
        }
        let mut open = Open {
            output: Output::appended(&path, &settings.format)?,
            lines: Lines::new(settings.format.apart(), settings),
            used: 0,
            path: event.path().map(Cow::into_owned),
            is_shared: false,
        };
        if let Some(rotation) = settings.rotation.filter(|_| open.output.is_file()) {
            open.output.set_rotation(rotation, open.lines.header())?;
        }
        open.output.begin(&mut open.lines)?;
        Ok(open)
    }

    /// Closes a file if as many are open as may be: the one that was not written to for the longest time.
    /// The reader of a pipe would take that for the end.
    fn make_room(&mut self) -> Result<(), End> {
        if self.open.len() < MAX_OPEN {
            return Ok(());
        }
        let order = |(_, open): &(&String, &Open)| (!open.output.is_file(), open.used);
        let oldest = self.open.iter().min_by_key(order);
        match oldest.map(|(name, _)| name.clone()) {
            Some(name) => self.close(&name),
            None => Ok(()),
        }
    }

    fn close(&mut self, name: &str) -> Result<(), End> {
        let Some(mut open) = self.open.remove(name) else {
            return Ok(());
        };
        let closed = open.output.flush().and_then(|()| open.output.finish());
        let closed = closed.map_err(|end| of_reader(name, end));
        let (events, bytes) = open.output.lost();
        self.lost = (self.lost.0 + events, self.lost.1 + bytes);
        closed
    }

    /// Closes the files, which are opened again by their next events. Pipes stay open.
    pub(crate) fn reopen(&mut self) -> Result<(), End> {
        let files = self.open.iter().filter(|(_, open)| open.output.is_file());
        let names: Vec<String> = files.map(|(name, _)| name.clone()).collect();
        names.iter().try_for_each(|name| self.close(name))
    }

    /// Writes what has been held back. The first error is returned.
    pub(crate) fn flush(&mut self) -> Result<(), End> {
        let open = self.open.iter_mut();
        let flushed = open.map(|(name, open)| {
            let flushed = open.output.flush();
            flushed.map_err(|end| of_reader(name, end))
        });
        flushed.fold(Ok(()), Result::and)
    }

    /// Completes all files. The first error is returned.
    pub(crate) fn finish(&mut self) -> Result<(), End> {
        let outputs = self.open.values_mut().map(|open| &mut open.output);
        let finished = outputs.map(Output::finish);
        finished.fold(Ok(()), Result::and)
    }

    /// Looks after each file, if it is time or the last time.
    pub(crate) fn look(&mut self, is_last: bool) {
        for open in self.open.values_mut() {
            open.output.look(is_last);
        }
    }

    /// Returns when to [look](Folder::look) again.
    pub(crate) fn due(&self) -> Option<Instant> {
        let due = self.open.values().filter_map(|open| open.output.due());
        due.min()
    }

    /// Returns the number of written events that did not reach a file, and the total length of their
    /// messages.
    pub(crate) fn lost(&self) -> (u64, u64) {
        let lost = self.open.values().map(|open| open.output.lost());
        lost.fold(self.lost, |sum, lost| (sum.0 + lost.0, sum.1 + lost.1))
    }
}

/// Returns the failure where the reader of one pipe has left: the others' streams end with it.
fn of_reader(name: &str, end: End) -> End {
    match end {
        End::ReaderGone => {
            let message = format!("output: {name}: the reader of the pipe has left");
            Failure::new(OUTPUT, message).into()
        }
        end => end,
    }
}

/// Returns the name of the file of an event: the path of its stream with `_` for `/`. A number at its end
/// would be that of a rotated file.
fn name(event: &Event, is_rotated: bool) -> String {
    let path = event.path();
    let resource = event.resource();
    let path = path.as_deref().or(resource).unwrap_or("-");
    let safe = |c: char| if c == '/' || c.is_control() { '_' } else { c };
    let mut name: String = path.chars().map(safe).collect();
    if name.is_empty() || name.starts_with('.') {
        name.insert(0, '_');
    }
    let is_number = |end: &str| end.bytes().all(|b| b.is_ascii_digit());
    if is_rotated && name.rsplit_once('.').is_some_and(|(_, end)| is_number(end)) {
        name.push('_');
    }
    if name.len() > LONGEST {
        let hash = fnv_1a(path.as_bytes());
        let mut end = LONGEST - 17;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        name = format!("{name}_{hash:016x}");
    }
    name
}
