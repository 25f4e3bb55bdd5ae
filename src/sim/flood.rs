use std::str::FromStr;

use super::stream::Stream;

/// Events that are sent as fast as they are read, to measure clients: prebuilt, all the same.
///
/// They go to each client after its first subscription; then its WebSocket is closed with 1000.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// How many events each client is sent.
    pub events: u64,
    /// The size of each message in bytes, at least [`Flood::MIN_SIZE`].
    pub size: usize,
    /// How they are packed.
    pub records: Records,
}

/// How frames are packed into TLS records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// As many as fit: what a busy service sends.
    Full,
    /// Each in a record of its own: what a service sends that writes event by event.
    Single,
}

impl Flood {
    /// The least size of a message.
    pub const MIN_SIZE: usize = 256;

    /// The frame of an event of a stream (RFC 6455 §5.2).
    pub(super) fn frame(self, stream: &Stream) -> Vec<u8> {
        let Stream { id, path } = stream;
        let begin = format!(
            r#"{{"type":"message","resource":"{id}","value":{{"creationDate":1707870487000,"elems":{{"pad":""#
        );
        let end = format!(
            r#""}},"generatedDate":1707870487000,"id":"e65cc05d3b9b2c5e4a7f0d1a2","path":"{path}","streamId":"{id}"}}}}"#
        );
        let pad = self.size.saturating_sub(begin.len() + end.len());
        let text = [begin, "x".repeat(pad), end].concat();
        let mut frame = vec![0x81];
        match text.len() {
            length @ 0..126 => frame.extend(u8::try_from(length)),
            length => {
                if let Ok(length) = u16::try_from(length) {
                    frame.push(126);
                    frame.extend(length.to_be_bytes());
                } else {
                    frame.push(127);
                    frame.extend((length as u64).to_be_bytes());
                }
            }
        }
        frame.extend(text.into_bytes());
        frame
    }
}

/// `full` or `single`.
///
/// # Errors
/// What to give instead.
impl FromStr for Records {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "single" => Ok(Self::Single),
            _ => Err("give full or single".to_owned()),
        }
    }
}
