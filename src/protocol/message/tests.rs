use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;

#[path = "../../../tests/strict/mod.rs"]
mod strict;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../fixtures/", $name, ".json"))
    };
}

fn event(text: &str) -> Event {
    match Incoming::parse(Text::from(text)) {
        Incoming::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

fn ack(text: &str) -> Answer {
    match Incoming::parse(Text::from(text)) {
        Incoming::Answer(answer, _) => answer,
        other => panic!("{other:?}"),
    }
}

fn unknown(text: &str) -> UnknownMessage {
    match Incoming::parse(Text::from(text)) {
        Incoming::Unknown(unknown) => unknown,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_name_a_stream_by_id_or_by_path() {
    let id: Stream = "s53b1d1600cf27b75148de0ac".parse().unwrap();
    let path: Stream = "/my/stream/path".parse().unwrap();
    let by_id = request(1, Action::Subscribe, &id);
    assert_eq!(by_id, fixture!("subscribe-by-id"));
    let by_path = request(2, Action::Subscribe, &path);
    assert_eq!(by_path, fixture!("subscribe-by-path"));
    let unsubscribe = request(3, Action::Unsubscribe, &id);
    assert_eq!(unsubscribe, fixture!("unsubscribe-by-id"));
    let odd: Stream = "/a\"\\\n".parse().unwrap();
    assert!(request(4, Action::Subscribe, &odd).ends_with(r#","path":"/a\"\\\n"}"#));
}

#[test]
fn an_event_keeps_the_bytes_of_the_server() {
    let text = fixture!("event");
    let event = event(text);
    assert_eq!(event.message(), text);
    let value = text.find(r#"{"creationDate""#).unwrap();
    assert_eq!(event.value(), &text[value..text.len() - 1]);
    assert_eq!(event.resource(), Some("s53b1d1600cf27b75148de0ac"));
    assert_eq!(event.id().unwrap(), "e5e9d9d1d4b5a8d2c0c3a51a8");
    assert_eq!(event.stream_id().unwrap(), "s53b1d1600cf27b75148de0ac");
    let path = event.path().unwrap();
    assert_eq!(path, "/iot_solutions/devices/d_reg_test/:command");
    assert!(matches!(path, Cow::Borrowed(_)));
    assert_eq!(event.creation_date(), Some(1_587_387_677_625));
    assert_eq!(event.generated_date(), None);
}

#[test]
fn an_event_reads_as_a_type_of_the_callers() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Elems<'a> {
        temperature: f64,
        unit: &'a str,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Value {
        last_edit_date: i64,
    }

    let event = event(fixture!("event"));
    let elems: Elems<'_> = event.elems().unwrap();
    let expected = Elems {
        temperature: 21.5,
        unit: "C",
    };
    assert_eq!(elems, expected);
    let value: Value = event.deserialize().unwrap();
    assert_eq!(value.last_edit_date, 1_587_387_677_625);
    assert!(event.elems::<u8>().is_err());
}

#[test]
fn every_member_of_an_event_may_be_absent() {
    let event = event(fixture!("event-without-resource"));
    assert_eq!(event.resource(), None);
    assert_eq!(event.value(), r#"{"id":"e5e9d9d1d4b5a8d2c0c3a51a8"}"#);
    assert_eq!(event.stream_id(), None);
    assert_eq!(event.path(), None);
    assert_eq!(event.creation_date(), None);
    assert_eq!(event.elems::<Option<u8>>().unwrap(), None);
}

#[test]
fn an_event_may_be_null() {
    let event = event(fixture!("event-null"));
    assert_eq!(event.value(), "null");
    assert_eq!(event.id(), None);
    assert_eq!(event.elems::<Option<u8>>().unwrap(), None);
}

#[test]
fn a_byte_order_mark_and_line_breaks_are_no_part_of_it() {
    let text = fixture!("event-line-breaks");
    let event = event(text);
    assert_eq!(event.message(), &text[3..text.len() - 1]);
    assert_eq!(event.resource(), Some("/a/b"));
    assert_eq!(event.generated_date(), Some(1_587_387_677_000));
}

#[test]
fn a_kept_short_text_keeps_no_buffer() {
    let buffer = tungstenite::Bytes::from(" ".repeat(100_000) + "{\"value\":1}");
    for (length, is_copied) in [(1, true), (16_383, true), (16_384, false)] {
        let mut text = Text::try_from(buffer.slice(..length)).unwrap();
        let before = text.as_str().as_ptr();
        detach(&mut text);
        assert_eq!(text.len(), length);
        assert_eq!(text.as_str().as_ptr() != before, is_copied);
    }
    let text = Text::try_from(buffer.slice(100_000..)).unwrap();
    let Incoming::Event(mut event) = Incoming::parse(text) else {
        panic!("no event")
    };
    let before = event.message().as_ptr();
    event.detach();
    assert_ne!(event.message().as_ptr(), before);
    assert_eq!(event.value(), "1");
    assert!(format!("{event:?}").contains(r#"{\"value\":1}"#));
    let text = Text::try_from(buffer.slice(99_999..100_000)).unwrap();
    let Incoming::Unknown(mut unknown) = Incoming::parse(text) else {
        panic!("an event")
    };
    let before = unknown.text().as_ptr();
    unknown.detach();
    assert_ne!(unknown.text().as_ptr(), before);
    assert!(format!("{unknown:?}").contains("it is not JSON"));
}

#[test]
fn values_beyond_rust_types_are_kept_byte_for_byte() {
    let text = fixture!("event-odd-numbers");
    let event = event(text);
    assert_eq!(event.message(), text);
    assert_eq!(event.id().unwrap(), "e1");
    let elems: &RawValue = event.elems().unwrap();
    assert!(text.contains(elems.get()) && elems.get().contains(r#""lone":"\ud800""#));
}

#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let text = format!(r#"{{"value":{deep}}}"#);
    assert_eq!(event(&text).value(), deep);
}

#[test]
fn an_ack_carries_the_id_of_its_request() {
    let ok = ack(fixture!("ack"));
    assert_eq!(ok.msg_id.as_deref(), Some("my-path-request"));
    assert_eq!(ok.outcome, Ok(()));
    let number = ack(fixture!("ack-number"));
    assert_eq!(number.msg_id.as_deref(), Some("7"));
    assert_eq!(number.outcome, Ok(()));
    for odd in ["null", "{}", "[1]", "true", r#""\ud800""#] {
        let text = format!(r#"{{"head":{{"ok":true,"msgId":{odd}}}}}"#);
        assert_eq!(ack(&text).msg_id, None, "{odd}");
    }
}

#[test]
fn a_refusal_says_why() {
    let refused = ack(fixture!("ack-refused"));
    assert_eq!(refused.msg_id.as_deref(), Some("8"));
    let words = "You may not read this stream.; Ask its owner.";
    assert_eq!(refused.outcome, Err(words.to_owned()));
    let silent = ack(fixture!("ack-refused-without-words"));
    assert_eq!(silent.outcome, Err("status 404".to_owned()));
    let ok_with_errors = ack(r#"{"head":{"msgId":"1","ok":true,"errors":["no"]}}"#);
    assert_eq!(ok_with_errors.outcome, Err("no".to_owned()));
    let bare = ack(r#"{"head":{"ok":false}}"#);
    assert_eq!(bare.outcome, Err("without a reason".to_owned()));
}

#[test]
fn no_more_of_an_answer_is_looked_at_than_is_of_use() {
    let digits = |length| "9".repeat(length);
    for (id, is_one) in [
        (digits(1024), true),
        (digits(1025), false),
        (format!("\"{}\"", digits(1022)), true),
        (format!("\"{}\"", digits(1023)), false),
    ] {
        let answer = ack(&format!(r#"{{"head":{{"ok":true,"msgId":{id}}}}}"#));
        let wanted = is_one.then(|| id.trim_matches('"').to_owned());
        assert_eq!(answer.msg_id, wanted);
    }
    let refused = |members: &str| ack(&format!(r#"{{"head":{{{members}}}}}"#)).outcome;
    for (length, words) in [
        (1024, format!("status {}", digits(1024))),
        (1025, "without a reason".to_owned()),
    ] {
        let status = digits(length);
        let outcome = refused(&format!(r#""ok":false,"status":{status}"#));
        assert_eq!(outcome, Err(words));
    }
    assert_eq!(refused(r#""ok":true,"errors":"no""#), Err("no".to_owned()));
    assert_eq!(refused(r#""ok":true,"errors":"""#), Ok(()));
    assert_eq!(refused(r#""ok":true,"errors":[]"#), Ok(()));

    // Words without end, cut between characters and escapes.
    let most = 64 << 10;
    for word in ["a", "\\ud83d\\ude00", "\\n", "\u{1f600}"] {
        let words = word.repeat(100_000);
        let words = refused(&format!(r#""errors":"{words}""#)).unwrap_err();
        let plain: String = serde_json::from_str(&format!("\"{word}\"")).unwrap();
        assert!(
            words.len() <= most && words.len() > 10_000,
            "{}",
            words.len()
        );
        assert_eq!(words.replace(&plain, ""), "", "{word}");
    }
    let list = vec![format!("\"{}\"", "b".repeat(100)); 10_000].join(",");
    let words = refused(&format!(r#""errors":[{list}]"#)).unwrap_err();
    assert!((most..most + 200).contains(&words.len()), "{}", words.len());
    // Other values than strings are shown as they are, up to there.
    let number = digits(100_000);
    let words = refused(&format!(r#""errors":[{number}]"#)).unwrap_err();
    assert_eq!(words, digits(most));
}

#[test]
fn whatever_else_is_unknown_and_kept() {
    let neither = "it is neither an event nor an answer";
    let (no_object, no_json) = ("it is not a JSON object", "it is not JSON");
    for (text, reason) in [
        (fixture!("heartbeat"), neither),
        (fixture!("ack-undecided"), neither),
        (r#"{"type":"message"}"#, neither),
        (r#"{"type":"other","value":{}}"#, neither),
        (r#"{"head":"odd","body":{}}"#, neither),
        ("{}", neither),
        ("[]", no_object),
        ("null", no_object),
        ("", no_json),
        (r#"{"value":1}{"value":2}"#, no_json),
        (r#"{"value":NaN}"#, no_json),
        (r#"{"value":1"#, no_json),
        ("hello", no_json),
        ("{\"value\":1,\"a\nb\":2}", no_json),
        ("{\"value\":1,\"\\n\u{1b}\":2}", no_json),
        ("{\"value\":{\"\0\":2}}", no_json),
    ] {
        let unknown = unknown(text);
        assert_eq!((unknown.reason(), unknown.text()), (reason, text));
    }
}

#[test]
fn a_session_answer_gives_an_id_or_refuses() {
    let id = "n2fBC9YeE6g.qsQNPOZfoSRP3brEY_9QWapawcjXl04Y";
    let answer = session_answer(fixture!("session"));
    assert_eq!(answer, Ok(Ok(id.to_owned())));
    let refused = "The requested resource could not be located at this address.";
    let answer = session_answer(fixture!("session-refused"));
    assert_eq!(answer, Ok(Err(refused.to_owned())));
    let without_head = session_answer(r#"{"body":{"id":"a"}}"#);
    assert_eq!(without_head, Ok(Ok("a".to_owned())));
    // The caller refuses an invalid id.
    let no_string = session_answer(r#"{"body":{"id":7}}"#);
    assert_eq!(no_string, Ok(Ok(String::new())));
    assert_eq!(session_answer("{}"), Err("it has no body.id"));
    assert_eq!(
        session_answer("<html>"),
        Err("its body is not a JSON object")
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::property;

    /// JSON of any kind, as text, with spaces and line breaks between its tokens.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|b| b.to_string()),
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
            r#""([^"\\\x00-\x1f]|\\[nrt"\\/bf]|\\u[0-9a-fA-F]{4}){0,10}""#,
        ];
        let space = "[ \t\r\n]{0,2}";
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let items = prop::collection::vec((space, inner.clone()), 0..4);
            let members = prop::collection::vec(("[a-zA-Z]{0,10}", space, inner), 0..4);
            prop_oneof![
                items.prop_map(|items| {
                    let items: Vec<_> =
                        items.iter().map(|(s, item)| format!("{s}{item}")).collect();
                    format!("[{}]", items.join(","))
                }),
                members.prop_map(|members| {
                    let member = |(key, s, value): &(_, _, _)| format!("{s}\"{key}\":{s}{value}");
                    let members: Vec<_> = members.iter().map(member).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(property(256))]

        #[test]
        fn whatever_comes_in_panics_nowhere_and_is_kept(text in ".*") {
            match Incoming::parse(Text::from(text.as_str())) {
                Incoming::Event(event) => prop_assert!(text.contains(event.message())),
                Incoming::Answer(..) => {}
                Incoming::Unknown(unknown) => prop_assert_eq!(unknown.text(), text.as_str()),
            }
            let _ = session_answer(&text);
        }

        #[test]
        fn json_with_one_wrong_character_never_panics(
            value in json(), at in any::<prop::sample::Index>(), c in any::<char>(),
        ) {
            let text = format!(r#"{{"type":"message","resource":"s1","value":{value}}}"#);
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len());
            chars[at] = c;
            let text: String = chars.into_iter().collect();
            // A second parser has the same opinion.
            let is_json = strict::is_json(&text);
            match Incoming::parse(Text::from(text)) {
                Incoming::Event(event) => {
                    prop_assert!(is_json);
                    let _ = (event.id(), event.path(), event.stream_id(), event.creation_date());
                }
                Incoming::Unknown(unknown) => {
                    prop_assert_eq!(is_json, unknown.reason() != "it is not JSON");
                }
                Incoming::Answer(..) => prop_assert!(is_json),
            }
        }

        #[test]
        fn an_event_is_the_bytes_that_came_in(
            value in json(), other in json(), before in any::<bool>(), bom in any::<bool>(),
        ) {
            let bom = if bom { "\u{feff}" } else { "" };
            let value_member = format!(r#""value": {value}"#);
            let other_member = format!(r#""unheard":{other},"type":"message""#);
            let message = if before {
                format!("{{{other_member} , {value_member}}}")
            } else {
                format!("{{{value_member},\n{other_member}}}")
            };
            let event = event(&format!("{bom}{message}\r\n"));
            prop_assert_eq!(event.message(), message.as_str());
            prop_assert_eq!(event.value(), value.as_str());
            prop_assert!(strict::is_json(&message));
        }
    }
}

#[test]
fn an_event_of_the_history_is_the_message_that_it_would_be() {
    for path in ["/a", "/a\"b\n", "/\u{e4}"] {
        let value = "{\"id\" : \"e1\",\n\"elems\":{}}";
        let past = Event::from_history(&path.parse().unwrap(), value);
        let pushed = Event::from_message(past.message()).unwrap();
        for event in [&past, &pushed] {
            assert_eq!(event.resource(), Some(path));
            assert_eq!(event.value(), value);
        }
        assert_eq!(past.message(), pushed.message());
        assert!(past.is_from_history() && !pushed.is_from_history());
    }
}
