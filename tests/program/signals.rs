//! SIGINT and SIGTERM, in whatever phase they come.

use std::process::Child;
use std::time::{Duration, Instant};

use octave_ws::sim::{Fault, Options, What};
use rustix::process::Signal;

use super::{TEMPERATURE, kill, octave_ws, start_with};

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
    for fault in [Fault::SessionSilent, Fault::UpgradeSilent, Fault::Stall] {
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
fn a_second_one_ends_it_at_once() {
    hanging(Fault::Stall, |mut child| {
        // The first one may still be on its way; the one that ends it is never the first.
        while child.try_wait().unwrap().is_none() {
            kill(&child, Signal::TERM);
        }
        assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    });
}
