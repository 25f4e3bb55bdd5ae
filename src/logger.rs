use std::fmt;
use std::sync::Arc;

use log::Level;

/// Takes log records: the function of [`Config::log`](crate::Config::log), or else the crate `log`.
#[derive(Clone, Default)]
pub(crate) struct Logger(Option<Arc<Take>>);

type Take = dyn Fn(Level, &str) + Send + Sync;

impl Logger {
    pub(crate) fn new(take: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(take)))
    }

    /// Returns whether there is a function.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn log(&self, level: Level, target: &str, record: fmt::Arguments<'_>) {
        match &self.0 {
            Some(take) => take(level, &record.to_string()),
            None => log::log!(target: target, level, "{record}"),
        }
    }
}

/// Logs a record of this level.
macro_rules! record {
    ($logger:expr, $level:ident, $($record:tt)+) => {
        $logger.log(log::Level::$level, module_path!(), format_args!($($record)+))
    };
}
pub(crate) use record;

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logger")
    }
}
