use std::io::{self, Read, Write};
use std::time::SystemTime;

const MAX_HEAD: usize = 16 << 10;
const MAX_BODY: usize = 64 << 10;

/// A request; its body has been read and left out.
pub(super) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Reads the next request of a connection, `None` where the connection ends before it. What
    /// was read beyond it stays in `buffer`.
    ///
    /// # Errors
    /// I/O errors of the connection, and `InvalidData` for bytes that are not an HTTP request.
    pub(super) fn read(
        connection: &mut impl Read,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<Self>> {
        let (request, used) = loop {
            if let Some(parsed) = Self::parse(buffer)? {
                break parsed;
            }
            if buffer.len() > MAX_HEAD {
                return Err(invalid("the head of the request is too long"));
            }
            if fill(connection, buffer)? == 0 {
                if buffer.is_empty() {
                    return Ok(None);
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let length = match request.header("content-length").map(str::parse) {
            None if request.header("transfer-encoding").is_some() => {
                return Err(invalid("the body of the request is chunked"));
            }
            None => 0,
            Some(Ok(length)) if length <= MAX_BODY => length,
            Some(_) => return Err(invalid("the body of the request is too long")),
        };
        while buffer.len() < used + length {
            if fill(connection, buffer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        buffer.drain(..used + length);
        Ok(Some(request))
    }

    fn parse(buffer: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed
            .parse(buffer)
            .map_err(|error| invalid(&error.to_string()))?
        {
            httparse::Status::Partial => Ok(None),
            httparse::Status::Complete(used) => {
                let header = |header: &httparse::Header<'_>| {
                    let value = String::from_utf8_lossy(header.value).into_owned();
                    (header.name.to_owned(), value)
                };
                let request = Self {
                    method: parsed.method.unwrap_or_default().to_owned(),
                    target: parsed.path.unwrap_or_default().to_owned(),
                    headers: parsed.headers.iter().map(header).collect(),
                };
                Ok(Some((request, used)))
            }
        }
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// Returns the path that was asked for, without what follows a question mark.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns what follows the question mark.
    pub(super) fn query(&self) -> &str {
        let halves = self.target.split_once('?');
        halves.map_or("", |(_, query)| query)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the comma-separated values of a header.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self
            .headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.flat_map(|(_, value)| value.split(',').map(str::trim))
    }

    /// Returns whether one of the comma-separated values of a header is `token`.
    pub(super) fn has(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .any(|other| other.eq_ignore_ascii_case(token))
    }
}

/// Writes an answer with a JSON body in one piece. It says whether it `is_last` on the connection.
pub(super) fn respond(
    connection: &mut impl Write,
    status: u16,
    is_last: bool,
    body: &str,
) -> io::Result<()> {
    respond_with(connection, status, is_last, &[], body.as_bytes(), None)
}

/// Does the same with further headers, and up to `torn` bytes of the body.
pub(super) fn respond_with(
    connection: &mut impl Write,
    status: u16,
    is_last: bool,
    headers: &[&str],
    body: &[u8],
    torn: Option<usize>,
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        _ => "",
    };
    let length = body.len();
    let connection_header = if is_last { "Connection: close\r\n" } else { "" };
    let date = httpdate::fmt_http_date(SystemTime::now());
    let headers: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
    let mut answer = format!(
        "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{connection_header}{headers}\r\n"
    )
    .into_bytes();
    answer.extend_from_slice(&body[..torn.unwrap_or(length)]);
    connection.write_all(&answer)?;
    connection.flush()
}

fn fill(connection: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    let n = connection.read(&mut chunk)?;
    buffer.extend_from_slice(&chunk[..n]);
    Ok(n)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
