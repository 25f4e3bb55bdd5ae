use std::time::Duration;

/// The reason why events may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
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
    /// An answer that violates what was asked for.
    Unusable,
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
