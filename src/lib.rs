//! A blocking client for the event WebSocket of Sierra Wireless Octave.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod config;
mod connection;
mod dial;
mod error;
mod protocol;
mod secret;
mod session;
#[cfg(feature = "sim")]
pub mod sim;
mod socket;
mod stop;
mod tls;
mod wire;

pub use client::{Client, Next};
pub use config::{Config, Credentials};
pub use error::{Error, ErrorKind, Phase, Result};
pub use protocol::{Ack, Action, Event, ParseStreamError, Stream, Unknown};
pub use secret::{SessionId, Token};
pub use stop::Stop;
