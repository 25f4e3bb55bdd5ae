//! The settings that options and the config file have in common.

use std::collections::BTreeSet;

use crate::Config;
use crate::settings::values::{
    parse_duration, parse_interval, parse_size, parse_switch, parse_timeout,
};

/// The settings of texts, by their keys in the config file, with the variables that set them, too. An
/// option's name is the key with hyphens.
pub(crate) const TEXTS: [(&str, &[&str]); 7] = [
    ("api", &["OCTAVE_API"]),
    ("ca_file", &["OCTAVE_CA_FILE"]),
    ("company", &["OCTAVE_COMPANY", "OCTAVE_CLOUD_COMPANY"]),
    ("endpoint", &["OCTAVE_ENDPOINT"]),
    ("proxy", &["OCTAVE_PROXY"]),
    ("token_file", &["OCTAVE_TOKEN_FILE"]),
    ("user", &["OCTAVE_USER", "OCTAVE_CLOUD_USER"]),
];

/// The settings that are true or false. The option of each has its name with `--no-`.
pub(crate) const SWITCHES: [&str; 2] = ["compression", "handover"];

/// Parses a value and sets it. Fails with what to give instead.
pub(crate) type Setter = fn(Config, &str) -> std::result::Result<Config, String>;

/// The other settings, which options and the config file set.
pub(crate) const OTHERS: [(&str, Setter); 9] = [
    ("ack_timeout", |config, text| {
        Ok(config.ack_timeout(parse_timeout(text)?))
    }),
    ("compression", |config, text| {
        Ok(config.compression(parse_switch(text)?))
    }),
    ("connect_timeout", |config, text| {
        Ok(config.connect_timeout(parse_timeout(text)?))
    }),
    ("handover", |config, text| {
        Ok(config.handover(parse_switch(text)?))
    }),
    ("heartbeat", |config, text| {
        Ok(config.heartbeat(parse_interval(text)?))
    }),
    ("max_message", |config, text| {
        Ok(config.max_message(parse_size(text)?))
    }),
    ("ping_interval", |config, text| {
        Ok(config.ping_interval(parse_duration(text)?))
    }),
    ("ping_timeout", |config, text| {
        Ok(config.ping_timeout(parse_duration(text)?))
    }),
    ("renew", |config, text| {
        Ok(config.renew_every(parse_interval(text)?))
    }),
];

/// Returns all keys.
pub(crate) fn keys() -> BTreeSet<&'static str> {
    let texts = TEXTS.iter().map(|(key, _)| *key);
    texts.chain(OTHERS.iter().map(|(key, _)| *key)).collect()
}
