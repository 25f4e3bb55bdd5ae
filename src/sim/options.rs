use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use super::fault::Fault;
use super::log::Observation;
use super::script::Script;

/// Options of a stand-in. Later versions may add fields: use the setters, or end a literal with
/// `..Options::default()`.
///
/// ```
/// use octave_ws::sim::{Options, Sim};
///
/// # fn main() -> std::io::Result<()> {
/// // Each stream has an event every 100 ms, five in all.
/// let sim = Sim::start_with(Options::default().rate(10.0).count(5))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 picks a free one. Default: 127.0.0.1:0.
    pub listen: SocketAddr,
    /// Whether the address may be another one than loopback, so that other machines can connect.
    /// Default: no.
    pub allow_remote: bool,
    /// Folder that keeps the CA and the tokens over restarts; it is created if it does not exist.
    /// Default: none, both are new at each start.
    pub state: Option<PathBuf>,
    /// Events per second on each subscribed stream, 0 to 1,000,000. Default: 0.
    pub rate: f64,
    /// Number of these events per stream. Default: no limit.
    pub count: Option<u64>,
    /// Contents of these events. Default: generated measurements.
    pub script: Option<Script>,
    /// Number of events that each stream keeps for the REST API. Default: 1000.
    pub capacity: usize,
    /// Accept every path as a stream. Default: only the streams of the company `demo`.
    pub any_stream: bool,
    /// Compress messages for clients that offer permessage-deflate. Default: yes.
    pub compression: bool,
    /// Receives what clients do.
    pub observer: Option<Sender<Observation>>,
    /// Faults to simulate.
    pub faults: Vec<Fault>,
}

impl Options {
    /// Sets [`listen`](Options#structfield.listen).
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Sets [`allow_remote`](Options#structfield.allow_remote).
    pub fn allow_remote(mut self) -> Self {
        self.allow_remote = true;
        self
    }

    /// Sets [`state`](Options#structfield.state).
    pub fn state(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state = Some(folder.into());
        self
    }

    /// Sets [`rate`](Options#structfield.rate).
    pub fn rate(mut self, per_second: f64) -> Self {
        self.rate = per_second;
        self
    }

    /// Sets [`count`](Options#structfield.count).
    pub fn count(mut self, events: u64) -> Self {
        self.count = Some(events);
        self
    }

    /// Sets [`script`](Options#structfield.script).
    pub fn script(mut self, script: Script) -> Self {
        self.script = Some(script);
        self
    }

    /// Sets [`capacity`](Options#structfield.capacity).
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// Sets [`any_stream`](Options#structfield.any_stream).
    pub fn any_stream(mut self) -> Self {
        self.any_stream = true;
        self
    }

    /// Sets [`compression`](Options#structfield.compression).
    pub fn compression(mut self, compression: bool) -> Self {
        self.compression = compression;
        self
    }

    /// Sets [`observer`](Options#structfield.observer).
    pub fn observer(mut self, observer: Sender<Observation>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sets [`faults`](Options#structfield.faults).
    pub fn faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults = faults.into_iter().collect();
        self
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if !self.listen.ip().is_loopback() && !self.allow_remote {
            let message = format!("{} is not a loopback address", self.listen.ip());
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        if !(0.0..=1e6).contains(&self.rate) {
            let message = format!("a rate of {} is not between 0 and 1000000", self.rate);
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            allow_remote: false,
            state: None,
            rate: 0.0,
            count: None,
            script: None,
            capacity: 1000,
            any_stream: false,
            compression: true,
            observer: None,
            faults: Vec::new(),
        }
    }
}
