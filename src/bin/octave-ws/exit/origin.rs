//! Where the settings came from, for whoever has to mend one.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use octave_ws::Setting;

/// What is said of a setting: an option, a variable, or a key and its file.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Option(&'static str),
    Variable(&'static str),
    Key { key: &'static str, file: PathBuf },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) | Self::Variable(name) => f.write_str(name),
            Self::Key { key, file } => write!(f, "{key:?} in {file:?}"),
        }
    }
}

/// A value, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Where those settings came from that a failure can be about. None is where a default holds.
#[derive(Debug)]
pub(crate) struct Origins {
    pub(crate) endpoint: Option<Given>,
    pub(crate) user: Option<Given>,
    pub(crate) company: Option<Given>,
    /// As it is told: the token may have been in a file that something else names.
    pub(crate) token: Option<String>,
    pub(crate) ca_file: Option<Given>,
    pub(crate) proxy: Option<Origin>,
}

/// Of the process, as the settings are: a failure comes up far from where they were resolved.
static ORIGINS: OnceLock<Origins> = OnceLock::new();

impl Origins {
    pub(crate) fn keep(self) {
        // Settings are resolved once.
        let _ = ORIGINS.set(self);
    }

    /// None until all settings are resolved.
    pub(crate) fn kept() -> &'static Self {
        const NONE: &Origins = &Origins {
            endpoint: None,
            user: None,
            company: None,
            token: None,
            ca_file: None,
            proxy: None,
        };
        ORIGINS.get().unwrap_or(NONE)
    }

    /// Who or what set it.
    pub(crate) fn of(&self, setting: Setting) -> Option<String> {
        let given = |given: &Option<Given>| given.as_ref().map(|given| given.origin.to_string());
        match setting {
            Setting::Endpoint => given(&self.endpoint),
            Setting::User => given(&self.user),
            Setting::Company => given(&self.company),
            Setting::Token => self.token.clone(),
            Setting::CaPem => given(&self.ca_file),
            Setting::Proxy => self.proxy.as_ref().map(Origin::to_string),
            _ => None,
        }
    }
}
