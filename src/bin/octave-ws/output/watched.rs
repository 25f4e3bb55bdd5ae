//! Notices the removal or replacement of a file that is appended to.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The time between two looks: the system sends no notice.
const PAUSE: Duration = Duration::from_secs(30);

/// A file under its name, which is looked at now and then until it is another one's.
pub(super) struct Watched {
    name: PathBuf,
    /// Time of the next check. `None` once a warning was logged.
    due: Option<Instant>,
}

impl Watched {
    pub(super) fn new(name: PathBuf) -> Self {
        Self {
            name,
            due: Some(Instant::now() + PAUSE),
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Warns once, if it is time or the last time, where the file has not this name any more.
    pub(super) fn look(&mut self, file: &File, is_last: bool) {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due && !is_last) {
            return;
        }
        let id = |found: fs::Metadata| (found.dev(), found.ino());
        let is_there = match (file.metadata(), fs::metadata(&self.name)) {
            (Ok(own), Ok(there)) => id(own) == id(there),
            (_, Err(error)) => !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
            _ => true,
        };
        self.due = is_there.then(|| now + PAUSE);
        if !is_there {
            let name = self.name.display();
            log::warn!(
                "output: {name} was removed or replaced: SIGHUP opens it again; until then lines go \
                 into the old file"
            );
        }
    }
}
