//! Faults of a socket, and their outcome: a close for the service, and an error for the caller, or no
//! loss.
#![cfg(feature = "sim")]

use std::sync::mpsc;
use std::time::Duration;

use octave_ws::sim::{ClientAction, Fault, Options, Sim};
use octave_ws::{Client, Config, ErrorKind, Phase, Update};
use serde_json::json;

use crate::patience::Told;

mod patience;
mod seed;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const HUMIDITY: &str = "/demo/devices/gw1/humidity";
const LONG: Duration = Duration::from_secs(60);
const MAX_MESSAGE: usize = 4096;

fn start(faults: &[Fault]) -> (Sim, Told) {
    let (observer, seen) = mpsc::channel();
    let options = Options::default()
        .observer(observer)
        .faults(faults.iter().copied());
    (Sim::start_with(options).unwrap(), Told(seen))
}

fn config(sim: &Sim) -> Config {
    sim.config().connect_timeout(LONG).max_message(MAX_MESSAGE)
}

fn connected() -> (Sim, Told, Client) {
    let (sim, seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    (sim, seen, client)
}

/// A frame, by its first byte and its payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(u8::try_from(length).unwrap()),
        length => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn message(n: usize) -> Vec<u8> {
    json!({"type": "message", "value": {"elems": n}})
        .to_string()
        .into_bytes()
}

/// What the client makes of the bytes, and the code of its close.
fn failure(bytes: &[u8]) -> (ErrorKind, String, Option<u16>) {
    let (sim, seen, mut client) = connected();
    sim.send_raw(bytes);
    let error = client.next(LONG).unwrap_err();
    assert!(matches!(client.next(LONG).unwrap(), Update::Closed));
    let peer = sim.addr().to_string();
    drop(sim);
    let closed = |what| match what {
        ClientAction::Closed(code) => Some(code),
        _ => None,
    };
    let code = seen.iter().find_map(|seen| closed(seen.action)).flatten();
    (error.kind(), error.to_string().replace(&peer, "PEER"), code)
}

#[test]
fn violations_of_the_websocket_protocol_are_closed_with_their_code() {
    let broke = "socket: PEER broke the WebSocket protocol";
    let not_utf8 = "socket: PEER sent a text that is not UTF-8";
    let over = |length: u64| {
        format!("socket: from PEER: a message of {length} bytes is over --max-message (4 KiB)")
    };
    let (over, far_over) = (over(5000), over(1 << 40));
    let no_end = "socket: from PEER: a message of empty frames has no end";
    let twice = [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat();
    let fragmented_ping = [frame(PING, b""), frame(FIN | CONTINUATION, b"")].concat();
    let mut masked = frame(FIN | TEXT, b"\0\0\0\0a");
    masked[1] = 0x80 | 1;
    let endless = frame(TEXT, b"")
        .into_iter()
        .chain(vec![0; 80_000])
        .collect();
    let mut tebibyte = vec![FIN | TEXT, 127];
    tebibyte.extend((1_u64 << 40).to_be_bytes());
    let mut long = frame(TEXT, b"");
    for _ in 0..10 {
        long.extend(frame(CONTINUATION, &[b'a'; 1000]));
    }
    for (name, bytes, kind, text, code) in [
        ("masked", masked, ErrorKind::Malformed, broke, 1002),
        (
            "reserved bit",
            frame(FIN | 0x20 | TEXT, b"a"),
            ErrorKind::Malformed,
            broke,
            1002,
        ),
        (
            "reserved opcode",
            frame(FIN | 0x3, b"a"),
            ErrorKind::Malformed,
            broke,
            1002,
        ),
        (
            "reserved control",
            frame(FIN | 0xb, b"a"),
            ErrorKind::Malformed,
            broke,
            1002,
        ),
        (
            "no first fragment",
            frame(FIN, b"a"),
            ErrorKind::Malformed,
            broke,
            1002,
        ),
        (
            "two first fragments",
            twice,
            ErrorKind::Malformed,
            broke,
            1002,
        ),
        (
            "long ping",
            frame(FIN | PING, &[0; 126]),
            ErrorKind::Malformed,
            broke,
            1002,
        ),
        (
            "fragmented ping",
            fragmented_ping,
            ErrorKind::Malformed,
            broke,
            1002,
        ),
        (
            "bad UTF-8",
            frame(FIN | TEXT, b"\xff"),
            ErrorKind::Malformed,
            not_utf8,
            1007,
        ),
        (
            "long frame",
            frame(FIN | TEXT, &[b'a'; 5000]),
            ErrorKind::TooLong,
            &over,
            1009,
        ),
        ("long message", long, ErrorKind::TooLong, &over, 1009),
        ("a tebibyte", tebibyte, ErrorKind::TooLong, &far_over, 1009),
        (
            "endless empty fragments",
            endless,
            ErrorKind::TooLong,
            no_end,
            1009,
        ),
    ] {
        let (got_kind, got_text, got_code) = failure(&bytes);
        assert_eq!((got_kind, got_text.as_str()), (kind, text), "{name}");
        assert_eq!(got_code, Some(code), "{name}");
    }
}

#[test]
fn messages_before_a_bad_frame_are_delivered() {
    let good: Vec<u8> = (0..20)
        .flat_map(|n| frame(FIN | TEXT, &message(n)))
        .collect();
    let mut top_bit = vec![FIN | TEXT, 127];
    top_bit.extend((1_u64 << 63).to_be_bytes());
    for bad in [
        frame(FIN | TEXT, &[b'a'; 5000]),
        frame(FIN | PING, &[0; 126]),
        top_bit,
        frame(FIN | 0x3, b"a"),
        frame(FIN | TEXT, b"\xff"),
    ] {
        let (sim, _seen, mut client) = connected();
        // In one write, and so in one record.
        sim.send_raw(&[&good[..], &bad].concat());
        for n in 0..20 {
            let Update::Event(event) = client.next(LONG).unwrap() else {
                panic!("no event")
            };
            assert_eq!(event.elems::<usize>().unwrap(), n);
        }
        client.next(LONG).unwrap_err();
    }
}

#[test]
fn a_close_is_answered_and_shown() {
    for (payload, text, code) in [
        (&b"\x03\xe8"[..], "with 1000", Some(1000)),
        (b"\x03\xf3why", "with 1011 why", Some(1011)),
        (b"\x0f\xa0\x1b[2J", "with 4000 \\u{1b}[2J", Some(4000)),
        (b"", "without a code", None),
    ] {
        let (kind, got, got_code) = failure(&frame(FIN | CLOSE, payload));
        assert_eq!(kind, ErrorKind::Disconnected);
        assert_eq!(got, format!("socket: PEER closed {text}"));
        assert_eq!(got_code, code);
    }
}

#[test]
fn unusual_but_valid_frames_lose_nothing() {
    let whole = |n| frame(FIN | TEXT, &message(n));
    let mut bytes = frame(TEXT, b"");
    for byte in message(0) {
        bytes.extend(frame(CONTINUATION, &[byte]));
        bytes.extend(frame(FIN | PING, b"amid"));
    }
    bytes.extend(frame(FIN | CONTINUATION, b""));
    bytes.extend(frame(FIN | BINARY, &message(1)));
    for _ in 0..1000 {
        bytes.extend(frame(FIN | PING, b"flood"));
        bytes.extend(frame(FIN | PONG, b"unasked"));
    }
    bytes.extend((2..200).flat_map(whole));
    let (sim, _seen, mut client) = connected();
    sim.send_raw(&bytes);
    for n in 0..200 {
        let Update::Event(event) = client.next(LONG).unwrap() else {
            panic!("no event")
        };
        assert_eq!(event.elems::<usize>().unwrap(), n);
    }
    client.close().unwrap();
}

#[test]
fn a_message_in_single_bytes_arrives() {
    let (sim, _seen, mut client) = connected();
    for byte in frame(FIN | TEXT, &message(7)) {
        sim.send_raw(&[byte]);
    }
    let Update::Event(event) = client.next(LONG).unwrap() else {
        panic!("no event")
    };
    assert_eq!(event.elems::<usize>().unwrap(), 7);
}

#[test]
fn updates_kept_while_an_answer_is_awaited_are_limited() {
    let (sim, _seen, mut client) = connected();
    sim.set_faults(&[Fault::AckSilent]);
    // More than is kept, of so short events.
    sim.send_raw(&frame(FIN | TEXT, &message(1)).repeat(100_000));
    let error = client.subscribe(&HUMIDITY.parse().unwrap()).unwrap_err();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::TooLong, Phase::Subscribe)
    );
    // The kept updates are there, and the client works.
    for _ in 0..MAX_MESSAGE {
        assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    }
}

/// What becomes of a session request that is answered so.
fn session(answer: String) -> Result<(), (ErrorKind, String)> {
    let (sim, _seen) = start(&[Fault::SessionRaw(answer.leak())]);
    match Client::connect(&config(&sim)) {
        Ok(client) => {
            client.close().unwrap();
            Ok(())
        }
        Err(error) => {
            let text = error.to_string().replace(&sim.addr().to_string(), "PEER");
            Err((error.kind(), text))
        }
    }
}

const ID: &str = r#"{"head":{"ok":true},"body":{"id":"{id}"}}"#;

#[test]
fn a_session_answer_may_have_any_legal_form() {
    // The id is 44 characters long.
    let length = ID.len() - "{id}".len() + 44;
    let head = format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n");
    for answer in [
        format!("{head}\r\n{ID}"),
        format!("{head}Content-Type: text/plain\r\n\r\n{ID}"),
        format!("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n{head}\r\n{ID}"),
        format!("HTTP/1.1 100 Continue\r\n\r\n{head}\r\n{ID}"),
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{ID}"),
        format!(
            "HTTP/1.1 200\r\ncontent-length: {length}\r\n\r\n\u{feff}{}",
            &ID[..ID.len()]
        )
        .replace(&length.to_string(), &(length + 3).to_string()),
        format!(
            "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n{:x};ext=1\r\n\
             {}\r\n0\r\nTrailer: x\r\n\r\n",
            &ID[..5],
            length - 5,
            &ID[5..]
        ),
    ] {
        assert_eq!(session(answer.clone()), Ok(()), "{answer}");
    }
}

#[test]
fn an_invalid_session_answer_fails_within_its_limits() {
    let broken = "session: the answer of PEER is incomplete";
    let endless = "X: y\r\n".repeat(20_000);
    let long = "a".repeat(100_000);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let too_long = "the answer of PEER is too long";
    for (name, answer) in [
        ("nothing", String::new()),
        ("half a head", "HTTP/1.1 201 Crea".to_owned()),
        (
            "short body",
            format!("HTTP/1.1 201 Created\r\nContent-Length: 999\r\n\r\n{ID}"),
        ),
        (
            "half a chunk",
            "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n99\r\n{}".to_owned(),
        ),
    ] {
        let error = session(answer).unwrap_err();
        assert_eq!(
            error,
            (ErrorKind::Disconnected, broken.to_owned()),
            "{name}"
        );
    }
    let deep = format!(
        "HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{}",
        &deep[..60_000]
    );
    let redirect =
        "HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    for (answer, kind, text) in [
        (
            format!("HTTP/1.1 201 Created\r\n{endless}"),
            ErrorKind::Malformed,
            too_long,
        ),
        (
            format!("HTTP/1.1 201 Created\r\n\r\n{long}"),
            ErrorKind::Malformed,
            too_long,
        ),
        (
            "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
            ErrorKind::Malformed,
            "the answer of PEER is not HTTP",
        ),
        (
            deep,
            ErrorKind::Malformed,
            "HTTP 201 from PEER: its body is not a JSON object",
        ),
        (
            "HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x0b"
                .to_owned(),
            ErrorKind::Malformed,
            "HTTP 201 from PEER: its body is in a content coding that cannot be read",
        ),
        (
            redirect.to_owned(),
            ErrorKind::Status(302),
            "HTTP 302 from PEER, a redirect to https://127.0.0.1:1",
        ),
    ] {
        let error = session(answer).unwrap_err();
        assert_eq!(error, (kind, format!("session: {text}")));
    }
}

/// What comes first on a socket whose upgrade is answered so.
fn upgrade(head: &str, rest: &'static [u8]) -> Result<Update, (ErrorKind, String)> {
    let (sim, _seen) = start(&[Fault::UpgradeRaw(head.to_owned().leak(), rest)]);
    let connected = Client::connect(&config(&sim));
    let next = connected.and_then(|mut client| client.next(LONG));
    next.map_err(|error| {
        let text = error.to_string().replace(&sim.addr().to_string(), "PEER");
        (error.kind(), text)
    })
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n";

#[test]
fn an_upgrade_may_have_any_legal_form_and_frames_right_behind_it() {
    let frame = b"\x81\x0f{\"value\": null}";
    for headers in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n",
        "connection: keep-alive\r\nCONNECTION: upgrade\r\nUpgrade: h2c, websocket\r\n",
        "Connection:upgrade\r\nUpgrade:websocket\r\nContent-Length: 0\r\nX:\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol:\r\n\
         Sec-WebSocket-Extensions: \r\n",
        &format!(
            "{}Connection: Upgrade\r\nUpgrade: websocket\r\n",
            "X: 1\r\n".repeat(120)
        ),
    ] {
        let next = upgrade(&format!("{SWITCH}{headers}\r\n"), frame).unwrap();
        assert!(matches!(next, Update::Event(_)), "{headers}: {next:?}");
    }
}

const NOT_HTTP: &str = "upgrade: the answer of PEER is not HTTP";

#[test]
fn an_invalid_upgrade_is_reported() {
    let invalid = "upgrade: the answer of PEER is invalid: ";
    let good = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let endless = format!("{SWITCH}{}", "X: y\r\n".repeat(5000));
    for (head, kind, text) in [
        (
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            ErrorKind::Status(200),
            "upgrade: HTTP 200 from PEER",
        ),
        (
            "HTTP/1.1 404 Gone\r\n\r\n".to_owned(),
            ErrorKind::Status(404),
            "upgrade: HTTP 404 from PEER",
        ),
        (
            "HTTP/1.1 307 T\r\nLocation: /\r\n\r\n".to_owned(),
            ErrorKind::Status(307),
            "upgrade: HTTP 307 from PEER",
        ),
        (
            format!("{SWITCH}\r\n"),
            ErrorKind::Malformed,
            "it does not confirm the upgrade",
        ),
        (
            format!("{SWITCH}Connection: Upgrade\r\n\r\n"),
            ErrorKind::Malformed,
            "it does not confirm the upgrade",
        ),
        (
            format!("{SWITCH}Upgrade: websocket\r\nConnection: keep-alive\r\n\r\n"),
            ErrorKind::Malformed,
            "it does not confirm the upgrade",
        ),
        (
            format!("HTTP/1.1 101 S\r\n{good}\r\n"),
            ErrorKind::Malformed,
            "its Sec-WebSocket-Accept is wrong",
        ),
        (
            format!(
                "HTTP/1.1 101 S\r\n{good}Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ),
            ErrorKind::Malformed,
            "its Sec-WebSocket-Accept is wrong",
        ),
        (
            format!("{SWITCH}{good}Sec-WebSocket-Extensions: x-compress\r\n\r\n"),
            ErrorKind::Malformed,
            "it has an extension or subprotocol that was not requested",
        ),
        (
            format!("{SWITCH}{good}Sec-WebSocket-Extensions:\r\nSec-WebSocket-Protocol: x\r\n\r\n"),
            ErrorKind::Malformed,
            "it has an extension or subprotocol that was not requested",
        ),
        (endless, ErrorKind::Malformed, NOT_HTTP),
        ("garbage\r\n\r\n".to_owned(), ErrorKind::Malformed, NOT_HTTP),
    ] {
        let text = match kind {
            ErrorKind::Malformed if text != NOT_HTTP => format!("{invalid}{text}"),
            _ => text.to_owned(),
        };
        assert_eq!(upgrade(&head, b"").unwrap_err(), (kind, text), "{head}");
    }
}

#[test]
fn an_answer_that_trickles_in_has_one_deadline_for_all_of_it() {
    let (sim, _seen) = start(&[Fault::Slow]);
    // A byte comes every few milliseconds, and there are more than a hundred.
    let config = config(&sim).connect_timeout(Duration::from_millis(300));
    let error = Client::connect(&config).err().unwrap();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::TimedOut, Phase::Session)
    );
}

#[test]
fn a_session_that_expires_again_and_again_is_final_after_five() {
    let (sim, seen) = start(&[Fault::Expire]);
    let error = Client::connect(&config(&sim).retry_for(Duration::MAX))
        .err()
        .unwrap();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Status(404), Phase::Upgrade)
    );
    drop(sim);
    let sessions = seen
        .iter()
        .filter(|seen| matches!(seen.action, ClientAction::Session(_)));
    assert_eq!(sessions.count(), 5);
}

#[test]
fn an_event_of_8_mib_and_one_of_100_000_members_arrive() {
    let (sim, _seen) = start(&[]);
    let config = config(&sim).max_message(16 << 20);
    let mut client = Client::connect(&config).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    let long = format!(r#"{{"value":"{}"}}"#, "a".repeat(8 << 20));
    let members: Vec<String> = (0..100_000).map(|n| format!(r#""m{n}":{n}"#)).collect();
    let many = format!(r#"{{{},"value":1}}"#, members.join(","));
    for text in [&long, &many] {
        sim.send(text);
        let Update::Event(event) = client.next(LONG).unwrap() else {
            panic!("no event")
        };
        assert_eq!(event.message(), text);
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::property;

    proptest! {
        #![proptest_config(property(16))]

        /// Messages in fragments of any length, with control frames between them, in pieces of any
        /// length on the wire.
        #[test]
        fn however_messages_are_cut_they_arrive(
            lengths in prop::collection::vec(1_usize..50, 1..20),
            controls in prop::collection::vec(prop_oneof![Just(PING), Just(PONG)], 1..5),
            pieces in prop::collection::vec(1_usize..200, 1..20),
        ) {
            let (sim, _seen, mut client) = connected();
            let (mut lengths, mut controls) = (lengths.iter().cycle(), controls.iter().cycle());
            let mut bytes = Vec::new();
            for n in 0..20 {
                let text = message(n);
                let (mut rest, mut opcode) = (&text[..], TEXT);
                while !rest.is_empty() {
                    let at = *lengths.next().unwrap();
                    let (now, later) = rest.split_at(at.min(rest.len()));
                    let last = if later.is_empty() { FIN } else { 0 };
                    bytes.extend(frame(last | opcode, now));
                    // Behind the last one, it might come when all is closed.
                    if n < 19 || !later.is_empty() {
                        bytes.extend(frame(FIN | *controls.next().unwrap(), b"amid"));
                    }
                    (rest, opcode) = (later, CONTINUATION);
                }
            }
            let mut rest = &bytes[..];
            for length in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*length).min(rest.len()));
                sim.send_raw(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            for n in 0..20 {
                let Update::Event(event) = client.next(LONG).unwrap() else {
                    panic!("no event")
                };
                prop_assert_eq!(event.elems::<usize>().unwrap(), n);
            }
            client.close().unwrap();
        }
    }
}
