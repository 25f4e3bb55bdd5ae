use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::api::{Api, NoEvents, Page};
use crate::config::Config;
use crate::error::{ErrorKind, Phase};
use crate::logger::record;
use crate::protocol::{Event, EventId, Fill, Hole, Next, Position, Positions, Stream, Taken, Why};
use crate::secret::Redactor;
use crate::{Error, Result};

/// Time within which a beginning is to be found: the stream is not subscribed before.
const AT_BEGINNING: Duration = Duration::from_secs(5);

/// The least time for a request for a beginning.
const LEAST_AT_BEGINNING: Duration = Duration::from_secs(1);

/// Number of streams in a row whose history cannot be read, after which no other one is asked for.
const MOST_FAILED: u32 = 3;

/// The longest delay that a service can ask for.
const MOST_DELAY: Duration = Duration::from_secs(60);

/// Reads the history of streams, one after the other, a request at a time.
pub(crate) struct Filler {
    pub(crate) api: Api,
    tasks: VecDeque<Task>,
    current: Option<Current>,
    /// When the next request is made.
    due: Instant,
    /// The last requests, if they failed.
    failing: Option<Failing>,
    /// Number of streams in a row whose history could not be read.
    failed_streams: u32,
    /// Why all further streams are left out.
    left_out: Option<(Why, Error)>,
    /// When the last answer came, or the first stream was to be read.
    answered_at: Instant,
    /// Time for which failed requests are repeated.
    patience: Duration,
    /// When the last answer has to be there.
    pub(crate) deadline: Option<Instant>,
}

/// Requests that have failed.
struct Failing {
    /// When the first one did.
    since: Instant,
    /// Their number.
    times: u32,
    last: Error,
}

/// A stream whose history is to be read.
pub(crate) struct Task {
    pub(crate) stream: Stream,
    pub(crate) begin: Begin,
    /// The date behind which nothing is wanted.
    pub(crate) until: Option<i64>,
}

/// The start of the history to read of a stream.
#[derive(Clone, Copy)]
pub(crate) enum Begin {
    /// The newest events, which become known and are not returned.
    Newest,
    /// The position when the first request is made. Whether its page joins it is not checked where the
    /// service cannot have removed events behind it.
    Position {
        skips_join_check: bool,
    },
    Date(i64),
}

struct Current {
    stream: Stream,
    fill: Fill,
    events: u64,
    /// The dates of the first and the last event.
    span: Option<(i64, i64)>,
}

/// The pushed events of a stream that are not delivered.
#[derive(Default)]
pub(crate) struct Undelivered {
    /// Events in the queue of updates.
    pub(crate) queued: Vec<EventId>,
    /// Events held back until the history is read, with their dates.
    pub(crate) waiting: Vec<(EventId, i64)>,
}

/// A result of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Event(Event),
    /// Events may be missing.
    Hole(Hole),
    /// The stream is done.
    Done {
        /// Number of its events.
        events: u64,
        /// The dates of the first and the last one.
        span: Option<(i64, i64)>,
        /// Why its history was not read, or not to its end.
        failure: Option<(Why, Error)>,
    },
}

impl Filler {
    pub(crate) fn new(api: Api, patience: Duration) -> Self {
        Self {
            api,
            tasks: VecDeque::new(),
            current: None,
            due: Instant::now(),
            failing: None,
            failed_streams: 0,
            left_out: None,
            answered_at: Instant::now(),
            patience,
            deadline: None,
        }
    }

    pub(crate) fn push(&mut self, task: Task) {
        if self.due().is_none() {
            self.answered_at = Instant::now();
            // A service that was away may be back.
            self.failed_streams = 0;
            self.left_out.take_if(|(why, _)| *why == Why::Unavailable);
        }
        self.tasks.push_back(task);
    }

    /// Returns when the next request is due; `None` without a stream to read.
    pub(crate) fn due(&self) -> Option<Instant> {
        let has_more = self.current.is_some() || !self.tasks.is_empty();
        has_more.then_some(self.due)
    }

    /// Returns whether the deadline is over.
    pub(crate) fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|at| at <= Instant::now())
    }

    /// Returns the stream that is read now, or next.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        let current = self.current.as_ref().map(|current| &current.stream);
        current.or_else(|| self.tasks.front().map(|task| &task.stream))
    }

    /// Makes a request, and returns the stream, and its outcomes in order. `undelivered` are the pushed
    /// events of the stream. A request that `is_cut` short is made again.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) fn step(
        &mut self,
        config: &Config,
        redactor: &mut Redactor,
        positions: &mut Positions,
        undelivered: &Undelivered,
        is_cut: impl FnOnce() -> bool,
    ) -> Result<(Stream, Vec<Outcome>)> {
        let mut outcomes = Vec::new();
        let current = self.current.take().or_else(|| {
            let task = self.tasks.pop_front()?;
            Some(Current::new(task, positions, &undelivered.queued))
        });
        let Some(mut current) = current else {
            let message = "no stream is left";
            return Err(Error::config(message));
        };
        let stream = current.stream.clone();
        if let Some((why, error)) = &self.left_out {
            outcomes.push(current.done(Some((*why, error.clone()))));
            return Ok((stream, outcomes));
        }
        if self.is_overdue() {
            let failing = self.failing.take();
            let error = failing.map_or_else(not_read, |failing| failing.last);
            outcomes.push(current.done(Some((Why::Unavailable, error))));
            return Ok((stream, outcomes));
        }
        let query = current.fill.query();
        let deadline = if current.fill.is_beginning() {
            let at = self.answered_at + AT_BEGINNING;
            let at = at.max(Instant::now() + LEAST_AT_BEGINNING);
            Some(self.deadline.map_or(at, |deadline| deadline.min(at)))
        } else {
            self.deadline
        };
        let (why, error) = match self.api.get(config, redactor, &stream, query, deadline) {
            Ok(page) => {
                let taken = positions.change(&stream, |position| {
                    current.take(&page, position, &undelivered.waiting, &mut outcomes)
                });
                self.proceed(taken, current, &mut outcomes);
                return Ok((stream, outcomes));
            }
            Err(NoEvents::TooLong(_)) => {
                let taken = current.fill.too_long();
                self.proceed(taken, current, &mut outcomes);
                return Ok((stream, outcomes));
            }
            Err(NoEvents::Stopped(error)) => {
                self.current = Some(current);
                return Err(error);
            }
            Err(NoEvents::Failed(_)) if is_cut() => {
                self.current = Some(current);
                return Ok((stream, outcomes));
            }
            Err(NoEvents::Failed(error)) => {
                if error.kind() == ErrorKind::TimedOut {
                    current.fill.too_slow();
                }
                let is_beginning = current.fill.is_beginning();
                if let Some(at) = self.failed(&error, is_beginning, config) {
                    self.due = at;
                    self.current = Some(current);
                    return Ok((stream, outcomes));
                }
                self.failed_streams += 1;
                if self.failed_streams >= MOST_FAILED {
                    self.left_out = Some((Why::Unavailable, error.clone()));
                }
                (Why::Unavailable, error)
            }
            Err(NoEvents::Refused { error, is_all }) => {
                if is_all {
                    self.left_out = Some((Why::Refused, error.clone()));
                }
                (Why::Refused, error)
            }
            Err(NoEvents::Unusable(error)) => (Why::Unusable, error),
        };
        self.failing = None;
        self.due = Instant::now();
        outcomes.push(current.done(Some((why, error))));
        Ok((stream, outcomes))
    }

    /// Drops the next stream to read, if there is one, without a request. Beginnings stay.
    pub(crate) fn give_up(&mut self, positions: &Positions) -> Option<(Stream, Outcome)> {
        let current = self.current.take_if(|current| !current.fill.is_beginning());
        let current = current.or_else(|| {
            let is_begun = |task: &Task| !matches!(task.begin, Begin::Newest);
            let task = self.tasks.remove(self.tasks.iter().position(is_begun)?)?;
            Some(Current::new(task, positions, &[]))
        })?;
        let stream = current.stream.clone();
        Some((stream, current.done(Some((Why::Unavailable, not_read())))))
    }

    /// Continues after an answer.
    fn proceed(&mut self, taken: Taken, current: Current, outcomes: &mut Vec<Outcome>) {
        self.failing = None;
        self.failed_streams = 0;
        self.due = Instant::now();
        self.answered_at = self.due;
        // A hole lies before the events of its answer, or behind all that is known.
        outcomes.splice(..0, taken.holes.into_iter().map(Outcome::Hole));
        match taken.next {
            Next::Over => outcomes.push(current.done(None)),
            Next::Ask => self.current = Some(current),
            Next::AskIn(delay) => {
                self.due += delay;
                self.current = Some(current);
            }
        }
    }

    /// Returns when to ask again after a failure; `None` once it has lasted too long.
    fn failed(&mut self, error: &Error, is_beginning: bool, config: &Config) -> Option<Instant> {
        let now = Instant::now();
        let (since, patience) = match is_beginning {
            // Other streams have been waited for.
            _ if self.failed_streams > 0 => (now, Duration::ZERO),
            true => (self.answered_at, self.patience.min(AT_BEGINNING)),
            false => (now, self.patience),
        };
        let failing = self.failing.get_or_insert_with(|| Failing {
            since,
            times: 0,
            last: error.clone(),
        });
        failing.last = error.clone();
        let delay = Duration::from_secs(1 << failing.times.min(2));
        failing.times += 1;
        let asked = error.retry_after().unwrap_or_default().min(MOST_DELAY);
        let at = now + delay.max(asked);
        let next = self.api.route.next_attempt();
        let at = next.map_or(at, |next| next.max(at));
        let end = failing.since.checked_add(patience);
        let deadline = self.deadline;
        // A beginning keeps its stream from being subscribed.
        let last = if is_beginning { at } else { now };
        let is_over = end.is_some_and(|end| last >= end) || deadline.is_some_and(|end| now >= end);
        if is_over || !error.is_retryable() {
            return None;
        }
        let at = deadline.map_or(at, |deadline| at.min(deadline));
        let delay = (at - now).as_secs_f64();
        record!(config.logger, Warn, "{error}; asking again in {delay:.1} s");
        Some(at)
    }

    /// Drops a stream.
    pub(crate) fn drop_stream(&mut self, stream: &Stream) {
        self.tasks.retain(|task| task.stream != *stream);
        if self
            .current
            .take_if(|current| current.stream == *stream)
            .is_some()
        {
            self.failing = None;
            self.due = Instant::now();
        }
    }

    /// Drops what is left to read, and ends the link. A service that has refused is asked again.
    pub(crate) fn reset(&mut self) {
        self.tasks.clear();
        self.current = None;
        self.failing = None;
        self.failed_streams = 0;
        self.left_out = None;
        self.due = Instant::now();
        self.api.close();
    }
}

fn not_read() -> Error {
    let message = "the history was not read to its end";
    Error::new(Phase::History, ErrorKind::TimedOut, message)
}

impl Current {
    fn new(task: Task, positions: &Positions, queued: &[EventId]) -> Self {
        let fill = match task.begin {
            Begin::Newest => Fill::beginning(),
            Begin::Date(date) => Fill::since(date),
            Begin::Position { skips_join_check } => {
                let none = Position::default();
                let position = positions.get(&task.stream).unwrap_or(&none);
                let fill = Fill::new(position, queued.iter().cloned());
                if skips_join_check {
                    fill.without_join_check()
                } else {
                    fill
                }
            }
        };
        Self {
            stream: task.stream,
            fill: match task.until {
                Some(date) => fill.until(date),
                None => fill,
            },
            events: 0,
            span: None,
        }
    }

    /// Takes a page, and adds its new events to the outcomes.
    fn take(
        &mut self,
        page: &Page,
        position: &mut Position,
        waiting: &[(EventId, i64)],
        outcomes: &mut Vec<Outcome>,
    ) -> Taken {
        let taken = self.fill.take(&page.entries, position, waiting, page.date);
        for at in &taken.new {
            let entry = &page.entries[*at];
            let value = &page.body[entry.value.clone()];
            let event = Event::from_history(&self.stream, value);
            outcomes.push(Outcome::Event(event));
            let first = self.span.map_or(entry.date, |(first, _)| first);
            self.span = Some((first, entry.date));
            self.events += 1;
        }
        taken
    }

    fn done(self, failure: Option<(Why, Error)>) -> Outcome {
        Outcome::Done {
            events: self.events,
            span: self.span,
            failure,
        }
    }
}
