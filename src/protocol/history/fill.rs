use std::collections::HashSet;
use std::mem;
use std::time::Duration;

use self::seen::Seen;
use super::outcome::{Hole, Next, Taken, Why};
use super::query::{Entry, Query};
use crate::protocol::EventId;
use crate::protocol::position::{OVERLAP, Position};

/// Number of events that a query returns at least, if there are so many: a service may cap the limit,
/// but not below its default.
const DEFAULT_LIMIT: usize = 20;

/// The limit of the first page, and that of later ones.
const FIRST_LIMIT: usize = 100;
const MOST_PER_PAGE: usize = 1000;

/// The limit for the events of one millisecond.
const MOST_LIMIT: usize = 100_000;

/// Number of events of a page that the next one begins with, at least.
const AGAIN: usize = 5;

/// Number of repetitions, and the delay before each, for an event that history does not show yet.
const MOST_WAITS: u32 = 10;
const WAIT: Duration = Duration::from_secs(1);

/// Number of repetitions where history was late once.
const LATE_WAITS: u32 = 6;

/// An event may be pushed so long after history has shown newer ones, in milliseconds.
const MOST_LATE: i64 = 2 * OVERLAP;

/// Reads the history of a stream from its position on, page by page.
///
/// Each page begins with the date of the last event of the page before, and so has to hold an event
/// that is known: otherwise the service has removed some in between. A page of fewer events than any
/// service returns is the last one.
#[derive(Debug)]
pub(crate) struct Fill {
    stage: Stage,
    since: Option<i64>,
    start: usize,
    limit: usize,
    /// The limit may grow to this: less after an answer that was too long.
    ceiling: usize,
    /// The date behind which nothing is wanted.
    until: Option<i64>,
    /// Events that the next page has to hold, by their dates: all of them, or without any, one that is
    /// known.
    anchors: Vec<(i64, EventId)>,
    /// Whether the next page may begin with any event.
    skips_join_check: bool,
    /// The events that were known before.
    known: HashSet<EventId>,
    /// The events of this fill, known before or not.
    seen: Seen,
    /// The date of the newest event that is known.
    newest: Option<i64>,
    /// A hole that the next answer ends.
    hole: Option<(Why, Option<i64>)>,
    waits: u32,
    /// Whether the events lie before the beginning: they are known, and not delivered.
    is_beginning: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The newest events are asked for.
    Newest,
    Paging,
    /// Whether there are events behind a page is asked.
    Probing,
}

impl Fill {
    /// Begins where the position is. `queued` are events of it that are on the way to the caller.
    pub(crate) fn new(position: &Position, queued: impl IntoIterator<Item = EventId>) -> Self {
        Self {
            stage: Stage::Paging,
            since: position.from(),
            start: 0,
            limit: FIRST_LIMIT,
            ceiling: MOST_LIMIT,
            until: None,
            anchors: position.anchors().cloned().collect(),
            skips_join_check: false,
            known: position
                .known()
                .map(|(_, id)| id.clone())
                .chain(queued)
                .collect(),
            seen: Seen::default(),
            newest: position.newest(),
            hole: None,
            waits: 0,
            is_beginning: false,
        }
    }

    /// Skips the check that the first page joins the position.
    pub(crate) fn without_join_check(mut self) -> Self {
        self.skips_join_check = true;
        self
    }

    /// Begins a stream that has no position: its newest events become known.
    pub(crate) fn beginning() -> Self {
        Self {
            stage: Stage::Newest,
            is_beginning: true,
            ..Self::new(&Position::default(), [])
        }
    }

    /// Begins at this date, whatever came before.
    pub(crate) fn since(date: i64) -> Self {
        Self {
            since: Some(date),
            skips_join_check: true,
            ..Self::new(&Position::default(), [])
        }
    }

    /// Wants no event behind this date.
    pub(crate) fn until(mut self, date: i64) -> Self {
        self.until = Some(date);
        self
    }

    /// Returns whether the beginning of a stream is looked for.
    pub(crate) fn is_beginning(&self) -> bool {
        self.is_beginning
    }

    /// Returns the next request.
    pub(crate) fn query(&self) -> Query {
        let limit = match self.stage {
            Stage::Newest => DEFAULT_LIMIT.min(self.limit),
            Stage::Paging => self.limit,
            Stage::Probing => 1,
        };
        Query {
            since: self.since.filter(|_| self.stage != Stage::Newest),
            is_descending: self.stage == Stage::Newest,
            start: self.start,
            limit,
        }
    }

    /// Returns whether an event has come with this fill, or was known before.
    fn has(&self, id: &EventId) -> bool {
        self.seen.contains(id) || self.known.contains(id)
    }

    /// Takes an answer, given at this date of the cloud. `waiting` are the events of the stream that
    /// were pushed since it was subscribed, and are not delivered.
    pub(crate) fn take(
        &mut self,
        page: &[Entry],
        position: &mut Position,
        waiting: &[(EventId, i64)],
        date: Option<i64>,
    ) -> Taken {
        let mut taken = match self.stage {
            Stage::Newest => self.take_newest(page, position),
            Stage::Paging => self.take_page(page, waiting, date),
            Stage::Probing if page.is_empty() => {
                let mut taken = Taken::then(Next::Over);
                self.end(waiting, &mut taken);
                taken
            }
            Stage::Probing => {
                self.hole = Some((Why::Crowded, self.since));
                self.go_to(self.since.map(|since| since.saturating_add(1)));
                Taken::then(Next::Ask)
            }
        };
        if let Some(since) = self.since {
            let oldest_waiting = waiting.iter().map(|(_, date)| *date).min();
            let date = since.saturating_sub(MOST_LATE);
            self.seen
                .forget_before(oldest_waiting.map_or(date, |oldest| oldest.min(date)));
        }
        position.is_partial = taken.next != Next::Over;
        if self.is_beginning {
            for at in taken.new.drain(..) {
                position.know(page[at].id.clone(), page[at].date);
            }
        }
        taken
    }

    fn take_page(
        &mut self,
        page: &[Entry],
        waiting: &[(EventId, i64)],
        date: Option<i64>,
    ) -> Taken {
        let mut taken = Taken::then(Next::Ask);
        let first = page.first().map(|entry| entry.date);
        let skips_join_check = mem::take(&mut self.skips_join_check);
        if let Some((why, from)) = self.hole.take() {
            let to = first.or(date);
            taken.holes.push(Hole { why, from, to });
            self.anchors.clear();
        } else if !skips_join_check && !self.is_joined(page) {
            let last = page.last().map(|entry| entry.date);
            if self.may_be_late(date, last) && self.waits < MOST_WAITS {
                taken.next = self.wait();
                return taken;
            }
            let why = first.map_or(Why::NoHistory, |_| Why::Evicted);
            let (from, to) = (self.newest, first.or(date));
            taken.holes.push(Hole { why, from, to });
            self.anchors.clear();
            if page.is_empty() {
                self.stage = Stage::Newest;
                return taken;
            }
        }
        let is_wanted = |entry: &&Entry| self.until.is_none_or(|until| entry.date <= until);
        let wanted = page.iter().take_while(is_wanted).count();
        let mut is_news = false;
        for (at, entry) in page[..wanted].iter().enumerate() {
            self.newest = self.newest.max(Some(entry.date));
            if self.seen.insert(&entry.id, entry.date) {
                is_news = true;
                if !self.known.contains(&entry.id) {
                    taken.new.push(at);
                }
            }
        }
        if wanted < page.len() {
            taken.next = Next::Over;
        } else {
            self.proceed(page, is_news, waiting, &mut taken);
        }
        taken
    }

    /// Returns whether nothing can have been removed before a page.
    fn is_joined(&self, page: &[Entry]) -> bool {
        let has_none = page.is_empty() && self.newest.is_none();
        if self.is_beginning || self.start > 0 || has_none {
            return true;
        }
        let last = page.last().map(|entry| entry.date);
        let is_full = page.len() >= self.limit;
        let mut anchors = self.anchors.iter();
        let is_there = |(date, id): &(i64, EventId)| {
            let is_beyond = is_full && Some(*date) >= last;
            is_beyond || page.iter().any(|entry| entry.id == *id)
        };
        page.iter().any(|entry| self.has(&entry.id)) && anchors.all(is_there)
    }

    /// Asks for the next page, which begins with the last events of this one: late events may belong
    /// before its end, and events between them may be removed meanwhile.
    fn follow(&mut self, page: &[Entry], last: i64) {
        let again = (page.len() / 10).max(AGAIN);
        let since = page.iter().rev().nth(again).map(|entry| entry.date);
        let since = since
            .filter(|since| Some(*since) > self.since)
            .unwrap_or(last);
        let anchors = page.iter().filter(|entry| entry.date >= since);
        self.anchors = anchors
            .map(|entry| (entry.date, entry.id.clone()))
            .collect();
        self.go_to(Some(since));
    }

    /// Decides what follows a page all of which was wanted.
    fn proceed(
        &mut self,
        page: &[Entry],
        is_news: bool,
        waiting: &[(EventId, i64)],
        taken: &mut Taken,
    ) {
        let last = page.last().map(|entry| entry.date);
        if let Some((id, date)) = waiting.first()
            && self.has(id)
            && last > Some(date.saturating_add(OVERLAP))
        {
            // What follows was pushed.
            taken.next = Next::Over;
            return;
        }
        let is_full = page.len() >= self.limit;
        let Some(last) = last.filter(|_| is_full || page.len() >= DEFAULT_LIMIT) else {
            self.end(waiting, taken);
            return;
        };
        if Some(last) > self.since {
            let limit = if is_full { self.limit * 2 } else { self.limit };
            self.ceiling = (self.ceiling * 2).min(MOST_LIMIT);
            self.follow(page, last);
            self.limit = limit.min(MOST_PER_PAGE).min(self.ceiling);
        } else if self.limit < self.ceiling && (is_news || is_full) {
            self.limit = (self.limit * 2).min(self.ceiling);
        } else if self.ceiling < MOST_LIMIT {
            self.start += page.len();
        } else {
            self.start = page.len();
            self.stage = Stage::Probing;
        }
    }

    /// Ends, if history shows all that was pushed.
    fn end(&mut self, waiting: &[(EventId, i64)], taken: &mut Taken) {
        taken.next = Next::Over;
        let Some((_, date)) = waiting.iter().find(|(id, _)| !self.has(id)) else {
            // A history that was late may still lack the last events before the subscription, unless it
            // shows one that was pushed since.
            if waiting.is_empty() && (1..LATE_WAITS).contains(&self.waits) {
                taken.next = self.wait();
            }
            return;
        };
        if self.waits < MOST_WAITS {
            taken.next = self.wait();
            return;
        }
        taken.holes.push(Hole {
            why: Why::Behind,
            from: self.newest,
            to: Some(*date),
        });
    }

    fn wait(&mut self) -> Next {
        self.waits += 1;
        self.stage = Stage::Paging;
        self.start = 0;
        Next::AskIn(WAIT)
    }

    /// Returns whether history may not show the newest known event yet: it is young, and the page has
    /// nothing much newer.
    fn may_be_late(&self, date: Option<i64>, last: Option<i64>) -> bool {
        let Some(newest) = self.newest else {
            return false;
        };
        if last.is_some_and(|last| last.saturating_sub(newest) > OVERLAP) {
            return false;
        }
        let Some(date) = date else { return true };
        let most = i64::from(MOST_WAITS) * i64::try_from(WAIT.as_millis()).unwrap_or(i64::MAX);
        date.saturating_sub(newest) < most
    }

    /// Takes an answer that was too long.
    pub(crate) fn too_long(&mut self) -> Taken {
        if self.query().limit > 1 {
            self.ceiling = (self.limit / 2).max(1);
            self.limit = (self.limit / 4).max(1);
            return Taken::then(Next::Ask);
        }
        if self.stage != Stage::Newest {
            self.stage = Stage::Paging;
        }
        self.start += 1;
        Taken {
            new: Vec::new(),
            holes: vec![self.hole(Why::TooLong)],
            next: Next::Ask,
        }
    }

    /// Asks for fewer events after an answer that did not come in time.
    pub(crate) fn too_slow(&mut self) {
        if self.query().limit > DEFAULT_LIMIT {
            self.ceiling = (self.limit / 2).max(DEFAULT_LIMIT);
            self.limit = (self.limit / 4).max(DEFAULT_LIMIT);
        }
    }

    fn go_to(&mut self, since: Option<i64>) {
        self.stage = Stage::Paging;
        self.since = since;
        self.start = 0;
    }

    /// Returns a hole behind what is known.
    fn hole(&self, why: Why) -> Hole {
        Hole {
            why,
            from: self.newest,
            to: None,
        }
    }
}

mod newest;
mod seen;

#[cfg(test)]
mod tests;
