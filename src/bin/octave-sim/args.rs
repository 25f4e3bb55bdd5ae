//! The arguments, as they were typed.
#![allow(clippy::doc_markdown, reason = "the texts are those of --help")]
#![allow(clippy::struct_excessive_bools, reason = "each is a switch")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use argh::{ArgsInfo, EarlyExit, FromArgs};

use octave_ws::cli::help;
use octave_ws::cli::normalize::{Normalized, normalize};
use octave_ws::sim::{Fault, Script, Sim};

use crate::command::Command;

#[derive(FromArgs, ArgsInfo)]
#[argh(
    description = "A stand-in for the Octave cloud service on this machine: sessions, subscriptions
and events over TLS, with a CA and a token of its own, which are new at each
start unless --state keeps them.

It has one company, demo, whose device gw1 has the streams
/demo/devices/gw1/temperature, /demo/devices/gw1/humidity and
/demo/devices/gw1/location.

Its REST API has the newest events of each stream. A stream that was subscribed
once has further events while no client is connected.

With -- COMMAND ARGS... it runs COMMAND, with OCTAVE_ENDPOINT, OCTAVE_API,
OCTAVE_CA_FILE, OCTAVE_USER, OCTAVE_COMPANY and OCTAVE_TOKEN pointing at itself,
and exits with its status. Without, it prints these variables and serves until
stopped.",
    usage = "[OPTIONS] [-- COMMAND ARGS...]",
    help_triggers("-h", "--help"),
    example = "{command_name} -v -- octave-ws listen /demo/devices/gw1/temperature",
    error_code(0, "Stopped by SIGINT, SIGTERM or SIGHUP."),
    error_code(64, "Invalid usage."),
    error_code(69, "The server could not be started."),
    error_code(74, "Standard output could not be written."),
    error_code(126, "COMMAND cannot be executed."),
    error_code(127, "COMMAND was not found.")
)]
pub(crate) struct Args {
    /// log what clients do to standard error
    #[argh(switch, short = 'v')]
    pub(crate) verbose: bool,

    /// address and port to listen on (default: 127.0.0.1:0, a free port)
    #[argh(
        option,
        arg_name = "ADDR",
        default = "([127, 0, 0, 1], 0).into()",
        from_str_fn(parse_listen)
    )]
    pub(crate) listen: SocketAddr,

    /// allow an address of --listen that other machines can connect to
    #[argh(switch)]
    pub(crate) allow_remote: bool,

    /// keep the CA and the tokens in DIR, for the next start
    #[argh(option, arg_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// events per second of each stream that was subscribed once (default: 1)
    #[argh(option, arg_name = "N", default = "1.0", from_str_fn(parse_rate))]
    pub(crate) rate: f64,

    /// total number of those events for each stream (default: no limit)
    #[argh(option, arg_name = "N")]
    pub(crate) count: Option<u64>,

    /// send the events in FILE, one JSON document per line: whole events as
    /// printed by octave-ws, or only the elems of events
    #[argh(option, arg_name = "FILE", from_str_fn(parse_events))]
    pub(crate) events: Option<Script>,

    /// number of events that each stream keeps for the REST API (default: 1000)
    #[argh(option, arg_name = "N", default = "1000")]
    pub(crate) capacity: usize,

    /// accept any path as a stream
    #[argh(switch)]
    pub(crate) any_stream: bool,

    /// do not compress messages, whatever a client offers
    #[argh(switch)]
    pub(crate) no_compression: bool,

    /// simulate a fault; can be given several times
    #[argh(option, arg_name = "NAME")]
    pub(crate) fault: Vec<Fault>,

    /// list the faults
    #[argh(switch)]
    list_faults: bool,

    /// list the streams, as octave-ws --streams-file takes them
    #[argh(switch)]
    list_streams: bool,
}

/// The request of the command line.
pub(crate) enum Asked {
    Run(Args, Option<Command>),
    /// A text to print on standard output.
    Text(String),
}

impl Args {
    /// Returns the faults or the streams, where it was asked for those.
    fn list(&self) -> Option<String> {
        if self.list_faults {
            let lines = Fault::NAMES.map(|(name, what)| format!("{name:<18} {what}"));
            return Some(lines.join("\n"));
        }
        if self.list_streams {
            let lines = Sim::DEMO_STREAMS.map(|(path, id)| format!("{path}  # {id}"));
            return Some(lines.join("\n"));
        }
        None
    }

    /// Reads the arguments, that of the program's own name excepted.
    ///
    /// # Errors
    /// In one line, what is wrong with them.
    pub(crate) fn parse(typed: &[String]) -> Result<Asked, String> {
        let mut halves = typed.splitn(2, |arg| arg == "--");
        let own = halves.next().unwrap_or_default();
        let words = match normalize(&Self::get_args_info(), own.iter().cloned())? {
            Normalized::Run(words) | Normalized::Help(words) => words,
            // octave-sim has no commands.
            Normalized::Nothing => Vec::new(),
            Normalized::Version => {
                let version = concat!("octave-sim ", env!("CARGO_PKG_VERSION"));
                return Ok(Asked::Text(version.to_owned()));
            }
        };
        if let Some((_, [command, ..])) = words
            .iter()
            .position(|word| word == "--")
            .map(|at| words.split_at(at + 1))
        {
            return Err(format!("{command}: give -- before the command to run"));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let args = match Self::from_args(&["octave-sim"], &words) {
            Ok(args) => args,
            Err(EarlyExit { output, status }) if status.is_ok() => {
                let flags = Self::get_args_info().flags;
                return Ok(Asked::Text(help::with_options(&output, flags, "")));
            }
            Err(EarlyExit { output, .. }) => return Err(help::in_one_line(&output)),
        };
        if let Some(text) = args.list() {
            return Ok(Asked::Text(text));
        }
        if !args.listen.ip().is_loopback() && !args.allow_remote {
            return Err(format!(
                "--listen {}: not a loopback address: give --allow-remote to serve other machines",
                args.listen
            ));
        }
        if args
            .state
            .as_ref()
            .is_some_and(|folder| folder.as_os_str().is_empty())
        {
            return Err("--state: give a folder".to_owned());
        }
        let command = match halves.next().map(Command::new) {
            Some(None) => return Err("no COMMAND behind --".to_owned()),
            command => command.flatten(),
        };
        Ok(Asked::Run(args, command))
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let wanted = "give an IP address and a port, such as 127.0.0.1:8443";
    text.parse().map_err(|_| wanted.to_owned())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e6).contains(&rate) => Ok(rate),
        _ => Err("give a number from 0 to 1000000".to_owned()),
    }
}

fn parse_events(file: &str) -> Result<Script, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    text.parse()
}
