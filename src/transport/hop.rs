use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::endpoint::{Endpoint, HostPort, IpVersion};
use crate::error::{ErrorKind, Phase, Setting};
use crate::step::{Observer, Step};
use crate::transport::proxy::Proxy;
use crate::transport::resolve::Resolver;
use crate::wait::context::WaitContext;
use crate::wait::ended::WaitEnded;
use crate::{Error, Result};

/// The first stop on the way: the service, or the proxy.
pub(super) struct Hop<'a> {
    pub(super) at: &'a HostPort,
    pub(super) setting: Setting,
}

impl<'a> Hop<'a> {
    pub(super) fn first(endpoint: &'a Endpoint, proxy: Option<&'a Proxy>) -> Self {
        let (at, setting) = match proxy {
            Some(proxy) => (&proxy.at, Setting::Proxy),
            None => (&endpoint.at, Setting::Endpoint),
        };
        Self { at, setting }
    }

    /// Returns its name in errors.
    fn called(&self, name: &str) -> String {
        match self.setting {
            Setting::Proxy => format!("the proxy {name}"),
            _ => name.to_owned(),
        }
    }

    pub(super) fn resolve(
        &self,
        resolver: &mut Resolver,
        wait_context: &WaitContext,
        observer: &Observer,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>> {
        let found = resolver.resolve(self.at, wait_context, observer.logger(), deadline);
        let addrs = found.map_err(|error| self.unknown(resolver.version(), error))?;
        observer.notify(&Step::Resolved {
            host: self.at.host.clone(),
            addrs: addrs.clone(),
        });
        Ok(addrs)
    }

    /// Returns the error of a look-up.
    fn unknown(&self, version: Option<IpVersion>, error: io::Error) -> Error {
        if WaitEnded::is_stop(&error) {
            return Error::stopped(Phase::Resolve);
        }
        let name = self.called(&self.at.host);
        let new = |kind, message| Error::new(Phase::Resolve, kind, message).about(self.setting);
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                let message = format!("DNS lookup of {name} timed out");
                new(ErrorKind::TimedOut, message)
            }
            io::ErrorKind::NotFound => {
                let kind = version.map(|version| format!("{version} "));
                let message = format!("no {}address for {name}", kind.unwrap_or_default());
                new(ErrorKind::Disconnected, message)
            }
            _ => {
                let message = format!("no address for {name}");
                new(ErrorKind::Disconnected, message).because(error)
            }
        }
    }

    /// Returns the error of all the addresses that were tried.
    pub(super) fn unreachable(&self, tried: &[SocketAddr], error: io::Error) -> Error {
        let named = self.at.to_string();
        let peer = match tried {
            [addr] if addr.to_string() == named => named,
            _ => format!("{named} ({})", listed(tried)),
        };
        let peer = self.called(&peer);
        if WaitEnded::is_stop(&error) {
            return Error::stopped(Phase::Connect);
        }
        if error.kind() == io::ErrorKind::WouldBlock {
            return Error::from_io(Phase::Connect, peer, error).about(self.setting);
        }
        let message = format!("no connection to {peer}");
        let failed = Error::new(Phase::Connect, ErrorKind::Disconnected, message);
        failed.about(self.setting).because(error)
    }
}

/// Maximum number of addresses in an error.
const MAX_ADDRS: usize = 4;

fn listed(addrs: &[SocketAddr]) -> String {
    let (named, others) = addrs.split_at(addrs.len().min(MAX_ADDRS));
    let named: Vec<_> = named.iter().map(SocketAddr::to_string).collect();
    let named = named.join(", ");
    match others.len() {
        0 => named,
        n => format!("{named} and {n} more"),
    }
}
