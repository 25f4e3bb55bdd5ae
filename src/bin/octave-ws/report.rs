//! What is said on standard error: a line each.

use std::io::{self, Write as _};
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
    say(&format!("error: {}", failure.message));
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

fn say(message: &str) {
    // In one write(2), so that lines of several processes do not mix.
    let line = format!("{}\n", Printable(message));
    // Where standard error is gone there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}
