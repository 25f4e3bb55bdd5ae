//! Tells of the times for which events may be missing, and of what has filled them.

use std::mem;

use octave_ws::{Client, Filled, Gap, Why, clock};

use super::Run;
use crate::exit::End;
use crate::format::Format;
use crate::output::record::Record;
use crate::status::stderr;

/// Number of gaps of streams after a loss that have a line of their own.
const MOST_GAPS: usize = 3;

impl Run<'_> {
    /// Tells that events may be missing.
    pub(super) fn gap(&mut self, how: &str, gap: &Gap) -> Result<(), End> {
        self.write(&Record::Gap(gap))?;
        // Standard error follows standard output: events before the gap are read before it.
        let flushed = self.flush();
        self.tell_gap(how, gap);
        flushed
    }

    /// Reports a gap on standard error alone.
    pub(super) fn tell_gap(&mut self, how: &str, gap: &Gap) {
        self.status.summary.gaps += 1;
        let [from, to] = [gap.from, gap.to].map(humantime::format_rfc3339_millis);
        let reason = &gap.reason;
        // At any verbosity: it is a loss of data.
        stderr::warning(&format!(
            "{how}, events may be missing from {from} to {to}: {reason}"
        ));
    }

    /// Tells once of the time since a file of records was last written to.
    pub(super) fn tell_pause(&mut self) -> Result<(), End> {
        let since = self.output.take_missing_since();
        // The time since then is filled.
        let since = since.filter(|_| self.kept.is_none());
        match since.filter(|_| matches!(self.settings.format, Format::Record)) {
            Some(since) => {
                let now = clock::now();
                self.status.pauses += 1;
                self.gap("begun again", &Gap::new(since.min(now), now, "not running"))
            }
            None => Ok(()),
        }
    }

    /// Tells of what was missed and has been read.
    pub(super) fn filled(&mut self, filled: &Filled) -> Result<(), End> {
        if filled.events == 0 {
            return Ok(());
        }
        let (stream, events) = (&filled.stream, filled.events);
        log::info!("filled from the history: {stream}, events: {events}");
        self.write(&Record::Filled(filled))
    }

    /// Tells of what a stream's history does not have: on standard error of the first few alone.
    pub(super) fn gap_of_stream(&mut self, gap: &Gap) -> Result<(), End> {
        let unavailable = gap
            .stream
            .as_ref()
            .filter(|(_, why)| *why == Why::Unavailable);
        if let Some((stream, _)) = unavailable.filter(|_| self.is_continued())
            && self.settings.is_overdue()
        {
            log::info!("{stream}: not read in time: the next run begins there");
            return Ok(());
        }
        self.write(&Record::Gap(gap))?;
        self.status.summary.gaps += 1;
        self.stream_gaps += 1;
        if let (Some(kept), Some((_, Why::Unavailable))) = (&mut self.kept, &gap.stream) {
            kept.is_unavailable = true;
        }
        if self.stream_gaps <= MOST_GAPS {
            // Standard error follows standard output.
            self.flush()?;
            stderr::gap(gap);
        }
        Ok(())
    }

    /// Writes the streams that are subscribed again, before what history has of them.
    pub(super) fn look_at_subscriptions(&mut self, client: &Client) -> Result<(), End> {
        let is_again = || client.unfilled() > 0 || client.loss().is_none();
        let is_due = self.settings.is_filled && self.is_loss_recorded && !self.is_restored;
        if is_due && is_again() {
            self.write_subscribed(client)?;
            self.is_restored = true;
        }
        Ok(())
    }

    /// Takes note of how far the history has been read.
    pub(super) fn look_at_fill(&mut self, client: &Client) -> Result<(), End> {
        let unfilled = client.unfilled();
        let was_unfilled = mem::replace(&mut self.status.unfilled, unfilled) > 0;
        // What was read is not to be read again, however soon the run is killed.
        if let Some(kept) = self.kept.as_mut().filter(|_| was_unfilled && unfilled == 0) {
            kept.state.hasten();
        }
        let is_over = unfilled == 0 && client.loss().is_none();
        if is_over && self.is_loss_recorded {
            self.resumed(client)?;
        }
        if is_over {
            self.tell_other_gaps();
        }
        Ok(())
    }

    /// Tells of the gaps of a loss that were not told of one by one.
    pub(super) fn tell_other_gaps(&mut self) {
        let others = mem::take(&mut self.stream_gaps).saturating_sub(MOST_GAPS);
        if others > 0 {
            stderr::warning(&format!(
                "events may be missing of {others} further streams"
            ));
        }
    }
}
