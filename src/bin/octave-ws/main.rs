//! The command line: arguments as typed, resolved into settings, then run.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use octave_ws::Stop;

use crate::args::Args;
use crate::exit::Failure;
use crate::setup::Setup;

mod args;
mod exit;
mod listen;
mod output;
mod report;
mod setup;
mod signals;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn run() -> Result<(), Failure> {
    let typed: Result<Vec<String>, _> = env::args_os()
        .skip(1)
        .map(|arg| arg.into_string())
        .collect();
    let typed = typed.map_err(|arg| Failure::usage(format!("usage: {arg:?} is not UTF-8")))?;
    let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
    let args = match Args::parse(&typed) {
        Ok(args) => args,
        Err(early) if early.status.is_ok() => {
            // Whoever asks for help and does not read it gets none.
            let _ = writeln!(io::stdout(), "{}", early.output.trim_end());
            return Ok(());
        }
        Err(early) => {
            let message = early.output.trim().replace('\n', "; ");
            return Err(Failure::usage(format!("usage: {message} (see --help)")));
        }
    };
    let setup = Setup::resolve(args)?;
    let no_signals = |error| Failure::new(exit::UNAVAILABLE, format!("signals: {error}"));
    let stop = Stop::new().map_err(no_signals)?;
    signals::catch(&stop).map_err(no_signals)?;
    listen::listen(&setup, &stop)
}
