//! SIGINT and SIGTERM, in whatever phase they come.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::thread;
use std::time::Duration;

use octave_ws::sim::{ClientAction, Fault, Options, Sim};
use rustix::process::Signal;
use serde_json::json;

use super::files::after;
use super::names::{ISOLATED, isolated};
use super::patience::until;
use super::waits::{await_sleep, wait};
use super::{
    TEMPERATURE, await_full, await_seen, await_subscription, kill, octave_ws, start, start_with,
    stderr, terminal, text,
};

/// Ten times as long as a signal may take.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// Keeps a client waiting for the next attempt, for as long as it obeys.
pub(super) const COME_BACK_LATER: &str =
    "HTTP/1.1 503 Later\r\nRetry-After: 300\r\nContent-Length: 0\r\n\r\n";

/// A client that a stand-in with this fault has left hanging.
fn hanging(fault: Fault, then: impl FnOnce(Child)) {
    let (sim, seen) = start_with(Options {
        faults: vec![fault],
        ..Options::default()
    });
    // By themselves they would hang for an hour.
    let args = ["listen", TEMPERATURE, "--connect-timeout=1h"];
    let mut command = octave_ws(&sim, &args);
    let child = command.arg("--ack-timeout=1h").spawn().unwrap();
    let mut told = seen.iter();
    told.find(|seen| seen.action == ClientAction::Ignored)
        .unwrap();
    then(child);
}

#[test]
fn one_ends_it_wherever_it_hangs() {
    for fault in [
        Fault::SessionSilent,
        Fault::UpgradeSilent,
        Fault::AckSilent,
        Fault::Stall,
    ] {
        for signal in [Signal::INT, Signal::TERM] {
            hanging(fault, |mut child| {
                kill(&child, signal);
                assert_eq!(wait(&mut child, LONG).code(), Some(0), "{fault:?}");
            });
        }
    }
}

#[test]
fn nor_does_a_wait_for_the_next_attempt_hold_it_up() {
    let (sim, seen) = start_with(Options {
        faults: vec![Fault::SessionRaw(COME_BACK_LATER)],
        ..Options::default()
    });
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE]).spawn().unwrap();
    await_seen(&seen, |what| matches!(what, ClientAction::Session(_)));
    await_sleep(&child);
    kill(&child, Signal::TERM);
    assert_eq!(wait(&mut child, LONG).code(), Some(0));
}

/// A run that closes its connection to a service that does not answer, after SIGTERM.
fn leaving() -> (Sim, Child) {
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "-vv", "-Frecord"];
    let mut child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    sim.set_faults(&[Fault::Stall]);
    kill(&child, Signal::TERM);
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("closing the connection") {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0);
    }
    child.stderr = Some(told.into_inner());
    (sim, child)
}

#[test]
fn a_second_one_ends_it_at_once_and_a_repeat_does_not() {
    // As timeout(1) sends it to its child, and to the group that this is in.
    let (_sim, child) = leaving();
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(text(&output.stdout).contains(r#""kind":"summary""#));

    let (_sim, mut child) = leaving();
    kill(&child, Signal::INT);
    assert_eq!(wait(&mut child, LONG).code(), Some(128 + 2));

    // A later one finds the first still there, because it is not read.
    let (sim, seen) = start(0.0);
    let (_reader, writer) = io::pipe().unwrap();
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE]);
    let mut child = program.stdout(writer.try_clone().unwrap()).spawn().unwrap();
    await_subscription(&seen);
    sim.publish_burst(TEMPERATURE, &vec![json!(1); 1000]);
    await_full(&writer);
    while child.try_wait().unwrap().is_none() {
        kill(&child, Signal::TERM);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

/// Has a program started with these signals blocked.
#[allow(unsafe_code, reason = "it runs between fork and exec")]
fn blocked(program: &mut Command, signals: &'static [Signal]) {
    let block = move || {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset(3) initializes what the others take.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
            }
            libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
        }
        Ok(())
    };
    // SAFETY: each of these is async-signal-safe.
    unsafe {
        program.pre_exec(block);
    }
}

#[test]
fn inherited_blocked_signals_are_unblocked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = format!("--output={}", file.display());
    for signal in [Signal::INT, Signal::TERM] {
        let (sim, seen) = start(0.0);
        let mut program = octave_ws(&sim, &["listen", TEMPERATURE, &output]);
        blocked(&mut program, &[Signal::INT, Signal::TERM, Signal::HUP]);
        let mut child = program.spawn().unwrap();
        await_subscription(&seen);
        std::fs::remove_file(&file).unwrap();
        kill(&child, Signal::HUP);
        until("it is reopened", || file.exists());
        kill(&child, signal);
        assert_eq!(wait(&mut child, LONG).code(), Some(0));
    }
}

#[test]
fn inherited_ignored_signals_stay_ignored() {
    let (sim, seen) = start(0.0);
    let program = octave_ws(&sim, &["listen", TEMPERATURE]);
    let mut child = after("trap '' INT HUP", &program).spawn().unwrap();
    await_subscription(&seen);
    for signal in [Signal::INT, Signal::HUP] {
        kill(&child, signal);
    }
    // It continues.
    sim.publish(TEMPERATURE, &json!(1));
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    assert!(out.read_line(&mut line).unwrap() > 0);
    kill(&child, Signal::TERM);
    assert_eq!(wait(&mut child, LONG).code(), Some(0));
}

#[test]
fn sighup_during_the_start_acts_as_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = format!("--output={}", file.display());
    for (args, ends_with) in [
        (&["listen", TEMPERATURE, &output][..], None),
        (&["listen", TEMPERATURE], Some(0)),
        (&["capture", TEMPERATURE, "-C1", &output], Some(75)),
        (&["session"], Some(69)),
    ] {
        let (sim, seen) = start(0.0);
        let mut program = octave_ws(&sim, args);
        program.env_remove("OCTAVE_TOKEN").stdin(Stdio::piped());
        let mut child = program.arg("--token-file=-").spawn().unwrap();
        await_sleep(&child);
        kill(&child, Signal::HUP);
        if ends_with.is_some() {
            assert_eq!(wait(&mut child, LONG).code(), ends_with, "{args:?}");
            continue;
        }
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(sim.token().as_bytes()).unwrap();
        drop(stdin);
        await_subscription(&seen);
        kill(&child, Signal::TERM);
        assert_eq!(wait(&mut child, LONG).code(), Some(0), "{args:?}");
    }
}

/// Has a program started as the leader of a session that this terminal controls.
#[allow(unsafe_code, reason = "it runs between fork and exec")]
pub(super) fn controlled_by(program: &mut Command, terminal: OwnedFd) {
    let control = move || {
        rustix::process::setsid()?;
        Ok(rustix::process::ioctl_tiocsctty(&terminal)?)
    };
    // SAFETY: each of these is one system call.
    unsafe {
        program.pre_exec(control);
    }
}

#[test]
fn a_terminal_that_goes_away_ends_it_unless_it_is_not_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = format!("--output={}", file.display());
    for is_nohup in [false, true] {
        let (sim, seen) = start(0.0);
        let mut program = octave_ws(&sim, &["listen", TEMPERATURE, "-Frecord", &output]);
        if is_nohup {
            program = after("trap '' HUP", &program);
        }
        let (terminal, screen) = terminal();
        program.stderr(terminal.try_clone().unwrap());
        controlled_by(&mut program, terminal);
        let mut child = program.spawn().unwrap();
        drop(program);
        await_subscription(&seen);
        std::fs::remove_file(&file).unwrap();
        drop(screen);
        if is_nohup {
            until("it is reopened", || file.exists());
            assert!(child.try_wait().unwrap().is_none());
            kill(&child, Signal::TERM);
        }
        assert_eq!(wait(&mut child, LONG).code(), Some(0));
        assert_eq!(file.exists(), is_nohup);
    }
}

#[test]
fn a_terminal_that_goes_away_ends_it_wherever_it_waits() {
    let (sim, _seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let fifo = fifo.to_str().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = format!("--output={}", file.display());
    for args in [
        ["--output", fifo, TEMPERATURE],
        [&output, "--token-file", fifo],
        [&output, "--streams-file", fifo],
    ] {
        let mut program = octave_ws(&sim, &["listen"]);
        program.args(args);
        if args[1] == "--token-file" {
            program.env_remove("OCTAVE_TOKEN").arg(TEMPERATURE);
        }
        let (terminal, screen) = terminal();
        program.stderr(terminal.try_clone().unwrap());
        controlled_by(&mut program, terminal);
        let mut child = program.spawn().unwrap();
        drop(program);
        await_sleep(&child);
        drop(screen);
        assert_eq!(wait(&mut child, LONG).code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_terminal_that_goes_away_ends_it_where_there_is_no_dev_tty() {
    isolated("signals::without_dev_tty");
}

#[test]
#[ignore = "run by another, in namespaces of its own"]
fn without_dev_tty() {
    if std::env::var_os(ISOLATED).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = format!("--output={}", file.display());
    let (sim, seen) = start(0.0);
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE, &output]);
    let (terminal, screen) = terminal();
    program.stderr(terminal.try_clone().unwrap());
    controlled_by(&mut program, terminal);
    let hidden = Command::new("mount")
        .args(["-t", "tmpfs", "none", "/dev"])
        .status();
    assert!(hidden.unwrap().success());
    let mut child = program.stdin(Stdio::piped()).spawn().unwrap();
    drop(program);
    await_subscription(&seen);
    std::fs::remove_file(&file).unwrap();
    drop(screen);
    assert_eq!(wait(&mut child, LONG).code(), Some(0));
    assert!(!file.exists());
}

#[test]
fn nor_does_a_reader_that_reads_nothing_hold_it_up() {
    let (sim, seen) = start(0.0);
    let (mut out, writer) = io::pipe().unwrap();
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE]);
    let mut child = program.stdout(writer.try_clone().unwrap()).spawn().unwrap();
    drop(program);
    await_subscription(&seen);
    sim.publish_burst(TEMPERATURE, &vec![json!(1); 1000]);
    await_full(&writer);
    drop(writer);
    kill(&child, Signal::TERM);
    wait(&mut child, LONG);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    let warning = "warning: stopped with unread lines, events: ";
    assert!(stderr(&output).contains(warning), "{}", stderr(&output));
    // What is there are whole lines.
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("}\n"));
}
