use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

use crate::config::{Endpoint, HostPort};
use crate::error::{ErrorKind, Phase, Setting};
use crate::head::{self, Head};
use crate::wire::{self, Wire};
use crate::{Error, Result};

/// An HTTP proxy that makes connections for others, by CONNECT (RFC 9110 §9.3.6).
pub(crate) struct Proxy {
    pub(crate) at: HostPort,
    /// The value of Proxy-Authorization: a secret.
    authorization: Option<String>,
}

impl Proxy {
    /// Reads `[http://][USER:PASSWORD@]HOST[:PORT]`. The port is 80 unless it is given.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        // The URL is not shown, since a password may stand in it.
        let wrong = |what: &str| {
            let message = format!("proxy: {what}: give http://[USER:PASSWORD@]HOST[:PORT]");
            Error::config(message).about(Setting::Proxy)
        };
        let rest = match url.split_once("://") {
            None => url,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(wrong("not an http:// URL")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, at) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((user, at)) => (Some(user), at),
        };
        let at = HostPort::parse(at, 80).map_err(wrong)?;
        let authorization = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            let mut plain: Vec<u8> = percent_decode_str(user).collect();
            plain.push(b':');
            plain.extend(percent_decode_str(password));
            format!("Basic {}", BASE64_STANDARD.encode(plain))
        });
        Ok(Self { at, authorization })
    }

    /// Has the proxy connect `wire` to the endpoint, by the deadline that it has.
    ///
    /// # Errors
    /// `Status` for an answer that refuses, `Malformed` for one that is none, and those of the
    /// connection.
    pub(crate) fn connect(&self, wire: &mut Wire, endpoint: &Endpoint) -> Result<()> {
        let to = &endpoint.at;
        let authorization = match &self.authorization {
            Some(value) => format!("Proxy-Authorization: {value}\r\n"),
            None => String::new(),
        };
        let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{authorization}\r\n");
        let sent = wire.write_all(request.as_bytes());
        let head = sent
            .and_then(|()| Head::read(wire))
            .map_err(|error| self.broken(error))?;
        let new = |kind, message: String| {
            let error = Error::new(Phase::Proxy, kind, message);
            Err(error.about(Setting::Proxy))
        };
        match head.status {
            200..300 if head.rest.is_empty() => Ok(()),
            // TLS lets the client speak first.
            200..300 => {
                let message = format!("{} sent more than its answer", self.at);
                new(ErrorKind::Malformed, message)
            }
            status => {
                let location = head.first("location");
                let status_of = head::status_of(&self.at.to_string(), status, location);
                let asked = asked(&head);
                let message = format!("{status_of} for a way to {to}{asked}");
                new(ErrorKind::Status(status), message)
            }
        }
    }

    fn broken(&self, error: io::Error) -> Error {
        if wire::is_stop(&error) {
            return Error::stopped(Phase::Proxy);
        }
        let at = &self.at;
        let (kind, message) = match error.kind() {
            io::ErrorKind::WouldBlock => {
                let message = format!("no answer from {at} in time");
                let error = Error::new(Phase::Proxy, ErrorKind::TimedOut, message);
                return error.about(Setting::Proxy);
            }
            io::ErrorKind::InvalidData => (
                ErrorKind::Malformed,
                format!("the answer of {at} is not HTTP"),
            ),
            _ => (
                ErrorKind::Disconnected,
                format!("{at} ended the connection"),
            ),
        };
        let error = Error::new(Phase::Proxy, kind, message).because(error);
        error.about(Setting::Proxy)
    }
}

/// Which authentication a proxy asks for, where that is not Basic (RFC 9110 §11.7.1).
fn asked(head: &Head) -> String {
    let is_token = |word: &&[u8]| {
        let is_plain = |&b: &u8| b.is_ascii_alphanumeric() || b == b'-';
        !word.is_empty() && word.iter().all(is_plain)
    };
    // What has a parameter for its first word goes on with the scheme before it.
    let schemes: Vec<_> = head
        .values("proxy-authenticate")
        .filter_map(|value| value.split(|&b| b == b' ').next())
        .filter(is_token)
        .map(String::from_utf8_lossy)
        .collect();
    let has_basic = schemes
        .iter()
        .any(|name| name.eq_ignore_ascii_case("basic"));
    if schemes.is_empty() || has_basic {
        String::new()
    } else {
        format!(", which asks for {}", schemes.join(", "))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.at).finish()
    }
}

/// Whether a list as that of `NO_PROXY` has the host.
pub(crate) fn is_exempt(at: &HostPort, list: &str) -> bool {
    let mut entries = list
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let ip: Option<IpAddr> = at.host.parse().ok();
    entries.any(|entry| match (entry, ip) {
        ("*", _) => true,
        (_, Some(ip)) => holds(entry, ip),
        (_, None) => {
            let (name, port) = match entry.rsplit_once(':') {
                Some((name, port)) => (name, port.parse().ok()),
                None => (entry, Some(at.port)),
            };
            let name = name.trim_start_matches("*.").trim_start_matches('.');
            port == Some(at.port) && is_or_ends_in(&at.host, name)
        }
    })
}

fn is_or_ends_in(host: &str, name: &str) -> bool {
    let (host, name) = (host.to_ascii_lowercase(), name.to_ascii_lowercase());
    match host.strip_suffix(&name) {
        Some(rest) => rest.is_empty() || rest.ends_with('.'),
        None => false,
    }
}

/// Whether an entry is the address, or a network that has it.
fn holds(entry: &str, ip: IpAddr) -> bool {
    let (network, bits) = match entry.split_once('/') {
        Some((network, bits)) => (network, bits.parse().ok()),
        None => (entry, Some(128)),
    };
    let network = network.trim_matches(['[', ']']).parse();
    let (Ok(network), Some(bits)) = (network, bits) else {
        return false;
    };
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let differ = u32::from(network) ^ u32::from(ip);
            differ.leading_zeros() >= u32::min(bits, 32)
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let differ = u128::from(network) ^ u128::from(ip);
            differ.leading_zeros() >= u32::min(bits, 128)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_exempt_by_name_ending_address_or_network() {
        for (host, list, exempt) in [
            ("a.example.com", "example.com", true),
            ("a.example.com", " other , .Example.com", true),
            ("a.example.com", "*.example.com", true),
            ("example.com", ".example.com", true),
            ("badexample.com", "example.com", false),
            ("example.com", "a.example.com", false),
            ("example.com", "example.com:443", true),
            ("example.com", "example.com:80", false),
            ("anything", "*", true),
            ("anything", "", false),
            ("anything", ",", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "2.3", false),
            ("::1", "[::1]", true),
            ("fe80::1", "fe80::/10", true),
            ("::1", "0.0.0.0/0", false),
        ] {
            let host = host.to_owned();
            let at = HostPort { host, port: 443 };
            assert_eq!(is_exempt(&at, list), exempt, "{at} {list:?}");
        }
    }

    #[test]
    fn a_proxy_is_taken_apart() {
        for (url, at, authorization) in [
            ("http://proxy:3128", "proxy:3128", None),
            ("HTTP://proxy/", "proxy:80", None),
            ("10.0.0.1:8080", "10.0.0.1:8080", None),
            ("http://[::1]:3128", "[::1]:3128", None),
            // RFC 7617 §2.
            (
                "http://Aladdin:open%20sesame@proxy",
                "proxy:80",
                Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ),
            ("http://u:p@ss@proxy", "proxy:80", Some("Basic dTpwQHNz")),
        ] {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!(proxy.at.to_string(), at);
            assert_eq!(proxy.authorization.as_deref(), authorization);
            let shown = format!("{proxy:?}");
            assert!(shown.starts_with("Proxy(HostPort {"), "{shown}");
            assert!(!shown.contains("Basic"), "{shown}");
        }
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_unseen() {
        for (url, what) in [
            ("https://u:secret@proxy", "not an http:// URL"),
            ("socks5://u:secret@proxy", "not an http:// URL"),
            ("http://u:secret@", "no host"),
            ("http://u:secret@proxy:0", "not a port after the colon"),
            ("http://u:secret@proxy:x", "not a port after the colon"),
            ("http://u:secret@proxy/path", "not a host"),
        ] {
            let error = Proxy::parse(url).unwrap_err().to_string();
            let wanted = "give http://[USER:PASSWORD@]HOST[:PORT]";
            assert_eq!(error, format!("config: proxy: {what}: {wanted}"));
        }
    }
}
