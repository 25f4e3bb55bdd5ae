//! What lines of output hold.

use serde_json::{Value, json};

use super::{
    HUMIDITY, TEMPERATURE, await_subscription, lines, octave_ws, shown, start, stderr, terminal,
    text,
};

/// The kinds of records, and all of them without their time, which is checked.
fn records(output: &std::process::Output) -> Vec<Value> {
    let records = lines(output).into_iter().map(|mut record| {
        let at = record.as_object_mut().unwrap().remove("at").unwrap();
        let at = at.as_str().unwrap();
        assert!(at.len() == 24 && at.ends_with('Z'), "{at}");
        humantime::parse_rfc3339(at).unwrap();
        record
    });
    records.collect()
}

#[test]
fn records_tell_the_runs_own_story() {
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "-C2", "-F", "record"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    let first = r#"{"type":"message", "resource":"s\"1","value":{"elems":1e400}}"#;
    sim.send(first);
    sim.close_all(1012);
    await_subscription(&seen);
    let second = r#"{"type":"message","value":{"elems":2}}"#;
    sim.send(second);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let peer = sim.addr();
    // The number is one that no `Value` holds.
    assert!(text(&output.stdout).contains(r#","event":{"elems":1e400}}"#));
    let told = text(&output.stdout).replace("1e400", "1");
    let output = std::process::Output {
        stdout: told.into_bytes(),
        ..output
    };
    let mut records = records(&output);
    let lost = records.remove(3);
    let gap = records.remove(5);
    assert_eq!(
        (&lost["kind"], &gap["kind"]),
        (&json!("lost"), &json!("gap"))
    );
    assert_eq!(
        (&lost["from"], &lost["reason"]),
        (&gap["from"], &gap["reason"])
    );
    assert_eq!(gap["reason"], format!("socket: {peer} closed with 1012"));
    let date = |name: &str| humantime::parse_rfc3339(gap[name].as_str().unwrap()).unwrap();
    assert!(date("from") <= date("to"));
    let bytes = first.len() + second.len();
    let summary = records.last_mut().unwrap().as_object_mut().unwrap();
    let mut traffic = |name: &str| summary.remove(name).unwrap().as_u64().unwrap();
    for (name, count) in [
        ("connections", 2),
        ("full_handshakes", 1),
        ("resumed_handshakes", 1),
    ] {
        assert_eq!(traffic(name), count, "{name}");
    }
    for (name, most) in [("received", 4_000), ("sent", 4_000)] {
        let count = traffic(name);
        assert!((1_000..most).contains(&count), "{name}: {count}");
    }
    let wanted = [
        json!({"kind": "connected", "peer": peer.to_string()}),
        json!({"kind": "subscribed", "stream": TEMPERATURE}),
        json!({"kind": "event", "resource": "s\"1", "event": {"elems": 1}}),
        json!({"kind": "connected", "peer": peer.to_string()}),
        json!({"kind": "subscribed", "stream": TEMPERATURE}),
        json!({"kind": "event", "resource": null, "event": {"elems": 2}}),
        json!({"kind": "summary", "events": 2, "gaps": 1, "bytes": bytes, "exit": 0}),
    ];
    assert_eq!(records, wanted);
}

#[test]
fn a_refused_stream_is_a_record() {
    for (require, code) in [("--require=any", 0), ("--require=all", 77)] {
        let (sim, _seen) = start(0.0);
        let args = ["listen", TEMPERATURE, "/demo/none", "-Frecord", require];
        let mut command = octave_ws(&sim, &args);
        let output = command.arg("--duration=100ms").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let refused = json!({"kind": "refused", "stream": "/demo/none"});
        let records = records(&output);
        let found = records.iter().filter(|record| **record == refused);
        assert_eq!(found.count(), 1, "{records:?}");
    }
}

#[test]
fn the_summary_has_the_exit_code_whatever_the_end() {
    for (args, code) in [
        (&["listen", "/demo/none"][..], 77),
        (&["listen", TEMPERATURE, "-W500ms"], 75),
        (&["listen", TEMPERATURE, "--duration=10ms"], 0),
        (&["listen", TEMPERATURE, "--ca-file=/dev/null"], 78),
        (
            &[
                "listen",
                TEMPERATURE,
                "--endpoint=https://127.0.0.1:1",
                "--no-reconnect",
            ],
            69,
        ),
    ] {
        let (sim, _seen) = start(0.0);
        let mut command = octave_ws(&sim, args);
        let output = command.args(["-F", "record"]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let records = records(&output);
        let last = records.last().unwrap();
        assert_eq!(
            (&last["kind"], &last["exit"]),
            (&json!("summary"), &json!(code))
        );
    }
}

#[test]
fn text_is_aligned_and_what_steers_a_terminal_is_escaped() {
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, HUMIDITY, "-C4", "-Ftext"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!({ "t": 21.5 }));
    sim.publish(HUMIDITY, &json!("\u{9b}31m\u{202e}"));
    sim.send("{\"value\":{\"path\":\"/\\u001b[2J\",\n\"elems\":{\n\"a\":\"\u{7f}\"}}}");
    sim.send(r#"{"resource":"s1","value":null}"#);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    let rests: Vec<&str> = lines.iter().map(|line| &line[15..]).collect();
    assert_eq!(
        rests,
        [
            "/demo/devices/gw1/temperature  {\"t\":21.5}",
            "/demo/devices/gw1/humidity     \"\\u{9b}31m\\u{202e}\"",
            "/\\u{1b}[2J                     {\"a\":\"\\u{7f}\"}",
            "s1                             null",
        ]
    );
    for line in lines {
        let (time, _) = line.split_at(15);
        let time = format!("2026-01-01T{}", time.trim_end());
        humantime::parse_rfc3339(&time).unwrap();
    }
}

/// What the program, run on a terminal, shows there.
#[test]
fn an_events_own_time_is_shown_where_it_is_another_one() {
    let (sim, seen) = start(0.0);
    for (args, own, zone) in [
        (&[][..], " [2020-04-20T13:01:17Z] ", "Z"),
        (&["--local-time"], " [2020-04-20T16:31:17+03:30] ", "+03:30"),
    ] {
        let args = [&["listen", TEMPERATURE, "-C3", "-Ftext"], args].concat();
        let child = octave_ws(&sim, &args)
            .env("TZ", "XXX-3:30")
            .spawn()
            .unwrap();
        await_subscription(&seen);
        // Of long ago, of now, and of no date.
        sim.send(r#"{"value":{"path":"/a","creationDate":1587387677625,"elems":1}}"#);
        sim.publish(TEMPERATURE, &json!(2));
        sim.send(r#"{"value":{"path":"/a","generatedDate":253402300800000,"elems":3}}"#);
        let output = child.wait_with_output().unwrap();
        let lines: Vec<&str> = text(&output.stdout).lines().collect();
        for (line, shown) in lines.iter().zip([Some(own), None, None]) {
            let (time, rest) = line.split_once("  ").unwrap();
            assert!(time.ends_with(zone), "{line}");
            match shown {
                Some(own) => assert!(rest.contains(own), "{line}"),
                None => assert!(!rest.contains('['), "{line}"),
            }
        }
    }
    let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "--local-time"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("--local-time is for --format text"));
}

fn on_a_terminal(args: &[&str], variables: &[(&str, &str)]) -> String {
    let (sim, _seen) = start(100.0);
    let (terminal, mut screen) = terminal();
    let mut program = octave_ws(&sim, args);
    program.envs(variables.iter().copied()).stdout(terminal);
    let mut child = program.spawn().unwrap();
    drop(program);
    let shown = shown(&mut screen);
    assert!(child.wait().unwrap().success(), "{shown}");
    shown
}

#[test]
fn a_terminal_gets_colour_unless_disabled() {
    let args = ["-q", "listen", TEMPERATURE, "-C1"];
    let coloured = on_a_terminal(&args, &[("TERM", "xterm")]);
    let path = format!("Z\x1b[0m  \x1b[36m{TEMPERATURE}\x1b[0m  {{\"temperature\":");
    assert!(coloured.contains(&path), "{coloured:?}");
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_a_terminal(&args, &[variable]);
        assert!(
            plain.contains(&format!("Z  {TEMPERATURE}  {{")),
            "{plain:?}"
        );
    }
    let json = on_a_terminal(&[&args[..], &["-Fevent"]].concat(), &[]);
    assert!(json.starts_with('{'), "{json:?}");
}
