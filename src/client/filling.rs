//! The streams whose history is read, and the pushed events that wait for it.

use std::mem;
use std::time::{Duration, Instant};

use super::recent::RecentIds;
use super::standings::{Standing, Standings};
use super::waiting::Waiting;
use crate::Result;
use crate::config::Config;
use crate::history::{Api, Begin, Filler, Task, Undelivered};
use crate::protocol::{Event, EventId, Key, Position, Positions, Stream, Why};
use crate::transport::Route;
use crate::update::Update;

/// Maximum size of the events that wait, in bytes. Beyond it, nothing is read from the connection.
const MOST_WAITING: usize = 1 << 20;

/// Time for which requests for history are repeated that fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time for which an event may be pushed that history has shown, once a pong has come that was sent
/// after it; and without a pong.
const AFTER_PONG: Duration = Duration::from_secs(5);
const WITHOUT_PONG: Duration = Duration::from_secs(60);

pub(super) struct Filling {
    pub(super) filler: Filler,
    pub(super) positions: Positions,
    standings: Standings,
    /// Whether streams have been requested since the last plan.
    pub(super) has_new: bool,
    /// Number of events of the history that are on the way to the caller.
    pub(super) queued: usize,
    waiting: Waiting,
    shown: RecentIds,
    shown_until: Option<Instant>,
    /// Whether a pong is awaited that shows that all of them have been pushed.
    pub(super) awaits_pong: bool,
    /// Whether all that has come was read since the last request.
    pub(super) is_read: bool,
    /// The streams that were not read in time. A later client can read them from their positions, as long as
    /// no event is delivered behind what they miss.
    unread: Vec<Stream>,
}

impl Filling {
    /// Takes the positions. Returns `None` where no history is to be read.
    ///
    /// # Errors
    /// `Config` where no REST API is known.
    pub(super) fn new(config: &mut Config, route: &Route) -> Result<Option<Box<Self>>> {
        if !config.fill {
            return Ok(None);
        }
        Ok(Some(Box::new(Self {
            filler: Filler::new(Api::new(config, route)?, PATIENCE),
            positions: mem::take(&mut config.positions),
            standings: Standings::default(),
            has_new: true,
            queued: 0,
            waiting: Waiting::default(),
            shown: RecentIds::default(),
            shown_until: None,
            awaits_pong: false,
            is_read: false,
            unread: Vec::new(),
        })))
    }

    /// Notes that events may be missing of all streams.
    pub(super) fn lost(&mut self) {
        self.filler.reset();
        self.has_new = true;
        self.standings.clear();
        self.awaits_pong = false;
        self.unread.clear();
    }

    /// Plans to find the beginnings of streams that are to be subscribed. Returns whether there are any
    /// to wait for.
    pub(super) fn begin<'a>(&mut self, streams: impl Iterator<Item = &'a Stream>) -> bool {
        for stream in streams {
            let standing = self.standings.get(stream.as_str());
            self.has_new |= standing != Some(Standing::Live);
            if standing.is_none() && !self.positions.is_begun(stream) {
                self.standings.set(stream, Standing::Beginning);
                self.filler.push(Task {
                    stream: stream.clone(),
                    begin: Begin::Newest,
                    until: None,
                });
            }
        }
        self.has_beginnings()
    }

    /// Notes that the beginning of a stream is found, or not. Returns whether it was looked for.
    pub(super) fn has_begun(&mut self, stream: &Stream, is_found: bool) -> bool {
        if self.standings.get(stream.as_str()) != Some(Standing::Beginning) {
            return false;
        }
        let standing = if is_found {
            Standing::Begun
        } else {
            Standing::Without
        };
        self.standings.set(stream, standing);
        true
    }

    /// Plans to read the history of streams that are subscribed, first of those whose events wait.
    /// Returns events that have waited for nothing.
    pub(super) fn plan<'a>(&mut self, streams: impl Iterator<Item = &'a Stream>) -> Vec<Event> {
        self.has_new = false;
        let is_new = |stream: &&Stream| {
            let standing = self.standings.get(stream.as_str());
            !matches!(standing, Some(Standing::Live | Standing::Pending))
        };
        let mut new: Vec<&Stream> = streams.filter(is_new).collect();
        if !new.is_empty() {
            // Until the pong after the last request for history.
            self.shown_until = None;
        }
        new.sort_by_key(|stream| !self.waiting.has(stream.as_str()));
        let mut released = Vec::new();
        for stream in new {
            let standing = self.standings.get(stream.as_str());
            if standing == Some(Standing::Without) {
                self.standings.set(stream, Standing::Live);
                released.extend(self.release(Some(stream)));
                continue;
            }
            // It had no event a moment ago.
            let is_empty = |position: &Position| position.from().is_none();
            let skips_join_check = standing == Some(Standing::Begun)
                && self.positions.get(stream).is_none_or(is_empty);
            self.standings.set(stream, Standing::Pending);
            self.filler.push(Task {
                stream: stream.clone(),
                begin: Begin::Position { skips_join_check },
                until: None,
            });
        }
        released.extend(self.release(None));
        released
    }

    /// Returns the number of streams whose history is still to be read or returned.
    pub(super) fn unfilled(&self) -> usize {
        self.standings.pending().max(usize::from(self.queued > 0))
    }

    /// Takes note of an update that is returned to the caller.
    pub(super) fn returned(&mut self, update: &Update) {
        match update {
            Update::Event(event) => {
                self.queued = self.queued.saturating_sub(event.is_from_history().into());
                for stream in self.unread.drain(..) {
                    self.positions.pass(&stream, Why::Unavailable);
                }
                self.positions.receive(event);
            }
            Update::Gap(gap) => {
                if let Some((stream, why)) = &gap.stream {
                    if *why == Why::Unavailable && self.filler.is_overdue() {
                        self.unread.push(stream.clone());
                    } else {
                        self.positions.pass(stream, *why);
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes that a stream's history has been read. Returns its events that have waited, less those that
    /// history has shown.
    pub(super) fn filled(&mut self, stream: &Stream) -> Vec<Event> {
        self.standings.set(stream, Standing::Live);
        self.release(Some(stream))
    }

    /// Returns the events of a stream that have waited and that history has not shown; those of all
    /// streams once there is no history to wait for.
    fn release(&mut self, stream: Option<&Stream>) -> Vec<Event> {
        let mut released = match stream {
            _ if !self.can_wait() => self.waiting.take_all(),
            Some(stream) => self.waiting.take(stream.as_str()),
            None => Vec::new(),
        };
        // History has those of a stream that is not subscribed any more.
        released.retain(|event| {
            Key::of(event).is_some_and(|key| self.is_live(&key) && !self.is_delivered(&key))
        });
        released
    }

    /// Returns the streams of the events that still wait.
    pub(super) fn waiting_streams(&self) -> Vec<Stream> {
        let streams = self.waiting.names().into_iter();
        streams.filter_map(|name| name.parse().ok()).collect()
    }

    /// Returns the events that still wait.
    pub(super) fn release_all(&mut self) -> Vec<Event> {
        self.waiting.take_all()
    }

    /// Takes a pushed event. Returns it unless it waits, or was delivered.
    pub(super) fn take(&mut self, event: Event) -> Option<Event> {
        let Some(key) = Key::of(&event) else {
            return Some(event);
        };
        if self.waits(&key) {
            let names = self.known(&key).map(str::to_owned).collect();
            let (id, date) = (EventId::new(&key.id), key.date);
            self.waiting.push(event, id, date, names);
            return None;
        }
        (!self.is_delivered(&key)).then_some(event)
    }

    /// Returns whether there is history for which events wait.
    fn can_wait(&self) -> bool {
        self.standings.pending() > 0 || self.has_new
    }

    /// Returns whether an event has to wait for the history of its stream. That of a stream which was
    /// not subscribed by this name does not.
    fn waits(&self, key: &Key<'_>) -> bool {
        self.can_wait() && self.known(key).next().is_some() && !self.is_live(key)
    }

    fn is_live(&self, key: &Key<'_>) -> bool {
        self.known(key)
            .any(|name| self.standings.get(name) == Some(Standing::Live))
    }

    /// Returns the names of the stream of an event by which it has a position.
    fn known<'a>(&self, key: &'a Key<'_>) -> impl Iterator<Item = &'a str> {
        key.names().filter(|name| self.positions.has(name))
    }

    /// Returns whether an event was delivered, or comes before the beginning: by history or pushed, on any
    /// connection, by any name of its stream.
    fn is_delivered(&mut self, key: &Key<'_>) -> bool {
        let id = EventId::new(&key.id);
        let is_over = |until| until <= Instant::now();
        if self.shown_until.is_some_and(is_over) && self.standings.pending() == 0 {
            self.shown.clear();
        }
        self.shown.contains(self.known(key), &id) || self.positions.knows(key, &id)
    }

    /// Takes an event of the history of a stream. Returns it unless it was delivered.
    pub(super) fn show(&mut self, stream: &Stream, event: Event) -> Option<Event> {
        if let Some(key) = Key::of(&event) {
            if self.is_delivered(&key) {
                return None;
            }
            self.shown.insert(stream.as_str(), EventId::new(&key.id));
        }
        self.queued += 1;
        Some(event)
    }

    /// Returns whether an event was delivered.
    pub(super) fn has_delivered(&mut self, event: &Event) -> bool {
        Key::of(event).is_some_and(|key| self.is_delivered(&key))
    }

    /// Returns whether an event has to wait for the history of its stream.
    pub(super) fn holds(&self, event: &Event) -> bool {
        Key::of(event).is_some_and(|key| self.waits(&key))
    }

    /// Returns whether history has shown events that may still be pushed.
    pub(super) fn has_shown(&self) -> bool {
        !self.shown.is_empty()
    }

    /// Notes that a ping was sent after the last request.
    pub(super) fn pinged(&mut self) {
        self.awaits_pong = true;
        self.shown_until = Instant::now().checked_add(WITHOUT_PONG);
    }

    /// Notes that its pong has come.
    pub(super) fn ponged(&mut self) {
        self.awaits_pong = false;
        self.shown_until = Instant::now().checked_add(AFTER_PONG);
    }

    /// Returns the pushed events of a stream that are not delivered. `queued` are those of all streams
    /// that are on the way to the caller.
    pub(super) fn undelivered<'a>(
        &self,
        stream: &Stream,
        queued: impl Iterator<Item = &'a Event>,
    ) -> Undelivered {
        let keys = queued.filter_map(Key::of);
        let of_stream = keys.filter(|key| key.names().any(|name| name == stream.as_str()));
        Undelivered {
            queued: of_stream.map(|key| EventId::new(&key.id)).collect(),
            waiting: self.waiting.of(stream.as_str()),
        }
    }

    /// Returns whether no more events can wait while history is read.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.bytes() >= MOST_WAITING && self.filler.due().is_some()
    }

    /// Returns whether streams wait for their beginnings.
    pub(super) fn has_beginnings(&self) -> bool {
        self.standings.beginning() > 0
    }

    /// Returns whether history is still to be read or returned, or events wait for it.
    pub(super) fn is_incomplete(&self) -> bool {
        !self.waiting.is_empty() || self.unfilled() > 0
    }

    /// Forgets a stream that is unsubscribed. Its position stays.
    pub(super) fn unsubscribed(&mut self, stream: &Stream) {
        self.standings.remove(stream);
        // History has them.
        let _ = self.waiting.take(stream.as_str());
        self.filler.drop_stream(stream);
        self.has_new = true;
    }
}
