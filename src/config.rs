use std::fmt;
use std::time::{Duration, Instant};

use crate::credentials::Credentials;
use crate::endpoint::IpVersion;
use crate::logger::Logger;
use crate::protocol::Positions;
use crate::secret::Url;
use crate::source::Source;
use crate::step::{Observer, Step};
use crate::wait::watchdog::Watchdog;
use crate::{Error, LogLevel, Result, Stop};

mod check;

/// The configuration of a [`Client`](crate::Client).
///
/// ```
/// use std::time::Duration;
///
/// use octave_ws::{Config, Credentials, Token};
///
/// let config = Config::new(Credentials::new("my_company", Token::new("secret")))
///     .endpoint("https://octave.example.com")
///     .connect_timeout(Duration::from_secs(30))
///     .retry_for(Duration::MAX);
/// ```
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own"
)]
pub struct Config {
    /// An error says which are missing.
    pub(crate) credentials: Result<Credentials>,
    pub(crate) source: Source<Credentials>,
    pub(crate) endpoint: Url,
    pub(crate) api: Option<Url>,
    pub(crate) fill: bool,
    pub(crate) positions: Positions,
    pub(crate) allow_plaintext: bool,
    pub(crate) ca_pem: Option<Pem>,
    pub(crate) ca_source: Source<Vec<u8>>,
    pub(crate) extra_ca_pem: Option<Pem>,
    pub(crate) client_certificate: Option<Pem>,
    pub(crate) user_agent: String,
    pub(crate) proxy: Option<Url>,
    pub(crate) no_proxy: String,
    pub(crate) ip_version: Option<IpVersion>,
    pub(crate) connect_timeout: Duration,
    /// Set by [`Client::set_connect_limit`](crate::Client::set_connect_limit).
    pub(crate) connect_deadline: Option<Instant>,
    pub(crate) in_background: bool,
    pub(crate) retry_for: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) handover: bool,
    pub(crate) renew_every: Duration,
    pub(crate) compression: bool,
    pub(crate) max_message: usize,
    pub(crate) stop: Option<Stop>,
    pub(crate) observer: Observer,
    pub(crate) logger: Logger,
    pub(crate) watchdog: Watchdog,
}

/// Certificates, which `Debug` does not print.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pem(pub(crate) Vec<u8>);

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({} bytes)", self.0.len())
    }
}

/// Practically forever, without overflowing an instant.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Without credentials. [`Config::credentials`] sets them, or [`Config::credentials_from`].
impl Default for Config {
    fn default() -> Self {
        let missing = "no credentials: call Config::credentials or Config::credentials_from";
        Self {
            credentials: Err(Error::config(missing)),
            source: Source::default(),
            endpoint: Url::new(Self::ENDPOINT.to_owned()),
            api: None,
            fill: false,
            positions: Positions::default(),
            allow_plaintext: false,
            ca_pem: None,
            ca_source: Source::default(),
            extra_ca_pem: None,
            client_certificate: None,
            user_agent: Self::USER_AGENT.to_owned(),
            proxy: None,
            no_proxy: String::new(),
            ip_version: None,
            connect_timeout: Duration::from_secs(10),
            connect_deadline: None,
            in_background: false,
            retry_for: Duration::ZERO,
            ack_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            heartbeat: Duration::ZERO,
            handover: true,
            renew_every: Duration::ZERO,
            compression: true,
            max_message: 16 << 20,
            stop: None,
            observer: Observer::default(),
            logger: Logger::default(),
            watchdog: Watchdog::default(),
        }
    }
}

impl Config {
    /// The URL of the service.
    pub const ENDPOINT: &str = "https://octave-ws.sierrawireless.io";

    /// The URL of the service's REST API.
    pub const API: &str = "https://octave-api.sierrawireless.io/v5.0";

    /// The default of [`Config::user_agent`].
    pub const USER_AGENT: &str = concat!("octave-ws/", env!("CARGO_PKG_VERSION"));

    /// Creates a configuration with these credentials and defaults. [`Config::default`] has none, for
    /// credentials that come later.
    pub fn new(credentials: Credentials) -> Self {
        Self::default().credentials(credentials)
    }

    /// Sets the credentials.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Ok(credentials);
        self.source = Source::default();
        self
    }

    /// Sets a function that returns the credentials of each new session, in place of those of
    /// [`Config::new`], for a token that can change. If it fails, or its credentials cannot be used, the
    /// attempt to connect fails, and is repeated as any other.
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

    /// Sets the URL of the service, `https://HOST[:PORT][/PREFIX]`. Default: [`Config::ENDPOINT`].
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Url::new(url.into());
        self
    }

    /// Sets the URL of the REST API, `https://HOST[:PORT][/PREFIX]`, which gets the token, too. Default:
    /// [`Config::API`] with the endpoint [`Config::ENDPOINT`], and none with another one.
    pub fn api(mut self, url: impl Into<String>) -> Self {
        self.api = Some(Url::new(url.into()));
        self
    }

    /// Has a client read the history of the subscribed streams by the REST API after a loss, and at first
    /// from their [positions](Config::positions): events that were missed are returned in order, each
    /// once, before newer ones. [`Update::Filled`](crate::Update::Filled) tells of them, and
    /// [`Gap::stream`](crate::Gap) of what the history does not have. A stream without a position begins
    /// when it is subscribed. A call takes up to [`Config::connect_timeout`] longer while history is
    /// read, whatever its timeout. Default: no.
    pub fn fill(mut self) -> Self {
        self.fill = true;
        self
    }

    /// Sets the positions of streams, from which their history is read. Default: none.
    pub fn positions(mut self, positions: Positions) -> Self {
        self.positions = positions;
        self
    }

    /// Allows an `http://` endpoint, to which the token is sent unencrypted. Default: an error.
    pub fn allow_plaintext(mut self) -> Self {
        self.allow_plaintext = true;
        self
    }

    /// Sets the CA certificates to trust instead of the bundled web roots, in PEM.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(Pem(pem.into()));
        self
    }

    /// Sets a function that returns the CA certificates to trust on each new connection, in PEM, in
    /// place of those of [`Config::ca_pem`], for certificates that can change. If it fails, or none of
    /// them can be used, a warning is logged, and the last ones are used.
    pub fn ca_pem_from<E>(
        mut self,
        source: impl Fn() -> std::result::Result<Vec<u8>, E> + Send + Sync + 'static,
    ) -> Self
    where
        E: fmt::Display,
    {
        self.ca_source = Source::new(source);
        self
    }

    /// Sets CA certificates to trust beside the others, in PEM, such as that of a proxy which inspects
    /// TLS. Default: none.
    pub fn extra_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.extra_ca_pem = Some(Pem(pem.into()));
        self
    }

    /// Sets the certificate that the client shows to a service that asks for one, with its chain and its
    /// private key, in PEM. Default: none.
    pub fn client_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.client_certificate = Some(Pem(pem.into()));
        self
    }

    /// Sets the value of the header `User-Agent` (RFC 9110 §10.1.5), of visible ASCII and blanks.
    /// Default: [`Config::USER_AGENT`].
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Sets the proxy: `[http://][USER:PASSWORD@]HOST[:PORT]` uses CONNECT (RFC 9110 §9.3.6);
    /// `socks5://` and `socks5h://` use SOCKS 5 (RFC 1928), with the address or the name of the
    /// service. Default: none, whatever the environment says.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(Url::new(url.into()));
        self
    }

    /// Sets the hosts to connect to without the proxy, in the form of the variable `NO_PROXY`: domains
    /// (with their subdomains), addresses, networks such as `10.0.0.0/8`, or `*` for all, separated by
    /// commas or blanks. Default: none.
    pub fn no_proxy(mut self, hosts: impl Into<String>) -> Self {
        self.no_proxy = hosts.into();
        self
    }

    /// Restricts name resolution and connections to IPv4 or IPv6. Default: both.
    pub fn ip_version(mut self, version: IpVersion) -> Self {
        self.ip_version = Some(version);
        self
    }

    /// Sets the timeout of each of: name resolution, TCP and TLS together; the session answer; the
    /// upgrade. Must not be zero. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets whether each attempt to connect is made in a short-lived thread, so that
    /// [`Client::next`](crate::Client::next) returns after its timeout meanwhile, and
    /// [watched](crate::Client::watch) descriptors interrupt no attempt. The functions of this
    /// configuration are called on the thread of the caller all the same. Where the system has no thread
    /// left, calls wait as without. Default: no.
    pub fn connect_in_background(mut self, in_background: bool) -> Self {
        self.in_background = in_background;
        self
    }

    /// Sets for how long to retry while there is no connection, at first and after a loss. Zero does
    /// not retry; [`Duration::MAX`] retries forever. Default: zero.
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.retry_for = time.min(FOREVER);
        self
    }

    /// Sets the timeout for the acknowledgement of a request. Must not be zero. Default: 10 s.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets the silence after which a ping is sent; zero disables pings. Default: 20 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval.min(FOREVER);
        self
    }

    /// Sets the timeout for any data after a ping; zero disables pings. Default: 20 s.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.ping_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets the interval for sending `{"type":"heartbeat"}`, at least 1 s; zero disables it. Default:
    /// zero.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = if interval.is_zero() {
            interval
        } else {
            interval.clamp(Duration::from_secs(1), FOREVER)
        };
        self
    }

    /// Sets whether a connection on which pings go unanswered is kept until the next one is subscribed:
    /// events that were sent on it and come late are returned then, before newer ones, which wait for
    /// them as long as TCP may take to retransmit. [`Update::Handover`](crate::Update::Handover)
    /// takes the place of a loss and a gap if a last pong proves that nothing is missing. Needs a
    /// service that allows two connections. Default: yes.
    pub fn handover(mut self, handover: bool) -> Self {
        self.handover = handover;
        self
    }

    /// Sets the time after which a connection is replaced by a new one, to meet a limit of the service or
    /// of a balancer before it comes; each time up to a tenth sooner, at random. The old connection is
    /// handed over, see [`Config::handover`]. Zero replaces none until three in a row have ended after
    /// the same time, and from then on each after four fifths of that. Default: zero.
    pub fn renew_every(mut self, interval: Duration) -> Self {
        self.renew_every = interval.min(FOREVER);
        self
    }

    /// Sets whether the service is asked to compress its messages (permessage-deflate, RFC 7692). Costs
    /// 90 KiB of memory on a connection where the service does. Default: yes.
    pub fn compression(mut self, compression: bool) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the maximum size of a message in bytes, after decompression. Default: 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets a [`Stop`], which interrupts every wait, including connecting. Default: none.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Sets a function that receives each completed step of connecting. Default: none.
    pub fn observer(mut self, observer: impl Fn(&Step) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// Sets a function that takes the log records of this client, each one line and its level, in place of
    /// the crate `log`. It is called on the thread that calls the client. Default: none.
    pub fn log(mut self, log: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Self {
        self.logger = Logger::new(log);
        self
    }

    /// Sets a function that feeds a watchdog: it is called at least this often while the client
    /// connects or waits to reconnect, when no call returns. Default: none.
    pub fn watchdog(mut self, every: Duration, call: impl Fn() + Send + Sync + 'static) -> Self {
        self.watchdog = Watchdog::new(every.clamp(Duration::from_millis(1), FOREVER), call);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Token;

    #[test]
    fn credentials_that_will_not_do_are_not_taken() {
        let with = |company: &str| Credentials::new(company, Token::new("t"));
        let renewed = |asked: std::result::Result<Credentials, &'static str>| {
            let mut config = Config::default().credentials_from(move || asked.clone());
            config.check().unwrap();
            config.renew_credentials().map_err(|error| {
                assert!(error.is_retryable());
                error.to_string()
            })?;
            Ok(config.credentials.unwrap().company)
        };
        assert_eq!(renewed(Ok(with("a"))), Ok("a".to_owned()));
        let empty = "config: the company is empty".to_owned();
        assert_eq!(renewed(Ok(with(""))), Err(empty));
        let absent = "config: no credentials: not yet".to_owned();
        assert_eq!(renewed(Err("not yet")), Err(absent));
        let given = Config::default().credentials(with("a"));
        assert_eq!(given.credentials.unwrap().company, "a");
    }
}
