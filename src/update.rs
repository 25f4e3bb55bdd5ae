use std::time::{Duration, SystemTime};

use crate::protocol::{Ack, Event, Hole, Stream, UnknownMessage, Why, detach};
use crate::wait::context::FdReady;
use crate::{Error, clock};

/// A result of [`Client::next`](crate::Client::next).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Update {
    /// An event of a stream.
    Event(Event),
    /// The answer to a [`Client::request`](crate::Client::request), or the refusal of a stream when it
    /// is subscribed again after a loss. After a temporary refusal the client asks again, see
    /// [`Ack::is_retried`](crate::Ack::is_retried).
    Ack(Ack),
    /// A connection is open: the first of a client made by [`Client::new`](crate::Client::new), or one
    /// after a loss, before the streams are subscribed again.
    Connected,
    /// There is no connection: it was lost or given up, or an attempt to connect has failed. Another attempt
    /// follows. [`Update::Lost`] says whether events are missed.
    Disconnected(Disconnected),
    /// The connection is lost. Events are missed until there is another one. With a
    /// [handover](crate::Config::handover), it is reported only once the old connection is given up.
    Lost(Loss),
    /// The connection and all subscriptions are restored: the end of a loss that had any.
    Gap(Gap),
    /// The beginning of new streams is known, before they are subscribed:
    /// [`Client::positions`](crate::Client::positions) has them. A program that keeps the positions does so
    /// now.
    Begun,
    /// The history of a stream has been read to its end.
    Filled(Filled),
    /// All streams are subscribed on a new connection, and no event is missing: the old one has
    /// proved it.
    Handover(Handover),
    /// A message that the protocol does not define.
    Unknown(UnknownMessage),
    /// The answer to a [`Client::ping`](crate::Client::ping), and the round trip time.
    Pong(Duration),
    /// A watched descriptor is ready.
    FdReady(FdReady),
    /// Nothing arrived before the timeout.
    TimedOut,
    /// The client is closed for good. An earlier call returned the error that closed it.
    Closed,
}

impl Update {
    /// Makes it ready to be kept: it keeps no more than itself.
    pub(crate) fn detach(&mut self) {
        match self {
            Self::Event(event) => event.detach(),
            Self::Ack(ack) => detach(&mut ack.text),
            Self::Unknown(unknown) => unknown.detach(),
            _ => {}
        }
    }

    /// Returns its approximate size in memory, in bytes.
    pub(crate) fn cost(&self) -> usize {
        // Its own size, and the overhead of an allocation.
        let own = 2 * size_of::<Self>();
        own + match self {
            Self::Event(event) => event.message().len(),
            Self::Ack(ack) => ack.message().len(),
            Self::Unknown(unknown) => unknown.text().len(),
            _ => 0,
        }
    }
}

/// The absence of a connection, until the next attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Disconnected {
    /// Why the connection ended, or the attempt failed.
    pub error: Error,
    /// Time until the next attempt.
    pub retry_in: Duration,
}

impl Disconnected {
    /// Creates one, for tests of code that handles one.
    pub fn new(error: Error, retry_in: Duration) -> Self {
        Self { error, retry_in }
    }
}

/// A lost connection, not yet restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// When it is last known that everything sent had been received.
    pub from: SystemTime,
    /// Why the connection was lost, in one line.
    pub reason: String,
}

impl Loss {
    /// Creates a loss, for tests of code that handles one.
    pub fn new(from: SystemTime, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { from, reason }
    }
}

/// A period for which events may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// When it is last known that everything sent had been received.
    pub from: SystemTime,
    /// When the last stream was subscribed again.
    pub to: SystemTime,
    /// Why the connection was lost, or why events may be missing all the same after the history was
    /// read, in one line.
    pub reason: String,
    /// The stream, and why its history does not have them; `None` for a gap of all streams whose history
    /// was not read. The dates are those of the service then.
    pub stream: Option<(Stream, Why)>,
}

impl Gap {
    /// Creates a gap, for tests of code that handles one.
    pub fn new(from: SystemTime, to: SystemTime, reason: impl Into<String>) -> Self {
        Self {
            from,
            to,
            reason: reason.into(),
            stream: None,
        }
    }

    /// Makes it a gap of this stream, which its history does not fill.
    pub fn of_stream(mut self, stream: Stream, why: Why) -> Self {
        self.stream = Some((stream, why));
        self
    }

    pub(crate) fn of_hole(hole: &Hole, stream: Stream) -> Self {
        let known = hole.from.or(hole.to).map_or_else(clock::now, clock::date);
        let to = hole.to.map_or(known, clock::date);
        Self::new(known.min(to), to, hole.why.words()).of_stream(stream, hole.why)
    }
}

/// The end of a stream's history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filled {
    /// The stream.
    pub stream: Stream,
    /// Number of its events that were returned.
    pub events: u64,
    /// The creation dates of the first and the last one.
    pub span: Option<(SystemTime, SystemTime)>,
}

impl Filled {
    pub(crate) fn new(stream: Stream, events: u64, span: Option<(i64, i64)>) -> Self {
        let span = span.map(|(first, last)| (clock::date(first), clock::date(last)));
        Self {
            stream,
            events,
            span,
        }
    }
}

/// A change to a new connection without a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handover {
    /// When it was last known that everything sent had been received, before the old connection was
    /// silent or was replaced.
    pub from: SystemTime,
    /// When the last stream was subscribed on the new connection.
    pub to: SystemTime,
    /// Number of events that came on the old connection since then.
    pub events: u64,
}

impl Handover {
    /// Creates a handover, for tests of code that handles one.
    pub fn new(from: SystemTime, to: SystemTime, events: u64) -> Self {
        Self { from, to, events }
    }
}

/// Returns a date in UTC and milliseconds, RFC 3339.
#[cfg(feature = "serde")]
fn date(at: SystemTime) -> String {
    // RFC 3339 has no others.
    let at = clock::date(clock::millis(at));
    humantime::format_rfc3339_millis(at).to_string()
}

/// Serializes its date in UTC and milliseconds, RFC 3339.
#[cfg(feature = "serde")]
impl serde_core::Serialize for Loss {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_core::ser::SerializeStruct;

        let mut loss = serializer.serialize_struct("Loss", 2)?;
        loss.serialize_field("from", &date(self.from))?;
        loss.serialize_field("reason", &self.reason)?;
        loss.end()
    }
}

/// Serializes its dates in UTC and milliseconds, RFC 3339; that of a stream has `stream` and `why`.
#[cfg(feature = "serde")]
impl serde_core::Serialize for Gap {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_core::ser::SerializeStruct;

        let fields = if self.stream.is_some() { 5 } else { 3 };
        let mut gap = serializer.serialize_struct("Gap", fields)?;
        gap.serialize_field("from", &date(self.from))?;
        gap.serialize_field("to", &date(self.to))?;
        if let Some((stream, why)) = &self.stream {
            gap.serialize_field("stream", stream.as_str())?;
            gap.serialize_field("why", &why.to_string())?;
        }
        gap.serialize_field("reason", &self.reason)?;
        gap.end()
    }
}

/// Serializes its dates in UTC and milliseconds, RFC 3339.
#[cfg(feature = "serde")]
impl serde_core::Serialize for Handover {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_core::ser::SerializeStruct;

        let mut handover = serializer.serialize_struct("Handover", 3)?;
        handover.serialize_field("from", &date(self.from))?;
        handover.serialize_field("to", &date(self.to))?;
        handover.serialize_field("events", &self.events)?;
        handover.end()
    }
}
