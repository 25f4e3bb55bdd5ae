//! How far a run is.

use std::time::Instant;

use crate::record::Summary;

#[derive(Default)]
pub(crate) struct Standing {
    pub(crate) summary: Summary,
    /// As many streams wait for their first answer.
    pub(crate) unanswered: usize,
    /// When the last stream was subscribed.
    pub(crate) subscribed_at: Option<Instant>,
    /// When the last event came.
    pub(crate) event_at: Option<Instant>,
}

impl Standing {
    /// Since when nothing has come of all that was subscribed.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        self.subscribed_at
            .map(|at| self.event_at.map_or(at, |event| event.max(at)))
    }
}
