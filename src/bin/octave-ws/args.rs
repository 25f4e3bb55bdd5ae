//! The arguments, as they were typed.

#![allow(clippy::doc_markdown, reason = "the texts are those of --help")]

use std::time::Duration;

use argh::{EarlyExit, FromArgs};
use octave_ws::Stream;

/// Receives the events of Sierra Wireless Octave.
#[derive(FromArgs)]
#[argh(
    help_triggers("-h", "--help"),
    note = "The credentials come from the environment: OCTAVE_COMPANY, OCTAVE_TOKEN
and, unless the token is a restricted one, OCTAVE_USER.",
    error_code(0, "Done, or ended by SIGINT or SIGTERM."),
    error_code(64, "Wrong usage."),
    error_code(69, "The service could not be reached, or was lost."),
    error_code(74, "The output could not be written."),
    error_code(76, "The other side broke the protocol."),
    error_code(77, "The credentials or a subscription were refused."),
    error_code(78, "The configuration is invalid or incomplete.")
)]
pub(crate) struct Args {
    /// where the service is (OCTAVE_ENDPOINT)
    #[argh(option, arg_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// trust the authorities in this file instead of the bundled web roots
    /// (OCTAVE_CA_FILE)
    #[argh(option, arg_name = "PEM")]
    pub(crate) ca_file: Option<String>,

    #[argh(subcommand)]
    pub(crate) command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub(crate) enum Command {
    Listen(Listen),
}

/// Prints the events of streams, one JSON object a line.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "listen",
    help_triggers("-h", "--help"),
    example = "{command_name} /my_company/devices/gw1/temperature --count 5"
)]
pub(crate) struct Listen {
    /// stop after this many events
    #[argh(option, short = 'C', arg_name = "N", from_str_fn(count))]
    pub(crate) count: Option<u64>,

    /// stop this long after every stream is subscribed: 250ms, 10s, 1h30m
    #[argh(option, arg_name = "D", from_str_fn(duration))]
    pub(crate) duration: Option<Duration>,

    /// a stream's id (s and 24 hex digits) or its path (it begins with /)
    #[argh(positional, arg_name = "STREAM")]
    pub(crate) streams: Vec<Stream>,
}

impl Args {
    /// Reads the arguments, that of the program's own name excepted.
    pub(crate) fn parse(args: &[&str]) -> Result<Self, EarlyExit> {
        Self::from_args(&["octave-ws"], args)
    }
}

fn count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number from 1 up".to_owned()),
        Ok(count) => Ok(count),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "give a duration as 250ms, 10s or 1h30m".to_owned())
}
