//! Settings from several sources, in order of precedence: options, the variables `OCTAVE_*`, the
//! config file, the variables of other programs, and the defaults.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::settings::config_file::ConfigFile;
use crate::settings::files::unreadable;
use crate::settings::token::Found;
use crate::{Config, Credentials, Error, IpVersion, Result, Setting};

mod config_file;
pub mod environment;
mod files;
mod origin;
mod token;
mod values;

pub use files::Files;
pub use origin::{Given, Origin, Origins};
pub use values::{parse_duration, parse_heartbeat, parse_size, parse_timeout};

/// The variables of other programs that name a proxy.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

type DurationParser = fn(&str) -> std::result::Result<Duration, String>;

type DurationSetter = fn(Config, Duration) -> Config;

/// Settings given by options. The other sources supply the rest.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub config: Option<(PathBuf, Origin)>,
    pub endpoint: Option<String>,
    pub user: Option<String>,
    pub company: Option<String>,
    pub token_file: Option<String>,
    pub ca_file: Option<String>,
    pub proxy: Option<String>,
    pub ip_version: Option<IpVersion>,
    pub allow_plaintext: bool,
    pub connect_timeout: Option<Duration>,
    pub ack_timeout: Option<Duration>,
    pub ping_interval: Option<Duration>,
    pub ping_timeout: Option<Duration>,
    pub heartbeat: Option<Duration>,
    pub max_message: Option<usize>,
}

impl Config {
    /// Reads the environment and the config file, by the same rules as the program `octave-ws`: the
    /// variables `OCTAVE_*` override the config file, which overrides the variables of other programs
    /// (`SSL_CERT_FILE`, `HTTPS_PROXY`, ...). The README lists variables and keys.
    ///
    /// The config file is the one that `OCTAVE_CONFIG` names, or else the first that exists of
    /// `$XDG_CONFIG_HOME/octave-ws/config.json`, `~/.config/octave-ws/config.json` and
    /// `/etc/octave-ws/config.json`. A token file is read again for each session. Reading blocks: a
    /// pipe is read until it is closed.
    ///
    /// ```no_run
    /// # fn main() -> octave_ws::Result<()> {
    /// use std::time::Duration;
    ///
    /// use octave_ws::{Client, Config};
    ///
    /// let config = Config::from_env()?.retry_for(Duration::MAX);
    /// let client = Client::connect(&config)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config). The text says what is missing or wrong, and
    /// where it was set.
    pub fn from_env() -> Result<Self> {
        let (config, _) = Settings::default().resolve(Files::BLOCKING)?;
        Ok(config)
    }

    /// Does the same with this config file, which must exist, instead of those that
    /// [`Config::from_env`] looks for.
    ///
    /// ```no_run
    /// let config = octave_ws::Config::from_env_and_file("/etc/agent/octave.json")?;
    /// # Ok::<(), octave_ws::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_env_and_file(path: impl Into<PathBuf>) -> Result<Self> {
        let settings = Settings {
            config: Some((path.into(), Origin::Caller)),
            ..Settings::default()
        };
        let (config, _) = settings.resolve(Files::BLOCKING)?;
        Ok(config)
    }
}

impl Settings {
    /// Completes the settings, and returns where they came from.
    ///
    /// # Errors
    /// `Config`, for what is missing or wrong.
    pub fn resolve(self, files: Files) -> Result<(Config, Origins)> {
        let named = match self.config {
            None => environment::first(&["OCTAVE_CONFIG"])?
                .map(|Given { value, origin }| (value.into(), origin)),
            given => given,
        };
        let file = ConfigFile::read(named, files)?;
        let text = |option, name, variables: &[&'static str], key| -> Result<_> {
            Ok(given(option, name, variables)?.or_else(|| file.get(key)))
        };

        let variables = &["OCTAVE_COMPANY", "OCTAVE_CLOUD_COMPANY"];
        let company = text(self.company, "--company", variables, "company")?;
        let company = company.ok_or_else(|| {
            let message = "no company: set OCTAVE_COMPANY, or company in the config file";
            Error::config(message).about(Setting::Company)
        })?;
        let variables = &["OCTAVE_USER", "OCTAVE_CLOUD_USER"];
        let user = text(self.user, "--user", variables, "user")?;
        // One that is configured can be left out by `--user=`.
        let user = user.filter(|user| !user.value.is_empty());
        let token = token::find(self.token_file, &file, files)?;
        let mut config = authenticated(&company, user.as_ref(), &token, files);
        let endpoint = text(
            self.endpoint,
            "--endpoint",
            &["OCTAVE_ENDPOINT"],
            "endpoint",
        )?;
        if let Some(endpoint) = &endpoint {
            config = config.endpoint(endpoint.value.clone());
        }
        if let Some(version) = self.ip_version {
            config = config.ip_version(version);
        }
        if self.allow_plaintext {
            config = config.allow_plaintext();
        }
        let ca_file = match text(self.ca_file, "--ca-file", &["OCTAVE_CA_FILE"], "ca_file")? {
            None => environment::first(&["SSL_CERT_FILE"])?,
            given => given,
        };
        if let Some(Given { value, origin }) = &ca_file {
            config = trusting(config, value, origin, files)?;
        }
        let proxy = text(self.proxy, "--proxy", &["OCTAVE_PROXY"], "proxy")?;
        let (mut config, proxy) = proxied(config, proxy)?;
        let durations: [(_, _, DurationParser, DurationSetter); 5] = [
            (
                "connect_timeout",
                self.connect_timeout,
                parse_timeout,
                Config::connect_timeout,
            ),
            (
                "ack_timeout",
                self.ack_timeout,
                parse_timeout,
                Config::ack_timeout,
            ),
            (
                "ping_interval",
                self.ping_interval,
                parse_duration,
                Config::ping_interval,
            ),
            (
                "ping_timeout",
                self.ping_timeout,
                parse_duration,
                Config::ping_timeout,
            ),
            (
                "heartbeat",
                self.heartbeat,
                parse_heartbeat,
                Config::heartbeat,
            ),
        ];
        for (key, option, parse, set) in durations {
            if let Some(value) = option.or(file.parsed(key, parse)?) {
                config = set(config, value);
            }
        }
        if let Some(bytes) = self.max_message.or(file.parsed("max_message", parse_size)?) {
            config = config.max_message(bytes);
        }
        let origins = Origins {
            endpoint,
            user,
            company: Some(company),
            token: Some(token.origin),
            ca_file,
            proxy,
        };
        Ok((config, origins))
    }
}

/// With credentials whose token is that of now, where it is in a file.
fn authenticated(company: &Given, user: Option<&Given>, token: &Found, files: Files) -> Config {
    let company = company.value.clone();
    let user = user.map(|user| user.value.clone());
    let with = move |token| {
        let credentials = Credentials::new(&company, token);
        match &user {
            Some(user) => credentials.user(user),
            None => credentials,
        }
    };
    let config = Config::new(with(token.token()));
    match token.file.clone() {
        Some(path) => config.credentials_from(move || {
            let token = token::read_again(&path, files);
            token.map(&with).map_err(|error| error.in_full())
        }),
        None => config,
    }
}

/// With the CA certificates of a file, as they are at each connection.
fn trusting(config: Config, path: &str, origin: &Origin, files: Files) -> Result<Config> {
    let what = format!("CA file {path:?}, set by {origin},");
    let path = PathBuf::from(path);
    // What is no file can be read but once.
    let is_lasting = path.is_file();
    let first = (files.open)(&path);
    let read = move |file: io::Result<File>| {
        let pem = file.and_then(|file| files.bytes_of(&file));
        pem.map_err(|error| unreadable(&what, error))
    };
    let config = config.ca_pem(read(first)?);
    Ok(if is_lasting {
        let read = move || read(files.open_again(&path));
        config.ca_pem_from(move || read().map_err(|error| error.in_full()))
    } else {
        config
    })
}

/// What the option says, or else the variables.
fn given(
    option: Option<String>,
    name: &'static str,
    variables: &[&'static str],
) -> Result<Option<Given>> {
    match option {
        None => environment::first(variables),
        Some(value) => {
            let origin = Origin::Option(name);
            Ok(Some(Given { value, origin }))
        }
    }
}

/// With the proxy that is given, or that the variables of other programs name. An empty one is how
/// not to use those.
fn proxied(config: Config, proxy: Option<Given>) -> Result<(Config, Option<Origin>)> {
    let (proxy, exempt) = match proxy {
        None => {
            let exempt = environment::first(&["NO_PROXY", "no_proxy"])?;
            let exempt = exempt.map(|exempt| exempt.value).unwrap_or_default();
            (environment::first(&PROXIES)?, exempt)
        }
        given => (given, String::new()),
    };
    Ok(match proxy.filter(|proxy| !proxy.value.is_empty()) {
        None => (config, None),
        Some(Given { value, origin }) => (config.proxy(value).no_proxy(exempt), Some(origin)),
    })
}
