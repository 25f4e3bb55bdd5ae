use std::io::{self, ErrorKind, Read};

/// The framing of a body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// This number of bytes.
    Length(u64),
    Chunked,
    /// Everything until the connection ends.
    ToTheEnd,
}

/// Reads a body whose beginning has been read into `bytes`. Leaves the bytes after it there.
///
/// # Errors
/// I/O errors of the connection; `UnexpectedEof` for its end; `InvalidData` for invalid chunks;
/// `FileTooLarge` for more than `most` bytes of body or framing.
pub(crate) fn read(
    connection: &mut impl Read,
    bytes: &mut Vec<u8>,
    framing: Framing,
    most: usize,
) -> io::Result<Vec<u8>> {
    let mut input = Input {
        connection,
        bytes,
        used: 0,
        most,
    };
    let body = match framing {
        Framing::Length(length) => {
            let length = usize::try_from(length).map_err(|_| ErrorKind::FileTooLarge)?;
            input.take(length)?
        }
        Framing::Chunked => input.chunks()?,
        Framing::ToTheEnd => {
            while input.more()? > 0 {}
            input.take(input.bytes.len())?
        }
    };
    let used = input.used;
    bytes.drain(..used);
    Ok(body)
}

struct Input<'a, C> {
    connection: &'a mut C,
    bytes: &'a mut Vec<u8>,
    used: usize,
    most: usize,
}

impl<C: Read> Input<'_, C> {
    /// Reads more, and returns how much: nothing at the end.
    fn more(&mut self) -> io::Result<usize> {
        if self.bytes.len() > self.most {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let mut chunk = [0; 4096];
        let n = self.connection.read(&mut chunk)?;
        self.bytes.extend_from_slice(&chunk[..n]);
        Ok(n)
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > self.most {
            return Err(ErrorKind::FileTooLarge.into());
        }
        while self.bytes.len() - self.used < length {
            if self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let taken = self.bytes[self.used..][..length].to_vec();
        self.used += length;
        Ok(taken)
    }

    /// Returns a line without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let rest = &self.bytes[self.used..];
            if let Some(end) = rest.iter().position(|&b| b == b'\n') {
                let line = self.take(end + 1)?;
                return Ok(line.trim_ascii_end().to_vec());
            }
            if self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Chunks and trailers, RFC 9112 §7.1.
    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(|&b| b == b';').next().unwrap_or_default();
            let size = str::from_utf8(size.trim_ascii()).unwrap_or_default();
            // Not what an integer may begin with: a sign.
            let is_hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
            let size = usize::from_str_radix(size, 16).ok().filter(|_| is_hex);
            let size = size.ok_or(ErrorKind::InvalidData)?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size)?);
            if !self.line()?.is_empty() {
                return Err(ErrorKind::InvalidData.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection over which bytes come one by one.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut out[..1])
        }
    }

    /// Reads a body from these bytes, the first `first` of which have arrived already; returns it
    /// and the rest.
    fn body(text: &[u8], framing: Framing, first: usize) -> Result<(Vec<u8>, Vec<u8>), ErrorKind> {
        let mut bytes = text[..first].to_vec();
        let body = read(&mut Slow(&text[first..]), &mut bytes, framing, 100);
        body.map(|body| (body, bytes)).map_err(|error| error.kind())
    }

    #[test]
    fn a_body_is_read_to_its_end_and_no_further() {
        let chunks = b"2;x=y\r\nab\r\n 0A \r\n0123456789\r\n0\r\n\r\n";
        for (text, beyond, framing, wanted) in [
            (&b"abcd"[..], "ef", Framing::Length(4), &b"abcd"[..]),
            (b"", "abcd", Framing::Length(0), b""),
            (chunks, "", Framing::Chunked, b"ab0123456789"),
            (b"1\na\n0\nTrailer: x\n\n", "1\n", Framing::Chunked, b"a"),
            (b"all of it", "", Framing::ToTheEnd, b"all of it"),
        ] {
            let all = [text, beyond.as_bytes()].concat();
            for first in 0..=all.len() {
                let (got, left) = body(&all, framing, first).unwrap();
                assert_eq!(got, wanted);
                // Nothing more is read once the body is there.
                assert_eq!(left, all[text.len()..first.max(text.len())]);
            }
        }
    }

    #[test]
    fn an_invalid_body_is_reported() {
        let (eof, invalid, long) = (
            ErrorKind::UnexpectedEof,
            ErrorKind::InvalidData,
            ErrorKind::FileTooLarge,
        );
        let endless = [b'1'; 200];
        for framing in [Framing::Length(100), Framing::ToTheEnd] {
            let (got, _) = body(&endless[..100], framing, 0).unwrap();
            assert_eq!(got.len(), 100);
        }
        for (text, framing, kind) in [
            (&b"abc"[..], Framing::Length(4), eof),
            (b"", Framing::Chunked, eof),
            (b"3\r\nab", Framing::Chunked, eof),
            (b"0\r\n", Framing::Chunked, eof),
            (b"x\r\n", Framing::Chunked, invalid),
            (b"+1\r\na\r\n0\r\n\r\n", Framing::Chunked, invalid),
            (b"\r\n", Framing::Chunked, invalid),
            (b"1\r\nab\r\n0\r\n\r\n", Framing::Chunked, invalid),
            (b"ffffffffffffffffff\r\n", Framing::Chunked, invalid),
            (b"65\r\n", Framing::Chunked, long),
            (b"", Framing::Length(101), long),
            (b"", Framing::Length(u64::MAX), long),
            (&endless, Framing::Chunked, long),
            (&endless, Framing::ToTheEnd, long),
        ] {
            assert_eq!(body(text, framing, 0), Err(kind), "{text:?}");
        }
    }
}
