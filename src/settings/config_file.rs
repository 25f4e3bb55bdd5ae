//! The config file, as it was written.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::error::Category;

use crate::settings::files::{Files, unreadable};
use crate::settings::members::Members;
use crate::settings::source::{SettingSource, SettingValue};
use crate::settings::table::{self, SWITCHES};
use crate::{Error, Result};

/// A JSON object of strings. A size may be a number, and a switch is true or false.
#[derive(Default)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    members: BTreeMap<String, String>,
}

/// Returns whether no way leads there: a folder may not be entered, a link leads to itself. A file
/// that may not be read is there.
fn is_out_of_reach(path: &Path) -> bool {
    path.metadata().is_err()
}

impl ConfigFile {
    /// Reads the file that is named, or else the first that exists where config files are kept.
    /// A missing file is as good as an empty one, unless it is named.
    pub(crate) fn read(named: Option<(PathBuf, SettingSource)>, files: Files) -> Result<Self> {
        if let Some((path, source)) = named {
            let text = read(&path, files)
                .map_err(|error| unreadable(&format!("{path:?}, set by {source},"), error))?;
            return Self::parse(path, &text);
        }
        for path in places() {
            match read(&path, files) {
                Ok(text) => return Self::parse(path, &text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                // Another user's home, after a change of the user.
                Err(error) if is_out_of_reach(&path) => {
                    log::debug!("config: {path:?} is passed over: {error}");
                }
                Err(error) => return Err(unreadable(&format!("{path:?}"), error)),
            }
        }
        Ok(Self::default())
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let Members::<Value>(members) = serde_json::from_str(text).map_err(|error| {
            let what = format!("{path:?} is not a JSON object");
            Error::config(match error.classify() {
                // serde_json's text would show the value: a token, if this is its file by mistake.
                Category::Data => what,
                _ => format!("{what}: {error}"),
            })
        })?;
        let keys = table::keys();
        let is_unknown = |key: &str| !keys.contains(key);
        if let Some((key, _)) = members.iter().find(|(key, _)| is_unknown(key)) {
            let keys: Vec<&str> = keys.into_iter().collect();
            let keys = keys.join(", ");
            let message = format!("{path:?}: no key {key:?}: the keys are {keys}");
            return Err(Error::config(message));
        }
        let mut texts = BTreeMap::new();
        for (key, value) in members {
            let wrong = |what| Error::config(format!("{path:?}: {key:?} {what}"));
            let is_switch = SWITCHES.contains(&key.as_str());
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) if key == "max_message" => number.to_string(),
                Value::Bool(is_on) if is_switch => is_on.to_string(),
                _ if is_switch => return Err(wrong("is neither true nor false")),
                _ => return Err(wrong("is not a string: put the value into quotes")),
            };
            if texts.contains_key(&key) {
                return Err(wrong("is given twice"));
            }
            texts.insert(key, text);
        }
        Ok(Self {
            path,
            members: texts,
        })
    }

    pub(crate) fn get(&self, key: &'static str) -> Option<SettingValue> {
        self.members.get(key).map(|value| SettingValue {
            value: value.clone(),
            source: SettingSource::Key {
                key,
                file: self.path.clone(),
            },
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn read(path: &Path, files: Files) -> io::Result<String> {
    files.text_of(&(files.open)(path)?)
}

fn places() -> impl Iterator<Item = PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let of_user = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let at_home = variable("HOME").map(|home| Path::new(&home).join(".config"));
    let folders = [of_user, at_home, Some(PathBuf::from("/etc"))];
    folders
        .into_iter()
        .flatten()
        .map(|folder| folder.join("octave-ws/config.json"))
}
