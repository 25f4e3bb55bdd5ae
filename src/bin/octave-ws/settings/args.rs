//! The arguments, as they were typed.
#![allow(clippy::doc_markdown, reason = "the texts are those of --help")]

use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use octave_ws::Stream;
use octave_ws::cli::completions;
use octave_ws::settings::{parse_duration, parse_size};

use crate::format::table::{Columns, parse_columns};
use crate::format::{self, Format};
use crate::settings::streams::Shard;
use crate::settings::values::{
    LogFormat, Require, parse_count, parse_keep, parse_period, valid_duration, valid_interval,
    valid_size, valid_timeout,
};

/// Receive events from Sierra Wireless Octave cloud streams in real time.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    usage = "[OPTIONS] COMMAND [OPTIONS] [STREAM...]",
    help_triggers("-h", "--help"),
    note = "Options can be given before or after the command. An option overrides its
environment variable (in parentheses), which overrides the config file.
OCTAVE_TOKEN holds the token itself; there is no option for it, because
command lines are visible to everyone on a machine. DURATION is a value
like 250ms, 10s or 1h30m; SIZE is a value like 4096, 64KiB or 16MiB.
-V, --version prints the version.",
    error_code(0, "Success, or listen was stopped by SIGINT or SIGTERM."),
    error_code(64, "Invalid usage."),
    error_code(69, "The service could not be reached, or the connection was lost."),
    error_code(74, "The output could not be written."),
    error_code(75, "The run ended before it was complete."),
    error_code(76, "The service violated the protocol."),
    error_code(77, "The credentials or a subscription were refused."),
    error_code(78, "The configuration is invalid or incomplete.")
)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Args {
    /// URL of the service (OCTAVE_ENDPOINT)
    #[argh(option, arg_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// user that the token belongs to; omit for a restricted token
    /// (OCTAVE_USER)
    #[argh(option, arg_name = "NAME")]
    pub(crate) user: Option<String>,

    /// company name (OCTAVE_COMPANY)
    #[argh(option, arg_name = "NAME")]
    pub(crate) company: Option<String>,

    /// file that holds the token, - for standard input (OCTAVE_TOKEN_FILE)
    #[argh(option, arg_name = "FILE")]
    pub(crate) token_file: Option<String>,

    /// config file (OCTAVE_CONFIG)
    #[argh(option, arg_name = "FILE")]
    pub(crate) config: Option<String>,

    /// CA certificates (PEM) to trust instead of the bundled web roots
    /// (OCTAVE_CA_FILE)
    #[argh(option, arg_name = "FILE")]
    pub(crate) ca_file: Option<String>,

    /// proxy to connect through: http://, socks5:// or socks5h://
    /// (OCTAVE_PROXY)
    #[argh(option, arg_name = "URL")]
    pub(crate) proxy: Option<String>,

    /// use IPv4 only
    #[argh(switch, short = '4')]
    pub(crate) ipv4: bool,

    /// use IPv6 only
    #[argh(switch, short = '6')]
    pub(crate) ipv6: bool,

    /// timeout for each phase of connecting (default: 10s)
    #[argh(option, arg_name = "DURATION", from_str_fn(valid_timeout))]
    pub(crate) connect_timeout: Option<String>,

    /// timeout for the acknowledgement of a request (default: 10s)
    #[argh(option, arg_name = "DURATION", from_str_fn(valid_timeout))]
    pub(crate) ack_timeout: Option<String>,

    /// send a ping after this much silence (default: 20s; 0s disables pings)
    #[argh(option, arg_name = "DURATION", from_str_fn(valid_duration))]
    pub(crate) ping_interval: Option<String>,

    /// reconnect if a ping is not answered within this time (default: 20s;
    /// 0s disables pings)
    #[argh(option, arg_name = "DURATION", from_str_fn(valid_duration))]
    pub(crate) ping_timeout: Option<String>,

    /// send {"type":"heartbeat"} at this interval, at least 1s (default:
    /// never)
    #[argh(option, arg_name = "DURATION", from_str_fn(valid_interval))]
    pub(crate) heartbeat: Option<String>,

    /// replace each connection after this time, up to a tenth sooner
    /// (default: 0s, once three in a row have ended after the same time, after
    /// four fifths of it)
    #[argh(option, arg_name = "DURATION", from_str_fn(valid_interval))]
    pub(crate) renew: Option<String>,

    /// drop a connection on which pings go unanswered, instead of keeping it
    /// until the events that were sent on it have come; --renew needs that, too
    #[argh(switch)]
    pub(crate) no_handover: bool,

    /// do not ask the service to compress its messages
    #[argh(switch)]
    pub(crate) no_compression: bool,

    /// maximum size of a message (default: 16MiB)
    #[argh(option, arg_name = "SIZE", from_str_fn(valid_size))]
    pub(crate) max_message: Option<String>,

    /// allow an http:// endpoint, to which the token is sent unencrypted
    #[argh(switch)]
    pub(crate) allow_plaintext: bool,

    /// print errors and gaps only
    #[argh(switch, short = 'q')]
    pub(crate) quiet: bool,

    /// log connection events with timestamps; repeat for more detail
    #[argh(switch, short = 'v')]
    pub(crate) verbose: u8,

    /// log format: text or json, one object per line (default: text)
    #[argh(option, arg_name = "FORMAT", default = "LogFormat::Text")]
    pub(crate) log_format: LogFormat,

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
    Completions(Completions),
}

impl Command {
    /// Returns the timeout for the whole run.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Listen(listen) => listen.timeout,
            Self::Capture(capture) => capture.timeout,
            Self::Session(_) | Self::Shell(_) | Self::Doctor(_) | Self::Completions(_) => None,
        }
    }

    /// Returns whether SIGHUP reopens the output, or asks for other streams.
    pub(crate) fn reloads(&self) -> bool {
        let is_file = |path: &Option<String>| path.as_ref().is_some_and(|path| path != "-");
        match self {
            Self::Listen(listen) => is_file(&listen.output) || is_file(&listen.streams_file),
            _ => false,
        }
    }
}

/// `listen` and `capture` take the same options. argh has no way to say that.
macro_rules! receivers {
    ($(#[$listen:meta])* listen { $($(#[$own_attribute:meta])* $own:ident: $own_type:ident$(<$own_of:ident>)?,)* }
     $(#[$capture:meta])* capture;
     $($(#[$attribute:meta])* $field:ident: $type:ident$(<$of:ident>)?,)*) => {
        #[derive(Default, FromArgs, ArgsInfo)]
        $(#[$listen])*
        pub(crate) struct Listen {
            $($(#[$attribute])* pub(crate) $field: $type$(<$of>)?,)*
            $($(#[$own_attribute])* pub(crate) $own: $own_type$(<$own_of>)?,)*
        }

        #[derive(Default, FromArgs, ArgsInfo)]
        $(#[$capture])*
        pub(crate) struct Capture {
            $($(#[$attribute])* pub(crate) $field: $type$(<$of>)?,)*
        }

        impl From<Capture> for Listen {
            fn from(capture: Capture) -> Self {
                Self { $($field: capture.$field,)* ..Self::default() }
            }
        }
    };
}

receivers! {
    /// Print the events of streams as they arrive, one JSON object per line.
    #[argh(
        subcommand,
        name = "listen",
        usage = "[OPTIONS] STREAM...",
        help_triggers("-h", "--help"),
        note = "listen reconnects until it is stopped. --output appends to FILE; a partial
record at its end, left by a crash, is removed first. SIGHUP reopens FILE,
so that it can be rotated, and reads --streams-file again; without either, or
where the terminal is gone, it ends the run as SIGTERM does.",
        example = "{command_name} /my_company/devices/gw1/temperature --count 5"
    )]
    listen {
        /// rename FILE to FILE.1, FILE.1 to FILE.2 and so on once it has this
        /// size; lines stay whole
        #[argh(option, arg_name = "SIZE", from_str_fn(parse_size))]
        rotate_size: Option<usize>,

        /// rename it at the end of each such period, counted from midnight UTC,
        /// unless it is empty
        #[argh(option, arg_name = "DURATION", from_str_fn(parse_period))]
        rotate_every: Option<Duration>,

        /// number of renamed files to keep (default: all)
        #[argh(option, arg_name = "N", from_str_fn(parse_keep))]
        keep: Option<u32>,
    }
    /// Collect events in one bounded run and write them to a file atomically.
    #[argh(
        subcommand,
        name = "capture",
        usage = "[OPTIONS] STREAM...",
        help_triggers("-h", "--help"),
        note = "At least one of --count, --duration, --idle and --max-bytes is required.
Events are written to FILE.part, which is renamed to FILE when the run is
complete. If the run ends early, FILE is unchanged, FILE.part holds the events
so far, if any, and the exit code is not 0. To a device, a named pipe and
/dev/stdout, events are written directly.",
        example = "{command_name} /my_company/devices/gw1/temperature --duration 1m -o FILE"
    )]
    capture;

    /// stop after N events
    #[argh(option, short = 'C', arg_name = "N", from_str_fn(parse_count))]
    count: Option<u64>,

    /// stop this long after all streams are subscribed
    #[argh(option, arg_name = "DURATION", from_str_fn(parse_duration))]
    duration: Option<Duration>,

    /// stop when no event has arrived for this long while connected
    #[argh(option, arg_name = "DURATION", from_str_fn(parse_duration))]
    idle: Option<Duration>,

    /// stop when this much has been sent and received over TCP, with all
    /// that connecting takes, without the headers of IP and TCP
    #[argh(option, arg_name = "SIZE", from_str_fn(parse_size))]
    max_bytes: Option<usize>,

    /// deadline for the whole run, after which it exits with 75
    #[argh(option, short = 'W', arg_name = "DURATION", from_str_fn(parse_duration))]
    timeout: Option<Duration>,

    /// file to write to (default: -, standard output)
    #[argh(option, short = 'o', arg_name = "FILE")]
    output: Option<String>,

    /// output format: event (the Event object), message (the whole message of
    /// the service), record (events and connection changes, with timestamps),
    /// text (human-readable, with the time of arrival), csv or tsv (a row of
    /// --fields for each event, and a header), or a text with members in
    /// braces: '{time}\t{path}\t{elems.temperature}'. Default: text on a terminal,
    /// event otherwise
    #[argh(option, short = 'F', arg_name = "FORMAT", from_str_fn(format::parse))]
    format: Option<Format>,

    /// columns of csv and tsv: members of the Event, comma-separated, as in
    /// time,path,elems.temperature (default: time, path and the members of the
    /// first event's elems)
    #[argh(option, arg_name = "FIELDS", from_str_fn(parse_columns))]
    fields: Option<Columns>,

    /// exit with 69 when the connection is lost
    #[argh(switch)]
    no_reconnect: bool,

    /// exit with 69 when there was no connection for this long (default:
    /// never)
    #[argh(option, arg_name = "DURATION", from_str_fn(parse_duration))]
    retry_for: Option<Duration>,

    /// exit with 77 when one stream is refused (all, the default) or when all
    /// streams are (any)
    #[argh(option, arg_name = "all|any", default = "Require::default()")]
    require: Require,

    /// exit with 75 when events may have been missed; capture then keeps
    /// FILE.part
    #[argh(switch)]
    require_gapless: bool,

    /// read streams from FILE, one per line, # starts a comment; - for
    /// standard input
    #[argh(option, arg_name = "FILE")]
    streams_file: Option<String>,

    /// use only shard K of N of the streams, for example 2/3; streams are
    /// assigned by a stable hash of their names
    #[argh(option, arg_name = "K/N")]
    shard: Option<Shard>,

    /// stream id (s and 24 hex digits) or path (starts with /)
    #[argh(positional, arg_name = "STREAM")]
    streams: Vec<Stream>,
}

/// Open a session and print its id, for use with another WebSocket client.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "session",
    usage = "[OPTIONS]",
    help_triggers("-h", "--help"),
    note = "The id is a secret: it gives access to the company's streams. It can be
used for one connection, and expires if it is not used soon.",
    example = "wscat -c \"$({command_name} --url)\""
)]
pub(crate) struct Session {
    /// print the WebSocket URL, which contains the id
    #[argh(switch)]
    pub(crate) url: bool,
}

/// Subscribe and send messages interactively, on one connection.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "shell",
    usage = "[OPTIONS] [STREAM...]",
    help_triggers("-h", "--help"),
    note = "Commands: subscribe STREAM, unsubscribe STREAM, ping, help, quit, exit. JSON
that starts with {{ is sent as is, once its braces are closed. At the end of
input, shell unsubscribes and closes the connection. It does not reconnect.",
    example = "echo ping | {command_name}"
)]
pub(crate) struct Shell {
    /// stream to subscribe to at the start: id (s and 24 hex digits) or path
    #[argh(positional, arg_name = "STREAM")]
    pub(crate) streams: Vec<Stream>,
}

/// Test each stage of the connection and report what was found.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "doctor",
    usage = "[OPTIONS] [STREAM...]",
    help_triggers("-h", "--help"),
    note = "Prints one line for each stage: config, clock, dns, tcp, proxy, tls, session,
upgrade, subscribe, ping, event. doctor stops at the first stage that fails,
refused streams aside, prints what to do about it, and exits with its code. A
pong may take 10s, unless --ping-timeout says otherwise.",
    example = "{command_name} /my_company/devices/gw1/temperature"
)]
pub(crate) struct Doctor {
    /// print a JSON object for each stage
    #[argh(switch)]
    pub(crate) json: bool,

    /// read streams from FILE, one per line, # starts a comment; - for
    /// standard input
    #[argh(option, arg_name = "FILE")]
    pub(crate) streams_file: Option<String>,

    /// stream to subscribe to: id (s and 24 hex digits) or path
    #[argh(positional, arg_name = "STREAM")]
    pub(crate) streams: Vec<Stream>,
}

/// Print a script that completes the arguments of octave-ws in a shell.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "completions",
    usage = "SHELL",
    help_triggers("-h", "--help"),
    note = "Read by bash from /usr/share/bash-completion/completions/octave-ws, by zsh
from /usr/share/zsh/vendor-completions/_octave-ws, and by fish from
/usr/share/fish/vendor_completions.d/octave-ws.fish.",
    example = "source <({command_name} bash)"
)]
pub(crate) struct Completions {
    /// bash, zsh or fish
    #[argh(positional, arg_name = "SHELL")]
    pub(crate) shell: completions::Shell,
}
