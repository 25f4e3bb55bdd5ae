use std::fmt;

use crate::endpoint::Endpoint;

/// A session id. It gives access to the streams: `Debug` is redacted, and there is no `Display`.
///
/// ```
/// # #[cfg(feature = "sim")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use octave_ws::SessionId;
/// use octave_ws::sim::Sim;
///
/// let sim = Sim::start()?;
/// let config = sim.config();
/// // For another WebSocket client.
/// let url = SessionId::request(&config)?.url(&config)?;
/// assert!(url.starts_with("wss://127.0.0.1:"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "sim"))]
/// # fn main() {}
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(String);

impl SessionId {
    /// Returns an id that can stand in a URL as it is, `None` for any other: 1 to 256 of
    /// `[A-Za-z0-9._~-]`, and neither `.` nor `..`, which a URL would swallow.
    pub(crate) fn new(id: String) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        let usable = (1..=256).contains(&id.len()) && id.bytes().all(plain);
        (usable && id != "." && id != "..").then_some(Self(id))
    }

    /// Returns the path of its WebSocket: a secret as much as the id.
    pub(crate) fn path(&self, endpoint: &Endpoint) -> String {
        format!("{}/session/{}/ws", endpoint.prefix, self.0)
    }

    /// Returns the id itself, for another program. Do not log it.
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_not_in_debug() {
        let id = SessionId::new("n2fBC9YeE6g.qsQ".to_owned()).unwrap();
        assert_eq!(format!("{id:?}"), "SessionId(redacted)");
    }

    #[test]
    fn only_plain_ids_are_usable() {
        let longest = "a".repeat(256);
        for good in ["n2fBC9YeE6g.qsQNPOZ_9-Q~", "a", "...", &longest] {
            assert!(SessionId::new(good.to_owned()).is_some(), "{good:?}");
        }
        let too_long = "a".repeat(257);
        for bad in [
            "", ".", "..", "a/b", "a b", "a\r\n", "%41", "\u{e9}", "a?", &too_long,
        ] {
            assert!(SessionId::new(bad.to_owned()).is_none(), "{bad:?}");
        }
    }
}
