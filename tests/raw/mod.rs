//! A service that is played step by step, in the clear.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use octave_ws::{Config, Credentials, Token};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::ioctl::{Getter, Opcode, ioctl};
use tungstenite::Message;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket};

pub(crate) type Socket<'a> = WebSocket<&'a TcpStream>;

/// What a service does on a connection whose socket is open.
pub(crate) type Part = dyn FnOnce(&TcpStream, Socket<'_>) + Send;

/// Plays a service on a thread of its own, to whom the first connections belong: one each.
/// Returns its endpoint, and what is joined for its panics.
pub(crate) fn play<const N: usize>(parts: [Box<Part>; N]) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        for part in parts {
            let tcp = accept(&listener);
            tcp.set_nodelay(true).unwrap();
            part(&tcp, open(&tcp));
        }
    });
    (endpoint, thread)
}

/// The next connection, which a client that has failed would not make.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    let ready = poll(&mut fds, Some(&Duration::from_secs(60).try_into().unwrap()));
    assert_eq!(ready, Ok(1), "nobody connects");
    listener.accept().unwrap().0
}

/// What leads a client there.
pub(crate) fn config(endpoint: &str) -> Config {
    Config::new(Credentials::new("demo", Token::new("raw-token")))
        .endpoint(endpoint)
        .allow_plaintext()
}

/// Gives a session and opens its socket.
pub(crate) fn open(tcp: &TcpStream) -> Socket<'_> {
    let mut requests = BufReader::new(tcp);
    request(&mut requests);
    give_session(tcp);
    upgraded(tcp, &request(&mut requests))
}

pub(crate) fn give_session(mut tcp: &TcpStream) {
    let body = r#"{"head":{"ok":true},"body":{"id":"a"}}"#;
    let length = body.len();
    let answer = format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n\r\n{body}");
    tcp.write_all(answer.as_bytes()).unwrap();
}

/// Answers an upgrade.
pub(crate) fn upgraded<'a>(tcp: &'a TcpStream, upgrade: &str) -> Socket<'a> {
    upgraded_with(tcp, upgrade, "")
}

/// Answers an upgrade with more lines.
pub(crate) fn upgraded_with<'a>(mut tcp: &'a TcpStream, upgrade: &str, more: &str) -> Socket<'a> {
    let (_, key) = upgrade.split_once("Sec-WebSocket-Key: ").unwrap();
    let accept = derive_accept_key(key.lines().next().unwrap().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    );
    tcp.write_all(answer.as_bytes()).unwrap();
    WebSocket::from_raw_socket(tcp, Role::Server, None)
}

/// The head of a request, whose body is read.
pub(crate) fn request(requests: &mut BufReader<&TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(requests.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let lower = head.to_ascii_lowercase();
    if let Some((_, length)) = lower.split_once("content-length: ") {
        let length = length.lines().next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        requests.read_exact(&mut body).unwrap();
    }
    head
}

/// Grants what a client asks for.
pub(crate) fn grant(socket: &mut Socket<'_>, request: &Message) {
    let text = request.to_text().unwrap();
    let (_, id) = text.split_once(r#""msgId":""#).unwrap();
    let (id, _) = id.split_once('"').unwrap();
    let ack = format!(r#"{{"head":{{"msgId":"{id}","ok":true}}}}"#);
    socket.send(Message::text(ack)).unwrap();
}

/// Waits until the peer's system has acknowledged all that was sent.
pub(crate) fn wait_until_delivered(tcp: &TcpStream) {
    let end = Instant::now() + Duration::from_secs(60);
    while undelivered(tcp) > 0 {
        assert!(Instant::now() < end, "sent, and never acknowledged");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The number of bytes sent and not yet acknowledged.
#[allow(unsafe_code, reason = "no crate here wraps SIOCOUTQ")]
#[allow(clippy::cast_possible_truncation, reason = "a C constant")]
fn undelivered(tcp: &TcpStream) -> libc::c_int {
    // The name of SIOCOUTQ for terminals; the number is the same.
    const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;
    // SAFETY: the system writes an int, and reads nothing.
    unsafe { ioctl(tcp, Getter::<SIOCOUTQ, libc::c_int>::new()) }.unwrap()
}

/// Reads on, and answers pings and a close, to the end of the connection.
pub(crate) fn serve_out(socket: &mut Socket<'_>) {
    while let Ok(message) = socket.read() {
        if message.is_text() {
            grant(socket, &message);
        }
    }
}

/// Grants the next request.
pub(crate) fn grant_next(socket: &mut Socket<'_>) {
    let request = socket.read().unwrap();
    grant(socket, &request);
}
