//! Renames a file that is appended to, once it is large or old: `FILE.1` is the newest of those before.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use octave_ws::clock;

use crate::format::table::Table;
use crate::output::target;
use crate::settings::Rotation;
use crate::settings::files::beside;

/// Creates a file of this name if that is what a kill amid a rotation has left out.
pub(super) fn resume(path: &Path) -> io::Result<()> {
    let last = numbered(path, 1);
    let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
    if fs::symlink_metadata(path).is_err_and(is_missing) && last.is_file() {
        target::follow(&last, path)?;
    }
    Ok(())
}

/// A file that is renamed now and then.
pub(super) struct Rotated {
    rotation: Rotation,
    /// The file, behind all symbolic links.
    place: PathBuf,
    /// Its size in bytes.
    length: u64,
    /// The period to which it belongs, unless it is empty.
    period: Option<u64>,
    /// Size from which on it is renamed: larger where that has just failed.
    limit: u64,
}

impl Rotated {
    pub(super) fn new(rotation: Rotation, place: PathBuf, file: &File) -> io::Result<Self> {
        let mut rotated = Self {
            rotation,
            place,
            length: 0,
            period: None,
            limit: 0,
        };
        rotated.opened(file)?;
        Ok(rotated)
    }

    /// Takes note of the file that is open now, at another place.
    pub(super) fn reopened(&mut self, place: PathBuf, file: &File) -> io::Result<()> {
        self.place = place;
        self.opened(file)
    }

    /// Takes note of the file that is open now.
    pub(super) fn opened(&mut self, file: &File) -> io::Result<()> {
        let found = file.metadata()?;
        self.length = found.len();
        self.limit = self.rotation.size.unwrap_or(u64::MAX);
        let period = self.period_at(found.modified()?);
        self.period = period.filter(|_| self.length > 0);
        Ok(())
    }

    /// Takes note of so many bytes that were written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.length += bytes as u64;
        if bytes > 0 && self.period.is_none() {
            self.period = self.period_at(clock::now());
        }
    }

    /// Returns its size in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the number of bytes after which it is to be renamed.
    pub(super) fn left(&self) -> usize {
        usize::try_from(self.limit.saturating_sub(self.length)).unwrap_or(usize::MAX)
    }

    /// Returns whether it is as large as it may be.
    pub(super) fn is_large(&self) -> bool {
        self.length >= self.limit
    }

    /// Returns whether its period is over.
    pub(super) fn is_old(&mut self) -> bool {
        let (Some(period), Some(now)) = (self.period, self.period_at(clock::now())) else {
            return false;
        };
        // A clock that was set back: a little, it soon catches up.
        if now + 1 < period {
            self.period = Some(now);
        }
        now > period
    }

    /// Leaves its period, since it is empty, until something is written.
    pub(super) fn leave_period(&mut self) {
        self.period = None;
    }

    /// Returns when its period is over, if it has one.
    pub(super) fn due(&self) -> Option<Instant> {
        let (period, every) = (self.period?, self.rotation.every?);
        let end = Duration::from_millis(millis(every).checked_mul(period + 1)?);
        let end = SystemTime::UNIX_EPOCH.checked_add(end)?;
        // Where the clock is set, that is seen within an hour.
        let left = end.duration_since(clock::now()).unwrap_or_default();
        Some(Instant::now() + left.min(Duration::from_secs(3600)))
    }

    /// Renames the file, and those before it, and opens another one. What was written is synced by now.
    ///
    /// After a kill or a power cut amid this, one number is missing at most: the next time, the files up to
    /// that number are renamed.
    pub(super) fn rotate(&mut self, file: &File, table: Option<&Table>) -> io::Result<File> {
        // To be tried again after as many bytes more, and in the next period.
        let size = self.rotation.size.unwrap_or(u64::MAX);
        self.limit = self.length.saturating_add(size);
        self.period = self.period_at(clock::now());
        if !target::is_there(file, &self.place)? {
            // Somebody else has renamed it.
            let other = self.open(table)?;
            self.opened(&other)?;
            return Ok(other);
        }
        let most = self.rotation.keep.unwrap_or(u32::MAX);
        let is_free = |number: &u32| fs::symlink_metadata(self.numbered(*number)).is_err();
        let mut free = (1..most).find(is_free).unwrap_or(most);
        while free > 1 {
            fs::rename(self.numbered(free - 1), self.numbered(free))?;
            free -= 1;
        }
        let last = self.numbered(1);
        fs::rename(&self.place, &last)?;
        let opened = target::follow(&last, &self.place).and_then(|()| self.open(table));
        if opened.is_err() {
            // Goes back to it, under its name.
            let _ = fs::rename(&last, &self.place);
        }
        let new = opened?;
        target::sync_folder(&self.place);
        self.opened(&new)?;
        Ok(new)
    }

    fn open(&self, table: Option<&Table>) -> io::Result<File> {
        target::append(&self.place, table).map(|appended| appended.file)
    }

    /// Returns the name of a renamed file.
    fn numbered(&self, number: u32) -> PathBuf {
        numbered(&self.place, number)
    }

    /// Returns since when events may be missing, where the file holds records and is new.
    pub(super) fn missing_since(&self) -> Option<SystemTime> {
        if self.length > 0 {
            return None;
        }
        target::missing_since(&self.numbered(1))
    }

    fn period_at(&self, at: SystemTime) -> Option<u64> {
        let since = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Some(millis(since) / millis(self.rotation.every?).max(1))
    }
}

fn numbered(place: &Path, number: u32) -> PathBuf {
    beside(place, &format!(".{number}"))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rotates `F` beside other files of these numbers. Returns the texts of `F`, `F.1` and so on.
    fn rotated(numbers: &[u32], keep: Option<u32>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("F");
        fs::write(&place, "new").unwrap();
        for &number in numbers {
            fs::write(numbered(&place, number), number.to_string()).unwrap();
        }
        let rotation = Rotation {
            size: Some(1),
            every: None,
            keep,
        };
        let file = File::options().append(true).open(&place).unwrap();
        let mut rotated = Rotated::new(rotation, place.clone(), &file).unwrap();
        rotated.rotate(&file, None).unwrap();
        let texts = (1..5).map(|number| fs::read_to_string(numbered(&place, number)));
        let first = fs::read_to_string(&place);
        let texts = [first].into_iter().chain(texts);
        texts.map(Result::unwrap_or_default).collect()
    }

    #[test]
    fn a_number_that_is_missing_is_used_before_a_file_is_given_up() {
        for (numbers, keep, wanted) in [
            (&[][..], Some(3), ["", "new", "", "", ""]),
            (&[1, 2], Some(3), ["", "new", "1", "2", ""]),
            (&[1, 2, 3], Some(3), ["", "new", "1", "2", ""]),
            (&[2, 3], Some(3), ["", "new", "2", "3", ""]),
            (&[1, 3], Some(3), ["", "new", "1", "3", ""]),
            (&[1, 2, 3], None, ["", "new", "1", "2", "3"]),
            (&[1], Some(1), ["", "new", "", "", ""]),
        ] {
            assert_eq!(rotated(numbers, keep), wanted, "{numbers:?} {keep:?}");
        }
    }

    #[test]
    fn a_period_ends_at_its_multiples() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("F");
        let file = File::create(&place).unwrap();
        let every = Some(Duration::from_secs(100));
        let (size, keep) = (None, None);
        let rotation = Rotation { size, every, keep };
        let mut rotated = Rotated::new(rotation, place, &file).unwrap();
        assert!(!rotated.is_old() && rotated.due().is_none());
        rotated.written(1);
        let now = rotated.period.unwrap();
        assert!(!rotated.is_old());
        assert!(rotated.due().unwrap() <= Instant::now() + Duration::from_secs(101));
        rotated.period = Some(now - 1);
        assert!(rotated.is_old());
        assert!(rotated.due().unwrap() <= Instant::now());
        // The clock was set back: far, or a little.
        for (period, wanted) in [(now + 9, now), (now + 1, now + 1)] {
            rotated.period = Some(period);
            assert!(!rotated.is_old());
            assert!(rotated.period == Some(wanted) || rotated.period == Some(wanted + 1));
        }
    }
}
