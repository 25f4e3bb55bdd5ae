use serde_json::value::RawValue;

use super::query::{Entry, Query};
use crate::protocol::event::range_in;
use crate::protocol::json::{error_text, string};
use crate::protocol::scanner::members;
use crate::protocol::{EventId, Stream};

/// An answer without events that can be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoPage {
    /// It is not an answer of the API.
    Foreign(&'static str),
    /// The service refuses, with this status if it gives one, and these words.
    Refused(Option<u16>, String),
    /// It violates what was asked for.
    Unusable(&'static str),
}

/// Reads the events of an answer's body.
///
/// # Errors
/// Fails with what the answer is instead.
pub(crate) fn page(body: &str, stream: &Stream, query: &Query) -> Result<Vec<Entry>, NoPage> {
    let not_json = NoPage::Foreign("its body is not a JSON object");
    let text = body.trim_start_matches('\u{feff}');
    let [head, events] = members(text, ["head", "body"]).map_err(|_| not_json)?;
    if let Some(refused) = head.and_then(refusal) {
        return Err(refused);
    }
    let events = events.ok_or(NoPage::Foreign("it has no body"))?;
    let events: Vec<&RawValue> =
        serde_json::from_str(events).map_err(|_| NoPage::Foreign("its body is not a list"))?;
    let entries = events.iter().map(|event| entry(event.get(), body, stream));
    let entries: Result<Vec<Entry>, _> = entries.collect();
    let checked = entries.and_then(|entries| query.check(&entries).map(|()| entries));
    checked.map_err(NoPage::Unusable)
}

fn entry(event: &str, body: &str, stream: &Stream) -> Result<Entry, &'static str> {
    let names = ["id", "creationDate", "streamId", "path"];
    let [id, date, stream_id, path] =
        members(event, names).map_err(|_| "an event is not a JSON object")?;
    let id = id.and_then(string).ok_or("an event has no id")?;
    let date = date.and_then(|date| date.parse().ok());
    let name = if stream.is_path() { path } else { stream_id };
    if let Some(name) = name.filter(|name| *name != "null")
        && string(name).as_deref() != Some(stream.as_str())
    {
        return Err("an event is one of another stream");
    }
    Ok(Entry {
        id: EventId::new(&id),
        date: date.ok_or("an event has no creation date")?,
        value: range_in(event, body),
    })
}

/// Reads the `head` of an answer that refuses.
fn refusal(head: &str) -> Option<NoPage> {
    let [ok, status, errors] = members(head, ["ok", "status", "errors"]).ok()?;
    let status = status.and_then(|status| status.parse().ok());
    match (errors.and_then(error_text), ok) {
        (Some(errors), _) => Some(NoPage::Refused(status, errors)),
        (None, Some("false")) => Some(NoPage::Refused(status, "without a reason".to_owned())),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCENDING: Query = Query {
        since: Some(5),
        is_descending: false,
        start: 0,
        limit: 100,
    };

    #[test]
    fn an_answer_is_read_or_not_used_at_all() {
        let page = |body: &str, stream: &Stream| super::page(body, stream, &ASCENDING);
        let by_path: Stream = "/a".parse().unwrap();
        let by_id: Stream = "s53b1d1600cf27b75148de0ac".parse().unwrap();
        let body =
            |events: &str| format!(r#"{{"head":{{"ok":true,"errors":[]}},"body":[{events}]}}"#);
        let good = r#"{"path":"/a", "creationDate":5,"id":"e1"}"#;
        let read = page(&body(good), &by_path).unwrap();
        assert_eq!((read[0].id.to_string(), read[0].date), ("e1".to_owned(), 5));
        assert_eq!(&body(good)[read[0].value.clone()], good);
        assert_eq!(page(&body(good), &by_id).unwrap().len(), 1);
        assert_eq!(page("\u{feff}{\"body\":[ ]}", &by_id), Ok(vec![]));

        let unusable = [
            (r#"{"creationDate":5}"#, "an event has no id"),
            (r#"{"id":7,"creationDate":5}"#, "an event has no id"),
            (r#"{"id":"e1"}"#, "an event has no creation date"),
            (
                r#"{"id":"e1","creationDate":5.0}"#,
                "an event has no creation date",
            ),
            (
                r#"{"id":"e1","creationDate":"5"}"#,
                "an event has no creation date",
            ),
            (
                r#"{"id":"e1","creationDate":5,"path":"/b"}"#,
                "an event is one of another stream",
            ),
            ("7", "an event is not a JSON object"),
        ];
        for (event, what) in unusable {
            let body = body(&format!("{good},{event}"));
            assert_eq!(
                page(&body, &by_path),
                Err(NoPage::Unusable(what)),
                "{event}"
            );
        }
        for (body, what) in [
            ("<html>", "its body is not a JSON object"),
            ("", "its body is not a JSON object"),
            ("{}", "it has no body"),
            (r#"{"body":{"id":"a.b"}}"#, "its body is not a list"),
            (r#"{"body":null}"#, "its body is not a list"),
        ] {
            assert_eq!(page(body, &by_path), Err(NoPage::Foreign(what)), "{body}");
        }
        for (head, status, words) in [
            (
                r#"{"ok":true,"status":400,"errors":["a","b"]}"#,
                Some(400),
                "a; b",
            ),
            (
                r#"{"ok":false,"status":500}"#,
                Some(500),
                "without a reason",
            ),
            (r#"{"ok":false,"errors":[]}"#, None, "without a reason"),
        ] {
            let refused = NoPage::Refused(status, words.to_owned());
            let body = format!(r#"{{"head":{head},"body":[]}}"#);
            assert_eq!(page(&body, &by_path), Err(refused));
        }
    }

    #[test]
    fn its_events_are_those_that_were_asked_for() {
        let stream: Stream = "/a".parse().unwrap();
        let read = |dates: &[i64], query: &Query| {
            let events = dates
                .iter()
                .map(|date| format!(r#"{{"id":"e","creationDate":{date}}}"#));
            let body = format!(r#"{{"body":[{}]}}"#, events.collect::<Vec<_>>().join(","));
            page(&body, &stream, query).map(|page| page.len())
        };
        let descending = Query {
            since: None,
            is_descending: true,
            ..ASCENDING
        };
        let order = Err(NoPage::Unusable(
            "the events are not in the order asked for",
        ));
        let early = Err(NoPage::Unusable("an event is older than asked for"));
        assert_eq!(read(&[5, 5, 6], &ASCENDING), Ok(3));
        assert_eq!(read(&[6, 5], &ASCENDING), order);
        assert_eq!(read(&[4, 5], &ASCENDING), early);
        assert_eq!(read(&[5, 5, 4], &descending), Ok(3));
        assert_eq!(read(&[4, 5], &descending), order);
    }
}
