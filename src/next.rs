use std::time::{Duration, SystemTime};

use crate::protocol::{Ack, Event, Unknown, detach};

/// What [`Client::next`](crate::Client::next) found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Next {
    /// An event of a stream.
    Event(Event),
    /// The answer to a [`Client::request`](crate::Client::request), or a refusal of what had been granted before.
    Ack(Ack),
    /// The first connection of a client that was [new](crate::Client::new).
    Connected,
    /// There is no connection any more, and what the streams have is lost until there is another.
    Lost(Loss),
    /// There is a connection again, and all is subscribed as before: the end of a loss.
    Gap(Gap),
    /// A message that is none of the protocol.
    Unknown(Unknown),
    /// The answer to a [`Client::ping`](crate::Client::ping), after so long.
    Pong(Duration),
    /// What is [watched](crate::Client::watch) has something to read, or what is
    /// [written to](crate::Client::watch_hangup) has no reader.
    Readable,
    /// Nothing came in by the deadline. The next call may find something.
    TimedOut,
    /// The connection is closed, and stays so. Why was the error of an earlier call.
    Closed,
}

impl Next {
    /// Makes it ready to be kept: it keeps no more than itself.
    pub(crate) fn detach(&mut self) {
        match self {
            Self::Event(event) => event.detach(),
            Self::Ack(ack) => detach(&mut ack.text),
            Self::Unknown(unknown) => unknown.detach(),
            _ => {}
        }
    }

    /// How much memory it takes, about.
    pub(crate) fn cost(&self) -> usize {
        // What it is in, and what an allocation takes besides.
        let own = 2 * size_of::<Self>();
        own + match self {
            Self::Event(event) => event.message().len(),
            Self::Ack(ack) => ack.message().len(),
            Self::Unknown(unknown) => unknown.text().len(),
            _ => 0,
        }
    }
}

/// A loss of which the end is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// When the service was last heard of.
    pub from: SystemTime,
    /// How the connection was lost, in one line.
    pub reason: String,
}

/// A time of which events may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// When the service was last heard of.
    pub from: SystemTime,
    /// When the last of the streams was subscribed again.
    pub to: SystemTime,
    /// How the connection was lost, in one line.
    pub reason: String,
}

/// With its dates in UTC and milliseconds, RFC 3339.
#[cfg(feature = "serde")]
impl serde_core::Serialize for Gap {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_core::ser::SerializeStruct;

        let date = |at: &SystemTime| humantime::format_rfc3339_millis(*at).to_string();
        let mut gap = serializer.serialize_struct("Gap", 3)?;
        gap.serialize_field("from", &date(&self.from))?;
        gap.serialize_field("to", &date(&self.to))?;
        gap.serialize_field("reason", &self.reason)?;
        gap.end()
    }
}
