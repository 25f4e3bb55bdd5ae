use std::io::Write;

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Phase};
use crate::http::cookies::Cookies;
use crate::http::head::{self, Head, USER_AGENT};
use crate::secret::Redactor;
use crate::transport::Link;
use crate::{Error, Result};

/// The upgrade request.
pub(crate) struct UpgradeRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) cookies: &'a Cookies,
    /// Redacts the text of the answer.
    pub(crate) redactor: &'a Redactor,
}

/// Makes the client's handshake, RFC 6455 §4.1. Not tungstenite's, which refuses a legal
/// `Connection: keep-alive, Upgrade` and takes extensions that were not offered. Returns the bytes
/// after the answer: frames.
pub(crate) fn handshake(
    link: &mut Link,
    endpoint: &Endpoint,
    request: &UpgradeRequest<'_>,
) -> Result<Vec<u8>> {
    let key = generate_key();
    let authority = &endpoint.authority;
    let (path, cookies) = (request.path, request.cookies.line());
    let redactor = request.redactor;
    // One write, since each write becomes a TLS record.
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{cookies}\r\n"
    );
    let sent = link.write_all(request.as_bytes());
    let head = sent
        .and_then(|()| link.flush())
        .and_then(|()| Head::read(link))
        .map_err(|error| Error::from_io(Phase::Upgrade, endpoint, error))?;
    validate(&head, &key, endpoint, redactor)?;
    Ok(head.rest)
}

fn validate(head: &Head, key: &str, endpoint: &Endpoint, redactor: &Redactor) -> Result<()> {
    if head.status != 101 {
        let status = head.status;
        let (peer, location) = (endpoint.to_string(), head.first("location"));
        let message = head::status_of(&peer, status, location, None, redactor);
        let kind = ErrorKind::Status(status);
        let error = Error::new(Phase::Upgrade, kind, message);
        return Err(error.not_before(head.retry_after()));
    }
    if !head.has("upgrade", "websocket") || !head.has("connection", "upgrade") {
        return Err(malformed(endpoint, "it does not confirm the upgrade"));
    }
    // Base64: its case counts.
    let accept = derive_accept_key(key.as_bytes());
    if !head
        .values("sec-websocket-accept")
        .any(|value| value == accept.as_bytes())
    {
        return Err(malformed(endpoint, "its Sec-WebSocket-Accept is wrong"));
    }
    for name in ["sec-websocket-extensions", "sec-websocket-protocol"] {
        // Some servers send an empty one, which says nothing.
        if head.values(name).any(|value| !value.is_empty()) {
            let what = "it has an extension or subprotocol that was not requested";
            return Err(malformed(endpoint, what));
        }
    }
    Ok(())
}

fn malformed(endpoint: &Endpoint, what: &str) -> Error {
    let message = format!("the answer of {endpoint} is invalid: {what}");
    Error::new(Phase::Upgrade, ErrorKind::Malformed, message)
}
