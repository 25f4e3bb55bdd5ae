//! A client in a loop of the caller's: no call waits longer than it is to.
#![cfg(feature = "sim")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use octave_ws::sim::{Fault, Options, Sim};
use octave_ws::{Action, Client, Config, Step, Update};
use rustix::event::{PollFd, PollFlags, poll};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

use crate::raw::{grant_next, play};

mod raw;

const TICK: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

/// Held by tests that leave no processor to others.
static ALONE: RwLock<()> = RwLock::new(());

fn sim(fault: Fault) -> Sim {
    Sim::start_with(Options::default().faults([fault])).unwrap()
}

/// Calls `next` until `is_over` says so. Returns the longest time that a call took.
fn longest(client: &mut Client, mut is_over: impl FnMut(&Update) -> bool) -> Duration {
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    while start.elapsed() < LONG {
        let before = Instant::now();
        let update = client.next(TICK).unwrap();
        longest = longest.max(before.elapsed());
        if is_over(&update) {
            return longest;
        }
    }
    panic!("not over after {LONG:?}");
}

fn config(config: Config) -> Config {
    config
        .connect_timeout(Duration::from_secs(2))
        .retry_for(Duration::MAX)
        .connect_in_background(true)
}

#[test]
fn no_call_waits_for_a_silent_service() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    // Accepts by its backlog alone.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{}", silent.local_addr().unwrap());
    let session_silent = sim(Fault::SessionSilent);
    let upgrade_silent = sim(Fault::UpgradeSilent);
    for silent in [
        session_silent.config().endpoint(silent),
        session_silent.config(),
        upgrade_silent.config(),
    ] {
        let mut client = Client::new(&config(silent)).unwrap();
        let is_failure = |update: &Update| matches!(update, Update::Disconnected(_));
        let longest = longest(&mut client, is_failure);
        assert!(longest < LATE, "{longest:?}");
    }
}

#[test]
fn a_client_is_dropped_amid_an_attempt() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let sim = sim(Fault::SessionSilent);
    let mut client = Client::new(&config(sim.config())).unwrap();
    assert!(matches!(client.next(TICK).unwrap(), Update::TimedOut));
    let start = Instant::now();
    drop(client);
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
}

#[test]
fn a_slow_service_is_connected_to_all_the_same() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let sim = sim(Fault::Slow);
    let mut client = Client::new(&config(sim.config()).connect_timeout(LONG)).unwrap();
    let longest = longest(&mut client, |update| matches!(update, Update::Connected));
    assert!(longest < LATE, "{longest:?}");
    client.close().unwrap();
}

#[test]
fn no_call_waits_for_the_end_of_a_closed_connection() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let (end, is_over) = channel::<()>();
    let (endpoint, service) = play([Box::new(move |_, mut socket| {
        socket.close(None::<CloseFrame>).unwrap();
        socket.flush().unwrap();
        // The peer waits for the end of the connection.
        let _ = is_over.recv_timeout(LONG);
    })]);
    let mut client = Client::new(&config(raw::config(&endpoint))).unwrap();
    let longest = longest(&mut client, |update| matches!(update, Update::Lost(_)));
    assert!(longest < LATE, "{longest:?}");
    drop(end);
    drop(client);
    service.join().unwrap();
}

/// Starts a service that is silent after a subscription, for a client that soon finds out.
fn silent() -> (Sim, Config) {
    let sim = sim(Fault::Stall);
    let interval = Duration::from_millis(300);
    let config = config(sim.config())
        .ping_interval(interval)
        .ping_timeout(interval);
    (sim, config)
}

/// Waits by poll(2) for the client and a pipe, by the deadline. Takes what the pipe has.
fn wait(client: &Client, pipe: &UnixStream, deadline: Instant) {
    let mut fds = vec![PollFd::new(pipe, PollFlags::IN)];
    let mut events = PollFlags::empty();
    events.set(PollFlags::IN, client.wants_read());
    events.set(PollFlags::OUT, client.wants_write());
    fds.extend(
        client
            .as_fd()
            .map(|fd| PollFd::from_borrowed_fd(fd, events)),
    );
    let until = client.wake_at().map_or(deadline, |at| at.min(deadline));
    let left = until.saturating_duration_since(Instant::now());
    poll(&mut fds, Some(&left.try_into().unwrap())).unwrap();
}

/// Runs a client in a loop with a pipe that has a byte for each tick, until `is_over`. Returns how late the latest tick was,
/// and how often the loop ran.
fn ticking(
    client: &mut Client,
    tick: Duration,
    mut is_over: impl FnMut(&Update) -> bool,
) -> (Duration, u32) {
    let (pipe, mut clock) = UnixStream::pair().unwrap();
    pipe.set_nonblocking(true).unwrap();
    let start = Instant::now();
    thread::spawn(move || {
        let mut n = 0;
        while clock.write_all(&[1]).is_ok() {
            n += 1;
            thread::sleep((start + n * tick).saturating_duration_since(Instant::now()));
        }
    });
    let (mut latest, mut rounds, mut ticked) = (Duration::ZERO, 0, 0);
    while start.elapsed() < LONG {
        rounds += 1;
        loop {
            match client.next(Duration::ZERO).unwrap() {
                Update::TimedOut => break,
                update if is_over(&update) => return (latest, rounds),
                _ => {}
            }
        }
        wait(client, &pipe, start + LONG);
        let mut bytes = [0; 64];
        if let Ok(n) = (&pipe).read(&mut bytes) {
            let due = start + tick * ticked;
            latest = latest.max(due.elapsed());
            ticked += u32::try_from(n).unwrap();
        }
    }
    panic!("not over after {LONG:?}");
}

#[test]
fn a_loop_of_the_callers_is_not_held_up() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    for (fault, wanted) in [(Fault::Drop, 3), (Fault::SessionSilent, 2)] {
        let sim = sim(fault);
        let mut client = Client::new(&config(sim.config())).unwrap();
        let stream = "/demo/devices/gw1/temperature".parse().unwrap();
        client.request(Action::Subscribe, &stream).unwrap();
        let mut changes = 0;
        let (latest, rounds) = ticking(&mut client, TICK / 2, |update| {
            let is_change = matches!(update, Update::Gap(_) | Update::Disconnected(_));
            changes += usize::from(is_change);
            changes == wanted
        });
        assert!(latest < TICK, "{latest:?}");
        // It waits, and does not spin: some rounds for each tick and each packet.
        assert!(rounds < 400, "{rounds}");
    }
}

#[test]
fn an_event_behind_many_pings_arrives_at_once() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let (endpoint, service) = play([Box::new(|tcp, mut socket| {
        grant_next(&mut socket);
        let mut sent = Vec::new();
        for _ in 0..300 {
            sent.extend_from_slice(&[0x89, 0]);
        }
        let event = r#"{"object":"event","type":"message","resource":"s","value":{"id":"e"}}"#;
        sent.extend_from_slice(&[0x81, u8::try_from(event.len()).unwrap()]);
        sent.extend_from_slice(event.as_bytes());
        let mut tcp = tcp;
        tcp.write_all(&sent).unwrap();
        while socket
            .read()
            .is_ok_and(|message| !matches!(message, Message::Close(_)))
        {}
    })]);
    let mut client = Client::new(&config(raw::config(&endpoint))).unwrap();
    client
        .request(Action::Subscribe, &"/demo/stream".parse().unwrap())
        .unwrap();
    let mut granted_at = None;
    ticking(&mut client, TICK / 2, |update| {
        if let Update::Ack(_) = update {
            granted_at = Some(Instant::now());
        }
        matches!(update, Update::Event(_))
    });
    let late = granted_at.unwrap().elapsed();
    assert!(late < TICK, "{late:?}");
    drop(client);
    service.join().unwrap();
}

#[test]
fn pings_and_their_timeouts_are_in_the_times_of_the_loop() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let (_sim, config) = silent();
    let mut client = Client::new(&config.handover(false)).unwrap();
    let stream = "/demo/devices/gw1/temperature".parse().unwrap();
    client.request(Action::Subscribe, &stream).unwrap();
    let start = Instant::now();
    ticking(&mut client, LONG, |update| {
        matches!(update, Update::Lost(_))
    });
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn requests_are_sent_as_the_service_takes_them() {
    const COUNT: usize = 100_000;
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let (read, may_read) = channel::<()>();
    let (endpoint, service) = play([Box::new(move |_, mut socket| {
        may_read.recv_timeout(LONG).unwrap();
        for _ in 0..COUNT {
            grant_next(&mut socket);
        }
    })]);
    let mut client = Client::new(&config(raw::config(&endpoint))).unwrap();
    let streams = (0..COUNT).map(|n| format!("/demo/devices/gw1/stream{n}").parse().unwrap());
    let streams: Vec<_> = streams.collect();
    ticking(&mut client, TICK, |update| {
        matches!(update, Update::Connected)
    });
    client.request_all(Action::Subscribe, &streams).unwrap();
    while !matches!(client.next(Duration::ZERO).unwrap(), Update::TimedOut) {}
    assert!(client.wants_write());
    read.send(()).unwrap();
    let (idle, _other) = UnixStream::pair().unwrap();
    let mut granted = 0;
    let start = Instant::now();
    while granted < COUNT {
        assert!(start.elapsed() < LONG, "{granted}");
        match client.next(Duration::ZERO).unwrap() {
            Update::TimedOut => wait(&client, &idle, start + LONG),
            update => granted += usize::from(matches!(update, Update::Ack(_))),
        }
    }
    drop(client);
    service.join().unwrap();
}

#[test]
fn the_callers_functions_are_called_on_its_thread() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let caller = thread::current().id();
    let check = move || assert_eq!(thread::current().id(), caller);
    let (lines, logged) = channel();
    let (steps, observed) = channel();
    let sim = sim(Fault::Flap);
    let config = config(sim.config())
        .log(move |level, line| {
            check();
            lines.send(format!("{level} {line}")).unwrap();
        })
        .observer(move |step| {
            check();
            steps.send(step.clone()).unwrap();
        });
    let mut client = Client::new(&config).unwrap();
    let stream = "/demo/devices/gw1/temperature".parse().unwrap();
    client.request(Action::Subscribe, &stream).unwrap();
    longest(&mut client, |update| matches!(update, Update::Lost(_)));
    // The next attempt logs the loss.
    longest(&mut client, |update| matches!(update, Update::Connected));
    drop((client, config));
    let logged: Vec<String> = logged.iter().collect();
    for wanted in ["DEBUG connect: ", "DEBUG subscribe: ", "WARN socket: "] {
        assert!(
            logged.iter().any(|line| line.starts_with(wanted)),
            "{wanted} {logged:?}"
        );
    }
    let upgrades = observed
        .iter()
        .filter(|step| matches!(step, Step::Upgraded { .. }));
    assert_eq!(upgrades.count(), 2);
}

#[test]
fn a_flood_of_pings_does_not_hold_a_call_up() {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let (endpoint, service) = play([Box::new(|tcp, _| {
        let mut tcp = tcp;
        while tcp.write_all(&[0x89, 0].repeat(32 << 10)).is_ok() {}
    })]);
    let mut client = Client::new(&config(raw::config(&endpoint))).unwrap();
    longest(&mut client, |update| matches!(update, Update::Connected));
    let mut calls = 0;
    let longest = longest(&mut client, |update| {
        calls += usize::from(matches!(update, Update::TimedOut));
        calls == 10
    });
    assert!(longest < LATE, "{longest:?}");
    drop(client);
    service.join().unwrap();
}

#[test]
fn a_client_is_dropped_amid_a_flood() {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = thread::spawn(move || {
        let mut tcp = raw::accept(&listener);
        while tcp.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {}
    });
    let mut client = Client::new(&config(raw::config(&endpoint))).unwrap();
    assert!(matches!(client.next(TICK).unwrap(), Update::TimedOut));
    let start = Instant::now();
    drop(client);
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
    service.join().unwrap();
}

#[test]
fn a_silent_connection_is_told_to_be_gone() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let (_sim, config) = silent();
    let mut client = Client::new(&config).unwrap();
    let stream = "/demo/devices/gw1/temperature".parse().unwrap();
    client.request(Action::Subscribe, &stream).unwrap();
    longest(&mut client, |update| matches!(update, Update::Connected));
    // It is kept for a handover: that events are missed is not known yet.
    longest(&mut client, |update| match update {
        Update::Disconnected(disconnected) => {
            let why = disconnected.error.to_string();
            assert!(why.contains("no response to ping"), "{why}");
            true
        }
        Update::Lost(_) => panic!("it is kept"),
        _ => false,
    });
}

#[test]
fn a_connection_is_in_use_while_another_one_is_made_to_replace_it() {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let sim = Sim::start().unwrap();
    let renew = Duration::from_millis(500);
    let config = config(sim.config()).renew_every(renew);
    let mut client = Client::new(&config).unwrap();
    let name = "/demo/devices/gw1/temperature";
    client
        .request(Action::Subscribe, &name.parse().unwrap())
        .unwrap();
    longest(&mut client, |update| matches!(update, Update::Ack(_)));
    sim.set_faults(&[Fault::SessionSilent]);
    let start = Instant::now();
    while start.elapsed() < 3 * renew {
        let sent = Instant::now();
        sim.publish(name, &serde_json::json!({ "temperature": 21.5 }));
        longest(&mut client, |update| matches!(update, Update::Event(_)));
        assert!(sent.elapsed() < LATE, "{:?}", sent.elapsed());
        assert!(client.is_connected());
        client.ping().unwrap();
        longest(&mut client, |update| matches!(update, Update::Pong(_)));
    }
    sim.set_faults(&[]);
    // The attempt fails by its timeout, and a later one does not.
    longest(&mut client, |update| match update {
        Update::Lost(_) | Update::Disconnected(_) => panic!("{update:?}"),
        Update::Handover(_) => true,
        _ => false,
    });
    sim.publish(name, &serde_json::json!({ "temperature": 22.5 }));
    longest(&mut client, |update| matches!(update, Update::Event(_)));
    client.close().unwrap();
}
