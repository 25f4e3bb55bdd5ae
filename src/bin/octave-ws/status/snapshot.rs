//! The status of a run as others see it.

use std::process;
use std::time::SystemTime;

use octave_ws::clock;
use serde_json::{Value, json};

/// The state of a run at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) state: State,
    /// The beginning of this state.
    pub(crate) since: SystemTime,
    /// Number of streams that are to be subscribed, and of those that are.
    pub(crate) asked: usize,
    pub(crate) granted: usize,
    pub(crate) refused: Vec<String>,
    pub(crate) events: u64,
    /// Total length of the events' messages.
    pub(crate) bytes: u64,
    pub(crate) gaps: u64,
    pub(crate) event_at: Option<SystemTime>,
    pub(crate) failure: Option<LastFailure>,
    pub(crate) next_attempt: Option<SystemTime>,
    /// The exit code, at the end.
    pub(crate) exit: Option<u8>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not all streams have been answered yet.
    Connecting,
    Subscribed,
    /// The connection, or a stream, was lost and is not back.
    Lost,
    Stopping,
}

/// The last failure of a connection or an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastFailure {
    pub(crate) message: String,
    /// Number of its repetitions in a row.
    pub(crate) count: u64,
    pub(crate) at: SystemTime,
}

impl State {
    pub(crate) const ALL: [Self; 4] = [
        Self::Connecting,
        Self::Subscribed,
        Self::Lost,
        Self::Stopping,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Subscribed => "subscribed",
            Self::Lost => "lost",
            Self::Stopping => "stopping",
        }
    }
}

impl Snapshot {
    /// Returns whether more than the counts of events differs.
    pub(crate) fn is_other_than(&self, last: &Self) -> bool {
        let counted = Self {
            events: last.events,
            bytes: last.bytes,
            event_at: last.event_at,
            ..self.clone()
        };
        counted != *last
    }

    /// Returns it as one line of JSON.
    pub(crate) fn json(&self) -> String {
        let date = |at| humantime::format_rfc3339_millis(at).to_string();
        let failure = self.failure.as_ref().map(|failure| {
            json!({
                "message": failure.message,
                "count": failure.count,
                "at": date(failure.at),
            })
        });
        let status: Value = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": process::id(),
            "updated": date(clock::now()),
            "state": self.state.name(),
            "since": date(self.since),
            "streams": {
                "asked": self.asked,
                "granted": self.granted,
                "refused": self.refused,
            },
            "events": self.events,
            "bytes": self.bytes,
            "gaps": self.gaps,
            "last_event": self.event_at.map(date),
            "last_failure": failure,
            "next_attempt": self.next_attempt.map(date),
            "exit": self.exit,
        });
        format!("{status}\n")
    }
}
