//! `--fill`: what an outage leaves out is read from the history.

use std::fs;
use std::path::Path;

use octave_ws::sim::{Fault, HistoryFault, Options, Sim};
use serde_json::{Value, json};

use super::{
    ClientAction, await_seen, await_subscription, kill, octave_ws, start, start_with, stderr,
};
use crate::patience::until;
use rustix::process::Signal;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";

fn publish(sim: &Sim, numbers: impl IntoIterator<Item = u32>) {
    let elems: Vec<_> = numbers.into_iter().map(|n| json!({ "n": n })).collect();
    sim.publish_burst(TEMPERATURE, &elems);
}

fn records(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn numbers(records: &[Value]) -> Vec<u64> {
    let elems = records
        .iter()
        .filter_map(|record| record["event"]["elems"]["n"].as_u64());
    elems.collect()
}

#[test]
fn listen_fills_an_outage() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let path = file.to_str().unwrap();
    let mut command = octave_ws(
        &sim,
        &["listen", TEMPERATURE, "--fill", "-F", "record", "-o", path],
    );
    let child = command.spawn().unwrap();
    await_subscription(&seen);
    publish(&sim, 0..3);
    until("the events are there", || {
        numbers(&records(&file)).len() == 3
    });
    sim.drop_all();
    publish(&sim, 3..200);
    until("the outage is filled", || {
        let records = records(&file);
        let mut kinds = records.iter().rev().map(|record| &record["kind"]);
        let is_filled = kinds.find(|kind| **kind == "filled" || **kind == "lost");
        numbers(&records).len() == 200 && is_filled == Some(&json!("filled"))
    });
    publish(&sim, 200..203);
    until("the events are there", || {
        numbers(&records(&file)).len() == 203
    });
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let records = records(&file);
    assert_eq!(numbers(&records), (0..203).collect::<Vec<_>>());
    let is_past = |record: &&Value| record["history"] == json!(true);
    // The first ones may have come before the stream's history was read first.
    let past = records.iter().filter(is_past).count();
    assert!(past >= 197);
    let kinds: Vec<&str> = records
        .iter()
        .map(|record| record["kind"].as_str().unwrap())
        .collect();
    let lost = kinds.iter().position(|kind| *kind == "lost").unwrap();
    let mut changes = kinds[lost..].to_vec();
    changes.dedup();
    let wanted = [
        "lost",
        "connected",
        "subscribed",
        "event",
        "filled",
        "event",
        "summary",
    ];
    assert_eq!(changes, wanted);
    let filled = records
        .iter()
        .rfind(|record| record["kind"] == "filled")
        .unwrap();
    assert_eq!(
        (&filled["events"], &filled["stream"]),
        (&json!(197), &json!(TEMPERATURE))
    );
    let summary = records.last().unwrap();
    assert_eq!(
        (&summary["filled"], &summary["gaps"]),
        (&json!(past), &json!(0))
    );
    assert!(
        !stderr(&output).contains("may be missing"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_open_gap_has_its_stream_and_its_cause() {
    for (fault, why) in [
        (HistoryFault::Status(403), "refused"),
        (HistoryFault::Status(404), "refused"),
    ] {
        let (sim, seen) = start(0.0);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let path = file.to_str().unwrap();
        let args = [
            "listen",
            TEMPERATURE,
            "--fill",
            "-F",
            "record",
            "-C",
            "5",
            "--require-gapless",
        ];
        let child = octave_ws(&sim, &[&args[..], &["-o", path]].concat())
            .spawn()
            .unwrap();
        await_subscription(&seen);
        publish(&sim, 0..3);
        until("the events are there", || {
            numbers(&records(&file)).len() == 3
        });
        sim.set_faults(&[Fault::History(fault)]);
        sim.drop_all();
        publish(&sim, 3..5);
        await_seen(&seen, |what| matches!(what, ClientAction::Refused { .. }));
        publish(&sim, 5..7);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
        let records = records(&file);
        assert_eq!(numbers(&records), [0, 1, 2, 5, 6]);
        let gap = records
            .iter()
            .find(|record| record["kind"] == "gap")
            .unwrap();
        assert_eq!(
            (&gap["stream"], &gap["why"]),
            (&json!(TEMPERATURE), &json!(why))
        );
        let told = format!("warning: {TEMPERATURE}: events may be missing from ");
        assert!(stderr(&output).contains(&told), "{}", stderr(&output));
    }
}

#[test]
fn a_run_does_not_end_before_what_it_missed_is_read() {
    let (sim, seen) = start_with(Options::default());
    let args = [
        "capture",
        TEMPERATURE,
        "--fill",
        "--duration",
        "3s",
        "-W",
        "5s",
    ];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    publish(&sim, 0..3);
    sim.set_faults(&[Fault::History(HistoryFault::Status(503))]);
    sim.drop_all();
    publish(&sim, 3..5);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert!(stderr(&output).contains("timeout"), "{}", stderr(&output));
}

#[test]
fn a_signal_ends_a_fill_at_once() {
    for fault in [
        HistoryFault::Silent,
        HistoryFault::Slow,
        HistoryFault::Status(429),
    ] {
        let (sim, seen) = start(0.0);
        let child = octave_ws(&sim, &["listen", TEMPERATURE, "--fill"])
            .spawn()
            .unwrap();
        await_subscription(&seen);
        publish(&sim, 0..200);
        sim.set_faults(&[Fault::History(fault)]);
        sim.drop_all();
        await_subscription(&seen);
        let begin = std::time::Instant::now();
        kill(&child, Signal::TERM);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(begin.elapsed().as_secs() < 2, "{fault:?}");
    }
}

/// The end of an outage under a fault of the history.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Filled,
    Told(&'static str),
    /// One of both.
    FilledOrTold,
    /// It is asked for again, beyond the end of the run.
    Open,
}

#[test]
fn each_fault_of_the_history_has_its_outcome_and_a_signal_ends_it() {
    use Outcome::{Filled, FilledOrTold, Open, Told};
    let faults = [
        ("history-401", Told("refused")),
        ("history-403", Told("refused")),
        ("history-404", Told("refused")),
        ("history-429", Open),
        ("history-500", Open),
        ("history-silent", Open),
        ("history-slow", Open),
        ("history-html", Open),
        ("history-torn", Open),
        ("history-descending", Told("unusable answer")),
        ("history-unfiltered", Filled),
        ("history-capped", Filled),
        ("history-doubled", Filled),
        ("history-foreign", Told("unusable answer")),
        ("history-behind", Filled),
        ("history-ahead", Filled),
        ("history-one-ms", Filled),
        ("history-evicting", FilledOrTold),
    ];
    std::thread::scope(|scope| {
        for (fault, wanted) in faults {
            scope.spawn(move || under_fault(fault, wanted));
        }
    });
}

fn under_fault(fault: &str, wanted: Outcome) {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let path = file.to_str().unwrap();
    let id = sim.streams()[0].1.clone();
    let args = ["listen", &id, "--fill", "-F", "record", "-o", path];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    publish(&sim, 0..3);
    until("the events are there", || {
        numbers(&records(&file)).len() == 3
    });
    sim.set_faults(&[fault.parse().unwrap()]);
    sim.drop_all();
    for n in 3..10 {
        // Each in a millisecond of its own.
        publish(&sim, [n]);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    await_subscription(&seen);
    let gap = |records: &[Value]| {
        let gap = records.iter().find(|record| record["kind"] == "gap");
        gap.and_then(|gap| gap["why"].as_str().map(str::to_owned))
    };
    let is_filled = |records: &[Value]| numbers(records).len() >= 10;
    // Behind events of the history, its end.
    let is_over = |records: &[Value]| {
        let lost = records.iter().position(|record| record["kind"] == "lost");
        let mut since = records[lost.unwrap_or_default()..].iter();
        let has_history = since.clone().any(|record| record["history"] == true);
        is_filled(records) && (!has_history || since.any(|record| record["kind"] == "filled"))
    };
    match wanted {
        Outcome::Open => {}
        _ => until(&format!("{fault} has an outcome"), || {
            let records = records(&file);
            is_over(&records) || gap(&records).is_some()
        }),
    }
    let begin = std::time::Instant::now();
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert!(begin.elapsed().as_secs() < 2, "{fault}");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{fault}: {}",
        stderr(&output)
    );
    let records = records(&file);
    let (is_filled, gap) = (is_filled(&records), gap(&records));
    match wanted {
        Outcome::Filled => assert!(is_filled && gap.is_none(), "{fault}: {gap:?}"),
        Outcome::Told(why) => assert_eq!(gap.as_deref(), Some(why), "{fault}"),
        Outcome::FilledOrTold => assert!(is_filled || gap.is_some(), "{fault}"),
        // The end says that all of it may be missing.
        Outcome::Open => assert!(!is_filled && stderr(&output).contains("may be missing")),
    }
    let numbers = numbers(&records);
    assert!(
        numbers.is_sorted_by(|one, next| one < next),
        "{fault}: {numbers:?}"
    );
}
