//! A blocking client for the event WebSocket of Sierra Wireless Octave.
#![allow(
    dead_code,
    unused_imports,
    reason = "rooms are built from the bottom; the client will use them all"
)]

mod error;
mod protocol;
mod secret;
mod stop;
mod wire;

pub use error::{Error, ErrorKind, Phase, Result};
pub use protocol::{Event, ParseStreamError, Stream, Unknown};
pub use secret::{SessionId, Token};
pub use stop::Stop;
