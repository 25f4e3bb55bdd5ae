//! `listen` against a stand-in at which everything goes wrong, for so many connections or for as
//! many seconds as `OCTAVE_SOAK_SECONDS` says.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use octave_ws::sim::{ClientAction, Fault};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::seed::{Random, seed};
use super::{TEMPERATURE, await_seen, await_subscription, kill, octave_ws, start};

/// Each one costs two delays, which double.
const CONNECTIONS: usize = 2;

#[test]
fn events_before_an_orderly_end_are_printed_once_and_in_order() {
    let seconds = env::var("OCTAVE_SOAK_SECONDS").map(|seconds| seconds.parse().unwrap());
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = Random::new(seed(1));
    let (sim, seen) = start(0.0);
    let args = [
        "listen",
        TEMPERATURE,
        "-q",
        "--connect-timeout=2s",
        "--ack-timeout=2s",
    ];
    let mut child = octave_ws(&sim, &args).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        let number = |line: String| {
            let event: Value = serde_json::from_str(&line).unwrap();
            event["elems"].as_u64().unwrap()
        };
        out.lines()
            .map(|line| number(line.unwrap()))
            .collect::<Vec<u64>>()
    });

    let (mut next, mut due, mut ends) = (0_u64, BTreeSet::new(), 0);
    let transient = [
        Fault::SessionSilent,
        Fault::SessionAnswer(503, ""),
        Fault::SessionAnswer(429, "<html>"),
        Fault::SessionDrop,
        Fault::UpgradeSilent,
        Fault::Expire,
        Fault::AckSilent,
    ];
    while match deadline {
        Ok(deadline) => Instant::now() < deadline,
        Err(_) => ends < CONNECTIONS,
    } {
        await_subscription(&seen);
        // The faults are over: the client stays subscribed.
        sim.set_faults(&[Fault::Garbage]);
        let mut written = BTreeSet::new();
        for _ in 0..random.below(20) {
            let burst: Vec<Value> = (next..)
                .take(1 + random.below(50))
                .map(|n| json!(n))
                .collect();
            let numbers = next..next + burst.len() as u64;
            next = numbers.end;
            if sim.publish_burst(TEMPERATURE, &burst) == 1 {
                written.extend(numbers);
            }
        }
        let fault = transient[random.below(transient.len())];
        let ended = if random.below(3) > 0 {
            sim.close_all(1012)
        } else {
            sim.drop_all()
        };
        sim.set_faults(&[fault]);
        ends += 1;
        let mut attempts = 0;
        await_seen(&seen, |what| {
            // A client that answers the close has read what came before it.
            if *what == ClientAction::Closed(Some(1012)) && ended == 1 {
                due.append(&mut written);
            }
            attempts += usize::from(*what == ClientAction::Connected);
            // The first attempt has met the fault.
            attempts == 2
        });
        sim.set_faults(&[]);
    }
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let printed = reader.join().unwrap();
    assert!(printed.is_sorted_by(|a, b| a < b), "twice or out of order");
    let printed: BTreeSet<u64> = printed.into_iter().collect();
    let lost: Vec<_> = due.difference(&printed).collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    assert!(!due.is_empty(), "the seed ends no connection in order");
}
