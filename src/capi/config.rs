//! `octave_ws_config`.

use std::ffi::{c_char, c_int};
use std::mem;
use std::sync::Arc;

use super::code::OCTAVE_WS_OK;
use super::{Failure, LastFailure, guarded, optional_text};
use crate::{Config, Credentials, Error, Result as OwnResult, Token};

/// The configuration of clients.
pub struct octave_ws_config {
    settings: Settings,
    failure: LastFailure,
}

pub(super) struct Settings {
    pub(super) config: Config,
    /// Why it cannot be used, if reading it failed.
    unreadable: Option<Error>,
    /// The function of octave_ws_config_token_source().
    pub(super) source: Option<Arc<dyn Fn() -> OwnResult<Token, String> + Send + Sync>>,
}

impl Settings {
    fn new(config: OwnResult<Config>) -> Self {
        let (config, unreadable) = match config {
            Ok(config) => (config, None),
            Err(error) => (Config::default(), Some(error)),
        };
        Self {
            config,
            unreadable,
            source: None,
        }
    }

    /// Returns the configuration of a client.
    fn complete(&self) -> OwnResult<Config> {
        if let Some(error) = &self.unreadable {
            return Err(error.clone());
        }
        let Some(source) = self.source.clone() else {
            return Ok(self.config.clone());
        };
        let Credentials { company, user, .. } = self.config.credentials.clone()?;
        Ok(self.config.clone().credentials_from(move || {
            let credentials = Credentials::new(&company, source()?);
            Ok::<_, String>(match &user {
                Some(user) => credentials.user(user),
                None => credentials,
            })
        }))
    }
}

/// Runs a part of the interface on a config.
pub(super) unsafe fn on(
    config: *mut octave_ws_config,
    act: impl FnOnce(&mut Settings) -> Result<(), Failure>,
) -> c_int {
    // SAFETY: a handle that is not freed, which no other thread uses.
    let Some(config) = (unsafe { config.as_mut() }) else {
        return super::code::OCTAVE_WS_EINVAL;
    };
    let octave_ws_config { settings, failure } = config;
    failure.guard(settings, |settings| act(settings).map(|()| OCTAVE_WS_OK))
}

/// Sets a value of a config.
pub(super) unsafe fn set(
    config: *mut octave_ws_config,
    set: impl FnOnce(Config) -> Config,
) -> c_int {
    let act = |settings: &mut Settings| {
        settings.config = set(mem::take(&mut settings.config));
        Ok(())
    };
    // SAFETY: as here.
    unsafe { on(config, act) }
}

/// Sets a value of a config, which is first made of the arguments.
pub(super) unsafe fn try_set<T>(
    config: *mut octave_ws_config,
    value: Result<T, Failure>,
    set: impl FnOnce(Config, T) -> Config,
) -> c_int {
    let act = |settings: &mut Settings| {
        let value = value?;
        settings.config = set(mem::take(&mut settings.config), value);
        Ok(())
    };
    // SAFETY: as here.
    unsafe { on(config, act) }
}

impl octave_ws_config {
    /// Makes something of the configuration. A failure is the config's.
    pub(super) fn with<T>(
        &mut self,
        make: impl FnOnce(&Config) -> OwnResult<T>,
    ) -> Result<T, c_int> {
        let mut result = None;
        let Self { settings, failure } = self;
        let code = failure.guard(settings, |settings| {
            result = Some(make(&settings.complete()?)?);
            Ok(OCTAVE_WS_OK)
        });
        result.ok_or(code)
    }
}

fn boxed(config: OwnResult<Config>) -> *mut octave_ws_config {
    let mut failure = LastFailure::new();
    if let Err(error) = &config {
        failure.keep(&error.clone().into());
    }
    let settings = Settings::new(config);
    Box::into_raw(Box::new(octave_ws_config { settings, failure }))
}

/// Creates a config with defaults and no credentials. Free it with octave_ws_config_free().
#[unsafe(no_mangle)]
pub extern "C" fn octave_ws_config_new() -> *mut octave_ws_config {
    guarded(std::ptr::null_mut(), || boxed(Ok(Config::default())))
}

/// Creates a config of the variables OCTAVE_* and the config file, as the program octave-ws does; path
/// null: the usual files. Free it with octave_ws_config_free(). If that fails, octave_ws_config_error()
/// says why, and octave_ws_client_new() fails with OCTAVE_WS_ECONFIG. Credentials may be missing, and be
/// set before that. Returns null after a bug of the library alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_from_env(path: *const c_char) -> *mut octave_ws_config {
    // SAFETY: as the header asks.
    let path = unsafe { optional_text(path, "path") };
    guarded(std::ptr::null_mut(), || {
        boxed(match path {
            Ok(Some(path)) => Config::from_env_and_file(path),
            Ok(None) => Config::from_env(),
            Err(failure) => Err(Error::config(failure.text)),
        })
    })
}

/// Frees a config; null is ignored. Clients made of it keep what they need.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_free(config: *mut octave_ws_config) {
    if !config.is_null() {
        // SAFETY: a function above made it of a box.
        guarded((), || drop(unsafe { Box::from_raw(config) }));
    }
}

/// Returns the last failure of this config in one line, "" if there was none. The text belongs to the
/// config, and is valid until the next call with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_error(config: *const octave_ws_config) -> *const c_char {
    // SAFETY: a handle that is not freed.
    let config = unsafe { config.as_ref() };
    config.map_or(c"".as_ptr(), |config| config.failure.text.as_ptr())
}

/// Checks what can be checked before anything is sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_validate(config: *mut octave_ws_config) -> c_int {
    // SAFETY: a handle that is not freed, which no other thread uses.
    let Some(config) = (unsafe { config.as_mut() }) else {
        return super::code::OCTAVE_WS_EINVAL;
    };
    config
        .with(Config::validate)
        .map_or_else(|code| code, |()| OCTAVE_WS_OK)
}
