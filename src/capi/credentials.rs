//! The credentials of an `octave_ws_config`.

use std::ffi::{c_char, c_int, c_void};
use std::mem;
use std::sync::Arc;

use super::config::{Settings, octave_ws_config, on};
use super::{Callback, optional_text, text};
use crate::{Credentials, Token};

/// Sets the credentials. user null: a restricted token, which needs no user. token null: that of
/// octave_ws_config_token_source().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_credentials(
    config: *mut octave_ws_config,
    company: *const c_char,
    user: *const c_char,
    token: *const c_char,
) -> c_int {
    let act = |settings: &mut Settings| {
        // SAFETY: as the header asks.
        let (company, user, token) = unsafe {
            (
                text(company, "company")?,
                optional_text(user, "user")?,
                optional_text(token, "token")?,
            )
        };
        // Earlier credentials are not sent in place of these.
        let credentials = Credentials::new(company, Token::new(token.unwrap_or_default()));
        let credentials = match user {
            Some(user) => credentials.user(user),
            None => credentials,
        };
        settings.config = mem::take(&mut settings.config).credentials(credentials);
        if token.is_some() {
            settings.source = None;
        }
        Ok(())
    };
    // SAFETY: as the header asks.
    unsafe { on(config, act) }
}

/// Writes a token of at most size bytes, without NUL, and returns its length; a negative number if it
/// has no token now: the attempt to connect fails then, and is repeated.
pub type octave_ws_token_fn =
    Option<unsafe extern "C" fn(token: *mut c_char, size: usize, user: *mut c_void) -> c_int>;

/// Size of the buffer for a token.
const TOKEN_BUFFER: usize = 16 << 10;

/// Sets a function that is asked for the token of each new session, on the thread that calls
/// octave_ws_client_next(); null: none. Company and user are those of octave_ws_config_credentials(), or of
/// octave_ws_config_from_env() if that has found a token, too. user is passed to the function, and has to outlive
/// all clients of the config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_token_source(
    config: *mut octave_ws_config,
    source: octave_ws_token_fn,
    user: *mut c_void,
) -> c_int {
    let act = |settings: &mut Settings| {
        settings.source = source.map(|function| {
            let callback = Callback { function, user };
            let source = move || {
                let Callback { function, user } = { callback };
                let mut token = vec![0_u8; TOKEN_BUFFER];
                // SAFETY: the caller's function, with a buffer of this size.
                let length = unsafe { function(token.as_mut_ptr().cast(), token.len(), user) };
                let length = usize::try_from(length)
                    .ok()
                    .filter(|length| *length <= TOKEN_BUFFER);
                token.truncate(length.ok_or("the token source has none")?);
                let token = String::from_utf8(token);
                token
                    .map(Token::new)
                    .map_err(|_| "the token is not UTF-8".to_owned())
            };
            Arc::new(source) as Arc<_>
        });
        Ok(())
    };
    // SAFETY: as the header asks.
    unsafe { on(config, act) }
}
