//! Reports a run: on standard error, on the terminal's last line, to systemd.

pub(crate) mod file;
mod metrics;
pub(crate) mod progress;
pub(crate) mod run;
pub(crate) mod snapshot;
pub(crate) mod stderr;
pub(crate) mod style;
pub(crate) mod systemd;
