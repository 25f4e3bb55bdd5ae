//! The library, through real sockets against the stand-in.
#![cfg(feature = "sim")]

use std::ops::ControlFlow;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use octave_ws::sim::{Fault, Options, Seen, Sim, What};
use octave_ws::{Action, Client, Config, Credentials, ErrorKind, Next, Phase, Stop, Stream, Token};
use serde_json::json;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const HUMIDITY: &str = "/demo/devices/gw1/humidity";
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(50);

fn start(faults: &[Fault]) -> (Sim, Receiver<Seen>) {
    let (observer, seen) = mpsc::channel();
    let options = Options {
        observer: Some(observer),
        faults: faults.to_vec(),
        ..Options::default()
    };
    (Sim::start_with(options).unwrap(), seen)
}

fn config(sim: &Sim) -> Config {
    let credentials = Credentials::new(sim.company(), Token::new(sim.token()));
    Config::new(credentials.user(sim.user()))
        .endpoint(sim.endpoint())
        .ca_pem(sim.ca_pem())
        .connect_timeout(LONG)
}

fn stream(name: &str) -> Stream {
    name.parse().unwrap()
}

fn event(next: Next) -> octave_ws::Event {
    match next {
        Next::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

/// What the stand-in has seen, once it is gone.
fn told(sim: Sim, seen: &Receiver<Seen>) -> Vec<What> {
    drop(sim);
    seen.iter().map(|seen| seen.what).collect()
}

#[test]
fn one_tcp_connection_and_one_full_handshake_carry_everything() {
    let (sim, seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    client.subscribe(&stream(TEMPERATURE)).unwrap();
    for t in 0..5 {
        assert_eq!(sim.publish(TEMPERATURE, &json!({ "t": t })), 1);
        let event = event(client.next(LONG).unwrap());
        assert_eq!(event.elems::<serde_json::Value>().unwrap()["t"], t);
        assert_eq!(event.path().unwrap(), TEMPERATURE);
    }
    client.close().unwrap();
    let told = told(sim, &seen);
    let [
        What::Connected,
        What::Handshake { resumed: false },
        What::Session(_),
        What::Opened(_),
        What::Subscribed(_),
        What::Unsubscribed(_),
        What::Closed(Some(1000)),
        What::Disconnected(None),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
}

#[test]
fn a_connection_that_is_not_kept_is_made_again() {
    for fault in [Fault::SessionClose, Fault::SessionDrop] {
        let (sim, seen) = start(&[fault]);
        let client = Client::connect(&config(&sim)).unwrap();
        client.close().unwrap();
        let told = told(sim, &seen);
        let count = |what| told.iter().filter(|told| **told == what).count();
        assert_eq!(count(What::Connected), 2, "{told:?}");
        assert_eq!(count(What::Handshake { resumed: false }), 1, "{told:?}");
        assert_eq!(count(What::Handshake { resumed: true }), 1, "{told:?}");
    }
}

#[test]
fn what_comes_in_before_an_ack_is_kept() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    client.subscribe(&stream(TEMPERATURE)).unwrap();
    sim.publish(TEMPERATURE, &json!(1));
    client.subscribe(&stream(&sim.streams()[1].1)).unwrap();
    sim.publish(HUMIDITY, &json!(2));
    client.unsubscribe(&stream(TEMPERATURE)).unwrap();
    let subscribed: Vec<String> = client.subscribed().map(ToString::to_string).collect();
    assert_eq!(subscribed, [sim.streams()[1].1.clone()]);
    for n in 1..=2 {
        let event = event(client.next(LONG).unwrap());
        assert_eq!(event.elems::<i32>().unwrap(), n);
    }
    assert!(matches!(client.next(SHORT).unwrap(), Next::TimedOut));
}

#[test]
fn requests_that_are_not_waited_for_are_answered_later() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    for name in [TEMPERATURE, "/demo/none"] {
        client.request(Action::Subscribe, &stream(name)).unwrap();
    }
    let Next::Ack(ack) = client.next(LONG).unwrap() else {
        panic!("no ack")
    };
    assert_eq!((ack.stream, ack.outcome), (stream(TEMPERATURE), Ok(())));
    let Next::Ack(ack) = client.next(LONG).unwrap() else {
        panic!("no ack")
    };
    assert_eq!(ack.outcome, Err("no stream /demo/none".to_owned()));
}

#[test]
fn a_refused_subscription_leaves_the_client_as_it_was() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    let error = client.subscribe(&stream("/demo/none")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(
        error.to_string(),
        "subscribe: subscribe /demo/none was refused: no stream /demo/none"
    );
    client.subscribe(&stream(TEMPERATURE)).unwrap();
}

#[test]
fn callbacks_are_called_until_one_breaks() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    let temperature = stream(TEMPERATURE);
    client.request(Action::Subscribe, &temperature).unwrap();
    let (mut acks, mut events) = (Vec::new(), Vec::new());
    let on_ack = |ack: octave_ws::Ack| {
        acks.push(ack.stream);
        for n in 1..=3 {
            sim.publish(TEMPERATURE, &json!(n));
        }
        ControlFlow::Continue(())
    };
    let on_event = |event: octave_ws::Event| {
        events.push(event.elems::<i32>().unwrap());
        match events.len() {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    client.run(on_ack, on_event).unwrap();
    assert_eq!((acks, events), (vec![temperature], vec![1, 2, 3]));
}

#[test]
fn a_lost_connection_is_an_error_once_and_closed_for_ever_after() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    client.subscribe(&stream(TEMPERATURE)).unwrap();
    let peer = sim.addr();
    drop(sim);
    let error = client.next(LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(error.is_retryable());
    assert_eq!(
        error.to_string(),
        format!("socket: {peer} closed with 1001 the stand-in stops")
    );
    for _ in 0..2 {
        assert!(matches!(client.next(LONG).unwrap(), Next::Closed));
    }
    let error = client.subscribe(&stream(TEMPERATURE)).unwrap_err();
    assert_eq!(error.to_string(), "socket: the connection is closed");
    client.close().unwrap();
}

#[test]
fn silence_has_its_deadline_in_each_phase() {
    for (fault, phase) in [
        (Fault::SessionSilent, Phase::Session),
        (Fault::UpgradeSilent, Phase::Upgrade),
    ] {
        let (sim, _seen) = start(&[fault]);
        // Long enough for a handshake on a busy machine.
        let config = config(&sim).connect_timeout(Duration::from_secs(1));
        let error = Client::connect(&config).err().unwrap();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::TimedOut, phase));
        let peer = sim.addr();
        let text = format!("{phase}: no answer from {peer} in time");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn connecting_can_be_stopped() {
    for (fault, phase) in [
        (Fault::SessionSilent, Phase::Session),
        (Fault::UpgradeSilent, Phase::Upgrade),
    ] {
        let (sim, seen) = start(&[fault]);
        let stop = Stop::new().unwrap();
        let config = config(&sim).stop(stop.clone());
        let client = thread::spawn(move || Client::connect(&config).err().unwrap());
        // Not before that phase has begun.
        seen.iter().find(|seen| seen.what == What::Swallowed);
        stop.stop();
        let error = client.join().unwrap();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Stopped, phase));
    }
}

#[test]
fn a_stop_ends_a_wait_and_leave_can_still_be_taken() {
    let (sim, seen) = start(&[]);
    let stop = Stop::new().unwrap();
    let mut client = Client::connect(&config(&sim).stop(stop.clone())).unwrap();
    client.subscribe(&stream(TEMPERATURE)).unwrap();
    let stopper = thread::spawn(move || stop.stop());
    let error = client
        .run(|_| ControlFlow::Continue(()), |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    stopper.join().unwrap();
    client.close().unwrap();
    let told = told(sim, &seen);
    assert!(told.contains(&What::Unsubscribed(TEMPERATURE.to_owned())));
    assert!(told.contains(&What::Closed(Some(1000))));
}

#[test]
fn nothing_is_dialled_with_credentials_that_no_header_may_hold() {
    let (sim, seen) = start(&[]);
    let token = Token::new("a\r\nX-Evil: 1");
    let config = Config::new(Credentials::new("demo", token)).endpoint(sim.endpoint());
    let error = Client::connect(&config).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(told(sim, &seen), []);
}

#[test]
fn no_secret_is_in_what_debug_prints() {
    let (sim, _seen) = start(&[]);
    let config = config(&sim).proxy("http://user:hunter2@127.0.0.1:1");
    let error = Client::connect(&config).err().unwrap();
    for text in [
        format!("{config:?}"),
        format!("{error:?}"),
        error.to_string(),
    ] {
        assert!(
            !text.contains("hunter2") && !text.contains(sim.token()),
            "{text}"
        );
    }
}
