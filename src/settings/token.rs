//! Where the token is.

use std::env;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::settings::config_file::ConfigFile;
use crate::settings::environment;
use crate::settings::files::{Files, unreadable};
use crate::settings::source::SettingValue;
use crate::{Error, Result, Setting, Token};

/// Maximum length of a token.
const MAX_TOKEN: usize = 64 << 10;

/// A token, and where it was.
pub(crate) struct FoundToken {
    text: String,
    pub(crate) source: String,
    /// The file to read again for later sessions.
    pub(crate) file: Option<PathBuf>,
}

impl FoundToken {
    pub(crate) fn token(&self) -> Token {
        Token::new(&self.text)
    }
}

/// Returns the token of the named file, the environment, systemd's credentials or the file that the
/// config file names, whichever is there first.
pub(crate) fn find(
    named: Option<SettingValue>,
    config: &ConfigFile,
    files: Files,
) -> Result<Option<FoundToken>> {
    let found = look(named, config, files)?;
    if let Some(found) = &found
        && let Some(what) = mistake_in(found.text.trim())
    {
        log::warn!("the token from {} {what}", found.source);
    }
    Ok(found)
}

/// Returns the error of a token that is nowhere.
pub(crate) fn missing() -> Error {
    let message = "no token: set OCTAVE_TOKEN_FILE or OCTAVE_TOKEN, put it into \
                   $CREDENTIALS_DIRECTORY/octave-token, or set token_file in the config file";
    Error::config(message).about(Setting::Token)
}

/// Returns the token that is in a file by now.
pub(crate) fn read_again(path: &Path, files: Files) -> Result<Token> {
    let what = format!("token file {path:?}");
    let file = files.open_again(path);
    let file = file.map_err(|error| unreadable(&what, error))?;
    read(&file, &what, files).map(Token::new)
}

/// Returns a warning about a token that was probably pasted by mistake. Nothing of it is wrong.
fn mistake_in(token: &str) -> Option<&'static str> {
    let name = token
        .strip_prefix("export ")
        .unwrap_or(token)
        .split_once('=');
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty()
    };
    if token.contains(is_invisible) {
        Some("contains an invisible character, which is sent as part of it")
    } else if token.contains(['"', '\'']) {
        Some("contains quotation marks, which are sent as part of it")
    } else if name.is_some_and(|(name, value)| is_name(name) && !value.trim_matches('=').is_empty())
    {
        // Base64 padding is at the end.
        Some("begins with NAME=: give only what follows")
    } else if !token.is_ascii() {
        Some("contains characters that are not ASCII, which are sent as UTF-8")
    } else if token.contains(' ') {
        Some("contains spaces, which are sent as part of it")
    } else {
        None
    }
}

/// Returns whether a character takes no room, or that of a blank: what comes along from a page or a
/// chat.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

fn look(
    named: Option<SettingValue>,
    config: &ConfigFile,
    files: Files,
) -> Result<Option<FoundToken>> {
    if let Some(path) = named {
        return from_setting(&path, files).map(Some);
    }
    if let Some(token) = environment::first(&["OCTAVE_TOKEN", "OCTAVE_CLOUD_TOKEN"])? {
        return Ok(Some(FoundToken {
            // As in a file, a byte order mark is removed.
            text: token.value.trim_start_matches('\u{feff}').to_owned(),
            source: token.source.to_string(),
            file: None,
        }));
    }
    if let Some(folder) = env::var_os("CREDENTIALS_DIRECTORY").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(folder).join("octave-token");
        if path.exists() {
            return from_file(&path, "CREDENTIALS_DIRECTORY", files).map(Some);
        }
    }
    let path = config.get("token_file");
    path.map(|path| from_setting(&path, files)).transpose()
}

fn from_setting(path: &SettingValue, files: Files) -> Result<FoundToken> {
    if path.value == "-" {
        let what = "token on standard input";
        let stdin = (files.stdin)().map_err(|error| unreadable(what, error))?;
        return Ok(FoundToken {
            text: read(&stdin, what, files)?,
            source: "standard input".to_owned(),
            file: None,
        });
    }
    from_file(Path::new(&path.value), &path.source.to_string(), files)
}

fn from_file(path: &Path, setter: &str, files: Files) -> Result<FoundToken> {
    let source = format!("{path:?}, set by {setter}");
    let what = format!("token file {source},");
    let file = (files.open)(path).map_err(|error| unreadable(&what, error))?;
    let metadata = file.metadata().ok();
    let mode = metadata.as_ref().map(|data| data.permissions().mode());
    if mode.is_some_and(|mode| mode & 0o004 != 0) {
        log::warn!("token file {path:?} can be read by everybody on this machine: chmod o-r");
    }
    // A pipe gives it once.
    let is_lasting = metadata.is_some_and(|data| data.is_file());
    Ok(FoundToken {
        text: read(&file, &what, files)?,
        source,
        file: is_lasting.then(|| path.to_owned()),
    })
}

fn read(file: &File, what: &str, files: Files) -> Result<String> {
    let text = files.text_of(file);
    let text = text.map_err(|error| unreadable(what, error))?;
    if text.len() > MAX_TOKEN {
        return Err(Error::config(format!("{what} is too long for a token")));
    }
    if text.trim().is_empty() {
        return Err(Error::config(format!("{what} is empty")));
    }
    Ok(text)
}
