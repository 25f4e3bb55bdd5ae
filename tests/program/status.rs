//! The status file, and the command that reads it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use octave_ws::sim::Fault;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::patience::until;
use super::{TEMPERATURE, await_subscription, kill, octave_ws, start, stderr, text};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("status");
    (folder, file)
}

fn read(file: &Path) -> Option<Value> {
    let text = fs::read_to_string(file).ok()?;
    // Whole at any time.
    assert!(text.ends_with("}\n"), "{text}");
    Some(serde_json::from_str(&text).unwrap())
}

/// Waits until the file shows this state, and returns it.
fn await_state(file: &Path, state: &str) -> Value {
    until(state, || {
        read(file).is_some_and(|status| status["state"] == state)
    });
    read(file).unwrap()
}

/// What `octave-ws status` makes of the file.
fn status(file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_octave-ws"));
    command.arg("status").arg(file).output().unwrap()
}

#[test]
fn the_status_follows_the_connection() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    let name = file.to_str().unwrap();
    sim.set_faults(&[Fault::SessionSilent]);
    let args = [
        "listen",
        TEMPERATURE,
        "/none/\"x\"",
        "--require=any",
        "--status-file",
        name,
    ];
    let child = octave_ws(&sim, &[&args[..], &["--connect-timeout=100ms"]].concat())
        .spawn()
        .unwrap();
    let shown = await_state(&file, "connecting");
    assert_eq!(shown["pid"], child.id());
    assert_eq!(shown["version"], env!("CARGO_PKG_VERSION"));
    until("it has failed twice", || {
        read(&file).unwrap()["last_failure"]["count"] == 2
    });
    let shown = read(&file).unwrap();
    let failure = shown["last_failure"]["message"].as_str().unwrap();
    assert!(failure.contains("session"), "{failure}");
    assert!(shown["next_attempt"].is_string() && shown["last_event"].is_null());
    let output = status(&file);
    assert_eq!(output.status.code(), Some(69));
    assert!(
        text(&output.stdout).contains("(2 times)"),
        "{}",
        text(&output.stdout)
    );
    assert!(stderr(&output).contains("the run is not subscribed: connecting"));
    sim.set_faults(&[]);
    await_subscription(&seen);
    let shown = await_state(&file, "subscribed");
    let streams = json!({"asked": 2, "granted": 1, "refused": ["/none/\"x\""]});
    assert_eq!(shown["streams"], streams);
    assert!(shown["next_attempt"].is_null());
    sim.publish(TEMPERATURE, &json!(1));
    until("the event is counted", || {
        read(&file).unwrap()["events"] == 1
    });
    let shown = read(&file).unwrap();
    assert!(shown["last_event"].is_string() && shown["bytes"].as_u64().unwrap() > 100);
    let output = status(&file);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for line in [
        "state     subscribed for ",
        "streams   1 of 2 subscribed\n",
        "refused   /none/",
    ] {
        assert!(
            text(&output.stdout).contains(line),
            "{}",
            text(&output.stdout)
        );
    }
    sim.set_faults(&[Fault::SessionSilent]);
    sim.drop_all();
    let shown = await_state(&file, "lost");
    assert_eq!(shown["streams"]["granted"], 0);
    sim.set_faults(&[]);
    until("the gap is counted", || read(&file).unwrap()["gaps"] == 1);
    await_state(&file, "subscribed");
    kill(&child, Signal::TERM);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    let shown = read(&file).unwrap();
    assert_eq!(
        (&shown["state"], &shown["exit"]),
        (&json!("stopping"), &json!(0))
    );
    assert!(!fs::read_to_string(&file).unwrap().contains(sim.token()));
    assert_eq!(status(&file).status.code(), Some(69));
    // Nothing else is left.
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn the_status_is_fresh_while_nothing_happens() {
    let (sim, _seen) = start(0.0);
    let (_folder, file) = folder();
    sim.set_faults(&[Fault::SessionSilent]);
    let name = file.to_str().unwrap();
    let args = [
        "listen",
        TEMPERATURE,
        "--connect-timeout=60s",
        "--status-file",
        name,
    ];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    let first = await_state(&file, "connecting");
    until("it is written again", || {
        read(&file).unwrap()["updated"] != first["updated"]
    });
    assert_eq!(read(&file).unwrap()["since"], first["since"]);
    kill(&child, Signal::KILL);
    child.wait_with_output().unwrap();
}

#[test]
fn only_a_fresh_status_is_a_good_one() {
    let (_folder, file) = folder();
    let dated = |offset: i64| {
        let now = std::time::SystemTime::now();
        let time = Duration::from_secs(offset.unsigned_abs());
        let at = if offset < 0 { now - time } else { now + time };
        let at = humantime::format_rfc3339(at).to_string();
        fs::write(
            &file,
            json!({"state": "subscribed", "updated": at}).to_string(),
        )
        .unwrap();
        status(&file)
    };
    for (offset, code) in [(-20, 0), (20, 0), (-40, 69), (40, 69)] {
        let output = dated(offset);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{offset}: {}",
            stderr(&output)
        );
        let is_said = stderr(&output).contains("the run has ended, hangs, or waits");
        assert_eq!(is_said, code == 69, "{}", stderr(&output));
    }
    for (text, wanted) in [("", "not a status file"), ("{}", "not a status file")] {
        fs::write(&file, text).unwrap();
        let output = status(&file);
        assert_eq!(output.status.code(), Some(69));
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
    fs::remove_file(&file).unwrap();
    let output = status(&file);
    assert_eq!(output.status.code(), Some(69));
    assert!(
        stderr(&output).contains("No such file"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn metrics_are_written_for_prometheus() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    let name = file.to_str().unwrap();
    let args = [
        "listen",
        TEMPERATURE,
        "/a\\\"b",
        "--require=any",
        "--status-file",
        name,
    ];
    let args = [&args[..], &["--status-format=prometheus"]].concat();
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    let holds = |line: &str| {
        fs::read_to_string(&file)
            .unwrap()
            .lines()
            .any(|found| found == line)
    };
    until("it is subscribed", || {
        holds(r#"octave_ws_state{run="status",state="subscribed"} 1"#)
    });
    assert!(holds(
        r#"octave_ws_state{run="status",state="connecting"} 0"#
    ));
    assert!(holds(
        r#"octave_ws_stream_refused{run="status",stream="/a\\\"b"} 1"#
    ));
    sim.publish_burst(TEMPERATURE, &[json!(1), json!(2)]);
    until("the events are counted", || {
        holds(r#"octave_ws_events_total{run="status"} 2"#)
    });
    kill(&child, Signal::TERM);
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(holds(r#"octave_ws_state{run="status",state="stopping"} 1"#));
}

#[test]
fn a_status_file_that_cannot_be_written_is_said() {
    let (sim, _seen) = start(0.0);
    let (folder, file) = folder();
    let [folder, name] = [folder.path(), &file].map(|path| path.to_str().unwrap().to_owned());
    let below = format!("{name}/none");
    for (args, code, wanted) in [
        (
            vec!["--status-file", &below],
            74,
            "none: No such file or directory",
        ),
        (vec!["--status-file", &folder], 74, "not a regular file"),
        (
            vec!["--status-file", "/dev/null"],
            74,
            "/dev/null: not a regular file",
        ),
        (vec!["--status-file", ""], 64, "give the name of a file"),
        (
            vec!["--status-format=json"],
            64,
            "--status-format needs --status-file",
        ),
    ] {
        let args = [&["listen", TEMPERATURE], &args[..]].concat();
        let output = octave_ws(&sim, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
}

#[test]
fn the_last_failure_is_that_of_the_run() {
    let (sim, _seen) = start(0.0);
    let (_folder, file) = folder();
    let args = ["listen", "/none", "--status-file", file.to_str().unwrap()];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    let shown = read(&file).unwrap();
    assert_eq!(shown["state"], "stopping");
    assert_eq!(shown["exit"], 77);
    let failure = shown["last_failure"]["message"].as_str().unwrap();
    assert!(failure.contains("refused /none"), "{failure}");
}

#[test]
fn the_last_event_is_counted_and_dated() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    let args = [
        "listen",
        TEMPERATURE,
        "-C1",
        "--status-file",
        file.to_str().unwrap(),
    ];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    assert!(child.wait_with_output().unwrap().status.success());
    let shown = read(&file).unwrap();
    assert!(
        shown["events"] == 1 && shown["last_event"].is_string(),
        "{shown}"
    );
}

#[test]
fn a_status_file_is_not_the_output() {
    let (sim, _seen) = start(0.0);
    let (folder, file) = folder();
    let name = file.to_str().unwrap();
    fs::write(&file, "{}\n").unwrap();
    let other = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &other).unwrap();
    let new = folder.path().join("new");
    for (output, status) in [(&file, &file), (&file, &other), (&new, &new)] {
        let [output, status] = [output, status].map(|path| path.to_str().unwrap());
        let args = ["listen", TEMPERATURE, "-o", output, "--status-file", status];
        let output = octave_ws(&sim, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
        let wanted = "--output and --status-file would both write";
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
    assert_eq!(fs::read_to_string(name).unwrap(), "{}\n");
}

#[test]
fn a_link_stays_and_is_written_through() {
    let (sim, _seen) = start(0.0);
    let (folder, link) = folder();
    let file = folder.path().join("behind");
    std::os::unix::fs::symlink("behind", &link).unwrap();
    for _ in 0..2 {
        let args = ["listen", "/none", "--status-file", link.to_str().unwrap()];
        let output = octave_ws(&sim, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(77));
        assert_eq!(read(&file).unwrap()["exit"], 77);
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

#[test]
fn nothing_but_a_file_is_waited_for() {
    let (_folder, file) = folder();
    mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let output = status(&file);
    assert_eq!(output.status.code(), Some(69));
    assert!(
        stderr(&output).contains("not a regular file"),
        "{}",
        stderr(&output)
    );
}
