use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use super::api::{Api, NoEvents, Page};
use super::filler::{Begin, Filler, Outcome, Task, Undelivered};
use crate::config::Config;
use crate::error::{ErrorKind, Phase};
use crate::protocol::{Positions, Query, Stream};
use crate::secret::Redactor;
use crate::transport::Route;
use crate::update::{Filled, Gap, Update};
use crate::{Error, Result, Traffic, clock};

/// The last date of four digits, in milliseconds since the Unix epoch.
const LAST: i64 = 253_402_300_799_999;

/// The beginning of the past events to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Since {
    /// The position of the stream, see [`Config::positions`]; without one, all that the service has.
    Position,
    /// A date.
    Date(SystemTime),
    /// A time before now, by the clock of the service.
    Ago(Duration),
}

/// The findings of [`History::probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// The creation date of the newest event.
    pub newest: Option<SystemTime>,
    /// Whether the service obeys a filter and an order; `None` for a stream without events.
    pub is_obeyed: Option<bool>,
}

/// Reads past events of streams by the REST API, without a WebSocket.
///
/// ```no_run
/// use std::time::Duration;
///
/// use octave_ws::{Config, History, Since, Update};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut history = History::new(&Config::from_env()?)?;
/// let stream = "/my_company/devices/gw1/temperature".parse()?;
/// history.request(&stream, Since::Ago(Duration::from_secs(3600)), None)?;
/// while let Some(update) = history.next()? {
///     if let Update::Event(event) = update {
///         println!("{}", event.value());
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct History {
    config: Config,
    redactor: Redactor,
    filler: Filler,
    positions: Positions,
    /// The date of the service when it was first asked for, in milliseconds since the Unix epoch.
    now: Option<i64>,
    /// The stream of the updates that have arrived and are not returned yet.
    stream: Option<Stream>,
    queue: VecDeque<Result<Update>>,
}

impl History {
    /// Creates a reader. Nothing is sent yet.
    ///
    /// # Errors
    /// `Config`, also where no REST API is known ([`Config::api`]), and `System`.
    pub fn new(config: &Config) -> Result<Self> {
        let route = Route::new(config)?;
        let mut config = config.clone();
        config.renew_credentials()?;
        let api = Api::new(&config, &route)?;
        Ok(Self {
            filler: Filler::new(api, config.retry_for),
            positions: config.positions.clone(),
            config,
            redactor: Redactor::default(),
            now: None,
            stream: None,
            queue: VecDeque::new(),
        })
    }

    /// Adds a stream to those that are read, each after the one before. Events after the date `until` are
    /// left out.
    ///
    /// # Errors
    /// Those of [`History::next`], for [`Since::Ago`].
    pub fn request(
        &mut self,
        stream: &Stream,
        since: Since,
        until: Option<SystemTime>,
    ) -> Result<()> {
        let begin = match since {
            Since::Position if self.positions.contains(stream) => Begin::Position {
                skips_join_check: false,
            },
            Since::Position => Begin::Date(0),
            Since::Date(date) => Begin::Date(clock::millis(date)),
            Since::Ago(time) => {
                let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
                Begin::Date(self.now(stream)?.saturating_sub(time).max(0))
            }
        };
        self.filler.push(Task {
            stream: stream.clone(),
            begin,
            until: until.map(clock::millis),
        });
        Ok(())
    }

    /// Limits reading, with all repetitions. A request that is not answered by then fails, and none is
    /// made after it. Default: none.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.filler.deadline = deadline;
    }

    /// Returns the next event, gap, or end of a stream ([`Update::Filled`]); `None` after the last one.
    ///
    /// # Errors
    /// `Refused`, `Status`, `Malformed`, `Disconnected` and others, of the phase `History` or of a part of
    /// connecting, with the [stream](Error::stream). A failure is repeated for [`Config::retry_for`] before.
    /// The next call continues with the next stream.
    #[allow(
        clippy::should_implement_trait,
        reason = "it fails, and goes on after that"
    )]
    pub fn next(&mut self) -> Result<Option<Update>> {
        loop {
            match self.queue.pop_front() {
                Some(Ok(Update::Event(event))) => {
                    if let Some(stream) = &self.stream {
                        self.positions.receive_of(stream, &event);
                    }
                    return Ok(Some(Update::Event(event)));
                }
                Some(Ok(Update::Gap(gap))) => {
                    if let Some((stream, why)) = &gap.stream {
                        self.positions.pass(stream, *why);
                    }
                    return Ok(Some(Update::Gap(gap)));
                }
                Some(next) => return next.map(Some),
                None => {}
            }
            let Some(due) = self.filler.due() else {
                return Ok(None);
            };
            self.wait_until(due)?;
            self.step()?;
        }
    }

    /// Returns the positions of all streams: what [`History::next`] has returned.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Returns the bytes, connections and handshakes so far.
    pub fn traffic(&self) -> Traffic {
        self.filler.api.route.traffic().clone()
    }

    /// Asks for the newest events of a stream, to find out whether its history can be read.
    ///
    /// # Errors
    /// As [`History::next`].
    pub fn probe(&mut self, stream: &Stream) -> Result<Probe> {
        let newest = Query {
            since: None,
            is_descending: true,
            start: 0,
            limit: 2,
        };
        let page = self.get(stream, newest)?;
        let date = page.entries.first().map(|entry| entry.date);
        let is_obeyed = match page.entries.last().map(|entry| entry.date) {
            Some(date) => {
                let since = Query {
                    since: Some(date),
                    is_descending: false,
                    ..newest
                };
                Some(self.get(stream, since).is_ok())
            }
            None => None,
        };
        self.filler.api.close();
        Ok(Probe {
            newest: date.map(clock::date),
            is_obeyed,
        })
    }

    fn get(&mut self, stream: &Stream, query: Query) -> Result<Page> {
        let deadline = self.filler.deadline;
        let api = &mut self.filler.api;
        let page = api.get(&self.config, &mut self.redactor, stream, query, deadline);
        page.map_err(|none| match none {
            NoEvents::Failed(error)
            | NoEvents::Refused { error, .. }
            | NoEvents::TooLong(error)
            | NoEvents::Unusable(error)
            | NoEvents::Stopped(error) => error,
        })
    }

    fn step(&mut self) -> Result<()> {
        let step = self.filler.step(
            &self.config,
            &mut self.redactor,
            &mut self.positions,
            &Undelivered::default(),
            || false,
        );
        let (stream, outcomes) = step?;
        for outcome in outcomes {
            let update = match outcome {
                Outcome::Event(event) => Ok(Update::Event(event)),
                Outcome::Hole(hole) => Ok(Update::Gap(Gap::of_hole(&hole, stream.clone()))),
                Outcome::Done {
                    failure: Some((_, error)),
                    ..
                } => Err(error.of_stream(stream.clone())),
                Outcome::Done { events, span, .. } => {
                    Ok(Update::Filled(Filled::new(stream.clone(), events, span)))
                }
            };
            self.queue.push_back(update);
        }
        self.stream = Some(stream);
        if self.filler.due().is_none() {
            self.filler.api.close();
        }
        Ok(())
    }

    /// Returns the date of the service.
    fn now(&mut self, stream: &Stream) -> Result<i64> {
        if let Some(now) = self.now {
            return Ok(now);
        }
        // No event, whose length might be a reason to fail, has so late a date.
        let query = Query {
            since: Some(LAST),
            is_descending: false,
            start: 0,
            limit: 1,
        };
        let page = self.get(stream, query)?;
        let now = page.date.ok_or_else(|| {
            let message = "the service gives no date: ask for a date instead of a time";
            Error::new(Phase::History, ErrorKind::Malformed, message)
        })?;
        Ok(*self.now.insert(now))
    }

    fn wait_until(&self, time: Instant) -> Result<()> {
        if time <= Instant::now() {
            return Ok(());
        }
        Error::of_wait(Phase::History, self.filler.api.route.wait_until(time))
    }
}

/// Shows the number of streams with a position.
impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("positions", &self.positions.len())
            .finish_non_exhaustive()
    }
}
