//! The requests that are typed as JSON, and their answers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use octave_ws::{Action, Stream};
use serde_json::Value;

/// The time limit of an answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The requests that were typed as they stand.
#[derive(Default)]
pub(crate) struct Sent {
    waiting: Vec<Waiting>,
    subscribed: BTreeSet<Stream>,
}

/// A request without its answer.
struct Waiting {
    msg_id: Option<String>,
    action: Action,
    stream: Stream,
    sent_at: Instant,
}

impl Sent {
    /// Takes note of a text, if it is a request.
    pub(crate) fn note(&mut self, text: &str) {
        if let Ok(message) = serde_json::from_str(text)
            && let Some(request) = request(&message)
        {
            self.waiting.push(request);
        }
    }

    /// Takes note of a message, if it answers one. Returns whether it refuses it.
    pub(crate) fn answered(&mut self, text: &str) -> bool {
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let head = &message["head"];
        if !head.is_object() {
            return false;
        }
        let id = id(&head["msgId"]);
        let Some(at) = self.waiting.iter().position(|of| of.msg_id == id) else {
            return false;
        };
        let Waiting { action, stream, .. } = self.waiting.remove(at);
        match (action, &head["ok"]) {
            (Action::Subscribe, Value::Bool(true)) => self.subscribed.insert(stream),
            (Action::Unsubscribe, Value::Bool(true)) => self.subscribed.remove(&stream),
            _ => false,
        };
        head["ok"] == false
    }

    /// Returns the time limits, after now, of the requests without an answer.
    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let due = self
            .waiting
            .iter()
            .map(|waiting| waiting.sent_at + ANSWER_WITHIN);
        due.filter(move |due| *due > now)
    }

    /// Returns the number of requests without an answer. A request without a `msgId` is not counted: its
    /// answer cannot be identified.
    pub(crate) fn unanswered(&self) -> usize {
        let waiting = self.waiting.iter();
        waiting.filter(|waiting| waiting.msg_id.is_some()).count()
    }

    /// Returns the streams that are subscribed by it, or may be: those without an answer included.
    pub(crate) fn subscribed(&self) -> BTreeSet<&Stream> {
        let mut subscribed: BTreeSet<&Stream> = self.subscribed.iter().collect();
        let waiting = self.waiting.iter();
        subscribed.extend(waiting.filter_map(|waiting| match waiting.action {
            Action::Subscribe => Some(&waiting.stream),
            _ => None,
        }));
        subscribed
    }
}

fn request(message: &Value) -> Option<Waiting> {
    let action = match message["type"].as_str()? {
        "subscribe" => Action::Subscribe,
        "unsubscribe" => Action::Unsubscribe,
        _ => return None,
    };
    let stream = message.get("path").or(message.get("streamId"))?;
    let stream = stream.as_str()?.parse().ok()?;
    Some(Waiting {
        msg_id: id(&message["msgId"]),
        action,
        stream,
        sent_at: Instant::now(),
    })
}

/// Services answer a number with a string and the other way about.
fn id(msg_id: &Value) -> Option<String> {
    match msg_id {
        Value::Null => None,
        Value::String(id) => Some(id.clone()),
        other => Some(other.to_string()),
    }
}
