//! The arguments, as they were typed.
#![allow(clippy::doc_markdown, reason = "the texts are those of --help")]

use std::time::Duration;

use argh::{ArgsInfo, EarlyExit, FromArgValue, FromArgs};
use octave_ws::Stream;

use crate::settings::normalize::{Normalized, normalize};
use crate::settings::streams::Shard;

/// Receives the events of Sierra Wireless Octave.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    usage = "[OPTIONS] COMMAND [OPTIONS] [STREAM...]",
    help_triggers("-h", "--help"),
    note = "Options may stand on either side of the command. A variable named with
one is looked at where the option is not given, then the config file.
OCTAVE_TOKEN holds the token itself: there is no option for it, since
arguments are public on a machine. Durations are written 250ms, 10s or
1h30m, sizes 4096, 64KiB or 16MiB. -V, --version prints the version.",
    error_code(0, "Done, or ended by SIGINT or SIGTERM."),
    error_code(64, "Wrong usage."),
    error_code(69, "The service could not be reached, or was lost."),
    error_code(74, "The output could not be written."),
    error_code(75, "The run was ended before it was done."),
    error_code(76, "The other side broke the protocol."),
    error_code(77, "The credentials or a subscription were refused."),
    error_code(78, "The configuration is invalid or incomplete.")
)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Args {
    /// where the service is (OCTAVE_ENDPOINT)
    #[argh(option, arg_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// whose token it is; none for a restricted token (OCTAVE_USER)
    #[argh(option, arg_name = "NAME")]
    pub(crate) user: Option<String>,

    /// the company (OCTAVE_COMPANY)
    #[argh(option, arg_name = "NAME")]
    pub(crate) company: Option<String>,

    /// where the token is; - for standard input (OCTAVE_TOKEN_FILE)
    #[argh(option, arg_name = "PATH")]
    pub(crate) token_file: Option<String>,

    /// a config file (OCTAVE_CONFIG)
    #[argh(option, arg_name = "PATH")]
    pub(crate) config: Option<String>,

    /// authorities to trust instead of the bundled web roots
    /// (OCTAVE_CA_FILE)
    #[argh(option, arg_name = "PEM")]
    pub(crate) ca_file: Option<String>,

    /// connect through this proxy, http://, socks5:// or socks5h://
    /// (OCTAVE_PROXY)
    #[argh(option, arg_name = "URL")]
    pub(crate) proxy: Option<String>,

    /// connect by IPv4 alone
    #[argh(switch, short = '4')]
    pub(crate) ipv4: bool,

    /// connect by IPv6 alone
    #[argh(switch, short = '6')]
    pub(crate) ipv6: bool,

    /// how long each part of connecting may take: 10s
    #[argh(option, arg_name = "D", from_str_fn(parse_timeout))]
    pub(crate) connect_timeout: Option<Duration>,

    /// how long a request may go unanswered: 10s
    #[argh(option, arg_name = "D", from_str_fn(parse_timeout))]
    pub(crate) ack_timeout: Option<Duration>,

    /// after how long a silence to ask for a sign of life: 20s; 0s never asks
    #[argh(option, arg_name = "D", from_str_fn(parse_duration))]
    pub(crate) ping_interval: Option<Duration>,

    /// how long to wait for a sign of life: 20s; 0s never asks for one
    #[argh(option, arg_name = "D", from_str_fn(parse_duration))]
    pub(crate) ping_timeout: Option<Duration>,

    /// how often to send {"type":"heartbeat"}, 1s at least; not given for never
    #[argh(option, arg_name = "D", from_str_fn(parse_duration))]
    pub(crate) heartbeat: Option<Duration>,

    /// the longest message to take: 16MiB
    #[argh(option, arg_name = "SIZE", from_str_fn(parse_size))]
    pub(crate) max_message: Option<usize>,

    /// let the token travel in the clear to an http:// endpoint
    #[argh(switch)]
    pub(crate) allow_plaintext: bool,

    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(crate) quiet: bool,

    /// tell the connection's life with times; twice for more
    #[argh(switch, short = 'v')]
    pub(crate) verbose: u8,

    #[argh(subcommand)]
    pub(crate) command: Command,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub(crate) enum Command {
    Listen(Listen),
    Capture(Capture),
    Session(Session),
    Shell(Shell),
    Doctor(Doctor),
}

impl Command {
    /// How long it may take as a whole.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Listen(listen) => listen.timeout,
            Self::Capture(capture) => capture.timeout,
            Self::Session(_) | Self::Shell(_) | Self::Doctor(_) => None,
        }
    }
}

/// `listen` and `capture` take the same options. argh has no way to say that.
macro_rules! receivers {
    ($(#[$listen:meta])* listen; $(#[$capture:meta])* capture;
     $($(#[$attribute:meta])* $field:ident: $type:ident$(<$of:ident>)?,)*) => {
        #[derive(Default, FromArgs, ArgsInfo)]
        $(#[$listen])*
        pub(crate) struct Listen {
            $($(#[$attribute])* pub(crate) $field: $type$(<$of>)?,)*
        }

        #[derive(Default, FromArgs, ArgsInfo)]
        $(#[$capture])*
        pub(crate) struct Capture {
            $($(#[$attribute])* pub(crate) $field: $type$(<$of>)?,)*
        }

        impl From<Capture> for Listen {
            fn from(capture: Capture) -> Self {
                Self { $($field: capture.$field,)* }
            }
        }
    };
}

receivers! {
    /// Prints the events of streams, one JSON object a line.
    #[argh(
        subcommand,
        name = "listen",
        usage = "[OPTIONS] STREAM...",
        help_triggers("-h", "--help"),
        note = "A FILE of --output is appended to. Where its last line is torn, as a crash
leaves it, that is cut off. SIGHUP opens it again, under its name.",
        example = "{command_name} /my_company/devices/gw1/temperature --count 5"
    )]
    listen;
    /// Writes the events of streams to a file that is whole or not there.
    #[argh(
        subcommand,
        name = "capture",
        usage = "[OPTIONS] STREAM...",
        help_triggers("-h", "--help"),
        note = "One of --count, --duration and --idle is needed: with it the run is done.
The lines go to FILE.part, which then becomes FILE. Where the run ends before,
FILE stays as it was, FILE.part holds what came so far, and the exit code is
not 0.",
        example = "{command_name} /my_company/devices/gw1/temperature --duration 1m -o FILE"
    )]
    capture;

    /// stop after this many events
    #[argh(option, short = 'C', arg_name = "N", from_str_fn(parse_count))]
    count: Option<u64>,

    /// stop this long after every stream is subscribed
    #[argh(option, arg_name = "D", from_str_fn(parse_duration))]
    duration: Option<Duration>,

    /// stop once no event has come for so long
    #[argh(option, arg_name = "D", from_str_fn(parse_duration))]
    idle: Option<Duration>,

    /// give up, with 75, where it has not stopped so long after its start
    #[argh(option, short = 'W', arg_name = "D", from_str_fn(parse_duration))]
    timeout: Option<Duration>,

    /// where to write; - for standard output, the default
    #[argh(option, short = 'o', arg_name = "FILE")]
    output: Option<String>,

    /// what to write: event (the Event object), message (the server's whole
    /// message), record (events with the time, and what befell the run) or text
    /// (for eyes; the default on a terminal, else event)
    #[argh(option, short = 'F', arg_name = "F")]
    format: Option<Format>,

    /// end with 69 at the first loss of the connection
    #[argh(switch)]
    no_reconnect: bool,

    /// give up, with 69, where no connection came about for so long; not given
    /// for never
    #[argh(option, arg_name = "D", from_str_fn(parse_duration))]
    retry_for: Option<Duration>,

    /// end with 77 where all streams are refused (any), or one of them is (all, the
    /// default)
    #[argh(option, arg_name = "all|any", default = "Require::default()")]
    require: Require,

    /// end with 75 where events may be missing; capture then leaves FILE.part
    #[argh(switch)]
    require_gapless: bool,

    /// streams, one a line, with # comments; - for standard input
    #[argh(option, arg_name = "FILE")]
    streams_file: Option<String>,

    /// of the streams, only the Kth share of N, by a hash of their names
    #[argh(option, arg_name = "K/N")]
    shard: Option<Shard>,

    /// a stream's id (s and 24 hex digits) or its path (it begins with /)
    #[argh(positional, arg_name = "STREAM")]
    streams: Vec<Stream>,
}

/// Asks for a session and prints its id, for another WebSocket client.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "session",
    usage = "[OPTIONS]",
    help_triggers("-h", "--help"),
    note = "Whoever has the id, or the URL with it, reads the company's streams. It
expires if no client connects before long, and serves one connection.",
    example = "wscat -c \"$({command_name} --url)\""
)]
pub(crate) struct Session {
    /// print the URL of its WebSocket instead
    #[argh(switch)]
    pub(crate) url: bool,
}

/// Sends what is typed and prints what comes in, on one socket.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "shell",
    usage = "[OPTIONS]",
    help_triggers("-h", "--help"),
    note = "A line is one of: subscribe STREAM, unsubscribe STREAM, ping, help, quit. What
begins with {{ is sent as it stands. At the end of input it unsubscribes and
closes. It does not connect again.",
    example = "echo ping | {command_name}"
)]
pub(crate) struct Shell {}

/// Goes through all that it takes to receive events, and says what it finds.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "doctor",
    usage = "[OPTIONS] [STREAM...]",
    help_triggers("-h", "--help"),
    note = "A line for each stage: config, clock, dns, tcp, proxy, tls, session, upgrade,
subscribe, ping, event. The first that fails is the last; its exit code is
that of the failure, and it is said what to do.",
    example = "{command_name} /my_company/devices/gw1/temperature"
)]
pub(crate) struct Doctor {
    /// a JSON object for each stage
    #[argh(switch)]
    pub(crate) json: bool,

    /// a stream to subscribe to: its id (s and 24 hex digits) or its path
    #[argh(positional, arg_name = "STREAM")]
    pub(crate) streams: Vec<Stream>,
}

/// What a line of output holds.
#[derive(Clone, Copy, FromArgValue)]
pub(crate) enum Format {
    Event,
    Message,
    Record,
    Text,
}

/// How many of the streams a run can do without.
#[derive(Clone, Copy, Default, PartialEq, Eq, FromArgValue)]
pub(crate) enum Require {
    #[default]
    All,
    Any,
}

/// What the command line asks for.
pub(crate) enum Asked {
    Run(Box<Args>),
    /// To be printed on standard output.
    Text(String),
}

impl Args {
    /// Reads the arguments, that of the program's own name excepted.
    ///
    /// # Errors
    /// In one line, what is wrong with them.
    pub(crate) fn parse(typed: impl IntoIterator<Item = String>) -> Result<Asked, String> {
        let words = match normalize(&Self::get_args_info(), typed)? {
            Normalized::Run(words) | Normalized::Help(words) => words,
            Normalized::Version => {
                let version = concat!("octave-ws ", env!("CARGO_PKG_VERSION"));
                return Ok(Asked::Text(version.to_owned()));
            }
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match Self::from_args(&["octave-ws"], &words) {
            Ok(args) => Ok(Asked::Run(Box::new(args))),
            Err(EarlyExit { output, status }) if status.is_ok() => Ok(Asked::Text(output)),
            Err(EarlyExit { output, .. }) => Err(output.trim().replace('\n', "; ")),
        }
    }
}

fn parse_count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number from 1 up".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// A duration as `250ms`, `10s` or `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "give a duration as 250ms, 10s or 1h30m".to_owned())
}

/// A duration of more than nothing.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("give a duration of more than 0s, as 10s".to_owned()),
        timeout => Ok(timeout),
    }
}

/// A size in bytes as `4096`, `64KiB` or `16MiB`; at least 1.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        _ => None,
    };
    let number: Option<usize> = digits.parse().ok().filter(|&number| number > 0);
    let size = number.zip(unit);
    size.and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| "give a size as 4096, 64KiB or 16MiB".to_owned())
}
