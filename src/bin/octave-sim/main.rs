//! The stand-in as a program: alone, or around a command that is to talk to it.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use octave_ws::arguments::help;
use octave_ws::sim::{Flood, Options, Seen, Sim};

use crate::args::{Args, Asked};
use crate::command::Command;
use crate::environment::Environment;

mod args;
mod command;
mod environment;

const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;

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
            Err(error) => failure(UNAVAILABLE, &error.to_string()),
        },
        Ok(Asked::Text(text)) => {
            // Whoever asks for help and does not read it gets none.
            let _ = writeln!(io::stdout(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(what) => failure(USAGE, &help::with_hint(&what)),
    }
}

fn failure(code: u8, message: &str) -> ExitCode {
    print_line(&format!("error: {message}\n"));
    ExitCode::from(code)
}

/// In one write(2), so that the lines of the command and of this do not mix.
fn print_line(line: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

fn run(args: &Args, command: Option<Command>) -> io::Result<u8> {
    // Before there is anything to interrupt.
    let mut signals = command::signals()?;
    let (observer, seen) = mpsc::channel();
    let sim = Sim::start_with(Options {
        listen: args.listen,
        rate: args.rate,
        count: args.count,
        script: args.events.clone(),
        flood: args.flood.map(|events| Flood {
            events,
            size: args.size,
            records: args.records,
        }),
        any_stream: args.any_stream,
        faults: args.fault.clone(),
        observer: args.verbose.then_some(observer),
    })?;
    let teller = thread::Builder::new()
        .name("octave-sim tells".to_owned())
        .spawn(move || log_seen(&seen))?;
    let environment = Environment::of(&sim)?;
    let code = if let Some(command) = command {
        command.run(&environment, &mut signals)?
    } else {
        environment.print()?;
        command::wait_for_end(&mut signals);
        0
    };
    drop(sim);
    // What clients did last is told, too.
    let _ = teller.join();
    Ok(code)
}

fn log_seen(seen: &mpsc::Receiver<Seen>) {
    for seen in seen {
        print_line(&format!("octave-sim: {seen}\n"));
    }
}
