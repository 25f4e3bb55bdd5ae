//! How far a run is, for whoever looks at it: the last line of the terminal.

use std::time::{Duration, Instant};

use crate::output::record::Summary;
use crate::settings::ListenSettings;
use crate::status::run::RunStatus;
use crate::status::stderr;

pub(crate) struct Progress<'a> {
    settings: &'a ListenSettings,
    /// When it was drawn, if it was.
    drawn: Option<Instant>,
    /// Whether something has come in since.
    is_behind: bool,
    /// When there were how many events: the later one and the one before, for the rate.
    marks: [(Instant, u64); 2],
}

/// Between two drawings, at least.
const PAUSE: Duration = Duration::from_millis(250);

/// Between two drawings, where nothing comes in.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

/// The time that a rate is of, at least.
const SPAN: Duration = Duration::from_secs(2);

impl<'a> Progress<'a> {
    pub(crate) fn new(settings: &'a ListenSettings) -> Self {
        stderr::status("connecting");
        Self {
            settings,
            drawn: None,
            is_behind: false,
            marks: [(Instant::now(), 0); 2],
        }
    }

    /// When to draw it again, though nothing has come in.
    pub(crate) fn due(&self) -> Instant {
        let pause = if self.is_behind { PAUSE } else { IDLE_PAUSE };
        self.drawn.map_or_else(Instant::now, |at| at + pause)
    }

    /// Draws it, unless that has just been done.
    pub(crate) fn draw(&mut self, status: &RunStatus) {
        let now = Instant::now();
        self.is_behind = self.drawn.is_some_and(|at| now < at + PAUSE);
        if self.is_behind {
            return;
        }
        self.drawn = Some(now);
        stderr::status(&self.line(status, now));
    }

    fn line(&mut self, status: &RunStatus, now: Instant) -> String {
        if !status.was_connected {
            return status.state();
        }
        let settings = self.settings;
        let Summary { events, bytes, .. } = status.summary;
        let mut parts = Vec::new();
        parts.push(match settings.count {
            Some(count) => format!("{events} of {count} events"),
            None if events == 1 => "1 event".to_owned(),
            None => format!("{events} events"),
        });
        parts.push(format!("{:.1}/s", self.rate(events, now)));
        parts.push(size(bytes));
        parts.push(status.state());
        match (status.quiet_since(), settings.idle, status.event_at) {
            (Some(at), Some(whole), _) => {
                parts.push(format!("quiet for {} of {}", time(now - at), time(whole)));
            }
            (_, _, Some(at)) => parts.push(format!("last event {} ago", time(now - at))),
            _ => {}
        }
        if let (Some(at), Some(whole)) = (status.subscribed_at, settings.duration) {
            parts.push(format!("{} of {}", time(now - at), time(whole)));
        }
        if let Some(deadline) = settings.deadline {
            let left = time(deadline.saturating_duration_since(now));
            parts.push(format!("{left} left"));
        }
        parts.join(", ")
    }

    /// Events per second, lately.
    fn rate(&mut self, events: u64, now: Instant) -> f64 {
        let [before, last] = self.marks;
        if now - last.0 >= SPAN {
            self.marks = [last, (now, events)];
        }
        #[allow(clippy::cast_precision_loss, reason = "they are rounded when shown")]
        let new = (events - before.1) as f64;
        let span = (now - before.0).as_secs_f64();
        if span > 0.0 { new / span } else { 0.0 }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        stderr::status("");
    }
}

/// In whole seconds, as options take it: `1h 2m 3s`.
fn time(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// In units as options take them.
fn size(bytes: u64) -> String {
    let mut size = bytes;
    let mut rest = 0;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    while size >= 1024 && units.len() > 1 {
        (size, rest) = (size / 1024, size % 1024);
        units.next();
    }
    let unit = units.next().unwrap_or_default();
    if unit == "B" || size >= 10 {
        format!("{size} {unit}")
    } else {
        format!("{size}.{} {unit}", rest * 10 / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits_at_least() {
        let sizes = [0, 1023, 1024, 1536, 10 << 10, (5 << 20) - 1, 3 << 50];
        let sizes = sizes.map(size);
        let expected = [
            "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 KiB", "4.9 MiB", "3072 TiB",
        ];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn times_are_whole_seconds() {
        assert_eq!(time(Duration::from_millis(61_900)), "1m 1s");
        assert_eq!(time(Duration::from_millis(900)), "0s");
    }
}
