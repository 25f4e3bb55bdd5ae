//! The stand-in, seen by a client that knows nothing of this crate.
#![cfg(feature = "sim")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use flate2::bufread::GzDecoder;
use octave_ws::sim::{ClientAction, Fault, HistoryFault, Observation, Options, Sim};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const TIMEOUT: Duration = Duration::from_secs(60);

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn dial(sim: &Sim) -> Tls {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(sim.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(sim.addr()).unwrap();
    tcp.set_read_timeout(Some(TIMEOUT)).unwrap();
    let name = sim.addr().ip().into();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(tls, tcp)
}

/// The status and the JSON body of the answer to a session request.
fn post(tls: &mut Tls, headers: &[(&str, &str)]) -> (u16, Value) {
    tls.write_all(b"POST /session HTTP/1.1\r\nHost: sim\r\n")
        .unwrap();
    for (name, value) in headers {
        write!(tls, "{name}: {value}\r\n").unwrap();
    }
    tls.write_all(b"\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut chunk = [0; 1024];
        let n = tls.read(&mut chunk).unwrap();
        assert!(n > 0, "the answer ends early");
        answer.extend_from_slice(&chunk[..n]);
    }
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn session(sim: &Sim, tls: &mut Tls) -> String {
    let credentials = [
        ("X-Auth-User", sim.user()),
        ("X-Auth-Company", sim.company()),
        ("X-Auth-Token", sim.token()),
    ];
    let (status, answer) = post(tls, &credentials);
    assert_eq!(status, 201);
    assert_eq!(
        answer["head"],
        json!({"ok": true, "status": 201, "errors": []})
    );
    answer["body"]["id"].as_str().unwrap().to_owned()
}

fn upgrade(tls: Tls, id: &str) -> Result<WebSocket<Tls>, u16> {
    let url = format!("wss://sim/session/{id}/ws");
    match tungstenite::client(url, tls) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

fn open(sim: &Sim) -> WebSocket<Tls> {
    let mut tls = dial(sim);
    let id = session(sim, &mut tls);
    upgrade(tls, &id).unwrap()
}

fn receive(socket: &mut WebSocket<Tls>) -> Value {
    serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap()
}

fn ask(socket: &mut WebSocket<Tls>, request: &Value) -> Value {
    socket.send(Message::text(request.to_string())).unwrap();
    receive(socket)
}

#[test]
fn a_session_takes_the_right_headers() {
    let sim = Sim::start().unwrap();
    let company = ("X-Auth-Company", sim.company());
    let user = ("X-Auth-User", sim.user());
    let full = ("X-Auth-Token", sim.token());
    let restricted = ("X-Auth-Token", sim.restricted_token());
    // All on one connection: it is kept open.
    let mut tls = dial(&sim);
    assert_eq!(post(&mut tls, &[user, company, full]).0, 201);
    assert_eq!(post(&mut tls, &[company, restricted]).0, 201);
    for wrong in [
        vec![user, company, restricted],
        vec![company, full],
        vec![user, full],
        vec![user, company],
        vec![("X-Auth-User", "nobody"), company, full],
        vec![user, ("X-Auth-Company", "other"), full],
        vec![user, company, ("X-Auth-Token", "x")],
        vec![],
    ] {
        let (status, answer) = post(&mut tls, &wrong);
        assert_eq!(status, 400, "{wrong:?}");
        assert_eq!(answer["head"]["ok"], false);
        assert_eq!(answer["head"]["errors"], json!(["invalid credentials"]));
        assert_eq!(answer["body"], Value::Null);
    }
}

#[test]
fn a_session_serves_one_socket_on_its_own_connection_or_another() {
    let sim = Sim::start().unwrap();
    let mut same = dial(&sim);
    let id = session(&sim, &mut same);
    upgrade(same, &id).unwrap();
    assert_eq!(upgrade(dial(&sim), &id).unwrap_err(), 404);
    let id = session(&sim, &mut dial(&sim));
    upgrade(dial(&sim), &id).unwrap();
    assert_eq!(upgrade(dial(&sim), "nonsense").unwrap_err(), 404);
}

#[test]
fn streams_are_subscribed_by_path_and_by_id() {
    let sim = Sim::start().unwrap();
    let id = sim.streams()[0].1.clone();
    for stream in [json!({"path": TEMPERATURE}), json!({"streamId": id})] {
        let mut socket = open(&sim);
        let mut request = stream.clone();
        request["msgId"] = json!(17);
        request["object"] = json!("event");
        request["type"] = json!("subscribe");
        let ack = ask(&mut socket, &request);
        let messages = ["Your request has been processed successfully."];
        let head = json!({"msgId": 17, "ok": true, "errors": [], "messages": messages});
        assert_eq!(ack, json!({"head": head, "body": {}}));
        assert_eq!(sim.publish(TEMPERATURE, &json!({"t": 1})), 1);
        let event = receive(&mut socket);
        assert_eq!(event["type"], "message");
        assert_eq!(event["resource"], id.as_str());
        assert_eq!(event["value"]["path"], TEMPERATURE);
        assert_eq!(event["value"]["elems"], json!({"t": 1}));
        request["type"] = json!("unsubscribe");
        assert_eq!(ask(&mut socket, &request)["head"]["ok"], true);
        assert_eq!(sim.publish(TEMPERATURE, &json!({})), 0);
        assert_eq!(ask(&mut socket, &request)["head"]["ok"], false);
    }
}

#[test]
fn events_come_before_the_answers_to_what_was_sent_after_them() {
    // From a second after the subscription on: then both wait at once.
    let freeze = Fault::Freeze(Duration::from_millis(300));
    let sim = Sim::start_with(Options::default().faults([freeze])).unwrap();
    let mut socket = open(&sim);
    let mut request =
        json!({"msgId": 0, "object": "event", "type": "subscribe", "path": TEMPERATURE});
    assert_eq!(ask(&mut socket, &request)["head"]["ok"], true);
    request["path"] = json!("/demo/none");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        for asks in [false, true] {
            assert_eq!(sim.publish(TEMPERATURE, &json!({})), 1);
            let question = if asks {
                Message::text(request.to_string())
            } else {
                Message::Ping("x".into())
            };
            socket.send(question).unwrap();
            assert_eq!(receive(&mut socket)["type"], "message");
            let answer = socket.read().unwrap();
            assert!(if asks {
                answer.is_text()
            } else {
                answer.is_pong()
            });
        }
    }
}

#[test]
fn impossible_requests_are_refused() {
    let sim = Sim::start().unwrap();
    let mut socket = open(&sim);
    let mut request =
        json!({"msgId": "a", "object": "event", "type": "subscribe", "path": "/demo/none"});
    let head = &ask(&mut socket, &request)["head"];
    assert_eq!((&head["msgId"], &head["ok"]), (&json!("a"), &json!(false)));
    assert_eq!(head["errors"], json!(["no stream /demo/none"]));
    request["streamId"] = json!(sim.streams()[0].1);
    let head = &ask(&mut socket, &request)["head"];
    assert_eq!(head["errors"], json!(["give a streamId or a path"]));
    let head = &ask(&mut socket, &json!("hello"))["head"];
    assert_eq!(head["errors"], json!(["this is not a request"]));
}

#[test]
fn several_clients_hear_the_same_events() {
    let sim = Sim::start_with(Options::default().rate(100.0)).unwrap();
    let mut sockets = [open(&sim), open(&sim)];
    let request =
        json!({"msgId": "a", "object": "event", "type": "subscribe", "path": TEMPERATURE});
    for socket in &mut sockets {
        ask(socket, &request);
    }
    let [mut one, mut other] = sockets;
    let last = receive(&mut other);
    let mut heard = receive(&mut one);
    while heard != last {
        heard = receive(&mut one);
    }
    assert_eq!(receive(&mut one), receive(&mut other));
}

#[test]
fn client_actions_are_logged() {
    let (observer, seen) = mpsc::channel::<Observation>();
    let sim = Sim::start_with(Options::default().observer(observer)).unwrap();
    let mut socket = open(&sim);
    ask(
        &mut socket,
        &json!({"msgId": 1, "object": "event", "type": "subscribe", "path": TEMPERATURE}),
    );
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop(sim);
    let told: Vec<ClientAction> = seen.iter().map(|seen| seen.action).collect();
    let [
        ClientAction::Connected,
        ClientAction::Handshake { resumed: false },
        ClientAction::Session(given),
        ClientAction::Opened(opened),
        ClientAction::Subscribed(stream),
        ClientAction::Closed(None),
        ClientAction::Disconnected(None),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((given, stream.as_str()), (opened, TEMPERATURE));
    assert_eq!(given.len(), 6);
}

/// The status, the `Content-Encoding` and the body of the answer to a request for events.
fn get(sim: &Sim, target: &str, headers: &[(&str, &str)]) -> (u16, Option<String>, Vec<u8>) {
    let mut tls = dial(sim);
    write!(tls, "GET /v5.0{target} HTTP/1.1\r\nHost: sim\r\n").unwrap();
    for (name, value) in headers {
        write!(tls, "{name}: {value}\r\n").unwrap();
    }
    tls.write_all(b"Connection: close\r\n\r\n").unwrap();
    let mut answer = BufReader::new(tls);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(answer.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let mut body = Vec::new();
    // Without a close_notify where a fault cuts it.
    let _ = answer.read_to_end(&mut body);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let coding = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Encoding: "));
    (status, coding.map(str::to_owned), body)
}

/// The `n` of each event that the history has for a query.
fn history(sim: &Sim, query: &str) -> Vec<i64> {
    let events = past(sim, query);
    let n = |event: &Value| event["elems"]["n"].as_i64().unwrap();
    events.iter().map(n).collect()
}

fn past(sim: &Sim, query: &str) -> Vec<Value> {
    let credentials = [("X-Auth-User", sim.user()), ("X-Auth-Token", sim.token())];
    let target = format!("/demo/event?path={TEMPERATURE}&{query}");
    let (status, _, body) = get(sim, &target, &credentials);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["head"]["ok"]), (200, &json!(true)));
    answer["body"].as_array().unwrap().clone()
}

fn publish(sim: &Sim, numbers: impl IntoIterator<Item = u32>) {
    let elems: Vec<_> = numbers.into_iter().map(|n| json!({ "n": n })).collect();
    sim.publish_burst(TEMPERATURE, &elems);
}

#[test]
fn the_history_has_the_newest_events_of_a_stream() {
    let sim = Sim::start_with(Options::default().capacity(50)).unwrap();
    assert!(history(&sim, "").is_empty());
    publish(&sim, 0..60);
    assert_eq!(history(&sim, ""), (40..60).rev().collect::<Vec<_>>());
    assert_eq!(history(&sim, "order=asc&limit=3&start=1"), [11, 12, 13]);
    assert_eq!(history(&sim, "limit=1000").len(), 50);
    let newest = past(&sim, "limit=1")[0].clone();
    assert_eq!(newest["version"], 0);
    assert!(newest.get("location").is_none(), "{newest}");
    let date = newest["creationDate"].as_i64().unwrap();
    let later = format!("filter=creationDate%3E{date}");
    assert!(history(&sim, &later).is_empty());
    assert_eq!(
        history(&sim, &format!("filter=creationDate%3E%3D{date}&limit=1")),
        [59]
    );
}

#[test]
fn the_history_is_for_those_who_may_read_it() {
    let sim = Sim::start().unwrap();
    publish(&sim, [7]);
    let (user, full) = (("X-Auth-User", sim.user()), ("X-Auth-Token", sim.token()));
    let restricted = ("X-Auth-Token", sim.restricted_token());
    let id = sim.streams()[0].1.clone();
    let target = format!("/demo/event/{id}");
    for (target, headers, status) in [
        (&*target, vec![user, full], 200),
        (&target, vec![restricted], 200),
        (&target, vec![full], 401),
        (&target, vec![], 401),
        ("/other/event/x", vec![user, full], 401),
        ("/demo/event", vec![user, full], 400),
        ("/demo/event/x", vec![user, full], 404),
        ("/demo/event?path=/x", vec![user, full], 404),
        ("/demo/event?filter=x", vec![user, full], 400),
    ] {
        assert_eq!(
            get(&sim, target, &headers).0,
            status,
            "{target} {headers:?}"
        );
    }
    let gzip = ("Accept-Encoding", "gzip");
    let (_, coding, body) = get(&sim, &target, &[restricted, gzip]);
    assert_eq!(coding.as_deref(), Some("gzip"));
    let answer: Value = serde_json::from_reader(GzDecoder::new(&body[..])).unwrap();
    assert_eq!(answer["body"][0]["elems"]["n"], 7);
}

#[test]
fn the_history_has_faults() {
    let sim = Sim::start().unwrap();
    publish(&sim, 0..30);
    let set = |fault| sim.set_faults(&[Fault::History(fault)]);
    let date = past(&sim, "limit=1")[0]["creationDate"].as_i64().unwrap();
    let later = format!("filter=creationDate%3E{date}");

    set(HistoryFault::Capped);
    assert_eq!(history(&sim, "limit=100").len(), 20);
    set(HistoryFault::Descending);
    assert_eq!(history(&sim, "order=asc&limit=2"), [29, 28]);
    set(HistoryFault::Unfiltered);
    assert_eq!(history(&sim, &later).len(), 20);
    set(HistoryFault::Doubled);
    assert_eq!(history(&sim, "limit=2"), [29, 29, 28, 28]);
    set(HistoryFault::Foreign);
    assert_ne!(
        past(&sim, "limit=1")[0]["streamId"],
        json!(sim.streams()[0].1)
    );
    set(HistoryFault::Evicting);
    assert_eq!(history(&sim, "limit=1000").len(), 30);
    assert_eq!(history(&sim, "limit=1000").len(), 15);

    set(HistoryFault::Behind);
    let begin = Instant::now();
    publish(&sim, [30]);
    assert!(!history(&sim, "limit=1").contains(&30));
    while !history(&sim, "limit=1").contains(&30) {
        assert!(begin.elapsed() < TIMEOUT);
    }
    assert!(begin.elapsed() >= Duration::from_secs(2));

    let credentials = [("X-Auth-User", sim.user()), ("X-Auth-Token", sim.token())];
    let target = format!("/demo/event?path={TEMPERATURE}");
    set(HistoryFault::Status(429));
    assert_eq!(get(&sim, &target, &credentials).0, 429);
    set(HistoryFault::Html);
    assert!(get(&sim, &target, &credentials).2.starts_with(b"<html>"));
    set(HistoryFault::Torn);
    let (status, _, body) = get(&sim, &target, &credentials);
    assert!(status == 200 && serde_json::from_slice::<Value>(&body).is_err());
}

#[test]
fn all_events_may_have_one_date() {
    let sim = Sim::start().unwrap();
    sim.set_faults(&[Fault::History(HistoryFault::OneMillisecond)]);
    publish(&sim, [1]);
    let date = past(&sim, "")[0]["creationDate"].as_i64().unwrap();
    publish(&sim, 2..10);
    let filter = format!("filter=creationDate=={date}");
    assert_eq!(history(&sim, &filter).len(), 9);
}

#[test]
fn the_history_may_be_ahead_of_the_push() {
    let sim = Sim::start().unwrap();
    let mut socket = open(&sim);
    let request =
        json!({"msgId": "1", "object": "event", "type": "subscribe", "path": TEMPERATURE});
    ask(&mut socket, &request);
    sim.set_faults(&[Fault::History(HistoryFault::Ahead)]);
    let begin = Instant::now();
    publish(&sim, [7]);
    assert_eq!(history(&sim, ""), [7]);
    assert_eq!(receive(&mut socket)["value"]["elems"]["n"], 7);
    assert!(begin.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_stream_goes_on_while_no_client_is_connected() {
    let sim = Sim::start_with(Options::default().rate(100.0)).unwrap();
    assert!(past(&sim, "").is_empty());
    let mut socket = open(&sim);
    let request =
        json!({"msgId": "1", "object": "event", "type": "subscribe", "path": TEMPERATURE});
    ask(&mut socket, &request);
    receive(&mut socket);
    drop(socket);
    let begin = Instant::now();
    while past(&sim, "limit=100").len() < 100 {
        assert!(begin.elapsed() < TIMEOUT);
    }
}
