use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dns_lookup::{AddrFamily, AddrInfoHints, SockType};
use rustix::event::PollFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::endpoint::{HostPort, IpVersion};
use crate::logger::{Logger, record};
use crate::wait::context::WaitContext;
use crate::wait::poll;
use crate::wait::sockets;

/// Looks names up, one at a time.
///
/// A lookup that takes longer than there is time continues, and the next call for the name gets its
/// answer. Some name servers drop questions about IPv6, and the system waits 15 s for them.
pub(crate) struct Resolver {
    version: Option<IpVersion>,
    running: Option<Lookup>,
    /// Whether to ask for IPv4 alone first, because asking for both took long and found only that.
    prefers_v4: bool,
}

/// Maximum duration of a lookup for which IPv6 is asked for again after it had no addresses.
const SLOW: Duration = Duration::from_secs(2);

impl Resolver {
    /// Creates a resolver for this IP version, or for both.
    pub(crate) fn new(version: Option<IpVersion>) -> Self {
        Self {
            version,
            running: None,
            prefers_v4: false,
        }
    }

    pub(crate) fn version(&self) -> Option<IpVersion> {
        self.version
    }

    /// Returns the addresses of a host, in the system's order.
    ///
    /// # Errors
    /// The error of the lookup, `NotFound` without an address of the wanted version, `WouldBlock`
    /// after `deadline`, and errors of the wait.
    pub(crate) fn resolve(
        &mut self,
        at: &HostPort,
        wait_context: &WaitContext,
        logger: &Logger,
        deadline: Instant,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = at.host.parse::<IpAddr>() {
            let addrs = [SocketAddr::new(ip, at.port)];
            return self.wanted(addrs.into());
        }
        let running = match self.running.take() {
            None => self.begin(at, logger)?,
            Some(lookup) if !poll::is_readable(&lookup.done) => Some(lookup),
            Some(lookup) => match lookup.answer() {
                Some(answer) if answer.addrs.is_ok() => return self.taken(answer),
                // The last lookup has failed; another may not.
                _ => self.begin(at, logger)?,
            },
        };
        let Some(lookup) = running else {
            let answer = Answer::of(self.look_up(at));
            return self.taken(answer);
        };
        if let Err(error) =
            sockets::wait_for(&[&lookup.done], PollFlags::IN, wait_context, Some(deadline))
        {
            self.running = Some(lookup);
            return Err(error);
        }
        match lookup.answer() {
            Some(answer) => self.taken(answer),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Returns `None` where there is no thread to be had for it.
    fn begin(&self, at: &HostPort, logger: &Logger) -> io::Result<Option<Lookup>> {
        Lookup::begin(self.look_up(at), logger)
    }

    fn look_up(&self, at: &HostPort) -> impl FnOnce() -> io::Result<Vec<SocketAddr>> + use<> {
        let (host, port) = (at.host.clone(), at.port);
        let (version, prefers_v4) = (self.version, self.prefers_v4);
        move || look_up(&host, port, version, prefers_v4)
    }

    fn taken(&mut self, answer: Answer) -> io::Result<Vec<SocketAddr>> {
        let addrs = answer.addrs?;
        let is_v4_alone = addrs.iter().all(SocketAddr::is_ipv4);
        self.prefers_v4 = is_v4_alone && (self.prefers_v4 || answer.took > SLOW);
        self.wanted(addrs)
    }

    fn wanted(&self, mut addrs: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        addrs.retain(|addr| match self.version {
            None => true,
            Some(IpVersion::V4) => addr.is_ipv4(),
            Some(IpVersion::V6) => addr.is_ipv6(),
        });
        if addrs.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(addrs)
    }
}

/// getaddrinfo(3) has no deadline and cannot be interrupted: a thread waits for it.
struct Lookup {
    /// Readable once there is an answer.
    done: OwnedFd,
    answer: Arc<Mutex<Option<Answer>>>,
}

struct Answer {
    addrs: io::Result<Vec<SocketAddr>>,
    took: Duration,
}

impl Answer {
    fn of(look_up: impl FnOnce() -> io::Result<Vec<SocketAddr>>) -> Self {
        let start = Instant::now();
        let addrs = look_up();
        let took = start.elapsed();
        Self { addrs, took }
    }
}

impl Lookup {
    /// Returns `None` where there is no thread to be had for it.
    fn begin(
        look_up: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
        logger: &Logger,
    ) -> io::Result<Option<Self>> {
        let (done, running) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let answer = Arc::new(Mutex::new(None));
        let found = Arc::clone(&answer);
        let look_up = move || {
            let answer = Answer::of(look_up);
            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            // Wakes the thread that waits. A process that was forked meanwhile may hold the pipe open.
            let _ = rustix::io::write(&running, &[0]);
        };
        let thread = thread::Builder::new().name("resolve".to_owned());
        if let Err(error) = thread.spawn(look_up) {
            // A container's filter, or a limit. The system's own time-out ends it then.
            let what = "it is looked up without a deadline";
            record!(logger, Debug, "resolve: no thread: {error}; {what}");
            return Ok(None);
        }
        Ok(Some(Self { done, answer }))
    }

    /// Its answer, once there is one.
    fn answer(&self) -> Option<Answer> {
        self.answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Looks up a name, and IPv4 alone where both fail: in musl's resolver, a name server that does not
/// answer about IPv6, or with an error, voids its answer about IPv4.
fn look_up(
    host: &str,
    port: u16,
    version: Option<IpVersion>,
    prefers_v4: bool,
) -> io::Result<Vec<SocketAddr>> {
    let alone = |family| look_up_alone(host, port, family);
    let both = || Ok((host, port).to_socket_addrs()?.collect());
    let is_local = host == "localhost" || host.ends_with(".localhost");
    match version {
        Some(IpVersion::V4) => alone(AddrFamily::Inet),
        Some(IpVersion::V6) => alone(AddrFamily::Inet6),
        // A question about IPv6 costs bytes, and here its answer is of no use.
        None if prefers_v4 || !(is_local || has_ipv6()) => {
            alone(AddrFamily::Inet).or_else(|_| both())
        }
        None => both().or_else(|error| alone(AddrFamily::Inet).map_err(|_| error)),
    }
}

/// Returns whether this machine has an IPv6 address that reaches beyond its links, or may have one.
fn has_ipv6() -> bool {
    fs::read_to_string("/proc/net/if_inet6").map_or(true, |table| has_global(&table))
}

/// The same of a table of addresses: address, index, length of the prefix, scope, flags and device.
fn has_global(table: &str) -> bool {
    let mut scopes = table.lines().filter_map(|line| line.split(' ').nth(3));
    scopes.any(|scope| scope == "00")
}

fn look_up_alone(host: &str, port: u16, family: AddrFamily) -> io::Result<Vec<SocketAddr>> {
    let hints = AddrInfoHints {
        address: family.into(),
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = dns_lookup::getaddrinfo(Some(host), None, Some(hints))?;
    let with_port = |mut addr: SocketAddr| {
        addr.set_port(port);
        addr
    };
    found
        .map(|info| info.map(|info| with_port(info.sockaddr)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, SyncSender};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn resolve(
        resolver: &mut Resolver,
        host: &str,
        within: Duration,
    ) -> io::Result<Vec<SocketAddr>> {
        let at = HostPort {
            host: host.to_owned(),
            port: 1,
        };
        let context = WaitContext::default();
        let logger = Logger::default();
        resolver.resolve(&at, &context, &logger, Instant::now() + within)
    }

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_of_links_do_not_count() {
        let own = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n";
        let private = "fd000000000000000000000000000002 04 40 00 82     eth0\n";
        for (table, expected) in [
            (String::new(), false),
            (format!("{own}{link}"), false),
            (format!("{own}{private}{link}"), true),
        ] {
            assert_eq!(has_global(&table), expected, "{table}");
        }
    }

    /// Returns a look-up that has its answer once it is sent.
    fn pending() -> (Lookup, SyncSender<io::Result<Vec<SocketAddr>>>) {
        let (sender, receiver) = mpsc::sync_channel(1);
        let lookup = Lookup::begin(move || receiver.recv().unwrap(), &Logger::default());
        (lookup.unwrap().unwrap(), sender)
    }

    #[test]
    fn a_slow_lookup_is_reused() {
        let mut resolver = Resolver::new(None);
        let (lookup, answer) = pending();
        resolver.running = Some(lookup);
        let late = resolve(&mut resolver, "none.invalid", LONG / 1000).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);
        answer.send(Ok(addrs(&["127.0.0.1:1"]))).unwrap();
        let found = resolve(&mut resolver, "none.invalid", LONG).unwrap();
        assert_eq!(found, addrs(&["127.0.0.1:1"]));
        assert!(resolver.running.is_none());
    }

    #[test]
    fn an_answer_that_came_meanwhile_is_used_unless_it_is_an_error() {
        for (answer, wanted) in [
            (Ok(addrs(&["127.0.0.2:1"])), "127.0.0.2:1"),
            (Err(io::ErrorKind::Other.into()), "127.0.0.1:1"),
        ] {
            let mut resolver = Resolver::new(None);
            let (lookup, sender) = pending();
            sender.send(answer).unwrap();
            let deadline = Some(Instant::now() + LONG);
            sockets::wait_for(
                &[&lookup.done],
                PollFlags::IN,
                &WaitContext::default(),
                deadline,
            )
            .unwrap();
            resolver.running = Some(lookup);
            let found = resolve(&mut resolver, "localhost", LONG).unwrap();
            assert!(found.contains(&wanted.parse().unwrap()), "{found:?}");
        }
    }

    #[test]
    fn ipv4_alone_is_asked_for_first_where_asking_for_both_is_slow_and_in_vain() {
        let mut resolver = Resolver::new(None);
        let mut prefers_v4 = |texts: &[&str], took| {
            let addrs = Ok(addrs(texts));
            resolver.taken(Answer { addrs, took }).unwrap();
            resolver.prefers_v4
        };
        assert!(!prefers_v4(&["127.0.0.1:1"], SLOW));
        assert!(!prefers_v4(&["127.0.0.1:1", "[::1]:1"], LONG));
        assert!(prefers_v4(&["127.0.0.1:1"], LONG));
        assert!(prefers_v4(&["127.0.0.1:1"], SLOW));
        assert!(!prefers_v4(&["[::1]:1"], SLOW));
    }

    #[test]
    fn one_version_alone_is_asked_for_and_found() {
        for version in [None, Some(IpVersion::V4)] {
            let found = resolve(&mut Resolver::new(version), "localhost", LONG).unwrap();
            assert!(found.contains(&"127.0.0.1:1".parse().unwrap()), "{found:?}");
        }
        for prefers_v4 in [false, true] {
            let found = look_up("localhost", 1, None, prefers_v4).unwrap();
            assert!(found.contains(&"127.0.0.1:1".parse().unwrap()), "{found:?}");
            // A host that has IPv6 alone is found all the same.
            let found = look_up("::1", 1, None, prefers_v4).unwrap();
            assert_eq!(found, addrs(&["[::1]:1"]));
        }
        let mut resolver = Resolver::new(Some(IpVersion::V6));
        let none = resolve(&mut resolver, "127.0.0.1", LONG).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}
