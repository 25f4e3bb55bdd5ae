//! The socket by itself, for conformance suites.

use std::time::{Duration, Instant};

use crate::http::cookies::Cookies;
use crate::secret::Redactor;
use crate::transport::Route;
use crate::websocket::handshake::UpgradeRequest;
use crate::websocket::socket::Socket;
use crate::{Config, Result};

/// Opens a WebSocket at a path of the endpoint and echoes every message until the server closes.
/// Returns the last text.
///
/// It uses the same layers as a [`Client`](crate::Client), without a session.
///
/// # Errors
/// Errors of connecting and of the WebSocket protocol; `TimedOut` after `timeout`.
pub fn echo(config: &Config, path: &str, timeout: Duration) -> Result<String> {
    let mut route = Route::new(config)?;
    let link = route.dial(config.phase_deadline())?;
    let deadline = config.phase_deadline();
    let request = UpgradeRequest {
        user_agent: &config.user_agent,
        path,
        cookies: &Cookies::default(),
        offers_compression: config.compression,
        redactor: &Redactor::default(),
    };
    let socket = Socket::upgrade(
        link,
        &route.endpoint,
        &request,
        config.max_message,
        deadline,
    )?;
    socket.echo(Instant::now() + timeout)
}
