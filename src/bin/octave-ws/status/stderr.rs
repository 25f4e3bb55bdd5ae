//! Writes lines on standard error.

use std::sync::{Mutex, MutexGuard, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use octave_ws::wait::poll;
use octave_ws::{Gap, Printable};

use crate::exit::Failure;
use crate::status::style::Style;
use crate::wait::sink::Sink;
use crate::wait::terminal;

/// Prints the log of this program and its library. Other crates may log secrets.
struct Report;

/// Says in this style what is to be said before it is known what was asked for.
pub(crate) fn begin(style: Style) {
    screen().style = style;
}

/// Starts the log, at the level of `quiet` and `verbose`, in this style. Before, nothing is logged.
pub(crate) fn start(quiet: bool, verbose: u8, style: Style) {
    screen().style = style;
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Info,
        (false, 1) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    // The one way to fail is to have done so before.
    let _ = log::set_logger(&Report);
    log::set_max_level(level);
    log::debug!("octave-ws {}", env!("CARGO_PKG_VERSION"));
}

pub(crate) fn failure(failure: &Failure) {
    let line = screen()
        .style
        .line(Level::Error, false, &failure.to_string());
    put(&line);
}

/// Warns at any verbosity.
pub(crate) fn warning(message: &str) {
    say(Level::Warn, message);
}

fn say(level: Level, message: &str) {
    let is_verbose = log::max_level() > LevelFilter::Info;
    let line = screen().style.line(level, is_verbose, message);
    put(&line);
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
        say(record.level(), &record.args().to_string());
    }

    fn flush(&self) {}
}

/// Standard error, and what stands in the last line of the terminal, below all that is said.
static SCREEN: Mutex<Screen> = Mutex::new(Screen {
    sink: None,
    status: String::new(),
    style: Style::Terminal,
});

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Screen {
    /// Opened by the first write.
    sink: Option<Sink>,
    status: String,
    style: Style,
}

/// Returns the width of a status, in columns.
pub(crate) fn columns() -> usize {
    // Some terminals wrap once the last column is written.
    terminal::stderr_columns().map_or(usize::MAX, |columns| columns - 1)
}

/// Puts a text in place of the last one, on a terminal. An empty one takes it away.
///
/// In the background, nothing is put there: another process writes to the last line.
pub(crate) fn status(text: &str) {
    let mut screen = screen();
    if screen.style == Style::Json || !screen.owns_last_line() {
        return;
    }
    // How far a run is, is not waited for.
    let is_late = || {
        screen
            .sink
            .as_ref()
            .is_some_and(|sink| !poll::is_writable(sink))
    };
    if screen.status != text && (text.is_empty() || !is_late()) {
        text.clone_into(&mut screen.status);
        screen.write(&redrawn("", text));
    }
}

/// Says it at any verbosity.
pub(crate) fn line(message: &str) {
    let style = screen().style;
    match style {
        Style::Terminal | Style::Stream => put(message),
        Style::Journal | Style::Json => put(&style.line(Level::Info, false, message)),
    }
}

fn put(message: &str) {
    let line = format!("{}\n", Printable(message));
    let mut screen = screen();
    if screen.status.is_empty() || !screen.owns_last_line() {
        screen.write(&line);
    } else {
        let text = redrawn(&line, &screen.status);
        screen.write(&text);
    }
}

impl Screen {
    /// Returns whether the last line of the terminal is this process's. Else forgets the status that
    /// stood there.
    fn owns_last_line(&mut self) -> bool {
        let is_owner = !terminal::is_in_background();
        if !is_owner {
            self.status.clear();
        }
        is_owner
    }

    /// In one write(2), so that lines of several processes do not mix.
    fn write(&mut self, text: &str) {
        let sink = match self.sink.take() {
            None => Sink::stderr(),
            Some(sink) => Ok(sink),
        };
        // Standard error may be gone, or not read.
        match sink {
            Ok(sink) => {
                let _ = sink.write_all(&[text.as_bytes()], false);
                self.sink = Some(sink);
            }
            Err(_) => Sink::write_to_stderr(text),
        }
    }
}

/// In place of a status: a line, and a status.
fn redrawn(line: &str, status: &str) -> String {
    const ERASE: &str = "\r\x1b[K";
    if status.is_empty() {
        return format!("{ERASE}{line}");
    }
    // A terminal that has become narrower would make two lines of it, and one of them stay.
    format!("{ERASE}{line}\x1b[?7l{status}\x1b[?7h")
}

/// Reports a gap of a stream.
pub(crate) fn gap(gap: &Gap) {
    let [from, to] = [gap.from, gap.to].map(humantime::format_rfc3339_millis);
    let stream = gap.stream.as_ref().map(|(stream, _)| stream.as_str());
    let (stream, reason) = (stream.unwrap_or_default(), &gap.reason);
    warning(&format!(
        "{stream}: events may be missing from {from} to {to}: {reason}"
    ));
}
