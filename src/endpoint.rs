use std::fmt;
use std::net::Ipv6Addr;

use crate::error::Setting;
use crate::{Error, Result};

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// IPv4, RFC 791.
    V4,
    /// IPv6, RFC 8200.
    V6,
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The parsed URL of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) tls: bool,
    pub(crate) at: HostPort,
    /// The form in a URL and in a Host header.
    pub(crate) authority: String,
    /// The part of the path before `/session`: empty, or without its last slash.
    pub(crate) prefix: String,
}

impl Endpoint {
    pub(crate) fn parse(url: &str, allow_plaintext: bool) -> Result<Self> {
        Self::parse_setting(url, allow_plaintext, "endpoint", Setting::Endpoint)
    }

    /// Reads the URL of a setting, by the name that errors give it.
    pub(crate) fn parse_setting(
        url: &str,
        allow_plaintext: bool,
        name: &str,
        setting: Setting,
    ) -> Result<Self> {
        // First of all, since every other complaint shows the URL.
        if url.contains('@') {
            let message =
                format!("{name}: it contains a user or password: give https://HOST[:PORT]");
            return Err(Error::config(message).about(setting));
        }
        let wrong = |what: &str| {
            let path = if setting == Setting::Api { "/v5.0" } else { "" };
            let wanted = format!("give https://HOST[:PORT]{path}");
            Error::config(format!("{name} {url:?}: {what}: {wanted}")).about(setting)
        };
        let uri: ureq::http::Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if allow_plaintext => false,
            Some("http") => return Err(wrong("the token would travel in the clear")),
            _ => return Err(wrong("not an https URL")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("no host"))?.as_str();
        if uri.query().is_some() {
            return Err(wrong("a query in it"));
        }
        if url.contains('#') {
            return Err(wrong("a fragment in it"));
        }
        Ok(Self {
            tls,
            at: HostPort::parse(authority, if tls { 443 } else { 80 }).map_err(wrong)?,
            // Formats it as browsers do: without the default port.
            authority: authority
                .strip_suffix(if tls { ":443" } else { ":80" })
                .unwrap_or(authority)
                .to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// The peer, as errors name it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}

/// A host and a port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// A name or an address; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl HostPort {
    /// Reads `HOST[:PORT]`.
    ///
    /// # Errors
    /// Fails with a description of the mistake.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self, &'static str> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(text) => text.split_once(']').ok_or("missing ]")?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        // Not by http's `Uri::port`, which ignores an invalid port.
        let port = match rest.strip_prefix(':').map(str::parse) {
            None if rest.is_empty() => default_port,
            Some(Ok(port)) if port != 0 => port,
            _ => return Err("invalid port"),
        };
        if host.is_empty() {
            return Err("no host");
        }
        let in_brackets = text.starts_with('[');
        let is_host = if in_brackets {
            host.parse::<Ipv6Addr>().is_ok()
        } else {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            host.bytes().all(is_plain)
        };
        if !is_host {
            return Err("not a host");
        }
        let host = host.to_owned();
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, String> {
        Endpoint::parse(url, false).map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_taken_apart() {
        let plain = endpoint("https://octave-ws.sierrawireless.io").unwrap();
        assert_eq!(plain.to_string(), "octave-ws.sierrawireless.io:443");
        assert_eq!(plain.authority, "octave-ws.sierrawireless.io");
        for (url, authority) in [
            ("https://h:443", "h"),
            ("https://h:80", "h:80"),
            ("https://[::1]:443/x", "[::1]"),
            ("http://h:80", "h"),
            ("http://h:443", "h:443"),
        ] {
            assert_eq!(Endpoint::parse(url, true).unwrap().authority, authority);
        }
        assert_eq!(plain.prefix, "");
        let v6 = endpoint("HTTPS://[::1]:8443/octave/").unwrap();
        assert_eq!((v6.at.host.as_str(), v6.at.port), ("::1", 8443));
        assert_eq!(v6.to_string(), "[::1]:8443");
        assert_eq!(v6.prefix, "/octave");
        let clear = Endpoint::parse("http://localhost", true).unwrap();
        assert_eq!((clear.at.port, clear.tls), (80, false));
    }

    #[test]
    fn an_invalid_endpoint_is_explained() {
        for (url, what) in [
            ("http://h", "the token would travel in the clear"),
            ("wss://h", "not an https URL"),
            ("localhost:8443", "not an https URL"),
            ("", "not a URL"),
            ("https://", "not a URL"),
            ("https://h:0", "invalid port"),
            ("https://h:", "invalid port"),
            ("https://h:99999", "invalid port"),
            ("https://h/?a", "a query in it"),
            ("https://h/v5.0#a", "a fragment in it"),
            ("https://h h", "not a URL"),
        ] {
            let message = format!("config: endpoint {url:?}: {what}: give https://HOST[:PORT]");
            assert_eq!(endpoint(url), Err(message));
        }
        let secret = endpoint("https://u:secret@h").unwrap_err();
        assert!(!secret.contains("secret"), "{secret}");
    }
}
