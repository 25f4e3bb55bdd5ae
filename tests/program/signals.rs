//! SIGINT and SIGTERM, in whatever phase they come.

use std::io::{self, Read};
use std::process::Child;
use std::time::{Duration, Instant};

use octave_ws::sim::{Fault, Options, Seen, What};
use rustix::process::Signal;
use serde_json::json;

use super::{
    TEMPERATURE, await_full, await_subscription, kill, octave_ws, start, start_with, stderr,
};

/// A client that a stand-in with this fault has left hanging.
fn hanging(fault: Fault, then: impl FnOnce(Child)) {
    let (sim, seen) = start_with(Options {
        faults: vec![fault],
        ..Options::default()
    });
    let child = octave_ws(&sim, &["listen", TEMPERATURE]).spawn().unwrap();
    let mut told = seen.iter();
    told.find(|seen| seen.what == What::Swallowed).unwrap();
    then(child);
}

#[test]
fn one_ends_it_well_within_two_seconds() {
    for fault in [
        Fault::SessionSilent,
        Fault::UpgradeSilent,
        Fault::AckSilent,
        Fault::Stall,
    ] {
        for signal in [Signal::INT, Signal::TERM] {
            hanging(fault, |mut child| {
                let start = Instant::now();
                kill(&child, signal);
                assert_eq!(child.wait().unwrap().code(), Some(0), "{fault:?}");
                assert!(start.elapsed() < Duration::from_secs(2), "{fault:?}");
            });
        }
    }
}

#[test]
fn nor_does_a_wait_for_the_next_attempt_hold_it_up() {
    let (sim, seen) = start_with(Options {
        faults: vec![Fault::SessionAnswer(503, "")],
        ..Options::default()
    });
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE]).spawn().unwrap();
    // After a few, most of the time is waiting.
    let asked = |seen: &Seen| matches!(seen.what, What::Session(_));
    assert_eq!(seen.iter().filter(asked).take(3).count(), 3);
    let start = Instant::now();
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2));
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
    let child = program.stdout(writer.try_clone().unwrap()).spawn().unwrap();
    drop(program);
    await_subscription(&seen);
    sim.publish_burst(TEMPERATURE, &vec![json!(1); 1000]);
    await_full(&writer);
    drop(writer);
    let start = Instant::now();
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(output.status.code(), Some(0));
    let warning = "warning: stopped with unread lines\n";
    assert!(stderr(&output).contains(warning), "{}", stderr(&output));
    // What is there are whole lines.
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("}\n"));
}
