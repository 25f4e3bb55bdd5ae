//! A blocking client for the event WebSocket of Sierra Wireless Octave.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    dead_code,
    unused_imports,
    reason = "rooms are built from the bottom; the client will use them all"
)]

mod config;
mod dial;
mod error;
mod protocol;
mod secret;
mod session;
#[cfg(feature = "sim")]
pub mod sim;
mod stop;
mod tls;
mod wire;

pub use config::{Config, Credentials};
pub use error::{Error, ErrorKind, Phase, Result};
pub use protocol::{Event, ParseStreamError, Stream, Unknown};
pub use secret::{SessionId, Token};
pub use stop::Stop;
