//! Past events, read by the REST API of the stand-in.
#![cfg(feature = "sim")]

use std::io::{Read as _, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use octave_ws::sim::{ClientAction, Fault, HistoryFault, Options, Sim};
use octave_ws::{
    Config, Credentials, ErrorKind, History, Phase, Since, Stop, Stream, Token, Update, Why,
};
use serde_json::json;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";

fn stream() -> Stream {
    TEMPERATURE.parse().unwrap()
}

fn config(sim: &Sim) -> Config {
    sim.config()
}

fn publish(sim: &Sim, numbers: impl IntoIterator<Item = u32>) {
    let elems: Vec<_> = numbers.into_iter().map(|n| json!({ "n": n })).collect();
    sim.publish_burst(TEMPERATURE, &elems);
}

/// What a history has led to.
#[derive(Debug, Default)]
struct Read {
    /// The `n` of each event.
    events: Vec<u64>,
    gaps: Vec<Why>,
    filled: Vec<u64>,
    errors: Vec<(ErrorKind, Option<u16>, String)>,
}

fn read(history: &mut History) -> Read {
    let mut read = Read::default();
    loop {
        match history.next() {
            Ok(Some(Update::Event(event))) => {
                assert!(event.is_from_history());
                let elems: serde_json::Value = event.elems().unwrap();
                read.events.push(elems["n"].as_u64().unwrap());
            }
            Ok(Some(Update::Gap(gap))) => read.gaps.push(gap.stream.unwrap().1),
            Ok(Some(Update::Filled(filled))) => read.filled.push(filled.events),
            Ok(Some(other)) => panic!("{other:?}"),
            Ok(None) => return read,
            Err(error) => {
                assert_eq!(error.phase(), Phase::History);
                let what = (error.kind(), error.status(), error.to_string());
                read.errors.push(what);
            }
        }
    }
}

fn all(config: &Config, since: Since) -> Read {
    let mut history = History::new(config).unwrap();
    history.request(&stream(), since, None).unwrap();
    read(&mut history)
}

#[test]
fn all_events_come_in_order_over_one_connection() {
    let sim = Sim::start().unwrap();
    publish(&sim, 0..1000);
    let mut history = History::new(&config(&sim)).unwrap();
    history.request(&stream(), Since::Position, None).unwrap();
    let humidity: Stream = "/demo/devices/gw1/humidity".parse().unwrap();
    history.request(&humidity, Since::Position, None).unwrap();
    let read = read(&mut history);
    assert_eq!(read.events, (0..1000).collect::<Vec<_>>());
    assert_eq!((read.filled, read.gaps), (vec![1000, 0], vec![]));
    assert!(read.errors.is_empty());
    let traffic = history.traffic();
    assert_eq!(traffic.connections(), 1, "{traffic}");
    // Compressed.
    assert!(traffic.received() < 200_000, "{traffic}");
}

#[test]
fn a_position_is_read_from_and_what_was_removed_is_told() {
    let sim = Sim::start_with(Options::default().capacity(50)).unwrap();
    publish(&sim, 0..10);
    let mut history = History::new(&config(&sim)).unwrap();
    history.request(&stream(), Since::Position, None).unwrap();
    assert_eq!(read(&mut history).events.len(), 10);
    let at = |history: &History| config(&sim).positions(history.positions().clone());
    assert!(all(&at(&history), Since::Position).events.is_empty());

    publish(&sim, 10..30);
    let mut history = History::new(&at(&history)).unwrap();
    history.request(&stream(), Since::Position, None).unwrap();
    let next = read(&mut history);
    assert_eq!(next.events, (10..30).collect::<Vec<_>>());
    assert!(next.gaps.is_empty());

    publish(&sim, 30..100);
    let config = at(&history);
    // Not told of events that history may not show yet.
    let begin = SystemTime::now();
    let next = all(&config, Since::Position);
    assert!(begin.elapsed().unwrap() >= Duration::from_secs(9));
    assert_eq!(next.events, (50..100).collect::<Vec<_>>());
    assert_eq!(next.gaps, [Why::Evicted]);
}

#[test]
fn a_time_counts_from_the_date_of_the_service() {
    let sim = Sim::start().unwrap();
    publish(&sim, 0..3);
    let hour = Since::Ago(Duration::from_secs(3600));
    assert_eq!(all(&config(&sim), hour).events, [0, 1, 2]);
    let later = SystemTime::now() + Duration::from_secs(60);
    assert!(all(&config(&sim), Since::Date(later)).events.is_empty());
    let mut history = History::new(&config(&sim)).unwrap();
    let before = SystemTime::now() - Duration::from_secs(60);
    history.request(&stream(), hour, Some(before)).unwrap();
    assert!(read(&mut history).events.is_empty());
}

#[test]
fn a_refusal_is_an_error_and_the_next_stream_is_read() {
    let sim = Sim::start().unwrap();
    publish(&sim, 0..3);
    let mut history = History::new(&config(&sim)).unwrap();
    let other: Stream = "/demo/x".parse().unwrap();
    history.request(&other, Since::Position, None).unwrap();
    history.request(&stream(), Since::Position, None).unwrap();
    let read_both = read(&mut history);
    assert_eq!(read_both.events, [0, 1, 2]);
    let peer = sim.addr();
    let words = format!("history: /demo/x: HTTP 404 from {peer}: no such stream");
    assert_eq!(read_both.errors, [(ErrorKind::Refused, Some(404), words)]);

    for (status, kind) in [
        (401, ErrorKind::Refused),
        (403, ErrorKind::Refused),
        (429, ErrorKind::Status(429)),
        (500, ErrorKind::Status(500)),
    ] {
        sim.set_faults(&[Fault::History(HistoryFault::Status(status))]);
        let read = all(&config(&sim), Since::Position);
        assert_eq!(read.errors[0].0, kind);
        assert!(read.events.is_empty());
    }
}

#[test]
fn what_is_no_answer_is_asked_for_again() {
    for fault in [
        HistoryFault::Html,
        HistoryFault::Torn,
        HistoryFault::Status(503),
    ] {
        let (observer, seen) = mpsc::channel();
        let fault = Fault::History(fault);
        let sim = Sim::start_with(Options::default().observer(observer).faults([fault])).unwrap();
        publish(&sim, 0..30);
        let patient = config(&sim).retry_for(Duration::from_secs(60));
        let mut history = History::new(&patient).unwrap();
        history.request(&stream(), Since::Position, None).unwrap();
        let events = std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(&mut history).events.len());
            while !matches!(
                seen.recv_timeout(Duration::from_secs(60)).unwrap().action,
                ClientAction::History { .. } | ClientAction::Refused { .. }
            ) {}
            sim.set_faults(&[]);
            reader.join().unwrap()
        });
        assert_eq!(events, 30, "{fault:?}");
    }
}

#[test]
fn an_answer_that_is_not_what_was_asked_for_is_not_used() {
    let sim = Sim::start().unwrap();
    publish(&sim, 0..2);
    sim.set_faults(&[Fault::History(HistoryFault::Foreign)]);
    let by_id: Stream = sim.streams()[0].1.parse().unwrap();
    let mut history = History::new(&config(&sim)).unwrap();
    history.request(&by_id, Since::Position, None).unwrap();
    let other = read(&mut history);
    assert!(other.events.is_empty());
    assert_eq!(other.errors[0].0, ErrorKind::Malformed);
    sim.set_faults(&[Fault::History(HistoryFault::Doubled)]);
    assert_eq!(all(&config(&sim), Since::Position).events, [0, 1]);
    sim.set_faults(&[Fault::History(HistoryFault::Capped)]);
    for n in 2..100 {
        // Each in a millisecond of its own.
        publish(&sim, [n]);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(all(&config(&sim), Since::Position).events.len(), 100);
}

#[test]
fn silence_ends_at_the_timeout_or_with_a_stop() {
    let sim = Sim::start().unwrap();
    sim.set_faults(&[Fault::History(HistoryFault::Silent)]);
    let short = config(&sim).connect_timeout(Duration::from_millis(300));
    let read = all(&short, Since::Position);
    assert_eq!(read.errors[0].0, ErrorKind::TimedOut);
    let stop = Stop::new().unwrap();
    let mut history = History::new(&config(&sim).stop(stop.clone())).unwrap();
    history.request(&stream(), Since::Position, None).unwrap();
    let stopper = std::thread::spawn(move || stop.stop());
    assert_eq!(history.next().unwrap_err().kind(), ErrorKind::Stopped);
    stopper.join().unwrap();
}

#[test]
fn the_token_goes_to_no_other_service() {
    let credentials = Credentials::new("demo", Token::new("secret"));
    let config = Config::new(credentials).endpoint("https://octave.example.com");
    let error = History::new(&config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text =
        "config: no REST API is known for this endpoint: give its URL, such as https://HOST/v5.0";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_body_that_cannot_be_decoded_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}/v5.0", listener.local_addr().unwrap());
    let service = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(tcp.read(&mut head).unwrap() > 0);
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n";
        tcp.write_all(&[head.as_bytes(), b"\x1f\x8b\xff\xff"].concat())
            .unwrap();
    });
    let config = Config::new(Credentials::new("demo", Token::new("secret")));
    let config = config.endpoint(&api).api(&api).allow_plaintext();
    let mut history = History::new(&config).unwrap();
    history.request(&stream(), Since::Position, None).unwrap();
    history.set_deadline(Some(Instant::now() + Duration::from_millis(500)));
    let (.., words) = read(&mut history).errors.remove(0);
    let wanted = "its body is in a content coding that cannot be read";
    assert!(words.contains(wanted), "{words}");
    service.join().unwrap();
}

#[test]
fn an_error_names_its_stream_and_nothing_is_asked_for_after_the_deadline() {
    let sim = Sim::start().unwrap();
    let names: Vec<Stream> = sim
        .streams()
        .iter()
        .map(|(path, _)| path.parse().unwrap())
        .collect();
    for (fault, connections) in [(HistoryFault::Status(403), 1), (HistoryFault::Silent, 1)] {
        sim.set_faults(&[Fault::History(fault)]);
        let mut history = History::new(&config(&sim)).unwrap();
        for name in &names {
            history.request(name, Since::Position, None).unwrap();
        }
        history.set_deadline(Some(Instant::now() + Duration::from_millis(300)));
        for name in &names {
            let error = history.next().unwrap_err();
            assert_eq!(error.stream(), Some(name), "{fault:?}: {error}");
        }
        assert!(history.next().unwrap().is_none());
        assert_eq!(history.traffic().connections(), connections);
    }
}
