//! The built programs, against the stand-in.
#![cfg(all(feature = "cli", feature = "sim"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};

use octave_ws::sim::{ClientAction, Options, Sim};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use crate::patience::Told;

mod clock;
mod completions;
mod doctor;
mod ends;
mod files;
mod folders;
mod formats;
mod history;
mod layouts;
mod listen;
mod man;
mod memory;
mod names;
mod nothing_missed;
mod octave_sim;
mod options;
#[path = "../patience/mod.rs"]
mod patience;
mod progress;
#[path = "../raw/mod.rs"]
mod raw;
mod readme;
mod reconnect;
mod rotation;
#[path = "../seed/mod.rs"]
mod seed;
mod session;
mod shell;
mod signals;
mod silence;
mod soak;
mod soak_fill;
mod state;
mod status;
mod streams;
mod systemd;
mod waits;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const HUMIDITY: &str = "/demo/devices/gw1/humidity";
/// The commands of the program.
const COMMANDS: [&str; 8] = [
    "listen",
    "capture",
    "history",
    "session",
    "shell",
    "doctor",
    "status",
    "completions",
];

/// A stand-in with so many events a second of its own, and what it sees.
fn start(rate: f64) -> (Sim, Told) {
    start_with(Options {
        rate,
        ..Options::default()
    })
}

fn start_with(mut options: Options) -> (Sim, Told) {
    let (observer, seen) = mpsc::channel();
    options.observer = Some(observer);
    (Sim::start_with(options).unwrap(), Told(seen))
}

/// Waits until a client has subscribed.
fn await_subscription(seen: &Told) {
    await_seen(seen, |what| matches!(what, ClientAction::Subscribed(_)));
}

/// Waits until the stand-in has seen this, which would not come from a program that has failed.
fn await_seen(seen: &Told, mut is_awaited: impl FnMut(&ClientAction) -> bool) {
    let mut whats = seen.iter().map(|seen| seen.action);
    assert!(whats.any(|what| is_awaited(&what)), "it is not seen");
}

/// As long as no run of the program takes: one that does waits in vain, and its test with it.
const LIMIT: Duration = Duration::from_secs(90);

/// From now on ends children of this process that take too long, so that their tests fail.
fn end_what_does_not_end() {
    static BEGUN: Once = Once::new();
    // A long soak is meant to be one.
    if std::env::var_os("OCTAVE_SOAK_SECONDS").is_some() {
        return;
    }
    BEGUN.call_once(|| {
        std::thread::spawn(|| {
            let mut since = BTreeMap::new();
            loop {
                let found = children();
                since.retain(|pid, _| found.contains(pid));
                for pid in found {
                    if since.entry(pid).or_insert_with(Instant::now).elapsed() > LIMIT {
                        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
                    }
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
    });
}

/// The processes that this one has started.
fn children() -> BTreeSet<i32> {
    let own = std::process::id().to_string();
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // proc(5): its name in parentheses, its state, its parent.
        let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
        rest.split(' ').nth(1) == Some(&own)
    };
    let names = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = names.filter_map(|name| name.file_name().to_str()?.parse().ok());
    pids.filter(is_child).collect()
}

/// The program, led to the stand-in by its environment and nothing else.
fn octave_ws(sim: &Sim, args: &[&str]) -> Command {
    end_what_does_not_end();
    let ca_file = file(sim, "ca.pem", sim.ca_pem());
    let mut command = Command::new(env!("CARGO_BIN_EXE_octave-ws"));
    command
        .args(args)
        .env_clear()
        .env("OCTAVE_ENDPOINT", sim.endpoint())
        .env("OCTAVE_API", sim.api())
        .env("OCTAVE_CA_FILE", ca_file)
        .env("OCTAVE_USER", sim.user())
        .env("OCTAVE_COMPANY", sim.company())
        .env("OCTAVE_TOKEN", sim.token())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    end_with_its_test(&mut command);
    command
}

/// Has a program killed where the test that started it ends without it, failing.
#[allow(
    unsafe_code,
    reason = "it runs between fork and exec, and is one system call"
)]
fn end_with_its_test(command: &mut Command) {
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}

/// A file in a folder that is this stand-in's own.
fn file(sim: &Sim, name: &str, text: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(sim.addr().port().to_string());
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // A program that was started before may be reading it: it never finds half of it.
    let mut whole = tempfile::NamedTempFile::new_in(&folder).unwrap();
    whole.write_all(text.as_bytes()).unwrap();
    whole.persist(&path).unwrap();
    path
}

fn lines(output: &Output) -> Vec<Value> {
    let text = text(&output.stdout);
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn stderr(output: &Output) -> &str {
    text(&output.stderr)
}

/// A logged line, without the time that warnings have off the terminal.
fn untimed(line: &str) -> &str {
    line.split_once("Z ").map_or(line, |(_, rest)| rest)
}

/// A library in C, which `LD_PRELOAD` puts before the C library.
fn preloaded(source: &str) -> PathBuf {
    let folder = tempfile::tempdir().unwrap().keep();
    let (file, library) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&file, source).unwrap();
    let mut cc = Command::new("cc");
    let built = cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(file);
    assert!(built.status().unwrap().success());
    library
}

/// A terminal: what a program is given of it, and what shows what it wrote there.
fn terminal() -> (OwnedFd, File) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&screen).unwrap();
    unlockpt(&screen).unwrap();
    let path = ptsname(&screen, Vec::new()).unwrap();
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(path.to_str().unwrap());
    (terminal.unwrap().into(), screen.into())
}

/// How wide a terminal is.
fn set_columns(terminal: &OwnedFd, columns: u16) {
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

/// All that is written to a terminal until it is left.
fn shown(screen: &mut File) -> String {
    let mut shown = Vec::new();
    // That it is left is an error of its own.
    let _ = screen.read_to_end(&mut shown);
    String::from_utf8(shown).unwrap()
}

/// Reads what is shown until it holds the words, and up to the end of a status.
fn await_shown(screen: &mut File, words: &str) -> String {
    let mut shown = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&shown);
        if text.contains(words) && text.ends_with("\x1b[?7h") {
            return text.into_owned();
        }
        let mut fds = [PollFd::new(&*screen, PollFlags::IN)];
        let patience = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let is_ready = poll(&mut fds, Some(&patience)).unwrap() > 0;
        assert!(is_ready, "{words:?} is not shown: {text}");
        let mut bytes = [0; 512];
        let n = screen.read(&mut bytes).unwrap();
        assert!(n > 0, "{text}");
        shown.extend_from_slice(&bytes[..n]);
    }
}

/// Waits until a pipe takes no more. How many bytes that are depends on how they were written.
fn await_full(writer: &PipeWriter) {
    patience::until("the pipe is full", || {
        let mut polled = [PollFd::new(writer, PollFlags::OUT)];
        poll(&mut polled, Some(&Timespec::default())).unwrap() == 0
    });
}

fn kill(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}
