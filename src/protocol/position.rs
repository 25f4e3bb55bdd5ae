use std::collections::VecDeque;
use std::mem;

use super::EventId;

/// Events may come out of the order of their dates by so much, in milliseconds.
pub(crate) const OVERLAP: i64 = 5000;

/// Maximum number of ids, unless more of the newest are of one millisecond.
const MAX_IDS: usize = 1024;

/// The delivered part of a stream: the ids that the next fill may meet again, and the date from
/// which it asks. All dates are the cloud's, in milliseconds since the Unix epoch.
///
/// An event is never taken for delivered because of its date, only because of its id: events of one
/// date may come in any order, and late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// `None` for a stream that had no event yet. Never falls.
    from: Option<i64>,
    /// The ids of this date and later that were delivered, or known from before the beginning, by
    /// their dates.
    known: VecDeque<(i64, EventId)>,
    /// Whether a fill has come to this position and no further: events that came before those which are
    /// known may still be missing.
    pub(crate) is_partial: bool,
    /// Whether a gap was reported here: the position begins with the next event.
    pub(super) starts_after_gap: bool,
}

/// Number of ids that prove that nothing is missing behind a partial position.
const ANCHORS: usize = 10;

impl Position {
    /// Returns the position that was kept.
    pub(crate) fn restored(
        from: Option<i64>,
        known: impl IntoIterator<Item = (i64, EventId)>,
    ) -> Self {
        let mut position = Self {
            from,
            known: known.into_iter().collect(),
            is_partial: false,
            starts_after_gap: false,
        };
        position
            .known
            .make_contiguous()
            .sort_by_key(|(date, _)| *date);
        position.rise();
        position
    }

    /// Returns the date from which to ask for more.
    pub(crate) fn from(&self) -> Option<i64> {
        self.from
    }

    /// Returns the date of the newest event.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.known.back().map(|(date, _)| *date)
    }

    #[cfg(test)]
    pub(crate) fn knows_id(&self, id: &EventId) -> bool {
        self.known.iter().any(|(_, known)| known == id)
    }

    /// Returns whether an event of this date is known.
    pub(crate) fn knows(&self, id: &EventId, date: i64) -> bool {
        let begin = self.known.partition_point(|(other, _)| *other < date);
        let of_date = self.known.range(begin..);
        of_date
            .take_while(|(other, _)| *other == date)
            .any(|(_, known)| known == id)
    }

    /// Takes note of an event that is delivered, or that lies before the beginning.
    pub(crate) fn know(&mut self, id: EventId, date: i64) {
        if self.from.is_some_and(|from| date < from) || self.knows(&id, date) {
            return;
        }
        if mem::take(&mut self.starts_after_gap) {
            self.forget_before(date);
        }
        // Nearly always the last place.
        let after = self
            .known
            .iter()
            .rev()
            .take_while(|(other, _)| *other > date);
        let place = self.known.len() - after.count();
        self.known.insert(place, (date, id));
        self.rise();
    }

    /// Skips a gap that has been reported.
    pub(crate) fn pass(&mut self) {
        self.starts_after_gap = true;
    }

    /// Forgets the oldest ids beyond this number, by whole milliseconds: what is asked for again has
    /// to be known. The newest one stays.
    pub(crate) fn shrink(&mut self, most: usize) {
        while self.known.len() > most
            && let Some((oldest, _)) = self.known.front()
            && self.newest() > Some(*oldest)
        {
            let from = *oldest + 1;
            self.forget_before(from);
        }
    }

    /// Returns the memory of ids that were forgotten.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.known.shrink_to_fit();
    }

    /// Returns the ids all of which prove that nothing has been removed behind the position. Without any,
    /// each one that is known does.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = &(i64, EventId)> {
        let anchors = if self.is_partial { ANCHORS } else { 0 };
        self.known.iter().rev().take(anchors)
    }

    fn rise(&mut self) {
        let Some(newest) = self.newest() else { return };
        let from = newest.saturating_sub(OVERLAP);
        self.forget_before(self.from.map_or(from, |before| before.max(from)));
        self.shrink(MAX_IDS);
    }

    fn forget_before(&mut self, from: i64) {
        self.from = Some(from);
        while self.known.front().is_some_and(|(date, _)| *date < from) {
            self.known.pop_front();
        }
    }

    /// Returns the ids that are known, by their dates.
    pub(crate) fn known(&self) -> impl ExactSizeIterator<Item = &(i64, EventId)> {
        self.known.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> EventId {
        EventId::new(&format!("e{n:024x}"))
    }

    #[test]
    fn the_date_lies_behind_the_newest_one_and_never_falls() {
        let mut position = Position::default();
        assert_eq!((position.from(), position.newest()), (None, None));
        position.know(id(1), 10_000);
        assert_eq!(position.from(), Some(5000));
        position.know(id(2), 5000);
        assert!(position.knows_id(&id(2)));
        position.know(id(3), 4999);
        assert!(!position.knows_id(&id(3)));
        position.know(id(4), 10_001);
        assert_eq!(position.from(), Some(5001));
        assert!(!position.knows_id(&id(2)) && position.knows_id(&id(1)));
        assert_eq!(position.newest(), Some(10_001));
        let known: Vec<i64> = position.known().map(|(date, _)| *date).collect();
        assert_eq!(known, [10_000, 10_001]);
    }

    #[test]
    fn an_event_is_known_once() {
        let mut position = Position::default();
        for _ in 0..3 {
            position.know(id(1), 10_000);
            position.know(id(2), 10_000);
        }
        assert_eq!(position.known().len(), 2);
    }

    #[test]
    fn behind_a_hole_it_begins_with_the_next_event() {
        let mut position = Position::default();
        position.know(id(1), 10_000);
        position.pass();
        assert_eq!(position.from(), Some(5000));
        position.know(id(2), 12_000);
        assert_eq!(position.from(), Some(12_000));
        assert!(!position.knows_id(&id(1)));
        position.know(id(3), 13_000);
        assert_eq!(position.from(), Some(12_000));
    }

    #[test]
    fn beyond_the_most_ids_whole_milliseconds_go() {
        let mut position = Position::default();
        for n in 0..MAX_IDS {
            position.know(id(n), 100 + i64::try_from(n / 10).unwrap());
        }
        assert_eq!(position.known().len(), MAX_IDS);
        position.know(id(MAX_IDS), 1000);
        position.know(id(MAX_IDS + 1), 1001);
        assert_eq!(position.from(), Some(101));
        assert_eq!(position.known().len(), MAX_IDS + 2 - 10);
        // All of one, however many.
        for n in 0..2 * MAX_IDS {
            position.know(id(MAX_IDS + 2 + n), 2000);
        }
        assert_eq!(position.from(), Some(1002));
        assert_eq!(position.known().len(), 2 * MAX_IDS);
        assert_eq!(position.anchors().count(), 0);
        position.is_partial = true;
        assert_eq!(position.anchors().count(), ANCHORS);
        position.is_partial = false;
        let restored = Position::restored(position.from(), position.known().cloned());
        assert_eq!(restored, position);
    }
}
