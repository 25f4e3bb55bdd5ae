/// A fault of the REST API's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryFault {
    /// Requests are answered with this status.
    Status(u16),
    /// Requests are not answered.
    Silent,
    /// Answers are sent one byte at a time.
    Slow,
    /// Answers are a page of HTML.
    Html,
    /// Answers end amid their body, and the connection with them.
    Torn,
    /// The newest event comes first, whatever is asked for.
    Descending,
    /// The filter is ignored.
    Unfiltered,
    /// No answer has more than 20 events.
    Capped,
    /// Each event comes twice.
    Doubled,
    /// The last event of an answer is one of another stream.
    Foreign,
    /// An event is shown 2 s after it is pushed.
    Behind,
    /// An event is shown 2 s before it is pushed.
    Ahead,
    /// All events have one creation date.
    OneMillisecond,
    /// The older half of a stream's events is removed after each answer.
    Evicting,
}
