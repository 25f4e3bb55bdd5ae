//! The arguments, as they were typed.
#![allow(clippy::doc_markdown, reason = "the texts are those of --help")]

use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use octave_ws::Stream;
use octave_ws::cli::completions;

use crate::settings::receivers::{Capture, History, Listen};
use crate::settings::values::{
    LogFormat, ShellFormat, valid_duration, valid_interval, valid_size, valid_timeout,
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

    /// URL of the service's REST API, which has past events (OCTAVE_API)
    #[argh(option, arg_name = "URL")]
    pub(crate) api: Option<String>,

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

    /// replace each connection at this age, or up to a tenth sooner (default:
    /// 0s, which is never, until three connections in a row have ended at the
    /// same age: then at 80 % of it)
    #[argh(option, arg_name = "DURATION", from_str_fn(valid_interval))]
    pub(crate) renew: Option<String>,

    /// drop a connection at once when its pings go unanswered: events that come
    /// late on it are lost. Turns --renew off
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
    #[argh(option, arg_name = "text|json", default = "LogFormat::Text")]
    pub(crate) log_format: LogFormat,

    #[argh(subcommand)]
    pub(crate) command: Command,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub(crate) enum Command {
    Listen(Listen),
    Capture(Capture),
    History(History),
    Session(Session),
    Shell(Shell),
    Doctor(Doctor),
    Status(Status),
    Completions(Completions),
}

impl Command {
    /// Returns the timeout for the whole run.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Listen(listen) => listen.timeout,
            Self::Capture(capture) => capture.timeout,
            Self::History(history) => history.timeout,
            _ => None,
        }
    }

    /// Returns whether SIGHUP reopens the output, or asks for other streams.
    pub(crate) fn reloads(&self) -> bool {
        let is_file = |path: &Option<String>| path.as_ref().is_some_and(|path| path != "-");
        match self {
            Self::Listen(listen) => {
                is_file(&listen.output)
                    || is_file(&listen.streams_file)
                    || listen.output_dir.is_some()
            }
            _ => false,
        }
    }
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
    /// text (a short line for each answer and event) or message (as they
    /// came). Default: text on a terminal, message otherwise
    #[argh(option, short = 'F', arg_name = "text|message")]
    pub(crate) format: Option<ShellFormat>,

    /// show times of text in the time zone of this machine, not in UTC
    #[argh(switch)]
    pub(crate) local_time: bool,

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
upgrade, subscribe, ping, event, history. doctor stops at the first stage that
fails, refused streams aside, prints what to do about it, and exits with its
code. A pong may take 10s, unless --ping-timeout says otherwise. Without
history, --fill and the command history do not work; that fails nothing.",
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

/// Show the status of a run, and check that it is subscribed.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "status",
    usage = "FILE",
    help_triggers("-h", "--help"),
    note = "FILE is that of --status-file. The exit code is 0 while the run is
subscribed and FILE at most 30s old, and 69 otherwise: for the HEALTHCHECK of
a container, monit or cron.",
    example = "{command_name} /run/octave-ws/status"
)]
pub(crate) struct Status {
    /// status file of listen or capture, in JSON
    #[argh(positional, arg_name = "FILE")]
    pub(crate) file: String,
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
