//! What `listen` does about a connection that is lost, or does not come about.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::Child;
use std::thread;
use std::time::Duration;

use octave_ws::sim::{ClientAction, Fault, Options};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::memory::led_to;
use super::raw::{Socket, grant, play};
use super::{
    HUMIDITY, TEMPERATURE, await_seen, await_subscription, kill, lines, octave_ws, start,
    start_with, stderr, text, untimed,
};

#[test]
fn it_reconnects_on_its_own_and_prints_on() {
    let (sim, seen) = start(0.0);
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE, "-C3"])
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for n in 0..3 {
        await_subscription(&seen);
        sim.publish(TEMPERATURE, &json!(n));
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert!(line.contains(&format!(r#""elems":{n},"#)), "{line}");
        sim.close_all(1001);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let peer = sim.addr();
    let told = stderr(&output);
    let lost = format!("warning: socket: {peer} closed with 1001; trying again in ");
    assert_eq!(told.matches(&lost).count(), 2, "{told}");
    let again = "warning: connected again, events may be missing from ";
    assert_eq!(told.matches(again).count(), 2, "{told}");
}

#[test]
fn no_reconnect_ends_it_with_69_at_the_first_loss() {
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "--no-reconnect", "-Frecord"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    sim.close_all(1011);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let records = lines(&output);
    let kinds: Vec<_> = records.iter().map(|record| &record["kind"]).collect();
    let wanted = ["connected", "subscribed", "lost", "gap", "summary"];
    assert_eq!(kinds, wanted);
    assert_eq!(records[2]["from"], records[3]["from"]);
    let last = stderr(&output).lines().last().unwrap();
    assert_eq!(
        last,
        format!("error: socket: {} closed with 1011", sim.addr())
    );
}

#[test]
fn retry_for_gives_up_with_69_without_a_connection_for_so_long() {
    let (sim, _seen) = start_with(Options {
        faults: vec![Fault::SessionAnswer(503, "later")],
        ..Options::default()
    });
    let args = ["listen", TEMPERATURE, "--retry-for=500ms"];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let peer = sim.addr();
    let lines: Vec<&str> = stderr(&output).lines().collect();
    let (last, tries) = lines.split_last().unwrap();
    assert_eq!(
        *last,
        format!("error: session: HTTP 503 from {peer}: later (try again later)")
    );
    assert!(!tries.is_empty());
    for (n, line) in (1..).zip(tries) {
        let times = if n > 1 {
            format!(" ({n} times)")
        } else {
            String::new()
        };
        let failure = format!("warning: session: HTTP 503 from {peer}: later{times}");
        assert!(
            untimed(line).starts_with(&format!("{failure}; trying again in ")),
            "{line}"
        );
    }
}

#[test]
fn require_any_continues_without_refused_streams() {
    let (sim, seen) = start(0.0);
    let run = |args: &[&str]| -> Child {
        let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "/demo/none", "-C1"]);
        command.args(args).spawn().unwrap()
    };
    let child = run(&["--require", "any"]);
    // The second one is asked for after the first.
    let refused = |what: &ClientAction| matches!(what, ClientAction::NotGranted(_));
    seen.iter().find(|seen| refused(&seen.action)).unwrap();
    sim.publish(TEMPERATURE, &json!(1));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    let peer = sim.addr();
    let refused = format!("subscribe: {peer} refused /demo/none: no stream /demo/none");
    assert!(stderr(&output).contains(&format!("warning: {refused}\n")));

    let output = run(&["--require=all"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    assert!(stderr(&output).contains(&format!("error: {refused} (check the name")));

    let args = ["listen", "/demo/none", "/demo/neither", "--require=any"];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(77));
}

#[test]
fn a_later_permanent_refusal_leaves_the_others() {
    let (sim, seen) = start(0.0);
    for (require, code) in [("any", 0), ("all", 77)] {
        sim.set_faults(&[]);
        let args = ["listen", TEMPERATURE, HUMIDITY, "-C1", "-Frecord"];
        let mut command = octave_ws(&sim, &args);
        let child = command.args(["--require", require]).spawn().unwrap();
        await_subscription(&seen);
        await_subscription(&seen);
        sim.set_faults(&[Fault::RefuseWith(HUMIDITY, 404)]);
        sim.close_all(1012);
        // They are asked for together, in any order.
        let mut answered = 0;
        await_seen(&seen, |what| {
            answered += usize::from(matches!(
                what,
                ClientAction::Subscribed(_) | ClientAction::NotGranted(_)
            ));
            answered == 2
        });
        sim.publish(TEMPERATURE, &json!(1));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let records = super::lines(&output);
        let of_kind = |kind: &str| records.iter().filter(|line| line["kind"] == kind).count();
        if code == 0 {
            assert_eq!(of_kind("event"), 1, "{records:?}");
        }
        // The gap is reported at any end.
        assert_eq!(of_kind("gap"), 1, "{records:?}");
        let refused = json!({"kind": "refused", "stream": HUMIDITY});
        let is_refused =
            |line: &&Value| line["kind"] == refused["kind"] && line["stream"] == refused["stream"];
        assert_eq!(records.iter().filter(is_refused).count(), 1, "{records:?}");
    }
}

#[test]
fn a_stream_whose_ack_is_late_is_asked_for_on_a_new_connection() {
    let (sim, seen) = start_with(Options {
        faults: vec![Fault::AckSilent],
        ..Options::default()
    });
    let args = ["listen", HUMIDITY, "-C1", "--ack-timeout=100ms"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    seen.iter()
        .find(|seen| seen.action == ClientAction::Ignored)
        .unwrap();
    sim.set_faults(&[]);
    await_subscription(&seen);
    sim.publish(HUMIDITY, &json!(1));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let peer = sim.addr();
    let late =
        format!("warning: subscribe: {peer} did not answer in time to subscribe {HUMIDITY};");
    assert!(stderr(&output).contains(&late), "{}", stderr(&output));
}

#[test]
fn the_end_of_a_run_cuts_an_attempt_short() {
    // By then another one has begun, and is not answered.
    for (option, code) in [("--duration=2s", 0), ("--timeout=5s", 75)] {
        let (sim, seen) = start(0.0);
        // By itself it would wait for an hour.
        let args = ["listen", TEMPERATURE, "--connect-timeout=1h", option];
        let child = octave_ws(&sim, &args).spawn().unwrap();
        await_subscription(&seen);
        sim.set_faults(&[Fault::SessionSilent]);
        sim.drop_all();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    }
}

#[test]
fn a_run_is_idle_since_the_last_event() {
    let (sim, _seen) = start(4.0);
    let args = ["capture", TEMPERATURE, "--idle=2s", "-C12"];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // They take longer than it may be idle.
    assert_eq!(super::lines(&output).len(), 12);
}

/// What a run leaves that loses its connection for good: how it ends, the records of it, and what
/// is said.
fn lost(args: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let (sim, seen) = start(0.0);
    let args = [args, &[TEMPERATURE, "-Frecord"]].concat();
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    drop(sim);
    let output = child.wait_with_output().unwrap();
    let records = super::lines(&output);
    (output.status.code(), records, stderr(&output).to_owned())
}

#[test]
fn a_loss_at_the_end_is_reported_at_any_end() {
    let runs = [
        (&["listen", "--duration=2s"][..], 0),
        (&["listen", "--no-reconnect"], 69),
        (&["listen", "-W6s"], 75),
        (&["listen", "--duration=2s", "--require-gapless"], 75),
        // What is missing may be the very events that it was for.
        (&["capture", "--duration=2s"], 75),
        // Without a connection nothing is quiet.
        (&["capture", "--idle=1s", "-W6s"], 75),
        (&["listen", "--idle=1s", "-W6s"], 75),
        (&["listen", "-q", "--duration=2s"], 0),
    ];
    let each = |(args, code): (&[&str], i32)| {
        let (end, records, told) = lost(args);
        assert_eq!(end, Some(code), "{args:?}: {told}");
        let [.., before, gap, summary] = &records[..] else {
            panic!("{records:?}")
        };
        if !args.contains(&"--no-reconnect") {
            assert_eq!(
                (&before["kind"], &before["from"]),
                (&json!("lost"), &gap["from"])
            );
        }
        assert_eq!(gap["kind"], "gap");
        assert_eq!(
            (&summary["gaps"], &summary["exit"]),
            (&json!(1), &json!(code))
        );
        let from = gap["from"].as_str().unwrap();
        let warning =
            format!("warning: not connected at the end, events may be missing from {from} to ");
        assert_eq!(told.matches(&warning).count(), 1, "{told}");
        let gapless = "error: gaps: events may be missing, gaps: 1 (see --require-gapless)\n";
        let is_required = args.contains(&"--require-gapless");
        assert_eq!(told.ends_with(gapless), is_required, "{told}");
    };
    thread::scope(|scope| {
        for run in runs {
            scope.spawn(move || each(run));
        }
    });
}

#[test]
fn a_gap_is_allowed_unless_gapless_is_required() {
    for (option, code) in [("--require=all", 0), ("--require-gapless", 75)] {
        let (sim, seen) = start(0.0);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.jsonl");
        let output = format!("-o{}", file.display());
        let args = ["capture", TEMPERATURE, "-qC2", option, &output];
        let child = octave_ws(&sim, &args).spawn().unwrap();
        for n in 0..2 {
            await_subscription(&seen);
            sim.publish(TEMPERATURE, &json!(n));
            sim.close_all(1012);
        }
        let output = child.wait_with_output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        // Said with -q, too.
        let warning = "warning: connected again, events may be missing from ";
        assert_eq!(told.matches(warning).count(), 1, "{told}");
        let whole = if code == 0 {
            file
        } else {
            folder.path().join("events.jsonl.part")
        };
        let text = std::fs::read_to_string(whole).unwrap();
        assert_eq!(text.lines().count(), 2);
    }
}

#[test]
fn a_run_without_a_gap_is_gapless() {
    let (sim, _seen) = start(100.0);
    let args = ["capture", TEMPERATURE, "-C2", "--require-gapless"];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_connection_without_all_subscriptions_at_the_end_is_incomplete() {
    let (sim, seen) = start(0.0);
    let args = ["capture", TEMPERATURE, "--duration=2s", "--ack-timeout=1h"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    sim.set_faults(&[Fault::AckSilent]);
    sim.close_all(1012);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
}

#[test]
fn it_is_not_subscribed_before_each_stream_is() {
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let first = socket.read().unwrap();
        grant(&mut socket, &first);
        // To the others there is no answer.
        while socket.read().is_ok() {}
    })]);
    let args = [
        "listen",
        "/a",
        "/b",
        "--duration=200ms",
        "-W2s",
        "--ack-timeout=1h",
    ];
    let output = led_to(&endpoint, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    service.join().unwrap();
}

#[test]
fn events_before_a_loss_are_printed_before_it() {
    let (sim, seen) = start(0.0);
    let (mut both, writer) = std::io::pipe().unwrap();
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE, "--duration=4s"]);
    program.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = program.spawn().unwrap();
    drop(program);
    await_subscription(&seen);
    sim.publish_burst(TEMPERATURE, &vec![json!(1); 20]);
    sim.close_all(1012);
    let mut text = String::new();
    both.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (before, _) = text.split_once("warning: ").unwrap();
    assert_eq!(before.matches("\"elems\":1,").count(), 20, "{text}");
}

#[test]
fn time_without_a_connection_is_not_idle() {
    let (sim, seen) = start(0.0);
    let args = ["capture", TEMPERATURE, "--idle=3s"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    sim.set_faults(&[Fault::SessionAnswer(503, "later")]);
    sim.drop_all();
    // For longer than it may be idle.
    thread::sleep(Duration::from_millis(3500));
    sim.set_faults(&[]);
    await_subscription(&seen);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(sim.publish(TEMPERATURE, &json!(1)), 1);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(super::lines(&output).len(), 1);
}

#[test]
fn each_connection_is_a_record_though_nothing_was_subscribed_on_it() {
    let (sim, seen) = start_with(Options::default().faults([Fault::AckSilent]));
    let args = ["listen", TEMPERATURE, "-Frecord", "-q", "--count=1"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_seen(&seen, |what| *what == ClientAction::Ignored);
    sim.set_faults(&[]);
    sim.close_all(1012);
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let kinds: Vec<_> = lines(&output)
        .iter()
        .map(|line| line["kind"].clone())
        .collect();
    let wanted = ["connected", "connected", "subscribed", "event", "summary"];
    assert_eq!(kinds, wanted);
}

#[test]
fn the_ca_file_is_read_again_for_each_connection() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let write = |pem: &str| std::fs::write(&file, pem).unwrap();
    write(sim.ca_pem());
    let mut command = octave_ws(&sim, &["listen", TEMPERATURE]);
    let mut child = command.env("OCTAVE_CA_FILE", &file).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut until_told = |what: &str| {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "{what}");
        }
    };
    await_subscription(&seen);
    // What will not do is not taken.
    write("no certificate");
    sim.drop_all();
    until_told("; using the previous CA certificates");
    await_subscription(&seen);
    let key = rcgen::KeyPair::generate().unwrap();
    let other = rcgen::CertificateParams::new(["other".to_owned()]).unwrap();
    write(&other.self_signed(&key).unwrap().pem());
    sim.drop_all();
    until_told("warning: tls: ");
    write(sim.ca_pem());
    await_subscription(&seen);
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Reads records up to the first of a kind, which is the last.
fn records_to(kind: &str, child: &mut Child) -> Vec<Value> {
    let mut records: Vec<Value> = Vec::new();
    for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
        records.push(serde_json::from_str(&line.unwrap()).unwrap());
        if records.last().unwrap()["kind"] == kind {
            return records;
        }
    }
    panic!("no {kind} in {records:?}");
}

/// Asserts that each event has come once, in order and without one missing, of a stand-in with a rate.
fn assert_complete(records: &[Value]) {
    let events = records.iter().filter(|record| record["kind"] == "event");
    let numbers: Vec<u64> = events
        .map(|record| record["event"]["elems"]["n"].as_u64().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|of| of[1] == of[0] + 1),
        "{numbers:?}"
    );
}

#[test]
fn a_path_that_stops_for_a_while_is_handed_over() {
    let options = Options::default().faults([Fault::Freeze(Duration::from_secs(3))]);
    let (sim, seen) = start_with(options);
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE, "-Frecord", "-v"])
        .args([
            "--ping-interval=1s",
            "--ping-timeout=1s",
            "--connect-timeout=1s",
        ])
        .spawn()
        .unwrap();
    await_subscription(&seen);
    let publisher = thread::spawn(move || {
        for n in 0_u64.. {
            // Until the test is over.
            if sim.publish(TEMPERATURE, &json!({ "n": n })) == 0 && n > 600 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    let records = records_to("handover", &mut child);
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    publisher.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_complete(&records);
    let told = stderr(&output);
    assert!(told.contains("no response to ping"), "{told}");
    assert!(
        told.contains("handed over, events from the old connection: "),
        "{told}"
    );
    let late = records.last().unwrap()["events"].as_u64().unwrap();
    assert!(late >= 10, "{late}");
    let kinds = |kind| {
        records
            .iter()
            .filter(|record| record["kind"] == kind)
            .count()
    };
    assert_eq!((kinds("connected"), kinds("subscribed")), (2, 2));
    assert_eq!((kinds("lost"), kinds("gap")), (0, 0));
}

#[test]
#[ignore = "takes a minute"]
fn a_lifetime_of_connections_is_learned() {
    let lifetime = Fault::Lifetime(Duration::from_secs(15));
    let (sim, _seen) = start_with(Options::default().rate(10.0).faults([lifetime]));
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE, "-Frecord"])
        .spawn()
        .unwrap();
    let mut records = records_to("handover", &mut child);
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let peer = sim.addr();
    let learned = format!(
        "warning: {peer} ends each connection after 15s; from now on, each is replaced after 12s \
         (see --renew)"
    );
    assert!(stderr(&output).contains(&learned), "{}", stderr(&output));
    let gaps: Vec<usize> = (0..records.len())
        .filter(|&n| records[n]["kind"] == "gap")
        .collect();
    assert_eq!(gaps.len(), 3);
    let after = records.split_off(gaps[2]);
    let dates: Vec<u64> = after
        .iter()
        .filter_map(|record| record["event"]["creationDate"].as_u64())
        .collect();
    assert!(dates.len() > 80 && dates.windows(2).all(|of| of[0] < of[1]));
}
