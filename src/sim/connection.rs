use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;

use super::chunked::Chunked;
use super::cloud::Credentials;
use super::compression::Compressor;
use super::fault::Fault;
use super::history;
use super::history_fault::HistoryFault;
use super::http::{Request, respond, respond_with};
use super::log::ClientAction;
use super::shared::{Log, Shared, refusal};
use super::socket;
use crate::wait::ended::WaitEnded;
use crate::wait::sockets;

/// A connection on which nothing is asked for so long is closed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves one TCP connection to its end.
pub(super) fn serve(tcp: TcpStream, peer: SocketAddr, shared: &Shared) {
    let observer = shared.observer.as_ref();
    let log = Log { observer, peer };
    log.saw(ClientAction::Connected);
    let end = handshake(tcp, shared, &log).and_then(|mut link| requests(&mut link, shared, &log));
    let how = match end {
        Ok(()) => None,
        Err(error) if WaitEnded::is_stop(&error) => Some("the stand-in stops".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    log.saw(ClientAction::Disconnected(how));
}

fn handshake<'a>(tcp: TcpStream, shared: &'a Shared, log: &Log<'_>) -> io::Result<Link<'a>> {
    tcp.set_nonblocking(true)?;
    tcp.set_nodelay(true)?;
    let server = shared.authority.server(tcp.local_addr()?.ip())?;
    let tls = ServerConnection::new(server).map_err(io::Error::other)?;
    let mut link = Link {
        tls: StreamOwned::new(tls, tcp),
        shared,
        is_slow: false,
    };
    while link.tls.conn.is_handshaking() {
        link.patiently(|tls| tls.conn.complete_io(&mut tls.sock).map(drop))?;
    }
    log.saw(ClientAction::handshake(link.tls.conn.handshake_kind()));
    Ok(link)
}

/// Answers requests until the connection ends, or becomes a WebSocket and that ends.
fn requests(link: &mut Link<'_>, shared: &Shared, log: &Log<'_>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = Request::read(link, &mut buffer)? {
        let path: Vec<&str> = request.path().split('/').skip(1).collect();
        if let ["v5.0", company, "event", ref id @ ..] = path[..] {
            let answer = history::answer(&request, company, id.first().copied(), shared, log)?;
            let Some(answer) = answer else {
                return link.swallow(log);
            };
            if link.show(&request, &answer)? {
                continue;
            }
            break;
        }
        let answer = match path[..] {
            ["session"] if request.method() != "POST" => Err((405, "/session takes a POST")),
            ["session"] => session(&request, shared, log)?,
            ["session", _, "ws"] if !wants_socket(&request) => {
                Err((426, "this URL is for WebSockets"))
            }
            ["session", id, "ws"]
                if !shared.has(Fault::Expire) && shared.cloud.take_session(id) =>
            {
                let raw = shared.faults().iter().find_map(|fault| match fault {
                    Fault::UpgradeRaw(head, rest) => Some((*head, *rest)),
                    _ => None,
                });
                if let Some((head, rest)) = raw {
                    let head = head.replace("{accept}", &socket::accept_key(&request));
                    link.write_all(&[head.as_bytes(), rest].concat())?;
                    link.flush()?;
                    return link.swallow(log);
                }
                if shared.has(Fault::UpgradeSilent) {
                    return link.swallow(log);
                }
                let compressor = Some(&request)
                    .filter(|_| shared.compression)
                    .and_then(Compressor::accept);
                socket::accept(link, &request, compressor.as_ref())?;
                log.saw(ClientAction::Opened(start_of(id)));
                let stream = Chunked::new(&mut link.tls, buffer);
                return socket::serve(stream, compressor, shared, log);
            }
            ["session", _, "ws"] => Err((404, "no such session, or it was used")),
            _ => Err((
                404,
                "The requested resource could not be located at this address.",
            )),
        };
        let last = request.has("connection", "close") || shared.has(Fault::SessionClose);
        let made_up = shared.faults().iter().find_map(|fault| match fault {
            Fault::SessionAnswer(status, body) => Some((*status, *body)),
            _ => None,
        });
        let raw = shared.faults().iter().find_map(|fault| match fault {
            Fault::SessionRaw(text) => Some(*text),
            _ => None,
        });
        if let (Ok(id), Some(raw)) = (&answer, raw) {
            link.write_all(raw.replace("{id}", id).as_bytes())?;
            break;
        }
        match answer {
            Ok(_) if shared.has(Fault::SessionSilent) => return link.swallow(log),
            Ok(id) => {
                let head = r#"{"ok":true,"status":201,"errors":[]}"#;
                let good = format!(r#"{{"head":{head},"body":{{"id":"{id}"}}}}"#);
                let (status, body) = made_up.unwrap_or((201, &good));
                respond(link, status, last, body)?;
            }
            Err((status, error)) => {
                let method = request.method();
                let place = path.first().copied().unwrap_or_default();
                let request = format!("{method} /{place}");
                log.saw(ClientAction::Refused { request, status });
                respond(link, status, last, &refusal(&Value::Null, status, error))?;
            }
        }
        if last || shared.has(Fault::SessionDrop) {
            break;
        }
    }
    link.tls.conn.send_close_notify();
    link.flush()
}

type Answer = Result<String, (u16, &'static str)>;

fn session(request: &Request, shared: &Shared, log: &Log<'_>) -> io::Result<Answer> {
    let header = |name| request.header(name).map(str::to_owned);
    let credentials = Credentials {
        user: header("x-auth-user"),
        company: header("x-auth-company"),
        token: header("x-auth-token"),
    };
    Ok(match shared.cloud.open_session(&credentials)? {
        Some(id) => {
            log.saw(ClientAction::Session(start_of(&id)));
            Ok(id)
        }
        None => Err((400, "invalid credentials")),
    })
}

fn wants_socket(request: &Request) -> bool {
    request.method() == "GET"
        && request.has("connection", "upgrade")
        && request.has("upgrade", "websocket")
        && request.header("sec-websocket-version") == Some("13")
        && request.header("sec-websocket-key").is_some()
}

/// Returns the part of a session id that may be shown.
fn start_of(id: &str) -> String {
    id.chars().take(6).collect()
}

/// A client's TLS over a socket that does not block. Through it reads and writes wait.
pub(super) struct Link<'a> {
    tls: StreamOwned<ServerConnection, TcpStream>,
    shared: &'a Shared,
    /// Whether bytes are sent one by one.
    is_slow: bool,
}

impl Link<'_> {
    /// Reads on and never answers.
    fn swallow(&mut self, log: &Log<'_>) -> io::Result<()> {
        log.saw(ClientAction::Ignored);
        while self.read(&mut [0; 1024])? > 0 {}
        Ok(())
    }

    /// Answers a request for events. Returns whether another one may follow.
    fn show(&mut self, request: &Request, answer: &history::Answer) -> io::Result<bool> {
        let last = request.has("connection", "close");
        self.is_slow = self.shared.has_of_history(HistoryFault::Slow);
        let history::Answer {
            status,
            headers,
            body,
            torn,
        } = answer;
        respond_with(self, *status, last, headers, body, *torn)?;
        self.is_slow = false;
        Ok(!last && torn.is_none())
    }

    fn patiently<T>(
        &mut self,
        mut act: impl FnMut(&mut StreamOwned<ServerConnection, TcpStream>) -> io::Result<T>,
    ) -> io::Result<T> {
        let deadline = Some(Instant::now() + PATIENCE);
        loop {
            self.shared.thaw()?;
            match act(&mut self.tls) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            let blocked = self.tls.conn.wants_write();
            let what = if blocked {
                PollFlags::OUT
            } else {
                PollFlags::IN
            };
            sockets::wait(&self.tls.sock, what, Some(&self.shared.stop), deadline)?;
        }
    }
}

impl Read for Link<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.patiently(|tls| tls.read(out))
    }
}

impl Write for Link<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.is_slow || self.shared.has(Fault::Slow) {
            let stop = Some(&self.shared.stop);
            let pause = Some(Instant::now() + Duration::from_millis(5));
            // The stop alone is waited for: nothing is ever readable of what this polls.
            match sockets::wait(&self.tls.sock, PollFlags::empty(), stop, pause) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => done?,
            }
            let byte = &data[..data.len().min(1)];
            let n = self.patiently(|tls| tls.write(byte))?;
            self.flush()?;
            return Ok(n);
        }
        self.patiently(|tls| tls.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.patiently(|tls| tls.flush())
    }
}
