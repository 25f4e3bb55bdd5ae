//! The connection settings of all commands.

use octave_ws::settings::{SettingSource, Settings};
use octave_ws::{Config, IpVersion};

use crate::exit::{Failure, source};
use crate::settings::args::Args;
use crate::wait::source::FILES;

/// Resolves the settings, and keeps where they came from.
pub(crate) fn config(args: Args) -> Result<Config, Failure> {
    let unless = |is_off: bool| is_off.then(|| false.to_string());
    let options = [
        ("endpoint", args.endpoint),
        ("api", args.api),
        ("user", args.user),
        ("company", args.company),
        ("token_file", args.token_file),
        ("ca_file", args.ca_file),
        ("proxy", args.proxy),
        ("connect_timeout", args.connect_timeout),
        ("ack_timeout", args.ack_timeout),
        ("ping_interval", args.ping_interval),
        ("ping_timeout", args.ping_timeout),
        ("heartbeat", args.heartbeat),
        ("renew", args.renew),
        ("handover", unless(args.no_handover)),
        ("compression", unless(args.no_compression)),
        ("max_message", args.max_message),
    ];
    let settings = Settings {
        config: args
            .config
            .map(|path| (path.into(), SettingSource::Option("config"))),
        ip_version: match (args.ipv4, args.ipv6) {
            (true, _) => Some(IpVersion::V4),
            (false, true) => Some(IpVersion::V6),
            (false, false) => None,
        },
        allow_plaintext: args.allow_plaintext,
        options: options
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect(),
    };
    let (config, sources) = settings.resolve(FILES)?;
    source::keep(sources);
    // Later on, a token file that cannot be used is tried again.
    config.check_credentials()?;
    Ok(config)
}
