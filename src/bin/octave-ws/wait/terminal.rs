//! Queries the terminals of standard output and standard error.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use rustix::fs::fstat;
use rustix::process::getpgrp;
use rustix::termios::{tcgetpgrp, tcgetwinsize};

/// Returns whether standard error goes where standard output goes, as on a terminal.
pub(crate) fn is_stderr_on_stdout() -> bool {
    match (fstat(io::stdout()), fstat(io::stderr())) {
        (Ok(stdout), Ok(stderr)) => {
            (stdout.st_dev, stdout.st_ino) == (stderr.st_dev, stderr.st_ino)
        }
        _ => false,
    }
}

/// Returns whether standard output is a terminal.
pub(crate) fn is_stdout_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns the width of the terminal on standard output, if known.
pub(crate) fn stdout_columns() -> Option<usize> {
    columns(io::stdout())
}

/// Returns the width of the terminal on standard error, if known.
pub(crate) fn stderr_columns() -> Option<usize> {
    columns(io::stderr())
}

fn columns(terminal: impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// Returns whether standard error is a terminal.
pub(crate) fn is_stderr_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Returns whether standard error is the stream to the journal that systemd says it is.
pub(crate) fn is_stderr_journal() -> bool {
    let Some(named) = env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    fstat(io::stderr()).is_ok_and(|own| *named == *format!("{}:{}", own.st_dev, own.st_ino))
}

/// Returns whether the terminal on standard error controls the process.
pub(crate) fn is_stderr_its_terminal() -> bool {
    tcgetpgrp(io::stderr()).is_ok()
}

/// Returns whether another process group, such as a shell's, is in the foreground of the terminal on
/// standard error.
pub(crate) fn is_in_background() -> bool {
    // Fails for a terminal that does not control this process, and so for every job of a shell.
    tcgetpgrp(io::stderr()).is_ok_and(|foreground| foreground != getpgrp())
}
