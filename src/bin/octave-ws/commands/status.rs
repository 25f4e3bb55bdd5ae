//! `status`: a status file, for eyes and for a health check.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use octave_ws::{Printable, clock};
use serde_json::Value;

use crate::exit::{Failure, UNAVAILABLE};
use crate::output;
use crate::status::file::EVERY;
use crate::status::progress::time as whole;
use crate::wait::source::FILES;

/// Age of a status that is not fresh: that of a run that does not run any more.
const STALE: Duration = Duration::from_secs(3 * EVERY.as_secs());

/// Prints a status file.
///
/// # Errors
/// 69 unless the run is subscribed, and its status fresh.
pub(crate) fn status(path: &str) -> Result<(), Failure> {
    let read = (FILES.open)(Path::new(path)).and_then(|file| {
        // Nothing else is kept up to date, and others may be waited for.
        if file.metadata()?.is_file() {
            (FILES.read)(&file)
        } else {
            Err(io::Error::other("not a regular file"))
        }
    });
    let failure = |what: String| Failure::new(UNAVAILABLE, format!("status: {path}: {what}"));
    let text = read.map_err(|error| failure(error.to_string()))?;
    let status = serde_json::from_slice(&text).unwrap_or(Value::Null);
    let (Some(state), Some(updated)) = (status["state"].as_str(), date(&status["updated"])) else {
        let what = "this is not a status file in JSON (see listen --status-file)";
        return Err(failure(what.to_owned()));
    };
    let now = clock::now();
    output::print(&page(&status, now))?;
    // Of a clock that was set back, too.
    let age = now
        .duration_since(updated)
        .unwrap_or_else(|error| error.duration());
    if age > STALE {
        let age = whole(age);
        return Err(failure(format!(
            "last updated {age} ago: the run has ended, hangs, or waits for the reader of a pipe"
        )));
    }
    if state != "subscribed" {
        return Err(failure(format!(
            "the run is not subscribed: {}",
            Printable(state)
        )));
    }
    Ok(())
}

/// Returns the status as lines of words.
fn page(status: &Value, now: SystemTime) -> String {
    let mut page = String::new();
    let mut line = |name: &str, words: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{name:<9} {}", Printable(&words));
    };
    let ago = |value: &Value| {
        let ago = date(value).and_then(|at| now.duration_since(at).ok());
        ago.map_or_else(
            || "at an unknown time".to_owned(),
            |ago| format!("{} ago", whole(ago)),
        )
    };
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let since = date(&status["since"]).and_then(|since| now.duration_since(since).ok());
    let time = since.map(|time| format!(" for {}", whole(time)));
    let state = text(&status["state"]);
    line("state", format!("{state}{}", time.unwrap_or_default()));
    line("updated", ago(&status["updated"]));
    let streams = &status["streams"];
    line(
        "streams",
        format!("{} of {} subscribed", streams["granted"], streams["asked"]),
    );
    for refused in streams["refused"].as_array().into_iter().flatten() {
        line("refused", text(refused));
    }
    let mut events = status["events"].to_string();
    if status["last_event"].is_string() {
        events = format!("{events}, the last {}", ago(&status["last_event"]));
    }
    line("events", events);
    line("bytes", status["bytes"].to_string());
    line("gaps", status["gaps"].to_string());
    let failure = &status["last_failure"];
    if failure.is_object() {
        let times = match failure["count"].as_u64() {
            Some(1) | None => String::new(),
            Some(count) => format!(" ({count} times)"),
        };
        line(
            "failure",
            format!(
                "{}{times}, {}",
                text(&failure["message"]),
                ago(&failure["at"])
            ),
        );
    }
    if status["exit"].is_u64() {
        line("exit", status["exit"].to_string());
    }
    if let Some(next) = date(&status["next_attempt"]) {
        let left = next.duration_since(now).unwrap_or_default();
        line("next", format!("attempt in {}", whole(left)));
    }
    line(
        "process",
        format!("{}, octave-ws {}", status["pid"], text(&status["version"])),
    );
    page
}

fn date(value: &Value) -> Option<SystemTime> {
    humantime::parse_rfc3339(value.as_str()?).ok()
}
