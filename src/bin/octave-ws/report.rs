//! What is said on standard error: a line each.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::exit::Failure;
use crate::printable::Printable;

/// Says what is logged, by this program and its library and by nobody else: others may know
/// secrets.
struct Report;

/// From now on says as much as `quiet` and `verbose` ask for. Before, it says nothing.
pub(crate) fn start(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Info,
        (false, 1) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    // The one way to fail is to have done so before.
    let _ = log::set_logger(&Report);
    log::set_max_level(level);
}

pub(crate) fn failure(failure: &Failure) {
    say(&format!("error: {failure}"));
}

impl Log for Report {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        target == "octave_ws" || target.starts_with("octave_ws::")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let kind = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info | Level::Debug | Level::Trace => "",
        };
        if log::max_level() > LevelFilter::Info {
            let at = humantime::format_rfc3339_millis(SystemTime::now());
            say(&format!("{at} {kind}{}", record.args()));
        } else {
            say(&format!("{kind}{}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// What stands in the last line of the terminal, below all that is said.
static STATUS: Mutex<String> = Mutex::new(String::new());

/// Puts a text in place of the last one, on a terminal. An empty one takes it away.
pub(crate) fn status(text: &str) {
    let mut status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if *status != text {
        text.clone_into(&mut status);
        write(&redrawn("", text));
    }
}

/// Says it at any verbosity.
pub(crate) fn say(message: &str) {
    let line = format!("{}\n", Printable(message));
    let status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if status.is_empty() {
        write(&line);
    } else {
        write(&redrawn(&line, &status));
    }
}

/// In place of a status: a line, and a status.
fn redrawn(line: &str, status: &str) -> String {
    const ERASE: &str = "\r\x1b[K";
    if status.is_empty() {
        return format!("{ERASE}{line}");
    }
    // What is longer than the terminal is wide would become two lines, and one of them stay.
    format!("{ERASE}{line}\x1b[?7l{status}\x1b[?7h")
}

/// In one write(2), so that lines of several processes do not mix.
fn write(text: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}
