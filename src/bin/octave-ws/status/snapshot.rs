//! The status of a run as others see it: in JSON, or as metrics.

use std::fmt::Write;
use std::process;
use std::time::{Duration, SystemTime};

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
    const ALL: [Self; 4] = [
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

    /// Returns it in the text format of Prometheus.
    pub(crate) fn prometheus(&self) -> String {
        let mut text = Metrics(String::new());
        let version = format!(r#"{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
        text.family("info", "gauge", "Version of the program.", [(version, 1.0)]);
        let one = |value: f64| [(String::new(), value)];
        text.family("pid", "gauge", "Process id.", one(process::id().into()));
        let updated = "Time of this status, in seconds since the Unix epoch.";
        text.family(
            "updated_timestamp_seconds",
            "gauge",
            updated,
            one(seconds(clock::now())),
        );
        let states = State::ALL.map(|state| {
            let label = format!(r#"{{state="{}"}}"#, state.name());
            (label, f64::from(u8::from(state == self.state)))
        });
        text.family("state", "gauge", "1 for the state of the run.", states);
        let since = "Beginning of the state, in seconds since the Unix epoch.";
        text.family(
            "state_timestamp_seconds",
            "gauge",
            since,
            one(seconds(self.since)),
        );
        let refused = self.refused.len();
        for (name, help, count) in [
            (
                "streams_asked",
                "Number of streams to subscribe to.",
                self.asked,
            ),
            (
                "streams_granted",
                "Number of subscribed streams.",
                self.granted,
            ),
            ("streams_refused", "Number of refused streams.", refused),
        ] {
            text.family(name, "gauge", help, one(number(count as u64)));
        }
        let streams = self.refused.iter();
        let streams = streams.map(|stream| (label("stream", stream), 1.0));
        text.family(
            "stream_refused",
            "gauge",
            "1 for each refused stream.",
            streams,
        );
        for (name, help, count) in [
            ("events_total", "Number of events.", self.events),
            (
                "event_bytes_total",
                "Total length of the messages of events, in bytes.",
                self.bytes,
            ),
            (
                "gaps_total",
                "Number of periods for which events may be missing.",
                self.gaps,
            ),
        ] {
            text.family(name, "counter", help, one(number(count)));
        }
        let at = |at: Option<SystemTime>| at.map(|at| (String::new(), seconds(at)));
        let event = "Arrival of the last event, in seconds since the Unix epoch.";
        text.family(
            "last_event_timestamp_seconds",
            "gauge",
            event,
            at(self.event_at),
        );
        let failure = self.failure.as_ref();
        let count = failure.map(|last| (label("message", &last.message), number(last.count)));
        text.family(
            "last_failure",
            "gauge",
            "Repetitions of the last failure in a row.",
            count,
        );
        let failed = "Time of the last failure, in seconds since the Unix epoch.";
        let failed_at = at(failure.map(|last| last.at));
        text.family("last_failure_timestamp_seconds", "gauge", failed, failed_at);
        let next = "Time of the next attempt, in seconds since the Unix epoch.";
        text.family(
            "next_attempt_timestamp_seconds",
            "gauge",
            next,
            at(self.next_attempt),
        );
        let code = self.exit.map(|code| (String::new(), code.into()));
        text.family(
            "exit_code",
            "gauge",
            "Exit code of a run that has ended.",
            code,
        );
        text.0
    }
}

struct Metrics(String);

impl Metrics {
    /// Appends the samples of a metric, each with its labels. One without a sample is left out.
    fn family(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let text = &mut self.0;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP octave_ws_{name} {help}\n# TYPE octave_ws_{name} {kind}"
        );
        for (labels, value) in samples {
            let _ = writeln!(text, "octave_ws_{name}{labels} {value}");
        }
    }
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    let value = value.replace('\n', "\\n");
    format!(r#"{{{name}="{value}"}}"#)
}

fn seconds(at: SystemTime) -> f64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs_f64()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "the numbers of Prometheus are these"
)]
fn number(count: u64) -> f64 {
    count as f64
}
