//! The doctor, stage by stage.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use octave_ws::sim::{Fault, Sim};
use rustix::process::Signal;
use serde_json::{Value, json};
use tungstenite::Message;

use super::memory::led_to;
use super::raw::{Socket, grant, play, serve_out};
use super::{
    TEMPERATURE, kill, lines, octave_ws, set_columns, shown, start, stderr, terminal, text,
};

/// What it says of each stage.
fn examine(command: &mut Command) -> (Output, Vec<Value>) {
    let output = command.arg("--json").output().unwrap();
    let stages = lines(&output);
    (output, stages)
}

fn names(stages: &[Value]) -> Vec<&str> {
    stages
        .iter()
        .map(|stage| stage["stage"].as_str().unwrap())
        .collect()
}

#[test]
fn all_stages_pass_with_their_findings() {
    let (sim, _seen) = start(20.0);
    let port = sim.addr().port();
    let endpoint = format!("--endpoint=https://localhost:{port}");
    let (output, stages) = examine(&mut octave_ws(&sim, &["doctor", TEMPERATURE, &endpoint]));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let way = [
        "config",
        "clock",
        "dns",
        "tcp",
        "tls",
        "session",
        "upgrade",
        "subscribe",
        "ping",
        "event",
        "history",
    ];
    assert_eq!(names(&stages), way);
    assert!(
        stages
            .iter()
            .all(|stage| stage["ok"] == true && stage["ms"].is_number())
    );
    assert_eq!(stages[2]["host"], "localhost");
    let addresses = stages[2]["addresses"].as_array().unwrap();
    assert!(addresses.contains(&json!("127.0.0.1")), "{addresses:?}");
    assert_eq!(stages[3]["address"], json!(format!("127.0.0.1:{port}")));
    assert_eq!(stages[4]["version"], "1.3");
    assert_eq!(stages[4]["names"], json!(["localhost", "127.0.0.1", "::1"]));
    assert!(stages[4]["not_before"].as_str() < stages[4]["not_after"].as_str());
    assert_eq!(stages[5]["is_kept"], true);
    let cost = &stages[8]["cost"];
    // 180 pings and pongs.
    assert_eq!(
        (&cost["silent_hour"], &cost["event_overhead"]),
        (&json!(37_440), &json!(130))
    );
    let reconnection = cost["reconnection"].as_u64().unwrap();
    assert!((2_500..3_500).contains(&reconnection), "{reconnection}");
    assert_eq!(stages[9]["stream"], TEMPERATURE);
    assert!(!text(&output.stdout).contains(sim.token()));
}

#[test]
fn a_silent_hour_without_pings_costs_nothing() {
    let (sim, _seen) = start(0.0);
    let args = ["doctor", "--ping-timeout", "0s"];
    let (_, stages) = examine(&mut octave_ws(&sim, &args));
    let args = ["doctor", "--ping-timeout", "10000000000000000000s"];
    let long = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(long.status.code(), Some(0), "{}", stderr(&long));
    let mut costs = stages.iter().filter_map(|stage| stage.get("cost"));
    assert_eq!(costs.next().unwrap()["silent_hour"], json!(0));
}

#[test]
fn it_is_not_folded_for_a_program_and_does_without_a_stream() {
    let (sim, _seen) = start(0.0);
    let output = octave_ws(&sim, &["doctor"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // A line for each stage, for a program.
    let told = text(&output.stdout);
    assert!(told.lines().all(|line| !line.starts_with(' ')), "{told}");
    let mark = |stage: &str| {
        let line = told
            .lines()
            .find(|line| line.contains(&format!(" {stage} ")));
        line.unwrap().split(' ').next().unwrap()
    };
    assert_eq!(
        (mark("config"), mark("ping"), mark("subscribe")),
        ("ok", "ok", "--")
    );
    assert!(!told.contains(" event "));
}

#[test]
fn a_stream_without_an_event_is_no_failure() {
    let (sim, _seen) = start(0.0);
    let (output, stages) = examine(&mut octave_ws(&sim, &["doctor", TEMPERATURE]));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let last = &stages[stages.len() - 2];
    let expected = (&json!("event"), &json!(true), &json!("none within 3s"));
    assert_eq!((&last["stage"], &last["ok"], &last["left_out"]), expected);
}

#[test]
fn the_history_is_examined_and_is_no_failure() {
    for (fault, obeyed, left_out) in [
        (None, json!(true), None),
        (Some("history-descending"), json!(false), None),
        (
            Some("history-403"),
            Value::Null,
            Some("history: HTTP 403 from "),
        ),
    ] {
        let (sim, _seen) = start(20.0);
        for n in 0..5 {
            // Each in a millisecond of its own.
            sim.publish(TEMPERATURE, &json!({ "n": n }));
            thread::sleep(std::time::Duration::from_millis(2));
        }
        let faults: Vec<Fault> = fault
            .map(|fault| fault.parse().unwrap())
            .into_iter()
            .collect();
        sim.set_faults(&faults);
        let (output, stages) = examine(&mut octave_ws(&sim, &["doctor", TEMPERATURE]));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let last = stages.last().unwrap();
        assert_eq!(last["is_obeyed"], obeyed, "{last}");
        match left_out {
            None => assert!(last["newest"].as_str().unwrap().ends_with('Z')),
            Some(why) => assert!(
                last["left_out"].as_str().unwrap().starts_with(why),
                "{last}"
            ),
        }
    }
}

/// The last stage, the exit code and the advice.
fn failure(command: &mut Command) -> (String, i32, Value) {
    let (output, stages) = examine(command);
    let code = output.status.code().unwrap();
    let (last, passed) = stages.split_last().unwrap();
    assert!(passed.iter().all(|stage| stage["ok"] == true));
    assert_eq!(
        (&last["ok"], &last["exit"]),
        (&json!(false), &json!(code)),
        "{last}"
    );
    let told = stderr(&output);
    let message = last["message"].as_str().unwrap();
    assert!(told.starts_with(&format!("error: {message}")), "{told}");
    assert_eq!(told.lines().count(), 1);
    (
        names(&stages).pop().unwrap().to_owned(),
        code,
        last["advice"].clone(),
    )
}

#[test]
fn the_first_stage_that_fails_is_the_last_and_says_what_to_do() {
    let sim = |faults: &[Fault]| {
        let sim = Sim::start().unwrap();
        sim.set_faults(faults);
        sim
    };
    let well = sim(&[]);
    let doctor = |options: &[&str]| octave_ws(&well, &[&["doctor"], options].concat());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("--endpoint=https://{}", listener.local_addr().unwrap());
    drop(listener);
    let proxy = format!(
        "--proxy={}",
        closed.trim_start_matches("--endpoint=https://")
    );
    let network = json!("check the endpoint and the network");
    let later = json!("try again later");
    let faulty = |fault: Fault, options: &[&str]| {
        let sim = sim(&[fault]);
        failure(&mut octave_ws(
            &sim,
            &[&["doctor", TEMPERATURE], options].concat(),
        ))
    };
    let hasty = ["--ping-interval=200ms", "--ping-timeout=200ms"];
    for (found, stage, code, advice) in [
        (
            failure(doctor(&[]).env_remove("OCTAVE_TOKEN")),
            "config",
            78,
            json!("see --token-file"),
        ),
        (
            failure(&mut doctor(&["--endpoint=https://h:0"])),
            "config",
            78,
            json!("set by --endpoint"),
        ),
        (
            failure(&mut doctor(&["--endpoint=https://none.invalid"])),
            "dns",
            69,
            network.clone(),
        ),
        (failure(&mut doctor(&[&closed])), "tcp", 69, network),
        (
            failure(&mut doctor(&[&proxy])),
            "tcp",
            69,
            json!("check the network and the proxy, set by --proxy"),
        ),
        (
            failure(doctor(&[]).env_remove("OCTAVE_CA_FILE")),
            "tls",
            69,
            json!("check the endpoint, --ca-file and the clock"),
        ),
        (
            failure(doctor(&[]).env("OCTAVE_TOKEN", "wrong")),
            "session",
            77,
            json!(
                "check OCTAVE_USER, OCTAVE_COMPANY and the token: user \"demo_user\", company \
                 \"demo\", token from OCTAVE_TOKEN"
            ),
        ),
        (
            faulty(Fault::SessionAnswer(503, ""), &[]),
            "session",
            69,
            later.clone(),
        ),
        (
            faulty(Fault::Expire, &[]),
            "upgrade",
            69,
            json!("check the endpoint, and that proxies on the way allow WebSockets"),
        ),
        (
            faulty(Fault::AckSilent, &["--ack-timeout=200ms"]),
            "subscribe",
            76,
            later.clone(),
        ),
        (faulty(Fault::Stall, &hasty), "ping", 69, later),
    ] {
        assert_eq!(found, (stage.to_owned(), code, advice));
    }
}

#[test]
fn a_refused_stream_does_not_end_it() {
    let (sim, _seen) = start(20.0);
    let none = json!("no stream /demo/none");
    for (streams, left) in [
        (&["/demo/none", TEMPERATURE][..], "history"),
        (&["/demo/none", "/demo/neither"], "ping"),
    ] {
        let (output, stages) = examine(&mut octave_ws(&sim, &[&["doctor"], streams].concat()));
        assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
        assert_eq!(names(&stages).pop(), Some(left));
        assert_eq!(stages.last().unwrap()["ok"], true);
        let refused = |stage: &&Value| stage["stage"] == "subscribe" && stage["ok"] == false;
        let refused: Vec<&Value> = stages.iter().filter(refused).collect();
        let is_granted = streams.contains(&TEMPERATURE);
        assert_eq!(refused.len(), if is_granted { 1 } else { 2 });
        assert_eq!(refused[0]["exit"], 77);
        let advice = "check the name of the stream, and what the user may read";
        assert_eq!(refused[0]["advice"], advice);
        let message = refused[0]["message"].as_str().unwrap();
        assert!(message.ends_with(none.as_str().unwrap()), "{message}");
        assert_eq!(stderr(&output), format!("error: {message} ({advice})\n"));
    }
}

#[test]
fn on_a_terminal_it_says_its_failure_once_and_fits() {
    let sim = Sim::start().unwrap();
    for columns in [40, 80, 132] {
        let (terminal, mut screen) = terminal();
        set_columns(&terminal, columns);
        let mut command = octave_ws(&sim, &["doctor", "--proxy=http://u:hunter2@127.0.0.1:1"]);
        command
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal);
        let mut child = command.spawn().unwrap();
        drop(command);
        let shown = shown(&mut screen).replace('\r', "");
        assert_eq!(child.wait().unwrap().code(), Some(69));
        let widest = shown.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns.into()), "{shown}");
        assert!(widest > Some(usize::from(columns) - 20), "{shown}");
        let words: Vec<&str> = shown.split_whitespace().collect();
        let words = words.join(" ");
        assert_eq!(
            words.matches("no connection to the proxy").count(),
            1,
            "{words}"
        );
        let config = words.split(" clock ").next().unwrap();
        assert!(config.contains("proxy 127.0.0.1:1 (--proxy)"), "{config}");
        assert!(!words.contains("hunter2"));
    }
}

#[test]
fn a_stop_ends_doctor_and_a_full_output_is_reported() {
    let sim = Sim::start().unwrap();
    sim.set_faults(&[Fault::SessionSilent]);
    let mut command = octave_ws(&sim, &["doctor"]);
    let mut child = command.spawn().unwrap();
    let mut stages = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(" tls ") {
        line.clear();
        std::io::BufRead::read_line(&mut stages, &mut line).unwrap();
    }
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(75));

    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = octave_ws(&sim, &["doctor", "--endpoint=https://h:0"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
}

#[test]
fn events_without_a_pause_do_not_keep_it_from_its_end() {
    let (endpoint, service) = play([Box::new(|mut tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        // Its pings are not answered.
        let reader = tcp.try_clone().unwrap();
        let reader = thread::spawn(move || io::copy(&mut &reader, &mut io::sink()));
        let event = br#"{"value":1}"#;
        let flood = [&[0x81, 11], &event[..]].concat().repeat(1000);
        while tcp.write_all(&flood).is_ok() {}
        let _ = reader.join().unwrap();
    })]);
    let args = ["doctor", "/a", "--ping-timeout=2s"];
    let output = led_to(&endpoint, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let told = stderr(&output);
    assert!(
        told.contains("no pong from ") && told.contains(" in 2s"),
        "{told}"
    );
    service.join().unwrap();
}

#[test]
fn an_event_that_comes_before_the_pong_is_one() {
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        // The ping is not read before.
        socket.send(Message::text(r#"{"value":1}"#)).unwrap();
        serve_out(&mut socket);
    })]);
    let (output, stages) = examine(&mut led_to(&endpoint, &["doctor", "/a"]));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let event = stages.iter().find(|stage| stage["stage"] == "event");
    assert_eq!(event.unwrap()["bytes"], 11, "{stages:?}");
    service.join().unwrap();
}
