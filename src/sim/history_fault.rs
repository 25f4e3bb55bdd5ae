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

impl HistoryFault {
    /// Names and descriptions.
    pub(super) const NAMES: [(&str, &str, Self); 18] = [
        (
            "history-401",
            "history requests are answered with 401",
            Self::Status(401),
        ),
        (
            "history-403",
            "history requests are answered with 403",
            Self::Status(403),
        ),
        (
            "history-404",
            "history requests are answered with 404",
            Self::Status(404),
        ),
        (
            "history-429",
            "history requests are answered with 429",
            Self::Status(429),
        ),
        (
            "history-500",
            "history requests are answered with 500",
            Self::Status(500),
        ),
        (
            "history-silent",
            "history requests are not answered",
            Self::Silent,
        ),
        (
            "history-slow",
            "history is sent one byte at a time",
            Self::Slow,
        ),
        ("history-html", "history is a page of HTML", Self::Html),
        ("history-torn", "history ends amid an answer", Self::Torn),
        (
            "history-descending",
            "history is sorted the other way",
            Self::Descending,
        ),
        (
            "history-unfiltered",
            "history ignores the filter",
            Self::Unfiltered,
        ),
        (
            "history-capped",
            "history has 20 events per answer at most",
            Self::Capped,
        ),
        (
            "history-doubled",
            "history has each event twice",
            Self::Doubled,
        ),
        (
            "history-foreign",
            "history has an event of another stream",
            Self::Foreign,
        ),
        (
            "history-behind",
            "events are in the history 2 s after the push",
            Self::Behind,
        ),
        (
            "history-ahead",
            "events are in the history 2 s before the push",
            Self::Ahead,
        ),
        (
            "history-one-ms",
            "all events have one creation date",
            Self::OneMillisecond,
        ),
        (
            "history-evicting",
            "history loses its older half after each answer",
            Self::Evicting,
        ),
    ];
}
