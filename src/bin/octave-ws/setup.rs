//! The settings, resolved: an option before the environment, that before the config file, that
//! before the default.

use std::io::{self, IsTerminal};
use std::mem;
use std::path::Path;
use std::time::{Duration, Instant};

use octave_ws::{Config, Credentials, Stream};

use crate::args::{
    Args, Command, Format, Listen, Require, parse_duration, parse_size, parse_timeout,
};
use crate::config_file::ConfigFile;
use crate::credentials;
use crate::environment;
use crate::exit::Failure;
use crate::source;
use crate::streams;

/// What to do, and with what.
pub(crate) enum Setup {
    Listen(Config, Listening),
    Session(Config, Shown),
    /// Whether lines are edited is in it.
    Shell(Config, bool),
    Doctor(Examination),
}

/// What `doctor` looks at.
pub(crate) struct Examination {
    /// With what there is to say of it.
    pub(crate) config: Result<(Config, Vec<String>), Failure>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) is_json: bool,
}

/// What `session` prints.
#[derive(Clone, Copy)]
pub(crate) enum Shown {
    Id,
    Url,
}

/// Where lines go.
pub(crate) enum Destination {
    Stdout,
    /// Lines are appended.
    File(String),
    /// Lines go to `FILE.part`, which becomes `FILE` once the run is done.
    WholeFile(String),
}

/// What `listen` or `capture` is to do.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own"
)]
pub(crate) struct Listening {
    /// Each once.
    pub(crate) streams: Vec<Stream>,
    pub(crate) format: Format,
    /// Where the format is for eyes.
    pub(crate) is_coloured: bool,
    pub(crate) require: Require,
    pub(crate) count: Option<u64>,
    pub(crate) duration: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    /// When the whole run is to be over.
    pub(crate) deadline: Option<Instant>,
    pub(crate) output: Destination,
    /// Whether there is somebody to be shown how far it is.
    pub(crate) is_watched: bool,
    /// Whether a run that is stopped is one that was not done.
    pub(crate) is_bounded: bool,
    /// Whether a run in which events may be missing is one, too.
    pub(crate) is_gapless: bool,
}

impl Setup {
    /// `deadline` is when the whole run is to be over.
    pub(crate) fn resolve(mut args: Args, deadline: Option<Instant>) -> Result<Self, Failure> {
        let mut is_bounded = false;
        let mut listen = match &mut args.command {
            Command::Listen(listen) => mem::take(listen),
            Command::Capture(capture) => {
                is_bounded = true;
                mem::take(capture).into()
            }
            Command::Shell(_) if args.token_file.as_deref() == Some("-") => {
                let message = "--token-file - takes the standard input, which the shell needs";
                return Err(Failure::usage(message));
            }
            Command::Shell(_) => {
                let is_edited = io::stdin().is_terminal() && io::stderr().is_terminal();
                return Ok(Self::Shell(connection(args)?, is_edited && !is_dumb()?));
            }
            Command::Doctor(doctor) => {
                let (is_json, streams) = (doctor.json, mem::take(&mut doctor.streams));
                return Ok(Self::Doctor(Examination {
                    config: described(args),
                    streams,
                    is_json,
                }));
            }
            Command::Session(session) => {
                let shown = if session.url { Shown::Url } else { Shown::Id };
                return Ok(Self::Session(connection(args)?, shown));
            }
        };
        let from_stdin = Some("-");
        if (listen.streams_file.as_deref(), args.token_file.as_deref()) == (from_stdin, from_stdin)
        {
            let message = "--streams-file - and --token-file - exclude each other";
            return Err(Failure::usage(message));
        }
        let listening = Listening::resolve(&mut listen, is_bounded, args.quiet, deadline)?;
        let retry_for = match (listen.no_reconnect, listen.retry_for) {
            (true, Some(_)) => {
                let message = "--no-reconnect and --retry-for exclude each other";
                return Err(Failure::usage(message));
            }
            (true, None) => Duration::ZERO,
            (false, time) => time.unwrap_or(Duration::MAX),
        };
        let mut config = connection(args)?.retry_for(retry_for);
        if let Some(deadline) = listening.deadline {
            config = config.connect_deadline(deadline);
        }
        Ok(Self::Listen(config, listening))
    }
}

impl Listening {
    fn resolve(
        listen: &mut Listen,
        is_bounded: bool,
        is_quiet: bool,
        deadline: Option<Instant>,
    ) -> Result<Self, Failure> {
        let given = mem::take(&mut listen.streams);
        let streams = streams::resolve(given, listen.streams_file.as_deref(), listen.shard)?;
        if is_bounded && (listen.count, listen.duration, listen.idle) == (None, None, None) {
            let message = "when is it done: give --count, --duration or --idle";
            return Err(Failure::usage(message));
        }
        let output = match listen.output.take().as_deref() {
            None | Some("-") => Destination::Stdout,
            Some("") => return Err(Failure::usage("--output: give the name of a file, or -")),
            Some(path) if is_bounded => Destination::WholeFile(path.to_owned()),
            Some(path) => Destination::File(path.to_owned()),
        };
        let is_seen = matches!(output, Destination::Stdout) && io::stdout().is_terminal();
        let default = if is_seen { Format::Text } else { Format::Event };
        // https://no-color.org
        let has_colour = environment::first(&["NO_COLOR"])?.is_none();
        let is_dumb = is_dumb()?;
        Ok(Self {
            streams,
            format: listen.format.unwrap_or(default),
            is_coloured: is_seen && has_colour && !is_dumb,
            require: listen.require,
            count: listen.count,
            duration: listen.duration,
            idle: listen.idle,
            deadline,
            output,
            is_watched: !is_quiet && io::stderr().is_terminal() && !is_dumb,
            is_bounded,
            is_gapless: listen.require_gapless,
        })
    }
}

/// Whether terminals are steered in vain.
fn is_dumb() -> Result<bool, Failure> {
    Ok(environment::first(&["TERM"])?.as_deref() == Some("dumb"))
}

/// The variables of other programs that name a proxy.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

type DurationParser = fn(&str) -> Result<Duration, String>;

type DurationSetter = fn(Config, Duration) -> Config;

/// What all commands connect with.
fn connection(args: Args) -> Result<Config, Failure> {
    described(args).map(|(config, _)| config)
}

/// That, and a few words on each part of it.
fn described(args: Args) -> Result<(Config, Vec<String>), Failure> {
    let named = match args.config {
        None => environment::first(&["OCTAVE_CONFIG"])?,
        named => named,
    };
    let file = ConfigFile::read(named)?;
    let text = |option: Option<String>, variables: &[&str], key: &str| -> Result<_, Failure> {
        let given = match option {
            None => environment::first(variables)?,
            given => given,
        };
        Ok(given.or_else(|| file.get(key).map(str::to_owned)))
    };

    let company = text(
        args.company,
        &["OCTAVE_COMPANY", "OCTAVE_CLOUD_COMPANY"],
        "company",
    )?;
    let company = company.ok_or_else(|| {
        Failure::config(
            "config: no company: give --company, set OCTAVE_COMPANY, or set company in the \
             config file",
        )
    })?;
    let user = text(args.user, &["OCTAVE_USER", "OCTAVE_CLOUD_USER"], "user")?;
    let (token, token_from) = credentials::token(args.token_file, &file)?;
    let endpoint = text(args.endpoint, &["OCTAVE_ENDPOINT"], "endpoint")?;
    let endpoint = endpoint.unwrap_or_else(|| Config::ENDPOINT.to_owned());
    let mut words = vec![
        format!("company {company}"),
        user.as_ref()
            .map_or("no user".to_owned(), |user| format!("user {user}")),
        format!("token from {token_from}"),
        format!("endpoint {endpoint}"),
    ];
    let mut credentials = Credentials::new(company, token);
    if let Some(user) = user {
        credentials = credentials.user(user);
    }

    let mut config = Config::new(credentials).endpoint(endpoint);
    if args.allow_plaintext {
        config = config.allow_plaintext();
    }
    let ca_file = text(
        args.ca_file,
        &["OCTAVE_CA_FILE", "SSL_CERT_FILE"],
        "ca_file",
    )?;
    if let Some(path) = ca_file {
        let pem = source::open(Path::new(&path)).and_then(|file| source::read_to_end(&file));
        let pem = pem.map_err(|error| Failure::unreadable(&format!("CA file {path:?}"), &error))?;
        config = config.ca_pem(pem);
        words.push(format!("authorities of {path}"));
    }
    config = proxied(config, args.proxy, &file)?;
    let durations: [(_, _, DurationParser, DurationSetter); 5] = [
        (
            "connect_timeout",
            args.connect_timeout,
            parse_timeout,
            Config::connect_timeout,
        ),
        (
            "ack_timeout",
            args.ack_timeout,
            parse_timeout,
            Config::ack_timeout,
        ),
        (
            "ping_interval",
            args.ping_interval,
            parse_duration,
            Config::ping_interval,
        ),
        (
            "ping_timeout",
            args.ping_timeout,
            parse_duration,
            Config::ping_timeout,
        ),
        (
            "heartbeat",
            args.heartbeat,
            parse_duration,
            Config::heartbeat,
        ),
    ];
    for (key, option, parse, set) in durations {
        if let Some(value) = option.or(file.parsed(key, parse)?) {
            config = set(config, value);
        }
    }
    if let Some(bytes) = args.max_message.or(file.parsed("max_message", parse_size)?) {
        config = config.max_message(bytes);
    }
    Ok((config, words))
}

/// With the proxy that the option, the environment or the config file names.
fn proxied(config: Config, option: Option<String>, file: &ConfigFile) -> Result<Config, Failure> {
    let own = match option {
        None => environment::first(&["OCTAVE_PROXY"])?,
        given => given,
    };
    Ok(match own {
        // An empty option is how not to use that of the environment.
        Some(url) if url.is_empty() => config,
        Some(url) => config.proxy(url),
        None => match (environment::first(&PROXIES)?, file.get("proxy")) {
            (Some(url), _) => {
                let exempt = environment::first(&["NO_PROXY", "no_proxy"])?;
                config.proxy(url).no_proxy(exempt.unwrap_or_default())
            }
            (None, Some(url)) => config.proxy(url),
            (None, None) => config,
        },
    })
}
