//! Messages of the service, on a short line each or as they came.

use octave_ws::{Ack, Action, Event, Printable, UnknownMessage};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::exit::End;
use crate::output::Output;
use crate::output::record::Line;
use crate::output::text::TextLines;
use crate::status::stderr;

/// Prints messages.
pub(super) struct Shown {
    pub(super) output: Output,
    /// `None` for messages as they came.
    text: Option<TextLines>,
    is_terminal: bool,
}

impl Shown {
    pub(super) fn new(output: Output, text: Option<TextLines>, is_terminal: bool) -> Self {
        Self {
            output,
            text,
            is_terminal,
        }
    }

    pub(super) fn event(&mut self, event: &Event) -> Result<(), End> {
        let Some(text) = &mut self.text else {
            return self.message(event.message());
        };
        let mut head = String::new();
        let body = text.push(&mut head, event);
        stderr::status("");
        self.output.write(Line {
            head: &head,
            body,
            tail: "",
            is_printable: true,
        })
    }

    pub(super) fn answer(&mut self, ack: &Ack) -> Result<(), End> {
        if self.text.is_none() {
            return self.message(ack.message());
        }
        let (action, stream) = (ack.action, &ack.stream);
        self.line(&match (&ack.outcome, action) {
            (Ok(()), Action::Subscribe) => format!("subscribed to {stream}"),
            (Ok(()), _) => format!("unsubscribed from {stream}"),
            (Err(words), _) => format!("refused to {action} {stream}: {words}"),
        })
    }

    pub(super) fn unknown(&mut self, unknown: &UnknownMessage) -> Result<(), End> {
        match answer(unknown.text()).filter(|_| self.text.is_some()) {
            Some(answer) => self.line(&answer),
            None => self.message(unknown.text()),
        }
    }

    /// Prints a message unchanged.
    fn message(&mut self, text: &str) -> Result<(), End> {
        let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
        if self.is_terminal {
            let line = if is_json {
                text.replace(['\n', '\r'], "")
            } else {
                text.to_owned()
            };
            // Among short lines, others are marked.
            let mark = if self.text.is_some() { "< " } else { "" };
            self.line(&format!("{mark}{line}"))
        } else if is_json {
            self.output.write(text)
        } else {
            log::warn!("a message came in that is not JSON: {text}");
            Ok(())
        }
    }

    fn line(&mut self, line: &str) -> Result<(), End> {
        stderr::status("");
        self.output.write(&*Printable(line).to_string())
    }
}

/// Returns a short line for the answer to a request that was typed as JSON.
fn answer(text: &str) -> Option<String> {
    let message: Value = serde_json::from_str(text).ok()?;
    let head = message["head"].as_object()?;
    let id = head.get("msgId").unwrap_or(&Value::Null);
    if head.get("ok") == Some(&Value::Bool(true)) {
        return Some(format!("answer to {id}: ok"));
    }
    let errors = head.get("errors").and_then(Value::as_array);
    let words = errors.into_iter().flatten().map(|error| match error {
        Value::String(words) => words.clone(),
        other => other.to_string(),
    });
    let words: Vec<String> = words.collect();
    Some(format!("answer to {id}: refused: {}", words.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_short_line() {
        for (text, wanted) in [
            (
                r#"{"head":{"msgId":"a","ok":true},"body":{}}"#,
                Some("answer to \"a\": ok"),
            ),
            (
                r#"{"head":{"msgId":7,"ok":false,"errors":["no",{"code":1}]}}"#,
                Some("answer to 7: refused: no; {\"code\":1}"),
            ),
            (r#"{"head":{}}"#, Some("answer to null: refused: ")),
            (r#"{"head":1}"#, None),
            ("[]", None),
            ("no JSON", None),
        ] {
            assert_eq!(answer(text).as_deref(), wanted, "{text}");
        }
    }
}
