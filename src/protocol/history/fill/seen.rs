//! The events of a fill.

use std::collections::HashMap;

use crate::protocol::EventId;

/// Number of ids beyond twice those in use at which old ones are forgotten.
const SPARE: usize = 256;

/// The ids that later pages may hold again, with their dates.
#[derive(Debug, Default)]
pub(super) struct Seen {
    dates: HashMap<EventId, i64>,
    forget_at: usize,
}

impl Seen {
    /// Adds an event. Returns whether it was not there.
    pub(super) fn insert(&mut self, id: &EventId, date: i64) -> bool {
        self.dates.insert(id.clone(), date).is_none()
    }

    pub(super) fn contains(&self, id: &EventId) -> bool {
        self.dates.contains_key(id)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.dates.len()
    }

    /// Forgets events before this date, now and then: a history may have millions.
    pub(super) fn forget_before(&mut self, date: i64) {
        if self.dates.len() >= self.forget_at + SPARE {
            self.dates.retain(|_, kept| *kept >= date);
            self.forget_at = 2 * self.dates.len();
        }
    }
}
