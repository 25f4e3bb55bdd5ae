//! A client in a loop of the caller's: no call waits longer than it is to.
#![cfg(feature = "sim")]

use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use octave_ws::sim::{Fault, Options, Sim};
use octave_ws::{Client, Config, Update};
use tungstenite::protocol::CloseFrame;

use crate::raw::play;

mod raw;

const TICK: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

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
        let is_failure = |update: &Update| matches!(update, Update::ConnectFailed(_));
        let longest = longest(&mut client, is_failure);
        assert!(longest < LATE, "{longest:?}");
    }
}

#[test]
fn a_slow_service_is_connected_to_all_the_same() {
    let sim = sim(Fault::Slow);
    let mut client = Client::new(&config(sim.config()).connect_timeout(LONG)).unwrap();
    let longest = longest(&mut client, |update| matches!(update, Update::Connected));
    assert!(longest < LATE, "{longest:?}");
    client.close().unwrap();
}

#[test]
fn no_call_waits_for_the_end_of_a_closed_connection() {
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
