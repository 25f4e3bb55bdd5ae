//! How much memory a client takes, whatever comes.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use octave_ws::sim::{Sim, What};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{TEMPERATURE, await_subscription, kill, octave_ws, start};

const MOST: u64 = 16 << 20;

/// The most memory that the process has had at a time, in bytes.
fn peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}

fn flood(sim: &Sim, events: usize) {
    let burst: Vec<Value> = (0..1000).map(|n| json!({ "n": n })).collect();
    for _ in 0..events / burst.len() {
        sim.publish_burst(TEMPERATURE, &burst);
    }
}

#[test]
fn a_flood_takes_little() {
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "-q", "--count=50001"];
    let mut child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        let lines = out.by_ref().lines().map(Result::unwrap);
        assert_eq!(lines.take(50_000).count(), 50_000);
        out
    });
    flood(&sim, 50_000);
    let _out = reader.join().unwrap();
    let peak = peak(&child);
    kill(&child, Signal::TERM);
    child.wait().unwrap();
    assert!(peak < MOST, "{peak}");
}

#[test]
fn a_reader_that_reads_nothing_costs_nothing() {
    let (sim, seen) = start(0.0);
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE, "-q"])
        .spawn()
        .unwrap();
    await_subscription(&seen);
    flood(&sim, 50_000);
    let out = child.stdout.take().unwrap();
    while rustix::io::ioctl_fionread(&out).unwrap() < 60_000 {
        thread::yield_now();
    }
    let peak = peak(&child);
    kill(&child, Signal::TERM);
    child.wait().unwrap();
    assert!(peak < MOST, "{peak}");
}

#[test]
fn a_message_without_end_takes_as_much_as_one_may_have() {
    let peak = endless("--max-message=1MiB");
    assert!(peak < MOST, "{peak}");
    // What it has of the message, and no copy.
    let peak = endless("--max-message=16MiB");
    assert!(peak < MOST + (16 << 20), "{peak}");
}

/// The most memory that a message without end takes.
fn endless(limit: &str) -> u64 {
    let (sim, seen) = start(0.0);
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE, "-q", limit])
        .spawn()
        .unwrap();
    await_subscription(&seen);
    let mut fragment = vec![0, 126, 0xff, 0xff];
    fragment.extend(vec![b'a'; 0xffff]);
    sim.send_raw(&[1, 0]);
    let mut peak_yet = 0;
    while sim.send_raw(&fragment) > 0 {
        peak_yet = peak(&child);
        let closed = |what: &What| *what == What::Closed(Some(1009));
        if seen.try_iter().any(|seen| closed(&seen.what)) {
            break;
        }
    }
    kill(&child, Signal::TERM);
    child.wait().unwrap();
    peak_yet
}

#[test]
fn what_is_announced_takes_nothing_before_it_comes() {
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "-q", "--max-message=4096GiB"];
    let mut child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    // A tebibyte.
    sim.send_raw(&[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]);
    for _ in 0..64 {
        sim.send_raw(&[b'a'; 1 << 14]);
    }
    // An answer to a ping would come behind it.
    let deadline = Instant::now() + Duration::from_secs(5);
    while peak(&child) < 1 << 20 {
        assert!(Instant::now() < deadline);
    }
    thread::sleep(Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None, "it has ended");
    let peak = peak(&child);
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(peak < MOST, "{peak}");
}
