use std::io::{self, ErrorKind, Read};
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::endpoint::HostPort;
use crate::secret::Redactor;

/// The head of an HTTP answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, Vec<u8>)>,
    /// Bytes received after the head.
    pub(crate) rest: Vec<u8>,
}

/// The maximum size of a head.
const MAX_LENGTH: usize = 16 << 10;
const MAX_HEADERS: usize = 128;

impl Head {
    /// Reads the head of the final answer to its end, past interim ones, such as 103, which a
    /// server may send unasked (RFC 9110 §15.2); 101 is a final one.
    ///
    /// # Errors
    /// I/O errors of the connection, `UnexpectedEof` for its end, and `InvalidData` for bytes that
    /// are not a head.
    pub(crate) fn read(connection: &mut impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 2048];
        let mut passed = 0;
        loop {
            while let Some(head) = Self::parse(&bytes[passed..])? {
                if head.status == 101 || !(100..200).contains(&head.status) {
                    return Ok(head);
                }
                passed = bytes.len() - head.rest.len();
            }
            if bytes.len() > MAX_LENGTH {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "its head does not end",
                ));
            }
            let n = connection.read(&mut chunk)?;
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&chunk[..n]);
        }
    }

    /// `None` while it is not whole.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer
            .parse(bytes)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let httparse::Status::Complete(used) = parsed else {
            return Ok(None);
        };
        let header =
            |header: &httparse::Header<'_>| (header.name.to_owned(), header.value.to_vec());
        Ok(Some(Self {
            status: answer.code.unwrap_or_default(),
            headers: answer.headers.iter().map(header).collect(),
            rest: bytes[used..].to_vec(),
        }))
    }

    /// Returns the comma-separated values of a header, wherever it stands.
    pub(crate) fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        let is_named = move |header: &&(String, Vec<u8>)| header.0.eq_ignore_ascii_case(name);
        let named = self.headers.iter().filter(is_named);
        named.flat_map(|(_, value)| value.split(|&b| b == b',').map(<[u8]>::trim_ascii))
    }

    /// Returns a header as it stands, the first of its name.
    pub(crate) fn first(&self, name: &str) -> Option<&[u8]> {
        let is_named = |header: &&(String, Vec<u8>)| header.0.eq_ignore_ascii_case(name);
        let header = self.headers.iter().find(is_named);
        header.map(|(_, value)| value.as_slice())
    }

    /// Returns the delay that `Retry-After` asks for (RFC 9110 §10.2.3).
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.first("retry-after").and_then(retry_after)
    }

    /// Returns whether one of the values of a header is `token`, in any case.
    pub(crate) fn has(&self, name: &'static str, token: &str) -> bool {
        self.values(name)
            .any(|value| value.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Creates the error of a status that is no success. Of a redirect, it shows the scheme and the
/// host of its `Location`, and the path if it is the requested one: the rest may hold secrets.
pub(crate) fn status_of(
    peer: &str,
    status: u16,
    location: Option<&[u8]>,
    path: Option<&str>,
    redactor: &Redactor,
) -> String {
    let target = location
        .filter(|_| (300..400).contains(&status))
        .and_then(|location| target(location, path));
    match target {
        Some(target) => {
            let target = redactor.redact(&target);
            format!("HTTP {status} from {peer}, a redirect to {target}")
        }
        None => format!("HTTP {status} from {peer}"),
    }
}

/// Returns the parts of a URL that may be shown, if it has a host (RFC 3986 §3.2).
fn target(url: &[u8], path: Option<&str>) -> Option<String> {
    let url = str::from_utf8(url).ok()?.trim();
    let (scheme, rest) = url.split_once("//")?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = authority.rsplit('@').next()?;
    let is_scheme = |b: u8| b.is_ascii_alphanumeric();
    let is_absolute = match scheme.strip_suffix(':') {
        Some(scheme) => scheme.bytes().all(is_scheme),
        None => scheme.is_empty(),
    };
    let path = path.filter(|path| *path == rest).unwrap_or_default();
    (is_absolute && HostPort::parse(host, 443).is_ok()).then(|| format!("{scheme}//{host}{path}"))
}

/// Returns the time that a Retry-After asks to wait: seconds, or until a date (RFC 9110 §10.2.3).
pub(crate) fn retry_after(value: &[u8]) -> Option<Duration> {
    let text = str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // A number too great to read counts as longest delay.
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = date(value)?;
    Some(date.duration_since(clock::now()).unwrap_or_default())
}

/// Returns a date as in a Date or a Retry-After (RFC 9110 §5.6.7).
pub(crate) fn date(value: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(value).ok()?.trim();
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a head of this length, whose last bytes come one by one.
    fn head(length: usize, is_whole: bool) -> Result<Head, ErrorKind> {
        struct Slow(Vec<u8>);

        impl Read for Slow {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let n = self.0.len().saturating_sub(10).max(1);
                let n = n.min(out.len()).min(self.0.len());
                out[..n].copy_from_slice(&self.0[..n]);
                self.0.drain(..n);
                Ok(n)
            }
        }

        let (begin, end) = ("HTTP/1.1 200 OK\r\nX: ", "\r\n\r\n");
        let filling = "x".repeat(length - begin.len() - end.len());
        let end = if is_whole { end } else { "xxxx" };
        let text = format!("{begin}{filling}{end}");
        Head::read(&mut Slow(text.into_bytes())).map_err(|error| error.kind())
    }

    #[test]
    fn a_head_has_an_end_before_long() {
        for length in [30, 2000, MAX_LENGTH] {
            let head = head(length, true).unwrap();
            assert_eq!((head.status, head.rest.len()), (200, 0));
        }
        // Its last byte is what tells that it is whole.
        assert!(head(MAX_LENGTH + 1, true).is_ok());
        assert_eq!(
            head(MAX_LENGTH + 2, true).err(),
            Some(ErrorKind::InvalidData)
        );
        assert_eq!(head(100, false).err(), Some(ErrorKind::UnexpectedEof));
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
        for status in ["101", "200"] {
            let text = format!("{interim}HTTP/1.1 {status} x\r\nA: b\r\n\r\nrest");
            let head = Head::read(&mut text.as_bytes()).unwrap();
            assert_eq!(head.status.to_string(), status);
            assert_eq!(
                (head.first("a"), &head.rest[..]),
                (Some(&b"b"[..]), &b"rest"[..])
            );
        }
        let endless = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
        let error = Head::read(&mut endless.as_bytes()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_redirect_is_reported_with_its_host() {
        let mut redactor = Redactor::default();
        redactor.hide("hunter2");
        let told =
            |location: &[u8]| status_of("peer", 302, Some(location), Some("/session"), &redactor);
        for (location, target) in [
            (
                "https://login.example.com/?token=t",
                "https://login.example.com",
            ),
            ("http://u:p@[::1]:8080", "http://[::1]:8080"),
            ("//other/session", "//other/session"),
            ("https://new/session", "https://new/session"),
            ("https://new/session?token=t", "https://new"),
            ("https://new/session/t", "https://new"),
            (
                "https://hunter2.example.com/",
                "https://[redacted].example.com",
            ),
        ] {
            let text = format!("HTTP 302 from peer, a redirect to {target}");
            assert_eq!(told(location.as_bytes()), text);
        }
        for none in [
            "/session",
            "/a//b",
            "/a://b",
            "a//b",
            "a b://c",
            "https://",
            "https://h\u{e9}/",
            "",
        ] {
            assert_eq!(told(none.as_bytes()), "HTTP 302 from peer");
        }
        let long = told(format!("https://{}/", "h".repeat(15_000)).as_bytes());
        assert!(long.len() < 250 && long.ends_with("hhh..."), "{long}");
        let location = Some(&b"https://h/session"[..]);
        let none = status_of("peer", 404, location, None, &redactor);
        assert_eq!(none, "HTTP 404 from peer");
        let text = "HTTP 302 from peer, a redirect to https://h";
        assert_eq!(status_of("peer", 302, location, None, &redactor), text);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(b" 120 "), Some(Duration::from_secs(120)));
        let too_great = b"99999999999999999999";
        assert_eq!(retry_after(too_great), Some(Duration::MAX));
        let soon = httpdate::fmt_http_date(clock::now() + Duration::from_secs(100));
        let left = retry_after(soon.as_bytes()).unwrap().as_secs();
        assert!((90..=100).contains(&left), "{left}");
        let past = b"Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after(past), Some(Duration::ZERO));
        for none in [&b"soon"[..], b"", b"-1", b"\xff"] {
            assert_eq!(retry_after(none), None);
        }
    }
}
