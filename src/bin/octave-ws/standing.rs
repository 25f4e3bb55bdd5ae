//! How far a run is.

use std::time::Instant;

use crate::record::Summary;

pub(crate) struct Standing {
    pub(crate) is_connected: bool,
    pub(crate) was_connected: bool,
    pub(crate) streams: usize,
    pub(crate) summary: Summary,
    /// As many streams wait for their first answer.
    pub(crate) unanswered: usize,
    /// When the last stream was subscribed.
    pub(crate) subscribed_at: Option<Instant>,
    /// When the last event came.
    pub(crate) event_at: Option<Instant>,
}

impl Standing {
    pub(crate) fn new(streams: usize) -> Self {
        Self {
            is_connected: false,
            was_connected: false,
            streams,
            summary: Summary::default(),
            unanswered: streams,
            subscribed_at: None,
            event_at: None,
        }
    }

    /// How it is about the connection.
    pub(crate) fn state(&self) -> String {
        if !self.was_connected {
            "connecting".to_owned()
        } else if !self.is_connected {
            "connecting again".to_owned()
        } else if self.unanswered > 0 {
            let answered = self.streams - self.unanswered;
            format!("subscribed to {answered} of {} streams", self.streams)
        } else {
            "connected".to_owned()
        }
    }

    /// All of it, in one line.
    pub(crate) fn status(&self) -> String {
        let Summary {
            events,
            gaps,
            bytes,
            ..
        } = self.summary;
        let state = self.state();
        format!("{state}, events: {events}, bytes: {bytes}, gaps: {gaps}")
    }

    /// Since when nothing has come of all that was subscribed.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        self.subscribed_at
            .map(|at| self.event_at.map_or(at, |event| event.max(at)))
    }
}
