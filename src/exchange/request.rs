use std::error;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use ureq::http::{self, HeaderMap, HeaderValue, StatusCode, Version};

use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Phase};
use crate::http::body::{self, Framing};
use crate::http::cookies::Cookies;
use crate::http::head;
use crate::transport::Route;
use crate::{Error, Result};

use super::link_transport::{HttpLink, LinkState, MAX_HEAD, Resolved, Slot, Tls};

/// A request without a body.
pub(crate) struct Request<'a> {
    pub(crate) phase: Phase,
    pub(crate) method: Method,
    /// The path below the endpoint's prefix, and the query.
    pub(crate) target: &'a str,
    /// The longest body of an answer, in bytes, after decompression.
    pub(crate) max_body: usize,
    /// The error of a longer one.
    pub(crate) too_long: ErrorKind,
}

#[derive(Clone, Copy)]
pub(crate) enum Method {
    Get,
    Post,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) date: Option<SystemTime>,
    pub(crate) location: Option<Vec<u8>>,
    pub(crate) cookies: Cookies,
    pub(crate) body: Vec<u8>,
    /// Whether the body is as it came, in a coding that is not known or that it is not really in.
    pub(crate) is_encoded: bool,
}

type AnyError = Box<dyn error::Error + Send + Sync>;

impl Request<'_> {
    /// Sends the request over a link, and returns the answer by the deadline, with the link unless the
    /// service has ended it.
    ///
    /// # Errors
    /// [`Request::too_long`], `Malformed` for an answer that is not HTTP, `TimedOut`, `Stopped`, and I/O
    /// errors of the connection.
    pub(crate) fn send(
        &self,
        mut http: HttpLink,
        route: &Route,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<(Answer, Option<HttpLink>)> {
        let endpoint = &route.endpoint;
        http.link.wire().set_deadline(Some(deadline));
        let sent = self.exchange(http, endpoint, credentials, &route.user_agent);
        sent.map_err(|error| {
            let failed = |kind, what: &str| {
                let message = format!("the answer of {endpoint} is {what}");
                Error::new(self.phase, kind, message)
            };
            if route.wait_context.is_stopped() {
                return Error::stopped(self.phase);
            }
            if Instant::now() >= deadline {
                let message = format!("timed out waiting for an answer from {endpoint}");
                return Error::new(self.phase, ErrorKind::TimedOut, message);
            }
            if !endpoint.tls && is_tls(&error) {
                let message = format!("{endpoint} speaks TLS: give https:// in the endpoint");
                return Error::new(self.phase, ErrorKind::Tls, message);
            }
            if is_too_long(&error) {
                return failed(self.too_long, "too long");
            }
            if is_no_http(&error) {
                return failed(ErrorKind::Malformed, "not HTTP").because(error);
            }
            let incomplete = failed(ErrorKind::Disconnected, "incomplete");
            if is_end(&error) {
                return incomplete;
            }
            incomplete.because(error)
        })
    }

    /// ureq logs everything that it sends and parses, at the level trace and byte by byte. It therefore
    /// gets neither the token, which [`Slot`]'s transport puts in, nor other data that may be secret: the
    /// answer's body is read here, and ureq sees the necessary part of its head.
    fn exchange(
        &self,
        http: HttpLink,
        endpoint: &Endpoint,
        credentials: &Credentials,
        user_agent: &str,
    ) -> Result<(Answer, Option<HttpLink>), AnyError> {
        let slot = Slot::new(http);
        let connector = slot.connector(credentials.token.clone());
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_response_header_size(MAX_HEAD)
            .proxy(None)
            .user_agent(user_agent)
            .build();
        let agent = ureq::Agent::with_parts(config, connector, Resolved);
        let Endpoint {
            authority, prefix, ..
        } = endpoint;
        let scheme = if endpoint.tls { "https" } else { "http" };
        let target = self.target;
        let mut request =
            http::Request::builder().uri(format!("{scheme}://{authority}{prefix}{target}"));
        if let Some(user) = &credentials.user {
            request = request.header("X-Auth-User", HeaderValue::from_bytes(user.as_bytes())?);
        }
        let token = "x".repeat(credentials.token.expose_secret().len());
        let answer = match self.method {
            Method::Get => {
                let request = request
                    .header("Accept-Encoding", "gzip")
                    .header("X-Auth-Token", token);
                agent.run(request.body(())?)
            }
            Method::Post => {
                let company = HeaderValue::from_bytes(credentials.company.as_bytes())?;
                let request = request
                    .method("POST")
                    // Proxies compress all the same.
                    .header("Accept-Encoding", "identity")
                    .header("X-Auth-Company", company)
                    .header("X-Auth-Token", token);
                agent.run(request.body(&[][..])?)
            }
        }?;
        let (head, ended) = answer.into_parts();
        // With it goes the connection, back to its slot.
        drop(ended);
        let LinkState {
            mut http,
            mut rest,
            cookies,
        } = slot.take().ok_or(ureq::Error::ConnectionFailed)?;

        let framing = framing(head.status, &head.headers)?;
        let body = body::read(&mut http.link, &mut rest, framing, self.max_body)?;
        let coding = head.headers.get("content-encoding");
        let coding = coding.map_or(&b"identity"[..], HeaderValue::as_bytes);
        let (body, is_encoded) = match http.decoder.decode(body, coding, self.max_body) {
            Ok(decoded) => (decoded, false),
            Err((error, _)) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(error.into());
            }
            Err((_, body)) => (body, true),
        };
        let is_kept = framing != Framing::ToTheEnd
            && head.version == Version::HTTP_11
            && !has(&head.headers, "connection", "close")
            // Not requested.
            && rest.is_empty();
        let header = |name| head.headers.get(name).map(HeaderValue::as_bytes);
        let answer = Answer {
            status: head.status.as_u16(),
            retry_after: header("retry-after").and_then(head::retry_after),
            date: header("date").and_then(head::date),
            location: header("location").map(<[u8]>::to_vec),
            cookies,
            body,
            is_encoded,
        };
        Ok((answer, is_kept.then_some(http)))
    }
}

/// RFC 9112 §6.3.
fn framing(status: StatusCode, headers: &HeaderMap) -> io::Result<Framing> {
    if matches!(status.as_u16(), 100..200 | 204 | 304) {
        return Ok(Framing::Length(0));
    }
    if has(headers, "transfer-encoding", "chunked") {
        return Ok(Framing::Chunked);
    }
    let Some(length) = headers.get("content-length") else {
        return Ok(Framing::ToTheEnd);
    };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    length
        .map(Framing::Length)
        .ok_or(io::ErrorKind::InvalidData.into())
}

/// Returns whether a header is a list with this value, in any case.
fn has(headers: &HeaderMap, name: &str, wanted: &str) -> bool {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .any(|value| value.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Returns whether TLS came where HTTP was spoken.
fn is_tls(error: &AnyError) -> bool {
    io_error(error)
        .and_then(io::Error::get_ref)
        .is_some_and(|inner| inner.is::<Tls>())
}

/// Returns whether the answer was longer than one may be.
fn is_too_long(error: &AnyError) -> bool {
    let is_large = io_error(error).is_some_and(|error| error.kind() == io::ErrorKind::FileTooLarge);
    is_large
        || matches!(
            error.downcast_ref(),
            Some(ureq::Error::LargeResponseHeader(..))
        )
}

/// Returns whether the connection ended before the answer did, of which rustls says more than
/// helps.
fn is_end(error: &AnyError) -> bool {
    io_error(error).is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}

/// Returns whether the answer is not HTTP, or none that can be read.
fn is_no_http(error: &AnyError) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ureq::Error::Protocol(_) | ureq::Error::Http(_))
    )
}

fn io_error(error: &AnyError) -> Option<&io::Error> {
    match error.downcast_ref() {
        Some(ureq::Error::Io(error)) => Some(error),
        Some(_) => None,
        None => error.downcast_ref(),
    }
}
