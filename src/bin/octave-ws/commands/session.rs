//! `session`: an id for another client.

use octave_ws::{Config, ErrorKind, SessionId};

use crate::exit::Failure;
use crate::output;
use crate::settings::Shown;

/// Asks for a session and prints what another client needs of it.
pub(crate) fn session(config: &Config, shown: Shown) -> Result<(), Failure> {
    let id = match SessionId::request(config) {
        Err(error) if error.kind() == ErrorKind::Stopped => return Err(Failure::no_session()),
        done => done?,
    };
    match shown {
        Shown::Id => output::print(id.expose_secret()),
        Shown::Url => output::print(&id.url(config)?),
    }
}
