//! A stand-in for the cloud service, for experiments and tests.
//!
//! It speaks the whole protocol over TLS, on loopback unless other machines are allowed, and creates
//! its CA and its token at each start unless it keeps them. Its company is `demo`; the device `gw1`
//! has the streams `/demo/devices/gw1/temperature`, `/demo/devices/gw1/humidity` and
//! `/demo/devices/gw1/location`.
//!
//! ```
//! use octave_ws::sim::{Fault, Sim};
//! use octave_ws::{Client, ErrorKind};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sim = Sim::start()?;
//! sim.set_faults(&[Fault::RefuseAll]);
//! let mut client = Client::connect(&sim.config())?;
//! let error = client.subscribe(&"/demo/devices/gw1/temperature".parse()?).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Refused);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde_json::Value;

use crate::wait::sockets;
use crate::{Config, Credentials, Stop, Token};

mod certificate;
mod chunked;
mod cloud;
mod compression;
mod connection;
mod event;
mod fault;
mod history;
mod history_fault;
mod http;
mod kept;
mod log;
mod options;
mod query;
mod script;
mod shared;
mod socket;
mod store;
mod stream;
mod subscriber;

use certificate::Authority;
pub use fault::Fault;
pub use history_fault::HistoryFault;
use kept::Kept;
pub use log::{ClientAction, Observation};
pub use options::Options;
pub use script::Script;
use shared::Shared;

/// A running stand-in. Dropping it stops it.
pub struct Sim {
    shared: Arc<Shared>,
    addr: SocketAddr,
    ca_file: Option<PathBuf>,
    threads: Vec<JoinHandle<()>>,
}

impl Sim {
    /// Path and id of each stream of the company `demo`.
    pub const DEMO_STREAMS: [(&str, &str); 3] = stream::DEMO;

    /// Starts a stand-in on a free port of loopback. It sends only what is published.
    ///
    /// # Errors
    /// Fails if the system has no port, thread or random number left.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Options::default())
    }

    /// Starts a stand-in with these options.
    ///
    /// # Errors
    /// As [`Sim::start`], and `InvalidInput` if the address is not one of loopback and no other is
    /// allowed, or the rate is out of range, and `InvalidData` if what the state folder keeps cannot
    /// be used.
    pub fn start_with(options: Options) -> io::Result<Self> {
        options.check()?;
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let kept = Kept::in_folder(options.state)?;
        let shared = Arc::new(Shared {
            authority: Authority::new(&kept)?,
            cloud: cloud::Cloud::demo(options.any_stream, options.script, options.capacity, &kept)?,
            faults: options.faults.into(),
            subscribed_at: OnceLock::new(),
            compression: options.compression,
            observer: options.observer,
            stop: Stop::new()?,
        });
        let mut sim = Self {
            shared,
            addr,
            ca_file: kept.path(Authority::FILE),
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

    /// Returns the address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns its URL on this machine, for [`Config::endpoint`].
    pub fn endpoint(&self) -> String {
        let mut addr = self.addr;
        match addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("https://{addr}")
    }

    /// Returns the URL of its REST API.
    pub fn api(&self) -> String {
        format!("{}/v5.0", self.endpoint())
    }

    /// Returns the certificate of its CA in PEM, for [`Config::ca_pem`].
    pub fn ca_pem(&self) -> &str {
        self.shared.authority.pem()
    }

    /// Returns the file of this certificate, if it is kept in a folder.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Returns a configuration that connects a [`Client`](crate::Client) to it, with valid
    /// credentials.
    pub fn config(&self) -> Config {
        let credentials = Credentials::new(self.company(), Token::new(self.token()));
        Config::new(credentials.user(self.user()))
            .endpoint(self.endpoint())
            .api(self.api())
            .ca_pem(self.ca_pem())
    }

    /// Returns the user of [`Sim::token`].
    pub fn user(&self) -> &str {
        &self.shared.cloud.user
    }

    /// Returns the name of the company.
    pub fn company(&self) -> &str {
        &self.shared.cloud.company
    }

    /// Returns a token that is valid together with the user.
    pub fn token(&self) -> &str {
        &self.shared.cloud.token
    }

    /// Returns a restricted token, which is valid without a user.
    pub fn restricted_token(&self) -> &str {
        &self.shared.cloud.restricted_token
    }

    /// Returns path and id of each stream that exists by now.
    pub fn streams(&self) -> Vec<(String, String)> {
        let streams = self.shared.cloud.streams().into_iter();
        streams.map(|stream| (stream.path, stream.id)).collect()
    }

    /// Publishes an event with these `elems` on a stream, given by its path or id. Returns the number
    /// of clients that it was sent to, 0 if there is no such stream.
    pub fn publish(&self, stream: &str, elems: &Value) -> usize {
        self.publish_burst(stream, slice::from_ref(elems))
    }

    /// Publishes several events, which are written together, as [`Sim::publish`] does.
    pub fn publish_burst(&self, stream: &str, elems: &[Value]) -> usize {
        let cloud = &self.shared.cloud;
        cloud.find(stream).map_or(0, |stream| {
            cloud.publish(&stream, elems, |fault| self.shared.has_of_history(fault))
        })
    }

    /// Sends raw bytes, below the WebSocket, to every client with an open WebSocket, to imitate a
    /// broken server. Returns the number of clients.
    pub fn send_raw(&self, bytes: &[u8]) -> usize {
        self.shared.cloud.send_raw(bytes)
    }

    /// Replaces the simulated faults.
    pub fn set_faults(&self, faults: &[Fault]) {
        *self.shared.faults() = faults.to_vec();
    }

    /// Closes every open WebSocket with this code. Returns their number.
    pub fn close_all(&self, code: u16) -> usize {
        self.shared.cloud.hang_up(Some(code))
    }

    /// Drops the connection of every open WebSocket without a close frame. Returns their number.
    pub fn drop_all(&self) -> usize {
        self.shared.cloud.hang_up(None)
    }

    /// Sends a text message, valid or not, to every client with an open WebSocket. Returns the number
    /// of clients.
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
            // A panic has been printed already.
            let _ = thread.join();
        }
    }
}

/// Serves each connection on a thread of its own, until it is stopped.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while sockets::wait(listener, PollFlags::IN, Some(&shared.stop), None).is_ok() {
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
        let after = Duration::try_from_secs_f64(f64::from(n) / rate);
        let due = after.ok().and_then(|after| start.checked_add(after));
        match sockets::wait(&shared.stop, PollFlags::IN, None, due) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                shared
                    .cloud
                    .publish_samples(count, |fault| shared.has_of_history(fault));
            }
            _ => return,
        }
    }
}
