use std::borrow::Cow;
use std::fmt::{self, Write as _};

use super::Stream;
use super::event::{Event, Parts};
use super::json::{error_text, string};
use super::scanner::{Invalid, members};
use super::text::{Text, detach};
/// The text frame that keeps a connection busy on the service's kin.
pub(crate) const HEARTBEAT: &str = r#"{"type":"heartbeat"}"#;

/// The action of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Subscribe to a stream.
    Subscribe,
    /// Unsubscribe from a stream.
    Unsubscribe,
}

/// Formats it as the protocol does.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
        })
    }
}

/// Returns the text of a request: one stream, by its id or by its path, never both.
pub(crate) fn request(msg_id: u64, action: Action, stream: &Stream) -> String {
    let key = if stream.is_path() { "path" } else { "streamId" };
    let name = serde_json::Value::from(stream.as_str());
    let mut text = String::with_capacity(64 + stream.as_str().len());
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"{{"msgId":"{msg_id}","object":"event","type":"{action}","{key}":{name}}}"#
    );
    text
}

/// A message of the service, by its kind. An answer keeps its whole text.
#[derive(Debug)]
pub(crate) enum Incoming {
    Event(Event),
    Answer(Answer, Text),
    Unknown(UnknownMessage),
}

/// The service's answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The `msgId` as the service spelled it, a number or a string; another value answers nothing.
    pub(crate) msg_id: Option<String>,
    /// The service's own words where it refused.
    pub(crate) outcome: Result<(), String>,
    /// The HTTP status, if the service sent one.
    pub(crate) status: Option<u16>,
}

/// A message that is neither an event nor an answer to a request.
#[derive(Clone)]
pub struct UnknownMessage {
    text: Text,
    reason: &'static str,
}

impl UnknownMessage {
    pub(crate) fn new(text: Text, reason: &'static str) -> Self {
        Self { text, reason }
    }

    /// Returns the text as it was sent, JSON or not. Empty for a binary message.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Lets go of the frame in which it came.
    pub(crate) fn detach(&mut self) {
        detach(&mut self.text);
    }

    /// Returns what is wrong with it.
    pub fn reason(&self) -> &str {
        self.reason
    }
}

impl fmt::Debug for UnknownMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnknownMessage")
            .field("reason", &self.reason)
            .field("text", &self.text())
            .finish()
    }
}

impl Event {
    /// Creates an event of the text of a message, for tests of code that handles one. Returns `None`
    /// for a text that is not an event.
    pub fn from_message(text: impl Into<String>) -> Option<Self> {
        match Incoming::parse(Text::from(text.into())) {
            Incoming::Event(event) => Some(event),
            _ => None,
        }
    }

    /// Creates an event of the history of a stream from its Event object, a JSON object.
    pub(crate) fn from_history(stream: &Stream, value: &str) -> Self {
        let resource = serde_json::Value::from(stream.as_str());
        let mut text = String::from(r#"{"type":"message","resource":"#);
        let mut append = |part: &str| {
            text.push_str(part);
            text.len() - part.len()..text.len()
        };
        let resource = append(&resource.to_string());
        append(r#","value":"#);
        let value = append(value);
        append("}");
        let text = Text::from(text);
        let parts = Parts::new(&text, &text, &text[value], Some(&text[resource]));
        let mut event = Self::new(text, parts);
        event.set_from_history();
        event
    }
}

impl Incoming {
    /// Tells a message apart. All of it was checked to be one JSON document unless it is
    /// [`Incoming::Unknown`].
    pub(crate) fn parse(text: Text) -> Self {
        // RFC 8259 §8.1: a receiver may ignore a byte order mark.
        let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let document = text[start..].trim_matches(is_json_space);
        let names = ["type", "resource", "value", "head"];
        let [kind, resource, value, head] = match members(document, names) {
            Ok(members) => members,
            Err(unfit) => {
                let reason = match unfit {
                    Invalid::NotObject => "it is not a JSON object",
                    Invalid::NotJson => "it is not JSON",
                };
                return Self::Unknown(UnknownMessage::new(text, reason));
            }
        };
        let is_message = match kind {
            // With or without escapes.
            Some(r#""message""#) => true,
            Some(kind) if kind.len() > MAX_ID => false,
            Some(kind) => string(kind).is_some_and(|kind| kind == "message"),
            None => head.is_none(),
        };
        if let (true, Some(value)) = (is_message, value) {
            let parts = Parts::new(&text, document, value, resource);
            return Self::Event(Event::new(text, parts));
        }
        match head.and_then(answer) {
            Some(answer) => Self::Answer(answer, text),
            None => Self::Unknown(UnknownMessage::new(
                text,
                "it is neither an event nor an answer",
            )),
        }
    }
}

/// Returns the `msgId` of a request.
pub(super) fn msg_id(request: &str) -> Option<String> {
    let [msg_id] = members(request, ["msgId"]).ok()?;
    msg_id.and_then(number_or_string)
}

/// Maximum length of a `msgId`.
const MAX_ID: usize = 1 << 10;

fn number_or_string(id: &str) -> Option<String> {
    match id.as_bytes().first()? {
        _ if id.len() > MAX_ID => None,
        b'"' => string(id).map(Cow::into_owned),
        b'{' | b'[' | b'n' | b't' | b'f' => None,
        _ => Some(id.to_owned()),
    }
}

/// Reads the `head` of an answer; `None` where it neither grants nor refuses.
fn answer(head: &str) -> Option<Answer> {
    let [msg_id, ok, status, errors] = members(head, ["msgId", "ok", "status", "errors"]).ok()?;
    let msg_id = msg_id.and_then(number_or_string);
    let outcome = match (errors.and_then(error_text), ok) {
        (Some(errors), _) => Err(errors),
        (None, Some("true")) => Ok(()),
        (None, Some("false")) => Err(match status {
            Some(status) if status.len() <= MAX_ID => format!("status {status}"),
            _ => "without a reason".to_owned(),
        }),
        (None, _) => return None,
    };
    let status = status.and_then(|status| status.parse().ok());
    Some(Answer {
        msg_id,
        outcome,
        status,
    })
}

/// Returns the answer to the session request: the id that was given, or the service's words of
/// refusal.
///
/// # Errors
/// Fails with a description of the answer, if it is neither.
pub(crate) fn session_answer(body: &str) -> Result<Result<String, String>, &'static str> {
    let [head, body] = members(body.trim_start_matches('\u{feff}'), ["head", "body"])
        .map_err(|_| "its body is not a JSON object")?;
    if let Some(Answer {
        outcome: Err(words),
        ..
    }) = head.and_then(answer)
    {
        return Ok(Err(words));
    }
    let [id] = body
        .and_then(|body| members(body, ["id"]).ok())
        .unwrap_or_default();
    match id.map(|id| (id, string(id))) {
        None => Err("it has no body.id"),
        Some((_, Some(id))) => Ok(Ok(id.into_owned())),
        Some((_, None)) => Ok(Ok(String::new())),
    }
}

fn is_json_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests;
