use std::str::FromStr;
use std::time::Duration;

use super::history_fault::HistoryFault;
use super::history_fault::HistoryFault::{
    Ahead, Behind, Capped, Descending, Doubled, Evicting, Foreign, Html, OneMillisecond, Silent,
    Slow, Status, Torn, Unfiltered,
};

/// A fault that a stand-in can simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Session requests are not answered.
    SessionSilent,
    /// Session requests are answered with this status and body.
    SessionAnswer(u16, &'static str),
    /// Session requests are answered with these raw bytes, where `{id}` stands for a session id, and
    /// the connection is closed.
    SessionRaw(&'static str),
    /// The connection is closed after the answer to a session request, which announces it.
    SessionClose,
    /// The connection is closed after the answer to a session request, unannounced.
    SessionDrop,
    /// HTTP answers are sent one byte at a time.
    Slow,
    /// Every session has expired when its WebSocket is opened.
    Expire,
    /// Upgrades are answered with this head, where `{accept}` stands for the correct
    /// `Sec-WebSocket-Accept`, followed by these bytes. What the client then sends is ignored.
    UpgradeRaw(&'static str, &'static [u8]),
    /// Upgrades are not answered.
    UpgradeSilent,
    /// Subscriptions to this stream are refused. The name is compared as the client sent it.
    Refuse(&'static str),
    /// All subscriptions are refused.
    RefuseAll,
    /// Subscriptions to this stream are refused with this status.
    RefuseWith(&'static str, u16),
    /// Requests on the WebSocket are not acknowledged.
    AckSilent,
    /// After a subscription, nothing is read or written any more.
    Stall,
    /// 1 s after the first subscription, nothing is read or written on any connection for this time.
    /// Data for the clients is kept, and sent afterwards.
    Freeze(Duration),
    /// The connection is dropped right after a subscription.
    Flap,
    /// The connection is dropped 1 s after a subscription.
    Drop,
    /// The connection is dropped this long after a subscription.
    Lifetime(Duration),
    /// The WebSocket is closed with this code 1 s after a subscription.
    Close(u16),
    /// An open WebSocket is closed with code 1008 when another one is opened.
    OneConnection,
    /// An invalid message is sent before each event.
    Garbage,
    /// A fault of the REST API's history.
    History(HistoryFault),
}

/// Defines the names, and what those without a value stand for.
macro_rules! names {
    ($($name:literal $what:literal $(=> $fault:expr)?;)*) => {
        impl Fault {
            /// The faults that `octave-sim --fault` takes: name and description.
            pub const NAMES: [(&str, &str); 37] = [$(($name, $what)),*];

            fn named(text: &str) -> Option<Self> {
                match text {
                    $($($name => Some($fault),)?)*
                    _ => None,
                }
            }
        }
    };
}

names! {
    "session-silent" "session requests are not answered" => Self::SessionSilent;
    "session-close" "the connection is closed after the session answer" => Self::SessionClose;
    "session-drop" "the same, unannounced" => Self::SessionDrop;
    "400" "session requests are answered with 400" => Self::SessionAnswer(400, "bad request");
    "429" "session requests are answered with 429" => Self::SessionAnswer(429, "too many requests");
    "503" "session requests are answered with 503" => Self::SessionAnswer(503, "service unavailable");
    "slow" "HTTP answers are sent one byte at a time" => Self::Slow;
    "expire" "every session has expired when its WebSocket is opened" => Self::Expire;
    "upgrade-silent" "upgrades are not answered" => Self::UpgradeSilent;
    "refuse" "all subscriptions are refused" => Self::RefuseAll;
    "ack-silent" "requests on the WebSocket are not acknowledged" => Self::AckSilent;
    "stall" "nothing is read or written after a subscription" => Self::Stall;
    "freeze[=TIME]" "the same for TIME (1m), once; what was to be sent follows";
    "flap" "the connection is dropped right after a subscription" => Self::Flap;
    "drop" "the connection is dropped 1 s after a subscription" => Self::Drop;
    "lifetime[=TIME]" "the connection is dropped TIME (30s) after a subscription";
    "close=CODE" "the WebSocket is closed with CODE 1 s after a subscription";
    "one-connection" "a WebSocket is closed when another one is opened" => Self::OneConnection;
    "garbage" "an invalid message is sent before each event" => Self::Garbage;
    "history-401" "history requests are answered with 401" => Self::History(Status(401));
    "history-403" "history requests are answered with 403" => Self::History(Status(403));
    "history-404" "history requests are answered with 404" => Self::History(Status(404));
    "history-429" "history requests are answered with 429" => Self::History(Status(429));
    "history-500" "history requests are answered with 500" => Self::History(Status(500));
    "history-silent" "history requests are not answered" => Self::History(Silent);
    "history-slow" "history is sent one byte at a time" => Self::History(Slow);
    "history-html" "history is a page of HTML" => Self::History(Html);
    "history-torn" "history ends amid an answer" => Self::History(Torn);
    "history-descending" "history is sorted the other way" => Self::History(Descending);
    "history-unfiltered" "history ignores the filter" => Self::History(Unfiltered);
    "history-capped" "history has 20 events per answer at most" => Self::History(Capped);
    "history-doubled" "history has each event twice" => Self::History(Doubled);
    "history-foreign" "history has an event of another stream" => Self::History(Foreign);
    "history-behind" "events are in the history 2 s after the push" => Self::History(Behind);
    "history-ahead" "events are in the history 2 s before the push" => Self::History(Ahead);
    "history-one-ms" "all events have one creation date" => Self::History(OneMillisecond);
    "history-evicting" "history loses its older half after each answer" => Self::History(Evicting);
}

impl Fault {
    /// Returns the time after a subscription at which this fault ends the connection, with the
    /// close code, if any.
    pub(super) fn end(self) -> Option<(Duration, Option<u16>)> {
        let second = Duration::from_secs(1);
        match self {
            Self::Flap => Some((Duration::ZERO, None)),
            Self::Drop => Some((second, None)),
            Self::Lifetime(after) => Some((after, None)),
            Self::Close(code) => Some((second, Some(code))),
            _ => None,
        }
    }

    /// Returns the time for which this fault stops everything.
    pub(super) fn freeze(self) -> Option<Duration> {
        match self {
            Self::Freeze(time) => Some(time),
            _ => None,
        }
    }
}

/// Parses one of [`Fault::NAMES`].
///
/// # Errors
/// One line that says that there is no such fault.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let time = |default| {
            let time = value.map_or(Ok(default), humantime::parse_duration);
            time.map_err(|_| format!("{text}: give a time such as 250ms or 1m"))
        };
        match (name, value) {
            ("freeze", _) => return Ok(Self::Freeze(time(Duration::from_secs(60))?)),
            ("lifetime", _) => return Ok(Self::Lifetime(time(Duration::from_secs(30))?)),
            ("close", Some(code)) => {
                if let Ok(code @ 1000..5000) = code.parse() {
                    return Ok(Self::Close(code));
                }
            }
            _ => {}
        }
        Self::named(text).ok_or_else(|| format!("no fault {text:?} (see --list-faults)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_names_a_fault() {
        for (name, _) in Fault::NAMES {
            let name = name.replace("CODE", "1011");
            let names = match name.split_once("[=TIME]") {
                Some((name, _)) => vec![name.to_owned(), format!("{name}=1s")],
                None => vec![name],
            };
            for name in names {
                assert!(name.parse::<Fault>().is_ok(), "{name}");
            }
        }
        for none in [
            "",
            "nonsense",
            "close",
            "close=",
            "close=999",
            "drop=1s",
            "freeze=x",
        ] {
            assert!(none.parse::<Fault>().is_err(), "{none}");
        }
    }
}
