//! Receives updates until the run is at its end.

use std::mem;
use std::time::{Duration, Instant};

use octave_ws::wait::poll;
use octave_ws::{Ack, Action, Client, Handover, Update};

use super::Run;
use super::shown::Shown;
use crate::exit::{End, Failure, INCOMPLETE, UNAVAILABLE};
use crate::output::folder::Folder;
use crate::output::record::Record;
use crate::settings::values::Require;
use crate::status::progress::Progress;
use crate::status::systemd::Notify;
use crate::wait;

/// The time after the idle time in which a run still looks for an event among other messages.
const BUSY: Duration = Duration::from_secs(2);

/// Interval for looking how many bytes have been sent and received, where that is limited: nothing
/// else tells of pings and of attempts to connect.
const LOOK: Duration = Duration::from_secs(1);

/// Number of streams beyond which their subscriptions are logged together.
const MANY: usize = 20;

impl Run<'_> {
    pub(super) fn receive(&mut self, client: &mut Client) -> Result<(), End> {
        loop {
            // First what has been read already, so that lines go out together while there are more.
            let next = match client.next_buffered() {
                Ok(None) => {
                    // While the reader is waited for, nothing is heard: that is no quiet time.
                    self.flush()?;
                    self.keep_if_due(client)?;
                    self.update_status(client);
                    let end = self.end();
                    let now = Instant::now();
                    client.set_connect_limit(end.map(|end| end.saturating_duration_since(now)));
                    let until = end.into_iter().chain(self.due()).min();
                    let left = until.map(|until| until.saturating_duration_since(now));
                    client.next(left.unwrap_or(Duration::MAX))
                }
                Ok(Some(next)) => Ok(next),
                Err(error) => Err(error),
            };
            let is_quiet = matches!(next, Ok(Update::TimedOut));
            self.look_at_subscriptions(client)?;
            if next.is_err() {
                self.refused(client, true)?;
            }
            match next {
                Ok(Update::Event(event)) => {
                    self.print(&event)?;
                    if self.has_enough() {
                        return Ok(());
                    }
                    self.keep_amid_events(client)?;
                }
                Ok(Update::Connected) => {
                    self.connected(&client.peer())?;
                    // The client asks again on later ones.
                    if client.connections() == 1 {
                        client.request_all(Action::Subscribe, &self.streams)?;
                        // They may have changed, and a share may be empty.
                        self.settle()?;
                    }
                }
                Ok(Update::Ack(ack)) => self.answered(ack, &client.peer())?,
                // Without a stream there was nothing to lose.
                Ok(Update::Lost(_)) if client.loss().is_none() => {}
                Ok(Update::Lost(loss)) => {
                    self.status.lost();
                    self.is_loss_recorded = true;
                    self.write(&Record::Lost(&loss))?;
                    // Before more is said of it.
                    self.flush()?;
                    self.refused(client, true)?;
                }
                Ok(Update::Handover(handover)) => self.handed_over(client, &handover)?,
                Ok(Update::Disconnected(failure)) => self.failed(&failure),
                Ok(Update::Gap(gap)) if gap.stream.is_some() => self.gap_of_stream(&gap)?,
                Ok(Update::Begun) => self.keep_beginnings(client)?,
                Ok(Update::Filled(filled)) => self.filled(&filled)?,
                Ok(Update::Gap(gap)) => {
                    self.resumed(client)?;
                    self.gap("connected again", &gap)?;
                }
                Ok(Update::Unknown(unknown)) => {
                    let count = self.skipped.entry(unknown.reason().to_owned()).or_default();
                    *count += 1;
                    if *count == 1 {
                        log::warn!("a message was skipped: {}", unknown.reason());
                    }
                }
                Ok(Update::FdReady(_)) => {
                    if self.output.is_left() {
                        return Err(End::ReaderGone);
                    }
                    if poll::is_readable(&self.hangups) {
                        self.hangups.drain();
                        if !self.stop.is_stopped() {
                            self.reload(client)?;
                        }
                    }
                }
                Ok(Update::Closed) => {
                    let closed = "socket: the connection is closed";
                    return Err(Failure::new(UNAVAILABLE, closed).into());
                }
                Ok(_) => {}
                // An attempt to connect that was cut short by the end of the run.
                Err(error) if error.is_retryable() && self.settings.is_overdue() => {
                    return Err(End::Overdue(Some(Failure::from(error).to_string())));
                }
                Err(error) if error.is_retryable() && self.is_at_end(true) => {
                    return self.done(client);
                }
                Err(error) => return Err(error.into()),
            }
            if self.settings.is_filled {
                self.look_at_fill(client)?;
            }
            self.refused(client, false)?;
            if self.settings.is_overdue() {
                let failure = match self.refused(client, true) {
                    Err(End::Failed(refused)) => Some(refused),
                    _ => client.last_failure().map(Failure::from),
                };
                return Err(End::Overdue(failure.map(|failure| failure.to_string())));
            }
            if self.is_at_end(is_quiet) {
                return self.done(client);
            }
        }
    }

    fn connected(&mut self, peer: &str) -> Result<(), End> {
        log::info!("connected to {peer}");
        self.status.was_connected = true;
        // The records of the connection before do not count for this one.
        self.recorded.clear();
        self.is_restored = false;
        self.write(&Record::Connected(peer))
    }

    fn handed_over(&mut self, client: &Client, handover: &Handover) -> Result<(), End> {
        self.resumed(client)?;
        self.write(&Record::Handover(handover))?;
        let events = handover.events;
        log::info!("handed over, events from the old connection: {events}");
        Ok(())
    }

    /// Takes note that all streams are subscribed again.
    pub(super) fn resumed(&mut self, client: &Client) -> Result<(), End> {
        if !mem::take(&mut self.is_restored) {
            self.write_subscribed(client)?;
        }
        self.is_loss_recorded = false;
        self.status.resumed();
        Ok(())
    }

    /// Writes the streams that are subscribed again.
    pub(super) fn write_subscribed(&mut self, client: &Client) -> Result<(), End> {
        let recorded = mem::take(&mut self.recorded);
        for stream in client.subscribed() {
            if !recorded.contains(stream) {
                self.write(&Record::Subscribed(stream))?;
            }
        }
        Ok(())
    }

    /// Fails if a bounded run has no connection at its end, or an open loss.
    fn done(&self, client: &Client) -> Result<(), End> {
        let is_unfilled = client.is_connected() && client.unfilled() > 0;
        if self.settings.is_capture && is_unfilled && !self.is_continued() {
            let message = "the history was not read to its end";
            return Err(Failure::new(INCOMPLETE, message).into());
        }
        let is_subscribed = client.loss().is_none() || client.is_handing_over();
        if !self.settings.is_capture || client.is_connected() && is_subscribed {
            return Ok(());
        }
        let mut message = "no connection at the end of the run".to_owned();
        if let Some(error) = client.last_failure() {
            message = format!("{message}: {}", Failure::from(error));
        }
        Err(Failure::new(INCOMPLETE, message).into())
    }

    /// Updates the status for systemd, the terminal and the summary.
    fn update_status(&mut self, client: &mut Client) {
        self.output.look(false);
        if let Some(folder) = &mut self.folder {
            folder.look(false);
        }
        self.status.is_connected = client.is_connected();
        // A loss may be reported later. Events that wait are no quiet time.
        if client.loss().is_some() && client.unfilled() == 0 || client.is_handing_over() {
            self.status.lost();
        } else if !self.is_loss_recorded {
            self.status.resumed();
        }
        self.status.update();
        if let Some(progress) = &mut self.progress {
            progress.draw(&self.status);
        }
        self.update_status_file(client);
        if let Some(notify) = &mut self.notify {
            notify.status(|| self.status.line());
            if notify.feed(client.heard_at()) {
                // A connection that takes no ping is lost, which the client tells and mends.
                let _ = client.ping();
            }
        }
    }

    /// Returns when to look again.
    fn due(&self) -> Option<Instant> {
        let progress = self.progress.as_ref().map(Progress::due);
        let notify = self.notify.as_ref().and_then(Notify::due);
        let refused = self.refusals.due().filter(|_| self.is_refused());
        let spent = self.settings.max_bytes.map(|_| Instant::now() + LOOK);
        let shown = self.shown.as_ref().and_then(Shown::due);
        let folder = self.folder.as_ref().and_then(Folder::due);
        let due = [
            progress,
            notify,
            shown,
            folder,
            self.output.due(),
            self.kept_due(),
            refused,
            spent,
        ];
        due.into_iter().flatten().min()
    }

    /// Returns whether there is nothing more to wait for. That no event has come for so long is not
    /// said before all has been read that came, until it is quiet. What comes without end, and is
    /// no event, does not put it off for longer than `BUSY`.
    fn is_at_end(&self, is_quiet: bool) -> bool {
        let busy = self.idle_end().map(|end| end + BUSY);
        let end = if is_quiet {
            self.end()
        } else {
            self.duration_end().into_iter().chain(busy).min()
        };
        end.is_some_and(|end| end <= Instant::now()) || self.is_spent()
    }

    /// Returns whether as many bytes as are allowed have been sent and received.
    pub(super) fn is_spent(&self) -> bool {
        let most = self.settings.max_bytes;
        most.is_some_and(|most| most <= self.traffic.total())
    }

    /// Returns when there is nothing more to wait for.
    fn end(&self) -> Option<Instant> {
        [self.duration_end(), self.idle_end(), self.settings.deadline]
            .into_iter()
            .flatten()
            .min()
    }

    fn idle_end(&self) -> Option<Instant> {
        if self.status.unfilled > 0 {
            return None;
        }
        after(self.status.quiet_since(), self.settings.idle)
    }

    /// Returns when the duration is over. No run ends before what it has missed is read.
    fn duration_end(&self) -> Option<Instant> {
        if self.status.unfilled > 0 {
            return None;
        }
        after(self.status.subscribed_at, self.settings.duration)
    }

    /// Returns whether the refusals end the run.
    fn is_refused(&self) -> bool {
        let count = self.refusals.count();
        match self.settings.require {
            Require::All => count > 0,
            Require::Any => count > 0 && count == self.streams.len(),
        }
    }

    /// Fails with the refusals, if they end the run, once each stream is answered or no other answer is
    /// waited for.
    pub(super) fn refused(&self, client: &Client, is_over: bool) -> Result<(), End> {
        let is_answered = || self.unanswered.is_empty() && client.connections() == 1;
        let is_due = || self.refusals.due().is_some_and(|due| due <= Instant::now());
        if self.is_refused() && (is_over || is_answered() || is_due()) {
            let streams = self.streams.len();
            return Err(self.refusals.failure(&client.peer(), streams).into());
        }
        Ok(())
    }

    fn answered(&mut self, ack: Ack, peer: &str) -> Result<(), End> {
        if ack.is_retried() {
            return self.write(&Record::Refused(&ack.stream));
        }
        let is_transient = ack.is_transient();
        let stream = ack.stream;
        if ack.action == Action::Unsubscribe {
            self.unanswered.unsubscribed(&stream);
            match ack.outcome {
                Ok(()) => log::info!("unsubscribed from {stream}"),
                Err(words) => log::warn!("unsubscribe: {peer} refused {stream}: {words}"),
            }
            return Ok(());
        }
        if !self.unanswered.answered(&stream) {
            return Ok(());
        }
        match ack.outcome {
            Ok(()) => {
                if self.streams.len() > MANY {
                    log::debug!("subscribed to {stream}");
                    self.untold += 1;
                } else {
                    log::info!("subscribed to {stream}");
                }
                self.refusals.remove(&stream);
                self.refusals.answered();
                self.write(&Record::Subscribed(&stream))?;
                if self.status.is_lost() {
                    self.recorded.insert(stream);
                }
            }
            Err(words) => {
                self.write(&Record::Refused(&stream))?;
                if self.settings.require == Require::Any {
                    log::warn!("subscribe: {peer} refused {stream}: {words}");
                }
                self.refusals.add(stream, words, is_transient);
            }
        }
        self.settle()
    }

    /// Notes that each stream is subscribed, once that is so.
    pub(super) fn settle(&mut self) -> Result<(), End> {
        self.status.unanswered = self.unanswered.len();
        if self.untold > 0 && self.unanswered.is_empty() {
            let untold = mem::take(&mut self.untold);
            log::info!("subscribed to {untold} streams");
        }
        let is_first = self.status.subscribed_at.is_none();
        if is_first && self.unanswered.is_empty() && !self.is_refused() {
            self.status.subscribed();
            wait::set_end(self.duration_end());
            self.tell_pause()?;
            self.tell_broken()?;
        }
        Ok(())
    }
}

fn after(at: Option<Instant>, time: Option<Duration>) -> Option<Instant> {
    at?.checked_add(time?)
}
