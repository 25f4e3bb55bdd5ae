//! The state and the counts of a run.

use std::mem;
use std::time::Instant;

use crate::output::record::Summary;

pub(crate) struct RunStatus {
    pub(crate) is_connected: bool,
    pub(crate) was_connected: bool,
    pub(crate) streams: usize,
    pub(crate) summary: Summary,
    /// Number of gaps that began before the run.
    pub(crate) pauses: u64,
    /// Number of streams that wait for their first answer.
    pub(crate) unanswered: usize,
    /// Number of streams whose history is still to be read.
    pub(crate) unfilled: usize,
    /// Time at which the last stream was subscribed.
    pub(crate) subscribed_at: Option<Instant>,
    /// Time of the last event.
    pub(crate) event_at: Option<Instant>,
    /// Whether one has come since that was written down.
    has_event: bool,
    /// Begin of the time without events, less the time without a connection.
    quiet_since: Option<Instant>,
    /// Time of the loss, until there is another connection.
    lost_at: Option<Instant>,
}

impl RunStatus {
    pub(crate) fn new(streams: usize) -> Self {
        Self {
            is_connected: false,
            was_connected: false,
            streams,
            summary: Summary::default(),
            pauses: 0,
            unanswered: streams,
            unfilled: 0,
            subscribed_at: None,
            event_at: None,
            has_event: false,
            quiet_since: None,
            lost_at: None,
        }
    }

    /// Returns the state of the connection, for people.
    pub(crate) fn state(&self) -> String {
        if !self.was_connected {
            "connecting".to_owned()
        } else if !self.is_connected {
            "connecting again".to_owned()
        } else if self.is_lost() && self.unfilled == 0 {
            "subscribing again".to_owned()
        } else if self.unanswered > 0 {
            let answered = self.streams - self.unanswered;
            format!("subscribed to {answered} of {} streams", self.streams)
        } else if self.unfilled > 0 {
            let filled = self.streams.saturating_sub(self.unfilled);
            format!("filling {filled}/{}", self.streams)
        } else {
            "connected".to_owned()
        }
    }

    /// Returns all of it, in one line.
    pub(crate) fn line(&self) -> String {
        let Summary {
            events,
            gaps,
            bytes,
            ..
        } = self.summary;
        let state = self.state();
        format!("{state}, events: {events}, bytes: {bytes}, gaps: {gaps}")
    }

    /// Notes that all streams are subscribed.
    pub(crate) fn subscribed(&mut self) {
        let now = Instant::now();
        self.subscribed_at = Some(now);
        self.quiet_since = Some(now);
    }

    pub(crate) fn event(&mut self) {
        self.has_event = true;
    }

    /// Writes down when the last event came: once for all that lie in a buffer.
    pub(crate) fn update(&mut self) {
        if !mem::take(&mut self.has_event) {
            return;
        }
        let now = Instant::now();
        self.event_at = Some(now);
        // Events before all streams are subscribed do not start it.
        if let Some(quiet_since) = &mut self.quiet_since {
            *quiet_since = now;
        }
    }

    pub(crate) fn lost(&mut self) {
        self.lost_at.get_or_insert_with(Instant::now);
    }

    pub(crate) fn resumed(&mut self) {
        if let (Some(lost_at), Some(quiet_since)) = (self.lost_at.take(), &mut self.quiet_since) {
            *quiet_since += lost_at.elapsed();
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost_at.is_some()
    }

    /// Returns since when nothing has come, unless something just has, or there is no connection
    /// that it could come by.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        self.quiet_since
            .filter(|_| !self.has_event && !self.is_lost())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_one_once_all_is_subscribed_again() {
        let mut status = RunStatus::new(2);
        assert_eq!(status.state(), "connecting");
        (status.was_connected, status.is_connected) = (true, true);
        assert_eq!(status.state(), "subscribed to 0 of 2 streams");
        status.unanswered = 0;
        assert_eq!(status.state(), "connected");
        status.lost();
        status.is_connected = false;
        assert_eq!(status.state(), "connecting again");
        status.is_connected = true;
        assert_eq!(status.state(), "subscribing again");
        status.resumed();
        assert_eq!(status.state(), "connected");
    }
}
