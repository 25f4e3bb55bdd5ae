//! Keeps a status file.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::exit::{Failure, OUTPUT};
use crate::output::replace::replace;
use crate::settings::values::StatusFormat;
use crate::status::metrics;
use crate::status::snapshot::Snapshot;

/// Time after which the file is written though nothing has changed.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// Minimum time between two writes where only the counts of events change.
const PAUSE: Duration = Duration::from_secs(1);

/// A file with the status of a run.
#[derive(Clone)]
pub(crate) struct StatusFile(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    format: StatusFormat,
    /// The last status that was written, and when.
    last: Option<(Snapshot, Instant)>,
    /// Whether the counts have changed since.
    is_behind: bool,
    /// Whether it is known that writes fail.
    is_failure_told: bool,
}

impl StatusFile {
    pub(crate) fn new(path: PathBuf, format: StatusFormat) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            path,
            format,
            last: None,
            is_behind: false,
            is_failure_told: false,
        })))
    }

    /// Creates the failure of a write.
    pub(crate) fn failure(&self, error: &io::Error) -> Failure {
        let path = self.inner().path.display().to_string();
        let message = format!("status file: {path}: {error}");
        Failure::new(OUTPUT, message)
    }

    /// Returns when the file is to be written again.
    pub(crate) fn due(&self) -> Option<Instant> {
        let inner = self.inner();
        let pause = if inner.is_behind { PAUSE } else { EVERY };
        inner.last.as_ref().map(|(_, at)| *at + pause)
    }

    /// Writes the file if there is a change, or if it is time.
    ///
    /// # Errors
    /// Those of the file, once until a write succeeds.
    pub(crate) fn update(&self, snapshot: Snapshot) -> io::Result<()> {
        let mut inner = self.inner();
        match inner.update(snapshot) {
            Ok(is_written) => {
                inner.is_failure_told &= !is_written;
                Ok(())
            }
            Err(_) if inner.is_failure_told => Ok(()),
            Err(error) => {
                inner.is_failure_told = true;
                Err(error)
            }
        }
    }

    /// Writes the last status again, if it is time.
    pub(crate) fn refresh(&self) {
        let mut inner = self.inner();
        if let Some((last, _)) = inner.last.clone() {
            // The next update tells of it.
            let _ = inner.update(last);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Returns whether it was time to write.
    fn update(&mut self, snapshot: Snapshot) -> io::Result<bool> {
        let now = Instant::now();
        if let Some((last, at)) = &self.last {
            self.is_behind = snapshot != *last;
            let pause = match () {
                () if snapshot.is_other_than(last) => Duration::ZERO,
                () if self.is_behind => PAUSE,
                () => EVERY,
            };
            if now < *at + pause {
                return Ok(false);
            }
        }
        let text = match self.format {
            StatusFormat::Json => snapshot.json(),
            StatusFormat::Prometheus => {
                let run = self.path.file_stem().unwrap_or_default();
                metrics::prometheus(&snapshot, &run.to_string_lossy())
            }
        };
        self.last = Some((snapshot, now));
        self.is_behind = false;
        replace(&self.path, &text)?;
        Ok(true)
    }
}
