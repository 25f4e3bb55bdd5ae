//! The positions of the streams, kept over runs.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use octave_ws::{Config, Positions};
use serde_json::Value;
use serde_json::value::RawValue;

use super::target;
use crate::exit::{End, Failure, INCOMPLETE, OUTPUT, source};
use crate::settings::files::{beside, folder, real};
use crate::wait::sink;

/// The version of the file.
const VERSION: u64 = 1;

/// Time between two commits, and the number of bytes that are written a second on average.
const EVERY: Duration = Duration::from_secs(10);
const BYTES_PER_SECOND: u64 = 4096;

/// Maximum size of the file: 10,000 streams have 2 MB.
const MAX_FILE: u64 = 64 << 20;

/// A file of positions, which this run alone uses.
pub(crate) struct State {
    path: PathBuf,
    _lock: File,
    /// All before the positions.
    head: String,
    /// The text of the last commit; `None` where it failed.
    written: Option<Digest>,
    committed_at: Instant,
    next_at: Instant,
    /// The time of a file that was broken: events since then may be missing.
    pub(crate) broken_at: Option<SystemTime>,
    has_failed: bool,
}

impl State {
    /// Opens the file, and reads the positions in it.
    ///
    /// # Errors
    /// 75 where another run uses it, 78 for positions of another company or API and those of a newer
    /// version, and 74 where it cannot be read or written.
    pub(crate) fn open(path: &str, config: &Config) -> Result<(Self, Positions), Failure> {
        let company = source::setting_sources().company.as_ref();
        let company = company.map_or("", |company| &company.value);
        let (api, company) = (Value::from(config.api_in_use()?), Value::from(company));
        // The file may be a link to one.
        let path = real(path);
        let lock_path = beside(&path, ".lock");
        let lock = opened(&lock_path).map_err(|error| failed(&lock_path, &error))?;
        if !target::lock(&lock) {
            let message = format!("state: another run uses {}", path.display());
            return Err(Failure::new(INCOMPLETE, message));
        }
        let mut state = Self {
            head: format!(r#"{{"version":{VERSION},"api":{api},"company":{company},"streams":"#),
            path,
            _lock: lock,
            written: None,
            committed_at: Instant::now(),
            next_at: Instant::now() + EVERY,
            broken_at: None,
            has_failed: false,
        };
        let kept = read(&state.path).map_err(|error| failed(&state.path, &error))?;
        let positions = match kept
            .as_deref()
            .map(|text| state.positions(text, &api, &company))
        {
            None => Positions::default(),
            Some(Some(positions)) => positions?,
            Some(None) => {
                state
                    .put_aside()
                    .map_err(|error| failed(&state.path, &error))?;
                Positions::default()
            }
        };
        // Before anything is printed that could not be noted.
        state
            .prepare(&positions)
            .and_then(|()| state.publish())
            .map_err(|error| failed(&state.path, &error))?;
        Ok((state, positions))
    }

    /// Reads the positions; `None` for a broken text.
    fn positions(
        &self,
        text: &str,
        api: &Value,
        company: &Value,
    ) -> Option<Result<Positions, Failure>> {
        let kept: std::collections::BTreeMap<&str, &RawValue> = serde_json::from_str(text).ok()?;
        let member = |name| serde_json::from_str(kept.get(name)?.get()).ok();
        let version: Value = member("version")?;
        let path = self.path.display();
        if version.as_u64()? > VERSION {
            let message = format!("state: {path} is of a newer version, {version}");
            return Some(Err(Failure::config(message)));
        }
        for (name, wanted) in [("api", api), ("company", company)] {
            let found: Value = member(name)?;
            if found != *wanted {
                let message = format!(
                    "state: {path} is of the {name} {found}, not {wanted}: give another FILE"
                );
                return Some(Err(Failure::config(message)));
            }
        }
        Positions::from_json(kept.get("streams")?.get()).map(Ok)
    }

    /// Renames a broken file.
    fn put_aside(&mut self) -> io::Result<()> {
        let changed_at = fs::metadata(&self.path)?.modified()?;
        // RFC 3339 would have no words for one before.
        let changed_at = changed_at.max(SystemTime::UNIX_EPOCH);
        let bad = beside(&self.path, ".bad");
        fs::rename(&self.path, &bad)?;
        self.broken_at = Some(changed_at);
        let (path, bad) = (self.path.display(), bad.display());
        log::warn!(
            "state: {path} is broken, and was renamed to {bad}: the run begins without positions"
        );
        Ok(())
    }

    /// Returns when the next commit is due.
    pub(crate) fn due(&self) -> Instant {
        self.next_at
    }

    /// Brings the next commit forward, as far as the number of bytes a second allows.
    pub(crate) fn hasten(&mut self) {
        self.next_at = self.next_at.min(self.committed_at + self.least());
    }

    /// Returns the least time after a commit.
    fn least(&self) -> Duration {
        let bytes = self.written.as_ref().map_or(0, |written| written.bytes);
        Duration::from_secs(bytes / BYTES_PER_SECOND)
    }

    /// Keeps the positions of what is in the output, and synced. A failure is logged, and the next
    /// commit may succeed.
    pub(crate) fn commit(&mut self, positions: &Positions) -> Result<(), Failure> {
        let done = self.prepare(positions).and_then(|()| self.publish());
        self.committed_at = Instant::now();
        self.next_at = self.committed_at + EVERY.max(self.least());
        done.map_err(|error| {
            // The next commit does all of it again.
            self.written = None;
            let failure = failed(&self.path, &error);
            if !std::mem::replace(&mut self.has_failed, true) {
                log::warn!("{failure}");
            }
            failure
        })?;
        self.has_failed = false;
        Ok(())
    }

    /// Keeps the positions of an output that `finish` completes. They are written before, while the output
    /// can still be given up, and take their place after it.
    pub(crate) fn commit_with(
        &mut self,
        positions: &Positions,
        finish: impl FnOnce() -> Result<(), End>,
    ) -> Result<(), End> {
        self.prepare(positions)
            .map_err(|error| failed(&self.path, &error))?;
        finish()?;
        self.publish().map_err(|error| failed(&self.path, &error))?;
        Ok(())
    }

    /// Writes and syncs what is to replace the file.
    fn prepare(&mut self, positions: &Positions) -> io::Result<()> {
        let text = format_args!("{}{positions}}}\n", self.head);
        let digest = Some(Digest::of(text));
        if digest == self.written {
            return Ok(());
        }
        self.written = None;
        let mut file = BufWriter::new(opened(&beside(&self.path, ".tmp"))?);
        file.get_ref().set_len(0)?;
        file.write_fmt(text)?;
        file.flush()?;
        sink::sync(file.get_ref())?;
        self.written = digest;
        Ok(())
    }

    /// Replaces the file.
    fn publish(&mut self) -> io::Result<()> {
        match fs::rename(beside(&self.path, ".tmp"), &self.path) {
            // Nothing has changed since the last time.
            Err(error) if error.kind() == ErrorKind::NotFound && self.path.exists() => {
                return Ok(());
            }
            done => done?,
        }
        let folder = OpenOptions::new().read(true).open(folder(&self.path))?;
        sink::sync(&folder)
    }
}

/// A text, by its size and a hash: that of thousands of streams takes more memory than their positions.
#[derive(PartialEq)]
struct Digest {
    bytes: u64,
    hash: u64,
}

impl Digest {
    fn of(text: fmt::Arguments<'_>) -> Self {
        let mut hashed = Hashed::default();
        // It takes all that is written.
        let _ = fmt::write(&mut hashed, text);
        Self {
            bytes: hashed.bytes,
            hash: hashed.hasher.finish(),
        }
    }
}

#[derive(Default)]
struct Hashed {
    bytes: u64,
    hasher: DefaultHasher,
}

impl fmt::Write for Hashed {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.bytes += part.len() as u64;
        self.hasher.write(part.as_bytes());
        Ok(())
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(OUTPUT, format!("state: {}: {error}", path.display()))
}

/// Opens a file of this run's own, and creates it.
fn opened(path: &Path) -> io::Result<File> {
    // Somebody else may have put a link there, or a pipe, at which open(2) would wait.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options.open(path)
}

/// Reads the file, if it exists. One that is not text is an empty text.
fn read(path: &Path) -> io::Result<Option<String>> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        let what = "not a regular file, which it would replace";
        return Err(io::Error::new(ErrorKind::AlreadyExists, what));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8(bytes).unwrap_or_default()))
}
