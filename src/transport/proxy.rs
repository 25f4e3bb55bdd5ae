use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

use crate::endpoint::{Endpoint, HostPort};
use crate::error::{ErrorKind, Phase, Setting};
use crate::http::head::{self, Head};
use crate::printable;
use crate::secret::Redactor;
use crate::transport::socks::{self, Login, Target};
use crate::transport::wire::Wire;
use crate::wait::ended::WaitEnded;
use crate::{Error, Result};

/// A proxy that makes connections for others.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) at: HostPort,
    protocol: Protocol,
}

#[derive(Clone)]
enum Protocol {
    /// CONNECT, RFC 9110 §9.3.6.
    Http {
        /// The value of Proxy-Authorization: a secret.
        authorization: Option<String>,
    },
    /// SOCKS 5, RFC 1928.
    Socks {
        login: Option<Login>,
        /// Whether the proxy looks names up.
        resolves: bool,
    },
}

impl Proxy {
    /// Reads `[SCHEME://][USER:PASSWORD@]HOST[:PORT]`, of HTTP unless a scheme says that it is of
    /// SOCKS. The port is 80 or 1080 unless it is given.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        // The URL is not shown, since a password may stand in it.
        let wrong = |what: &str| {
            let message = format!(
                "proxy: {what}: give http://[USER:PASSWORD@]HOST[:PORT], or socks5:// or socks5h://"
            );
            Error::config(message).about(Setting::Proxy)
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let scheme = scheme.to_ascii_lowercase();
        let port = match scheme.as_str() {
            "http" => 80,
            "socks5" | "socks5h" => 1080,
            _ => return Err(wrong("not an http:// or socks5:// URL")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, at) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((user, at)) => (Some(user), at),
        };
        let at = HostPort::parse(at, port).map_err(wrong)?;
        let user = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            [user, password].map(|text| percent_decode_str(text).collect::<Vec<u8>>())
        });
        let protocol = if scheme == "http" {
            let basic = |user: [Vec<u8>; 2]| {
                let plain = user.join(&b':');
                format!("Basic {}", BASE64_STANDARD.encode(plain))
            };
            let authorization = user.map(basic);
            Protocol::Http { authorization }
        } else {
            let login = user.map(|[user, password]| {
                let login = Login::new(user, password);
                login.ok_or_else(|| wrong("SOCKS takes a user and a password of 1 to 255 bytes"))
            });
            Protocol::Socks {
                login: login.transpose()?,
                resolves: scheme == "socks5h",
            }
        };
        Ok(Self { at, protocol })
    }

    /// Returns whether the proxy takes the name of the endpoint, and looks it up.
    pub(crate) fn resolves(&self) -> bool {
        match self.protocol {
            Protocol::Http { .. } => true,
            Protocol::Socks { resolves, .. } => resolves,
        }
    }

    /// Has the proxy connect `wire` to the endpoint, by the deadline that it has: to this address
    /// of it, if there is one.
    ///
    /// # Errors
    /// `Status` for a refusal, `Refused` for the user and the password, `Malformed` for an invalid
    /// answer, and I/O errors of the connection.
    pub(crate) fn connect(
        &self,
        wire: &mut Wire,
        endpoint: &Endpoint,
        addr: Option<SocketAddr>,
    ) -> Result<()> {
        match &self.protocol {
            Protocol::Http { authorization } => {
                self.connect_by_http(wire, endpoint, authorization.as_deref())
            }
            Protocol::Socks { login, .. } => {
                self.connect_by_socks(wire, endpoint, addr, login.as_ref())
            }
        }
    }

    fn connect_by_http(
        &self,
        wire: &mut Wire,
        endpoint: &Endpoint,
        authorization: Option<&str>,
    ) -> Result<()> {
        let to = &endpoint.at;
        let header = match authorization {
            Some(value) => format!("Proxy-Authorization: {value}\r\n"),
            None => String::new(),
        };
        let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{header}\r\n");
        let sent = wire.write_all(request.as_bytes());
        let head = sent
            .and_then(|()| Head::read(wire))
            .map_err(|error| self.broken(error))?;
        match head.status {
            200..300 if head.rest.is_empty() => Ok(()),
            // TLS lets the client speak first.
            200..300 => {
                let message = format!("{} sent more than its answer", self.at);
                Err(failed(ErrorKind::Malformed, message))
            }
            status => {
                let location = head.first("location");
                let mut redactor = Redactor::default();
                let secret = authorization.and_then(|value| value.split(' ').next_back());
                redactor.hide(secret.unwrap_or_default());
                let peer = self.at.to_string();
                let status_of = head::status_of(&peer, status, location, None, &redactor);
                let asked = auth_schemes(&head);
                let message = format!("{status_of} for a tunnel to {to}{asked}");
                let failed = failed(ErrorKind::Status(status), message);
                Err(failed.not_before(head.retry_after()))
            }
        }
    }

    fn connect_by_socks(
        &self,
        wire: &mut Wire,
        endpoint: &Endpoint,
        addr: Option<SocketAddr>,
        login: Option<&Login>,
    ) -> Result<()> {
        let (at, to) = (&self.at, &endpoint.at);
        let target = match (addr, to.host.parse()) {
            (Some(addr), _) => Target::Addr(addr),
            (None, Ok(ip)) => Target::Addr(SocketAddr::new(ip, to.port)),
            (None, Err(_)) => Target::Name(&to.host, to.port),
        };
        socks::connect(wire, login, &target).map_err(|failure| match failure {
            socks::Failure::Io(error) => self.broken(error),
            socks::Failure::Malformed => {
                let message = format!("the answer of {at} is not SOCKS 5");
                failed(ErrorKind::Malformed, message)
            }
            socks::Failure::Login if login.is_none() => failed(
                ErrorKind::Refused,
                format!("{at} requires a user and password"),
            ),
            socks::Failure::Login => failed(
                ErrorKind::Refused,
                format!("{at} refused the user and password"),
            ),
            socks::Failure::Reply(code) => {
                let words = socks::reply_text(code);
                let to = match addr {
                    Some(addr) => format!("{to} ({addr})"),
                    None => to.to_string(),
                };
                failed(
                    ErrorKind::Disconnected,
                    format!("{at} cannot connect to {to}: {words}"),
                )
            }
        })
    }

    fn broken(&self, error: io::Error) -> Error {
        if WaitEnded::is_stop(&error) {
            return Error::stopped(Phase::Proxy);
        }
        Error::from_io(Phase::Proxy, &self.at, error).about(Setting::Proxy)
    }
}

fn failed(kind: ErrorKind, message: String) -> Error {
    Error::new(Phase::Proxy, kind, message).about(Setting::Proxy)
}

/// Returns the authentication schemes that a proxy asks for, without Basic (RFC 9110 §11.7.1).
fn auth_schemes(head: &Head) -> String {
    let is_token = |word: &&[u8]| {
        let is_plain = |&b: &u8| b.is_ascii_alphanumeric() || b == b'-';
        !word.is_empty() && word.iter().all(is_plain)
    };
    // A value that begins with a parameter continues the scheme before it.
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
        let schemes = printable::escape_words(&schemes.join(", "));
        format!(", which asks for {schemes}")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.at).finish()
    }
}

/// Returns whether a list as that of `NO_PROXY` has the host: entries by commas or blanks.
pub(crate) fn is_exempt(at: &HostPort, list: &str) -> bool {
    let mut entries = list
        .split(|c: char| c == ',' || c.is_ascii_whitespace())
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

/// Returns whether an entry is the address, or a network that has it.
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
            ("a.example.com", "other .example.com\tmore", true),
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
            let shown = format!("{proxy:?}");
            let Protocol::Http { authorization: got } = proxy.protocol else {
                panic!("{url}")
            };
            assert_eq!(got.as_deref(), authorization);
            assert!(shown.starts_with("Proxy(HostPort {"), "{shown}");
            assert!(!shown.contains("Basic"), "{shown}");
        }
        for (url, at, resolves, has_login) in [
            ("socks5://proxy", "proxy:1080", false, false),
            ("SOCKS5H://u:p%40@proxy:9050/", "proxy:9050", true, true),
        ] {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!(
                (proxy.at.to_string().as_str(), proxy.resolves()),
                (at, resolves)
            );
            let Protocol::Socks { login, .. } = proxy.protocol else {
                panic!("{url}")
            };
            assert_eq!(login.is_some(), has_login);
        }
    }

    #[test]
    fn an_invalid_proxy_is_refused_without_showing_it() {
        let scheme = "not an http:// or socks5:// URL";
        for (url, what) in [
            ("https://u:secret@proxy", scheme),
            ("socks4://u:secret@proxy", scheme),
            ("http://u:secret@", "no host"),
            ("http://u:secret@proxy:0", "invalid port"),
            ("http://u:secret@proxy:x", "invalid port"),
            ("http://u:secret@proxy/path", "not a host"),
            (
                "socks5://secret@proxy",
                "SOCKS takes a user and a password of 1 to 255 bytes",
            ),
        ] {
            let error = Proxy::parse(url).unwrap_err().to_string();
            let wanted = "give http://[USER:PASSWORD@]HOST[:PORT], or socks5:// or socks5h://";
            assert_eq!(error, format!("config: proxy: {what}: {wanted}"));
        }
    }
}
