//! Checks of a configuration, before anything is sent.

use std::time::Instant;

use super::Config;
use crate::endpoint::Endpoint;
use crate::error::Setting;
use crate::protocol::Retry;
use crate::{Error, Result};

/// Maximum length of a user agent, in bytes.
const MAX_AGENT: usize = 1024;

impl Config {
    /// Takes the credentials that the next session is to be asked for with.
    ///
    /// # Errors
    /// `Config` if the function fails, or its credentials cannot be used. It is retried.
    pub(crate) fn renew_credentials(&mut self) -> Result<()> {
        let Some(asked) = self.source.ask() else {
            return Ok(());
        };
        let asked = asked.map_err(|why| Error::config(format!("no credentials: {why}")));
        let checked = asked.and_then(|credentials| credentials.check().map(|()| credentials));
        self.credentials = Ok(checked.map_err(|error| error.retry_as(Retry::Always))?);
        Ok(())
    }

    /// Checks the credentials that were given, whether or not others are asked for later.
    ///
    /// # Errors
    /// `Config` for credentials that cannot be used, or none.
    #[doc(hidden)]
    pub fn check_credentials(&self) -> Result<()> {
        self.credentials.as_ref().map_err(Clone::clone)?.check()
    }

    /// Returns the URL of the REST API in use.
    ///
    /// # Errors
    /// `Config` for an invalid URL, or none.
    pub fn api_in_use(&self) -> Result<String> {
        let Endpoint {
            tls,
            authority,
            prefix,
            ..
        } = self.check_api()?;
        let scheme = if tls { "https" } else { "http" };
        Ok(format!("{scheme}://{authority}{prefix}"))
    }

    /// Returns the REST API.
    ///
    /// # Errors
    /// `Config` for an invalid URL, or none.
    pub(crate) fn check_api(&self) -> Result<Endpoint> {
        let known = self.endpoint.expose_secret().trim_end_matches('/');
        let is_default = known.strip_suffix(":443").unwrap_or(known) == Self::ENDPOINT;
        let url = match &self.api {
            Some(url) => url.expose_secret(),
            None if is_default => Self::API,
            None => {
                let message = "no REST API is known for this endpoint: give its URL, such as \
                               https://HOST/v5.0";
                return Err(Error::config(message).about(Setting::Api));
            }
        };
        Endpoint::parse_setting(url, self.allow_plaintext, "api", Setting::Api)
    }

    /// Returns when a part of connecting that begins now has to be done.
    pub(crate) fn phase_deadline(&self) -> Instant {
        let deadline = Instant::now() + self.connect_timeout;
        self.connect_deadline
            .map_or(deadline, |at| at.min(deadline))
    }

    /// Checks what can be checked before anything is sent.
    pub(crate) fn check(&self) -> Result<Endpoint> {
        if !self.source.is_set() {
            self.check_credentials()?;
        }
        let is_plain = |b: u8| matches!(b, b' '..=b'~');
        let agent = self.user_agent.as_bytes();
        if agent.trim_ascii().is_empty() || !agent.iter().copied().all(is_plain) {
            let message = format!(
                "the user agent {:?} is empty or not visible ASCII",
                self.user_agent
            );
            return Err(Error::config(message));
        }
        if agent.len() > MAX_AGENT {
            let message = format!("the user agent is too long: at most {MAX_AGENT} bytes");
            return Err(Error::config(message));
        }
        if self.max_message == 0 {
            return Err(Error::config("the maximum length of a message is zero"));
        }
        for (name, timeout) in [("connect", self.connect_timeout), ("ack", self.ack_timeout)] {
            if timeout.is_zero() {
                let message = format!("the {name} timeout is zero");
                return Err(Error::config(message));
            }
        }
        Endpoint::parse(self.endpoint.expose_secret(), self.allow_plaintext)
    }
}
