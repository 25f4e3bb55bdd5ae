//! The status of a run in the text format of Prometheus.

use std::fmt::Write;
use std::process;
use std::time::{Duration, SystemTime};

use octave_ws::clock;

use crate::status::snapshot::{Snapshot, State};

/// A value, and the label that it has beside that of the run.
type Sample<'a> = (Option<(&'a str, &'a str)>, f64);

/// Returns a status as metrics, each with the name of the run as a label: several runs on one machine are
/// collected together.
pub(super) fn prometheus(status: &Snapshot, run: &str) -> String {
    let mut text = Metrics {
        run: escaped(run),
        text: String::new(),
    };
    let version = Some(("version", env!("CARGO_PKG_VERSION")));
    text.gauge("info", "Version of the program.", [(version, 1.0)]);
    text.gauge("pid", "Process id.", [(None, process::id().into())]);
    let updated = Some(clock::now());
    text.date("updated", "Time of this status", updated);
    let each = State::ALL.map(|state| {
        let label = Some(("state", state.name()));
        (label, f64::from(u8::from(state == status.state)))
    });
    text.gauge("state", "1 for the state of the run.", each);
    text.date("state", "Beginning of the state", Some(status.since));
    let [asked, granted, refused] = [status.asked, status.granted, status.refused.len()]
        .map(|count| [(None, number(count as u64))]);
    text.gauge("streams_asked", "Number of streams to subscribe to.", asked);
    text.gauge("streams_granted", "Number of subscribed streams.", granted);
    text.gauge("streams_refused", "Number of refused streams.", refused);
    let streams = status.refused.iter();
    let streams = streams.map(|stream| (Some(("stream", stream.as_str())), 1.0));
    text.gauge("stream_refused", "1 for each refused stream.", streams);
    text.counter("events", "Number of events.", status.events);
    let bytes = "Total length of the messages of events, in bytes.";
    text.counter("event_bytes", bytes, status.bytes);
    let gaps = "Number of periods for which events may be missing.";
    text.counter("gaps", gaps, status.gaps);
    text.date("last_event", "Arrival of the last event", status.event_at);
    let failure = status.failure.as_ref();
    let count = failure.map(|last| (Some(("message", last.message.as_str())), number(last.count)));
    let repetitions = "Repetitions of the last failure in a row.";
    text.gauge("last_failure", repetitions, count);
    let failed_at = failure.map(|last| last.at);
    text.date("last_failure", "Time of the last failure", failed_at);
    text.date(
        "next_attempt",
        "Time of the next attempt",
        status.next_attempt,
    );
    let code = status.exit.map(|code| (None, code.into()));
    text.gauge("exit_code", "Exit code of a run that has ended.", code);
    text.text
}

struct Metrics {
    /// The name of the run, escaped.
    run: String,
    text: String,
}

impl Metrics {
    fn gauge<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'a>>) {
        self.family(name, "gauge", help, samples);
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) {
        let name = format!("{name}_total");
        self.family(&name, "counter", help, [(None, number(count))]);
    }

    fn date(&mut self, name: &str, what: &str, at: Option<SystemTime>) {
        let name = format!("{name}_timestamp_seconds");
        let help = format!("{what}, in seconds since the Unix epoch.");
        self.gauge(&name, &help, at.map(|at| (None, seconds(at))));
    }

    /// Appends the samples of a metric. One without a sample is left out.
    fn family<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let Self { run, text } = self;
        let name = format!("octave_ws_{name}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (label, value) in samples {
            let label = label.map(|(name, value)| format!(r#",{name}="{}""#, escaped(value)));
            let label = label.unwrap_or_default();
            let _ = writeln!(text, r#"{name}{{run="{run}"{label}}} {value}"#);
        }
    }
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
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
