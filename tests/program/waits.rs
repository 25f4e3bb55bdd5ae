//! What a run waits for beside the service: it waits within its deadline and for no signal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use octave_ws::sim::{ClientAction, Fault, Options, Sim};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, fcntl_getfl, fcntl_setfl, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use rustix::termios::{Action, tcflow};

use serde::de::IgnoredAny;
use serde_json::json;
use tungstenite::Message;

use super::files::as_unprivileged_user;
use super::memory::led_to;
use super::patience::until;
use super::raw::{Socket, grant, play, serve_out};
use super::{
    TEMPERATURE, await_seen, await_shown, await_subscription, kill, octave_ws, start, start_with,
    terminal,
};

/// Distinguishes a wait without end from a busy process.
const GRACE: Duration = Duration::from_secs(60);

const TIMEOUT: Duration = Duration::from_secs(1);

/// A stand-in that sends so much that no reader who does not read has room for it.
fn busy() -> Sim {
    let (sim, _) = start_with(Options {
        rate: 5_000.0,
        ..Options::default()
    });
    sim
}

/// How it ends, within so long.
pub(super) fn wait(child: &mut Child, time: Duration) -> ExitStatus {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let ended = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let mut fds = [PollFd::new(&ended, PollFlags::IN)];
    if poll(&mut fds, Some(&time.try_into().unwrap())).unwrap() == 0 {
        child.kill().unwrap();
        panic!("it does not end");
    }
    child.wait().unwrap()
}

/// The exit code of a program that ends within so long, and what stands on standard error.
fn end(mut child: Child, time: Duration) -> (Option<i32>, String) {
    let code = wait(&mut child, time).code();
    let mut told = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut told).unwrap();
    }
    (code, told)
}

/// A pipe that is not read, while its other end is kept.
fn unread() -> [(OwnedFd, OwnedFd); 3] {
    let (pipe, writer) = io::pipe().unwrap();
    let (far, near) = UnixStream::pair().unwrap();
    let (terminal, screen) = terminal();
    [
        (writer.into(), pipe.into()),
        (near.into(), far.into()),
        (terminal, screen.into()),
    ]
}

#[test]
fn a_reader_that_reads_nothing_does_not_outlast_the_deadline() {
    let sim = busy();
    let mut runs = Vec::new();
    for args in [
        &["listen", TEMPERATURE, "-W5s"][..],
        &["capture", TEMPERATURE, "--duration=1h", "-W5s"],
        &["listen", TEMPERATURE, "-C1000000", "-W5s"],
    ] {
        for (stdout, unread) in unread() {
            fill(&stdout);
            let child = octave_ws(&sim, args).stdout(stdout).spawn().unwrap();
            runs.push((child, unread));
        }
    }
    for (child, _unread) in runs {
        let (code, told) = end(child, GRACE);
        assert_eq!(code, Some(75), "{told}");
        let wanted = "error: timeout: output: not all lines were read in time\n";
        assert!(told.ends_with(wanted), "{told}");
    }
}

#[test]
fn nor_the_end_of_the_run_for_longer_than_two_seconds() {
    let sim = busy();
    for command in ["listen", "capture"] {
        let (writer, _reader) = full_pipe();
        let args = [command, TEMPERATURE, "--duration=1s"];
        let child = octave_ws(&sim, &args).stdout(writer).spawn().unwrap();
        let (code, told) = end(child, TIMEOUT + Duration::from_secs(2) + GRACE);
        assert_eq!(code, Some(75), "{told}");
        let wanted = "error: output: the reader stopped reading, and lines are left\n";
        assert!(told.ends_with(wanted), "{told}");
    }
}

/// A named pipe, without a process at its other end.
fn named_pipe(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).unwrap();
    path
}

/// A file that another process has locked.
fn locked_file(folder: &Path) -> (PathBuf, File) {
    let path = folder.join("events.jsonl");
    let file = File::create(&path).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    (path, file)
}

#[test]
fn an_unread_pipe_and_a_lock_end_at_the_deadline_and_at_a_signal() {
    let (sim, _seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let (file, _lock) = locked_file(folder.path());
    let pipe = named_pipe(folder.path());
    let waiting = format!("output: waiting for a reader of {}\n", pipe.display());
    for (path, first) in [(pipe, &*waiting), (file, "")] {
        let output = format!("--output={}", path.display());
        let args = ["listen", TEMPERATURE, "-W1s", &output];
        let (code, told) = end(octave_ws(&sim, &args).spawn().unwrap(), TIMEOUT + GRACE);
        let path = path.display();
        let wanted = format!("{first}error: timeout: output: {path} could not be opened in time\n");
        assert_eq!((code, told), (Some(75), wanted));

        let child = octave_ws(&sim, &args[..2]).arg(&output).spawn().unwrap();
        await_sleep(&child);
        kill(&child, Signal::TERM);
        assert_eq!(end(child, GRACE).0, Some(0));
    }
}

/// Waits until it waits for something, having caught signals, or is at its end.
pub(super) fn await_sleep(child: &Child) {
    let path = format!("/proc/{}/stat", child.id());
    until("it waits", || {
        let stat = std::fs::read_to_string(&path).unwrap();
        stat.contains(") Z ") || stat.contains(") S ") && super::files::catches_signals(child)
    });
}

/// A run of which something is to be read that does not come.
fn starved(sim: &Sim, command: &str, option: &str, source: &Path) -> Command {
    let mut run = octave_ws(sim, &[command, &format!("{option}={}", source.display())]);
    if option == "--token-file" {
        run.env_remove("OCTAVE_TOKEN");
    }
    run.stdin(Stdio::piped());
    run
}

#[test]
fn reads_end_at_the_deadline_and_at_a_signal() {
    let (sim, _seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    for (option, source, what) in [
        (
            "--streams-file",
            Path::new("-"),
            "streams of standard input",
        ),
        ("--streams-file", &pipe, "streams of PIPE"),
        ("--token-file", Path::new("-"), "token on standard input"),
        (
            "--token-file",
            &pipe,
            "token file PIPE, set by --token-file,",
        ),
        ("--config", &pipe, "PIPE, set by --config,"),
        ("--ca-file", &pipe, "CA file PIPE, set by --ca-file,"),
    ] {
        let what = what.replace("PIPE", &format!("{pipe:?}"));
        let mut run = starved(&sim, "listen", option, source);
        let child = run.args([TEMPERATURE, "-W1s"]).spawn().unwrap();
        let wanted = format!("error: timeout: config: {what} cannot be read: not done in time\n");
        assert_eq!(end(child, TIMEOUT + GRACE), (Some(75), wanted));

        for (command, wanted) in [
            ("listen", 0),
            ("capture", 75),
            ("session", 69),
            ("doctor", 75),
        ] {
            let takes_streams = command == "listen" || command == "capture";
            if option == "--streams-file" && !takes_streams {
                continue;
            }
            let mut run = starved(&sim, command, option, source);
            if takes_streams {
                run.arg(TEMPERATURE);
            }
            if command == "capture" {
                run.arg("-C1");
            }
            let child = run.spawn().unwrap();
            await_sleep(&child);
            kill(&child, Signal::TERM);
            let (code, told) = end(child, GRACE);
            assert_eq!(code, Some(wanted), "{command} {option}: {told}");
        }
    }
}

#[test]
fn endless_input_ends_at_the_deadline() {
    let (sim, _seen) = start(0.0);
    let endless = File::open("/dev/zero").unwrap();
    for option in ["--streams-file", "--token-file"] {
        let mut run = starved(&sim, "listen", option, Path::new("-"));
        run.args([TEMPERATURE, "-W1s"])
            .stdin(endless.try_clone().unwrap());
        let (code, told) = end(run.spawn().unwrap(), TIMEOUT + GRACE);
        assert!(matches!(code, Some(75 | 78)), "{told}");
    }
}

#[test]
fn input_may_come_late_and_in_parts() {
    let (sim, _seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let mut run = starved(&sim, "listen", "--token-file", &pipe);
    let child = run.arg("/demo/none").spawn().unwrap();
    await_sleep(&child);
    let mut writer = File::options().write(true).open(&pipe).unwrap();
    let (first, second) = sim.token().split_at(3);
    write!(writer, "\u{feff}{first}").unwrap();
    await_sleep(&child);
    writeln!(writer, "{second}").unwrap();
    drop(writer);
    let (code, told) = end(child, GRACE);
    // The token was good.
    assert_eq!(code, Some(77), "{told}");
    assert!(told.contains("refused /demo/none"), "{told}");
}

#[test]
fn a_signal_before_there_is_a_session_is_69() {
    for command in ["session", "shell"] {
        let (sim, seen) = start_with(Options {
            faults: vec![Fault::SessionSilent],
            ..Options::default()
        });
        let child = octave_ws(&sim, &[command]).spawn().unwrap();
        await_seen(&seen, |what| *what == ClientAction::Ignored);
        kill(&child, Signal::TERM);
        let wanted = "error: stopped before there was a session\n".to_owned();
        assert_eq!(end(child, GRACE), (Some(69), wanted));
    }
}

/// A pipe whose reader stopped reading.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = io::pipe().unwrap();
    fill(&writer);
    (writer.into(), reader.into())
}

/// Writes until there is no more room.
fn fill(output: impl AsFd) {
    fcntl_setfl(&output, OFlags::NONBLOCK).unwrap();
    while rustix::io::write(&output, &[b'\n'; 4096]).is_ok() {}
    fcntl_setfl(&output, OFlags::empty()).unwrap();
}

/// A terminal that somebody has stopped with ^S.
fn stopped_terminal() -> (OwnedFd, OwnedFd) {
    let (terminal, screen) = terminal();
    tcflow(&terminal, Action::OOff).unwrap();
    (terminal, screen.into())
}

#[test]
fn nothing_that_cannot_be_written_outlasts_a_signal() {
    let sim = busy();
    let runs = [
        // Where what is left is an event, or a word on standard error.
        (&["listen", TEMPERATURE][..], &[0, 75][..]),
        (&["capture", TEMPERATURE, "-C1000000"], &[75]),
        // Before or after there is a session.
        (&["shell"], &[0, 69]),
        (&["session"], &[75, 69]),
        (&["doctor"], &[75]),
        (&["--help"], &[75]),
    ];
    let each = |(args, codes): (&[&str], &[i32])| {
        for stuck in [full_pipe, stopped_terminal] {
            // Standard output, or standard error, or both.
            for which in 1..4 {
                let (fd, _other) = stuck();
                let mut program = octave_ws(&sim, args);
                program.stdin(Stdio::piped());
                if which & 1 > 0 {
                    program.stdout(fd.try_clone().unwrap());
                }
                if which & 2 > 0 {
                    program.stderr(fd).arg("-v");
                }
                let mut child = program.spawn().unwrap();
                drop(program);
                if args == ["shell"] {
                    let line = format!("subscribe {TEMPERATURE}\n");
                    child
                        .stdin
                        .as_ref()
                        .unwrap()
                        .write_all(line.as_bytes())
                        .unwrap();
                }
                let drained = child.stdout.take().map(|mut stdout| {
                    thread::spawn(move || io::copy(&mut stdout, &mut io::sink()))
                });
                await_sleep(&child);
                kill(&child, Signal::TERM);
                let status = wait(&mut child, GRACE).code();
                // A command may have been done before.
                let is_done = which == 2 && status == Some(0);
                let is_right = status.is_some_and(|status| codes.contains(&status));
                assert!(is_right || is_done, "{args:?} {which}: {status:?}");
                drop(child);
                drained.map(|thread| thread.join().unwrap().unwrap());
            }
        }
    };
    // Each takes as long as a stop may.
    thread::scope(|scope| {
        for run in runs {
            scope.spawn(move || each(run));
        }
    });
}

#[test]
fn no_line_is_torn_in_a_pipe_however_long_it_is() {
    let each = |length: usize, signal: bool, format: &str| {
        let (sim, seen) = start(0.0);
        let (mut reader, writer) = io::pipe().unwrap();
        let mut program = octave_ws(&sim, &["listen", TEMPERATURE, format]);
        if !signal {
            program.arg("-W10s");
        }
        let mut child = program.stdout(writer).spawn().unwrap();
        drop(program);
        await_subscription(&seen);
        let text = "x".repeat(length);
        sim.publish_burst(TEMPERATURE, &vec![json!(text); 1 + 400_000 / length]);
        // Until it is full: its pages may be half full.
        until("the pipe is full", || {
            rustix::io::ioctl_fionread(&reader).unwrap() >= 30_000
        });
        await_sleep(&child);
        if signal {
            kill(&child, Signal::TERM);
        }
        assert_eq!(wait(&mut child, GRACE).code(), Some(75));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.ends_with('\n'), "{length} {format}: {}", text.len());
        for line in text.lines() {
            // For eyes, `elems` stands behind the path.
            let json = line.split_once(&format!("{TEMPERATURE}  "));
            let json = json.map_or(line, |(_, elems)| elems);
            serde_json::from_str::<IgnoredAny>(json).unwrap();
        }
    };
    // Most of the time they wait.
    thread::scope(|scope| {
        for length in [100, 5_000, 100_000, 300_000] {
            for (signal, format) in [(true, "-Fevent"), (false, "-Fevent"), (true, "-Ftext")] {
                scope.spawn(move || each(length, signal, format));
            }
        }
    });
}

#[test]
fn lines_of_two_programs_in_one_pipe_are_not_mixed() {
    for format in ["event", "text"] {
        two_programs_in_one_pipe(format);
    }
}

fn two_programs_in_one_pipe(format: &str) {
    let (mut reader, writer) = io::pipe().unwrap();
    let (sim, seen) = start(0.0);
    let mut programs: Vec<Child> = (0..2)
        .map(|_| {
            let mut program = octave_ws(&sim, &["listen", TEMPERATURE, "-C400", "-F", format]);
            program.stdout(writer.try_clone().unwrap()).spawn().unwrap()
        })
        .collect();
    drop(writer);
    for _ in 0..2 {
        await_subscription(&seen);
    }
    // Some are nearly as long as a pipe takes at once.
    let events: Vec<_> = (0..400).map(|n| json!("x".repeat(n * 37 % 3600))).collect();
    sim.publish_burst(TEMPERATURE, &events);
    for program in &programs {
        await_sleep(program);
    }
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    for program in &mut programs {
        assert_eq!(wait(program, GRACE).code(), Some(0));
    }
    assert_eq!(text.lines().count(), 800);
    for line in text.lines() {
        assert!(line.len() < 4096);
        let is_whole = match format {
            "text" => line.matches(TEMPERATURE).count() == 1,
            _ => serde_json::from_str::<IgnoredAny>(line).is_ok(),
        };
        assert!(is_whole, "{line}");
    }
}

#[test]
fn a_reader_that_goes_away_is_noticed_though_no_event_comes() {
    for command in ["listen", "shell"] {
        let (sim, seen) = start(0.0);
        let (mut reader, writer) = io::pipe().unwrap();
        let mut program = octave_ws(&sim, &[command]);
        if command == "listen" {
            program.arg(TEMPERATURE);
        }
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(writer)
            .spawn()
            .unwrap();
        drop(program);
        if let ("shell", Some(stdin)) = (command, &mut child.stdin) {
            writeln!(stdin, "subscribe {TEMPERATURE}").unwrap();
        }
        await_subscription(&seen);
        sim.publish(TEMPERATURE, &json!(1));
        assert!(reader.read(&mut [0; 8192]).unwrap() > 0);
        drop(reader);
        assert_eq!(wait(&mut child, GRACE).code(), Some(0), "{command}");
    }
}

/// Reads what an output holds, a while after it has been filled.
fn read_late(mut reader: impl Read) -> String {
    thread::sleep(Duration::from_millis(500));
    let mut text = Vec::new();
    // That a terminal is left is an error of its own.
    let _ = reader.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn an_output_that_somebody_has_made_nonblocking_is_waited_for() {
    for (output, reader) in unread() {
        let sim = busy();
        fcntl_setfl(&output, OFlags::NONBLOCK).unwrap();
        let mut program = octave_ws(&sim, &["listen", TEMPERATURE, "-C2000", "-Fevent"]);
        let mut child = program.stdout(output.try_clone().unwrap()).spawn().unwrap();
        drop(program);
        // What others have set stays as it is.
        let flags = fcntl_getfl(&output).unwrap();
        assert!(flags.contains(OFlags::NONBLOCK));
        drop(output);
        let text = read_late(File::from(reader));
        assert_eq!(wait(&mut child, GRACE).code(), Some(0));
        assert_eq!(text.lines().count(), 2000);
    }
}

#[test]
fn dev_stdout_may_be_a_socket() {
    let sim = busy();
    for command in ["listen", "capture"] {
        let (mut far, near) = UnixStream::pair().unwrap();
        let args = [command, TEMPERATURE, "-C20", "-W9s", "-o/dev/stdout"];
        let child = octave_ws(&sim, &args)
            .stdout(OwnedFd::from(near))
            .spawn()
            .unwrap();
        let mut text = String::new();
        far.read_to_string(&mut text).unwrap();
        let (code, told) = end(child, GRACE);
        assert_eq!(code, Some(0), "{told}");
        assert_eq!(text.lines().count(), 20);
    }
}

#[test]
fn an_unread_status_does_not_delay_events() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = format!("--output={}", file.display());
    let (terminal, mut screen) = terminal();
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE, &output]);
    let mut child = program
        .stderr(terminal.try_clone().unwrap())
        .spawn()
        .unwrap();
    drop(program);
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    await_shown(&mut screen, "1 event,");
    tcflow(&terminal, Action::OOff).unwrap();
    for n in 2..8 {
        // As many events, each of which would be shown.
        thread::sleep(Duration::from_millis(300));
        sim.publish(TEMPERATURE, &json!(n));
        until("the event is written", || {
            std::fs::read_to_string(&file).unwrap().lines().count() >= n
        });
    }
    kill(&child, Signal::TERM);
    assert_eq!(wait(&mut child, GRACE).code(), Some(0));
}

/// A service that sends something else and events, more than fits between it and a program that
/// does not read, and fails where that program asks for something before it has all of them.
fn insistent(go: mpsc::Receiver<()>, length: usize) -> (String, JoinHandle<()>) {
    play([Box::new(move |tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        go.recv_timeout(GRACE).unwrap();
        socket.send(Message::text("no event")).unwrap();
        let event = Message::text(format!(r#"{{"value":"{}"}}"#, "x".repeat(length)));
        for n in 0..INSISTENT / length {
            socket.send(event.clone()).unwrap();
            let mut fds = [PollFd::new(tcp, PollFlags::IN)];
            let is_left = poll(&mut fds, Some(&Timespec::default())).unwrap() > 0;
            assert!(!is_left, "it leaves after {n} events");
        }
        serve_out(&mut socket);
    })])
}

/// How much it sends.
const INSISTENT: usize = 20_000_000;

#[test]
fn a_run_is_not_idle_while_its_reader_sleeps() {
    // Lines that are collected before they are written, and such that are not.
    for length in [10_000, 100_000] {
        let (sender, go) = mpsc::channel();
        let (endpoint, service) = insistent(go, length);
        let (mut reader, writer) = io::pipe().unwrap();
        let mut program = led_to(&endpoint, &["capture", "/a", "--idle=1s"]);
        let mut child = program.stdout(writer).spawn().unwrap();
        drop(program);
        sender.send(()).unwrap();
        // For longer than it may be idle, and than it looks for an event then.
        thread::sleep(4 * TIMEOUT);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(wait(&mut child, GRACE).code(), Some(0), "{length}");
        service.join().unwrap();
        assert_eq!(text.lines().count(), INSISTENT / length);
    }
}

#[test]
fn a_run_is_not_idle_before_all_is_read_that_has_come() {
    let (sender, go) = mpsc::channel();
    let length = 10_000;
    let (endpoint, service) = insistent(go, length);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = format!("-o{}", file.display());
    let args = ["listen", "/a", "--idle=1s", "-Frecord", &output];
    let mut child = led_to(&endpoint, &args).spawn().unwrap();
    let written = || std::fs::read_to_string(&file).unwrap_or_default();
    until("it is subscribed", || written().contains("subscribed"));
    kill(&child, Signal::STOP);
    sender.send(()).unwrap();
    thread::sleep(TIMEOUT + TIMEOUT / 2);
    kill(&child, Signal::CONT);
    assert_eq!(wait(&mut child, GRACE).code(), Some(0));
    service.join().unwrap();
    let events = written().matches(r#""kind":"event""#).count();
    assert_eq!(events, INSISTENT / length);
}

#[test]
fn programs_on_one_pipe_of_another_user_do_not_block_each_other() {
    let (sim, seen) = start(0.0);
    // They may not open it themselves, so that its flags are not theirs.
    let (mut reader, writer) = io::pipe().unwrap();
    let mut children = Vec::new();
    let folders: [_; 4] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    for folder in &folders {
        let everyone = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everyone).unwrap();
        let Some(mut program) = as_unprivileged_user(&sim, folder.path(), &["listen", TEMPERATURE])
        else {
            eprintln!("not run: it takes root to be somebody else");
            return;
        };
        program.stdout(writer.try_clone().unwrap());
        children.push(program.spawn().unwrap());
    }
    for _ in &children {
        await_subscription(&seen);
    }
    drop(writer);
    sim.publish_burst(TEMPERATURE, &vec![json!("x".repeat(200)); 10_000]);
    // Each finds room that another takes.
    let mut page = [0; 4096];
    for _ in 0..500 {
        reader.read_exact(&mut page).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    for child in &children {
        kill(child, Signal::TERM);
    }
    for child in &mut children {
        assert_eq!(wait(child, GRACE).code(), Some(75));
    }
}

#[test]
fn an_unread_socket_does_not_keep_a_stopped_run() {
    let (sim, seen) = start(0.0);
    let (far, near) = UnixStream::pair().unwrap();
    let mut program = octave_ws(&sim, &["listen", TEMPERATURE]);
    let mut child = program.stdout(OwnedFd::from(near)).spawn().unwrap();
    drop(program);
    await_subscription(&seen);
    // Each is more than a socket takes at once.
    let event = json!("x".repeat(1 << 20));
    sim.publish_burst(TEMPERATURE, &vec![event; 3]);
    let mut fds = [PollFd::new(&far, PollFlags::IN)];
    let patience = Timespec::try_from(GRACE).unwrap();
    assert_eq!(poll(&mut fds, Some(&patience)).unwrap(), 1);
    kill(&child, Signal::TERM);
    assert_eq!(wait(&mut child, GRACE).code(), Some(75));
}

#[test]
fn a_slow_reader_gets_all_lines_at_the_end() {
    let (sim, seen) = start(0.0);
    let (mut reader, writer) = io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut program = octave_ws(&sim, &["capture", TEMPERATURE, "-C20"]);
    let mut child = program.stdout(writer).spawn().unwrap();
    drop(program);
    await_subscription(&seen);
    sim.publish_burst(TEMPERATURE, &vec![json!("x".repeat(1000)); 20]);
    // It takes longer than a reader may sleep, and sleeps a tenth of that at a time.
    let mut text = Vec::new();
    let mut block = [0; 1024];
    loop {
        thread::sleep(Duration::from_millis(200));
        match reader.read(&mut block).unwrap() {
            0 => break,
            n => text.extend_from_slice(&block[..n]),
        }
    }
    assert_eq!(wait(&mut child, GRACE).code(), Some(0));
    assert_eq!(String::from_utf8(text).unwrap().lines().count(), 20);
}

#[test]
fn a_hundred_years_are_no_time() {
    let (sim, _seen) = start(100.0);
    let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "-C1", "-W100y"]);
    for option in [
        "connect-timeout",
        "ack-timeout",
        "ping-interval",
        "ping-timeout",
        "heartbeat",
        "idle",
    ] {
        command.arg(format!("--{option}=100y"));
    }
    let output = command.output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
