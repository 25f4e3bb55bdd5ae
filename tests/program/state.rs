//! `--state`: the next run begins where the one before has ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

use octave_ws::sim::{Fault, HistoryFault, Sim};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ClientAction, await_seen, await_subscription, kill, octave_ws, start, stderr, text};
use crate::patience::until;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";

fn publish(sim: &Sim, numbers: impl IntoIterator<Item = u32>) {
    let elems: Vec<_> = numbers.into_iter().map(|n| json!({ "n": n })).collect();
    sim.publish_burst(TEMPERATURE, &elems);
}

/// A folder with a file of positions, and what is written beside it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, sim: &Sim, args: &[&str], file: &str) -> Command {
        let (state, file) = (self.path("state"), self.path(file));
        let mut command = octave_ws(sim, args);
        command.arg("--state").arg(state).arg("-o").arg(file);
        command
    }

    fn numbers(&self, file: &str) -> Vec<u64> {
        numbers(&self.path(file))
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("state")).unwrap()).unwrap()
    }
}

fn numbers(file: &Path) -> Vec<u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let events = whole
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter_map(|event| event["elems"]["n"].as_u64())
        .collect()
}

#[test]
fn captures_together_have_each_event_once() {
    let (sim, _seen) = start(0.0);
    let place = Place::new();
    publish(&sim, 1000..1003);
    let mut all = Vec::new();
    for round in 0..5 {
        let file = format!("file{round}");
        let args = ["capture", TEMPERATURE, "--idle", "300ms", "-q"];
        let output = place.command(&sim, &args, &file).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
        all.extend(place.numbers(&file));
        let begin = 20 * round;
        publish(&sim, begin..begin + 20);
    }
    assert_eq!(all, (0..80).collect::<Vec<_>>());
    let state = place.state();
    assert_eq!(
        (&state["version"], &state["company"]),
        (&json!(1), &json!("demo"))
    );
    assert_eq!(state["api"], json!(sim.api()));
    let output = place
        .command(&sim, &["history", TEMPERATURE, "-q"], "past")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(place.numbers("past"), (80..100).collect::<Vec<_>>());
    let output = place
        .command(&sim, &["history", TEMPERATURE, "-q"], "past")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(place.numbers("past").is_empty());
}

#[test]
fn listen_continues_after_a_stop_and_after_a_kill() {
    let (sim, seen) = start(0.0);
    let place = Place::new();
    let mut published = 0;
    for round in 0..4 {
        let child = place
            .command(&sim, &["listen", TEMPERATURE, "-q"], "file")
            .spawn()
            .unwrap();
        await_subscription(&seen);
        publish(&sim, published..published + 10);
        published += 10;
        until("all events are there", || {
            place.numbers("file").last() == Some(&u64::from(published - 1))
        });
        let is_killed = round == 2;
        kill(
            &child,
            if is_killed {
                Signal::KILL
            } else {
                Signal::TERM
            },
        );
        let output = child.wait_with_output().unwrap();
        assert!(is_killed || output.status.success(), "{}", stderr(&output));
        publish(&sim, published..published + 10);
        published += 10;
    }
    let mut numbers = place.numbers("file");
    let all: Vec<u64> = (0..70).collect();
    // Those of the last interval before the kill may come again.
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, all);
}

#[test]
fn the_beginning_is_kept_before_anything_is_printed() {
    let (sim, seen) = start(0.0);
    let place = Place::new();
    let child = place
        .command(&sim, &["listen", TEMPERATURE], "file")
        .spawn()
        .unwrap();
    await_subscription(&seen);
    until("the beginning is kept", || {
        place.path("state").exists() && place.state()["streams"][TEMPERATURE].is_object()
    });
    publish(&sim, 0..3);
    until("the events are there", || place.numbers("file").len() == 3);
    kill(&child, Signal::KILL);
    child.wait_with_output().unwrap();
    publish(&sim, 3..5);
    let args = ["capture", TEMPERATURE, "--idle", "300ms"];
    let output = place.command(&sim, &args, "next").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        place.numbers("next").ends_with(&[3, 4]),
        "{:?}",
        place.numbers("next")
    );
}

#[test]
fn a_run_without_its_history_keeps_nothing() {
    let (sim, _seen) = start(0.0);
    let place = Place::new();
    let args = ["capture", TEMPERATURE, "--idle", "300ms", "-W", "2s"];
    let first = place.command(&sim, &args, "file").output().unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    publish(&sim, 0..3);
    let before = place.state();
    sim.set_faults(&[Fault::History(HistoryFault::Status(503))]);
    let output = place.command(&sim, &args, "file").output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert_eq!(place.state(), before);
    sim.set_faults(&[]);
    let output = place.command(&sim, &args, "file").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(place.numbers("file"), [0, 1, 2]);
}

#[test]
fn a_second_run_with_the_file_is_refused() {
    let (sim, seen) = start(0.0);
    let place = Place::new();
    let child = place
        .command(&sim, &["listen", TEMPERATURE], "file")
        .spawn()
        .unwrap();
    await_subscription(&seen);
    for args in [&["listen", TEMPERATURE][..], &["history", TEMPERATURE]] {
        let output = place.command(&sim, args, "other").output().unwrap();
        let path = place.path("state");
        let wanted = format!("error: state: another run uses {}\n", path.display());
        assert_eq!(
            (output.status.code(), stderr(&output)),
            (Some(75), &*wanted)
        );
        assert!(!place.path("other").exists());
    }
    kill(&child, Signal::TERM);
    child.wait_with_output().unwrap();
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let (sim, seen) = start(0.0);
    let place = Place::new();
    let path = place.path("state");
    let (api, shown) = (json!(sim.api()), path.display().to_string());
    let of = |version: u32, api: &Value, company: &str| {
        let head = format!(r#"{{"version":{version},"api":{api},"company":"{company}""#);
        format!(r#"{head},"streams":{{}}}}"#)
    };
    for (text, what) in [
        (
            of(2, &api, "demo"),
            format!("state: {shown} is of a newer version, 2"),
        ),
        (
            of(1, &json!("https://a"), "demo"),
            format!("state: {shown} is of the api \"https://a\", not {api}: give another FILE"),
        ),
        (
            of(1, &api, "other"),
            format!("state: {shown} is of the company \"other\", not \"demo\": give another FILE"),
        ),
    ] {
        fs::write(&path, &text).unwrap();
        let output = place
            .command(&sim, &["listen", TEMPERATURE], "file")
            .output()
            .unwrap();
        let wanted = format!("error: {what}\n");
        assert_eq!(
            (output.status.code(), stderr(&output)),
            (Some(78), &*wanted)
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let args = ["capture", TEMPERATURE, "--idle", "200ms", "-F", "record"];
    for broken in ["", "\0\0\0\0", "{\"version\":1", "[]"] {
        fs::write(&path, broken).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let year = Duration::from_secs(365 * 86400);
        file.set_modified(UNIX_EPOCH - 10 * year).unwrap();
        let output = place.command(&sim, &args, "file").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(place.path("state.bad")).unwrap(), broken);
        assert!(place.state()["streams"][TEMPERATURE].is_object());
        assert!(
            stderr(&output).contains(&format!("{shown} is broken")),
            "{}",
            stderr(&output)
        );
        let told = fs::read_to_string(place.path("file")).unwrap();
        assert!(told.contains("the file of --state was broken"), "{told}");
        await_seen(&seen, |what| matches!(what, ClientAction::Closed(_)));
    }
    let nowhere = octave_ws(&sim, &["listen", TEMPERATURE, "--state", "/nowhere/state"]).output();
    let output = nowhere.unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    for args in [
        &["listen", TEMPERATURE, "--state", "s", "-F", "text"][..],
        &["listen", TEMPERATURE, "--state", "s", "-o", "./s"],
        // The events before would be passed over.
        &["history", TEMPERATURE, "--state", "s", "--since", "1h"],
    ] {
        let output = octave_ws(&sim, args).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{}", text(&output.stderr));
    }
}

#[test]
fn what_a_deadline_leaves_unread_is_read_by_the_next_run() {
    let (sim, _seen) = start(0.0);
    let place = Place::new();
    let listen = |limit: &str| {
        let args = ["listen", TEMPERATURE, "-F", "record", limit];
        place.command(&sim, &args, "file").output().unwrap()
    };
    publish(&sim, 1000..1003);
    listen("--idle=100ms");
    publish(&sim, 0..10);
    sim.set_faults(&[Fault::History(HistoryFault::Silent)]);
    let output = listen("-W1s");
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    sim.set_faults(&[]);
    publish(&sim, 10..20);
    let output = listen("--idle=100ms");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = fs::read_to_string(place.path("file")).unwrap();
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let records: Vec<Value> = records.collect();
    let events = records.iter().filter(|record| record["kind"] == "event");
    let numbers = events.map(|event| event["event"]["elems"]["n"].as_u64().unwrap());
    assert_eq!(
        numbers.collect::<Vec<_>>(),
        (0..20).collect::<Vec<_>>(),
        "{text}"
    );
    assert!(
        records.iter().all(|record| record["kind"] != "gap"),
        "{text}"
    );
}

#[test]
fn a_folder_of_outputs_has_each_event_once_over_runs() {
    const HUMIDITY: &str = "/demo/devices/gw1/humidity";
    let (sim, _seen) = start(0.0);
    let place = Place::new();
    let folder = place.path("folder");
    fs::create_dir(&folder).unwrap();
    for round in 0..3 {
        let args = [
            "listen",
            TEMPERATURE,
            HUMIDITY,
            "-q",
            "--idle=300ms",
            "--state",
        ];
        let mut command = octave_ws(&sim, &args);
        command
            .arg(place.path("state"))
            .arg("--output-dir")
            .arg(&folder);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        for path in [TEMPERATURE, HUMIDITY] {
            let file = folder.join(path.replace('/', "_"));
            assert_eq!(numbers(&file), (0..10 * round).collect::<Vec<_>>());
            let elems = (10 * round..10 * round + 10).map(|n| json!({ "n": n }));
            sim.publish_burst(path, &elems.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_run_that_is_killed_right_after_a_fill_does_not_repeat_it() {
    const HUMIDITY: &str = "/demo/devices/gw1/humidity";
    let (sim, _seen) = start(0.0);
    let place = Place::new();
    let publish = |n: u32| {
        for path in [TEMPERATURE, HUMIDITY] {
            sim.publish_burst(path, &[json!({ "n": n })]);
        }
    };
    let args = ["listen", TEMPERATURE, HUMIDITY, "-q"];
    let output = place
        .command(&sim, &[&args[..], &["--idle=100ms"]].concat(), "file")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for n in 0..4 {
        publish(n);
        let begin = Instant::now();
        let mut child = place.command(&sim, &args, "file").spawn().unwrap();
        let known = |path: &str| {
            place.state()["streams"][path]["ids"]
                .as_object()
                .unwrap()
                .len()
        };
        until("the positions of both are kept", || {
            [TEMPERATURE, HUMIDITY]
                .iter()
                .all(|path| known(path) > n as usize)
        });
        assert!(
            begin.elapsed() < Duration::from_secs(9),
            "not at the end of the fill"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut numbers = place.numbers("file");
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 0, 1, 1, 2, 2, 3, 3]);
}

#[test]
fn what_an_output_did_not_take_is_written_by_the_next_run() {
    let (sim, seen) = start(0.0);
    let place = Place::new();
    let args = ["listen", TEMPERATURE, "-q", "--idle=100ms"];
    let run = || place.command(&sim, &args, "file").output().unwrap();
    assert_eq!(run().status.code(), Some(0));
    await_subscription(&seen);
    let mut command = octave_ws(&sim, &args[..3]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    command.arg("--state").arg(place.path("state")).stdout(full);
    let child = command.spawn().unwrap();
    await_subscription(&seen);
    publish(&sim, 0..3);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    assert_eq!(run().status.code(), Some(0));
    assert_eq!(place.numbers("file"), [0, 1, 2]);
}

#[test]
fn history_keeps_what_it_has_printed() {
    let (sim, _seen) = start(0.0);
    let place = Place::new();
    publish(&sim, 0..3);
    let run = || {
        let mut command = octave_ws(&sim, &["history", "/demo/x", TEMPERATURE, "--state"]);
        let output = command.arg(place.path("state")).output().unwrap();
        assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
        text(&output.stdout).lines().count()
    };
    assert_eq!(run(), 3);
    publish(&sim, 3..5);
    assert_eq!(run(), 2);
}

#[test]
fn captures_with_a_budget_read_a_backlog_together() {
    let (sim, _seen) = start(0.0);
    let place = Place::new();
    let args = ["capture", TEMPERATURE, "-q", "--idle=200ms"];
    let first = place.command(&sim, &args, "first").output().unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    publish(&sim, 0..900);
    let mut all = Vec::new();
    let mut runs = 0;
    while all.len() < 900 {
        runs += 1;
        assert!(runs < 50, "{all:?}");
        let args = [&args[..], &["--max-bytes=8KiB"]].concat();
        let output = place.command(&sim, &args, "file").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        all.extend(place.numbers("file"));
    }
    assert!(runs > 1, "the budget was for all of it");
    assert_eq!(all, (0..900).collect::<Vec<_>>());
}

#[test]
fn a_run_of_history_that_cannot_begin_leaves_the_positions() {
    let (sim, _seen) = start(0.0);
    let place = Place::new();
    publish(&sim, 0..3);
    let history = |args: &[&str]| {
        let mut command = octave_ws(&sim, &["history", TEMPERATURE, "--state"]);
        command
            .arg(place.path("state"))
            .args(args)
            .output()
            .unwrap()
    };
    assert_eq!(history(&[]).status.code(), Some(0));
    let kept = place.state();
    fs::write(place.path("ca.pem"), "junk").unwrap();
    let ca_file = place.path("ca.pem");
    let output = history(&["--ca-file", ca_file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert_eq!(place.state(), kept);
}

#[test]
fn a_link_to_a_file_that_is_not_there_yet_is_followed() {
    let (sim, _seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("real/state", &link).unwrap();
    let args = ["history", TEMPERATURE, "--state", link.to_str().unwrap()];
    for _ in 0..2 {
        let output = octave_ws(&sim, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(link.is_symlink());
        assert!(folder.path().join("real/state").is_file());
    }
}

#[test]
fn the_files_of_a_run_are_different_ones() {
    let (sim, _seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    for (args, file) in [
        ("listen --state S -o S", "S"),
        ("listen --state S -o S.lock", "S.lock"),
        ("listen --state S -o ./S.tmp", "S.tmp"),
        ("listen --state S --status-file S", "S"),
        ("listen --state S --status-file S.bad", "S.bad"),
        ("listen -o .S.tmp --status-file S", ".S.tmp"),
        ("capture --count 1 --state S.part -o S", "S.part"),
        ("capture --count 1 --state S -o S.tmp", "S.tmp"),
        ("capture --count 1 -o S --status-file S.part", "S.part"),
        ("history --state S.part -o S", "S.part"),
        ("listen -o S --rotate-size 1MiB --state S.12", "S.12"),
        ("listen -o S --rotate-size 1MiB --status-file S.1", "S.1"),
        ("listen --output-dir . --state _demo", "_demo"),
        ("listen --output-dir . --status-file S", "S"),
    ] {
        let args: Vec<_> = args.split(' ').chain([TEMPERATURE]).collect();
        let mut command = octave_ws(&sim, &args);
        let output = command.current_dir(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        let file = folder.path().canonicalize().unwrap().join(file);
        let wanted = format!("would both write {}: give another name", file.display());
        assert!(stderr(&output).contains(&wanted), "{}", stderr(&output));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
