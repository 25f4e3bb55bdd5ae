//! The stand-in as a program: alone, or around a command that is to talk to it.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use octave_ws::cli::help;
use octave_ws::sim::{Observation, Options, Sim};

use crate::args::{Args, Asked};
use crate::command::Command;
use crate::environment::Environment;

mod args;
mod command;
mod environment;

const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const OUTPUT: u8 = 74;

fn main() -> ExitCode {
    let typed: Result<Vec<String>, _> = env::args_os()
        .skip(1)
        .map(|arg| arg.into_string())
        .collect();
    let asked = match typed {
        Ok(typed) => Args::parse(&typed),
        Err(arg) => Err(format!("{arg:?} is not UTF-8")),
    };
    match asked {
        Ok(Asked::Run(args, command)) => match run(&args, command) {
            Ok(code) => ExitCode::from(code),
            Err(failure) => failure.end(),
        },
        Ok(Asked::Text(text)) => match print(&format!("{}\n", text.trim_end())) {
            // A reader that has left needs no more.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Failure::output(&error).end(),
            _ => ExitCode::SUCCESS,
        },
        Err(what) => Failure::new(USAGE, help::with_hint(&what)).end(),
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Why the program ends, and with which code.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    fn output(error: &io::Error) -> Self {
        Self::new(OUTPUT, format!("output: standard output: {error}"))
    }

    fn end(self) -> ExitCode {
        print_line(&format!("error: {}\n", self.message));
        ExitCode::from(self.code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(UNAVAILABLE, error.to_string())
    }
}

/// In one write(2), so that the lines of the command and of this do not mix.
fn print_line(line: &str) {
    // Standard error may be gone.
    let _ = io::stderr().write_all(line.as_bytes());
}

fn run(args: &Args, command: Option<Command>) -> Result<u8, Failure> {
    let (observer, seen) = mpsc::channel();
    let sim = Sim::start_with(Options {
        listen: args.listen,
        allow_remote: args.allow_remote,
        state: args.state.clone(),
        rate: args.rate,
        count: args.count,
        script: args.events.clone(),
        capacity: args.capacity,
        any_stream: args.any_stream,
        compression: !args.no_compression,
        faults: args.fault.clone(),
        observer: args.verbose.then_some(observer),
    })?;
    let teller = thread::Builder::new()
        .name("octave-sim tells".to_owned())
        .spawn(move || log_seen(&seen))?;
    // From here on there are files to remove.
    let mut signals = command::signals()?;
    let environment = Environment::of(&sim, command.is_some())?;
    let code = if let Some(command) = command {
        command.run(&environment, &mut signals)?
    } else {
        print(&environment.lines()).map_err(|error| Failure::output(&error))?;
        command::wait_for_end(&mut signals);
        0
    };
    drop(sim);
    // The last actions of clients are logged, too.
    let _ = teller.join();
    Ok(code)
}

fn log_seen(seen: &mpsc::Receiver<Observation>) {
    for seen in seen {
        print_line(&format!("octave-sim: {seen}\n"));
    }
}
