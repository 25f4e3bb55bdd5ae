//! A stand-in for the cloud service, to try things out with and to test against.
//!
//! It speaks the whole protocol over real TLS, on loopback only, with certificates made at each
//! start. It is the company `demo`, whose device `gw1` has the streams
//! `/demo/devices/gw1/temperature`, `/demo/devices/gw1/humidity` and
//! `/demo/devices/gw1/location`.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::slice;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde_json::Value;

use crate::transport::wire;
use crate::{Config, Credentials, Stop, Token};

mod certificate;
mod cloud;
mod connection;
mod echo;
mod fault;
mod http;
mod log;
mod script;
mod shared;
mod socket;
mod stream;

pub use echo::echo;
pub use fault::Fault;
pub use log::{Seen, What};
pub use script::Script;
use shared::Shared;

/// A running stand-in. It stops when it is dropped.
pub struct Sim {
    shared: Arc<Shared>,
    addr: SocketAddr,
    ca_pem: String,
    threads: Vec<JoinHandle<()>>,
}

/// How a stand-in is to behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one. By default 127.0.0.1:0.
    pub listen: SocketAddr,
    /// How many events a second each subscribed stream has of its own. By default none.
    pub rate: f64,
    /// How many of those each stream has in all. By default there is no end.
    pub count: Option<u64>,
    /// What those are. By default they are made up.
    pub script: Option<Script>,
    /// Whether every path is a stream. By default only those of the company are.
    pub any_stream: bool,
    /// Told of everything that clients do.
    pub observer: Option<Sender<Seen>>,
    /// What it gets wrong.
    pub faults: Vec<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            rate: 0.0,
            count: None,
            script: None,
            any_stream: false,
            observer: None,
            faults: Vec::new(),
        }
    }
}

impl Sim {
    /// The streams that every stand-in has, each by its path and its id.
    pub const DEMO_STREAMS: [(&str, &str); 3] = stream::DEMO;

    /// Starts a stand-in on a free port of loopback, without events of its own.
    ///
    /// # Errors
    /// The operating system's, where there is no port, no thread or no random number to be had.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Options::default())
    }

    /// Starts a stand-in that behaves as it is told to.
    ///
    /// # Errors
    /// Those of [`Sim::start`], and `InvalidInput` for an address that is not loopback's or a
    /// rate that is none.
    pub fn start_with(options: Options) -> io::Result<Self> {
        if !options.listen.ip().is_loopback() {
            let message = format!("{} is not a loopback address", options.listen.ip());
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        if !(0.0..=1e6).contains(&options.rate) {
            let message = format!("a rate of {} is not between 0 and 1000000", options.rate);
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let (tls, ca_pem) = certificate::make()?;
        let shared = Arc::new(Shared {
            tls,
            cloud: cloud::Cloud::demo(options.any_stream, options.script)?,
            faults: options.faults.into(),
            observer: options.observer,
            stop: Stop::new()?,
        });
        let mut sim = Self {
            shared,
            addr,
            ca_pem,
            threads: Vec::new(),
        };
        sim.spawn("accept", move |shared| accept(&listener, shared))?;
        if options.rate > 0.0 {
            sim.spawn("events", move |shared| {
                tick(options.rate, options.count, shared);
            })?;
        }
        Ok(sim)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name(format!("octave-sim {name}"));
        self.threads.push(thread.spawn(move || work(&shared))?);
        Ok(())
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The `https` address that a client is to be given.
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// The certificate of the authority that a client has to trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What leads a [`Client`](crate::Client) here, with credentials that are good.
    pub fn config(&self) -> Config {
        let credentials = Credentials::new(self.company(), Token::new(self.token()));
        Config::new(credentials.user(self.user()))
            .endpoint(self.endpoint())
            .ca_pem(self.ca_pem())
    }

    /// The user that goes with [`Sim::token`].
    pub fn user(&self) -> &str {
        &self.shared.cloud.user
    }

    /// The company.
    pub fn company(&self) -> &str {
        &self.shared.cloud.company
    }

    /// A token that is good together with the user.
    pub fn token(&self) -> &str {
        &self.shared.cloud.token
    }

    /// A token that is good without a user.
    pub fn restricted_token(&self) -> &str {
        &self.shared.cloud.restricted_token
    }

    /// The company's streams, each by its path and its id.
    pub fn streams(&self) -> Vec<(String, String)> {
        let streams = self.shared.cloud.streams().into_iter();
        streams.map(|stream| (stream.path, stream.id)).collect()
    }

    /// Sends an event with these `elems` to whoever is subscribed to the stream, given by its path
    /// or its id. Returns how many clients that were: none where there is no such stream.
    pub fn publish(&self, stream: &str, elems: &Value) -> usize {
        self.publish_burst(stream, slice::from_ref(elems))
    }

    /// The same with several events, which leave together.
    pub fn publish_burst(&self, stream: &str, elems: &[Value]) -> usize {
        let cloud = &self.shared.cloud;
        cloud
            .find(stream)
            .map_or(0, |stream| cloud.publish(&stream, elems))
    }

    /// Sends bytes as they stand, below the WebSocket, to every client with an open socket:
    /// whatever a broken server might send. Returns how many those were.
    pub fn send_raw(&self, bytes: &[u8]) -> usize {
        self.shared.cloud.send_raw(bytes)
    }

    /// From now on gets this wrong, instead of what it got wrong before.
    pub fn set_faults(&self, faults: &[Fault]) {
        *self.shared.faults() = faults.to_vec();
    }

    /// Closes every open socket with this code. Returns how many those were.
    pub fn close_all(&self, code: u16) -> usize {
        self.shared.cloud.hang_up(Some(code))
    }

    /// Ends every open socket's connection without a word. Returns how many those were.
    pub fn drop_all(&self) -> usize {
        self.shared.cloud.hang_up(None)
    }

    /// Sends a text as it stands, whatever it is, to every client with an open socket. Returns how
    /// many those were.
    pub fn send(&self, text: &str) -> usize {
        self.shared.cloud.send(text)
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr();
        f.debug_struct("Sim")
            .field("addr", &addr)
            .finish_non_exhaustive()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.stop.stop();
        for thread in self.threads.drain(..) {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Serves each connection on a thread of its own, until it is stopped.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while wire::wait(listener, PollFlags::IN, Some(&shared.stop), None).is_ok() {
        threads.retain(|thread| !thread.is_finished());
        let Ok((tcp, peer)) = listener.accept() else {
            continue;
        };
        let shared = Arc::clone(shared);
        let thread = thread::Builder::new().name(format!("octave-sim {peer}"));
        let served = thread.spawn(move || connection::serve(tcp, peer, &shared));
        threads.extend(served);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Sends events at a steady rate, until it is stopped.
fn tick(rate: f64, count: Option<u64>, shared: &Arc<Shared>) {
    let start = Instant::now();
    for n in 1_u32.. {
        let due = start + Duration::from_secs_f64(f64::from(n) / rate);
        match wire::wait(&shared.stop, PollFlags::IN, None, Some(due)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                shared.cloud.publish_samples(count);
            }
            _ => return,
        }
    }
}
