//! The log of the clients of an `octave_ws_config`.

use std::ffi::{c_char, c_int, c_void};

use super::config::{octave_ws_config, set};
use super::{Callback, line};
use crate::LogLevel;

/// A failure that an operator has to know.
pub const OCTAVE_WS_LOG_ERROR: c_int = 1;
/// Lost connections, failed attempts to connect, and the time until the next one.
pub const OCTAVE_WS_LOG_WARN: c_int = 2;
/// Other changes.
pub const OCTAVE_WS_LOG_INFO: c_int = 3;
/// Steps of connecting, and requests.
pub const OCTAVE_WS_LOG_DEBUG: c_int = 4;
/// Pings and heartbeats.
pub const OCTAVE_WS_LOG_TRACE: c_int = 5;

/// Takes a line of the log, without a line break. It is valid during the call.
pub type octave_ws_log_fn =
    Option<unsafe extern "C" fn(level: c_int, line: *const c_char, user: *mut c_void)>;

/// Sets the function that takes the log of the clients of this config, up to a level, on the thread that
/// calls them; null: none. user is passed to it, and has to outlive all clients of the config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_log(
    config: *mut octave_ws_config,
    max_level: c_int,
    log: octave_ws_log_fn,
    user: *mut c_void,
) -> c_int {
    let log = log.map(|function| Callback { function, user });
    let take = move |level: LogLevel, line: &str| {
        let level = match level {
            LogLevel::Error => OCTAVE_WS_LOG_ERROR,
            LogLevel::Warn => OCTAVE_WS_LOG_WARN,
            LogLevel::Info => OCTAVE_WS_LOG_INFO,
            LogLevel::Debug => OCTAVE_WS_LOG_DEBUG,
            LogLevel::Trace => OCTAVE_WS_LOG_TRACE,
        };
        if let Some(Callback { function, user }) = log.filter(|_| level <= max_level) {
            let line = self::line(line);
            // SAFETY: the caller's function, with a string that ends with NUL.
            unsafe { function(level, line.as_ptr(), user) };
        }
    };
    // SAFETY: as the header asks.
    unsafe { set(config, |config| config.log(take)) }
}
