//! What a client does that has nothing to do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::thread;
use std::time::Duration;

use octave_ws::sim::Sim;
use rustix::process::Signal;
use serde_json::json;

use super::{TEMPERATURE, await_subscription, kill, octave_ws, start, stderr};

/// Long against any tick that a loop might have, short against a ping.
const WINDOW: Duration = Duration::from_millis(300);

/// How often the process has gone to wait: each time after a system call that another one
/// follows.
fn waits(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mut lines = status.lines();
    let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

/// How often it goes to wait within a window.
fn waits_in_a_window(child: &Child) -> u64 {
    let before = waits(child);
    thread::sleep(WINDOW);
    waits(child) - before
}

/// A client that is subscribed and has printed an event, which is the last.
fn idle(sim: &Sim, seen: &std::sync::mpsc::Receiver<octave_ws::sim::Seen>, args: &[&str]) -> Child {
    let mut command = octave_ws(sim, &["listen", TEMPERATURE]);
    let mut child = command.args(args).spawn().unwrap();
    await_subscription(seen);
    sim.publish(TEMPERATURE, &json!(1));
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    child
}

#[test]
fn an_idle_client_makes_no_system_call_and_has_one_thread() {
    let (sim, seen) = start(0.0);
    // By name, for which there was another thread.
    let endpoint = format!("--endpoint=https://localhost:{}", sim.addr().port());
    let mut child = idle(&sim, &seen, &[&endpoint]);
    // The first windows may still see it go to rest.
    let rests = (0..5).any(|_| waits_in_a_window(&child) == 0);
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let threads = threads.count();
    kill(&child, Signal::TERM);
    child.wait().unwrap();
    assert!(rests);
    assert_eq!(threads, 1);
}

#[test]
fn but_for_its_pings() {
    let (sim, seen) = start(0.0);
    let mut child = idle(&sim, &seen, &["--ping-interval=100ms"]);
    let rests = (0..5).any(|_| waits_in_a_window(&child) == 0);
    kill(&child, Signal::TERM);
    child.wait().unwrap();
    assert!(!rests);
}

#[test]
fn a_client_that_was_asleep_finds_what_has_come_before_it_judges_its_peer() {
    let (sim, seen) = start(0.0);
    let options = [
        "--ping-interval=100ms",
        "--ping-timeout=100ms",
        "--no-reconnect",
    ];
    let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "-C1"]);
    let child = command.args(options).spawn().unwrap();
    await_subscription(&seen);
    // For longer than a peer may be silent, most likely amid a ping.
    kill(&child, Signal::STOP);
    thread::sleep(WINDOW * 2);
    sim.publish(TEMPERATURE, &json!(1));
    kill(&child, Signal::CONT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
