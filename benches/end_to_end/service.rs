//! A service that sends events as fast as they are read, so that its clients can be measured.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use flate2::{Compress, Compression, FlushCompress};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;
use tungstenite::handshake::derive_accept_key;

use crate::TEMPERATURE;

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// The events of one client, all the same. They follow the answer to its first request, and then a
/// close with 1000.
#[derive(Clone, Copy)]
pub(crate) struct Events {
    pub(crate) count: u32,
    /// The size of a message in bytes, at least 256.
    pub(crate) size: usize,
    pub(crate) records: Records,
}

/// How frames are packed into TLS records.
#[derive(Clone, Copy)]
pub(crate) enum Records {
    /// As many as fit.
    Full,
    /// The same, of messages that are compressed and differ.
    Compressed,
    /// Each frame in a record of its own, as from a service that writes event by event.
    Single,
}

/// A running service, to the end of the process.
pub(crate) struct Service {
    endpoint: String,
    /// Holds the CA certificate and an empty config file.
    folder: TempDir,
}

impl Service {
    pub(crate) fn start(events: Events) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("config.json"), "{}").unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let tls = Arc::new(tls);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for tcp in listener.incoming() {
                let tls = ServerConnection::new(Arc::clone(&tls)).unwrap();
                let tls = StreamOwned::new(tls, tcp.unwrap());
                // A client may leave at any time.
                thread::spawn(move || serve(tls, events));
            }
        });
        Self { endpoint, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sets the variables by which a command finds this service.
    pub(crate) fn configure<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("OCTAVE_ENDPOINT", &self.endpoint)
            .env("OCTAVE_COMPANY", "demo")
            .env("OCTAVE_TOKEN", "bench")
            .env("OCTAVE_CA_FILE", self.folder().join("ca.pem"))
            .env("OCTAVE_CONFIG", self.folder().join("config.json"))
    }
}

fn serve(tls: Tls, events: Events) -> io::Result<()> {
    const SESSION: &str = r#"{"head":{"ok":true},"body":{"id":"bench"}}"#;

    let mut tls = BufReader::new(tls);
    loop {
        let head = read_head(&mut tls)?;
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim())
        };
        let Some(key) = header("Sec-WebSocket-Key") else {
            let length = header("Content-Length").and_then(|length| length.parse().ok());
            io::copy(&mut (&mut tls).take(length.unwrap_or(0)), &mut io::sink())?;
            let length = SESSION.len();
            let answer = format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n\r\n");
            tls.get_mut().write_all((answer + SESSION).as_bytes())?;
            continue;
        };
        let accept = derive_accept_key(key.as_bytes());
        let extension = match events.records {
            Records::Compressed => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            _ => "",
        };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{extension}\r\n"
        );
        tls.get_mut().write_all(answer.as_bytes())?;
        let id = read_msg_id(&mut tls)?;
        let ack = format!(r#"{{"head":{{"msgId":"{id}","ok":true}}}}"#);
        tls.get_mut().write_all(&frame(&ack))?;
        return send(tls.get_mut(), events);
    }
}

fn read_head(tls: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if tls.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// Reads one short masked frame (RFC 6455 §5.2), a request, and returns its `msgId`.
fn read_msg_id(tls: &mut impl Read) -> io::Result<String> {
    let mut header = [0; 2];
    tls.read_exact(&mut header)?;
    let length = match header[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            tls.read_exact(&mut length)?;
            usize::from(u16::from_be_bytes(length))
        }
        length => usize::from(length),
    };
    let mut mask = [0; 4];
    tls.read_exact(&mut mask)?;
    let mut text = vec![0; length];
    tls.read_exact(&mut text)?;
    for (byte, mask) in text.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    let request: serde_json::Value = serde_json::from_slice(&text)?;
    Ok(request["msgId"].as_str().unwrap_or_default().to_owned())
}

fn send(tls: &mut Tls, events: Events) -> io::Result<()> {
    /// At most so many bytes at once, but at least one frame.
    const CHUNK: usize = 32 << 10;

    if let Records::Compressed = events.records {
        let compressed = compressed(events.size);
        for _ in 0..events.count / TOGETHER {
            tls.write_all(&compressed)?;
            tls.flush()?;
        }
        return end(tls);
    }
    let frame = frame(&event(events.size));
    let most = u32::try_from(CHUNK / frame.len()).unwrap().max(1);
    let mut left = events.count;
    while left > 0 {
        let now = most.min(left);
        left -= now;
        match events.records {
            Records::Full | Records::Compressed => tls.write_all(&frame.repeat(now as usize))?,
            Records::Single => {
                for _ in 0..now {
                    tls.conn.writer().write_all(&frame)?;
                }
            }
        }
        tls.flush()?;
    }
    end(tls)
}

fn end(tls: &mut Tls) -> io::Result<()> {
    tls.write_all(&[0x88, 2, 0x03, 0xe8])?;
    tls.conn.send_close_notify();
    tls.flush()?;
    tls.sock.shutdown(Shutdown::Write)?;
    // Closed with something unread, TCP would drop what the client has not read.
    io::copy(tls, &mut io::sink()).map(drop)
}

/// Number of compressed messages that refer to each other.
const TOGETHER: u32 = 1000;

/// Frames of that many messages, of which the first refers to none.
fn compressed(size: usize) -> Vec<u8> {
    let mut compress = Compress::new(Compression::default(), false);
    let mut frames = Vec::new();
    for n in 0..TOGETHER {
        let text = event(size).replace(
            "1707870487000",
            &(1_707_870_487_000 + 1009 * u64::from(n)).to_string(),
        );
        let mut payload = Vec::with_capacity(2 * size);
        compress
            .compress_vec(text.as_bytes(), &mut payload, FlushCompress::Sync)
            .unwrap();
        payload.truncate(payload.len() - 4);
        let mut frame = frame_of(&payload);
        frame[0] |= 0x40;
        frames.extend(frame);
    }
    frames
}

/// An event of this size.
fn event(size: usize) -> String {
    const ID: &str = "s53b1d1600cf27b75148de0ac";
    let begin = format!(
        r#"{{"type":"message","resource":"{ID}","value":{{"creationDate":1707870487000,"elems":{{"pad":""#
    );
    let end = format!(
        r#""}},"generatedDate":1707870487000,"id":"e65cc05d3b9b2c5e4a7f0d1a2","path":"{TEMPERATURE}","streamId":"{ID}"}}}}"#
    );
    let pad = size - begin.len() - end.len();
    [begin, "x".repeat(pad), end].concat()
}

/// A text in a frame (RFC 6455 §5.2).
fn frame(text: &str) -> Vec<u8> {
    frame_of(text.as_bytes())
}

fn frame_of(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        length @ 0..126 => frame.extend(u8::try_from(length)),
        length => {
            if let Ok(length) = u16::try_from(length) {
                frame.push(126);
                frame.extend(length.to_be_bytes());
            } else {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
    }
    frame.extend(payload);
    frame
}
