use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// A step on the way to an open WebSocket, once it is done.
///
/// A client may take them more than once: for each address that it tries, where the service ends
/// the session's connection, and whenever it connects again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The service, or the proxy, has addresses.
    #[non_exhaustive]
    Resolved {
        /// The name that was looked up, or an address.
        host: String,
        /// In the system's order, at least one.
        addrs: Vec<SocketAddr>,
    },
    /// There is a TCP connection to one of them.
    #[non_exhaustive]
    Connected {
        /// The address.
        addr: SocketAddr,
        /// Those that were tried until then, in order, this one among them.
        tried: Vec<SocketAddr>,
    },
    /// The proxy has connected to the service.
    #[non_exhaustive]
    Proxied {
        /// The proxy, as `HOST:PORT`.
        proxy: String,
    },
    /// The TLS handshake is done.
    #[non_exhaustive]
    Secured {
        /// The version of TLS, as `1.3`.
        version: &'static str,
        /// The cipher suite, as IANA names it.
        cipher: String,
        /// Whether it took up the session of an earlier handshake.
        is_resumed: bool,
        /// The service's certificate (X.509, DER). Empty where there was none to be had.
        certificate: Vec<u8>,
    },
    /// The service has opened a session.
    #[non_exhaustive]
    SessionOpened {
        /// The service's clock, to the second, if it told it.
        date: Option<SystemTime>,
        /// Whether the connection is kept for what comes after.
        is_kept: bool,
    },
    /// The WebSocket is open.
    Upgraded,
}

/// In one line, with its stage.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved { host, addrs } => {
                write!(f, "resolve: {host} has addresses: {}", addrs.len())
            }
            Self::Connected { addr, .. } => write!(f, "connect: connected to {addr}"),
            Self::Proxied { proxy } => write!(f, "proxy: connected by {proxy}"),
            Self::Secured {
                version,
                cipher,
                is_resumed,
                ..
            } => {
                let kind = if *is_resumed { "resumed" } else { "full" };
                write!(f, "tls: {kind} handshake of TLS {version}, {cipher}")
            }
            Self::SessionOpened { is_kept, .. } => {
                let kept = if *is_kept { "kept" } else { "ended" };
                write!(f, "session: opened, and the connection {kept}")
            }
            Self::Upgraded => f.write_str("upgrade: the WebSocket is open"),
        }
    }
}

type Notify = dyn Fn(&Step) + Send + Sync;

/// Who is told of steps.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Notify>>);

impl Observer {
    pub(crate) fn new(observer: impl Fn(&Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn notify(&self, step: &Step) {
        log::debug!("{step}");
        if let Some(observer) = &self.0 {
            observer(step);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
