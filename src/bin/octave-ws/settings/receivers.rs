//! The arguments of `listen`, `capture` and `history`.
#![allow(clippy::doc_markdown, reason = "the texts are those of --help")]

use std::time::{Duration, SystemTime};

use argh::{ArgsInfo, FromArgs};
use octave_ws::settings::{parse_duration, parse_size, parse_timeout};
use octave_ws::{Since, Stream};

use crate::exit::Failure;
use crate::format::table::{Columns, parse_columns};
use crate::format::{self, Format};
use crate::settings::streams::Shard;
use crate::settings::values::{
    Require, StatusFormat, parse_count, parse_keep, parse_period, parse_since, parse_time,
};

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
    /// Print the events of streams as they arrive, one per line.
    #[argh(
        subcommand,
        name = "listen",
        usage = "[OPTIONS] STREAM...",
        help_triggers("-h", "--help"),
        note = "listen reconnects until it is stopped. --output appends to FILE; a partial
record at its end, left by a crash, is removed first. SIGHUP reopens FILE,
so that it can be rotated, and reads --streams-file again; without either, or
where the terminal is gone, it ends the run as SIGTERM does.
Members in braces are those of the Event (path, streamId, creationDate,
generatedDate, id, hash, location, metadata, elems.NAME, tags.NAME), time (the
event's own), at (of arrival), n (the number of the event), resource and json
(the whole Event); {{a|b}} is the first that is there. \\t, \\n, \\\\, {{{{ and }}}}
are a tab, a line break, a backslash and braces.",
        example = "{command_name} /my_company/devices/gw1/temperature --count 5",
        example = "{command_name} --streams-file FILE --format '{{time}} {{path}} {{elems}}'",
        example = "{command_name} --streams-file FILE -o FILE --rotate-size 1MiB --keep 9"
    )]
    listen {
        /// append to a file for each stream in DIR, which exists, in place of
        /// --output; its name is the path with _ for /. A named pipe of that name
        /// is written to, and all streams wait for its reader
        #[argh(option, arg_name = "DIR")]
        output_dir: Option<String>,

        /// rename FILE to FILE.1, FILE.1 to FILE.2 and so on once it has this
        /// size; lines stay whole
        #[argh(option, arg_name = "SIZE", from_str_fn(parse_size))]
        rotate_size: Option<usize>,

        /// rename FILE at the end of each such period, 1d for one at midnight UTC,
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
        example = "{command_name} /my_company/devices/gw1/temperature --duration 1m -o FILE",
        example = "{command_name} --streams-file FILE -C 100 -F csv --fields time,path,elems"
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
    #[argh(option, short = 'W', arg_name = "DURATION", from_str_fn(parse_timeout))]
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

    /// show times of text in the time zone of this machine, not in UTC
    #[argh(switch)]
    local_time: bool,

    /// columns of csv and tsv: members as in braces, comma-separated, as in
    /// time,path,elems.temperature (default: time, path and the members of the
    /// first event's elems)
    #[argh(option, arg_name = "FIELDS", from_str_fn(parse_columns))]
    fields: Option<Columns>,

    /// after a loss, read the events that were missed from the service's history,
    /// by the REST API (--api), and write them in order, each once
    #[argh(switch)]
    fill: bool,

    /// keep in FILE how far each stream was received, so that the next run with it
    /// begins where this one ends (implies --fill)
    #[argh(option, arg_name = "FILE")]
    state: Option<String>,

    /// keep the status of the run in FILE, which is replaced at each change and
    /// every 10s: state, streams, counts, last failure. octave-ws status reads it
    #[argh(option, arg_name = "FILE")]
    status_file: Option<String>,

    /// format of --status-file: json (the default) or prometheus, for the
    /// textfile collector of node_exporter
    #[argh(option, arg_name = "json|prometheus")]
    status_format: Option<StatusFormat>,

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

impl Capture {
    /// Checks that the run has an end.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let is_bounded = self.count.is_some()
            || self.duration.is_some()
            || self.idle.is_some()
            || self.max_bytes.is_some();
        if is_bounded {
            return Ok(());
        }
        let message = "no end condition: give --count, --duration, --idle or --max-bytes";
        Err(Failure::usage(message))
    }
}

/// Print the past events of streams that the service still has, the oldest first.
#[derive(Default, FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "history",
    usage = "[OPTIONS] STREAM...",
    help_triggers("-h", "--help"),
    note = "Reads one stream after the other by the REST API (--api), without a WebSocket.
--output writes FILE.part, which is renamed to FILE when all is read. TIME is
a date or a time of RFC 3339, UTC unless it says otherwise: 2026-11-30,
2026-11-30T08:00:00Z, 2026-11-30T09:00:00+01:00. A DURATION is counted back
from the time of the service. A service keeps the newest 1000 events of a
stream by default.",
    example = "{command_name} /my_company/devices/gw1/temperature --since 1h"
)]
pub(crate) struct History {
    /// first creation date of the events, or how long ago (default: all events)
    #[argh(option, arg_name = "TIME|DURATION", from_str_fn(parse_since))]
    pub(crate) since: Option<Since>,

    /// last creation date of the events
    #[argh(option, arg_name = "TIME", from_str_fn(parse_time))]
    pub(crate) until: Option<SystemTime>,

    /// begin where the last run with FILE has ended, and keep in it where this one
    /// ends
    #[argh(option, arg_name = "FILE")]
    pub(crate) state: Option<String>,

    /// stop after N events
    #[argh(option, short = 'C', arg_name = "N", from_str_fn(parse_count))]
    pub(crate) count: Option<u64>,

    /// deadline for the whole run, after which it exits with 75
    #[argh(option, short = 'W', arg_name = "DURATION", from_str_fn(parse_timeout))]
    pub(crate) timeout: Option<Duration>,

    /// file to write to (default: -, standard output)
    #[argh(option, short = 'o', arg_name = "FILE")]
    pub(crate) output: Option<String>,

    /// output format, as for listen. Default: text on a terminal, event otherwise
    #[argh(option, short = 'F', arg_name = "FORMAT", from_str_fn(format::parse))]
    pub(crate) format: Option<Format>,

    /// show times of text in the time zone of this machine, not in UTC
    #[argh(switch)]
    pub(crate) local_time: bool,

    /// columns of csv and tsv, as for listen
    #[argh(option, arg_name = "FIELDS", from_str_fn(parse_columns))]
    pub(crate) fields: Option<Columns>,

    /// read streams from FILE, one per line, # starts a comment; - for
    /// standard input
    #[argh(option, arg_name = "FILE")]
    pub(crate) streams_file: Option<String>,

    /// use only shard K of N of the streams, for example 2/3
    #[argh(option, arg_name = "K/N")]
    pub(crate) shard: Option<Shard>,

    /// stream id (s and 24 hex digits) or path (starts with /)
    #[argh(positional, arg_name = "STREAM")]
    pub(crate) streams: Vec<Stream>,
}

impl From<History> for Listen {
    fn from(history: History) -> Self {
        Self {
            state: history.state,
            count: history.count,
            timeout: history.timeout,
            output: history.output,
            format: history.format,
            local_time: history.local_time,
            fields: history.fields,
            streams_file: history.streams_file,
            shard: history.shard,
            streams: history.streams,
            ..Self::default()
        }
    }
}
