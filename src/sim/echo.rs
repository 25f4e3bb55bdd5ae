use std::time::{Duration, Instant};

use crate::cookies::Cookies;
use crate::socket::Socket;
use crate::transport::Route;
use crate::{Config, Result};

/// Opens a WebSocket at a path of the endpoint and sends each message back as it came, until the
/// server closes. Returns the last text.
///
/// That is what a conformance test suite asks of a client: it goes through the very layers that a
/// [`Client`](crate::Client) goes through, without a session.
///
/// # Errors
/// Those of the connection and of whatever breaks the WebSocket protocol; `TimedOut` where it takes
/// longer than `timeout`.
pub fn echo(config: &Config, path: &str, timeout: Duration) -> Result<String> {
    let mut route = Route::new(config)?;
    let link = route.dial(config.phase_deadline())?;
    let deadline = config.phase_deadline();
    let cookies = Cookies::default();
    let socket = Socket::upgrade(
        link,
        &route.endpoint,
        path,
        &cookies,
        config.max_message,
        deadline,
    )?;
    socket.echo(Instant::now() + timeout)
}
