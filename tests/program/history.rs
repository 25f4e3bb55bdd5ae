//! `history`: past events, by the REST API.

use std::fs;

use octave_ws::sim::{Fault, HistoryFault, Sim};
use rustix::process::Signal;
use serde_json::json;

use super::{ClientAction, await_seen, kill, lines, octave_ws, start, stderr, text};

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";

fn publish(sim: &Sim, numbers: impl IntoIterator<Item = u32>) {
    let elems: Vec<_> = numbers.into_iter().map(|n| json!({ "n": n })).collect();
    sim.publish_burst(TEMPERATURE, &elems);
}

/// The exit code, the `n` of each event, and standard error.
fn run(sim: &Sim, args: &[&str]) -> (Option<i32>, Vec<i64>, String) {
    let args = [&["history", "-q"], args].concat();
    let output = octave_ws(sim, &args).output().unwrap();
    let events = lines(&output);
    let numbers = events
        .iter()
        .filter_map(|event| event["elems"]["n"].as_i64());
    let told = stderr(&output).to_owned();
    (output.status.code(), numbers.collect(), told)
}

fn of_history(fault: HistoryFault) -> Fault {
    Fault::History(fault)
}

#[test]
fn it_prints_past_events_in_order() {
    let (sim, _seen) = start(0.0);
    publish(&sim, 0..300);
    let all: Vec<i64> = (0..300).collect();
    assert_eq!(
        run(&sim, &[TEMPERATURE]),
        (Some(0), all.clone(), String::new())
    );
    assert_eq!(run(&sim, &[TEMPERATURE, "--since", "1h"]).1, all);
    assert_eq!(
        run(&sim, &[TEMPERATURE, "--since", "2000-01-01T00:00:00Z"]).1,
        all
    );
    assert_eq!(run(&sim, &[TEMPERATURE, "-C", "3"]).1, [0, 1, 2]);
    let none = run(&sim, &[TEMPERATURE, "--until", "2000-01-01T00:00:00Z"]);
    assert_eq!(none, (Some(0), vec![], String::new()));
    let mut command = octave_ws(&sim, &["history", TEMPERATURE, "-F", "{n} {elems}"]);
    let output = command.output().unwrap();
    let printed = text(&output.stdout);
    assert!(
        printed.starts_with("1 {\"n\":0}\n2 {\"n\":1}\n"),
        "{printed}"
    );
    assert_eq!(
        stderr(&output),
        format!("{TEMPERATURE}: past events: 300\n")
    );
}

#[test]
fn its_file_is_whole_or_not_there() {
    let (sim, _seen) = start(0.0);
    publish(&sim, 0..30);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let path = file.to_str().unwrap();
    assert_eq!(run(&sim, &[TEMPERATURE, "-o", path]).0, Some(0));
    let whole = fs::read_to_string(&file).unwrap();
    assert_eq!(whole.lines().count(), 30);

    let (code, _, told) = run(&sim, &["/demo/x", TEMPERATURE, "-o", path]);
    let peer = sim.addr();
    let refused = format!(
        "error: history: /demo/x: HTTP 404 from {peer}: no such stream \
         (check the name of the stream, and --api)\n"
    );
    assert_eq!(code, Some(77));
    assert!(told.ends_with(&refused), "{told}");
    // The other stream is read all the same.
    let part = fs::read_to_string(folder.path().join("file.part")).unwrap();
    assert_eq!(part.lines().count(), 30);
    assert_eq!(fs::read_to_string(&file).unwrap(), whole);
}

#[test]
fn it_fails_as_session_does() {
    let (sim, _seen) = start(0.0);
    publish(&sim, 0..3);
    for (fault, code) in [
        (HistoryFault::Status(401), 77),
        (HistoryFault::Status(403), 77),
        (HistoryFault::Status(404), 77),
        (HistoryFault::Status(429), 75),
        (HistoryFault::Status(500), 75),
        (HistoryFault::Html, 75),
        (HistoryFault::Torn, 75),
        (HistoryFault::Silent, 75),
        (HistoryFault::Slow, 75),
        (HistoryFault::Unfiltered, 76),
    ] {
        sim.set_faults(&[of_history(fault)]);
        let since = match fault {
            HistoryFault::Unfiltered => "2100-01-01T00:00:00Z",
            _ => "2000-01-01T00:00:00Z",
        };
        let (ended, events, told) = run(&sim, &[TEMPERATURE, "-W", "1500ms", "--since", since]);
        assert_eq!(ended, Some(code), "{fault:?}: {told}");
        assert!(events.is_empty());
        assert_eq!(
            told.starts_with("error: timeout: history: "),
            code == 75,
            "{told}"
        );
    }
    let elsewhere = ["--endpoint", "https://octave.example.com", TEMPERATURE];
    let output = octave_ws(&sim, &[&["history"], &elsewhere[..]].concat());
    let output = { output }.env_remove("OCTAVE_API").output().unwrap();
    let text = "error: config: no REST API is known for this endpoint: give its URL, such as \
                https://HOST/v5.0 (see --api)\n";
    assert_eq!((output.status.code(), stderr(&output)), (Some(78), text));
}

#[test]
fn a_signal_ends_it_at_once() {
    let (sim, seen) = start(0.0);
    sim.set_faults(&[of_history(HistoryFault::Silent)]);
    let child = octave_ws(&sim, &["history", TEMPERATURE]).spawn().unwrap();
    await_seen(&seen, |what| *what == ClientAction::Ignored);
    let begin = std::time::Instant::now();
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert!(begin.elapsed().as_secs() < 2);
}

#[test]
fn the_summary_of_a_run_that_ends_early_has_its_exit_code() {
    let (sim, _seen) = start(0.0);
    publish(&sim, 0..3);
    for (fault, args, code) in [
        (None, &[TEMPERATURE][..], 0),
        (None, &[TEMPERATURE, "/demo/x"], 77),
        (Some(HistoryFault::Status(403)), &[TEMPERATURE], 77),
        (Some(HistoryFault::Silent), &[TEMPERATURE, "-W1s"], 75),
    ] {
        sim.set_faults(&fault.map(of_history).into_iter().collect::<Vec<_>>());
        let args = [&["history", "-q", "-Frecord"], args].concat();
        let output = octave_ws(&sim, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let last = lines(&output).pop().unwrap();
        assert_eq!(
            (&last["kind"], &last["exit"]),
            (&json!("summary"), &json!(code))
        );
    }
}
