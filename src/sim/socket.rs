use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use serde_json::Value;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::Utf8Bytes;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocket};
use tungstenite::{Error, Message};

use super::chunked::{Chunked, Tls};
use super::compression::Compressor;
use super::fault::Fault;
use super::http::Request;
use super::log::ClientAction;
use super::shared::{Log, Shared, refusal};
use super::subscriber::{Order, Subscriber};
use crate::wait::poll::{is_ready, poll_until};
use crate::wait::sockets;
use crate::websocket::inflated::{Inflated, Sender};

/// Number of requests that are answered together, if as many have come.
const TOGETHER: u32 = 32;

/// Maximum inflated size of a client's message.
const MAX_MESSAGE: usize = 64 << 20;

/// Answers the upgrade.
pub(super) fn accept(
    link: &mut impl Write,
    request: &Request,
    compressor: Option<&Compressor>,
) -> io::Result<()> {
    let accept = accept_key(request);
    let extension = compressor.map(Compressor::header).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extension}\r\n"
    );
    link.write_all(answer.as_bytes())?;
    link.flush()
}

/// Returns the `Sec-WebSocket-Accept` of a request.
pub(super) fn accept_key(request: &Request) -> String {
    let key = request.header("sec-websocket-key").unwrap_or_default();
    derive_accept_key(key.as_bytes())
}

/// Serves an open WebSocket to its end.
pub(super) fn serve(
    stream: Chunked<'_>,
    compressor: Option<Compressor>,
    shared: &Shared,
    log: &Log<'_>,
) -> io::Result<()> {
    if shared.has(Fault::OneConnection) {
        shared.cloud.hang_up(Some(CloseCode::Policy.into()));
    }
    let subscriber = shared.cloud.join()?;
    let frames = Inflated::new(stream, Sender::Client, compressor.is_some(), MAX_MESSAGE);
    let mut session = Session {
        socket: WebSocket::from_raw_socket(frames, Role::Server, None),
        compressor,
        subscriber,
        shared,
        log,
        granted_at: None,
    };
    let end = session.run();
    shared.cloud.leave(&session.subscriber);
    end
}

/// A client's open socket.
struct Session<'a> {
    socket: WebSocket<Inflated<Chunked<'a>>>,
    compressor: Option<Compressor>,
    subscriber: Arc<Subscriber>,
    shared: &'a Shared,
    log: &'a Log<'a>,
    granted_at: Option<Instant>,
}

impl Session<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            self.shared.thaw()?;
            let blocked = match self.exchange() {
                Ok(blocked) => blocked,
                Err(Error::ConnectionClosed) => {
                    let tls = &mut *self.socket.get_mut().get_mut().tls;
                    tls.conn.send_close_notify();
                    return tls.flush();
                }
                Err(Error::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::other(error)),
            };
            if self.granted_at.is_some() && self.shared.has(Fault::Stall) {
                self.log.saw(ClientAction::Ignored);
                return sockets::wait(&self.shared.stop, PollFlags::IN, None, None);
            }
            let end = self.end();
            if let Some((at, code)) = end
                && at <= Instant::now()
            {
                self.subscriber.hang_up(code);
                self.granted_at = None;
                continue;
            }
            if self.wait(
                blocked,
                end.map(|(at, _)| at)
                    .into_iter()
                    .chain(self.subscriber.due())
                    .min(),
            )? {
                // The close is sent once, without waiting.
                let frame = CloseFrame {
                    code: CloseCode::Away,
                    reason: "the stand-in stops".into(),
                };
                let _ = self.socket.close(Some(frame));
                return Ok(());
            }
        }
    }

    /// Reads and writes as far as it goes without waiting; whether a write is held up.
    fn exchange(&mut self) -> tungstenite::Result<bool> {
        loop {
            let has_come = self.socket.get_mut().get_mut().fill()?;
            // The events before what has come go out before its answers.
            let blocked = self.send_queue(has_come)?;
            if !has_come {
                return Ok(blocked);
            }
            let mut taken = 0_u32;
            while let Some(message) = unless_blocked(self.socket.read())? {
                self.take(message)?;
                taken += 1;
                // The first of many requests is not answered with the last.
                if taken.is_multiple_of(TOGETHER) {
                    unless_blocked(self.socket.flush())?;
                }
            }
        }
    }

    /// Sends what waits for the client, `all` of it even while a write is held up. Returns whether one
    /// is.
    fn send_queue(&mut self, all: bool) -> tungstenite::Result<bool> {
        let mut blocked = unless_blocked(self.socket.flush())?.is_none();
        while (all || !blocked) && self.socket.can_write() {
            let queue = self.subscriber.take();
            if queue.is_empty() {
                break;
            }
            for order in queue {
                match order {
                    Order::Send(text) => {
                        if self.shared.has(Fault::Garbage) {
                            self.send("garbage".to_owned())?;
                        }
                        self.send(text)?;
                    }
                    Order::SendRaw(bytes) => self.send_raw(&bytes)?,
                    Order::Close(code) => {
                        let code = CloseCode::from(code);
                        let reason = Utf8Bytes::default();
                        let frame = CloseFrame { code, reason };
                        unless_blocked(self.socket.close(Some(frame)))?;
                    }
                    Order::Drop => {
                        let dropped = io::Error::other("the stand-in drops it");
                        return Err(Error::Io(dropped));
                    }
                }
            }
            blocked = unless_blocked(self.socket.flush())?.is_none();
        }
        Ok(blocked)
    }

    /// When, and how, a fault ends the connection.
    fn end(&self) -> Option<(Instant, Option<u16>)> {
        let granted_at = self.granted_at?;
        let faults = self.shared.faults();
        let (after, code) = faults.iter().find_map(|fault| fault.end())?;
        Some((granted_at.checked_add(after)?, code))
    }

    /// Waits for something to do; whether it is to stop.
    fn wait(&self, blocked: bool, until: Option<Instant>) -> io::Result<bool> {
        let tls = self.tls();
        let mut io = PollFlags::IN;
        io.set(PollFlags::OUT, blocked || tls.conn.wants_write());
        let mut fds = [
            PollFd::new(&tls.sock, io),
            PollFd::new(&self.shared.stop, PollFlags::IN),
            PollFd::from_borrowed_fd(self.subscriber.as_fd(), PollFlags::IN),
        ];
        let watched = if blocked { 2 } else { 3 };
        poll_until(&mut fds[..watched], until)?;
        Ok(is_ready(&fds[1]))
    }

    fn send(&mut self, text: String) -> tungstenite::Result<()> {
        let message = match &mut self.compressor {
            Some(compressor) => compressor.message(&text),
            None => Message::text(text),
        };
        // The socket keeps unwritten bytes for the next flush.
        unless_blocked(self.socket.write(message)).map(drop)
    }

    /// Writes below the WebSocket, and waits: this thread serves one client.
    fn send_raw(&mut self, mut bytes: &[u8]) -> tungstenite::Result<()> {
        while unless_blocked(self.socket.flush())?.is_none() {
            self.wait_to_write()?;
        }
        while !bytes.is_empty() {
            match self.socket.get_mut().write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if self.tls().conn.wants_write() {
                self.wait_to_write()?;
            }
        }
        Ok(())
    }

    fn tls(&self) -> &Tls {
        self.socket.get_ref().get_ref().tls
    }

    fn wait_to_write(&self) -> io::Result<()> {
        sockets::wait(
            &self.tls().sock,
            PollFlags::OUT,
            Some(&self.shared.stop),
            None,
        )
    }

    fn take(&mut self, message: Message) -> tungstenite::Result<()> {
        match message {
            Message::Text(text) => match self.answer(&text) {
                Some(answer) => self.send(answer),
                None => Ok(()),
            },
            Message::Ping(_) => {
                self.log.saw(ClientAction::Ping);
                Ok(())
            }
            Message::Pong(_) => {
                self.log.saw(ClientAction::Pong);
                Ok(())
            }
            Message::Close(frame) => {
                let code = frame.map(|frame| frame.code.into());
                self.log.saw(ClientAction::Closed(code));
                Ok(())
            }
            Message::Binary(_) | Message::Frame(_) => {
                self.log
                    .saw(ClientAction::Text("a binary frame".to_owned()));
                Ok(())
            }
        }
    }

    /// Returns the answer to a client's text, if it gets one.
    fn answer(&mut self, text: &str) -> Option<String> {
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        let member = |name: &str| request.get(name).and_then(Value::as_str);
        if member("type") == Some("heartbeat") {
            self.log.saw(ClientAction::Heartbeat);
            return None;
        }
        let msg_id = &request["msgId"];
        if member("object") != Some("event") {
            self.log.saw(ClientAction::Text(text.to_owned()));
            return Some(refusal(msg_id, 400, "this is not a request"));
        }
        if self.shared.has(Fault::AckSilent) {
            self.log.saw(ClientAction::Ignored);
            return None;
        }
        match self.act(member("type"), member("streamId"), member("path")) {
            Ok(()) => Some(granted(msg_id)),
            Err((status, reason)) => {
                self.log.saw(ClientAction::NotGranted(reason.clone()));
                Some(refusal(msg_id, status, &reason))
            }
        }
    }

    fn act(
        &mut self,
        action: Option<&str>,
        id: Option<&str>,
        path: Option<&str>,
    ) -> Result<(), (u16, String)> {
        let ((Some(name), None) | (None, Some(name))) = (id, path) else {
            return Err((400, "give a streamId or a path".to_owned()));
        };
        let refusal = |fault: &Fault| match fault {
            Fault::Refuse(other) if *other == name => Some(403),
            Fault::RefuseAll => Some(403),
            Fault::RefuseWith(other, status) if *other == name => Some(*status),
            _ => None,
        };
        if let Some(status) = self.shared.faults().iter().find_map(refusal) {
            return Err((status, format!("no permission for {name}")));
        }
        let named = self.shared.cloud.find(name);
        let stream = named.ok_or_else(|| (404, format!("no stream {name}")))?;
        match action {
            Some("subscribe") => {
                self.subscriber.subscribe(&stream);
                let now = Instant::now();
                self.granted_at.get_or_insert(now);
                self.shared.subscribed_at.get_or_init(|| now);
                // Logged once it is done: an observer may publish now.
                self.log.saw(ClientAction::Subscribed(name.to_owned()));
                Ok(())
            }
            Some("unsubscribe") if self.subscriber.unsubscribe(&stream) => {
                self.log.saw(ClientAction::Unsubscribed(name.to_owned()));
                Ok(())
            }
            Some("unsubscribe") => Err((404, format!("not subscribed to {name}"))),
            _ => Err((400, "type is neither subscribe nor unsubscribe".to_owned())),
        }
    }
}

fn granted(msg_id: &Value) -> String {
    let words = r#""messages":["Your request has been processed successfully."]"#;
    format!(r#"{{"head":{{"msgId":{msg_id},"ok":true,"errors":[],{words}}},"body":{{}}}}"#)
}

/// Returns `None` where the socket can do no more without waiting.
fn unless_blocked<T>(result: tungstenite::Result<T>) -> tungstenite::Result<Option<T>> {
    match result {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        done => done.map(Some),
    }
}
