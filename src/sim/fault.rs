use std::str::FromStr;
use std::time::Duration;

/// Something that a stand-in can get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It never answers a session request.
    SessionSilent,
    /// It answers a session request with this status and this body.
    SessionAnswer(u16, &'static str),
    /// It answers a session request with these bytes as they stand, in which `{id}` is a session's
    /// id, and ends the connection.
    SessionRaw(&'static str),
    /// It ends the connection with its answer to a session request, and says so.
    SessionClose,
    /// It ends the connection with its answer to a session request, and does not say so.
    SessionDrop,
    /// Its answers over HTTP come a byte at a time.
    Slow,
    /// It knows no session when the socket is to be opened.
    Expire,
    /// It answers an upgrade with this head, in which `{accept}` is the right
    /// `Sec-WebSocket-Accept`, and these bytes behind it, and reads on without an answer.
    UpgradeRaw(&'static str, &'static [u8]),
    /// It never answers an upgrade.
    UpgradeSilent,
    /// It refuses every subscription to this stream, by the name that it is asked for by.
    Refuse(&'static str),
    /// It refuses every subscription.
    RefuseAll,
    /// It refuses every subscription to this stream with this status.
    RefuseWith(&'static str, u16),
    /// It never answers a request on the socket.
    AckSilent,
    /// Once it has granted a subscription it neither reads nor writes any more.
    Stall,
    /// It drops the connection as soon as it has granted a subscription.
    Flap,
    /// It drops the connection a second after it has granted a subscription.
    Drop,
    /// It closes with this code a second after it has granted a subscription.
    Close(u16),
    /// It sends what is no message before each event.
    Garbage,
}

impl Fault {
    /// The faults that have a name, each with what it does.
    pub const NAMES: [(&str, &str); 16] = [
        ("session-silent", "a session request is never answered"),
        (
            "session-close",
            "the connection ends with the session's answer",
        ),
        ("session-drop", "the same, without saying so"),
        ("400", "a session request is answered with 400"),
        ("429", "a session request is answered with 429"),
        ("503", "a session request is answered with 503"),
        ("slow", "answers over HTTP come a byte at a time"),
        (
            "expire",
            "no session is known when the socket is to be opened",
        ),
        ("upgrade-silent", "an upgrade is never answered"),
        ("refuse", "every subscription is refused"),
        ("ack-silent", "requests on the socket are never answered"),
        ("stall", "nothing is read or written after a subscription"),
        ("flap", "the connection is dropped after each subscription"),
        (
            "drop",
            "the connection is dropped a second after a subscription",
        ),
        ("close=CODE", "it is closed with this code then"),
        ("garbage", "what is no message is sent before each event"),
    ];

    /// How the connection ends after a subscription, if this ends it: after how long, and with
    /// which code, if any.
    pub(super) fn end(self) -> Option<(Duration, Option<u16>)> {
        let second = Duration::from_secs(1);
        match self {
            Self::Flap => Some((Duration::ZERO, None)),
            Self::Drop => Some((second, None)),
            Self::Close(code) => Some((second, Some(code))),
            _ => None,
        }
    }
}

/// Reads one of [`Fault::NAMES`].
///
/// # Errors
/// In one line, that there is no such fault.
impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "session-silent" => Self::SessionSilent,
            "session-close" => Self::SessionClose,
            "session-drop" => Self::SessionDrop,
            "400" => Self::SessionAnswer(400, "bad request"),
            "429" => Self::SessionAnswer(429, "too many requests"),
            "503" => Self::SessionAnswer(503, "service unavailable"),
            "slow" => Self::Slow,
            "expire" => Self::Expire,
            "upgrade-silent" => Self::UpgradeSilent,
            "refuse" => Self::RefuseAll,
            "ack-silent" => Self::AckSilent,
            "stall" => Self::Stall,
            "flap" => Self::Flap,
            "drop" => Self::Drop,
            "garbage" => Self::Garbage,
            _ => {
                let code = name
                    .strip_prefix("close=")
                    .and_then(|code| code.parse().ok());
                match code {
                    Some(code @ 1000..5000) => Self::Close(code),
                    _ => return Err(format!("no fault {name:?} (see --list-faults)")),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_names_a_fault() {
        for (name, _) in Fault::NAMES {
            let name = name.replace("CODE", "1011");
            assert!(name.parse::<Fault>().is_ok(), "{name}");
        }
        for none in ["", "nonsense", "close", "close=", "close=999", "close=5000"] {
            assert!(none.parse::<Fault>().is_err(), "{none}");
        }
    }
}
