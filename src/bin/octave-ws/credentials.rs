//! Where the token is.

use std::env;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use octave_ws::Token;

use crate::config_file::ConfigFile;
use crate::environment;
use crate::exit::Failure;
use crate::origin::{Given, Origin};
use crate::source;

/// Nothing longer is a token.
const MAX_TOKEN: usize = 64 << 10;

/// The token, and where it was: the file that is named, the environment, systemd's credentials or
/// the file that the config names, whichever is there first.
pub(crate) fn token(option: Option<String>, file: &ConfigFile) -> Result<(Token, String), Failure> {
    let (text, origin) = find(option, file)?;
    if let Some(what) = odd(text.trim()) {
        log::warn!("the token from {origin} {what}");
    }
    Ok((Token::new(text), origin))
}

/// What is odd about a token: nothing that would be wrong, but as it comes to be by mistake.
fn odd(token: &str) -> Option<&'static str> {
    let name = token
        .strip_prefix("export ")
        .unwrap_or(token)
        .split_once('=');
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty()
    };
    if token.contains(['"', '\'']) {
        Some("holds quotation marks: they are sent as part of it")
    } else if name.is_some_and(|(name, value)| is_name(name) && !value.trim_matches('=').is_empty())
    {
        // What base64 is padded with stands at the end.
        Some("begins with NAME=: give what comes behind it alone")
    } else if !token.is_ascii() {
        Some("holds characters that are not ASCII: they are sent as UTF-8")
    } else if token.contains(' ') {
        Some("holds blanks: they are sent as part of it")
    } else {
        None
    }
}

fn find(option: Option<String>, file: &ConfigFile) -> Result<(String, String), Failure> {
    if let Some(value) = option {
        let origin = Origin::Option("--token-file");
        return from_setting(&Given { value, origin });
    }
    if let Some(path) = environment::first(&["OCTAVE_TOKEN_FILE"])? {
        return from_setting(&path);
    }
    if let Some(token) = environment::first(&["OCTAVE_TOKEN", "OCTAVE_CLOUD_TOKEN"])? {
        return Ok((token.value, token.origin.to_string()));
    }
    if let Some(folder) = env::var_os("CREDENTIALS_DIRECTORY").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(folder).join("octave-token");
        if path.exists() {
            return from_file(&path, "CREDENTIALS_DIRECTORY");
        }
    }
    if let Some(path) = file.get("token_file") {
        return from_setting(&path);
    }
    Err(Failure::config(
        "config: no token: give --token-file, set OCTAVE_TOKEN_FILE or OCTAVE_TOKEN, put it into \
         $CREDENTIALS_DIRECTORY/octave-token, or set token_file in the config file",
    ))
}

fn from_setting(path: &Given) -> Result<(String, String), Failure> {
    if path.value == "-" {
        let what = "token on standard input";
        let stdin = source::stdin().map_err(|error| Failure::unreadable(what, &error))?;
        return Ok((read(&stdin, what)?, "standard input".to_owned()));
    }
    from_file(Path::new(&path.value), &path.origin.to_string())
}

fn from_file(path: &Path, setter: &str) -> Result<(String, String), Failure> {
    let origin = format!("{path:?}, set by {setter}");
    let what = format!("token file {origin},");
    let file = source::open(path).map_err(|error| Failure::unreadable(&what, &error))?;
    let mode = file.metadata().map_or(0, |data| data.permissions().mode());
    if mode & 0o004 != 0 {
        log::warn!("token file {path:?} can be read by everybody on this machine: chmod o-r");
    }
    Ok((read(&file, &what)?, origin))
}

fn read(file: &File, what: &str) -> Result<String, Failure> {
    let text = source::read_to_string(file);
    let text = text.map_err(|error| Failure::unreadable(what, &error))?;
    if text.len() > MAX_TOKEN {
        return Err(Failure::config(format!(
            "config: {what} is too long for a token"
        )));
    }
    if text.trim().is_empty() {
        return Err(Failure::config(format!("config: {what} is empty")));
    }
    Ok(text)
}
