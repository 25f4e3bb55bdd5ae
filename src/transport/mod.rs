use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustls::ClientConfig;

use crate::config::{Config, Pem};
use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Phase};
use crate::logger::record;
use crate::step::{Observer, Step};
use crate::transport::connect::Attempts;
use crate::transport::hop::Hop;
use crate::transport::link::Layer;
use crate::transport::overhead::Overhead;
use crate::transport::proxy::Proxy;
use crate::transport::resolve::Resolver;
use crate::transport::traffic::Traffic;
use crate::transport::wire::Wire;
use crate::wait::context::WaitContext;
use crate::wait::sockets;
use crate::{Error, Result, Stop};

pub(crate) mod coming;
pub(crate) mod connect;
mod hop;
mod linger;
pub(crate) mod link;
pub(crate) mod overhead;
pub(crate) mod proxy;
pub(crate) mod resolve;
pub(crate) mod socks;
pub(crate) mod tls;
pub(crate) mod traffic;
mod unsent;
pub(crate) mod wire;

pub(crate) use link::Link;

/// The way to the service, the same for the session's POST and the WebSocket.
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) user_agent: String,
    pub(crate) wait_context: WaitContext,
    pub(crate) observer: Observer,
    proxy: Option<Proxy>,
    resolver: Resolver,
    /// Resolves the endpoint for a proxy that takes its address.
    target_resolver: Resolver,
    tls: Arc<ClientConfig>,
    dials: Dials,
    traffic: Traffic,
    overhead: Overhead,
}

/// Times of the last connections that count, also of a route that was lent and never taken back.
#[derive(Clone, Default)]
struct Dials(Arc<Mutex<VecDeque<Instant>>>);

impl Dials {
    fn note(&self) {
        let mut times = self.times();
        times.push_front(Instant::now());
        times.truncate(BEFORE + 1);
    }

    /// Returns the time before which no other connection may be made.
    fn next(&self) -> Option<Instant> {
        self.times().get(BEFORE).map(|at| *at + SPAN)
    }

    fn times(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No more than six connections are made in any five seconds. An attempt may take two.
const SPAN: Duration = Duration::from_secs(5);
const BEFORE: usize = 6 - 2;

impl Route {
    /// Checks all that can be checked before anything is sent.
    ///
    /// # Errors
    /// `Config`, and `System` where there are no file descriptors left.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let endpoint = config.check()?;
        let proxy = proxy_to(&endpoint, config)?;
        let tls = tls::configure(config, config.ca_pem.as_ref())?;
        let stop = match &config.stop {
            Some(stop) => stop.clone(),
            None => Stop::new().map_err(|error| {
                let message = "cannot create a pipe";
                Error::new(Phase::Config, ErrorKind::System, message).because(error)
            })?,
        };
        let wait_context = WaitContext {
            stop: Some(stop),
            watchdog: config.watchdog.clone(),
            ..WaitContext::default()
        };
        Ok(Self {
            endpoint,
            user_agent: config.user_agent.clone(),
            wait_context,
            observer: config.observer.clone().with_logger(&config.logger),
            proxy,
            resolver: Resolver::new(config.ip_version),
            target_resolver: Resolver::new(config.ip_version),
            tls,
            dials: Dials::default(),
            traffic: Traffic::default(),
            overhead: Overhead::default(),
        })
    }

    /// Returns a route to the REST API, with the same trust and the same counts.
    ///
    /// # Errors
    /// `Config` for an invalid URL.
    pub(crate) fn to_api(&self, config: &Config) -> Result<Self> {
        let endpoint = config.check_api()?;
        Ok(Self {
            proxy: proxy_to(&endpoint, config)?,
            endpoint,
            user_agent: self.user_agent.clone(),
            wait_context: self.wait_context.clone(),
            observer: self.observer.clone(),
            resolver: Resolver::new(config.ip_version),
            target_resolver: Resolver::new(config.ip_version),
            tls: Arc::clone(&self.tls),
            dials: Dials::default(),
            traffic: self.traffic.clone(),
            overhead: Overhead::default(),
        })
    }

    /// Trusts what the other route trusts.
    pub(crate) fn trust_as(&mut self, other: &Self) {
        self.tls = Arc::clone(&other.tls);
    }

    /// Lends the route to another thread, with all that it has learnt.
    pub(crate) fn lend(&mut self) -> Self {
        let version = self.resolver.version();
        let lend = |resolver: &mut Resolver| mem::replace(resolver, Resolver::new(version));
        Self {
            endpoint: self.endpoint.clone(),
            user_agent: self.user_agent.clone(),
            wait_context: self.wait_context.clone(),
            observer: self.observer.clone(),
            proxy: self.proxy.clone(),
            target_resolver: lend(&mut self.target_resolver),
            resolver: lend(&mut self.resolver),
            tls: Arc::clone(&self.tls),
            dials: self.dials.clone(),
            traffic: self.traffic.clone(),
            overhead: self.overhead.clone(),
        }
    }

    /// Takes back the route that was lent.
    pub(crate) fn take_back(&mut self, lent: Self) {
        self.resolver = lent.resolver;
        self.target_resolver = lent.target_resolver;
        self.overhead = lent.overhead;
    }

    /// Takes the CA certificates that the next connection is to trust.
    pub(crate) fn renew_trust(&mut self, config: &mut Config) {
        let asked = config.ca_source.ask();
        let renewed = asked.map(|asked| {
            let pem = Pem(asked?);
            // Sessions are resumed while these stay the same.
            if config.ca_pem.as_ref() != Some(&pem) {
                let tls = tls::configure(config, Some(&pem));
                self.tls = tls.map_err(|error| error.to_string())?;
                config.ca_pem = Some(pem);
            }
            Ok::<(), String>(())
        });
        if let Some(Err(why)) = renewed {
            let logger = self.observer.logger();
            record!(logger, Warn, "{why}; using the previous CA certificates");
        }
    }

    /// Returns the counts of all connections.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Returns what the last connection takes beyond its data.
    pub(crate) fn overhead(&self) -> &Overhead {
        &self.overhead
    }

    /// Returns the proxy on the way, if there is one.
    pub(crate) fn proxy(&self) -> Option<String> {
        self.proxy.as_ref().map(|proxy| proxy.at.to_string())
    }

    /// Waits for the time to come. With `WouldBlock` it has, or something watched is ready.
    pub(crate) fn wait_until(&self, time: Instant) -> io::Result<()> {
        // The stop has its own descriptor.
        let nothing = PollFlags::empty();
        match &self.wait_context.stop {
            Some(stop) => sockets::wait_for(&[stop], nothing, &self.wait_context, Some(time)),
            None => Ok(()),
        }
    }

    /// Connects to one of the addresses of the endpoint, or of the proxy, by the deadline.
    ///
    /// # Errors
    /// The error of the last address, or at once an error that only another configuration mends.
    pub(crate) fn dial(&mut self, deadline: Instant) -> Result<Link> {
        let hop = Hop::first(&self.endpoint, self.proxy.as_ref());
        let addrs = hop.resolve(
            &mut self.resolver,
            &self.wait_context,
            &self.observer,
            deadline,
        )?;
        let targets = self.targets(deadline)?;
        self.dial_to_one_of(&addrs, &targets, deadline)
    }

    /// Returns when the next attempt may be made, if not at once.
    pub(crate) fn next_attempt(&self) -> Option<Instant> {
        self.dials.next()
    }

    /// Connects through a proxy, which may reach one target but not another.
    fn dial_to_one_of(
        &mut self,
        addrs: &[SocketAddr],
        targets: &[Option<SocketAddr>],
        deadline: Instant,
    ) -> Result<Link> {
        let mut targets = targets.iter().copied().peekable();
        loop {
            let target = targets.next().flatten();
            let is_last = targets.peek().is_none();
            let dialled = self.dial_one_of(addrs, target, share(deadline, is_last));
            match dialled {
                Err(error) if error.is_retryable() && !is_last => {
                    record!(self.observer.logger(), Debug, "{error}");
                }
                done => return done,
            }
        }
    }

    /// Returns the addresses of the endpoint for the proxy; a single `None` where the proxy takes
    /// the name, or there is no proxy.
    fn targets(&mut self, deadline: Instant) -> Result<Vec<Option<SocketAddr>>> {
        if self.proxy.as_ref().is_none_or(Proxy::resolves) {
            return Ok(vec![None]);
        }
        let hop = Hop::first(&self.endpoint, None);
        let addrs = hop.resolve(
            &mut self.target_resolver,
            &self.wait_context,
            &self.observer,
            deadline,
        )?;
        Ok(addrs.into_iter().map(Some).collect())
    }

    /// Takes the first address that connects. After a later failure, another one may succeed.
    fn dial_one_of(
        &mut self,
        addrs: &[SocketAddr],
        target: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<Link> {
        let mut attempts = Attempts::new(addrs);
        let mut last = None;
        loop {
            self.dials.note();
            let (addr, tcp) = match attempts.next(&self.wait_context, deadline) {
                Ok(connected) => connected,
                Err(error) => {
                    let hop = Hop::first(&self.endpoint, self.proxy.as_ref());
                    let error = hop.unreachable(attempts.tried(), error);
                    let is_stop = error.kind() == ErrorKind::Stopped;
                    return Err(last.filter(|_| !is_stop).unwrap_or(error));
                }
            };
            self.overhead = Overhead::of_packets(addr);
            self.observer.notify(&Step::Connected {
                addr,
                tried: attempts.tried().to_owned(),
            });
            match self.secure(tcp, target, share(deadline, attempts.is_over())) {
                Err(error) if error.is_retryable() && !attempts.is_over() => {
                    record!(self.observer.logger(), Debug, "{error}");
                    last = Some(error);
                }
                done => return done,
            }
        }
    }

    /// Continues from a TCP connection to the first hop.
    fn secure(
        &mut self,
        tcp: TcpStream,
        target: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<Link> {
        self.traffic.add_connection();
        let traffic = self.traffic.clone();
        if let Err(error) = tcp.set_nodelay(true) {
            // A sandbox may refuse it: what is sent may come later then.
            let logger = self.observer.logger();
            record!(logger, Debug, "connect: TCP_NODELAY cannot be set: {error}");
        }
        let mut wire = Wire::new(tcp, self.wait_context.clone(), traffic).map_err(|error| {
            let message = "the socket cannot be set up";
            Error::new(Phase::Connect, ErrorKind::System, message).because(error)
        })?;
        wire.set_deadline(Some(deadline));
        if let Some(proxy) = &self.proxy {
            proxy.connect(&mut wire, &self.endpoint, target)?;
            let proxy = proxy.at.to_string();
            self.observer.notify(&Step::Proxied { proxy });
        }
        if self.endpoint.tls {
            let stream = tls::handshake(wire, &self.tls, &self.endpoint)?;
            (self.overhead.record, self.overhead.certificates) = tls::overhead(&stream);
            let secured = tls::secured(&stream);
            if let Step::Secured { is_resumed, .. } = secured {
                self.traffic.add_handshake(is_resumed);
            }
            self.observer.notify(&secured);
            Ok(Link::new(Layer::Tls(Box::new(stream))))
        } else {
            Ok(Link::new(Layer::Plain(wire)))
        }
    }
}

/// Returns the proxy on the way to an endpoint, if there is one.
fn proxy_to(endpoint: &Endpoint, config: &Config) -> Result<Option<Proxy>> {
    match &config.proxy {
        Some(_) if proxy::is_exempt(&endpoint.at, &config.no_proxy) => Ok(None),
        Some(url) => Proxy::parse(url.expose_secret()).map(Some),
        None => Ok(None),
    }
}

/// Checks of the parts of a configuration that belong to the route.
impl Config {
    /// Checks all that can be checked before anything is sent, as
    /// [`Client::connect`](crate::Client::connect) does.
    ///
    /// # Errors
    /// `Config`, and `System` where there are no file descriptors left.
    pub fn validate(&self) -> Result<()> {
        Route::new(self).map(drop)
    }

    /// Returns the proxy that connections to the endpoint go through, as `HOST:PORT`. `None`
    /// without one, and where [`Config::no_proxy`] has the endpoint.
    ///
    /// # Errors
    /// As [`Config::validate`].
    pub fn proxy_in_use(&self) -> Result<Option<String>> {
        Ok(Route::new(self)?.proxy())
    }
}

/// Returns the deadline of one of several attempts: it leaves time for the others.
fn share(deadline: Instant, is_last: bool) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    if is_last {
        deadline
    } else {
        Instant::now() + left / 2
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
