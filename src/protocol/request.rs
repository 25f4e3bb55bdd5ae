use super::Stream;
use super::message::Action;
use super::text::Text;

/// A request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) action: Action,
    pub(crate) stream: Stream,
    /// Its number: later requests have greater numbers.
    pub(crate) ticket: u64,
}

/// The answer of the service to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ack {
    /// The action that was requested.
    pub action: Action,
    /// The stream, as the request named it.
    pub stream: Stream,
    /// `Ok` if it was granted. Otherwise the reason in the words of the service, cut to 200 bytes and
    /// escaped like [`Printable`](crate::Printable).
    pub outcome: Result<(), String>,
    /// The status in the answer, as in HTTP, if it has one.
    pub status: Option<u16>,
    /// The ticket of the request.
    pub(crate) ticket: u64,
    pub(crate) is_retried: bool,
    pub(crate) text: Text,
}

impl Ack {
    /// Creates an answer, for tests of code that handles one.
    pub fn new(action: Action, stream: Stream, outcome: Result<(), String>) -> Self {
        Self {
            action,
            stream,
            outcome,
            status: None,
            ticket: 0,
            is_retried: false,
            text: Text::default(),
        }
    }

    /// Returns whether it is a temporary refusal: status 408, 425, 429 or 5xx.
    pub fn is_transient(&self) -> bool {
        self.outcome.is_err() && self.status.is_some_and(is_transient)
    }

    /// Returns whether the client asks again by itself, after a delay: a temporary refusal, where
    /// [`Config::retry_for`](crate::Config::retry_for) allows retries, and no
    /// [`Client::subscribe`](crate::Client::subscribe) waits for the answer.
    pub fn is_retried(&self) -> bool {
        self.is_retried
    }

    /// Returns the whole answer as it was sent. Empty if there was none: the end of a connection
    /// unsubscribes, too.
    pub fn message(&self) -> &str {
        &self.text
    }
}

/// Serializes `outcome` as `ok` and the `reason` of a refusal.
#[cfg(feature = "serde")]
impl serde_core::Serialize for Ack {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_core::ser::SerializeStruct;

        let mut ack = serializer.serialize_struct("Ack", 5)?;
        ack.serialize_field("action", &self.action.to_string())?;
        ack.serialize_field("stream", &self.stream)?;
        ack.serialize_field("ok", &self.outcome.is_ok())?;
        ack.serialize_field("reason", &self.outcome.as_ref().err())?;
        ack.serialize_field("status", &self.status)?;
        ack.end()
    }
}

/// Returns whether the same again, later, may not be refused with this status, as of HTTP.
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted() -> Ack {
        Ack::new(Action::Subscribe, "/a".parse().unwrap(), Ok(()))
    }

    #[test]
    fn a_refusal_may_pass_by_its_status() {
        for (status, passes) in [
            (None, false),
            (Some(404), false),
            (Some(408), true),
            (Some(425), true),
            (Some(429), true),
            (Some(499), false),
            (Some(500), true),
        ] {
            let mut ack = granted();
            ack.status = status;
            assert!(!ack.is_transient(), "{status:?}");
            ack.outcome = Err(String::new());
            assert_eq!(ack.is_transient(), passes, "{status:?}");
        }
    }

    #[test]
    fn an_ack_has_the_whole_answer() {
        let mut ack = granted();
        ack.text = Text::from("{}");
        assert_eq!(ack.message(), "{}");
    }
}
