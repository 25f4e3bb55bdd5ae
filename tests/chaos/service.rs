//! A service that plays a history of faults, drawn from a seed, and writes down what it sent.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Pid, Signal, kill_process};
use rustls::ServerConfig;
use serde_json::Value;

use crate::peer::{CLOSE, FIN, PING, PONG, Peer, TEXT, frame, session, upgrade};
use crate::raw::wait_until_delivered;
use crate::seed::Random;

/// An event that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened {
    pub(crate) at: SystemTime,
    /// Whether it has to be printed: it was handed to the network before an end in order.
    pub(crate) is_due: bool,
}

/// What a service has seen and done.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<Happened>,
    pub(crate) connected_at: Vec<Instant>,
    pub(crate) sessions: Vec<String>,
    /// What each connection came to, for a failure to tell.
    pub(crate) history: Vec<String>,
    pub(crate) unanswered_pings: usize,
    /// Number of connections that were handed over: all that was sent on them is due.
    pub(crate) handovers: usize,
}

pub(crate) struct Service {
    random: Random,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    log: Arc<Mutex<Log>>,
    /// The process id of the client.
    pub(crate) client: Arc<AtomicI32>,
    /// Set once the client is to be left alone.
    pub(crate) is_over: Arc<AtomicBool>,
    /// Told once the last connection is in order.
    last: mpsc::Sender<()>,
    /// Connections that are kept open without a word.
    held: Vec<Peer>,
    frozen: Option<Frozen>,
    was_subscribed: bool,
    /// Whether an attempt to connect has failed: each one doubles the delay before the next.
    has_failed: bool,
}

/// A connection whose path has stopped for a while: events are sent on it, and come later.
struct Frozen {
    events: mpsc::Sender<(usize, Vec<u8>)>,
    thread: thread::JoinHandle<()>,
}

/// Serves a connection again from a time on, until the client closes it.
fn thaw(
    mut peer: Peer,
    at: Instant,
    since: usize,
    events: &mpsc::Receiver<(usize, Vec<u8>)>,
    log: &Mutex<Log>,
) -> io::Result<()> {
    thread::sleep(at.saturating_duration_since(Instant::now()));
    let (mut sent, mut is_unsubscribed) = (since, false);
    loop {
        for (n, event) in events.try_iter() {
            peer.send(&event)?;
            sent = n + 1;
        }
        match peer.frame(Duration::from_millis(5))? {
            Some((PING, payload)) => peer.send(&frame(FIN | PONG, &payload))?,
            Some((TEXT, text)) => {
                let request: Value = serde_json::from_slice(&text).unwrap();
                is_unsubscribed |= request["type"] == "unsubscribe";
                let id = request["msgId"].as_str().unwrap();
                let ack = format!(r#"{{"head":{{"msgId":"{id}","ok":true}}}}"#);
                peer.send(&frame(FIN | TEXT, ack.as_bytes()))?;
                if is_unsubscribed {
                    let mut log = log.lock().unwrap();
                    log.handovers += 1;
                    for event in &mut log.events[since..sent] {
                        event.is_due = true;
                    }
                }
            }
            Some((CLOSE, payload)) => return peer.send(&frame(FIN | CLOSE, &payload)),
            _ => {}
        }
    }
}

/// How long it is between two events that happen without a connection.
const TICK: Duration = Duration::from_millis(20);

impl Service {
    pub(crate) fn new(
        seed: u64,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        log: Arc<Mutex<Log>>,
        last: mpsc::Sender<()>,
    ) -> Self {
        Self {
            random: Random::new(seed),
            listener,
            tls,
            log,
            client: Arc::default(),
            is_over: Arc::default(),
            last,
            held: Vec::new(),
            frozen: None,
            was_subscribed: false,
            has_failed: false,
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    fn note(&self, what: &str) {
        self.log().history.push(what.to_owned());
    }

    /// Plays connections until nothing more is to come.
    pub(crate) fn run(mut self) {
        let faulty = 1 + self.random.below(2);
        let mut played = 0;
        while let Some(tcp) = self.accept() {
            let is_last = played >= faulty;
            // What fails is the client's to notice.
            played += usize::from(self.connection(tcp, is_last).unwrap_or(true));
        }
        self.held.clear();
        if let Some(Frozen { events, thread }) = self.frozen.take() {
            drop(events);
            thread.join().unwrap();
        }
    }

    /// Returns the next connection, before which events happen that are not sent. `None` once the
    /// history is over.
    fn accept(&mut self) -> Option<TcpStream> {
        loop {
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&TICK.try_into().unwrap())).unwrap();
            if ready > 0 {
                self.log().connected_at.push(Instant::now());
                return Some(self.listener.accept().unwrap().0);
            }
            if self.is_over.load(Ordering::SeqCst) {
                return None;
            }
            if self.was_subscribed {
                self.happens();
            }
        }
    }

    /// An event happens. Returns its message.
    fn happens(&self) -> String {
        let mut log = self.log();
        let n = log.events.len();
        let (at, is_due) = (SystemTime::now(), false);
        log.events.push(Happened { at, is_due });
        drop(log);
        let text =
            format!(r#"{{"type":"message","resource":"s1","value":{{"id":"e{n}","elems":{n}}}}}"#);
        if let Some(frozen) = &self.frozen {
            // It may have ended.
            let _ = frozen.events.send((n, frame(FIN | TEXT, text.as_bytes())));
        }
        text
    }

    /// All events so far that were sent on a connection since are to be printed.
    fn due(&self, since: usize) {
        for event in &mut self.log().events[since..] {
            event.is_due = true;
        }
    }

    /// Plays a connection. True where it came to a subscription.
    fn connection(&mut self, tcp: TcpStream, is_last: bool) -> io::Result<bool> {
        let mut peer = Peer::accept(tcp, self.tls.clone())?;
        let fails = match self.random.below(5) {
            fails if !is_last && !self.has_failed => fails,
            _ => 9,
        };
        self.has_failed |= fails < 3;
        if fails == 0 {
            self.note("ended before the session");
            return Ok(false);
        }
        let mut request = peer.request()?;
        if request.starts_with("POST") {
            if fails == 1 {
                self.note("503 for the session");
                peer.send(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")?;
                return Ok(false);
            }
            let id = format!("secret-session-{}", self.log().sessions.len());
            peer.send(session(&id).as_bytes())?;
            self.log().sessions.push(id);
            request = peer.request()?;
        }
        if fails == 2 {
            self.note("404 for the upgrade");
            peer.send(b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(false);
        }
        peer.send(upgrade(&request).as_bytes())?;
        let since = self.subscribe(&mut peer)?;
        self.was_subscribed = true;
        if is_last {
            // A handover takes its time.
            let end = Instant::now() + Duration::from_secs(4);
            while self
                .frozen
                .as_ref()
                .is_some_and(|of| !of.thread.is_finished())
                && Instant::now() < end
            {
                self.act(&mut peer)?;
            }
            self.note("the last one");
            self.last.send(()).unwrap();
            return self.last(peer).map(|()| true);
        }
        for _ in 0..2 + self.random.below(5) {
            self.act(&mut peer)?;
        }
        self.end(peer, since)?;
        Ok(true)
    }

    /// Reads on to the first request for a subscription and grants it. Returns the number of the
    /// first event that is sent.
    fn subscribe(&mut self, peer: &mut Peer) -> io::Result<usize> {
        let how = self.random.below(6);
        let since = self.log().events.len();
        let mut refusals = usize::from(how == 0);
        loop {
            let Some((TEXT, text)) = peer.frame(Duration::from_secs(30))? else {
                continue;
            };
            let request: Value = serde_json::from_slice(&text).unwrap();
            let id = request["msgId"].as_str().unwrap();
            let ack = format!(r#"{{"head":{{"msgId":"{id}","ok":true}}}}"#);
            let ack = frame(FIN | TEXT, ack.as_bytes());
            if refusals > 0 {
                refusals -= 1;
                self.note("refused for now");
                let no = format!(r#"{{"head":{{"msgId":"{id}","ok":false,"status":503}}}}"#);
                peer.send(&frame(FIN | TEXT, no.as_bytes()))?;
                continue;
            }
            match how {
                1 => {
                    let foreign = frame(FIN | TEXT, br#"{"head":{"msgId":"77","ok":false}}"#);
                    peer.send(&[foreign, ack.clone(), ack].concat())?;
                }
                2 if self.was_subscribed => {
                    // Events before the ack.
                    let events = self.frames(5);
                    peer.send(&[events, ack].concat())?;
                }
                3 => {
                    thread::sleep(Duration::from_millis(50));
                    peer.send(&ack)?;
                }
                _ => peer.send(&ack)?,
            }
            return Ok(since);
        }
    }

    /// So many events, each in a frame.
    fn frames(&self, count: usize) -> Vec<u8> {
        let frames = (0..count).map(|_| frame(FIN | TEXT, self.happens().as_bytes()));
        frames.collect::<Vec<_>>().concat()
    }

    fn signal(&self, signal: Signal) {
        let client = Pid::from_raw(self.client.load(Ordering::SeqCst));
        let _ = kill_process(client.unwrap(), signal);
    }

    /// Does something on a connection that stays open.
    fn act(&mut self, peer: &mut Peer) -> io::Result<()> {
        match self.random.below(9) {
            0 => {
                for _ in 0..=self.random.below(50) {
                    peer.send(&self.frames(1))?;
                }
            }
            1 => {
                let count = 1 + self.random.below(100);
                peer.send(&self.frames(count))?;
            }
            2 => {
                // One event in many records.
                for part in self.frames(1).chunks(7) {
                    peer.send(part)?;
                }
            }
            3 => {
                // One event in many fragments, pings between.
                let text = self.happens();
                let mut first = TEXT;
                for part in text.as_bytes().chunks(10) {
                    peer.send(&[frame(first, part), frame(FIN | PING, b"amid")].concat())?;
                    first = 0;
                }
                peer.send(&frame(FIN, b""))?;
            }
            4 => {
                peer.send(&frame(FIN | PING, b"are you there"))?;
                let end = Instant::now() + Duration::from_secs(20);
                while peer.frame(Duration::from_secs(1))? != Some((PONG, b"are you there".to_vec()))
                {
                    if Instant::now() > end {
                        self.log().unanswered_pings += 1;
                        break;
                    }
                }
            }
            5 => {
                let pings = frame(FIN | PING, b"").repeat(300);
                peer.send(&[pings, self.frames(1)].concat())?;
            }
            6 => {
                let pongs = frame(FIN | PONG, b"").repeat(1000);
                peer.send(&[pongs, frame(FIN | TEXT, b"garbage"), self.frames(1)].concat())?;
            }
            7 => {
                self.signal(Signal::STOP);
                peer.send(&self.frames(20))?;
                thread::sleep(Duration::from_millis(200));
                self.signal(Signal::CONT);
            }
            _ => {
                let time = 30 + self.random.below(100);
                thread::sleep(Duration::from_millis(time as u64));
                Self::answer(peer)?;
            }
        }
        Ok(())
    }

    /// Answers the pings of the client that have come.
    fn answer(peer: &mut Peer) -> io::Result<()> {
        while let Some((opcode, payload)) = peer.frame(Duration::ZERO)? {
            match opcode {
                PING => peer.send(&frame(FIN | PONG, &payload))?,
                TEXT => {
                    let request: Value = serde_json::from_slice(&payload).unwrap();
                    let id = request["msgId"].as_str().unwrap();
                    let ack = format!(r#"{{"head":{{"msgId":"{id}","ok":true}}}}"#);
                    peer.send(&frame(FIN | TEXT, ack.as_bytes()))?;
                }
                CLOSE => {
                    peer.send(&frame(FIN | CLOSE, &payload))?;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends a connection, in one way or another.
    fn end(&mut self, mut peer: Peer, since: usize) -> io::Result<()> {
        let how = self.random.below(12);
        // What the client has done meanwhile: a connection with bytes unread is reset.
        Self::answer(&mut peer)?;
        let count = self.random.below(30);
        let events = self.frames(count);
        let close = frame(
            FIN | CLOSE,
            &[&1001_u16.to_be_bytes()[..], b"restart"].concat(),
        );
        let name = [
            "close",
            "FIN",
            "pings, events, close and gone",
            "reset",
            "reset with unread pings",
            "half open",
            "a bad frame",
            "a bad record",
            "a cut event and FIN",
            "frozen",
            "frozen",
            "frozen",
        ][how];
        self.note(name);
        match how {
            0 => {
                peer.send(&[events, close].concat())?;
                self.due(since);
                self.leave(peer);
            }
            1 => {
                peer.send(&events)?;
                self.due(since);
                self.leave(peer);
            }
            2 => {
                let pings = frame(FIN | PING, b"").repeat(2);
                peer.send(&[pings, events, close].concat())?;
                self.due(since);
                let _ = peer.tcp.shutdown(std::net::Shutdown::Write);
                // Pongs are answered with a reset, which drops what has not been delivered.
                wait_until_delivered(&peer.tcp);
                let _ = peer.tcp.shutdown(std::net::Shutdown::Read);
                thread::sleep(Duration::from_millis(100));
            }
            3 => {
                peer.send(&events)?;
                set_socket_linger(&peer.tcp, Some(Duration::ZERO))?;
            }
            4 => {
                peer.send(&[frame(FIN | PING, b""), events].concat())?;
                set_socket_linger(&peer.tcp, Some(Duration::ZERO))?;
            }
            5 => {
                peer.send(&events)?;
                self.held.push(peer);
            }
            6 => {
                let bad = match self.random.below(3) {
                    0 => [vec![FIN | TEXT, 127], (1_u64 << 40).to_be_bytes().to_vec()].concat(),
                    1 => frame(FIN | PING, &[0; 126]),
                    _ => frame(FIN | 0x3, b""),
                };
                peer.send(&[events, bad].concat())?;
                self.due(since);
                self.leave(peer);
            }
            9.. if self.frozen.is_none() => {
                peer.send(&events)?;
                let (sender, events) = mpsc::channel();
                let log = Arc::clone(&self.log);
                // After the client has found it silent.
                let time = Duration::from_millis(1500 + self.random.below(1500) as u64);
                let at = Instant::now() + time;
                let thread = thread::spawn(move || {
                    // The client has given it up, or has ended.
                    let _ = thaw(peer, at, since, &events, &log);
                });
                self.frozen = Some(Frozen {
                    events: sender,
                    thread,
                });
            }
            7 if peer.is_tls() => {
                let mut wire = peer.seal(&events);
                wire.extend([23, 3, 3, 0, 32]);
                wire.extend([7; 32]);
                io::Write::write_all(&mut peer.tcp, &wire)?;
                self.due(since);
                self.leave(peer);
            }
            _ => {
                peer.send(&events)?;
                self.due(since);
                let cut = self.frames(1);
                peer.send(&cut[..cut.len() / 2])?;
                thread::sleep(Duration::from_millis(150));
                self.leave(peer);
            }
        }
        Ok(())
    }

    /// Says that nothing more is sent, and reads to the end.
    fn leave(&self, mut peer: Peer) {
        let _ = peer.tcp.shutdown(std::net::Shutdown::Write);
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && peer.frame(TICK).is_ok() {
            self.happens();
        }
    }

    /// Serves the last connection until the client leaves, in order or not at all.
    fn last(&mut self, mut peer: Peer) -> io::Result<()> {
        peer.send(&self.frames(10))?;
        match self.random.below(8) {
            0 | 1 => {
                self.note("half open at the end");
                // Until the client has another connection, or none.
                self.held.push(peer);
                return Ok(());
            }
            2 => {
                self.note("a flood of pongs at the end");
                let flood = frame(FIN | PONG, b"").repeat(4096);
                loop {
                    peer.send(&flood)?;
                }
            }
            _ => {}
        }
        loop {
            peer.send(&self.frames(1))?;
            // Waits for the client, and no longer than until the next event.
            let mut fds = [PollFd::from_borrowed_fd(peer.tcp.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&TICK.try_into().unwrap()))?;
            Self::answer(&mut peer)?;
        }
    }
}
