use std::error;
use std::fmt;
use std::io::{self, Read, Write};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::http::cookies::Cookies;
use crate::http::decoder::Decoder;
use crate::secret::Token;
use crate::transport::Link;

/// The longest head of an answer.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// The longest head of a request, less the token.
const MAX_REQUEST: usize = 16 << 10;

/// The spelling on the wire: the `http` crate has all names in lower case.
const TOKEN: &str = "x-auth-token: ";

/// Names of headers that are sent in the case of browsers, which some firewalls look for.
const AS_BROWSERS: [&str; 2] = ["Host: ", "User-Agent: "];

/// The headers of an answer that are looked at.
const LOOKED_AT: [&str; 7] = [
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "location",
    "retry-after",
    "transfer-encoding",
];

/// A link for requests, with the buffers and the decoder that they take. New ones for each request would
/// leave holes in the heap, between what is kept of the answers, into which no later ones fit.
pub(crate) struct HttpLink {
    pub(crate) link: Link,
    pub(super) decoder: Decoder,
    buffers: Option<LazyBuffers>,
}

impl From<Link> for HttpLink {
    fn from(link: Link) -> Self {
        Self {
            link,
            decoder: Decoder::default(),
            buffers: None,
        }
    }
}

/// Holds a link while ureq does not have it.
#[derive(Clone)]
pub(super) struct Slot(Arc<Mutex<Option<LinkState>>>);

pub(super) struct LinkState {
    pub(super) http: HttpLink,
    /// Bytes received after the head.
    pub(super) rest: Vec<u8>,
    pub(super) cookies: Cookies,
}

impl Slot {
    pub(super) fn new(http: HttpLink) -> Self {
        Self(Arc::new(Mutex::new(Some(LinkState {
            http,
            rest: Vec::new(),
            cookies: Cookies::default(),
        }))))
    }

    /// Lends the link to ureq, for a request in which this is the token.
    pub(super) fn connector(&self, token: Token) -> LinkConnector {
        LinkConnector {
            slot: self.clone(),
            token,
        }
    }

    pub(super) fn take(&self) -> Option<LinkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, state: LinkState) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }
}

/// Lends a link to ureq, which then neither dials nor knows TLS.
pub(super) struct LinkConnector {
    slot: Slot,
    token: Token,
}

impl Connector for LinkConnector {
    type Out = LinkTransport;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<LinkTransport>, ureq::Error> {
        let output = MAX_REQUEST + self.token.expose_secret().len();
        Ok(self.slot.take().map(|mut state| {
            let kept = state.http.buffers.take();
            let kept = kept.and_then(|mut kept| (kept.output().len() >= output).then_some(kept));
            LinkTransport {
                buffers: kept.unwrap_or_else(|| LazyBuffers::new(MAX_HEAD, output)),
                state: Some(state),
                slot: self.slot.clone(),
                token: self.token.clone(),
            }
        }))
    }
}

impl fmt::Debug for LinkConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkConnector")
    }
}

/// A link while ureq has it, which goes back to its slot when ureq is done with it.
pub(super) struct LinkTransport {
    state: Option<LinkState>,
    slot: Slot,
    token: Token,
    buffers: LazyBuffers,
}

/// Returns where the line of a head begins that begins so: another header's value may hold it, too.
fn find_line(head: &[u8], begin: &str) -> Option<usize> {
    let is_it = |at: &usize| {
        let (before, from) = head.split_at(*at);
        from.starts_with(begin.as_bytes()) && (before.is_empty() || before.ends_with(b"\r\n"))
    };
    (0..head.len()).find(is_it)
}

impl Transport for LinkTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let state = self.state.as_mut().ok_or(ureq::Error::ConnectionFailed)?;
        let mut output = self.buffers.output()[..amount].to_vec();
        if let Some(at) = find_line(&output, TOKEN) {
            let token = self.token.expose_secret().as_bytes();
            output[at + TOKEN.len()..][..token.len()].copy_from_slice(token);
        }
        for name in AS_BROWSERS {
            if let Some(at) = find_line(&output, &name.to_ascii_lowercase()) {
                output[at..][..name.len()].copy_from_slice(name.as_bytes());
            }
        }
        state.http.link.write_all(&output)?;
        Ok(state.http.link.flush()?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let too_long = || io::Error::from(io::ErrorKind::FileTooLarge);
        let state = self.state.as_mut().ok_or(ureq::Error::ConnectionFailed)?;
        let mut chunk = [0; 4096];
        while end_of_head(&state.rest).is_none() {
            let n = state.http.link.read(&mut chunk)?;
            state.rest.extend_from_slice(&chunk[..n]);
            // A record of an alert or of a handshake (RFC 8446 §5.1), where HTTP was asked for.
            if let [0x15 | 0x16, 3, ..] = state.rest[..] {
                return Err(io::Error::new(io::ErrorKind::InvalidData, Tls).into());
            }
            if n == 0 {
                return Ok(false);
            }
            if state.rest.len() > MAX_HEAD {
                return Err(too_long().into());
            }
        }
        let end = end_of_head(&state.rest).unwrap_or_default();
        let head: Vec<u8> = state.rest.drain(..end).collect();
        state.cookies.take(&head);
        let head = without_secrets(&head, self.token.expose_secret());
        let input = self.buffers.input_append_buf();
        let input = input.get_mut(..head.len()).ok_or_else(too_long)?;
        input.copy_from_slice(&head);
        self.buffers.input_appended(head.len());
        Ok(true)
    }

    /// ureq must not keep the link.
    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl Drop for LinkTransport {
    fn drop(&mut self) {
        if let Some(mut state) = self.state.take() {
            let none = LazyBuffers::new(1, 1);
            let mut buffers = mem::replace(&mut self.buffers, none);
            buffers.input_consume(buffers.input().len());
            state.http.buffers = Some(buffers);
            self.slot.put(state);
        }
    }
}

impl fmt::Debug for LinkTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkTransport")
    }
}

/// Returns where a head ends, if all of it is there.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let ends = |end: &[u8]| {
        let at = bytes.windows(end.len()).position(|bytes| bytes == end);
        at.map(|at| at + end.len())
    };
    ends(b"\n\r\n").into_iter().chain(ends(b"\n\n")).min()
}

/// Returns a head with the status and the headers that are looked at, as long as it was. A service
/// may echo the token, or have secrets of its own.
fn without_secrets(head: &[u8], token: &str) -> Vec<u8> {
    const STATUS: usize = "HTTP/1.1 200".len();
    let mut shown = Vec::with_capacity(head.len());
    for line in head.split_inclusive(|&b| b == b'\n') {
        let text = line.trim_ascii_end();
        let name = text.split(|&b| b == b':').next().unwrap_or_default();
        let is_looked_at = LOOKED_AT
            .iter()
            .any(|looked_at| name.eq_ignore_ascii_case(looked_at.as_bytes()));
        let has_token = !token.is_empty()
            && text[name.len()..]
                .windows(token.len())
                .any(|part| part == token.as_bytes());
        let plain = if shown.is_empty() {
            STATUS
        } else if !is_looked_at || name.eq_ignore_ascii_case(b"location") && has_token {
            name.len() + 1
        } else {
            text.len()
        };
        let (plain, hidden) = text.split_at(plain.min(text.len()));
        shown.extend_from_slice(plain);
        shown.extend(hidden.iter().map(|b| if *b == b' ' { b' ' } else { b'x' }));
        shown.extend_from_slice(&line[text.len()..]);
    }
    shown
}

/// The answer was TLS.
#[derive(Debug)]
pub(super) struct Tls;

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS instead of HTTP")
    }
}

impl error::Error for Tls {}

/// ureq resolves before it connects; the link is connected already.
#[derive(Debug)]
pub(super) struct Resolved;

impl Resolver for Resolved {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addrs = self.empty();
        addrs.push(([0, 0, 0, 0], 0).into());
        Ok(addrs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_head_keeps_its_form() {
        let head = b"HTTP/1.1 201 hunter2\r\nContent-Length: 3\r\nSet-Cookie: a=b; Path=/\r\n\
                     Location: /hunter2\r\n folded\r\n\r\n";
        let shown = without_secrets(head, "hunter2");
        let wanted = "HTTP/1.1 201 xxxxxxx\r\nContent-Length: 3\r\nSet-Cookie: xxxx xxxxxx\r\n\
                      Location: xxxxxxxx\r\n folded\r\n\r\n";
        assert_eq!(String::from_utf8(shown).unwrap(), wanted);
        assert_eq!(end_of_head(head), Some(head.len()));
        assert_eq!(end_of_head(b"HTTP/1.1 200\n\nbody\r\n\r\n"), Some(14));
        assert_eq!(end_of_head(b"HTTP/1.1 200\r\n\r"), None);
    }
}
