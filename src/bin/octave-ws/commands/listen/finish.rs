//! The end of a run, and its last record.

use super::{Run, can_be_written};
use crate::exit::{End, Failure, INCOMPLETE, OUTPUT};
use crate::output::record::{Record, Summary};
use crate::wait::WaitEnded;

impl Run<'_> {
    /// Writes what is left, so that no event is lost, whatever the end.
    pub(super) fn finish(&mut self, end: Result<(), End>) -> Result<(), End> {
        for (reason, count) in self.skipped.iter().filter(|(_, count)| **count > 1) {
            log::warn!("messages were skipped, {count} times: {reason}");
        }
        // A run that was never subscribed has it to tell, too.
        let told = if can_be_written(&end) {
            self.tell_pause()
        } else {
            Ok(())
        };
        let end = told.and(end).and_then(|()| self.unavailable());
        let mut summary = self.status.summary;
        let end = match end {
            Err(End::ReaderGone) => return Err(End::ReaderGone),
            Err(End::Unread(cut)) => {
                // The other files take what is theirs.
                let _ = self.finish_folder();
                return Err(self.unread(cut));
            }
            Err(End::Overdue(failure)) => {
                let events = summary.events;
                let cause =
                    failure.unwrap_or_else(|| format!("not done in time, events: {events}"));
                Err(Failure::new(INCOMPLETE, format!("timeout: {cause}")))
            }
            // Gaps before the run do not count.
            Ok(()) if self.settings.is_gapless && summary.gaps > self.status.pauses => {
                let gaps = summary.gaps - self.status.pauses;
                let message =
                    format!("gaps: events may be missing, gaps: {gaps} (see --require-gapless)");
                Err(Failure::new(INCOMPLETE, message))
            }
            Ok(()) => Ok(()),
            Err(End::Stopped) => self.settings.outcome(Err(End::Stopped)),
            Err(End::Failed(failure)) => Err(failure),
        };
        // Before the summary, which says how the process ends.
        let flushed = self.output.flush().and_then(|()| self.output.sync());
        let flushed = flushed.and(self.finish_folder());
        match flushed {
            Err(End::ReaderGone) => return Err(End::ReaderGone),
            Err(End::Unread(cut)) => return Err(self.unread(cut)),
            _ => {}
        }
        let lost = self.lost();
        summary.events -= lost.0;
        summary.bytes -= lost.1;
        let length = self.output.length();
        summary.exit = match (&end, &flushed) {
            (Err(failure), _) | (Ok(()), Err(End::Failed(failure))) => failure.code,
            _ => 0,
        };
        let written = self.write_summary(summary);
        // The next run writes what this one could not.
        let is_written = match &end {
            Err(failure) => failure.code != OUTPUT,
            Ok(()) => true,
        };
        let kept = match (&flushed, &written) {
            (Ok(()), Ok(())) if is_written && lost.0 == 0 => self.keep_last(),
            _ => Ok(()),
        };
        end?;
        flushed?;
        written?;
        kept?;
        self.output.look(true);
        if let Some(folder) = &mut self.folder {
            folder.look(true);
        }
        let finished = self.finish_output();
        if let (Err(End::Failed(failure)), Some(length)) = (&finished, length) {
            // The summary has the exit code.
            summary.exit = failure.code;
            let written = self.output.take_back(length);
            // The first failure is reported.
            let _ = written.and_then(|()| self.write_summary(summary));
        }
        finished
    }

    /// Writes what is left to each file of a folder, and syncs it. The first error is returned.
    fn finish_folder(&mut self) -> Result<(), End> {
        let Some(folder) = &mut self.folder else {
            return Ok(());
        };
        let flushed = folder.flush();
        flushed.and(folder.finish())
    }

    /// Reports the lines that were not read, where that is possible.
    fn unread(&mut self, cut: WaitEnded) -> End {
        let mut summary = self.status.summary;
        let (events, bytes) = self.lost();
        summary.events -= events;
        summary.bytes -= bytes;
        let outcome = self.settings.outcome(Err(End::Unread(cut)));
        summary.exit = outcome.err().map_or(0, |failure| failure.code);
        let _ = self.write_summary(summary);
        if cut == WaitEnded::Stopped {
            let events = events + self.unread;
            log::warn!("stopped with unread lines, events: {events}");
        }
        End::Unread(cut)
    }

    fn write_summary(&mut self, summary: Summary) -> Result<(), End> {
        let traffic = self.traffic.clone();
        self.write(&Record::Summary(summary, &traffic))?;
        self.output.flush()
    }
}
