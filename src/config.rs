use std::fmt;
use std::time::{Duration, Instant};

use crate::credentials::{Credentials, Source};
use crate::endpoint::{Endpoint, IpVersion};
use crate::pulse::Pulse;
use crate::secret::Url;
use crate::step::{Observer, Step};
use crate::{Error, Result, Stop};

/// What a [`Client`](crate::Client) is to connect to, with what, and how patiently.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) credentials: Credentials,
    pub(crate) source: Source,
    pub(crate) endpoint: Url,
    pub(crate) allow_plaintext: bool,
    pub(crate) ca_pem: Option<Vec<u8>>,
    pub(crate) proxy: Option<Url>,
    pub(crate) no_proxy: String,
    pub(crate) ip_version: Option<IpVersion>,
    pub(crate) connect_timeout: Duration,
    pub(crate) connect_deadline: Option<Instant>,
    pub(crate) retry_for: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) max_message: usize,
    pub(crate) stop: Option<Stop>,
    pub(crate) observer: Observer,
    pub(crate) pulse: Pulse,
}

/// As good as for ever, and no danger to the arithmetic of instants.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Config {
    /// The service's own endpoint.
    pub const ENDPOINT: &str = "https://octave-ws.sierrawireless.io";

    /// The defaults, with these credentials.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            source: Source::default(),
            endpoint: Url::new(Self::ENDPOINT.to_owned()),
            allow_plaintext: false,
            ca_pem: None,
            proxy: None,
            no_proxy: String::new(),
            ip_version: None,
            connect_timeout: Duration::from_secs(10),
            connect_deadline: None,
            retry_for: Duration::ZERO,
            ack_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            heartbeat: Duration::ZERO,
            max_message: 16 << 20,
            stop: None,
            observer: Observer::default(),
            pulse: Pulse::default(),
        }
    }

    /// Where credentials come from for each new session, in place of those of [`Config::new`]: for a
    /// token that is replaced meanwhile. Where it fails, that is logged, and the last ones are used.
    ///
    /// ```
    /// # use octave_ws::{Config, Credentials, Token};
    /// # fn config(config: Config) -> Config {
    /// config.credentials_from(|| {
    ///     let token = std::fs::read_to_string("/run/octave-token")?;
    ///     Ok::<_, std::io::Error>(Credentials::new("demo", Token::new(token)))
    /// })
    /// # }
    /// ```
    pub fn credentials_from<E>(
        mut self,
        source: impl Fn() -> std::result::Result<Credentials, E> + Send + Sync + 'static,
    ) -> Self
    where
        E: fmt::Display,
    {
        self.source = Source::new(source);
        self
    }

    /// Where the service is, as `https://HOST[:PORT][/PREFIX]`. By default [`Config::ENDPOINT`].
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Url::new(url.into());
        self
    }

    /// Lets an `http://` endpoint be used, to which the token travels in the clear. By default it
    /// is refused.
    pub fn allow_plaintext(mut self) -> Self {
        self.allow_plaintext = true;
        self
    }

    /// The authorities to trust instead of the bundled web roots, as one or more PEM certificates.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// The proxy to connect through: `[http://][USER:PASSWORD@]HOST[:PORT]` by CONNECT (RFC 9110
    /// §9.3.6), or `socks5://` and `socks5h://` by SOCKS 5 (RFC 1928), which tell it the address or
    /// the name of the service. By default none, whatever the environment says.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(Url::new(url.into()));
        self
    }

    /// The hosts that are not connected to through the proxy, as the variable `NO_PROXY` lists
    /// them: names with all that end in them, addresses, networks as `10.0.0.0/8`, or `*` for all,
    /// separated by commas or blanks. By default none.
    pub fn no_proxy(mut self, hosts: impl Into<String>) -> Self {
        self.no_proxy = hosts.into();
        self
    }

    /// Looks names up, and connects to them, by IPv4 or IPv6 alone. By default both.
    pub fn ip_version(mut self, version: IpVersion) -> Self {
        self.ip_version = Some(version);
        self
    }

    /// How long each part of connecting may take: the name, TCP and TLS together; the session's
    /// answer; the upgrade. More than zero; by default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(FOREVER);
        self
    }

    /// When to give up connecting, however far that has come. By default never.
    pub fn connect_deadline(mut self, deadline: Instant) -> Self {
        self.connect_deadline = Some(deadline);
        self
    }

    /// How long to go on trying while there is no connection, at first and after a loss; zero does
    /// not try again, [`Duration::MAX`] never gives up. By default zero.
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.retry_for = time.min(FOREVER);
        self
    }

    /// How long a request may go unanswered. More than zero; by default 10 s.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout.min(FOREVER);
        self
    }

    /// After how long a silence to ask for a sign of life; zero never asks. By default 20 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval.min(FOREVER);
        self
    }

    /// How long to wait for a sign of life; zero never asks for one. By default 20 s.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.ping_timeout = timeout.min(FOREVER);
        self
    }

    /// How often to send the text frame `{"type":"heartbeat"}`, a second at least; zero for never.
    /// By default never.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = if interval.is_zero() {
            interval
        } else {
            interval.clamp(Duration::from_secs(1), FOREVER)
        };
        self
    }

    /// The longest message to take, in bytes. By default 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// What ends a wait before its time, that for a connection included. By default nothing does.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Who is told of each step of connecting, when it is done. By default nobody.
    pub fn observer(mut self, observer: impl Fn(&Step) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// What is called again and again, at least `every` so often, while there is no connection but
    /// attempts to make one: for a program that has something else to see to, as a watchdog. By
    /// default nothing is.
    pub fn while_connecting(
        mut self,
        every: Duration,
        call: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        self.pulse = Pulse::new(every.max(Duration::from_millis(1)), call);
        self
    }

    /// Takes the credentials that the next session is to be asked for with.
    pub(crate) fn renew_credentials(&mut self) {
        if let Some(credentials) = self.source.ask() {
            self.credentials = credentials;
        }
    }

    /// When a part of connecting that begins now has to be done.
    pub(crate) fn phase_deadline(&self) -> Instant {
        let deadline = Instant::now() + self.connect_timeout;
        self.connect_deadline
            .map_or(deadline, |at| at.min(deadline))
    }

    /// Checks what can be checked before anything is sent.
    pub(crate) fn check(&self) -> Result<Endpoint> {
        self.credentials.check()?;
        for (name, timeout) in [("connect", self.connect_timeout), ("ack", self.ack_timeout)] {
            if timeout.is_zero() {
                let message = format!("the {name} timeout is zero: nothing would be in time");
                return Err(Error::config(message));
            }
        }
        Endpoint::parse(self.endpoint.expose_secret(), self.allow_plaintext)
    }
}
