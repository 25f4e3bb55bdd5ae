//! SIGINT and SIGTERM, in whatever phase they come.

use std::io::{self, Read};
use std::process::Child;
use std::time::Duration;

use octave_ws::sim::{Fault, Options, What};
use rustix::process::Signal;
use serde_json::json;

use super::waits::{await_sleep, wait};
use super::{
    TEMPERATURE, await_full, await_seen, await_subscription, kill, octave_ws, start, start_with,
    stderr,
};

/// Ten times as long as a signal may take.
const LONG: Duration = Duration::from_secs(20);

/// Keeps a client waiting for the next attempt, for as long as it obeys.
pub(super) const COME_BACK_LATER: &str =
    "HTTP/1.1 503 Later\r\nRetry-After: 300\r\nContent-Length: 0\r\n\r\n";

/// A client that a stand-in with this fault has left hanging.
fn hanging(fault: Fault, then: impl FnOnce(Child)) {
    let (sim, seen) = start_with(Options {
        faults: vec![fault],
        ..Options::default()
    });
    // By themselves they would hang for an hour.
    let args = ["listen", TEMPERATURE, "--connect-timeout=1h"];
    let mut command = octave_ws(&sim, &args);
    let child = command.arg("--ack-timeout=1h").spawn().unwrap();
    let mut told = seen.iter();
    told.find(|seen| seen.what == What::Swallowed).unwrap();
    then(child);
}

#[test]
fn one_ends_it_wherever_it_hangs() {
    for fault in [
        Fault::SessionSilent,
        Fault::UpgradeSilent,
        Fault::AckSilent,
        Fault::Stall,
    ] {
        for signal in [Signal::INT, Signal::TERM] {
            hanging(fault, |mut child| {
                kill(&child, signal);
                assert_eq!(wait(&mut child, LONG).code(), Some(0), "{fault:?}");
            });
        }
    }
}

#[test]
fn nor_does_a_wait_for_the_next_attempt_hold_it_up() {
    let (sim, seen) = start_with(Options {
        faults: vec![Fault::SessionRaw(COME_BACK_LATER)],
        ..Options::default()
    });
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE]).spawn().unwrap();
    await_seen(&seen, |what| matches!(what, What::Session(_)));
    await_sleep(&child);
    kill(&child, Signal::TERM);
    assert_eq!(wait(&mut child, LONG).code(), Some(0));
}

#[test]
fn a_second_one_ends_it_at_once() {
    hanging(Fault::Stall, |mut child| {
        // The first one may still be on its way; the one that ends it is never the first.
        while child.try_wait().unwrap().is_none() {
            kill(&child, Signal::TERM);
        }
        assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    });
}

#[test]
fn nor_does_a_reader_that_reads_nothing_hold_it_up() {
    let (sim, seen) = start(0.0);
    let (mut out, writer) = io::pipe().unwrap();
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE]);
    let mut child = program.stdout(writer.try_clone().unwrap()).spawn().unwrap();
    drop(program);
    await_subscription(&seen);
    sim.publish_burst(TEMPERATURE, &vec![json!(1); 1000]);
    await_full(&writer);
    drop(writer);
    kill(&child, Signal::TERM);
    wait(&mut child, LONG);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let warning = "warning: stopped with unread lines, events: ";
    assert!(stderr(&output).contains(warning), "{}", stderr(&output));
    // What is there are whole lines.
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("}\n"));
}
