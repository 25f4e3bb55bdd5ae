//! What a client does that has nothing to do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout};
use std::thread;
use std::time::Duration;

use octave_ws::sim::{ClientAction, Sim};
use rustix::process::Signal;
use serde_json::json;

use super::patience::Told;
use super::{
    TEMPERATURE, await_seen, await_subscription, kill, octave_ws, preloaded, start, stderr,
};

/// Long against any tick that a loop might have, short against a ping.
const WINDOW: Duration = Duration::from_millis(300);

/// How long the process has had a CPU.
pub(super) fn cpu_time(child: &Child) -> Duration {
    let path = format!("/proc/{}/schedstat", child.id());
    let stat = fs::read_to_string(path).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// How long it has one within a window.
fn cpu_time_in_a_window(child: &mut Child) -> Duration {
    let before = cpu_time(child);
    thread::sleep(WINDOW);
    assert_eq!(child.try_wait().unwrap(), None, "it is at its end");
    cpu_time(child).saturating_sub(before)
}

/// A client that is subscribed and has printed an event, which is the last, and its reader.
fn idle(sim: &Sim, seen: &Told, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut command = octave_ws(sim, &["listen", TEMPERATURE]);
    let mut child = command.args(args).spawn().unwrap();
    await_subscription(seen);
    sim.publish(TEMPERATURE, &json!(1));
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    (child, out)
}

#[test]
fn an_idle_client_takes_no_time_and_has_one_thread() {
    let (sim, seen) = start(0.0);
    // By name, for which there was another thread.
    let endpoint = format!("--endpoint=https://localhost:{}", sim.addr().port());
    let (mut child, _out) = idle(&sim, &seen, &[&endpoint]);
    // The first windows may still see it go to rest.
    let rests = (0..5).any(|_| cpu_time_in_a_window(&mut child).is_zero());
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let threads = threads.count();
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(rests);
    assert_eq!(threads, 1);
}

#[test]
fn but_for_its_pings() {
    let (sim, seen) = start(0.0);
    let (mut child, _out) = idle(&sim, &seen, &["--ping-interval=100ms"]);
    let times: Vec<_> = (0..5).map(|_| cpu_time_in_a_window(&mut child)).collect();
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(times.iter().all(|time| !time.is_zero()), "{times:?}");
    let least = times.iter().min().unwrap();
    assert!(*least < WINDOW / 10, "{times:?}");
}

#[test]
fn a_resumed_client_reads_before_it_judges_its_peer() {
    let (sim, seen) = start(0.0);
    let options = [
        "--ping-interval=100ms",
        "--ping-timeout=1s",
        "--no-reconnect",
    ];
    let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "-C1"]);
    let child = command.args(options).spawn().unwrap();
    await_subscription(&seen);
    // For longer than a peer may be silent, most likely amid a ping.
    kill(&child, Signal::STOP);
    thread::sleep(Duration::from_millis(1500));
    sim.publish(TEMPERATURE, &json!(1));
    kill(&child, Signal::CONT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// A clock on which 2 s are 40.
pub(super) const FAST_CLOCK: &str = "
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int clock_gettime(clockid_t clock, struct timespec *time) {
        int result = syscall(SYS_clock_gettime, clock, time);
        if (clock == CLOCK_MONOTONIC) {
            long long nanos = (time->tv_sec * 1000000000LL + time->tv_nsec) * 20;
            time->tv_sec = nanos / 1000000000;
            time->tv_nsec = nanos % 1000000000;
        }
        return result;
    }";

#[test]
fn the_time_that_it_is_asleep_is_not_held_against_a_message_that_comes_in() {
    let (sim, seen) = start(0.0);
    let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "-C1", "--no-reconnect"]);
    command.env("LD_PRELOAD", preloaded(FAST_CLOCK));
    // No sign of life is asked for that could be missed.
    let child = command.arg("--ping-interval=0s").spawn().unwrap();
    await_subscription(&seen);
    // A pong tells that the first fragment has been read.
    sim.send_raw(b"\x01\x09{\"value\":");
    sim.send_raw(&[0x89, 0]);
    await_seen(&seen, |what| *what == ClientAction::Pong);
    super::waits::await_sleep(&child);
    // For longer than a message of this length may take.
    kill(&child, Signal::STOP);
    thread::sleep(Duration::from_secs(2));
    sim.send_raw(b"\0\x08{\"whole\"");
    kill(&child, Signal::CONT);
    // It looks at each fragment by itself.
    thread::sleep(WINDOW / 3);
    sim.send_raw(b"\x80\x07:true}}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(output.stdout, b"{\"whole\":true}\n");
}
