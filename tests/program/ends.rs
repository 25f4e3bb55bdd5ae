//! How a run ends whose service does not answer any more, or whose reader does not read.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use octave_ws::sim::{ClientAction, Fault};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::memory::led_to;
use super::patience::until;
use super::raw::{Socket, grant, play, serve_out};
use super::waits::{await_sleep, wait};
use super::{
    HUMIDITY, TEMPERATURE, await_seen, await_subscription, kill, lines, octave_ws, start, stderr,
    text,
};

/// Longer than anything takes that ends by itself.
const LONG: Duration = Duration::from_secs(60);

fn kinds(records: &[Value]) -> Vec<&str> {
    let kinds = records.iter().map(|record| record["kind"].as_str());
    kinds.map(Option::unwrap).collect()
}

#[test]
fn a_run_ends_once_its_bytes_are_spent() {
    let (busy, _seen) = start(50.0);
    let (quiet, _told) = start(0.0);
    for (sim, command) in [
        (&busy, "listen"),
        (&busy, "capture"),
        // Pings count, too.
        (&quiet, "listen"),
        (&quiet, "capture"),
    ] {
        let pings = "--ping-interval=1ms";
        let args = [command, TEMPERATURE, "--max-bytes=5KiB", "-Frecord", pings];
        let output = octave_ws(sim, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let records = lines(&output);
        let summary = records.last().unwrap();
        let count = |name: &str| summary[name].as_u64().unwrap();
        let bytes = count("received") + count("sent");
        assert!(bytes >= 5 << 10, "{bytes}");
        assert_eq!((count("connections"), count("full_handshakes")), (1, 1));
        assert_eq!(count("events") > 0, std::ptr::eq(sim, &raw const busy));
    }
}

#[test]
fn a_dead_connection_at_the_end_is_a_loss() {
    for (command, code) in [("capture", 75), ("listen", 0)] {
        let (sim, _seen) = start(0.0);
        sim.set_faults(&[Fault::Stall]);
        let args = [command, TEMPERATURE, "--duration=300ms", "-Frecord"];
        let mut program = octave_ws(&sim, &args);
        let output = program.arg("--ping-timeout=1s").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let records = lines(&output);
        let wanted = ["connected", "subscribed", "gap", "summary"];
        assert_eq!(kinds(&records), wanted, "{}", stderr(&output));
        let summary = &records[3];
        assert_eq!(
            (&summary["gaps"], &summary["exit"]),
            (&json!(1), &json!(code))
        );
    }
}

#[test]
fn a_connection_whose_pongs_come_lasts_though_requests_are_not_answered() {
    let (sim, seen) = start(0.0);
    let args = ["capture", TEMPERATURE, "--duration=300ms", "-Frecord"];
    let child = octave_ws(&sim, &args)
        .arg("--ping-timeout=3s")
        .spawn()
        .unwrap();
    await_subscription(&seen);
    sim.set_faults(&[Fault::AckSilent]);
    let output = child.wait_with_output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(
        kinds(&lines(&output)),
        ["connected", "subscribed", "summary"]
    );
    assert!(told.contains("warning: unsubscribe: "), "{told}");
}

#[test]
fn taking_leave_lies_within_the_deadline() {
    // The unsubscription, the ping and the close are not answered.
    let (endpoint, service) = play([Box::new(|tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        let _ = io::copy(&mut { tcp }, &mut io::sink());
    })]);
    // By itself it would wait for an hour.
    let args = [
        "listen",
        "/a",
        "--duration=300ms",
        "--ping-timeout=1h",
        "-W5s",
    ];
    let mut command = led_to(&endpoint, &[&args[..], &["-Frecord"]].concat());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let wanted = ["connected", "subscribed", "gap", "summary"];
    assert_eq!(kinds(&lines(&output)), wanted);
    service.join().unwrap();
}

#[test]
fn events_in_flight_at_the_end_are_awaited_or_a_loss() {
    // How many events are on a slow link before the answer, which a stop does not wait for.
    for (command, count) in [("capture", 30), ("listen", 60)] {
        let (endpoint, service) = play([Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
            let request = socket.read().unwrap();
            grant(&mut socket, &request);
            let request = socket.read().unwrap();
            for n in 0..count {
                let event = format!(r#"{{"value":{n}}}"#);
                if socket.send(tungstenite::Message::text(event)).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
            grant(&mut socket, &request);
            serve_out(&mut socket);
        })]);
        let mut program = led_to(&endpoint, &[command, "/a", "-Frecord"]);
        let is_stopped = command == "listen";
        if !is_stopped {
            program.args(["--duration=100ms", "--require-gapless"]);
        }
        let mut child = program.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut records = Vec::new();
        for line in out {
            records.push(serde_json::from_str::<Value>(&line.unwrap()).unwrap());
            if is_stopped && records.last().unwrap()["kind"] == "subscribed" {
                kill(&child, Signal::TERM);
            }
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let gaps = kinds(&records)
            .iter()
            .filter(|kind| **kind == "gap")
            .count();
        let summary = records.last().unwrap();
        assert_eq!(summary["gaps"], gaps);
        if is_stopped {
            assert_eq!(gaps, 1, "{}", stderr(&output));
        } else {
            assert_eq!(summary["events"], count, "{}", stderr(&output));
            assert_eq!(gaps, 0, "{}", stderr(&output));
        }
        service.join().unwrap();
    }
}

#[test]
fn unread_data_at_a_stop_is_printed_and_the_end_after_it_is_a_loss() {
    let (sender, ended) = std::sync::mpsc::channel();
    let (endpoint, service) = play([Box::new(move |tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        let client: i32 = sender_pid(&mut socket);
        let pid = rustix::process::Pid::from_raw(client).unwrap();
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        for n in 0..50 {
            let event = format!(r#"{{"value":{n}}}"#);
            socket.send(tungstenite::Message::text(event)).unwrap();
        }
        tcp.shutdown(std::net::Shutdown::Write).unwrap();
        sender.send(()).unwrap();
        let _ = io::copy(&mut { tcp }, &mut io::sink());
    })]);
    let mut command = led_to(
        &endpoint,
        &["listen", "/a", "-Frecord", "--heartbeat=1s", "-vv"],
    );
    let child = command.spawn().unwrap();
    PID.store(
        child.id().cast_signed(),
        std::sync::atomic::Ordering::SeqCst,
    );
    ended.recv_timeout(Duration::from_secs(60)).unwrap();
    kill(&child, Signal::TERM);
    kill(&child, Signal::CONT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let records = lines(&output);
    let events = records.iter().filter(|record| record["kind"] == "event");
    assert_eq!(events.count(), 50);
    assert_eq!(
        kinds(&records)[52..],
        ["gap", "summary"],
        "{}",
        stderr(&output)
    );
    service.join().unwrap();
}

static PID: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

/// The process id of the client, once it is known and lives: it sends a heartbeat.
fn sender_pid(socket: &mut Socket<'_>) -> i32 {
    assert!(socket.read().unwrap().is_text());
    PID.load(std::sync::atomic::Ordering::SeqCst)
}

#[test]
fn a_reader_that_pauses_is_given_all_of_it_after_a_stop() {
    let (sim, seen) = start(0.0);
    let (mut out, writer) = io::pipe().unwrap();
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE, "-Frecord"]);
    let mut child = program.stdout(writer.try_clone().unwrap()).spawn().unwrap();
    drop(program);
    await_subscription(&seen);
    sim.publish_burst(TEMPERATURE, &vec![json!("x".repeat(1000)); 200]);
    drop(writer);
    until("the pipe is full", || {
        rustix::io::ioctl_fionread(&out).unwrap() > 30_000
    });
    kill(&child, Signal::TERM);
    thread::sleep(Duration::from_millis(500));
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let of_kind = |kind: &str| text.matches(&format!(r#""kind":"{kind}""#)).count();
    assert_eq!((of_kind("event"), of_kind("summary")), (200, 1));
}

#[test]
fn a_reader_that_never_reads_leaves_room_for_the_summary_and_no_more() {
    let (sim, seen) = start(0.0);
    let (mut out, writer) = io::pipe().unwrap();
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE, "-Frecord"]);
    let mut child = program.stdout(writer).spawn().unwrap();
    drop(program);
    await_subscription(&seen);
    // The next line does not fit, and the summary does.
    sim.publish_burst(TEMPERATURE, &vec![json!("x".repeat(5000)); 100]);
    until("the pipe is full", || {
        rustix::io::ioctl_fionread(&out).unwrap() > 50_000
    });
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events = kinds(&records)
        .iter()
        .filter(|kind| **kind == "event")
        .count();
    let summary = records.last().unwrap();
    assert_eq!(summary["kind"], "summary", "{summary}");
    assert_eq!(summary["events"], events);
    let told = io::read_to_string(child.stderr.take().unwrap()).unwrap();
    let left = format!(
        "warning: stopped with unread lines, events: {}\n",
        100 - events
    );
    assert!(told.contains(&left), "{told}");
}

#[test]
fn a_first_transient_refusal_is_retried() {
    let (sim, seen) = start(0.0);
    sim.set_faults(&[Fault::RefuseWith(TEMPERATURE, 503)]);
    let args = ["listen", TEMPERATURE, HUMIDITY, "-C1", "-Frecord"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_seen(&seen, |what| matches!(what, ClientAction::NotGranted(_)));
    await_seen(&seen, |what| {
        *what == ClientAction::Subscribed(HUMIDITY.to_owned())
    });
    sim.set_faults(&[]);
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    let output = child.wait_with_output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let records = lines(&output);
    let refused = records.iter().filter(|record| record["kind"] == "refused");
    assert!(refused.count() >= 1, "{records:?}");
    assert_eq!(
        records
            .iter()
            .filter(|record| record["kind"] == "subscribed")
            .count(),
        2
    );
    assert!(told.contains("; asking again in "), "{told}");

    // Where nothing is tried again, that is final.
    sim.set_faults(&[Fault::RefuseWith(TEMPERATURE, 503)]);
    let args = ["listen", TEMPERATURE, "--no-reconnect"];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn the_time_between_two_runs_into_a_file_of_records_is_a_gap() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = format!("--output={}", file.display());
    for is_first in [true, false] {
        let args = [
            "listen",
            TEMPERATURE,
            "-C1",
            "-Frecord",
            "--require-gapless",
        ];
        let child = octave_ws(&sim, &args).arg(&output).spawn().unwrap();
        await_subscription(&seen);
        sim.publish(TEMPERATURE, &json!(1));
        let output = child.wait_with_output().unwrap();
        // That gap is not of the run.
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let warning = "warning: begun again, events may be missing from ";
        assert_eq!(stderr(&output).contains(warning), !is_first);
    }
    let text = std::fs::read_to_string(file).unwrap();
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let run = ["connected", "subscribed", "event", "summary"];
    let again = ["connected", "subscribed", "gap", "event", "summary"];
    assert_eq!(kinds(&records), [&run[..], &again].concat());
    let gap = &records[6];
    assert_eq!(
        (&gap["from"], &gap["reason"]),
        (&records[3]["at"], &json!("not running"))
    );
    assert_eq!(records[8]["gaps"], 1);
}

/// Reads slowly, but without a pause.
fn read_slowly(mut out: impl Read) -> String {
    let mut text = Vec::new();
    let mut block = [0; 16 << 10];
    while let n @ 1.. = out.read(&mut block).unwrap() {
        text.extend_from_slice(&block[..n]);
        thread::sleep(Duration::from_millis(5));
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_slow_reader_gets_all_events_before_the_end() {
    let events = 40_000;
    let (endpoint, service) = play([Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        for n in 0..events {
            let event = format!(r#"{{"value":{{"n":{n},"pad":"{}"}}}}"#, "x".repeat(100));
            socket.write(tungstenite::Message::text(event)).unwrap();
        }
        socket.flush().unwrap();
        serve_out(&mut socket);
    })]);
    let args = [
        "capture",
        "/a",
        "--duration=300ms",
        "--require-gapless",
        "-Frecord",
    ];
    let mut child = led_to(&endpoint, &args).spawn().unwrap();
    let text = read_slowly(child.stdout.take().unwrap());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(text.matches(r#""kind":"event""#).count(), events);
    service.join().unwrap();
}

#[test]
fn an_event_cut_off_by_the_end_is_a_loss() {
    let (endpoint, service) = play([Box::new(|mut tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        tcp.write_all(&[0x81, 100, b'{']).unwrap();
        assert!(socket.read().unwrap().is_text());
        // It continues after the end, and never ends.
        tcp.write_all(b"1").unwrap();
        let _ = io::copy(&mut tcp, &mut io::sink());
    })]);
    let args = [
        "capture",
        "/a",
        "--duration=300ms",
        "--ping-timeout=1s",
        "-Frecord",
    ];
    let output = led_to(&endpoint, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    let wanted = ["connected", "subscribed", "gap", "summary"];
    assert_eq!(kinds(&lines(&output)), wanted);
    service.join().unwrap();
}

#[test]
fn an_unrequested_stream_is_no_loss() {
    let (sim, _seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "-W3s", "-Frecord"];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    let wanted = ["connected", "subscribed", "summary"];
    assert_eq!(kinds(&lines(&output)), wanted, "{}", stderr(&output));
}

#[test]
fn answers_that_take_a_second_are_waited_for_at_a_stop() {
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        // A link with a long round trip.
        let request = socket.read().unwrap();
        thread::sleep(Duration::from_secs(1));
        grant(&mut socket, &request);
        serve_out(&mut socket);
    })]);
    let mut child = led_to(&endpoint, &["listen", "/a", "-Frecord"])
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("subscribed") {
        assert!(out.read_line(&mut text).unwrap() > 0);
    }
    kill(&child, Signal::TERM);
    out.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        text.contains("summary") && !text.contains("gap\""),
        "{text}"
    );
    service.join().unwrap();
}

#[test]
fn a_service_that_reads_nothing_does_not_outlast_the_deadline_nor_a_stop() {
    for end in ["-W3s", "SIGTERM"] {
        let (sender, opened) = mpsc::channel();
        let (over, held) = mpsc::channel::<()>();
        let (endpoint, service) = play([Box::new(move |tcp: &TcpStream, _: Socket<'_>| {
            set_socket_recv_buffer_size(tcp, 2048).unwrap();
            sender.send(()).unwrap();
            let _ = held.recv();
        })]);
        let streams = (0..2000).map(|n| format!("/{n}/{}", "x".repeat(200)));
        let mut command = led_to(&endpoint, &["listen", "--ack-timeout=1h"]);
        command.args(streams);
        if end != "SIGTERM" {
            command.arg(end);
        }
        let mut child = command.spawn().unwrap();
        if end == "SIGTERM" {
            opened.recv_timeout(LONG).unwrap();
            await_sleep(&child);
            kill(&child, Signal::TERM);
        }
        let wanted = if end == "SIGTERM" { 0 } else { 75 };
        assert_eq!(wait(&mut child, LONG).code(), Some(wanted), "{end}");
        drop(over);
        service.join().unwrap();
    }
}

#[test]
fn a_run_is_idle_whatever_else_comes_without_a_pause() {
    let (endpoint, service) = play([Box::new(|mut tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        let flood = [&[0x81, 20], &br#"{"type":"heartbeat"}"#[..]]
            .concat()
            .repeat(1000);
        while tcp.write_all(&flood).is_ok() {}
    })]);
    let args = ["listen", "/a", "--idle=300ms"];
    let mut child = led_to(&endpoint, &args).spawn().unwrap();
    assert_eq!(wait(&mut child, LONG).code(), Some(0));
    service.join().unwrap();
}

#[test]
fn a_run_that_never_connects_tells_the_time_since_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let before = "{\"at\":\"2026-01-01T00:00:00.000Z\",\"kind\":\"summary\",\"events\":0}\n";
    std::fs::write(&file, before).unwrap();
    let (sim, _seen) = start(0.0);
    let output = format!("--output={}", file.display());
    let args = ["listen", TEMPERATURE, "-Frecord", &output];
    let done = octave_ws(&sim, &args)
        .env("OCTAVE_TOKEN", "wrong")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(77), "{}", stderr(&done));
    let records: Vec<Value> = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(kinds(&records), ["summary", "gap", "summary"]);
    assert_eq!(records[1]["from"], "2026-01-01T00:00:00.000Z");
    assert_eq!(records[2]["gaps"], 1);
}
