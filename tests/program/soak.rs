//! `listen` against a stand-in at which everything goes wrong, for 20 s or as many as
//! `OCTAVE_SOAK_SECONDS` says.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use octave_ws::sim::{Fault, What};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::patience::Told;
use super::{TEMPERATURE, kill, octave_ws, start};

/// Numbers that come out the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        // Knuth's MMIX generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// Waits for a client to subscribe until then; whether it has.
fn is_subscribed_by(seen: &Told, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match seen.recv_timeout(left) {
            Ok(seen) if matches!(seen.what, What::Subscribed(_)) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

#[test]
fn what_was_written_to_a_subscription_that_ended_in_order_is_printed_once_and_in_order() {
    let seconds = env::var("OCTAVE_SOAK_SECONDS").map_or(20, |seconds| seconds.parse().unwrap());
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let origin = u64::try_from(now.as_nanos()).unwrap_or_default();
    let mut random = Random(origin);
    let (sim, seen) = start(0.0);
    let args = [
        "listen",
        TEMPERATURE,
        "-q",
        "--ping-interval=500ms",
        "--ping-timeout=500ms",
    ];
    let args = [
        &args[..],
        &["--connect-timeout=500ms", "--ack-timeout=500ms"],
    ]
    .concat();
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
    while is_subscribed_by(&seen, deadline) {
        // Whatever befell the client is over: it is subscribed for good.
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
            thread::yield_now();
        }
        let fault = transient[random.below(transient.len())];
        let ended = if random.below(3) > 0 {
            sim.close_all(1012)
        } else {
            sim.drop_all()
        };
        sim.set_faults(&[fault]);
        ends += 1;
        // It meets that fault once at least, and then none.
        while Instant::now() < deadline {
            match seen
                .recv_timeout(Duration::from_millis(100))
                .map(|seen| seen.what)
            {
                // Whoever answers the close has read what came before it.
                Ok(What::Closed(Some(1012))) if ended == 1 => due.append(&mut written),
                Ok(What::Session(_)) => break,
                _ => {}
            }
        }
        sim.set_faults(&[]);
    }
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0), "from {origin}");
    let printed = reader.join().unwrap();
    assert!(
        printed.is_sorted_by(|a, b| a < b),
        "from {origin}: twice or out of order"
    );
    let printed: BTreeSet<u64> = printed.into_iter().collect();
    let lost: Vec<_> = due.difference(&printed).collect();
    assert!(lost.is_empty(), "from {origin}: lost {lost:?}");
    assert!(
        ends > 0 && !due.is_empty(),
        "from {origin}: nothing has happened"
    );
}
