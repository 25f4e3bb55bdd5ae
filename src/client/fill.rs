//! Reads the history of streams after a loss, a request at a time.

use std::time::{Duration, Instant};

use super::{Client, State};
use crate::error::Phase;
use crate::history::Outcome;
use crate::protocol::{Event, Positions, Stream, Why};
use crate::update::{Filled, Gap, Update};
use crate::wait::context::Watched;
use crate::{Error, Result, clock};

impl Client {
    /// Returns the positions of the streams: what [`Client::next`] has returned of each, and what came
    /// before they were subscribed first. `None` without [`Config::fill`](crate::Config::fill).
    pub fn positions(&self) -> Option<&Positions> {
        self.filling.as_ref().map(|filling| &filling.positions)
    }

    /// Returns the number of subscribed streams whose history is still to be read or returned.
    pub fn unfilled(&self) -> usize {
        self.filling
            .as_ref()
            .map_or(0, |filling| filling.unfilled())
    }

    /// Limits reading history, with all repetitions, to this time from now. What is not read by then is
    /// a [`Gap`], and the [positions](Client::positions) stay before it until the next event. Default:
    /// none; requests that fail are repeated for 60 s.
    pub fn set_fill_limit(&mut self, limit: Option<Duration>) {
        if let Some(filling) = &mut self.filling {
            let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
            filling.filler.deadline = deadline;
        }
    }

    /// Returns the next update of the queue.
    pub(super) fn next_queued(&mut self) -> Option<Update> {
        let next = self.queue.pop_front();
        if let (Some(filling), Some(next)) = (&mut self.filling, &next) {
            filling.returned(next);
            self.end_fill();
        }
        next
    }

    /// Stops reading history: what is not read is a [`Gap`], and the events that have waited for it come
    /// with the next calls, or on closing.
    pub fn give_up_history(&mut self) {
        if matches!(self.state, State::Open(_)) && !self.has_old() {
            self.fill();
        }
        if let Some(filling) = &mut self.filling {
            // What is acknowledged later is read, and its events wait.
            filling.has_new |= !self.subscriptions.is_at_rest();
        }
        while let Some(filling) = &mut self.filling
            && let Some((stream, outcome)) = filling.filler.give_up(&filling.positions)
        {
            self.filled(&stream, outcome);
        }
        if let Some(filling) = &mut self.filling {
            let (now, from) = (clock::now(), self.settled_at.min(clock::now()));
            for stream in filling.waiting_streams() {
                let gap = Gap::new(from, now, "the history was not read to its end");
                let gap = gap.of_stream(stream, Why::Unavailable);
                self.queue.push_back(Update::Gap(gap));
            }
            let released = filling.release_all();
            self.queue.extend(released.into_iter().map(Update::Event));
        }
    }

    /// Passes on an event of the present connection, unless it waits for history, or history has shown
    /// it.
    pub(super) fn pushed(&mut self, event: Event) {
        let event = match &mut self.filling {
            Some(filling) => filling.take(event),
            None => Some(event),
        };
        self.queue.extend(event.map(Update::Event));
    }

    /// Notes that events may be missing, which history may have.
    pub(super) fn lost_history(&mut self) {
        if let Some(filling) = &mut self.filling {
            filling.lost();
        }
    }

    /// Returns whether requests wait until it is known where the history of their streams begins.
    pub(super) fn awaits_beginnings(&mut self) -> bool {
        let Some(filling) = &mut self.filling else {
            return false;
        };
        filling.begin(self.subscriptions.unsent())
    }

    /// Reads the history of what is subscribed. Returns whether that is to be read at all.
    pub(super) fn fill(&mut self) -> bool {
        let Some(filling) = &mut self.filling else {
            return false;
        };
        let released = filling.plan(self.subscriptions.acknowledged_streams());
        self.queue.extend(released.into_iter().map(Update::Event));
        self.end_fill();
        true
    }

    /// Plans to read the history of what is subscribed, if that is still to be done.
    pub(super) fn plan_fill(&mut self) {
        let has_new = self.filling.as_ref().is_some_and(|filling| filling.has_new);
        if has_new && !self.has_old() && self.subscriptions.is_at_rest() {
            self.settle();
        }
    }

    /// Takes the loss as over, if the history of all streams has been read.
    pub(super) fn end_fill(&mut self) {
        let is_planned = self.filling.as_ref().is_none_or(|filling| !filling.has_new);
        if self.loss.is_none() || self.unfilled() > 0 || !is_planned {
            return;
        }
        if matches!(self.state, State::Open(_)) && self.subscriptions.is_settled() {
            self.loss = None;
            let _ = self.take_subscribed_at();
        }
    }

    /// Returns when the next request for history is due, if there is one. Before it, everything that
    /// has come is read, and what has been read is returned; but a call that subscribes waits for a
    /// beginning, whatever it keeps.
    pub(super) fn fill_at(&self) -> Option<Instant> {
        let filling = self.filling.as_ref()?;
        let has_events = || {
            self.queue
                .iter()
                .any(|next| matches!(next, Update::Event(_)))
        };
        if !filling.has_beginnings() && !filling.is_full() && has_events() {
            return None;
        }
        filling.filler.due()
    }

    /// Returns whether nothing is to be read from the connection now: events wait, as many as may.
    pub(super) fn is_full(&self) -> bool {
        self.filling
            .as_ref()
            .is_some_and(|filling| filling.is_full())
    }

    /// Notes that everything that has come was read. Returns whether a request for history is due.
    pub(super) fn has_read_all(&mut self) -> bool {
        let Some(filling) = &mut self.filling else {
            return false;
        };
        filling.is_read = true;
        self.fill_at().is_some_and(|due| due <= Instant::now())
    }

    /// Makes the next request for history, if it is time. Returns whether it is.
    pub(super) fn fill_step(
        &mut self,
        deadline: Option<Instant>,
        watched: &Watched,
    ) -> Result<bool> {
        let is_full = self.is_full();
        let due = self.fill_at();
        let (Some(due), Some(filling)) = (due, &mut self.filling) else {
            return Ok(false);
        };
        if !is_full && !filling.is_read {
            return Ok(false);
        }
        if due > Instant::now() {
            if is_full && self.queue.is_empty() {
                return self.wait_for_fill(due, deadline, watched);
            }
            return Ok(false);
        }
        filling.is_read = false;
        let Some(stream) = filling.filler.stream().cloned() else {
            return Ok(false);
        };
        let queued = self.queue.iter().filter_map(|next| match next {
            Update::Event(event) => Some(event),
            _ => None,
        });
        let undelivered = filling.undelivered(&stream, queued);
        filling.filler.api.route.trust_as(&self.route);
        let may_cut_short = !self.watch_state.cut_short && !watched.is_ready();
        let context = &mut filling.filler.api.route.wait_context;
        context.watched = if may_cut_short {
            watched.clone()
        } else {
            Watched::default()
        };
        self.watch_state.cut_short = false;
        let is_cut = || may_cut_short && watched.ready().is_some();
        let step = filling.filler.step(
            &self.config,
            &mut self.redactor,
            &mut filling.positions,
            &undelivered,
            is_cut,
        );
        let (stream, outcomes) = step?;
        if let Some(ready) = watched.ready().filter(|_| may_cut_short) {
            self.watch_state.cut_short = true;
            self.queue.push_back(Update::FdReady(ready));
        }
        for outcome in outcomes {
            self.filled(&stream, outcome);
        }
        Ok(true)
    }

    /// Waits for the time of the next request, without reading from the connection.
    fn wait_for_fill(
        &mut self,
        due: Instant,
        deadline: Option<Instant>,
        watched: &Watched,
    ) -> Result<bool> {
        let until = deadline.map_or(due, |deadline| deadline.min(due));
        self.route.wait_context.watched = watched.clone();
        Error::of_wait(Phase::History, self.route.wait_until(until))?;
        let ready = watched.ready();
        self.queue.extend(ready.map(Update::FdReady));
        Ok(ready.is_some() || due <= Instant::now())
    }

    /// Takes an outcome of a request.
    fn filled(&mut self, stream: &Stream, outcome: Outcome) {
        let Some(filling) = &mut self.filling else {
            return;
        };
        let (events, span, failure) = match outcome {
            Outcome::Event(event) => {
                let event = filling.show(stream, event);
                return self.queue.extend(event.map(Update::Event));
            }
            Outcome::Hole(hole) => {
                let gap = Gap::of_hole(&hole, stream.clone());
                return self.queue.push_back(Update::Gap(gap));
            }
            Outcome::Done {
                events,
                span,
                failure,
            } => (events, span, failure),
        };
        let newest = filling
            .positions
            .get(stream)
            .and_then(|position| position.newest());
        let gap = failure.as_ref().map(|(why, error)| {
            let to = clock::now();
            let from = newest.map_or(self.settled_at, clock::date).min(to);
            Update::Gap(Gap::new(from, to, error.to_string()).of_stream(stream.clone(), *why))
        });
        if filling.has_begun(stream, failure.is_none()) {
            let is_again = self.subscriptions.subscribed().contains(stream);
            let missed = self.loss.as_ref().filter(|_| is_again && gap.is_none());
            let missed = missed.map(|loss| {
                let gap = Gap::new(loss.from, clock::now().max(loss.from), loss.reason.clone());
                Update::Gap(gap.of_stream(stream.clone(), Why::Unavailable))
            });
            self.queue.extend(missed);
            self.queue.extend(gap);
            if filling.begin([].into_iter()) {
                return;
            }
            self.queue.push_back(Update::Begun);
            self.send_requests();
        } else {
            let filled = Filled::new(stream.clone(), events, span);
            self.queue.push_back(Update::Filled(filled));
            self.queue.extend(gap);
            let released = filling.filled(stream);
            self.queue.extend(released.into_iter().map(Update::Event));
            self.end_fill();
        }
        let Some(filling) = &mut self.filling else {
            return;
        };
        if filling.filler.due().is_none() {
            filling.filler.api.close();
            // Its pong comes behind the events that history has shown.
            if filling.has_shown()
                && let State::Open(connection) = &mut self.state
                && connection.ping().is_ok()
            {
                filling.pinged();
            }
        }
    }
}
