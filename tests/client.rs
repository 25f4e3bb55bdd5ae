//! The library, through real sockets against the stand-in.
#![cfg(feature = "sim")]

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use octave_ws::sim::{ClientAction, Fault, Observation, Options, Sim};
use octave_ws::{
    Action, Client, Config, Credentials, ErrorKind, Phase, Step, Stop, Stream, Token, Update,
};
use serde_json::json;

use crate::patience::{Told, until};

mod patience;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const HUMIDITY: &str = "/demo/devices/gw1/humidity";
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

fn start(faults: &[Fault]) -> (Sim, Told) {
    let (observer, seen) = mpsc::channel();
    let options = Options::default()
        .observer(observer)
        .faults(faults.iter().copied());
    (Sim::start_with(options).unwrap(), Told(seen))
}

fn config(sim: &Sim) -> Config {
    sim.config().connect_timeout(LONG)
}

fn stream(name: &str) -> Stream {
    name.parse().unwrap()
}

fn event(next: Update) -> octave_ws::Event {
    match next {
        Update::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

/// What the stand-in has seen, once it is gone.
fn told(sim: Sim, seen: &Told) -> Vec<ClientAction> {
    drop(sim);
    seen.iter().map(|seen| seen.action).collect()
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
        ClientAction::Connected,
        ClientAction::Handshake { resumed: false },
        ClientAction::Session(_),
        ClientAction::Opened(_),
        ClientAction::Subscribed(_),
        ClientAction::Unsubscribed(_),
        ClientAction::Closed(Some(1000)),
        ClientAction::Disconnected(None),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
}

#[test]
fn a_closed_session_connection_is_replaced() {
    for fault in [Fault::SessionClose, Fault::SessionDrop] {
        let (sim, seen) = start(&[fault]);
        let client = Client::connect(&config(&sim)).unwrap();
        client.close().unwrap();
        let told = told(sim, &seen);
        let count = |what| told.iter().filter(|told| **told == what).count();
        assert_eq!(count(ClientAction::Connected), 2, "{told:?}");
        assert_eq!(
            count(ClientAction::Handshake { resumed: false }),
            1,
            "{told:?}"
        );
        assert_eq!(
            count(ClientAction::Handshake { resumed: true }),
            1,
            "{told:?}"
        );
    }
}

#[test]
fn updates_before_an_ack_are_kept() {
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
    assert!(matches!(client.next(SHORT).unwrap(), Update::TimedOut));
}

#[test]
fn requests_that_are_not_waited_for_are_answered_later() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    for name in [TEMPERATURE, "/demo/none"] {
        client.request(Action::Subscribe, &stream(name)).unwrap();
    }
    let Update::Ack(ack) = client.next(LONG).unwrap() else {
        panic!("no ack")
    };
    assert_eq!((ack.stream, ack.outcome), (stream(TEMPERATURE), Ok(())));
    let Update::Ack(ack) = client.next(LONG).unwrap() else {
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
        format!(
            "subscribe: {} refused /demo/none: no stream /demo/none",
            sim.addr()
        )
    );
    assert_eq!((error.status(), error.is_retryable()), (Some(404), false));
    sim.set_faults(&[Fault::RefuseWith(HUMIDITY, 503)]);
    let error = client.subscribe(&stream(HUMIDITY)).unwrap_err();
    assert_eq!((error.status(), error.is_retryable()), (Some(503), true));
    client.subscribe(&stream(TEMPERATURE)).unwrap();
}

#[test]
fn the_callback_is_called_until_it_breaks() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    let temperature = stream(TEMPERATURE);
    client.request(Action::Subscribe, &temperature).unwrap();
    let (mut acks, mut events) = (Vec::new(), Vec::new());
    let callback = |next| {
        match next {
            Update::Ack(ack) => {
                acks.push(ack.stream);
                for n in 1..=3 {
                    sim.publish(TEMPERATURE, &json!(n));
                }
            }
            next => events.push(event(next).elems::<i32>().unwrap()),
        }
        match events.len() {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    client.run(callback).unwrap();
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
        assert!(matches!(client.next(LONG).unwrap(), Update::Closed));
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
        let text = format!("{phase}: timed out waiting for an answer from {peer}");
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
        seen.iter()
            .find(|seen| seen.action == ClientAction::Ignored);
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
    let error = client.run(|_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    stopper.join().unwrap();
    client.close().unwrap();
    let told = told(sim, &seen);
    assert!(told.contains(&ClientAction::Unsubscribed(TEMPERATURE.to_owned())));
    assert!(told.contains(&ClientAction::Closed(Some(1000))));
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

/// What comes next that is not an event.
fn no_event(client: &mut Client) -> Update {
    loop {
        match client.next(LONG).unwrap() {
            Update::Event(_) | Update::Disconnected(_) => {}
            next => return next,
        }
    }
}

#[test]
fn a_lost_connection_is_restored_with_every_stream_and_a_gap() {
    let (sim, seen) = start(&[]);
    let mut client = Client::connect(&config(&sim).retry_for(LONG)).unwrap();
    let streams = [stream(TEMPERATURE), stream(HUMIDITY)];
    for stream in &streams {
        client.subscribe(stream).unwrap();
    }
    client.subscribe(&stream(&sim.streams()[2].1)).unwrap();
    client.unsubscribe(&stream(&sim.streams()[2].1)).unwrap();
    let peer = sim.addr();
    for (round, reason) in [
        (0, format!("socket: {peer} closed with 1012")),
        (1, format!("socket: {peer} ended the connection")),
    ] {
        let before = SystemTime::now();
        match round {
            0 => assert_eq!(sim.close_all(1012), 1),
            _ => assert_eq!(sim.drop_all(), 1),
        }
        let Update::Lost(loss) = no_event(&mut client) else {
            panic!("no loss")
        };
        assert_eq!((client.loss(), client.is_connected()), (Some(&loss), false));
        assert!(matches!(no_event(&mut client), Update::Connected));
        let Update::Gap(gap) = no_event(&mut client) else {
            panic!("no gap")
        };
        assert_eq!(client.loss(), None);
        assert_eq!((gap.from, &gap.reason), (loss.from, &loss.reason));
        assert_eq!(gap.reason, reason);
        assert!(gap.from <= gap.to && before <= gap.to);
        for (n, stream) in streams.iter().enumerate() {
            assert_eq!(sim.publish(stream.as_str(), &json!(n)), 1);
            let event = event(client.next(LONG).unwrap());
            assert_eq!(event.elems::<usize>().unwrap(), n);
        }
    }
    client.close().unwrap();
    let told = told(sim, &seen);
    let count = |is_it: fn(&ClientAction) -> bool| told.iter().filter(|what| is_it(what)).count();
    assert_eq!(count(|what| matches!(what, ClientAction::Session(_))), 3);
    assert_eq!(
        count(|what| matches!(what, ClientAction::Subscribed(_))),
        3 + 2 + 2
    );
    assert_eq!(
        count(|what| *what == ClientAction::Handshake { resumed: false }),
        1
    );
    assert_eq!(
        count(|what| *what == ClientAction::Handshake { resumed: true }),
        2
    );
}

#[test]
fn a_second_refusal_is_reported() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim).retry_for(LONG)).unwrap();
    client.subscribe(&stream(TEMPERATURE)).unwrap();
    client.subscribe(&stream(HUMIDITY)).unwrap();
    sim.set_faults(&[Fault::Refuse(HUMIDITY)]);
    sim.drop_all();
    assert!(matches!(no_event(&mut client), Update::Lost(_)));
    assert!(matches!(no_event(&mut client), Update::Connected));
    let Update::Ack(ack) = no_event(&mut client) else {
        panic!("no ack")
    };
    assert_eq!(ack.stream, stream(HUMIDITY));
    assert!(ack.outcome.is_err());
    assert!(matches!(no_event(&mut client), Update::Gap(_)));
    let left: Vec<&Stream> = client.subscribed().collect();
    assert_eq!(left, [&stream(TEMPERATURE)]);
}

#[test]
fn it_gives_up_after_so_long_without_a_connection() {
    let (sim, _seen) = start(&[]);
    let config = config(&sim).retry_for(Duration::from_millis(300));
    let mut client = Client::connect(&config).unwrap();
    let peer = sim.addr();
    drop(sim);
    let start = Instant::now();
    assert!(matches!(client.next(LONG).unwrap(), Update::Lost(_)));
    let error = loop {
        match client.next(LONG) {
            Ok(next) => assert!(matches!(next, Update::Disconnected(_)), "{next:?}"),
            Err(error) => break error,
        }
    };
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert_eq!(
        error.to_string(),
        format!("connect: no connection to {peer}")
    );
    assert!(matches!(client.next(LONG).unwrap(), Update::Closed));
    // It is the same where there never was one.
    let error = Client::connect(&config).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("connect: no connection to {peer}")
    );
}

#[test]
fn a_stop_ends_a_wait_for_the_next_attempt() {
    let (sim, _seen) = start(&[Fault::SessionAnswer(503, "")]);
    let stop = Stop::new().unwrap();
    let config = config(&sim).retry_for(Duration::MAX).stop(stop.clone());
    let stopper = thread::spawn(move || stop.stop());
    let error = Client::connect(&config).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    stopper.join().unwrap();
}

#[test]
fn a_final_failure_is_not_retried() {
    for (fault, sessions) in [
        (Fault::SessionAnswer(403, ""), 1),
        (Fault::SessionAnswer(404, ""), 1),
        (Fault::SessionAnswer(201, r#"{"body":{"id":".."}}"#), 1),
        (Fault::SessionAnswer(302, ""), 1),
        // Somebody else's page, perhaps: twice more.
        (Fault::SessionAnswer(200, "<html>"), 3),
    ] {
        let (sim, seen) = start(&[fault]);
        let config = config(&sim).retry_for(Duration::MAX);
        Client::connect(&config).err().unwrap();
        let told = told(sim, &seen);
        let asked = told
            .iter()
            .filter(|what| matches!(what, ClientAction::Session(_)));
        assert_eq!(asked.count(), sessions, "{fault:?}");
    }
}

#[test]
fn requests_without_a_connection_are_kept() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim).retry_for(LONG)).unwrap();
    client.subscribe(&stream(TEMPERATURE)).unwrap();
    sim.drop_all();
    while !matches!(client.next(LONG).unwrap(), Update::Lost(_)) {}
    client
        .request(Action::Subscribe, &stream(HUMIDITY))
        .unwrap();
    client.unsubscribe(&stream(TEMPERATURE)).unwrap();
    assert!(matches!(no_event(&mut client), Update::Connected));
    let Update::Ack(ack) = no_event(&mut client) else {
        panic!("no ack")
    };
    assert_eq!((ack.stream, ack.outcome), (stream(HUMIDITY), Ok(())));
    let left: Vec<&Stream> = client.subscribed().collect();
    assert_eq!(left, [&stream(HUMIDITY)]);
}

#[test]
fn more_streams_than_fit_a_window_are_subscribed() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    for n in 0..1000 {
        let stream = stream(&format!("/demo/none/{n}"));
        client.request(Action::Subscribe, &stream).unwrap();
    }
    for _ in 0..1000 {
        let Update::Ack(ack) = client.next(LONG).unwrap() else {
            panic!("no ack")
        };
        assert!(ack.outcome.is_err());
    }
}

#[test]
fn silence_is_pinged_and_a_peer_that_does_not_answer_is_given_up() {
    let (sim, seen) = start(&[Fault::Stall]);
    let config = config(&sim)
        .ping_interval(Duration::from_millis(200))
        .ping_timeout(Duration::from_millis(300));
    let mut client = Client::connect(&config).unwrap();
    let start = Instant::now();
    client.subscribe(&stream(TEMPERATURE)).unwrap();
    let error = client.next(LONG).unwrap_err();
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::TimedOut, Phase::Socket)
    );
    let text = format!("socket: no response to ping from {}", sim.addr());
    assert_eq!(error.to_string(), text);
    assert!(told(sim, &seen).contains(&ClientAction::Ignored));
}

#[test]
fn an_answered_ping_keeps_a_silent_connection() {
    let (sim, seen) = start(&[]);
    let config = config(&sim).ping_interval(SHORT).ping_timeout(LONG);
    let mut client = Client::connect(&config).unwrap();
    let timeout = Duration::from_millis(500);
    assert!(matches!(client.next(timeout).unwrap(), Update::TimedOut));
    client.close().unwrap();
    let told = told(sim, &seen);
    let pings = told
        .iter()
        .filter(|what| **what == ClientAction::Ping)
        .count();
    assert!((2..=10).contains(&pings), "{pings}");
}

#[test]
fn a_heartbeat_is_sent_if_it_is_asked_for() {
    let (sim, seen) = start(&[]);
    let config = config(&sim).ping_interval(Duration::ZERO);
    // Once a second, however often it is asked for.
    let often = config.heartbeat(Duration::from_nanos(1));
    let mut client = Client::connect(&often).unwrap();
    client.subscribe(&stream(TEMPERATURE)).unwrap();
    let timeout = Duration::from_millis(2500);
    assert!(matches!(client.next(timeout).unwrap(), Update::TimedOut));
    client.close().unwrap();
    let told = told(sim, &seen);
    let heartbeats = told
        .iter()
        .filter(|what| **what == ClientAction::Heartbeat)
        .count();
    assert!((1..=2).contains(&heartbeats), "{heartbeats}");
    assert!(!told.contains(&ClientAction::Ping));
}

#[test]
fn a_text_goes_out_as_it_stands_and_answers_come_in_as_they_were_sent() {
    let (sim, seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    let text = r#"{ "msgId":"mine", "object":"event", "type":"subscribe", "path":"/nowhere" }"#;
    client.send(text).unwrap();
    let Update::Unknown(answer) = client.next(LONG).unwrap() else {
        panic!("no answer")
    };
    let answer: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(
        (&answer["head"]["msgId"], &answer["head"]["ok"]),
        (&json!("mine"), &json!(false))
    );

    client
        .request(Action::Subscribe, &stream(TEMPERATURE))
        .unwrap();
    let Update::Ack(ack) = client.next(LONG).unwrap() else {
        panic!("no ack")
    };
    assert!(
        ack.message().starts_with(r#"{"head":{"msgId":""#),
        "{}",
        ack.message()
    );

    client.send("hello").unwrap();
    let told =
        |seen: Observation| matches!(seen.action, ClientAction::Text(text) if text == "hello");
    assert!(seen.iter().any(told));
}

#[test]
fn a_ping_is_answered_once_and_timed() {
    let (sim, seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    for _ in 0..2 {
        let sent_at = Instant::now();
        client.ping().unwrap();
        let Update::Pong(time) = client.next(LONG).unwrap() else {
            panic!("no pong")
        };
        assert!(!time.is_zero() && time <= sent_at.elapsed());
    }
    assert!(matches!(client.next(Duration::ZERO), Ok(Update::TimedOut)));
    assert_eq!(
        seen.try_iter()
            .filter(|seen| seen.action == ClientAction::Ping)
            .count(),
        2
    );
    // An unsolicited pong shows life, and no more.
    let pong = [[0x8a, 8].as_slice(), &2_u64.to_be_bytes()].concat();
    assert_eq!(sim.send_raw(&pong), 1);
    sim.send_raw(b"\x81\x01x");
    let Update::Unknown(unknown) = client.next(LONG).unwrap() else {
        panic!("no text")
    };
    assert_eq!(unknown.text(), "x");
}

#[test]
fn each_request_has_its_answer_though_it_changes_nothing() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::connect(&config(&sim)).unwrap();
    for _ in 0..3 {
        client
            .request(Action::Subscribe, &stream(TEMPERATURE))
            .unwrap();
    }
    for _ in 0..3 {
        let Update::Ack(ack) = client.next(LONG).unwrap() else {
            panic!("no ack")
        };
        assert_eq!(ack.outcome, Ok(()));
    }
}

#[test]
fn steps_are_observed_as_they_complete() {
    let (sim, _seen) = start(&[Fault::SessionClose]);
    let (sender, steps) = mpsc::channel();
    let config = config(&sim).observer(move |step| sender.send(step.clone()).unwrap());
    config.validate().unwrap();
    assert!(steps.try_iter().next().is_none());
    Client::connect(&config).unwrap();
    let steps: Vec<Step> = steps.try_iter().collect();
    // The service has ended the session's connection.
    let [.., Step::Upgraded { .. }] = &steps[..] else {
        panic!("{steps:?}")
    };
    let told: Vec<String> = steps.iter().map(Step::to_string).collect();
    let addr = sim.addr();
    let way = [
        format!("resolve: resolved {} to 1 address", addr.ip()),
        format!("connect: connected to {addr}"),
    ];
    assert_eq!(told[..2], way);
    assert_eq!(told[4..6], way);
    assert!(
        told[2].starts_with("tls: full handshake of TLS 1.3, TLS13_"),
        "{told:?}"
    );
    assert_eq!(told[3], "session: opened, and the connection ended");
    assert!(
        told[6].starts_with("tls: resumed handshake of TLS 1.3, TLS13_"),
        "{told:?}"
    );
    for step in &steps {
        if let Step::Secured { certificate, .. } = step {
            assert_eq!(certificate[0], 0x30);
        }
        if let Step::SessionOpened { date, .. } = step {
            let age = date.unwrap().elapsed().unwrap();
            assert!(age < Duration::from_secs(60));
        }
    }
}

#[test]
fn a_subscription_without_an_answer_times_out_and_is_asked_for_again() {
    let (sim, _seen) = start(&[Fault::AckSilent]);
    let config = config(&sim).retry_for(Duration::MAX).ack_timeout(SHORT);
    let mut client = Client::connect(&config).unwrap();
    let error = client.subscribe(&stream(TEMPERATURE)).unwrap_err();
    let message = format!(
        "subscribe: {} did not answer in time to subscribe {TEMPERATURE}",
        sim.addr()
    );
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::TimedOut, message)
    );
    sim.set_faults(&[]);
    // What became of each connection comes first.
    let ack = loop {
        match client.next(LONG).unwrap() {
            Update::Ack(ack) => break ack,
            next => assert!(
                matches!(
                    next,
                    Update::Lost(_) | Update::Disconnected(_) | Update::Connected
                ),
                "{next:?}"
            ),
        }
    };
    assert_eq!((ack.stream, ack.outcome), (stream(TEMPERATURE), Ok(())));
}

#[test]
fn the_last_request_counts_after_losses() {
    for (last, subscribed) in [(Action::Subscribe, 1), (Action::Unsubscribe, 0)] {
        let (sim, seen) = start(&[]);
        let mut client = Client::connect(&config(&sim).retry_for(LONG)).unwrap();
        client.subscribe(&stream(TEMPERATURE)).unwrap();
        client.subscribe(&stream(HUMIDITY)).unwrap();
        // Two requests in flight, when the connection is lost.
        sim.set_faults(&[Fault::AckSilent]);
        let actions = match last {
            Action::Subscribe => [Action::Unsubscribe, Action::Subscribe],
            other => [Action::Subscribe, other],
        };
        for action in actions {
            client.request(action, &stream(TEMPERATURE)).unwrap();
        }
        let swallowed = |seen: &Observation| seen.action == ClientAction::Ignored;
        assert_eq!(seen.iter().filter(swallowed).take(2).count(), 2);
        sim.set_faults(&[]);
        sim.drop_all();
        let mut acks = Vec::new();
        loop {
            match client.next(LONG).unwrap() {
                Update::Ack(ack) => acks.push((ack.action, ack.outcome)),
                Update::Gap(_) => break,
                Update::Lost(_) | Update::Disconnected(_) | Update::Connected => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(acks.last(), Some(&(last, Ok(()))));
        assert_eq!(sim.publish(TEMPERATURE, &json!(1)), subscribed);
        assert_eq!(client.subscribed().count(), 1 + subscribed);
    }
}

#[test]
fn a_transient_refusal_of_a_granted_stream_is_retried() {
    let (sim, seen) = start(&[]);
    let mut client = Client::connect(&config(&sim).retry_for(LONG)).unwrap();
    for name in [TEMPERATURE, HUMIDITY] {
        client.subscribe(&stream(name)).unwrap();
    }
    for status in [429, 503] {
        sim.set_faults(&[Fault::RefuseWith(HUMIDITY, status)]);
        sim.drop_all();
        assert!(matches!(no_event(&mut client), Update::Lost(_)));
        assert!(matches!(no_event(&mut client), Update::Connected));
        until("it is refused", || {
            let is_quiet = matches!(client.next(SHORT).unwrap(), Update::TimedOut);
            let is_refused = |seen: Observation| matches!(seen.action, ClientAction::NotGranted(_));
            is_quiet && seen.try_iter().any(is_refused)
        });
        sim.set_faults(&[]);
        assert!(matches!(no_event(&mut client), Update::Gap(_)));
        assert_eq!(client.subscribed().count(), 2);
        assert_eq!(sim.publish(HUMIDITY, &json!(1)), 1);
        event(client.next(LONG).unwrap());
    }
    // What was never granted is refused for good, and so is what may not pass.
    client.unsubscribe(&stream(HUMIDITY)).unwrap();
    sim.set_faults(&[Fault::RefuseWith(HUMIDITY, 503)]);
    client
        .request(Action::Subscribe, &stream(HUMIDITY))
        .unwrap();
    let Update::Ack(ack) = client.next(LONG).unwrap() else {
        panic!("no ack")
    };
    assert_eq!((ack.outcome.is_err(), ack.status), (true, Some(503)));
}

#[test]
fn buffered_data_counts_from_its_read() {
    let sim = Sim::start().unwrap();
    let mut client = Client::connect(&sim.config()).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    // More than the WebSocket takes in one go, less than is read.
    sim.publish_burst(TEMPERATURE, &vec![json!(1); 100]);
    for _ in 0..100 {
        assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    }
    let read = Instant::now();
    // It looks at the connection, and finds nothing.
    let next = client.next(Duration::from_millis(1)).unwrap();
    assert!(matches!(next, Update::TimedOut), "{next:?}");
    assert!(client.heard_at().unwrap() <= read);
}

#[test]
fn many_requests_before_a_connection_take_little_time() {
    let (sim, _seen) = start(&[]);
    let mut client = Client::new(&config(&sim)).unwrap();
    let time_of = |client: &mut Client, from: u32, to: u32| {
        let streams = (from..to).map(|n| Stream::try_from(format!("/demo/s{n}")).unwrap());
        let streams: Vec<_> = streams.collect();
        let start = Instant::now();
        for stream in &streams {
            client.request(Action::Subscribe, stream).unwrap();
        }
        start.elapsed()
    };
    let first = time_of(&mut client, 0, 2000);
    time_of(&mut client, 2000, 18_000);
    let last = time_of(&mut client, 18_000, 20_000);
    let most = 5 * first.max(Duration::from_millis(20));
    assert!(last < most, "{first:?} {last:?}");
}

#[test]
fn errors_and_log_records_are_one_line_whatever_a_stream_is_named() {
    let sim = Sim::start().unwrap();
    let (sender, lines) = mpsc::channel();
    let config = sim.config().log(move |_, line| {
        let _ = sender.send(line.to_owned());
    });
    let mut client = Client::connect(&config).unwrap();
    let name: Stream = "/a\nb\u{1b}[31m".parse().unwrap();
    let error = client.subscribe(&name).unwrap_err();
    let texts = [error.to_string(), error.report(), format!("{error:?}")];
    let is_line = |text: &String| !text.contains(char::is_control);
    assert!(texts.iter().all(is_line), "{texts:?}");
    drop(client);
    let lines: Vec<String> = lines.try_iter().collect();
    assert!(
        lines
            .iter()
            .any(|line| line.contains(r"/a\u{a}b\u{1b}[31m"))
    );
    assert!(lines.iter().all(is_line), "{lines:?}");
}

#[test]
fn credentials_that_are_asked_for_take_the_place_of_those_given() {
    let sim = Sim::start().unwrap();
    let token = sim.token().to_owned();
    let empty = Credentials::new("demo", Token::new(""));
    let config = sim.config().credentials(empty).credentials_from(move || {
        let credentials = Credentials::new("demo", Token::new(&token));
        Ok::<_, String>(credentials.user("demo_user"))
    });
    let mut client = Client::connect(&config).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    client.close().unwrap();
}
