//! Shows the progress of a run on the last line of the terminal.

use std::time::{Duration, Instant};

use crate::output::record::Summary;
use crate::settings::ListenSettings;
use crate::status::run::RunStatus;
use crate::status::stderr;

pub(crate) struct Progress<'a> {
    settings: &'a ListenSettings,
    /// Time of the last drawing, if the line is drawn.
    drawn: Option<Instant>,
    /// Whether something has come in since.
    is_behind: bool,
    /// Two counts of events with their times, for the rate.
    marks: [(Instant, u64); 2],
}

/// Minimum time between two drawings.
const PAUSE: Duration = Duration::from_millis(250);

/// Time between two drawings while nothing arrives.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

/// The time that a rate is of, at least.
const SPAN: Duration = Duration::from_secs(2);

impl<'a> Progress<'a> {
    pub(crate) fn new(settings: &'a ListenSettings) -> Self {
        stderr::status(&fitted(vec![Part::new(0, "connecting")], stderr::columns()));
        Self {
            settings,
            drawn: None,
            is_behind: false,
            marks: [(Instant::now(), 0); 2],
        }
    }

    /// Returns when to draw it again, though nothing has come in.
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
        stderr::status(&fitted(self.parts(status, now), stderr::columns()));
    }

    fn parts(&mut self, status: &RunStatus, now: Instant) -> Vec<Part> {
        let state = Part::new(1, status.state());
        if !status.was_connected {
            return vec![state];
        }
        let settings = self.settings;
        let Summary { events, bytes, .. } = status.summary;
        let count = match settings.count {
            Some(count) => {
                Part::new(0, format!("{events} of {count} events")).or(format!("{events}/{count}"))
            }
            None if events == 1 => Part::new(0, "1 event"),
            None => Part::new(0, format!("{events} events")),
        };
        let rate = Part::new(5, format!("{:.1}/s", self.rate(events, now)));
        let mut parts = vec![count, rate, Part::new(6, size(bytes)), state];
        match (status.quiet_since(), settings.idle, status.event_at) {
            (Some(at), Some(whole), _) => {
                let quiet = time(now - at);
                let text = format!("quiet for {quiet} of {}", time(whole));
                parts.push(Part::new(3, text).or(format!("quiet for {quiet}")));
            }
            (_, _, Some(at)) => {
                let ago = format!("{} ago", time(now - at));
                parts.push(Part::new(4, format!("last event {ago}")).or(ago));
            }
            _ => {}
        }
        if let (Some(at), Some(whole)) = (status.subscribed_at, settings.duration) {
            let text = format!("{} of {}", time(now - at), time(whole));
            parts.push(Part::new(3, text));
        }
        if let Some(deadline) = settings.deadline {
            let left = time(deadline.saturating_duration_since(now));
            parts.push(Part::new(2, format!("{left} left")));
        }
        parts
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

/// A part of the line.
struct Part {
    /// The higher, the sooner it makes room for others.
    rank: u8,
    text: String,
    /// The text for a narrow terminal.
    short: Option<String>,
}

impl Part {
    fn new(rank: u8, text: impl Into<String>) -> Self {
        Self {
            rank,
            text: text.into(),
            short: None,
        }
    }

    fn or(self, short: String) -> Self {
        Self {
            short: Some(short),
            ..self
        }
    }
}

/// Returns the parts, with commas, in no more columns: some of them short, then left out.
fn fitted(mut parts: Vec<Part>, columns: usize) -> String {
    loop {
        let texts: Vec<&str> = parts.iter().map(|part| &*part.text).collect();
        let line = texts.join(", ");
        if line.len() <= columns {
            return line;
        }
        let long = parts.iter_mut().filter(|part| part.short.is_some());
        if let Some(part) = long.max_by_key(|part| part.rank) {
            part.text = part.short.take().unwrap_or_default();
        } else {
            let last = parts.iter().map(|part| part.rank).max();
            parts.retain(|part| Some(part.rank) != last);
        }
    }
}

/// In whole seconds, as options take it: `1h 2m 3s`.
pub(crate) fn time(time: Duration) -> String {
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
