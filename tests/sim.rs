//! The stand-in, seen by a client that knows nothing of this crate.
#![cfg(feature = "sim")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use octave_ws::sim::{ClientAction, Fault, Observation, Options, Sim};
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
