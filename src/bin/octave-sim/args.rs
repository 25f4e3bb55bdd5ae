//! The arguments, as they were typed.
#![allow(clippy::doc_markdown, reason = "the texts are those of --help")]

use std::net::SocketAddr;

use argh::{EarlyExit, FromArgs};

use crate::command::Command;

#[derive(FromArgs)]
#[argh(
    description = "Stands in for the Octave cloud on this machine: sessions, subscriptions and
events over TLS, with certificates made at each start.

It is the company demo, whose device gw1 has the streams
/demo/devices/gw1/temperature, /demo/devices/gw1/humidity and
/demo/devices/gw1/location.

With -- COMMAND ARGS... at the end it runs COMMAND, with OCTAVE_ENDPOINT,
OCTAVE_CA_FILE, OCTAVE_USER, OCTAVE_COMPANY and OCTAVE_TOKEN pointing at itself,
and ends with its status. Without, it prints those and serves until stopped.",
    help_triggers("-h", "--help"),
    example = "{command_name} -v -- octave-ws listen /demo/devices/gw1/temperature",
    error_code(0, "Stopped by SIGINT or SIGTERM."),
    error_code(64, "Wrong usage."),
    error_code(69, "It could not be started."),
    error_code(126, "The COMMAND cannot be executed."),
    error_code(127, "The COMMAND was not found.")
)]
pub(crate) struct Args {
    /// tell on standard error what clients do
    #[argh(switch, short = 'v')]
    pub(crate) verbose: bool,

    /// where to listen, on loopback (default: 127.0.0.1:0, a free port)
    #[argh(option, arg_name = "ADDR", default = "([127, 0, 0, 1], 0).into()")]
    pub(crate) listen: SocketAddr,

    /// events a second of each subscribed stream (default: 1)
    #[argh(option, arg_name = "N", default = "1.0", from_str_fn(rate))]
    pub(crate) rate: f64,
}

impl Args {
    /// Reads the arguments, that of the program's own name excepted.
    pub(crate) fn parse(typed: &[String]) -> Result<(Self, Option<Command>), EarlyExit> {
        let mut halves = typed.splitn(2, |arg| arg == "--");
        let own: Vec<&str> = halves
            .next()
            .unwrap_or_default()
            .iter()
            .map(String::as_str)
            .collect();
        let args = Self::from_args(&["octave-sim"], &own)?;
        let command = match halves.next() {
            None => None,
            Some(command) => Some(
                Command::new(command)
                    .ok_or_else(|| EarlyExit::from("no COMMAND behind --".to_owned()))?,
            ),
        };
        if !args.listen.ip().is_loopback() {
            let listen = args.listen;
            return Err(EarlyExit::from(format!(
                "--listen {listen}: not a loopback address"
            )));
        }
        Ok((args, command))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e6).contains(&rate) => Ok(rate),
        _ => Err("give a number from 0 to 1000000".to_owned()),
    }
}
