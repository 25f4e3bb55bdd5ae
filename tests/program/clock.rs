//! Clocks that are wrong.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};
use tungstenite::Message;

use super::memory::led_to;
use super::raw::{Part, Socket, grant, play, serve_out};
use super::signals::LONG;
use super::waits::wait;
use super::{
    TEMPERATURE, await_subscription, kill, lines, octave_ws, preloaded, start, stderr, text,
};
use crate::patience::until;

/// A clock that is put back.
const CLOCK_OF_1969: &str = "
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int clock_gettime(clockid_t clock, struct timespec *time) {
        int result = syscall(SYS_clock_gettime, clock, time);
        if (clock == CLOCK_REALTIME) time->tv_sec = -86400;
        return result;
    }";

#[test]
fn it_is_1970_for_it_and_nothing_panics() {
    let library = preloaded(CLOCK_OF_1969);
    // A connection that is lost, for a gap.
    let part = |event: bool| -> Box<Part> {
        Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
            let request = socket.read().unwrap();
            grant(&mut socket, &request);
            if event {
                socket.send(Message::text(r#"{"value":1}"#)).unwrap();
                serve_out(&mut socket);
            }
        })
    };
    let (endpoint, service) = play([part(false), part(true)]);
    let args = ["listen", "/a", "-vv", "-C1", "-Frecord"];
    let mut listen = led_to(&endpoint, &args);
    let output = listen.env("LD_PRELOAD", &library).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    service.join().unwrap();
    let lines = text(&output.stdout);
    let at = r#"{"at":"1970-01-01T00:00:00.000Z","kind":"#;
    assert!(lines.lines().all(|line| line.starts_with(at)), "{lines}");
    let gap = r#""gap","from":"1970-01-01T00:00:00.000Z","to":"1970-01-01T00:00:00.000Z","#;
    assert!(lines.contains(gap), "{lines}");

    let (sim, _seen) = start(0.0);
    let mut program = octave_ws(&sim, &["doctor", TEMPERATURE]);
    let output = program.env("LD_PRELOAD", &library).output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(69), "{told}");
    assert!(told.contains(NOT_VALID_YET), "{told}");
}

const NOT_VALID_YET: &str = "is not valid yet (the clock here says 1970-01-01T00:00:00Z)";

/// The same until it has run for a second.
const CLOCK_THAT_IS_SET: &str = "
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int clock_gettime(clockid_t clock, struct timespec *time) {
        static time_t begin;
        struct timespec now;
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
        if (!begin) begin = now.tv_sec;
        int result = syscall(SYS_clock_gettime, clock, time);
        if (clock == CLOCK_REALTIME && now.tv_sec < begin + 2) time->tv_sec = -86400;
        return result;
    }";

#[test]
fn a_certificate_not_yet_valid_is_retried_with_a_clock_never_set() {
    let (sim, _seen) = start(100.0);
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE, "-C1", "-W60s"]);
    let library = preloaded(CLOCK_THAT_IS_SET);
    let output = program.env("LD_PRELOAD", library).output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let why = "and that clock was never set: it is before this program was built; trying again in ";
    assert!(told.contains(NOT_VALID_YET) && told.contains(why), "{told}");
}

/// The same from when there is a file.
const CLOCK_THAT_IS_PUT_BACK: &str = r#"
    #include <stdlib.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int clock_gettime(clockid_t clock, struct timespec *time) {
        int result = syscall(SYS_clock_gettime, clock, time);
        if (clock == CLOCK_REALTIME && !access(getenv("PUT_BACK"), F_OK)) time->tv_sec -= 3600;
        return result;
    }"#;

#[test]
fn the_times_of_records_follow_a_clock_that_is_put_back() {
    let library = preloaded(CLOCK_THAT_IS_PUT_BACK);
    let folder = tempfile::tempdir().unwrap();
    let is_put_back = folder.path().join("put back");
    let (sim, seen) = start(0.0);
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE, "-C2", "-Frecord"]);
    program.env("LD_PRELOAD", &library);
    program.env("PUT_BACK", &is_put_back);
    let mut child = program.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut records = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut event = || {
        let at = records.find(|record| record["kind"] == "event").unwrap()["at"].take();
        humantime::parse_rfc3339(at.as_str().unwrap()).unwrap()
    };
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    let first = event();
    File::create(&is_put_back).unwrap();
    sim.publish(TEMPERATURE, &json!(2));
    let earlier = first.duration_since(event()).unwrap();
    // The test itself does not take so long.
    assert!(earlier > Duration::from_secs(1800), "{earlier:?}");
    assert_eq!(wait(&mut child, LONG).code(), Some(0));
}

#[test]
fn a_gap_begins_before_a_clock_was_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let is_put_back = folder.path().join("put back");
    let (sender, left) = std::sync::mpsc::channel();
    let put_back = is_put_back.clone();
    let (endpoint, service) = play([Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        // Its pong is the last sign of life.
        assert!(socket.read().unwrap().is_ping());
        socket.flush().unwrap();
        File::create(put_back).unwrap();
        left.recv_timeout(LONG).unwrap();
    })]);
    let args = [
        "listen",
        "/a",
        "-Frecord",
        "--no-reconnect",
        "--ping-interval=1s",
    ];
    let mut program = led_to(&endpoint, &args);
    program.env("LD_PRELOAD", preloaded(CLOCK_THAT_IS_PUT_BACK));
    program.env("PUT_BACK", &is_put_back);
    let output = program.arg("--ping-timeout=1s").output().unwrap();
    sender.send(()).unwrap();
    service.join().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    let gap = lines(&output)
        .into_iter()
        .find(|record| record["kind"] == "gap");
    let gap = gap.unwrap();
    let date = |name: &str| humantime::parse_rfc3339(gap[name].as_str().unwrap()).unwrap();
    let time = date("to").duration_since(date("from")).unwrap();
    // An interval, and the time in which a pong would have come.
    assert!(time >= Duration::from_secs(1), "{gap}");
}

/// A clock that is wrong by this many seconds, and by others from when there is a file.
const CLOCK_THAT_IS_WRONG: &str = r#"
    #include <stdlib.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int clock_gettime(clockid_t clock, struct timespec *time) {
        int result = syscall(SYS_clock_gettime, clock, time);
        if (clock == CLOCK_REALTIME)
            time->tv_sec += atol(getenv(access(getenv("STEPPED"), F_OK) ? "WRONG" : "WRONG_LATER"));
        return result;
    }"#;

#[test]
fn a_wrong_clock_changes_nothing_that_is_filled() {
    const YEAR: i64 = 365 * 86400;
    // The stand-in's certificates are valid from 1975 on.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let to_1976 = 6 * YEAR - i64::try_from(now.as_secs()).unwrap();
    let library = preloaded(CLOCK_THAT_IS_WRONG);
    for (wrong, later) in [(to_1976, to_1976), (0, YEAR), (0, -YEAR), (to_1976, 0)] {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let (sim, seen) = start(0.0);
        let run = || {
            let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "-q", "--state"]);
            command.arg(file("state")).arg("-o").arg(file("output"));
            command.env("LD_PRELOAD", &library);
            command.env("STEPPED", file("stepped"));
            command.env("WRONG", wrong.to_string());
            command.env("WRONG_LATER", later.to_string());
            command.spawn().unwrap()
        };
        let publish = |numbers: std::ops::Range<u32>| {
            let elems: Vec<_> = numbers.map(|n| json!({ "n": n })).collect();
            sim.publish_burst(TEMPERATURE, &elems);
        };
        let numbers = || -> Vec<u64> {
            let text = fs::read_to_string(file("output")).unwrap_or_default();
            let events = text.lines().map(serde_json::from_str);
            let events = events.map_while(|event: serde_json::Result<Value>| event.ok());
            events
                .map(|event| event["elems"]["n"].as_u64().unwrap())
                .collect()
        };
        let written = |end: usize| until("they are written", || numbers().len() >= end);
        let mut first = run();
        await_subscription(&seen);
        publish(0..3);
        written(3);
        sim.drop_all();
        publish(3..150);
        written(150);
        File::create(file("stepped")).unwrap();
        sim.drop_all();
        publish(150..300);
        written(300);
        kill(&first, Signal::TERM);
        assert_eq!(wait(&mut first, LONG).code(), Some(0));
        publish(300..450);
        let mut second = run();
        written(450);
        kill(&second, Signal::TERM);
        assert_eq!(wait(&mut second, LONG).code(), Some(0));
        assert_eq!(numbers(), (0..450).collect::<Vec<_>>(), "{wrong} {later}");
    }
}
