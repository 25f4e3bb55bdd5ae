//! The command that the stand-in runs, and the signals that concern it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Child};

use octave_ws::cli::signals::is_ignored;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Failure;
use crate::environment::Environment;

const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// A program with its arguments.
pub(crate) struct Command {
    program: String,
    args: Vec<String>,
}

/// Returns the signals that are waited for. From now on they no longer end this process.
pub(crate) fn signals() -> io::Result<Signals> {
    let signals = [SIGCHLD, SIGINT, SIGTERM];
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    Signals::new(signals.into_iter().chain(hangup))
}

/// Waits for SIGINT, SIGTERM or SIGHUP.
pub(crate) fn wait_for_end(signals: &mut Signals) {
    signals.forever().find(|&signal| signal != SIGCHLD);
}

impl Command {
    /// `None` for nothing at all.
    pub(crate) fn new(words: &[String]) -> Option<Self> {
        let (program, args) = words.split_first()?;
        Some(Self {
            program: program.clone(),
            args: args.to_vec(),
        })
    }

    /// Runs it to its end and returns the status to end with: its own, or 128 and the number of the
    /// signal that ended it.
    pub(crate) fn run(
        &self,
        environment: &Environment,
        signals: &mut Signals,
    ) -> Result<u8, Failure> {
        let mut command = process::Command::new(&self.program);
        command.args(&self.args);
        environment.apply(&mut command);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let code = match error.kind() {
                    io::ErrorKind::NotFound => NOT_FOUND,
                    _ => NOT_EXECUTABLE,
                };
                return Err(Failure::new(code, format!("{}: {error}", self.program)));
            }
        };
        loop {
            if let Some(status) = child.try_wait()? {
                let signal = status.signal().map(|signal| 128 + signal);
                let code = status.code().or(signal).unwrap_or_default();
                return Ok(u8::try_from(code).unwrap_or(u8::MAX));
            }
            for signal in signals.wait() {
                // SIGINT the terminal sends to both: it is the command's to answer.
                match signal {
                    SIGTERM => pass_on(Signal::TERM, &child),
                    SIGHUP => pass_on(Signal::HUP, &child),
                    _ => {}
                }
            }
        }
    }
}

/// The child has not been waited for: its number is still its own.
fn pass_on(signal: Signal, child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // The command may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}
