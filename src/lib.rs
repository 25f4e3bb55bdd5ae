//! A blocking client for the event WebSocket of Octave, the IoT cloud of Sierra Wireless.
//!
//! An authenticated POST returns a session id, which is part of the URL of a WebSocket. There the
//! client subscribes to streams, by id or path, and receives their events. Everything blocks, on the
//! thread of the caller and on one TCP connection.
//!
//! [`Client`] connects, subscribes and receives; [`Config`] says to what, and how patiently. For
//! tests, [`sim`](https://docs.rs/octave-ws/latest/octave_ws/sim/) is a stand-in for the service,
//! behind the feature `sim`. Types that only carry data ([`Gap`], [`Step`], [`ErrorKind`] and others)
//! have no example of their own: those of the types that return them show them.
//!
//! # In a loop of your own
//!
//! A program that has its own poll(2) lends the client its turn: [`Client::next`] with a timeout of zero
//! returns all that has come, until [`Update::TimedOut`]. Then the program waits for
//! [`Client::as_fd`], up to [`Client::wake_at`], beside its own descriptors. With
//! [`Config::connect_in_background`] no call waits for the network, but for those of [`Config::fill`].
//!
//! ```
//! # #[cfg(feature = "sim")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::{Duration, Instant};
//!
//! use octave_ws::sim::Sim;
//! use octave_ws::{Action, Client, Update};
//! use rustix::event::{PollFd, PollFlags, poll};
//!
//! let sim = Sim::start()?;
//! let config = sim.config().retry_for(Duration::MAX).connect_in_background(true);
//! let mut client = Client::new(&config)?;
//! client.request(Action::Subscribe, &"/demo/devices/gw1/temperature".parse()?)?;
//! let event = 'run: loop {
//!     loop {
//!         match client.next(Duration::ZERO)? {
//!             Update::TimedOut => break,
//!             Update::Event(event) => break 'run event,
//!             Update::Ack(_) => {
//!                 let elems = serde_json::json!({ "temperature": 21.5 });
//!                 sim.publish("/demo/devices/gw1/temperature", &elems);
//!             }
//!             _ => {}
//!         }
//!     }
//!     let mut events = PollFlags::empty();
//!     events.set(PollFlags::IN, client.wants_read());
//!     events.set(PollFlags::OUT, client.wants_write());
//!     // Beside the program's own.
//!     let fd = client.as_fd();
//!     let mut fds: Vec<_> = fd.iter().map(|fd| PollFd::new(fd, events)).collect();
//!     let left = client.wake_at().map(|at| at.saturating_duration_since(Instant::now()));
//!     poll(&mut fds, left.map(TryInto::try_into).transpose()?.as_ref())?;
//! };
//! println!("{}", event.value());
//! # client.close()?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sim"))]
//! # fn main() {}
//! ```
//!
//! # Log
//!
//! It logs by the crate `log`, with targets that begin with `octave_ws`: `warn` for what an operator
//! has to know, such as a lost connection and the delay of the next attempt, `debug` for the steps of
//! connecting and for requests, `trace` for pings. [`Config::log`] takes the records by a function instead.
//! No record contains the token or a session id.
//!
//! ```
//! # #[cfg(feature = "sim")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use octave_ws::sim::Sim;
//! use octave_ws::{Client, Update};
//!
//! // The stand-in for the cloud, feature `sim`.
//! let sim = Sim::start()?;
//! let mut client = Client::connect(&sim.config())?;
//! client.subscribe(&"/demo/devices/gw1/temperature".parse()?)?;
//! sim.publish("/demo/devices/gw1/temperature", &serde_json::json!({ "temperature": 21.5 }));
//! let Update::Event(event) = client.next(Duration::from_secs(10))? else {
//!     return Err("no event".into());
//! };
//! println!("{}", event.value());
//! client.close()?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sim"))]
//! # fn main() {}
//! ```
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(not(unix))]
compile_error!("octave-ws needs a Unix: it waits with poll(2), on pipes and sockets alike");

#[cfg(feature = "capi")]
#[doc(hidden)]
pub mod capi;
#[cfg(any(feature = "cli", feature = "sim"))]
#[doc(hidden)]
pub mod cli;
mod client;
#[doc(hidden)]
pub mod clock;
mod config;
mod connection;
mod credentials;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod echo;
mod endpoint;
mod error;
mod exchange;
mod history;
mod http;
mod logger;
mod printable;
mod protocol;
mod secret;
#[cfg(test)]
#[path = "../tests/seed/mod.rs"]
mod seed;
mod session;
#[doc(hidden)]
pub mod settings;
#[cfg(feature = "sim")]
pub mod sim;
mod source;
mod step;
mod transport;
mod update;
#[doc(hidden)]
pub mod wait;
mod websocket;

pub use client::cost::Cost;
pub use client::{Client, Events};
pub use config::Config;
pub use credentials::Credentials;
pub use endpoint::IpVersion;
pub use error::{Error, ErrorKind, Phase, Result, Setting};
pub use history::{History, Probe, Since};
pub use logger::LogLevel;
pub use printable::Printable;
pub use protocol::{Ack, Action, Event, ParseStreamError, Positions, Stream, UnknownMessage, Why};
pub use secret::Token;
pub use session::SessionId;
pub use step::Step;
pub use transport::traffic::Traffic;
pub use update::{Disconnected, Filled, Gap, Handover, Loss, Update};
pub use wait::context::FdReady;
pub use wait::stop::Stop;

/// The README's example is compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
