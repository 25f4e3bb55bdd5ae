use std::io::Write;

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Phase};
use crate::http::cookies::Cookies;
use crate::http::head::{self, Head};
use crate::secret::Redactor;
use crate::transport::Link;
use crate::websocket::extension::{self, Unoffered};
use crate::{Error, Result};

/// The upgrade request.
pub(crate) struct UpgradeRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) user_agent: &'a str,
    pub(crate) cookies: &'a Cookies,
    pub(crate) offers_compression: bool,
    /// Redacts the text of the answer.
    pub(crate) redactor: &'a Redactor,
}

/// An accepted upgrade.
pub(crate) struct Upgraded {
    /// The bytes after the answer: frames.
    pub(crate) rest: Vec<u8>,
    pub(crate) is_compressed: bool,
}

/// Makes the client's handshake, RFC 6455 §4.1. Not tungstenite's, which refuses a legal
/// `Connection: keep-alive, Upgrade` and takes extensions that were not offered.
pub(crate) fn handshake(
    link: &mut Link,
    endpoint: &Endpoint,
    request: &UpgradeRequest<'_>,
) -> Result<Upgraded> {
    let key = generate_key();
    let authority = &endpoint.authority;
    let (path, cookies) = (request.path, request.cookies.line());
    let (redactor, user_agent) = (request.redactor, request.user_agent);
    let offer = if request.offers_compression {
        format!("Sec-WebSocket-Extensions: {}\r\n", extension::OFFER)
    } else {
        String::new()
    };
    // One write, since each write becomes a TLS record.
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {user_agent}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offer}{cookies}\r\n"
    );
    let sent = link.write_all(text.as_bytes());
    let head = sent
        .and_then(|()| link.flush())
        .and_then(|()| Head::read(link))
        .map_err(|error| Error::from_io(Phase::Upgrade, endpoint, error))?;
    validate(&head, &key, endpoint, redactor)?;
    let is_compressed = extensions(&head, endpoint, request.offers_compression)?;
    Ok(Upgraded {
        rest: head.rest,
        is_compressed,
    })
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
    // Some servers send an empty one, which says nothing.
    let mut protocols = head.values("sec-websocket-protocol");
    if protocols.any(|value| !value.is_empty()) {
        return Err(malformed(endpoint, UNREQUESTED));
    }
    Ok(())
}

/// Returns whether compression was offered and accepted.
fn extensions(head: &Head, endpoint: &Endpoint, offers_compression: bool) -> Result<bool> {
    match extension::is_accepted(head.values("sec-websocket-extensions")) {
        Ok(is_accepted) if offers_compression || !is_accepted => Ok(is_accepted),
        Err(Unoffered::Parameter) if offers_compression => {
            let what = "it has a parameter of permessage-deflate that was not offered";
            Err(malformed(endpoint, what).of_compression())
        }
        _ => Err(malformed(endpoint, UNREQUESTED).of_compression()),
    }
}

const UNREQUESTED: &str = "it has an extension or subprotocol that was not requested";

fn malformed(endpoint: &Endpoint, what: &str) -> Error {
    let message = format!("the answer of {endpoint} is invalid: {what}");
    Error::new(Phase::Upgrade, ErrorKind::Malformed, message)
}
