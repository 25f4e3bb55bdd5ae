use std::borrow::Borrow;
use std::error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A cloud stream, given by its id or its path.
///
/// An id is `s` and 24 hexadecimal digits; a path begins with `/`. Clones share the text.
///
/// ```
/// use octave_ws::Stream;
///
/// let by_id: Stream = "s53b1d1600cf27b75148de0ac".parse()?;
/// let by_path: Stream = "/demo/devices/gw1/temperature".parse()?;
/// assert_ne!(by_id, by_path);
/// assert_eq!(by_path.as_str(), "/demo/devices/gw1/temperature");
/// # Ok::<(), octave_ws::ParseStreamError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream(Arc<str>);

impl Stream {
    /// Returns the id or path as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it is a path.
    pub fn is_path(&self) -> bool {
        self.0.starts_with('/')
    }
}

/// Reads an id or a path.
///
/// # Errors
/// [`ParseStreamError`] where the text is neither.
impl FromStr for Stream {
    type Err = ParseStreamError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('/') {
            return Ok(Self(text.into()));
        }
        match text.strip_prefix('s') {
            Some(digits) if digits.len() == 24 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Self(text.into()))
            }
            _ => Err(ParseStreamError(text.to_owned())),
        }
    }
}

/// Streams are found by their text in maps and sets.
impl Borrow<str> for Stream {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Stream {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// The same as parsing it.
impl TryFrom<&str> for Stream {
    type Error = ParseStreamError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The same as parsing it.
impl TryFrom<String> for Stream {
    type Error = ParseStreamError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Serializes as a string.
#[cfg(feature = "serde")]
impl serde_core::Serialize for Stream {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Parses a string.
#[cfg(feature = "serde")]
impl<'de> serde_core::Deserialize<'de> for Stream {
    fn deserialize<D: serde_core::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde_core::de::Error::custom)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is neither a stream id nor a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseStreamError(String);

impl fmt::Display for ParseStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a stream: give an id (s and 24 hex digits) or a path (it begins with /)",
            self.0
        )
    }
}

impl error::Error for ParseStreamError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_s_and_24_hex_digits() {
        let stream: Stream = "s53b1d1600cf27b75148de0AC".parse().unwrap();
        assert!(!stream.is_path());
        assert_eq!(stream.to_string(), "s53b1d1600cf27b75148de0AC");
        for odd in [
            "",
            "s",
            "s53b1d1600cf27b75148de0a",
            "s53b1d1600cf27b75148de0acc",
            "e53b1d1600cf27b75148de0ac",
            "s53b1d1600cf27b75148de0ag",
            "demo/devices",
        ] {
            assert_eq!(
                odd.parse::<Stream>().unwrap_err().to_string(),
                format!(
                    "{odd:?} is not a stream: give an id (s and 24 hex digits) or a path (it \
                     begins with /)"
                )
            );
        }
    }

    #[test]
    fn a_path_begins_with_a_slash_and_stays_as_typed() {
        for path in ["/", "/demo/devices/gw1/:inbox", "/a b/\u{e9}/*"] {
            let stream: Stream = path.parse().unwrap();
            assert!(stream.is_path());
            assert_eq!(stream.as_str(), path);
        }
    }
}
