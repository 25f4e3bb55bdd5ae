//! The command line: arguments as typed, resolved into settings, then run.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use octave_ws::Stop;

use crate::commands::{doctor, history, listen, session, shell, status as status_of};
use crate::exit::Failure;
use crate::settings::Settings;
use crate::settings::args::{Args, Command};
use crate::settings::parse::Asked;
use crate::settings::values::LogFormat;
use crate::status::stderr;
use crate::status::style::Style;

mod commands;
mod exit;
mod format;
mod output;
#[cfg(test)]
#[path = "../../../tests/seed/mod.rs"]
mod seed;
mod settings;
mod signals;
mod status;
mod wait;

fn main() -> ExitCode {
    match run(Instant::now()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_reported {
                stderr::failure(&failure);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(start: Instant) -> Result<(), Failure> {
    let stop = Stop::new().map_err(Failure::signals)?;
    let hangups = signals::catch(&stop).map_err(Failure::signals)?;
    wait::set_stop(&stop);
    stderr::begin(Style::of(LogFormat::Text));
    let typed: Result<Vec<String>, _> = env::args_os()
        .skip(1)
        .map(|arg| arg.into_string())
        .collect();
    let typed = typed.map_err(|arg| Failure::usage(format!("{arg:?} is not UTF-8")))?;
    stderr::begin(Style::of(LogFormat::typed(&typed)));
    let args = match Args::parse(typed).map_err(Failure::usage)? {
        Asked::Run(args) => *args,
        Asked::Text(text) => return output::print(&text),
        Asked::Nothing(usage) => {
            usage.lines().for_each(stderr::line);
            let failure = Failure::usage("no command");
            return Err(Failure {
                is_reported: true,
                ..failure
            });
        }
    };
    stderr::start(args.quiet, args.verbose, Style::of(args.log_format));
    if args.quiet && args.verbose > 0 {
        return Err(Failure::usage(
            "--quiet and --verbose cannot be used together",
        ));
    }
    if args.ipv4 && args.ipv6 {
        return Err(Failure::usage("-4 and -6 cannot be used together"));
    }
    let deadline = args
        .command
        .timeout()
        .and_then(|time| start.checked_add(time));
    wait::set_deadline(deadline);
    if !args.command.reloads() {
        hangups.let_stop(&stop).map_err(Failure::signals)?;
    }
    let stopped = stopped(&args.command);
    let setup = Settings::resolve(args, deadline);
    // A read that the stop ended is no failure.
    if stop.is_stopped() {
        return stopped;
    }
    match setup? {
        Settings::Listen(config, settings) => listen::listen(config, &settings, &stop, hangups),
        Settings::History(config, settings) => history::history(&config.stop(stop), &settings),
        Settings::Doctor(settings) => doctor::doctor(settings, &stop),
        Settings::Shell(config, settings) => shell::shell(config, settings, &stop),
        Settings::Session(config, shown) => session::session(&config.stop(stop), shown),
        Settings::Completions(script) => output::print(&script),
        Settings::Status(path) => status_of::status(&path),
    }
}

/// Returns the outcome of a command that was stopped before it began.
fn stopped(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Listen(_) => Ok(()),
        Command::Session(_) | Command::Shell(_) => Err(Failure::no_session()),
        _ => Err(Failure::stopped()),
    }
}
