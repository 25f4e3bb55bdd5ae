//! Formats log lines for their reader.

use log::Level;
use octave_ws::{Printable, clock};
use serde_json::json;

use crate::settings::values::LogFormat;
use crate::wait::terminal;

/// The reader of standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Terminal,
    /// A file or a pipe: read later, when it has to say when something was lost.
    Stream,
    /// The journal of systemd, which adds the time. A line begins with a priority, sd-daemon(3).
    Journal,
    Json,
}

impl Style {
    pub(crate) fn of(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Text if terminal::is_stderr_journal() => Self::Journal,
            LogFormat::Text if terminal::is_stderr_terminal() => Self::Terminal,
            LogFormat::Text => Self::Stream,
        }
    }

    /// Returns the line of a message. `is_verbose` asks for the time of each.
    pub(super) fn line(self, level: Level, is_verbose: bool, message: &str) -> String {
        let at = || humantime::format_rfc3339_millis(clock::now());
        let (name, priority) = match level {
            Level::Error => ("error", 3),
            Level::Warn => ("warning", 4),
            Level::Info => ("info", 6),
            Level::Debug | Level::Trace => ("debug", 7),
        };
        let text = match level {
            Level::Error | Level::Warn => format!("{name}: {message}"),
            _ => message.to_owned(),
        };
        match self {
            Self::Json => {
                let message = Printable(message).to_string();
                json!({ "at": at().to_string(), "level": name, "message": message }).to_string()
            }
            Self::Journal => format!("<{priority}>{text}"),
            Self::Stream if level == Level::Warn => format!("{} {text}", at()),
            _ if is_verbose => format!("{} {text}", at()),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_suits_its_reader() {
        let line = |style: Style, level| {
            let line = style.line(level, false, "a\u{1b}\"");
            // A time has 24 characters.
            let (before, rest) = line.split_once("20").unwrap_or(("", &line));
            match rest.get(22..) {
                Some(rest) => format!("{before}TIME{rest}"),
                None => line,
            }
        };
        for (style, level, wanted) in [
            (Style::Terminal, Level::Warn, "warning: a\u{1b}\""),
            (Style::Terminal, Level::Info, "a\u{1b}\""),
            (Style::Stream, Level::Warn, "TIME warning: a\u{1b}\""),
            (Style::Stream, Level::Error, "error: a\u{1b}\""),
            (Style::Journal, Level::Error, "<3>error: a\u{1b}\""),
            (Style::Journal, Level::Warn, "<4>warning: a\u{1b}\""),
            (Style::Journal, Level::Info, "<6>a\u{1b}\""),
            (Style::Journal, Level::Debug, "<7>a\u{1b}\""),
            (
                Style::Json,
                Level::Warn,
                r#"{"at":"TIME","level":"warning","message":"a\\u{1b}\""}"#,
            ),
        ] {
            assert_eq!(line(style, level), wanted, "{style:?} {level}");
        }
    }
}
