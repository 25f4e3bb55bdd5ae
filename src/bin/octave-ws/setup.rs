//! The settings, resolved from arguments, environment and defaults.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::time::Duration;

use octave_ws::{Config, Credentials, Stream, Token};

use crate::args::{Args, Command};
use crate::exit::Failure;

/// What a run is to do.
pub(crate) struct Setup {
    pub(crate) config: Config,
    /// Each once.
    pub(crate) streams: Vec<Stream>,
    pub(crate) count: Option<u64>,
    pub(crate) duration: Option<Duration>,
}

impl Setup {
    pub(crate) fn resolve(args: Args) -> Result<Self, Failure> {
        let Command::Listen(listen) = args.command;
        if listen.streams.is_empty() {
            return Err(Failure::usage(
                "usage: no stream: give an id (s and 24 hex digits) or a path (it begins with /)",
            ));
        }
        let mut streams = listen.streams;
        let mut seen = HashSet::new();
        streams.retain(|stream| seen.insert(stream.clone()));
        let mut config = Config::new(credentials()?);
        if let Some(endpoint) = first(args.endpoint, &["OCTAVE_ENDPOINT"])? {
            config = config.endpoint(endpoint);
        }
        if let Some(path) = first(args.ca_file, &["OCTAVE_CA_FILE", "SSL_CERT_FILE"])? {
            let pem = fs::read(&path);
            let pem = pem.map_err(|error| {
                Failure::config(format!("config: CA file {path:?} cannot be read: {error}"))
            })?;
            config = config.ca_pem(pem);
        }
        Ok(Self {
            config,
            streams,
            count: listen.count,
            duration: listen.duration,
        })
    }
}

fn credentials() -> Result<Credentials, Failure> {
    let company = first(None, &["OCTAVE_COMPANY", "OCTAVE_CLOUD_COMPANY"])?;
    let company =
        company.ok_or_else(|| Failure::config("config: no company: set OCTAVE_COMPANY"))?;
    let token = first(None, &["OCTAVE_TOKEN", "OCTAVE_CLOUD_TOKEN"])?;
    let token = token.ok_or_else(|| {
        Failure::config("config: no token: set OCTAVE_TOKEN or OCTAVE_CLOUD_TOKEN")
    })?;
    let credentials = Credentials::new(company, Token::new(token));
    Ok(match first(None, &["OCTAVE_USER", "OCTAVE_CLOUD_USER"])? {
        Some(user) => credentials.user(user),
        None => credentials,
    })
}

/// The option, or else the first of the variables that is set and not empty.
fn first(option: Option<String>, variables: &[&str]) -> Result<Option<String>, Failure> {
    if option.is_some() {
        return Ok(option);
    }
    for name in variables {
        match env::var(name) {
            Ok(value) if !value.is_empty() => return Ok(Some(value)),
            Err(env::VarError::NotUnicode(_)) => {
                return Err(Failure::config(format!("config: {name} is not UTF-8")));
            }
            _ => {}
        }
    }
    Ok(None)
}
