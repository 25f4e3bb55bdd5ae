//! What somebody at a terminal sees of a run whose events go to a file.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;

use super::files::after;
use super::patience::until;
use super::signals::{LONG, controlled_by};
use super::waits::wait;
use super::{
    TEMPERATURE, await_shown, await_subscription, kill, octave_ws, set_columns, shown, start,
    terminal,
};

#[test]
fn how_far_a_run_is_stands_in_the_last_line() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let args = ["capture", TEMPERATURE, "--count=2", "--timeout=1h", "-o"];
    let (terminal, mut screen) = terminal();
    let mut command = octave_ws(&sim, &args);
    let mut child = command.arg(&file).stderr(terminal).spawn().unwrap();
    drop(command);
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!({ "temperature": 1 }));
    let yet = await_shown(&mut screen, "1 of 2 events");
    let start = "\r\x1b[K\x1b[?7lconnecting\x1b[?7h\r\x1b[Kconnected to ";
    assert!(yet.starts_with(start), "{yet}");
    let (_, status) = yet.rsplit_once("\x1b[?7l").unwrap();
    assert!(status.contains(" B, connected, last event "), "{status}");
    assert!(
        status.contains(" ago, 59m ") && status.ends_with("s left\x1b[?7h"),
        "{status}"
    );

    sim.publish(TEMPERATURE, &json!({ "temperature": 2 }));
    let rest = shown(&mut screen);
    assert!(child.wait().unwrap().success());
    // Nothing of it is left behind.
    assert!(rest.ends_with("\r\x1b[Kclosed, events: 2\r\n"), "{rest}");
}

#[test]
fn nothing_is_drawn_where_it_would_be_in_the_way() {
    let (sim, _seen) = start(50.0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let file = format!("--output={}", file.display());
    // Events that are seen themselves, somebody who wants quiet, and a terminal that cannot.
    for (args, term) in [
        (["-v", "--output=-"], "xterm"),
        (["-q", &file], "xterm"),
        (["-v", &file], "dumb"),
    ] {
        let (terminal, mut screen) = terminal();
        let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "--count=1"]);
        command.args(args).env("TERM", term).stderr(terminal);
        let mut child = command.spawn().unwrap();
        drop(command);
        let shown = shown(&mut screen);
        assert!(child.wait().unwrap().success());
        assert!(!shown.contains('\x1b'), "{args:?}: {shown}");
    }
}

#[test]
fn it_fits_into_a_narrow_terminal_but_for_its_last_column() {
    for (columns, wanted) in [
        (80, "0 of 12 events, 0.0/s, 0 B, connected, 59m "),
        (45, "0/12, 0.0/s, 0 B, connected, 59m "),
        (31, "0/12, connected, 59m "),
        (16, "0/12, connected"),
        (15, "0/12"),
    ] {
        let (sim, _seen) = start(0.0);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.jsonl");
        let (terminal, mut screen) = terminal();
        set_columns(&terminal, columns);
        let mut command = octave_ws(&sim, &["capture", TEMPERATURE, "-C12", "-W1h", "-o"]);
        let mut child = command.arg(&file).stderr(terminal).spawn().unwrap();
        drop(command);
        let wanted = format!("\x1b[?7l{wanted}");
        let yet = await_shown(&mut screen, &wanted);
        for status in yet.split("\x1b[?7l").skip(1) {
            let (status, _) = status.split_once("\x1b[?7h").unwrap();
            assert!(status.len() < usize::from(columns), "{columns}: {status}");
        }
        kill(&child, Signal::TERM);
        wait(&mut child, LONG);
    }
}

#[test]
fn it_is_drawn_by_a_process_in_the_foreground_alone() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let file = format!("-o{}", path.display());
    let (terminal, mut screen) = terminal();
    let program = octave_ws(&sim, &["listen", TEMPERATURE, "-C2", &file]);
    let jobs = r#"set -m; "$0" "$@" & read line; echo foreground; fg; exit"#;
    let mut shell = after(jobs, &program);
    shell
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal.try_clone().unwrap());
    controlled_by(&mut shell, terminal);
    let mut child = shell.spawn().unwrap();
    drop(shell);
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!({ "temperature": 1 }));
    until("it is written", || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.contains("temperature"))
    });
    screen
        .write_all(
            b"
",
        )
        .unwrap();
    let yet = await_shown(&mut screen, "1 of 2 events");
    let (before, _) = yet.split_once("foreground").unwrap();
    assert!(before.contains("connected to "), "{yet}");
    assert!(!before.contains(''), "{yet}");
    sim.publish(TEMPERATURE, &json!({ "temperature": 2 }));
    assert!(wait(&mut child, LONG).success());
}

#[test]
fn it_is_drawn_four_times_a_second_at_most() {
    let (sim, _seen) = start(5000.0);
    let folder = tempfile::tempdir().unwrap();
    let file = format!("--output={}", folder.path().join("events.jsonl").display());
    let (terminal, mut screen) = terminal();
    let mut command = octave_ws(&sim, &["capture", TEMPERATURE, "--duration=3s", &file]);
    let start = Instant::now();
    let mut child = command.stderr(terminal).spawn().unwrap();
    drop(command);
    let shown = shown(&mut screen);
    assert!(child.wait().unwrap().success());
    let most = start.elapsed().as_millis() / 250 + 1;
    // It is put back below each line that is said, the same as before.
    let parts = shown
        .split("\x1b[?7l")
        .map(|part| part.split("\x1b[?7h").next().unwrap());
    let drawn: BTreeSet<&str> = parts.filter(|part| part.contains(" events, ")).collect();
    assert!(drawn.len() >= 3 && drawn.len() as u128 <= most, "{drawn:?}");
}
