//! Keeps the positions of the streams, behind what is in the output.

use std::time::Instant;

use octave_ws::{Client, Config, Gap, Positions, clock};

use super::Run;
use crate::exit::{End, Failure, INCOMPLETE};
use crate::output::state::State;
use crate::settings::ListenSettings;

/// Number of events after which it is time to look whether the positions are to be kept.
const LOOK_EVENTS: u64 = 256;

/// The file of positions, and what it is to hold.
pub(super) struct Kept {
    pub(super) state: State,
    /// The positions of a capture's last commit.
    positions: Positions,
    /// Number of events of the run, and of gaps, at the last commit.
    counts: (u64, u64),
    /// Whether a run that is not complete leaves the file as it was.
    is_capture: bool,
    /// Whether the history could not be read.
    pub(super) is_unavailable: bool,
}

impl Kept {
    /// Opens the file, if there is to be one, and has the client begin at its positions.
    pub(super) fn open(
        config: Config,
        settings: &ListenSettings,
    ) -> Result<(Config, Option<Self>), End> {
        let Some(path) = &settings.state else {
            return Ok((config, None));
        };
        let (state, positions) = State::open(path, &config)?;
        let is_capture = settings.is_capture;
        let kept = Self {
            state,
            positions: if is_capture {
                positions.clone()
            } else {
                Positions::default()
            },
            counts: (0, 0),
            is_capture,
            is_unavailable: false,
        };
        Ok((config.positions(positions), Some(kept)))
    }
}

impl Run<'_> {
    fn counts(&self) -> (u64, u64) {
        (self.status.summary.events, self.status.summary.gaps)
    }

    /// Returns when the positions are to be kept, if anything has come since they were.
    pub(super) fn kept_due(&self) -> Option<Instant> {
        let kept = self.kept.as_ref()?;
        let is_due = !kept.is_capture && kept.counts != self.counts();
        is_due.then(|| kept.state.due())
    }

    /// Keeps the beginnings of new streams, before any event of them is printed.
    pub(super) fn keep_beginnings(&mut self, client: &Client) -> Result<(), End> {
        let Some(positions) = client.positions() else {
            return Ok(());
        };
        match &mut self.kept {
            Some(kept) if kept.is_capture => {
                kept.positions.adopt_new(positions);
                Ok(kept.state.commit(&kept.positions)?)
            }
            Some(_) => self.keep(positions),
            None => Ok(()),
        }
    }

    /// Keeps the positions now and then while events come without end.
    pub(super) fn keep_amid_events(&mut self, client: &Client) -> Result<(), End> {
        if self.kept.is_some() && self.status.summary.events.is_multiple_of(LOOK_EVENTS) {
            return self.keep_if_due(client);
        }
        Ok(())
    }

    /// Keeps the positions of what has been printed, if it is time.
    pub(super) fn keep_if_due(&mut self, client: &Client) -> Result<(), End> {
        if self.kept_due().is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        self.keep_now(client)
    }

    /// Keeps the positions of what has been printed.
    pub(super) fn keep_now(&mut self, client: &Client) -> Result<(), End> {
        let Some(positions) = client.positions().filter(|_| self.kept_due().is_some()) else {
            return Ok(());
        };
        self.keep(positions)
    }

    /// Writes and syncs the output, and keeps the positions. If they cannot be kept, the run continues,
    /// and they are tried again.
    fn keep(&mut self, positions: &Positions) -> Result<(), End> {
        if self.kept.is_none() {
            return Ok(());
        }
        self.flush()?;
        self.output.sync()?;
        if let Some(folder) = &mut self.folder {
            folder.finish()?;
        }
        let counts = self.counts();
        if let Some(kept) = &mut self.kept
            && kept.state.commit(positions).is_ok()
        {
            kept.counts = counts;
        }
        Ok(())
    }

    /// Keeps the last positions of a run that is not a capture: its output is synced.
    pub(super) fn keep_last(&mut self) -> Result<(), End> {
        match (&mut self.kept, &self.positions) {
            (Some(kept), Some(positions)) if !kept.is_capture => {
                Ok(kept.state.commit(positions)?)
            }
            _ => Ok(()),
        }
    }

    /// Completes the output, and with that of a capture its positions.
    pub(super) fn finish_output(&mut self) -> Result<(), End> {
        match (&mut self.kept, &self.positions) {
            (Some(kept), Some(positions)) if kept.is_capture => {
                let output = &mut self.output;
                kept.state.commit_with(positions, || output.finish())
            }
            _ => self.output.finish(),
        }
    }

    /// Returns whether another run reads what this one has missed. A capture is complete only with it,
    /// unless it has spent its bytes.
    pub(super) fn is_continued(&self) -> bool {
        let is_capture = |kept: &Kept| kept.is_capture && !self.is_spent();
        self.kept.as_ref().is_some_and(|kept| !is_capture(kept))
    }

    /// Fails where a capture has no history of a stream that a later run may have.
    pub(super) fn unavailable(&self) -> Result<(), End> {
        match &self.kept {
            Some(kept) if kept.is_capture && kept.is_unavailable => {
                let message = "the history could not be read: the next run may have it";
                Err(Failure::new(INCOMPLETE, message).into())
            }
            _ => Ok(()),
        }
    }

    /// Tells once that a file of positions was broken.
    pub(super) fn tell_broken(&mut self) -> Result<(), End> {
        let broken_at = self
            .kept
            .as_mut()
            .and_then(|kept| kept.state.broken_at.take());
        match broken_at {
            Some(at) => {
                let now = clock::now();
                let gap = Gap::new(at.min(now), now, "the file of --state was broken");
                self.gap("begun again", &gap)
            }
            None => Ok(()),
        }
    }
}
