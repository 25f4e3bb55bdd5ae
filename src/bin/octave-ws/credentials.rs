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
    if let Some(value) = option {
        let origin = Origin::Option("--token-file");
        return from_setting(&Given { value, origin });
    }
    if let Some(path) = environment::first(&["OCTAVE_TOKEN_FILE"])? {
        return from_setting(&path);
    }
    if let Some(token) = environment::first(&["OCTAVE_TOKEN", "OCTAVE_CLOUD_TOKEN"])? {
        return Ok((Token::new(token.value), token.origin.to_string()));
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

fn from_setting(path: &Given) -> Result<(Token, String), Failure> {
    if path.value == "-" {
        let what = "token on standard input";
        let stdin = source::stdin().map_err(|error| Failure::unreadable(what, &error))?;
        return Ok((read(&stdin, what)?, "standard input".to_owned()));
    }
    from_file(Path::new(&path.value), &path.origin.to_string())
}

fn from_file(path: &Path, setter: &str) -> Result<(Token, String), Failure> {
    let origin = format!("{path:?}, set by {setter}");
    let what = format!("token file {origin},");
    let file = source::open(path).map_err(|error| Failure::unreadable(&what, &error))?;
    let mode = file.metadata().map_or(0, |data| data.permissions().mode());
    if mode & 0o004 != 0 {
        log::warn!("token file {path:?} can be read by everybody on this machine: chmod o-r");
    }
    Ok((read(&file, &what)?, origin))
}

fn read(file: &File, what: &str) -> Result<Token, Failure> {
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
    Ok(Token::new(text))
}
