//! The memory of a client, for any input.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use octave_ws::sim::{ClientAction, Options, Sim};
use rustix::process::Signal;
use serde_json::{Value, json};
use tungstenite::Message;

use super::patience::until;
use super::raw::{Socket, grant, play, serve_out};
use super::{
    TEMPERATURE, await_full, await_subscription, end_with_its_test, kill, octave_ws, start,
};

const MOST: u64 = 16 << 20;

/// The most memory that the process has had at a time, in bytes.
fn peak(child: &Child) -> u64 {
    peak_of(child).unwrap()
}

fn peak_of(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    Some(kib << 10)
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
    let (_reader, writer) = io::pipe().unwrap();
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE, "-q"]);
    let mut child = program.stdout(writer.try_clone().unwrap()).spawn().unwrap();
    await_subscription(&seen);
    flood(&sim, 50_000);
    await_full(&writer);
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
        let closed = |what: &ClientAction| *what == ClientAction::Closed(Some(1009));
        if seen.try_iter().any(|seen| closed(&seen.action)) {
            break;
        }
    }
    kill(&child, Signal::TERM);
    child.wait().unwrap();
    peak_yet
}

#[test]
fn an_announced_frame_takes_no_memory_before_it_arrives() {
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
    until("it has taken what came", || peak(&child) >= 1 << 20);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None, "it has ended");
    let peak = peak(&child);
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(peak < MOST, "{peak}");
}

/// What leads the program to a service that is played.
pub(super) fn led_to(endpoint: &str, args: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_octave-ws"));
    program
        .args(args)
        .arg("--allow-plaintext")
        .env_clear()
        .env("OCTAVE_ENDPOINT", endpoint)
        .env("OCTAVE_COMPANY", "demo")
        .env("OCTAVE_TOKEN", "t")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    end_with_its_test(&mut program);
    program
}

/// The most memory that the program takes until it ends, and how that is.
fn peak_to_the_end(mut child: Child) -> (u64, Output) {
    let mut most = 0;
    until("it ends", || {
        // None where it has ended.
        most = most.max(peak_of(&child).unwrap_or_default());
        child.try_wait().unwrap().is_some()
    });
    (most, child.wait_with_output().unwrap())
}

#[test]
fn kept_updates_are_counted_by_their_size() {
    let tiny = [
        frame(0x81, br#"{"value":1}"#),
        frame(0x89, &[0; 100]).repeat(160),
    ]
    .concat();
    let binary = frame(0x82, b"\xff").repeat(10_000);
    for flood in [tiny, binary] {
        let (endpoint, service) = play([Box::new(
            move |mut tcp: &TcpStream, mut socket: Socket<'_>| {
                // The request is not answered.
                socket.read().unwrap();
                // It does not wait for pongs.
                let reader = tcp.try_clone().unwrap();
                let reader = thread::spawn(move || io::copy(&mut &reader, &mut io::sink()));
                while tcp.write_all(&flood).is_ok() {}
                let _ = reader.join().unwrap();
            },
        )]);
        let args = ["doctor", "/a", "--max-message=2MiB", "--ack-timeout=3s"];
        let (peak, output) = peak_to_the_end(led_to(&endpoint, &args).spawn().unwrap());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(76), "{told}");
        // By what was kept, or by the time that it took.
        assert!(peak < MOST, "{peak}");
        service.join().unwrap();
    }
}

#[test]
fn a_refusal_takes_no_more_than_its_message() {
    const LENGTH: usize = 14 << 20;
    let escaped = format!("[\"{}\"]", "\\n".repeat(LENGTH / 2));
    let plain = format!("\"{}\"", "a".repeat(LENGTH));
    let list = format!("[{}1]", "1,".repeat(LENGTH / 2));
    for errors in [escaped, plain, list] {
        let (endpoint, service) = play([Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
            socket.read().unwrap();
            let refusal = format!(r#"{{"head":{{"msgId":"1","ok":false,"errors":{errors}}}}}"#);
            socket.send(Message::text(refusal)).unwrap();
            serve_out(&mut socket);
        })]);
        let args = ["listen", "/a"];
        let (peak, output) = peak_to_the_end(led_to(&endpoint, &args).spawn().unwrap());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(77), "{told}");
        assert!(peak < MOST + LENGTH as u64, "{peak}");
        service.join().unwrap();
    }
}

/// A frame of up to 125 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[first, length], payload].concat()
}

#[test]
fn an_event_takes_no_more_memory_than_its_message() {
    const LENGTH: usize = 14 << 20;
    let long = format!("\"\\u0061{}\"", "x".repeat(LENGTH));
    let plain = format!("\"{}\"", "x".repeat(LENGTH));
    for message in [
        format!(r#"{{{long}:1,"value":1}}"#),
        format!(r#"{{"type":{long},"value":1}}"#),
        format!(r#"{{"resource":{long},"value":1}}"#),
        format!(r#"{{"resource":{plain},"value":1}}"#),
        format!(r#"{{"value":{{"path":{long}}}}}"#),
        format!(r#"{{"value":{{"path":{plain}}}}}"#),
        format!("{{\"value\":{}1}}", "\n".repeat(LENGTH)),
        format!("{{\"value\":[{}1]}}", "1,\n".repeat(LENGTH / 3)),
    ] {
        for format in ["-Frecord", "-Ftext"] {
            let message = Message::text(message.clone());
            let (endpoint, service) =
                play([Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
                    let request = socket.read().unwrap();
                    grant(&mut socket, &request);
                    socket.send(message).unwrap();
                    serve_out(&mut socket);
                })]);
            let args = ["listen", "/a", "--idle=300ms", format];
            let mut command = led_to(&endpoint, &args);
            let (peak, output) = peak_to_the_end(command.stdout(Stdio::null()).spawn().unwrap());
            assert_eq!(output.status.code(), Some(0), "{format}");
            assert!(peak < LENGTH as u64 + (12 << 20), "{peak} {format}");
            service.join().unwrap();
        }
    }
}

#[test]
fn the_history_of_many_streams_takes_little() {
    let options = Options {
        any_stream: true,
        ..Options::default()
    };
    let sim = Sim::start_with(options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let paths: Vec<String> = (0..2000).map(|n| format!("/demo/{n}")).collect();
    fs::write(file("streams"), paths.join("\n")).unwrap();
    let run = |output: &str| {
        for path in &paths {
            sim.publish_burst(path, &[json!({ "n": 1 })]);
        }
        let (streams, state) = (file("streams"), file("state"));
        let args = ["listen", "--idle=1s", "-q", "--streams-file", &streams];
        let mut command = octave_ws(&sim, &args);
        command.args(["--state", &state, "-o", &file(output)]);
        let (peak, output) = peak_to_the_end(command.spawn().unwrap());
        assert_eq!(output.status.code(), Some(0));
        peak
    };
    let first = run("a");
    let second = run("b");
    let lines = fs::read_to_string(file("b")).unwrap().lines().count();
    assert_eq!(lines, paths.len());
    assert!(first.max(second) < MOST, "{first} {second}");
}
