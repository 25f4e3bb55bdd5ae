use std::fmt;
use std::time::Duration;

/// The reason why events may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// The service has removed the events that follow the last one received.
    Evicted,
    /// The service has no event any more.
    NoHistory,
    /// More events of one millisecond than the service returns.
    Crowded,
    /// An event longer than the longest message.
    TooLong,
    /// Pushed events that the history does not show.
    Behind,
    /// The service refuses to show the history.
    Refused,
    /// The history could not be read for too long.
    Unavailable,
    /// An answer that violates what was asked for.
    Unusable,
}

impl Why {
    /// Returns a description in one line.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Evicted => "the service has removed events since",
            Self::NoHistory => "the service has no past events",
            Self::Crowded => "the service returns no more events of one millisecond",
            Self::TooLong => "an event is too long",
            Self::Behind => "the history does not have pushed events",
            Self::Refused => "the service refuses to show past events",
            Self::Unavailable => "past events cannot be read",
            Self::Unusable => "the service has answered with other events than those asked for",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Evicted => "evicted",
            Self::NoHistory => "no history",
            Self::Crowded => "crowded",
            Self::TooLong => "too long",
            Self::Behind => "behind",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Unusable => "unusable answer",
        })
    }
}

/// A time for which events may be missing, by dates of the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) why: Why,
    /// The date of the last event before it, if one is known.
    pub(crate) from: Option<i64>,
    /// The date of the first event after it, if there is one.
    pub(crate) to: Option<i64>,
}

/// The step that follows an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Ask,
    AskIn(Duration),
    Over,
}

/// The outcome of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The places of the events in the answer that were not delivered before, in order.
    pub(crate) new: Vec<usize>,
    pub(crate) holes: Vec<Hole>,
    pub(crate) next: Next,
}

impl Taken {
    pub(super) fn then(next: Next) -> Self {
        Self {
            new: Vec::new(),
            holes: Vec::new(),
            next,
        }
    }
}
