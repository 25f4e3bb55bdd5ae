use std::fmt;
use std::sync::Arc;

use crate::Printable;

/// The level of a log record, for [`Config::log`](crate::Config::log).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// A failure that an operator has to know.
    Error,
    /// A lost connection, a failed attempt to connect, and the time until the next one.
    Warn,
    /// Another change.
    Info,
    /// A step of connecting, or a request.
    Debug,
    /// A ping or a heartbeat.
    Trace,
}

/// Formats it in capitals.
impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of_crate().fmt(f)
    }
}

impl LogLevel {
    /// Returns the level of the crate `log`.
    fn of_crate(self) -> log::Level {
        match self {
            Self::Error => log::Level::Error,
            Self::Warn => log::Level::Warn,
            Self::Info => log::Level::Info,
            Self::Debug => log::Level::Debug,
            Self::Trace => log::Level::Trace,
        }
    }
}

/// Takes log records: the function of [`Config::log`](crate::Config::log), or else the crate `log`.
#[derive(Clone, Default)]
pub(crate) struct Logger(Option<Arc<Take>>);

type Take = dyn Fn(LogLevel, &str) + Send + Sync;

impl Logger {
    pub(crate) fn new(take: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(take)))
    }

    /// Returns whether there is a function.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn log(&self, level: LogLevel, target: &str, record: fmt::Arguments<'_>) {
        match &self.0 {
            Some(take) => take(level, &line(record)),
            None => log::log!(target: target, level.of_crate(), "{}", line(record)),
        }
    }
}

/// Returns a record in one line: a stream, for example, may be named as it likes.
fn line(record: fmt::Arguments<'_>) -> String {
    Printable(&record.to_string()).to_string()
}

/// Logs a record of this level.
macro_rules! record {
    ($logger:expr, $level:ident, $($record:tt)+) => {
        $logger.log($crate::LogLevel::$level, module_path!(), format_args!($($record)+))
    };
}
pub(crate) use record;

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logger")
    }
}
