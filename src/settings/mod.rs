//! Settings from several sources, in order of precedence: options, the variables `OCTAVE_*`, the
//! config file, the variables of other programs, and the defaults.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::settings::config_file::ConfigFile;
use crate::settings::files::unreadable;
use crate::settings::table::{OTHERS, TEXTS};
use crate::settings::token::FoundToken;
use crate::{Config, Credentials, Error, IpVersion, Result, Setting};

mod config_file;
pub mod environment;
mod files;
mod members;
mod source;
mod table;
mod token;
mod values;

pub use files::Files;
pub use members::Members;
pub use source::{SettingSource, SettingSources, SettingValue};
pub use values::{parse_duration, parse_interval, parse_size, parse_timeout};

/// The variables of other programs that name a proxy.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Settings given by options. The other sources supply the rest.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub config: Option<(PathBuf, SettingSource)>,
    pub ip_version: Option<IpVersion>,
    pub allow_plaintext: bool,
    /// The values of all other options, by the keys that they stand for.
    pub options: BTreeMap<&'static str, String>,
}

impl Config {
    /// Reads the environment and the config file, by the same rules as the program `octave-ws`: the
    /// variables `OCTAVE_*` override the config file, which overrides the variables of other programs
    /// (`SSL_CERT_FILE`, `HTTPS_PROXY`, ...). The README lists variables and keys.
    ///
    /// The config file is the one that `OCTAVE_CONFIG` names, or else the first that exists of
    /// `$XDG_CONFIG_HOME/octave-ws/config.json`, `~/.config/octave-ws/config.json` and
    /// `/etc/octave-ws/config.json`. A token file is read again for each session. Reading blocks: a
    /// pipe is read until it is closed. Where there is no company or no token, the first client fails,
    /// unless [`Config::credentials`] or [`Config::credentials_from`] is called before.
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
        let (config, _) = Settings::default().read(Files::BLOCKING)?;
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
            config: Some((path.into(), SettingSource::Caller)),
            ..Settings::default()
        };
        let (config, _) = settings.read(Files::BLOCKING)?;
        Ok(config)
    }
}

impl Settings {
    /// Completes the settings, and returns where they came from.
    ///
    /// # Errors
    /// `Config`, for what is missing or wrong.
    pub fn resolve(self, files: Files) -> Result<(Config, SettingSources)> {
        let (config, sources) = self.read(files)?;
        match config.credentials {
            Err(error) => Err(error),
            Ok(_) => Ok((config, sources)),
        }
    }

    /// Does the same, but for credentials that are missing.
    fn read(self, files: Files) -> Result<(Config, SettingSources)> {
        let named = match self.config {
            None => environment::first(&["OCTAVE_CONFIG"])?
                .map(|SettingValue { value, source }| (value.into(), source)),
            given => given,
        };
        let file = ConfigFile::read(named, files)?;
        let options = &self.options;
        debug_assert!(options.keys().all(|key| table::keys().contains(key)));
        let text = |key| -> Result<_> { Ok(given(options, key)?.or_else(|| file.get(key))) };

        let company = text("company")?;
        // `--user=` omits a configured user.
        let user = text("user")?.filter(|user| !user.value.is_empty());
        let token = token::find(given(options, "token_file")?, &file, files)?;
        let mut config = authenticated(company.as_ref(), user.as_ref(), token.as_ref(), files);
        let endpoint = text("endpoint")?;
        if let Some(endpoint) = &endpoint {
            config = config.endpoint(endpoint.value.clone());
        }
        let api = text("api")?;
        if let Some(api) = &api {
            config = config.api(api.value.clone());
        }
        if let Some(version) = self.ip_version {
            config = config.ip_version(version);
        }
        if self.allow_plaintext {
            config = config.allow_plaintext();
        }
        let ca_file = match text("ca_file")? {
            None => environment::first(&["SSL_CERT_FILE"])?,
            given => given,
        };
        if let Some(SettingValue { value, source }) = &ca_file {
            config = trusting(config, value, source, files)?;
        }
        let (mut config, proxy) = proxied(config, text("proxy")?)?;
        for (key, set) in OTHERS {
            // An option overrides the file, but no mistake in it.
            if let Some(text) = file.get(key) {
                let file = file.path();
                let wrong = |what| Error::config(format!("{file:?}: {key:?}: {what}"));
                config = set(config, &text.value).map_err(wrong)?;
            }
            if let Some(text) = options.get(key) {
                let option = SettingSource::Option(key);
                let wrong = |what| Error::config(format!("{option}: {what}"));
                config = set(config, text).map_err(wrong)?;
            }
        }
        let sources = SettingSources {
            endpoint,
            api,
            user,
            company,
            token: token.map(|token| token.source),
            ca_file,
            proxy,
        };
        Ok((config, sources))
    }
}

/// Returns a configuration that reads a token file again for each session, and keeps the last token
/// where that fails.
fn authenticated(
    company: Option<&SettingValue>,
    user: Option<&SettingValue>,
    token: Option<&FoundToken>,
    files: Files,
) -> Config {
    let (Some(company), Some(token)) = (company, token) else {
        let no_company = || {
            let message = "no company: set OCTAVE_COMPANY, or company in the config file";
            Error::config(message).about(Setting::Company)
        };
        return Config {
            credentials: Err(company.map_or_else(no_company, |_| token::missing())),
            ..Config::default()
        };
    };
    let company = company.value.clone();
    let user = user.map(|user| user.value.clone());
    let with = move |token| {
        let credentials = Credentials::new(&company, token);
        match &user {
            Some(user) => credentials.user(user),
            None => credentials,
        }
    };
    let Some(path) = token.file.clone() else {
        return Config::new(with(token.token()));
    };
    let last = Mutex::new(token.token());
    Config::new(with(token.token())).credentials_from(move || {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let read = token::read_again(&path, files);
        match read.and_then(|token| with(token.clone()).check().map(|()| token)) {
            Ok(token) => *last = token,
            Err(error) => log::warn!("{}; using the previous credentials", error.report()),
        }
        Ok::<_, Infallible>(with(last.clone()))
    })
}

/// With the CA certificates of a file, as they are at each connection.
fn trusting(config: Config, path: &str, source: &SettingSource, files: Files) -> Result<Config> {
    let what = format!("CA file {path:?}, set by {source},");
    let path = PathBuf::from(path);
    // A pipe can be read only once.
    let is_lasting = path.is_file();
    let first = (files.open)(&path);
    let read = move |file: io::Result<File>| {
        let pem = file.and_then(|file| files.bytes_of(&file));
        pem.map_err(|error| unreadable(&what, error))
    };
    let config = config.ca_pem(read(first)?);
    Ok(if is_lasting {
        let read = move || read(files.open_again(&path));
        config.ca_pem_from(move || read().map_err(|error| error.report()))
    } else {
        config
    })
}

/// Returns the value of a setting's option, or else that of its variables.
fn given(options: &BTreeMap<&str, String>, key: &'static str) -> Result<Option<SettingValue>> {
    if let Some(value) = options.get(key).cloned() {
        let source = SettingSource::Option(key);
        return Ok(Some(SettingValue { value, source }));
    }
    let texts = TEXTS.iter().find(|(known, _)| *known == key);
    texts.map_or(Ok(None), |(_, variables)| environment::first(variables))
}

/// With the proxy that is given, or that the variables of other programs name. An empty one is how
/// not to use those.
fn proxied(config: Config, proxy: Option<SettingValue>) -> Result<(Config, Option<SettingSource>)> {
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
        Some(SettingValue { value, source }) => {
            (config.proxy(value).no_proxy(exempt), Some(source))
        }
    })
}
