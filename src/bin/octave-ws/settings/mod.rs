//! The command, resolved: what to do, and with what.

use std::io::{self, IsTerminal};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use octave_ws::settings::{environment, parse_duration};
use octave_ws::{Config, Since, Stream};

use crate::exit::Failure;
use crate::format::Format;
use crate::settings::args::{Args, Command};
use crate::settings::receivers::Listen;
pub(crate) use crate::settings::rotation::Rotation;
use crate::settings::streams::Sources;
use crate::settings::values::{Require, ShellFormat, StatusFormat};
use crate::wait::source;

pub(crate) mod args;

pub(crate) mod connection;

pub(crate) mod parse;

pub(crate) mod files;

mod receivers;

mod rotation;

pub(crate) mod streams;
pub(crate) mod values;

/// A command with its settings.
pub(crate) enum Settings {
    Listen(Config, Box<ListenSettings>),
    History(Config, Box<HistorySettings>),
    Session(Config, Shown),
    Shell(Config, ShellSettings),
    Doctor(DoctorSettings),
    /// A script to print on standard output.
    Completions(String),
    /// A status file to print.
    Status(String),
}

/// The settings of `shell`.
pub(crate) struct ShellSettings {
    pub(crate) streams: Vec<Stream>,
    /// Whether lines are edited.
    pub(crate) is_edited: bool,
    /// The style of lines, `None` for messages as they came.
    pub(crate) text: Option<TextStyle>,
}

/// The style of lines for eyes.
#[derive(Clone, Copy)]
pub(crate) struct TextStyle {
    pub(crate) is_coloured: bool,
    /// Whether times are local ones.
    pub(crate) is_local: bool,
}

impl TextStyle {
    fn of(is_terminal: bool, is_local: bool) -> Result<Self, Failure> {
        // https://no-color.org
        let has_colour = environment::first(&["NO_COLOR"])?.is_none();
        let is_coloured = is_terminal && has_colour && !is_dumb()?;
        Ok(Self {
            is_coloured,
            is_local,
        })
    }
}

/// The settings of `doctor`.
pub(crate) struct DoctorSettings {
    pub(crate) config: Result<Config, Failure>,
    pub(crate) streams: Vec<Stream>,
    /// Timeout for a pong, if not the default.
    pub(crate) pong: Option<Duration>,
    pub(crate) is_json: bool,
}

/// The output of `session`.
#[derive(Clone, Copy)]
pub(crate) enum Shown {
    Id,
    Url,
}

/// The destination of lines.
pub(crate) enum Destination {
    Stdout,
    /// Lines are appended.
    File(String),
    /// Lines are appended to a file for each stream.
    Folder(String),
    /// Lines go to `FILE.part`, which becomes `FILE` once the run is done.
    WholeFile(String),
}

/// The settings of `listen` and `capture`.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own"
)]
pub(crate) struct ListenSettings {
    pub(crate) sources: Sources,
    /// The streams at the start, each once.
    pub(crate) streams: Vec<Stream>,
    pub(crate) format: Format,
    pub(crate) text: TextStyle,
    pub(crate) require: Require,
    pub(crate) count: Option<u64>,
    pub(crate) duration: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    /// Maximum number of bytes sent and received.
    pub(crate) max_bytes: Option<u64>,
    /// Deadline of the whole run.
    pub(crate) deadline: Option<Instant>,
    pub(crate) output: Destination,
    pub(crate) rotation: Option<Rotation>,
    pub(crate) status_file: Option<(PathBuf, StatusFormat)>,
    /// Whether there is somebody to be shown how far it is.
    pub(crate) show_progress: bool,
    /// Whether a run that is stopped is one that was not done.
    pub(crate) is_capture: bool,
    /// Whether a run in which events may be missing is one, too.
    pub(crate) is_gapless: bool,
    /// Whether the events that were missed are read from the history.
    pub(crate) is_filled: bool,
    /// The file of positions.
    pub(crate) state: Option<String>,
}

/// The settings of `history`.
pub(crate) struct HistorySettings {
    /// The settings that it shares with `capture`.
    pub(crate) run: ListenSettings,
    pub(crate) since: Since,
    pub(crate) until: Option<SystemTime>,
}

/// Time for which `history` repeats a request that fails.
const HISTORY_PATIENCE: Duration = Duration::from_secs(60);

impl Settings {
    /// `deadline` is when the whole run is to be over.
    pub(crate) fn resolve(args: Args, deadline: Option<Instant>) -> Result<Self, Failure> {
        let resolved = Self::of(args, deadline);
        if source::is_stdin_contested() {
            let message = "standard input is read for one thing: the token, the streams, \
                           or the commands of shell";
            return Err(Failure::usage(message));
        }
        resolved
    }

    fn of(mut args: Args, deadline: Option<Instant>) -> Result<Self, Failure> {
        let mut is_capture = false;
        let mut listen = match &mut args.command {
            Command::Listen(listen) => mem::take(listen),
            Command::Capture(capture) => {
                is_capture = true;
                capture.check()?;
                mem::take(capture).into()
            }
            Command::History(history) => {
                let (since, until) = (history.since, history.until);
                if since.is_some() && history.state.is_some() {
                    let message = "--since and --state cannot be used together: a run with --state \
                                   begins where the last one has ended";
                    return Err(Failure::usage(message));
                }
                let mut listen = mem::take(history).into();
                let run = ListenSettings::resolve(&mut listen, true, args.quiet, deadline)?;
                let config = connection::config(args)?.retry_for(HISTORY_PATIENCE);
                let settings = HistorySettings {
                    run,
                    since: since.unwrap_or(Since::Position),
                    until,
                };
                return Ok(Self::History(config, Box::new(settings)));
            }
            Command::Shell(shell) => {
                let streams = streams::each_once(mem::take(&mut shell.streams));
                source::reserve_stdin().map_err(Failure::input)?;
                let is_edited = io::stdin().is_terminal() && io::stderr().is_terminal();
                let is_terminal = io::stdout().is_terminal();
                let is_text = match shell.format {
                    Some(format) => matches!(format, ShellFormat::Text),
                    None => is_terminal,
                };
                let is_local = shell.local_time;
                if is_local && !is_text {
                    return Err(Failure::usage("--local-time is for --format text"));
                }
                let text = is_text.then(|| TextStyle::of(is_terminal, is_local));
                let text = text.transpose()?;
                let config = connection::config(args)?;
                let is_edited = is_edited && !is_dumb()?;
                let settings = ShellSettings {
                    streams,
                    is_edited,
                    text,
                };
                return Ok(Self::Shell(config, settings));
            }
            Command::Doctor(doctor) => {
                let sources = Sources {
                    given: mem::take(&mut doctor.streams),
                    file: doctor.streams_file.take(),
                    shard: None,
                };
                let is_json = doctor.json;
                let streams = match &sources.file {
                    Some(_) => sources.resolve()?,
                    None => sources.given,
                };
                let pong = args.ping_timeout.as_deref().map(parse_duration);
                let pong = pong.and_then(Result::ok).filter(|time| !time.is_zero());
                return Ok(Self::Doctor(DoctorSettings {
                    config: connection::config(args),
                    streams,
                    pong,
                    is_json,
                }));
            }
            Command::Session(session) => {
                let shown = if session.url { Shown::Url } else { Shown::Id };
                return Ok(Self::Session(connection::config(args)?, shown));
            }
            Command::Status(status) => return Ok(Self::Status(mem::take(&mut status.file))),
            Command::Completions(asked) => {
                return Ok(Self::Completions(Args::completions(asked.shell)));
            }
        };
        // Before somebody types the streams for nothing.
        if args.token_file.as_deref() == Some("-") && listen.streams_file == args.token_file {
            source::reserve_stdin().map_err(Failure::input)?;
        }
        let settings = ListenSettings::resolve(&mut listen, is_capture, args.quiet, deadline)?;
        let retry_for = match (listen.no_reconnect, listen.retry_for) {
            (true, Some(_)) => {
                let message = "--no-reconnect and --retry-for cannot be used together";
                return Err(Failure::usage(message));
            }
            (true, None) => Duration::ZERO,
            (false, time) => time.unwrap_or(Duration::MAX),
        };
        let mut config = connection::config(args)?.retry_for(retry_for);
        if settings.is_filled {
            config = config.fill();
        }
        Ok(Self::Listen(config, Box::new(settings)))
    }
}

impl ListenSettings {
    /// Returns whether SIGHUP asks for something else than the end.
    pub(crate) fn can_reload(&self) -> bool {
        !self.is_capture
            && (matches!(self.output, Destination::File(_) | Destination::Folder(_))
                || self.sources.can_change())
    }

    fn resolve(
        listen: &mut Listen,
        is_capture: bool,
        is_quiet: bool,
        deadline: Option<Instant>,
    ) -> Result<Self, Failure> {
        let sources = Sources {
            given: mem::take(&mut listen.streams),
            file: listen.streams_file.take(),
            shard: listen.shard,
        };
        let streams = sources.resolve()?;
        let rotation = Rotation::of(listen)?;
        let status_file: Option<(PathBuf, _)> =
            match (listen.status_file.take(), listen.status_format) {
                (None, None) => None,
                (Some(path), _) if path.is_empty() => {
                    return Err(Failure::usage("--status-file: give the name of a file"));
                }
                (Some(path), format) => Some((path.into(), format.unwrap_or(StatusFormat::Json))),
                (None, Some(_)) => {
                    return Err(Failure::usage("--status-format needs --status-file"));
                }
            };
        let folder = listen.output_dir.take();
        if folder.is_some() && listen.output.is_some() {
            let message = "--output and --output-dir cannot be used together";
            return Err(Failure::usage(message));
        }
        let output = match listen.output.take().as_deref() {
            None if folder.is_some() => Destination::Folder(folder.unwrap_or_default()),
            None | Some("-") => Destination::Stdout,
            Some("") => return Err(Failure::usage("--output: give the name of a file, or -")),
            Some(path) if is_capture => Destination::WholeFile(path.to_owned()),
            Some(path) => Destination::File(path.to_owned()),
        };
        let is_stdout_tty = matches!(output, Destination::Stdout) && io::stdout().is_terminal();
        files::check(
            &output,
            rotation.is_some(),
            status_file.as_ref().map(|(path, _)| path.as_path()),
            listen.state.as_ref().map(Path::new),
        )?;
        let default = if is_stdout_tty {
            Format::Text
        } else {
            Format::Event
        };
        let mut format = listen.format.take().unwrap_or(default);
        match (&mut format, listen.fields.take()) {
            (_, None) => {}
            (Format::Table(table), Some(columns)) => table.set_columns(columns),
            (_, Some(_)) => {
                let message = "--fields is for --format csv and tsv";
                return Err(Failure::usage(message));
            }
        }
        if matches!(output, Destination::Folder(_)) && format == Format::Record {
            let message = "--output-dir holds events: --format record is for --output";
            return Err(Failure::usage(message));
        }
        if listen.state.is_some() && format == Format::Text {
            let message = "--state cannot be used with --format text, the default on a terminal: \
                           give another one, such as event";
            return Err(Failure::usage(message));
        }
        if listen.local_time && format != Format::Text {
            return Err(Failure::usage("--local-time is for --format text"));
        }
        if let Format::Table(table) = &mut format
            && is_stdout_tty
        {
            table.set_for_eyes();
        }
        let is_dumb = is_dumb()?;
        Ok(Self {
            sources,
            streams,
            format,
            text: TextStyle::of(is_stdout_tty, listen.local_time)?,
            require: listen.require,
            count: listen.count,
            duration: listen.duration,
            idle: listen.idle,
            max_bytes: listen.max_bytes.map(|bytes| bytes as u64),
            deadline,
            output,
            rotation,
            status_file,
            show_progress: !is_quiet && io::stderr().is_terminal() && !is_dumb,
            is_capture,
            is_gapless: listen.require_gapless,
            is_filled: listen.fill || listen.state.is_some(),
            state: listen.state.take(),
        })
    }
}

/// Whether terminals are steered in vain.
fn is_dumb() -> Result<bool, Failure> {
    Ok(environment::first(&["TERM"])?.is_some_and(|term| term.value == "dumb"))
}
