//! What an outage leaves out, filled from the history of the stand-in.
#![cfg(feature = "sim")]

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use octave_ws::sim::{Fault, HistoryFault, Options, Sim};
use octave_ws::{Action, Client, Config, Positions, Stop, Stream, Update, Why};
use serde_json::json;
use tungstenite::Message;

use crate::raw::{
    Socket, accept, grant, grant_next, open, play, request, serve_out, wait_until_delivered,
};

mod raw;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const HUMIDITY: &str = "/demo/devices/gw1/humidity";
const LONG: Duration = Duration::from_secs(60);

fn stream(path: &str) -> Stream {
    path.parse().unwrap()
}

fn config(sim: &Sim) -> Config {
    sim.config().fill().retry_for(Duration::MAX)
}

fn publish(sim: &Sim, path: &str, numbers: impl IntoIterator<Item = u32>) {
    let elems: Vec<_> = numbers.into_iter().map(|n| json!({ "n": n })).collect();
    sim.publish_burst(path, &elems);
}

/// A client, and what it has returned.
struct Seen {
    client: Client,
    /// The `n` of each event, and whether it is from the history.
    events: Vec<(u32, bool)>,
    gaps: Vec<Option<Why>>,
    filled: Vec<u64>,
    losses: usize,
    pongs: usize,
}

impl Seen {
    fn new(config: &Config) -> Self {
        Self {
            client: Client::connect(config).unwrap(),
            events: Vec::new(),
            gaps: Vec::new(),
            filled: Vec::new(),
            losses: 0,
            pongs: 0,
        }
    }

    fn subscribed(config: &Config, paths: &[&str]) -> Self {
        let mut seen = Self::new(config);
        let streams: Vec<Stream> = paths.iter().map(|path| stream(path)).collect();
        seen.client
            .request_all(Action::Subscribe, &streams)
            .unwrap();
        seen.wait_until(|seen| seen.client.subscribed().count() == paths.len());
        seen.settle();
        seen
    }

    fn step(&mut self, timeout: Duration) -> bool {
        match self.client.next(timeout).unwrap() {
            Update::Event(event) => {
                let elems: serde_json::Value = event.elems().unwrap();
                let n = elems["n"].as_u64().unwrap();
                self.events
                    .push((u32::try_from(n).unwrap(), event.is_from_history()));
            }
            Update::Gap(gap) => self.gaps.push(gap.stream.map(|(_, why)| why)),
            Update::Filled(filled) if filled.events > 0 => self.filled.push(filled.events),
            Update::Lost(_) => self.losses += 1,
            Update::Pong(_) => self.pongs += 1,
            Update::TimedOut => return false,
            _ => {}
        }
        true
    }

    fn wait_until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + LONG;
        while !is_so(self) {
            assert!(
                Instant::now() < deadline,
                "{:?} {:?}",
                self.events,
                self.gaps
            );
            self.step(Duration::from_millis(100));
        }
    }

    /// Waits until all history is read.
    fn settle(&mut self) {
        self.wait_until(|seen| seen.client.unfilled() == 0 && seen.client.loss().is_none());
    }

    fn numbers(&self) -> Vec<u32> {
        self.events.iter().map(|(n, _)| *n).collect()
    }

    fn positions(&self) -> Positions {
        self.client.positions().unwrap().clone()
    }
}

#[test]
fn an_outage_is_filled_in_order_and_told_of() {
    let sim = Sim::start().unwrap();
    publish(&sim, TEMPERATURE, 1000..1030);
    let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE]);
    assert!(seen.events.is_empty(), "before the beginning");
    publish(&sim, TEMPERATURE, 0..3);
    seen.wait_until(|seen| seen.events.len() == 3);
    for round in 0..3 {
        sim.drop_all();
        let begin = 3 + 200 * round;
        publish(&sim, TEMPERATURE, begin..begin + 200);
        seen.wait_until(|seen| seen.losses == round as usize + 1);
        seen.settle();
    }
    publish(&sim, TEMPERATURE, 603..606);
    seen.wait_until(|seen| seen.events.len() >= 606);
    assert_eq!(seen.numbers(), (0..606).collect::<Vec<_>>());
    assert_eq!(seen.filled, [200, 200, 200]);
    assert!(seen.gaps.is_empty());
    assert!(seen.events[3..603].iter().all(|(_, is_past)| *is_past));
    assert!(!seen.events[605].1);
    seen.client.close().unwrap();
}

#[test]
fn a_second_client_continues_from_the_positions_of_the_first() {
    let sim = Sim::start().unwrap();
    let paths = [TEMPERATURE, HUMIDITY];
    let mut first = Seen::subscribed(&config(&sim), &paths);
    publish(&sim, TEMPERATURE, 0..5);
    first.wait_until(|seen| seen.events.len() == 5);
    let positions = first.positions();
    drop(first);
    publish(&sim, TEMPERATURE, 5..150);
    let mut second = Seen::subscribed(&config(&sim).positions(positions), &paths);
    publish(&sim, TEMPERATURE, 150..155);
    second.wait_until(|seen| seen.events.len() >= 150);
    assert_eq!(second.numbers(), (5..155).collect::<Vec<_>>());
    assert!(second.gaps.is_empty());
    let positions = second.positions();
    drop(second);
    let third = Seen::subscribed(&config(&sim).positions(positions), &paths);
    assert!(third.events.is_empty() && third.gaps.is_empty());
}

#[test]
fn pushed_events_wait_for_the_history_and_come_once() {
    for fault in [
        None,
        Some(HistoryFault::Behind),
        Some(HistoryFault::Ahead),
        Some(HistoryFault::Doubled),
    ] {
        let sim = Sim::start().unwrap();
        let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE]);
        publish(&sim, TEMPERATURE, 0..2);
        seen.wait_until(|seen| seen.events.len() == 2);
        let faults: Vec<Fault> = fault.map(Fault::History).into_iter().collect();
        sim.set_faults(&faults);
        sim.drop_all();
        publish(&sim, TEMPERATURE, 2..10);
        let connections = seen.client.connections();
        // Until the stream is subscribed again, and before its history is read.
        let mut next = 10;
        seen.wait_until(|seen| {
            if seen.client.connections() > connections && next < 60 {
                publish(&sim, TEMPERATURE, [next]);
                next += 1;
            }
            seen.events.len() >= 60
        });
        seen.settle();
        // What would come twice has come by now.
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            seen.step(Duration::from_millis(100));
        }
        assert_eq!(seen.numbers(), (0..60).collect::<Vec<_>>(), "{fault:?}");
        assert!(seen.gaps.is_empty(), "{fault:?}: {:?}", seen.gaps);
    }
}

#[test]
fn what_the_service_does_not_have_is_told_of() {
    for (fault, whys) in [
        (HistoryFault::Status(401), vec![Why::Refused]),
        (HistoryFault::Status(404), vec![Why::Refused]),
        (HistoryFault::Foreign, vec![Why::Unusable]),
        (HistoryFault::Descending, vec![Why::Unusable]),
    ] {
        let sim = Sim::start().unwrap();
        let id = sim.streams()[0].1.clone();
        let mut seen = Seen::subscribed(&config(&sim), &[&id]);
        publish(&sim, TEMPERATURE, 0..2);
        seen.wait_until(|seen| seen.events.len() == 2);
        sim.set_faults(&[Fault::History(fault)]);
        sim.drop_all();
        for n in 2..6 {
            // Each in a millisecond of its own.
            publish(&sim, TEMPERATURE, [n]);
            std::thread::sleep(Duration::from_millis(2));
        }
        seen.wait_until(|seen| seen.losses == 1);
        seen.settle();
        publish(&sim, TEMPERATURE, [7]);
        seen.wait_until(|seen| seen.events.len() >= 3);
        assert_eq!(seen.numbers(), [0, 1, 7], "{fault:?}");
        let told: Vec<Why> = seen.gaps.iter().map(|why| why.unwrap()).collect();
        assert_eq!(told, whys);
        // The next fill begins behind the gap.
        sim.set_faults(&[]);
        sim.drop_all();
        publish(&sim, TEMPERATURE, [8]);
        seen.wait_until(|seen| seen.losses == 2);
        seen.settle();
        seen.wait_until(|seen| seen.events.len() >= 4);
        assert_eq!(seen.numbers(), [0, 1, 7, 8]);
    }
}

#[test]
fn evicted_events_are_told_of_and_the_rest_comes() {
    let sim = Sim::start_with(Options::default().capacity(10)).unwrap();
    let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE]);
    publish(&sim, TEMPERATURE, 0..2);
    seen.wait_until(|seen| seen.events.len() == 2);
    sim.drop_all();
    publish(&sim, TEMPERATURE, 2..100);
    seen.wait_until(|seen| seen.losses == 1);
    seen.settle();
    assert_eq!(seen.client.unfilled(), 0);
    let wanted: Vec<u32> = (0..2).chain(90..100).collect();
    assert_eq!(seen.numbers(), wanted);
    assert_eq!(seen.gaps, [Some(Why::Evicted)]);
}

#[test]
fn without_it_nothing_is_asked_for() {
    let sim = Sim::start().unwrap();
    let mut seen = Seen::subscribed(&sim.config().retry_for(Duration::MAX), &[TEMPERATURE]);
    assert!(seen.client.positions().is_none());
    publish(&sim, TEMPERATURE, 0..2);
    seen.wait_until(|seen| seen.events.len() == 2);
    sim.drop_all();
    publish(&sim, TEMPERATURE, 2..4);
    seen.wait_until(|seen| seen.gaps.len() == 1);
    assert_eq!((seen.gaps, seen.events.len()), (vec![None], 2));
}

#[test]
fn a_stream_that_is_refused_for_now_holds_up_no_other() {
    let sim = Sim::start().unwrap();
    publish(&sim, HUMIDITY, [100]);
    let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE, HUMIDITY]);
    publish(&sim, TEMPERATURE, 0..2);
    seen.wait_until(|seen| seen.events.len() == 2);
    sim.set_faults(&[Fault::RefuseWith(HUMIDITY, 503)]);
    sim.drop_all();
    publish(&sim, TEMPERATURE, 2..10);
    seen.wait_until(|seen| seen.events.len() == 10);
    publish(&sim, TEMPERATURE, 10..12);
    seen.wait_until(|seen| seen.events.len() == 12);
    assert!(seen.client.loss().is_some());
    publish(&sim, HUMIDITY, 12..14);
    sim.set_faults(&[]);
    seen.settle();
    seen.wait_until(|seen| seen.events.len() == 14);
    assert_eq!(seen.numbers(), (0..14).collect::<Vec<_>>());
    assert!(seen.gaps.is_empty());
}

#[test]
fn a_stream_that_is_subscribed_again_is_filled() {
    let sim = Sim::start().unwrap();
    let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE, HUMIDITY]);
    publish(&sim, TEMPERATURE, 0..2);
    seen.wait_until(|seen| seen.events.len() == 2);
    seen.client.unsubscribe(&stream(TEMPERATURE)).unwrap();
    publish(&sim, TEMPERATURE, 2..5);
    seen.client.subscribe(&stream(TEMPERATURE)).unwrap();
    publish(&sim, TEMPERATURE, 5..7);
    seen.wait_until(|seen| seen.events.len() >= 7);
    assert_eq!(seen.numbers(), (0..7).collect::<Vec<_>>());
}

#[test]
fn without_a_beginning_the_past_stays_the_past() {
    let sim = Sim::start().unwrap();
    publish(&sim, TEMPERATURE, 1000..1100);
    sim.set_faults(&[Fault::History(HistoryFault::Status(404))]);
    let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE]);
    assert_eq!(seen.gaps, [Some(Why::Refused)]);
    sim.set_faults(&[]);
    sim.drop_all();
    publish(&sim, TEMPERATURE, 0..3);
    // Without a position, it cannot be known which events were missed.
    seen.wait_until(|seen| seen.gaps.len() == 2);
    seen.settle();
    publish(&sim, TEMPERATURE, 3..5);
    seen.wait_until(|seen| seen.events.len() >= 2);
    assert_eq!(seen.numbers(), [3, 4]);
    sim.drop_all();
    publish(&sim, TEMPERATURE, 5..9);
    seen.wait_until(|seen| seen.events.len() >= 6);
    assert_eq!(seen.numbers(), (3..9).collect::<Vec<_>>());
}

#[test]
fn history_that_is_away_does_not_keep_a_stream_from_being_subscribed() {
    let sim = Sim::start().unwrap();
    sim.set_faults(&[Fault::History(HistoryFault::Status(500))]);
    let begin = Instant::now();
    let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE]);
    assert!(begin.elapsed() < Duration::from_secs(15));
    assert_eq!(seen.gaps, [Some(Why::Unavailable)]);
    publish(&sim, TEMPERATURE, 0..2);
    seen.wait_until(|seen| seen.events.len() == 2);
}

#[test]
fn a_stream_by_its_id_and_by_its_path_is_one() {
    let sim = Sim::start().unwrap();
    let id = sim.streams()[0].1.clone();
    let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE, &id]);
    for round in 0..3 {
        publish(&sim, TEMPERATURE, 10 * round..10 * round + 5);
        seen.wait_until(|seen| seen.events.len() >= 10 * round as usize + 5);
        sim.drop_all();
        publish(&sim, TEMPERATURE, 10 * round + 5..10 * round + 10);
        seen.wait_until(|seen| seen.events.len() >= 10 * round as usize + 10);
        seen.settle();
    }
    assert_eq!(seen.numbers(), (0..30).collect::<Vec<_>>());
}

#[test]
fn outages_far_apart_bring_each_event_once() {
    let sim = Sim::start().unwrap();
    let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE, HUMIDITY]);
    let mut next = 0;
    for _ in 0..2 {
        sim.drop_all();
        let connections = seen.client.connections();
        seen.wait_until(|seen| seen.client.connections() > connections);
        // Pushed, and in the history.
        let end = next + 40;
        while next < end {
            publish(&sim, TEMPERATURE, [next]);
            publish(&sim, HUMIDITY, [next]);
            next += 1;
            seen.step(Duration::ZERO);
        }
        seen.wait_until(|seen| seen.events.len() >= 2 * next as usize);
        seen.settle();
        // Longer than an event may be pushed after the history has shown it.
        let end = Instant::now() + Duration::from_secs(6);
        while Instant::now() < end {
            seen.step(Duration::from_millis(100));
        }
    }
    assert_eq!(seen.events.len(), 2 * next as usize);
}

#[test]
fn a_stream_is_subscribed_while_events_of_another_wait_to_be_taken() {
    let sim = Sim::start().unwrap();
    let stop = Stop::new().unwrap();
    let mut seen = Seen::subscribed(&config(&sim).stop(stop.clone()), &[TEMPERATURE]);
    publish(&sim, TEMPERATURE, 0..3);
    let client = &mut seen.client;
    let humidity = stream(HUMIDITY);
    // Its answer, a refusal, comes behind the events, which the client keeps.
    client.unsubscribe(&humidity).unwrap_err();
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel();
        scope.spawn(move || done.send(client.subscribe(&humidity).is_ok()).unwrap());
        let is_subscribed = is_done.recv_timeout(LONG);
        if is_subscribed.is_err() {
            stop.stop();
        }
        assert_eq!(is_subscribed, Ok(true));
    });
    seen.settle();
    seen.wait_until(|seen| seen.events.len() == 3);
}

#[test]
fn an_event_before_the_last_acknowledgement_waits_for_no_history_that_cannot_be_read() {
    let history = Sim::start().unwrap();
    history.set_faults(&[Fault::History(HistoryFault::Status(404))]);
    let (endpoint, service) = play([Box::new(|_, mut socket| {
        grant_next(&mut socket);
        let value = format!(
            r#"{{"id":"e{:024}","creationDate":1000,"path":"{TEMPERATURE}","elems":{{"n":1}}}}"#,
            1
        );
        let message = format!(r#"{{"type":"message","value":{value}}}"#);
        socket.send(Message::text(message)).unwrap();
        grant_next(&mut socket);
        serve_out(&mut socket);
    })]);
    let passed = format!(r#"{{"{TEMPERATURE}":{{"passes":true,"ids":{{}}}}}}"#);
    let config = history.config().endpoint(&endpoint).allow_plaintext();
    let config = config.api(history.api()).fill();
    let config = config.positions(Positions::from_json(&passed).unwrap());
    let mut seen = Seen::subscribed(&config, &[TEMPERATURE, HUMIDITY]);
    seen.wait_until(|seen| seen.events.len() == 1);
    assert_eq!(seen.gaps, [Some(Why::Refused), Some(Why::Refused)]);
    seen.client.close().unwrap();
    service.join().unwrap();
}

/// Loses the connection and two events, and has two more wait for a history that fails.
fn waiting_for(fault: HistoryFault) -> (Sim, Seen) {
    let sim = Sim::start().unwrap();
    let mut seen = Seen::subscribed(&config(&sim), &[TEMPERATURE]);
    publish(&sim, TEMPERATURE, 0..2);
    seen.wait_until(|seen| seen.events.len() == 2);
    sim.set_faults(&[Fault::History(fault)]);
    sim.drop_all();
    publish(&sim, TEMPERATURE, 2..4);
    seen.wait_until(|seen| seen.client.unfilled() > 0);
    publish(&sim, TEMPERATURE, 4..6);
    // Its answer comes behind them.
    seen.client.ping().unwrap();
    seen.wait_until(|seen| seen.pongs > 0);
    assert_eq!(seen.numbers(), [0, 1]);
    (sim, seen)
}

#[test]
fn events_that_wait_outlast_a_loss() {
    let (sim, mut seen) = waiting_for(HistoryFault::Status(500));
    sim.set_faults(&[Fault::History(HistoryFault::Status(403))]);
    sim.drop_all();
    seen.wait_until(|seen| seen.events.len() == 4);
    assert_eq!(seen.numbers(), [0, 1, 4, 5]);
    assert_eq!(seen.gaps, [Some(Why::Refused)]);
}

#[test]
fn events_that_wait_come_once_history_is_given_up() {
    let (_sim, mut seen) = waiting_for(HistoryFault::Status(500));
    seen.client.give_up_history();
    seen.wait_until(|seen| seen.events.len() == 4);
    assert_eq!(seen.numbers(), [0, 1, 4, 5]);
    assert_eq!(seen.gaps, [Some(Why::Unavailable)]);
    assert!(seen.client.loss().is_none() && seen.client.unfilled() == 0);
}

#[test]
fn events_that_wait_for_a_stream_that_is_unsubscribed_do_not_hide_a_hole() {
    let (sim, mut seen) = waiting_for(HistoryFault::Status(500));
    seen.client.unsubscribe(&stream(TEMPERATURE)).unwrap();
    sim.set_faults(&[]);
    seen.client.subscribe(&stream(TEMPERATURE)).unwrap();
    publish(&sim, TEMPERATURE, 6..8);
    seen.wait_until(|seen| seen.events.len() >= 8);
    assert_eq!(seen.numbers(), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_history_that_is_silent_does_not_keep_streams_from_being_subscribed() {
    let sim = Sim::start().unwrap();
    sim.set_faults(&[Fault::History(HistoryFault::Silent)]);
    let begin = Instant::now();
    let paths = [TEMPERATURE, HUMIDITY, "/demo/devices/gw1/location"];
    let seen = Seen::subscribed(&config(&sim), &paths);
    assert!(begin.elapsed() < Duration::from_secs(15));
    assert_eq!(seen.gaps, [Some(Why::Unavailable); 3]);
}

#[test]
fn a_stream_that_is_subscribed_once_the_history_is_back_has_a_beginning() {
    let sim = Sim::start_with(Options {
        any_stream: true,
        ..Options::default()
    });
    let sim = sim.unwrap();
    sim.set_faults(&[Fault::History(HistoryFault::Status(500))]);
    let paths = [TEMPERATURE, HUMIDITY, "/demo/devices/gw1/location"];
    let mut seen = Seen::subscribed(&config(&sim), &paths);
    sim.set_faults(&[]);
    seen.client.subscribe(&stream("/demo/x")).unwrap();
    while seen.step(Duration::from_millis(50)) {}
    assert_eq!(seen.gaps, [Some(Why::Unavailable); 3]);
}

#[test]
fn an_event_that_comes_again_at_the_end_is_no_loss() {
    let history = Sim::start().unwrap();
    history.set_faults(&[Fault::History(HistoryFault::Status(404))]);
    let known = format!("e{:024}", 1);
    let value = format!(r#"{{"id":"{known}","creationDate":1000,"path":"{TEMPERATURE}"}}"#);
    let (endpoint, service) = play([Box::new(move |_, mut socket| {
        grant_next(&mut socket);
        // The request to unsubscribe.
        let request = socket.read().unwrap();
        let message = format!(r#"{{"type":"message","value":{value}}}"#);
        socket.send(Message::text(message)).unwrap();
        grant(&mut socket, &request);
        serve_out(&mut socket);
    })]);
    let position = format!(r#"{{"{TEMPERATURE}":{{"from":0,"ids":{{"{known}":1000}}}}}}"#);
    let config = history.config().endpoint(&endpoint).allow_plaintext();
    let config = config.api(history.api()).fill();
    let config = config.positions(Positions::from_json(&position).unwrap());
    let mut seen = Seen::subscribed(&config, &[TEMPERATURE]);
    while seen.step(Duration::from_millis(50)) {}
    let mut last = Vec::new();
    let closed = seen
        .client
        .close_with(|update| last.push(format!("{update:?}")));
    closed.unwrap();
    assert!(last.is_empty(), "{last:?}");
    service.join().unwrap();
}

#[test]
fn events_of_an_old_connection_do_not_hide_a_hole_at_the_end() {
    let history = Sim::start().unwrap();
    history.set_faults(&[Fault::History(HistoryFault::Status(503))]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, sent) = mpsc::channel();
    let (leaver, left) = mpsc::channel::<()>();
    let service = thread::spawn(move || {
        let tcp = accept(&listener);
        let mut socket = open(&tcp);
        grant_next(&mut socket);
        // Its pong is not sent, nor is the session of the next connection given.
        assert!(socket.read().unwrap().is_ping());
        let _next = accept(&listener);
        let value = format!(r#"{{"id":"e2","creationDate":2000,"path":"{TEMPERATURE}"}}"#);
        let message = format!(r#"{{"type":"message","value":{value}}}"#);
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        let frame = [&[0x81, 126], &length[..], message.as_bytes()].concat();
        (&tcp).write_all(&frame).unwrap();
        wait_until_delivered(&tcp);
        sender.send(()).unwrap();
        let _ = left.recv_timeout(LONG);
    });
    let position = format!(r#"{{"{TEMPERATURE}":{{"from":0,"ids":{{"e1":1000}}}}}}"#);
    let second = Duration::from_secs(1);
    let config = history.config().endpoint(&endpoint).allow_plaintext();
    let config = config.ping_interval(second).ping_timeout(second);
    let config = config.api(history.api()).fill().retry_for(LONG);
    let config = config.positions(Positions::from_json(&position).unwrap());
    let mut client = Client::connect(&config).unwrap();
    client.subscribe(&stream(TEMPERATURE)).unwrap();
    let deadline = Instant::now() + LONG;
    while sent.try_recv().is_err() {
        assert!(Instant::now() < deadline, "the event is not sent");
        let update = client.next(Duration::from_millis(10)).unwrap();
        assert!(!matches!(update, Update::Event(_)));
    }
    let mut events = 0;
    let _ = client.close_with(|update| events += u32::from(matches!(update, Update::Event(_))));
    assert_eq!(events, 0);
    leaver.send(()).unwrap();
    service.join().unwrap();
}

/// A service may count the events of each stream by itself.
#[test]
fn events_of_two_streams_may_have_the_same_ids() {
    let event = |path: &str, n: i64| {
        let elems = format!(r#"{{"n":{n}}}"#);
        format!(r#"{{"id":"e{n}","creationDate":{n},"path":"{path}","elems":{elems}}}"#)
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}/v5.0", listener.local_addr().unwrap());
    let history = thread::spawn(move || {
        for _ in 0..2 {
            let tcp = accept(&listener);
            let request = request(&mut BufReader::new(&tcp));
            let of_path = |path: &&str| request.contains(path.rsplit('/').next().unwrap());
            let path = [TEMPERATURE, HUMIDITY].into_iter().find(of_path).unwrap();
            let events = [1, 2, 3].map(|n| event(path, n)).join(",");
            let body = format!(r#"{{"head":{{"ok":true}},"body":[{events}]}}"#);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
            let answer = format!("{head}Connection: close\r\n\r\n{body}");
            (&tcp).write_all(answer.as_bytes()).unwrap();
        }
    });
    let (endpoint, service) = play([Box::new(move |_, mut socket| {
        let push = |socket: &mut Socket<'_>, n| {
            for path in [TEMPERATURE, HUMIDITY] {
                let value = event(path, n);
                let message = format!(r#"{{"type":"message","value":{value}}}"#);
                socket.send(Message::text(message)).unwrap();
            }
        };
        grant_next(&mut socket);
        grant_next(&mut socket);
        // While history is read, which shows them.
        push(&mut socket, 3);
        push(&mut socket, 3);
        serve_out(&mut socket);
    })]);
    let position = r#"{"from":0,"ids":{"e1":1}}"#;
    let positions = format!(r#"{{"{TEMPERATURE}":{position},"{HUMIDITY}":{position}}}"#);
    let config = raw::config(&endpoint).api(&api).fill();
    let config = config.positions(Positions::from_json(&positions).unwrap());
    let mut seen = Seen::subscribed(&config, &[TEMPERATURE, HUMIDITY]);
    seen.client.ping().unwrap();
    seen.wait_until(|seen| seen.pongs > 0);
    let mut numbers = seen.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 2, 3, 3]);
    seen.client.close().unwrap();
    history.join().unwrap();
    service.join().unwrap();
}

#[test]
fn a_service_may_ask_for_a_delay_as_long_as_its_history_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}/v5.0", listener.local_addr().unwrap());
    let history = thread::spawn(move || {
        let tcp = accept(&listener);
        request(&mut BufReader::new(&tcp));
        let answer = "HTTP/1.1 429 Too Many\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";
        (&tcp).write_all(answer.as_bytes()).unwrap();
    });
    let (endpoint, service) = play([Box::new(move |_, mut socket| {
        grant_next(&mut socket);
        serve_out(&mut socket);
    })]);
    let position = format!(r#"{{"{TEMPERATURE}":{{"from":0,"ids":{{"e1":1}}}}}}"#);
    let config = raw::config(&endpoint).api(&api).fill();
    let config = config.positions(Positions::from_json(&position).unwrap());
    let mut seen = Seen::new(&config);
    seen.client.subscribe(&stream(TEMPERATURE)).unwrap();
    while !history.is_finished() {
        seen.step(Duration::from_millis(10));
    }
    seen.client.ping().unwrap();
    seen.wait_until(|seen| seen.pongs > 0);
    assert_eq!((seen.gaps.len(), seen.client.unfilled()), (0, 1));
    history.join().unwrap();
    seen.client.close().unwrap();
    service.join().unwrap();
}

#[test]
fn a_descriptor_that_is_ready_and_not_read_does_not_stop_a_fill() {
    let sim = Sim::start().unwrap();
    let (watched, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"x").unwrap();
    let mut seen = Seen::new(&config(&sim));
    seen.client.watch([watched.into()]);
    let streams = [stream(TEMPERATURE)];
    seen.client
        .request_all(Action::Subscribe, &streams)
        .unwrap();
    seen.wait_until(|seen| seen.client.subscribed().count() == 1);
    seen.settle();
    publish(&sim, TEMPERATURE, 0..2);
    seen.wait_until(|seen| seen.events.len() == 2);
    sim.drop_all();
    publish(&sim, TEMPERATURE, 2..5);
    seen.wait_until(|seen| seen.events.len() == 5);
    assert_eq!(seen.numbers(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_loop_of_its_own_waits_while_events_fill_the_room_for_them() {
    let sim = Sim::start().unwrap();
    let config = config(&sim).ping_interval(Duration::from_secs(1));
    let mut seen = Seen::subscribed(&config, &[TEMPERATURE]);
    publish(&sim, TEMPERATURE, 0..1);
    seen.wait_until(|seen| seen.events.len() == 1);
    sim.set_faults(&[Fault::History(HistoryFault::Status(500))]);
    sim.drop_all();
    seen.wait_until(|seen| seen.client.unfilled() > 0);
    let long = "x".repeat(3000);
    for n in 0..500 {
        sim.publish(TEMPERATURE, &json!({ "n": n, "x": long }));
    }
    seen.wait_until(|seen| !seen.client.wants_read());
    // The time of a ping passes.
    let end = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < end {
        while seen.step(Duration::ZERO) {}
        let wake_at = seen.client.wake_at().unwrap();
        assert!(!seen.client.wants_read());
        thread::sleep(wake_at.saturating_duration_since(Instant::now()).min(LONG));
    }
    // It looks for no more than the repetitions of a request.
    while seen.step(Duration::ZERO) {}
    assert!(seen.client.wake_at() > Some(Instant::now() + Duration::from_millis(100)));
}

#[test]
fn history_is_given_up_with_a_gap_while_a_beginning_is_looked_for() {
    let (sim, mut seen) = waiting_for(HistoryFault::Status(500));
    let other = [stream(HUMIDITY)];
    seen.client.request_all(Action::Subscribe, &other).unwrap();
    seen.step(Duration::from_millis(10));
    seen.client.give_up_history();
    seen.wait_until(|seen| seen.events.len() == 4);
    assert_eq!(seen.gaps[0], Some(Why::Unavailable));
    sim.set_faults(&[]);
    seen.wait_until(|seen| seen.client.subscribed().count() == 2);
    seen.settle();
    publish(&sim, TEMPERATURE, [6]);
    seen.wait_until(|seen| seen.events.len() >= 5);
    assert_eq!(seen.numbers(), [0, 1, 4, 5, 6]);
}

#[test]
fn an_event_of_a_stream_without_an_answer_outlasts_the_end_of_its_history() {
    let history = Sim::start().unwrap();
    history.set_faults(&[Fault::History(HistoryFault::Status(503))]);
    let (endpoint, service) = play([Box::new(move |_, mut socket| {
        for _ in 0..2 {
            let request = socket.read().unwrap();
            if request.to_text().unwrap().contains(TEMPERATURE) {
                grant(&mut socket, &request);
            }
        }
        let elems = r#""elems":{"n":7}"#;
        let value = format!(r#"{{"id":"e7","creationDate":7,"path":"{HUMIDITY}",{elems}}}"#);
        let message = format!(r#"{{"type":"message","value":{value}}}"#);
        socket.send(Message::text(message)).unwrap();
        serve_out(&mut socket);
    })]);
    let position = r#"{"from":0,"ids":{"e1":1}}"#;
    let positions = format!(r#"{{"{TEMPERATURE}":{position},"{HUMIDITY}":{position}}}"#);
    let config = raw::config(&endpoint).api(history.api()).fill();
    let config = config.positions(Positions::from_json(&positions).unwrap());
    let mut seen = Seen::new(&config);
    let streams = [TEMPERATURE, HUMIDITY].map(stream);
    seen.client
        .request_all(Action::Subscribe, &streams)
        .unwrap();
    // Its pong comes behind the event.
    while seen.client.ping().is_err() {
        seen.step(Duration::from_millis(10));
    }
    seen.wait_until(|seen| seen.pongs > 0);
    assert!(seen.events.is_empty());
    seen.client.give_up_history();
    seen.wait_until(|seen| seen.events.len() == 1);
    assert_eq!(seen.gaps, [Some(Why::Unavailable); 2]);
    drop(seen);
    service.join().unwrap();
}
