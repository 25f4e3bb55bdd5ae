//! Where the settings came from, for whoever has to mend one.

use std::fmt;
use std::path::PathBuf;

use crate::Setting;

/// What is said of a setting: an option, a variable, or a key and its file.
#[derive(Clone, Debug)]
pub enum Origin {
    Option(&'static str),
    /// The program that links the library.
    Caller,
    Variable(&'static str),
    Key {
        key: &'static str,
        file: PathBuf,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) | Self::Variable(name) => f.write_str(name),
            Self::Caller => f.write_str("the program"),
            Self::Key { key, file } => write!(f, "{key:?} in {file:?}"),
        }
    }
}

/// A value, and where it came from.
#[derive(Clone, Debug)]
pub struct Given {
    pub value: String,
    pub origin: Origin,
}

/// Where those settings came from that a failure can be about. None is where a default holds.
#[derive(Debug)]
pub struct Origins {
    pub endpoint: Option<Given>,
    pub user: Option<Given>,
    pub company: Option<Given>,
    /// As it is told: the token may have been in a file that something else names.
    pub token: Option<String>,
    pub ca_file: Option<Given>,
    pub proxy: Option<Origin>,
}

impl Origins {
    /// Who or what set it.
    pub fn of(&self, setting: Setting) -> Option<String> {
        let given = |given: &Option<Given>| given.as_ref().map(|given| given.origin.to_string());
        match setting {
            Setting::Endpoint => given(&self.endpoint),
            Setting::User => given(&self.user),
            Setting::Company => given(&self.company),
            Setting::Token => self.token.clone(),
            Setting::CaPem => given(&self.ca_file),
            Setting::Proxy => self.proxy.as_ref().map(Origin::to_string),
        }
    }
}
