//! The status file of a run.

use std::time::{Duration, Instant, SystemTime};

use octave_ws::{Client, Disconnected, clock};

use super::Run;
use crate::exit::{End, Failure, INCOMPLETE};
use crate::settings::ListenSettings;
use crate::status::file::StatusFile;
use crate::status::snapshot::{LastFailure, Snapshot, State};

/// The facts that the status file shows, beside those of the run.
pub(super) struct Shown {
    pub(super) file: StatusFile,
    state: State,
    since: SystemTime,
    granted: usize,
    event_at: Option<(Instant, SystemTime)>,
    failure: Option<LastFailure>,
    next_attempt: Option<SystemTime>,
    exit: Option<u8>,
    /// Time of the last look at the streams, unless there is a change since.
    looked_at: Option<Instant>,
    /// Whether there may be a change that was not looked at.
    is_behind: bool,
}

/// Minimum time between two looks at the streams, which may be many, where nothing else changes.
const LOOK: Duration = Duration::from_millis(100);

impl Shown {
    /// Returns what there is to be shown, if anything.
    pub(super) fn begin(settings: &ListenSettings) -> Option<Self> {
        let (path, format) = settings.status_file.clone()?;
        Some(Self {
            file: StatusFile::new(path, format),
            state: State::Connecting,
            since: clock::now(),
            granted: 0,
            event_at: None,
            failure: None,
            next_attempt: None,
            exit: None,
            looked_at: None,
            is_behind: false,
        })
    }

    /// Returns when there may be something to write.
    pub(super) fn due(&self) -> Option<Instant> {
        let look = self.looked_at.filter(|_| self.is_behind);
        let look = look.map(|at| at + LOOK);
        look.into_iter().chain(self.file.due()).min()
    }

    fn set(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.since = clock::now();
            self.looked_at = None;
        }
    }
}

impl Run<'_> {
    /// Writes the status file for the first time.
    ///
    /// # Errors
    /// 74 where that fails.
    pub(super) fn begin_status_file(&mut self) -> Result<(), End> {
        self.write_status_file().map_err(End::Failed)
    }

    /// Writes the status file if there is something new to be shown, or if it is time.
    pub(super) fn update_status_file(&mut self, client: &Client) {
        let Some(shown) = &mut self.shown else { return };
        let is_connected = client.is_connected();
        shown.set(match self.status.subscribed_at {
            None => State::Connecting,
            Some(_) if !is_connected => State::Lost,
            // Subscribed, and its history is read.
            Some(_) if client.loss().is_some() && client.unfilled() == 0 => State::Lost,
            Some(_) => State::Subscribed,
        });
        let now = Instant::now();
        shown.is_behind = shown.looked_at.is_some_and(|at| now < at + LOOK);
        if shown.is_behind {
            return;
        }
        shown.looked_at = Some(now);
        if is_connected {
            shown.next_attempt = None;
        }
        shown.granted = match shown.state {
            State::Lost => 0,
            _ => client.subscribed().count(),
        };
        self.warn_status_file();
    }

    /// Shows how the run has ended.
    pub(super) fn end_status_file(&mut self, end: &Result<(), End>) {
        // What came last is counted, too.
        self.status.update();
        if let Some(shown) = &mut self.shown {
            shown.exit = Some(match end {
                Err(End::Failed(failure)) => failure.code,
                Err(End::Unread(_) | End::Overdue(_)) => INCOMPLETE,
                Ok(()) | Err(End::ReaderGone | End::Stopped) => 0,
            });
            if let Err(End::Failed(failure)) = end {
                let (message, count, at) = (failure.message.clone(), 1, clock::now());
                shown.failure = Some(LastFailure { message, count, at });
            }
        }
        self.stop_status_file();
    }

    /// Shows that the run is at its end.
    pub(super) fn stop_status_file(&mut self) {
        if let Some(shown) = &mut self.shown {
            shown.set(State::Stopping);
            shown.next_attempt = None;
            self.warn_status_file();
        }
    }

    /// Takes note of a failure.
    pub(super) fn failed(&mut self, failure: &Disconnected) {
        let Some(shown) = &mut self.shown else { return };
        let message = failure.error.report();
        let at = clock::now();
        let repeated = shown
            .failure
            .as_ref()
            .filter(|last| last.message == message);
        let count = repeated.map_or(0, |last| last.count) + 1;
        shown.failure = Some(LastFailure { message, count, at });
        shown.next_attempt = at.checked_add(failure.retry_in);
        shown.looked_at = None;
    }

    fn warn_status_file(&mut self) {
        if let Err(failure) = self.write_status_file() {
            log::warn!("{failure}");
        }
    }

    fn write_status_file(&mut self) -> Result<(), Failure> {
        let (events, bytes) = self.lost();
        let Some(shown) = &mut self.shown else {
            return Ok(());
        };
        let event_at = self.status.event_at;
        if event_at != shown.event_at.map(|(at, _)| at) {
            let date = |at: Instant| Some((at, clock::now().checked_sub(at.elapsed())?));
            shown.event_at = event_at.and_then(date);
        }
        let snapshot = Snapshot {
            state: shown.state,
            since: shown.since,
            asked: self.streams.len(),
            granted: shown.granted,
            refused: self.refusals.names().map(str::to_owned).collect(),
            events: self.status.summary.events - events,
            bytes: self.status.summary.bytes - bytes,
            gaps: self.status.summary.gaps,
            event_at: shown.event_at.map(|(_, date)| date),
            failure: shown.failure.clone(),
            next_attempt: shown.next_attempt,
            exit: shown.exit,
        };
        let written = shown.file.update(snapshot);
        written.map_err(|error| shown.file.failure(&error))
    }
}
