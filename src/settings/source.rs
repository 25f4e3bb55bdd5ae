//! The sources of settings, for errors about them.

use std::fmt;
use std::path::PathBuf;

use crate::Setting;

/// The source of a setting.
#[derive(Clone, Debug)]
pub enum SettingSource {
    /// The option of a key.
    Option(&'static str),
    /// The program that links the library.
    Caller,
    Variable(&'static str),
    Key {
        key: &'static str,
        file: PathBuf,
    },
}

impl fmt::Display for SettingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(key) => write!(f, "--{}", key.replace('_', "-")),
            Self::Variable(name) => f.write_str(name),
            Self::Caller => f.write_str("the program"),
            Self::Key { key, file } => write!(f, "{key:?} in {file:?}"),
        }
    }
}

/// The value of a setting, and its source.
#[derive(Clone, Debug)]
pub struct SettingValue {
    pub value: String,
    pub source: SettingSource,
}

/// The sources of the settings that a failure can be about; `None` for a default.
#[derive(Debug, Default)]
pub struct SettingSources {
    pub endpoint: Option<SettingValue>,
    pub api: Option<SettingValue>,
    pub user: Option<SettingValue>,
    pub company: Option<SettingValue>,
    /// For errors: the token may have been in a file that another setting names.
    pub token: Option<String>,
    pub ca_file: Option<SettingValue>,
    pub proxy: Option<SettingSource>,
}

impl SettingSources {
    /// Returns the source of a setting.
    pub fn of(&self, setting: Setting) -> Option<String> {
        let given =
            |given: &Option<SettingValue>| given.as_ref().map(|given| given.source.to_string());
        match setting {
            Setting::Endpoint => given(&self.endpoint),
            Setting::Api => given(&self.api),
            Setting::User => given(&self.user),
            Setting::Company => given(&self.company),
            Setting::Token => self.token.clone(),
            Setting::CaPem => given(&self.ca_file),
            Setting::Proxy => self.proxy.as_ref().map(SettingSource::to_string),
        }
    }
}
