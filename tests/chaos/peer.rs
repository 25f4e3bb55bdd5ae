//! One connection of a service, byte by byte.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustls::{ServerConfig, ServerConnection};
use tungstenite::handshake::derive_accept_key;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// As long as no answer takes.
const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Peer {
    pub(crate) tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// What has come in and was not taken yet.
    coming: Vec<u8>,
}

/// A frame of a server.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(u8::try_from(length).unwrap()),
        length @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

impl Peer {
    pub(crate) fn accept(tcp: TcpStream, config: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(LONG))?;
        tcp.set_write_timeout(Some(LONG))?;
        let tls = config.map(|config| Box::new(ServerConnection::new(config).unwrap()));
        let mut peer = Self {
            tcp,
            tls,
            coming: Vec::new(),
        };
        if let Some(tls) = &mut peer.tls {
            while tls.is_handshaking() {
                tls.complete_io(&mut peer.tcp)?;
            }
        }
        Ok(peer)
    }

    /// What these bytes are on the wire: one record, where it takes them.
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(tls) = &mut self.tls else {
            return bytes.to_vec();
        };
        let mut wire = Vec::new();
        for part in bytes.chunks(16 << 10) {
            tls.writer().write_all(part).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut wire).unwrap();
            }
        }
        wire
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Writes bytes in one go.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let wire = self.seal(bytes);
        self.tcp.write_all(&wire)
    }

    /// Reads what comes within this time. False at the end.
    fn pull(&mut self, time: Duration) -> io::Result<bool> {
        let mut bytes = [0; 16 << 10];
        // What came with the end of the handshake.
        if let Some(tls) = &mut self.tls
            && let Ok(n @ 1..) = tls.reader().read(&mut bytes)
        {
            self.coming.extend(&bytes[..n]);
            return Ok(true);
        }
        let mut fds = [PollFd::new(&self.tcp, PollFlags::IN)];
        if poll(&mut fds, Some(&time.try_into().unwrap()))? == 0 {
            return Ok(true);
        }
        let n = match &mut self.tls {
            None => self.tcp.read(&mut bytes)?,
            Some(tls) => {
                let read = tls.read_tls(&mut self.tcp)?;
                tls.process_new_packets().map_err(io::Error::other)?;
                while tls.wants_write() {
                    tls.write_tls(&mut self.tcp)?;
                }
                match tls.reader().read(&mut bytes) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock && read > 0 => {
                        return Ok(true);
                    }
                    done => done?,
                }
            }
        };
        self.coming.extend(&bytes[..n]);
        Ok(n > 0)
    }

    /// The head of a request, whose body is taken.
    pub(crate) fn request(&mut self) -> io::Result<String> {
        let end = Instant::now() + LONG;
        loop {
            let text = String::from_utf8_lossy(&self.coming).into_owned();
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                let lower = head.to_ascii_lowercase();
                let length = lower
                    .split_once("content-length: ")
                    .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
                if self.coming.len() >= head.len() + 4 + length {
                    self.coming.drain(..head.len() + 4 + length);
                    return Ok(head.to_owned());
                }
            }
            if Instant::now() > end || !self.pull(LONG)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next frame of the client, if one comes within this time.
    pub(crate) fn frame(&mut self, time: Duration) -> io::Result<Option<(u8, Vec<u8>)>> {
        let end = Instant::now() + time;
        loop {
            if let Some(found) = self.take_frame() {
                return Ok(Some(found));
            }
            let left = end.saturating_duration_since(Instant::now());
            if !self.pull(left)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if left.is_zero() && self.take_frame_length().is_none() {
                return Ok(None);
            }
        }
    }

    /// How long the header is, and the payload, of a frame that is whole.
    fn take_frame_length(&self) -> Option<(usize, usize)> {
        let second = usize::from(*self.coming.get(1)? & 0x7f);
        let (head, length) = match second {
            126 => (
                8,
                usize::from(u16::from_be_bytes(self.coming.get(2..4)?.try_into().ok()?)),
            ),
            length => (6, length),
        };
        (self.coming.len() >= head + length).then_some((head, length))
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (head, length) = self.take_frame_length()?;
        let frame: Vec<u8> = self.coming.drain(..head + length).collect();
        let (header, payload) = frame.split_at(head);
        let mask = &header[head - 4..];
        let payload = payload.iter().zip(mask.iter().cycle());
        Some((
            header[0] & 0xf,
            payload.map(|(byte, mask)| byte ^ mask).collect(),
        ))
    }
}

/// The answer that gives this session.
pub(crate) fn session(id: &str) -> String {
    let body = format!(r#"{{"head":{{"ok":true}},"body":{{"id":"{id}"}}}}"#);
    let length = body.len();
    format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The answer to an upgrade.
pub(crate) fn upgrade(request: &str) -> String {
    let (_, key) = request.split_once("Sec-WebSocket-Key: ").unwrap();
    let accept = derive_accept_key(key.lines().next().unwrap().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}
