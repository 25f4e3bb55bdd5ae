//! What all commands connect with: an option before this program's own variables, those before the
//! config file, that before the variables of other programs, and those before the default.

use std::path::Path;
use std::time::Duration;

use octave_ws::{Config, Credentials, IpVersion};

use crate::exit::Failure;
use crate::exit::origin::{Given, Origin, Origins};
use crate::settings::args::Args;
use crate::settings::config_file::ConfigFile;
use crate::settings::credentials::{self, Found};
use crate::settings::environment;
use crate::settings::values::{parse_duration, parse_size, parse_timeout};
use crate::wait::source;

/// The variables of other programs that name a proxy.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

type DurationParser = fn(&str) -> Result<Duration, String>;

type DurationSetter = fn(Config, Duration) -> Config;

/// Resolves the settings, and keeps where they came from.
pub(crate) fn config(args: Args) -> Result<Config, Failure> {
    let named = given(args.config, "--config", &["OCTAVE_CONFIG"])?;
    let file = ConfigFile::read(named)?;
    let text = |option, name, variables: &[&'static str], key| -> Result<_, Failure> {
        Ok(given(option, name, variables)?.or_else(|| file.get(key)))
    };

    let variables = &["OCTAVE_COMPANY", "OCTAVE_CLOUD_COMPANY"];
    let company = text(args.company, "--company", variables, "company")?;
    let company = company.ok_or_else(|| {
        Failure::config(
            "config: no company: give --company, set OCTAVE_COMPANY, or set company in the \
             config file",
        )
    })?;
    let variables = &["OCTAVE_USER", "OCTAVE_CLOUD_USER"];
    let user = text(args.user, "--user", variables, "user")?;
    let token = credentials::find(args.token_file, &file)?;
    let mut config = authenticated(&company, user.as_ref(), &token);
    let endpoint = text(
        args.endpoint,
        "--endpoint",
        &["OCTAVE_ENDPOINT"],
        "endpoint",
    )?;
    if let Some(endpoint) = &endpoint {
        config = config.endpoint(endpoint.value.clone());
    }
    if args.ipv4 {
        config = config.ip_version(IpVersion::V4);
    } else if args.ipv6 {
        config = config.ip_version(IpVersion::V6);
    }
    if args.allow_plaintext {
        config = config.allow_plaintext();
    }
    let ca_file = match text(args.ca_file, "--ca-file", &["OCTAVE_CA_FILE"], "ca_file")? {
        None => environment::first(&["SSL_CERT_FILE"])?,
        given => given,
    };
    if let Some(Given { value, origin }) = &ca_file {
        let pem = source::open(Path::new(value)).and_then(|file| source::read_to_end(&file));
        let pem = pem.map_err(|error| {
            let what = format!("CA file {value:?}, set by {origin},");
            Failure::unreadable(&what, &error)
        })?;
        config = config.ca_pem(pem);
    }
    let proxy = text(args.proxy, "--proxy", &["OCTAVE_PROXY"], "proxy")?;
    let (mut config, proxy) = proxied(config, proxy)?;
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
    let origins = Origins {
        endpoint,
        user,
        company: Some(company),
        token: Some(token.origin),
        ca_file,
        proxy,
    };
    origins.keep();
    Ok(config)
}

/// With credentials whose token is that of now, where it is in a file.
fn authenticated(company: &Given, user: Option<&Given>, token: &Found) -> Config {
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
        Some(path) => config.credentials_from(move || credentials::read_again(&path).map(&with)),
        None => config,
    }
}

/// What the option says, or else the variables.
fn given(
    option: Option<String>,
    name: &'static str,
    variables: &[&'static str],
) -> Result<Option<Given>, Failure> {
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
fn proxied(config: Config, proxy: Option<Given>) -> Result<(Config, Option<Origin>), Failure> {
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
