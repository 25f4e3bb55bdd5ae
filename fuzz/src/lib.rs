//! A service that is right up to one place, where it sends what it is given.
//!
//! Everything goes through real sockets and the library's public face, so that what is found can
//! be met in the field.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use octave_ws::{Config, Credentials, Token};
use tungstenite::handshake::derive_accept_key;

/// Where the service stops being right.
#[derive(Clone, Copy, PartialEq)]
pub enum Place {
    /// The answer to the POST.
    Session,
    /// The answer to the upgrade, behind its status line.
    Upgrade,
    /// All that follows the upgrade.
    Frames,
    /// All that follows the upgrade, which agrees to compression.
    Compressed,
    /// The payload of one text frame after the other, on one connection.
    Message,
}

/// Takes for each connection, or for each message, what to send.
pub struct Service {
    pub config: Config,
    bytes: Sender<Vec<u8>>,
}

impl Service {
    pub fn start(place: Place) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("an address");
        let config = Config::new(Credentials::new("acme", Token::new("secret")))
            .endpoint(format!("http://{at}"))
            .allow_plaintext();
        let (bytes, given) = mpsc::channel();
        thread::spawn(move || {
            for tcp in listener.incoming() {
                // A client that hangs up early is in its right.
                let _ = serve(&tcp.expect("a connection"), place, &given);
            }
        });
        Self { config, bytes }
    }

    pub fn give(&self, bytes: &[u8]) {
        self.bytes.send(bytes.to_vec()).expect("the service runs");
    }
}

fn serve(mut tcp: &TcpStream, place: Place, given: &Receiver<Vec<u8>>) -> io::Result<()> {
    let mut requests = BufReader::new(tcp);
    let next = || given.recv().map_err(io::Error::other);

    let request = head(&mut requests)?;
    if place == Place::Session {
        // It may have given a session, which goes no further.
        let is_session = request.starts_with("POST");
        return last(tcp, &if is_session { next()? } else { Vec::new() });
    }
    tcp.write_all(
        b"HTTP/1.1 201 Created\r\nContent-Length: 21\r\n\r\n{\"body\":{\"id\":\"s-1\"}}",
    )?;
    let request = head(&mut requests)?;
    let key = request.split_once("Sec-WebSocket-Key: ");
    let key = key.and_then(|(_, rest)| rest.lines().next());
    let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
    let mut answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n");
    if place == Place::Upgrade {
        return last(tcp, &[answer.as_bytes(), &next()?].concat());
    }
    answer.push_str("Connection: Upgrade\r\nUpgrade: websocket\r\n");
    if place == Place::Compressed {
        answer.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    }
    answer.push_str("\r\n");
    if matches!(place, Place::Frames | Place::Compressed) {
        return last(tcp, &[answer.as_bytes(), &next()?].concat());
    }
    tcp.write_all(answer.as_bytes())?;
    loop {
        let payload = next()?;
        let length = u16::try_from(payload.len()).map_err(io::Error::other)?;
        tcp.write_all(&[&[0x81, 126][..], &length.to_be_bytes(), &payload].concat())?;
    }
}

/// Sends the last bytes, and ends the connection once the client has.
fn last(mut tcp: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    tcp.write_all(bytes)?;
    tcp.shutdown(Shutdown::Write)?;
    io::copy(&mut tcp, &mut io::sink()).map(drop)
}

/// One request, whose body is none or one line of no interest.
fn head(requests: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if requests.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = head[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    io::copy(&mut requests.take(length), &mut io::sink())?;
    Ok(head)
}
