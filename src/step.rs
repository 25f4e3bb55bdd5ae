use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::logger::{Logger, record};

/// A completed step of connecting, received by [`Config::observer`](crate::Config::observer).
///
/// Steps repeat when the client tries another address, when the service closes the connection of the
/// session request, and when the client reconnects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The name of the service or the proxy was looked up.
    #[non_exhaustive]
    Resolved {
        /// The name that was looked up, or an address.
        host: String,
        /// At least one, in the order of the system.
        addrs: Vec<SocketAddr>,
    },
    /// A TCP connection to one of them was opened.
    #[non_exhaustive]
    Connected {
        /// The address.
        addr: SocketAddr,
        /// The addresses that were tried, in order, including this one.
        tried: Vec<SocketAddr>,
    },
    /// The proxy connected to the service.
    #[non_exhaustive]
    Proxied {
        /// The proxy, as `HOST:PORT`.
        proxy: String,
    },
    /// The TLS handshake was completed.
    #[non_exhaustive]
    Secured {
        /// The version of TLS: `1.2` or `1.3`.
        version: &'static str,
        /// The IANA name of the cipher suite.
        cipher: String,
        /// Whether it resumed an earlier TLS session.
        is_resumed: bool,
        /// The certificate of the service (X.509, DER), empty if it sent no certificate.
        certificate: Vec<u8>,
    },
    /// The service opened a session.
    #[non_exhaustive]
    SessionOpened {
        /// The `Date` of the answer, if it has one.
        date: Option<SystemTime>,
        /// Whether the service keeps the connection open, for the WebSocket.
        is_kept: bool,
    },
    /// The WebSocket is open.
    #[non_exhaustive]
    Upgraded {
        /// Whether the service compresses its messages (permessage-deflate).
        is_compressed: bool,
    },
}

/// Formats one line, with its stage.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved { host, addrs } => {
                let noun = if addrs.len() == 1 {
                    "address"
                } else {
                    "addresses"
                };
                write!(f, "resolve: resolved {host} to {} {noun}", addrs.len())
            }
            Self::Connected { addr, .. } => write!(f, "connect: connected to {addr}"),
            Self::Proxied { proxy } => write!(f, "proxy: connected through {proxy}"),
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
            Self::Upgraded { is_compressed } => {
                let compressed = if *is_compressed { ", compressed" } else { "" };
                write!(f, "upgrade: the WebSocket is open{compressed}")
            }
        }
    }
}

type Notify = dyn Fn(&Step) + Send + Sync;

/// The function that receives steps, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Observer {
    notify: Option<Arc<Notify>>,
    logger: Logger,
}

impl Observer {
    pub(crate) fn new(observer: impl Fn(&Step) + Send + Sync + 'static) -> Self {
        Self {
            notify: Some(Arc::new(observer)),
            logger: Logger::default(),
        }
    }

    /// Lets this take the steps, too.
    pub(crate) fn with_logger(self, logger: &Logger) -> Self {
        let logger = logger.clone();
        Self { logger, ..self }
    }

    pub(crate) fn logger(&self) -> &Logger {
        &self.logger
    }

    pub(crate) fn notify(&self, step: &Step) {
        record!(self.logger, Debug, "{step}");
        self.call(step);
    }

    /// Calls the function alone.
    pub(crate) fn call(&self, step: &Step) {
        if let Some(notify) = &self.notify {
            notify(step);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
