//! Files: whole or not there, appended to, and put aside while they are written.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};

use octave_ws::sim::Sim;
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::process::Signal;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::Message;

use super::memory::led_to;
use super::patience::{Told, until};
use super::raw::{Socket, grant, play, serve_out};
use super::silence::FAST_CLOCK;
use super::{TEMPERATURE, await_subscription, kill, octave_ws, preloaded, start, stderr, untimed};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    (folder, file)
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The `elems` of each line; all of the file is whole lines.
fn elems(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let elems = |line| serde_json::from_str::<Value>(line).unwrap()["elems"].take();
    text.lines().map(elems).collect()
}

fn numbers(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!(n)).collect()
}

/// A run with these arguments, subscribed.
fn subscribed(args: &[&str]) -> (Sim, Told, Child) {
    let (sim, seen) = start(0.0);
    let child = octave_ws(&sim, args).spawn().unwrap();
    await_subscription(&seen);
    (sim, seen, child)
}

/// A run with these arguments while an event comes again and again.
fn run(args: &[&str]) -> Output {
    octave_ws(&start(100.0).0, args).output().unwrap()
}

/// Waits until a file has so many lines.
fn await_lines(path: &Path, count: usize) {
    until("the file has as many lines", || {
        fs::read_to_string(path).unwrap_or_default().lines().count() >= count
    });
}

#[test]
fn a_capture_is_there_once_it_is_whole() {
    let (folder, file) = folder();
    fs::write(&file, "before\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let args = ["capture", TEMPERATURE, "-C3", "-o", name(&file)];
    let (sim, _seen, child) = subscribed(&args);
    sim.publish_burst(TEMPERATURE, &numbers(2));
    let part = folder.path().join("events.jsonl.part");
    await_lines(&part, 2);
    assert_eq!(fs::read_to_string(&file).unwrap(), "before\n");
    sim.publish(TEMPERATURE, &json!(2));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(elems(&file), numbers(3));
    assert!(!part.exists());
    assert!(output.stdout.is_empty());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn an_incomplete_capture_leaves_its_part_beside_the_old_file() {
    let (folder, file) = folder();
    let part = folder.path().join("events.jsonl.part");
    for end in ["SIGTERM", "SIGHUP", "timeout", "loss"] {
        fs::write(&file, "before\n").unwrap();
        fs::write(&part, "of an earlier run, and much longer than the new one").unwrap();
        let timeout = if end == "timeout" { "-W6s" } else { "-W1m" };
        let args = ["capture", TEMPERATURE, "-C9", "--no-reconnect", "-q", "-o"];
        let (sim, _seen, child) = subscribed(&[&args[..], &[name(&file), timeout]].concat());
        sim.publish_burst(TEMPERATURE, &numbers(2));
        await_lines(&part, 2);
        match end {
            "SIGTERM" => kill(&child, Signal::TERM),
            "SIGHUP" => kill(&child, Signal::HUP),
            "loss" => drop(sim.drop_all()),
            _ => {}
        }
        let output = child.wait_with_output().unwrap();
        let code = if end == "loss" { 69 } else { 75 };
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(&file).unwrap(), "before\n");
        assert_eq!(elems(&part), numbers(2));
        let told = format!(
            "warning: output: {} holds what came, events: 2\n",
            part.display()
        );
        assert!(stderr(&output).contains(&told), "{}", stderr(&output));
    }
}

#[test]
fn a_file_missing_at_the_end_is_warned_of() {
    let (_folder, file) = folder();
    let (sim, _seen, child) = subscribed(&["listen", TEMPERATURE, "-C1", "-o", name(&file)]);
    fs::remove_file(&file).unwrap();
    sim.publish(TEMPERATURE, &json!(1));
    let output = child.wait_with_output().unwrap();
    let told = format!("warning: output: {} was removed or replaced", name(&file));
    assert!(stderr(&output).contains(&told), "{}", stderr(&output));
}

#[test]
fn a_shared_or_missing_file_is_warned_of_once() {
    let (_folder, file) = folder();
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "-o", name(&file)];
    let first = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    let mut second = octave_ws(&sim, &args);
    // For it, half a minute is over after two seconds.
    let mut second = second
        .env("LD_PRELOAD", preloaded(FAST_CLOCK))
        .spawn()
        .unwrap();
    await_subscription(&seen);
    fs::rename(&file, file.with_extension("1")).unwrap();
    let mut told = BufReader::new(second.stderr.take().unwrap());
    let told = std::thread::spawn(move || {
        let mut text = String::new();
        while !text.contains("removed or replaced") {
            assert!(told.read_line(&mut text).unwrap() > 0, "{text}");
        }
        (text, told)
    });
    // It looks when there is something to do.
    until("it is told", || {
        sim.publish(TEMPERATURE, &json!(1));
        told.is_finished()
    });
    let (mut text, mut told) = told.join().unwrap();
    for _ in 0..2 {
        kill(&second, Signal::TERM);
    }
    assert_eq!(second.wait().unwrap().code(), Some(0));
    told.read_to_string(&mut text).unwrap();
    let path = file.display();
    for line in [
        format!("warning: output: {path}: another process appends to it, too\n"),
        format!(
            "warning: output: {path} was removed or replaced: SIGHUP opens it again; until then \
             lines go into the old file\n"
        ),
    ] {
        assert_eq!(text.matches(&line).count(), 1, "{text}");
    }
    kill(&first, Signal::TERM);
    let output = first.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = stderr(&output);
    assert!(!told.contains("another process"), "{told}");
    assert_eq!(told.matches("was removed or replaced").count(), 1, "{told}");
}

#[test]
fn a_capture_without_an_event_leaves_nothing() {
    let (folder, file) = folder();
    for format in ["-Fevent", "-Frecord"] {
        let args = [
            "capture",
            TEMPERATURE,
            "-C9",
            "-W2s",
            format,
            "-o",
            name(&file),
        ];
        let output = octave_ws(&start(0.0).0, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{format}");
    }
}

#[test]
fn a_capture_needs_an_end() {
    let (_folder, file) = folder();
    let output = run(&["capture", TEMPERATURE, "-o", name(&file)]);
    assert_eq!(output.status.code(), Some(64));
    let wanted = "error: usage: no end condition: give --count, --duration, --idle or --max-bytes (see --help)\n";
    assert_eq!(stderr(&output), wanted);
    let output = run(&["capture", TEMPERATURE, "--duration=1s", "-o", name(&file)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!elems(&file).is_empty());
    let output = run(&["capture", TEMPERATURE, "-C2"]);
    assert_eq!(super::lines(&output).len(), 2);
}

#[test]
fn two_captures_of_one_file_are_one_too_many() {
    let (_folder, file) = folder();
    let args = ["capture", TEMPERATURE, "-C1", "-o", name(&file)];
    let (sim, seen, first) = subscribed(&args);
    let second = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    let wanted = format!(
        "error: output: another run is writing {}.part\n",
        name(&file)
    );
    assert_eq!(stderr(&second), wanted);
    sim.publish(TEMPERATURE, &json!(0));
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
    let third = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    assert_eq!(third.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(elems(&file), [json!(1)]);
}

#[test]
fn a_part_that_another_run_has_made_is_not_taken_for_ones_own() {
    let (folder, file) = folder();
    fs::write(&file, "before\n").unwrap();
    let part = folder.path().join("events.jsonl.part");
    let args = ["capture", TEMPERATURE, "-C1", "-o", name(&file)];
    let (first_sim, _first_seen, first) = subscribed(&args);
    fs::remove_file(&part).unwrap();
    let (second_sim, _second_seen, second) = subscribed(&args);
    first_sim.publish(TEMPERATURE, &json!(1));
    let output = first.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    let wanted = format!(
        "error: output: {}: not the file that was written: it was removed or replaced\n",
        part.display()
    );
    assert!(stderr(&output).ends_with(&wanted), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "before\n");
    second_sim.publish(TEMPERATURE, &json!(2));
    assert_eq!(second.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(elems(&file), [json!(2)]);
}

#[test]
fn a_descriptor_that_was_given_is_written_to_as_it_is() {
    let (folder, _) = folder();
    let link = folder.path().join("link");
    symlink("/proc/self/fd/3", &link).unwrap();
    symlink("/dev/stdout", folder.path().join("latest")).unwrap();
    let here = format!("exec >> LOG; cd '{}'", name(folder.path()));
    let log = folder.path().join("log");
    let others = File::options()
        .create(true)
        .append(true)
        .open(&log)
        .unwrap();
    let others = format!("/proc/{}/fd/{}", std::process::id(), others.as_raw_fd());
    let (sim, _seen) = start(100.0);
    for (first, output) in [
        (&*here, "latest"),
        ("exec >> LOG; cd /dev", "stdout"),
        ("exec >> LOG", "/proc/thread-self/fd/1"),
        (":", &others),
        ("exec >> LOG", "/dev/stdout"),
        ("exec >> LOG", "/dev/fd/1"),
        ("exec 2>> LOG", "/dev/stderr"),
        ("exec 3>> LOG", "/proc/self/fd/3"),
        ("exec 3>> LOG", name(&link)),
    ] {
        for command in ["capture", "listen"] {
            fs::write(&log, "before\n").unwrap();
            let program = octave_ws(&sim, &[command, TEMPERATURE, "-q", "-C2", "-o", output]);
            let mut program = after(&first.replace("LOG", name(&log)), &program);
            let done = program.output().unwrap();
            assert_eq!(done.status.code(), Some(0), "{output}: {}", stderr(&done));
            let text = fs::read_to_string(&log).unwrap();
            assert_eq!(text.lines().next(), Some("before"), "{output}");
            assert_eq!(text.lines().count(), 3, "{output}: {text}");
        }
    }
    for (first, output) in [
        ("exec <&-", "/dev/stdin"),
        ("exec >&-", "/dev/fd/1"),
        ("exec 2>&-", "/dev/stderr"),
    ] {
        let program = octave_ws(&sim, &["capture", TEMPERATURE, "-C1", "-o", output]);
        let done = after(first, &program).output().unwrap();
        assert_eq!(done.status.code(), Some(74), "{output}: {}", stderr(&done));
    }
    // Not even one that is the program's own. Tests beside this one may leave it others.
    for number in 3..20 {
        let output = format!("/dev/fd/{number}");
        let args = ["capture", TEMPERATURE, "-C1", "-o", &output];
        let done = octave_ws(&sim, &args).output().unwrap();
        assert_eq!(done.status.code(), Some(74), "{output}");
        let wanted = format!("error: output: {output}: Bad file descriptor (os error 9)\n");
        assert!(stderr(&done).ends_with(&wanted), "{}", stderr(&done));
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The program in a shell that has done this before.
pub(super) fn after(first: &str, program: &std::process::Command) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    let variables = program.get_envs();
    command
        .args(["-c", &format!("{first}; exec \"$0\" \"$@\"")])
        .arg(program.get_program())
        .args(program.get_args())
        .env_clear()
        .envs(variables.filter_map(|(name, value)| Some((name, value?))))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}

#[test]
fn a_part_has_the_permissions_of_the_file_from_its_start() {
    let (folder, file) = folder();
    let part = folder.path().join("events.jsonl.part");
    for (before, left, wanted) in [
        (None, None, 0o640),
        (None, Some(0o666), 0o640),
        (Some(0o604), None, 0o604),
        (Some(0o444), Some(0o444), 0o444),
        // Who may run a file as its owner is another matter.
        (Some(0o6755), Some(0o600), 0o755),
    ] {
        for (path, mode) in [(&file, before), (&part, left)] {
            let _ = fs::remove_file(path);
            if let Some(mode) = mode {
                fs::write(path, "before\n").unwrap();
                // They mean this group. Only root gives a file to another.
                let _ = std::os::unix::fs::chown(path, None, Some(65534));
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        let group = fs::metadata(&file).ok().map(|before| before.gid());
        let (sim, seen) = start(0.0);
        let args = ["capture", TEMPERATURE, "-C1", "-o", name(&file)];
        let child = after("umask 027", &octave_ws(&sim, &args)).spawn().unwrap();
        await_subscription(&seen);
        assert_eq!(mode(&part), wanted, "{before:?} {left:?}");
        let own = fs::metadata(&part).unwrap().gid();
        assert!(group.is_none_or(|group| group == own), "{before:?}");
        assert_eq!(fs::read_to_string(&part).unwrap(), "");
        sim.publish(TEMPERATURE, &json!(1));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(mode(&file), wanted, "{before:?} {left:?}");
    }
}

#[test]
fn a_file_stays_its_owners_and_its_groups_where_it_can() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: it takes root to own what others do");
        return;
    }
    let (sim, _seen) = start(100.0);
    let (folder, file) = folder();
    // What is made there is of the folder's group.
    chown(folder.path(), None, Some(1300)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2777)).unwrap();
    let owner = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.uid(), found.gid())
    };
    let args = ["capture", TEMPERATURE, "-C1", "-o", name(&file)];
    let given = |uid, gid| {
        fs::write(&file, "before\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        chown(&file, Some(uid), Some(gid)).unwrap();
    };
    for _ in 0..2 {
        given(1234, 1235);
        let output = octave_ws(&sim, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!((owner(&file), mode(&file)), ((1234, 1235), 0o640));
    }
    // A user who is of the group, and one who is not.
    for (group, kept, told) in [
        (65534, (65534, 65534), "from 1234:65534 to 65534:65534"),
        (1235, (65534, 1300), "from 1234:1235 to 65534:1300"),
    ] {
        given(1234, group);
        let mut program = as_unprivileged_user(&sim, folder.path(), &args).unwrap();
        let output = program.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!((owner(&file), mode(&file)), (kept, 0o640));
        let told = format!(
            "warning: output: {}: the owner changes {told}\n",
            file.display()
        );
        assert_eq!(
            stderr(&output).matches(&told).count(),
            1,
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn listen_appends_and_cuts_a_torn_line_off() {
    let (_folder, file) = folder();
    let torn = format!("{{\"elems\":0}}\n{{\"elems\":\"{}", "x".repeat(10_000));
    fs::write(&file, &torn).unwrap();
    let output = run(&["listen", TEMPERATURE, "-C1", "-o", name(&file)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let wanted = format!(
        "warning: output: {}: a torn last line was cut off, 10010 bytes\n",
        name(&file)
    );
    assert!(
        untimed(stderr(&output)).starts_with(&wanted),
        "{}",
        stderr(&output)
    );
    assert_eq!(elems(&file)[0], json!(0));
    assert_eq!(elems(&file).len(), 2);
    assert!(output.stdout.is_empty());
}

#[test]
fn a_file_without_records_loses_nothing() {
    let (folder, _) = folder();
    let notes = folder.path().join("notes.txt");
    fs::write(&notes, "Do not lose this").unwrap();
    let output = run(&["listen", TEMPERATURE, "-C1", "-o", name(&notes)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = fs::read_to_string(&notes).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(first, "Do not lose this");
    assert_eq!(rest.lines().count(), 1);
    assert!(rest.ends_with("}\n"), "{rest}");
}

#[test]
fn a_torn_line_beside_another_writer_stays_by_itself() {
    let (_folder, file) = folder();
    fs::write(&file, "{}\n{\"torn").unwrap();
    let other = File::open(&file).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockShared).unwrap();
    let output = run(&["listen", TEMPERATURE, "-C1", "-o", name(&file)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let wanted = format!(
        "warning: output: {}: a torn last line of 6 bytes was left: another process is writing \
         there\n",
        name(&file)
    );
    assert!(
        untimed(stderr(&output)).starts_with(&wanted),
        "{}",
        stderr(&output)
    );
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("{}\n{\"torn\n{"), "{text}");
    assert_eq!(text.lines().count(), 3);
}

/// Runs the program as a user without rights, if there is another user here.
pub(super) fn as_unprivileged_user(
    sim: &Sim,
    folder: &Path,
    args: &[&str],
) -> Option<std::process::Command> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // Everything that leads to it may be out of reach.
    let program = folder.join("octave-ws");
    let ca_file = folder.join("ca.pem");
    // By a process of its own: one that another test forks meanwhile would hold the copy open for
    // writing, and it could not be run.
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg(env!("CARGO_BIN_EXE_octave-ws")).arg(&program);
    assert!(copied.status().unwrap().success());
    fs::write(&ca_file, sim.ca_pem()).unwrap();
    let settings = octave_ws(sim, args);
    let mut command = std::process::Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(
            settings
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("OCTAVE_CA_FILE", ca_file)
        .uid(65534)
        .gid(65534)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    Some(command)
}

#[test]
fn no_right_to_read_is_needed() {
    let (sim, _seen) = start(100.0);
    let (outside, _) = folder();
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(outside.path(), 0o755);
    let inside = outside.path().join("inside");
    let file = inside.join("events.jsonl");
    for command in ["listen", "capture"] {
        fs::create_dir(&inside).unwrap();
        fs::write(&file, "{}\n").unwrap();
        open(&file, 0o222);
        open(&inside, 0o333);
        let args = [command, TEMPERATURE, "-C1", "-o", name(&file)];
        let Some(mut program) = as_unprivileged_user(&sim, outside.path(), &args) else {
            eprintln!("not run: it takes root to be somebody else");
            return;
        };
        let output = program.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let lines = if command == "listen" { 2 } else { 1 };
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), lines);
        fs::remove_dir_all(&inside).unwrap();
    }
}

#[test]
fn sighup_opens_the_file_again_and_loses_nothing() {
    let (folder, file) = folder();
    let (sim, _seen, mut child) = subscribed(&["listen", TEMPERATURE, "-o", name(&file)]);
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut reopened = || {
        let told = told.by_ref().map(Result::unwrap);
        let before: Vec<String> = told.take_while(|line| !line.contains("reopened")).collect();
        assert!(
            !before.iter().any(|line| line.contains("warning")),
            "{before:?}"
        );
    };
    let olds: Vec<PathBuf> = (0..5).map(|n| folder.path().join(n.to_string())).collect();
    for (n, old) in olds.iter().enumerate() {
        sim.publish(TEMPERATURE, &json!(2 * n));
        await_lines(&file, 1);
        fs::rename(&file, old).unwrap();
        // It is still written to the old file: no signal was sent yet.
        sim.publish(TEMPERATURE, &json!(2 * n + 1));
        await_lines(old, 2);
        kill(&child, Signal::HUP);
        reopened();
    }
    // The same one, which it does not take for another process's.
    sim.publish(TEMPERATURE, &json!(10));
    await_lines(&file, 1);
    kill(&child, Signal::HUP);
    reopened();
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let all: Vec<Value> = olds.iter().flat_map(|old| elems(old)).collect();
    assert_eq!(all, numbers(10));
    assert_eq!(elems(&file), [json!(10)]);
}

#[test]
fn an_unwritable_output_is_74_before_anything_is_sent() {
    let (folder, _) = folder();
    let missing = folder.path().join("none/events.jsonl");
    let secret = folder.path().join("secret");
    File::create(&secret).unwrap();
    let loops = folder.path().join("loops");
    symlink("loops", &loops).unwrap();
    for (path, why) in [
        (folder.path(), "is a directory".to_owned()),
        (&missing, Errno::NOENT.to_string()),
        (&loops, Errno::LOOP.to_string()),
        (&secret.join("below"), Errno::NOTDIR.to_string()),
        // No file can be created there.
        (Path::new("/proc/none"), Errno::NOENT.to_string()),
    ] {
        for command in ["listen", "capture"] {
            let output = run(&[command, TEMPERATURE, "-C1", "-o", name(path)]);
            assert_eq!(output.status.code(), Some(74), "{path:?}");
            let wanted = format!("error: output: {}: {why}\n", name(path));
            assert_eq!(stderr(&output), wanted);
        }
    }
    let output = run(&["listen", TEMPERATURE, "-C1", "--output="]);
    assert_eq!(output.status.code(), Some(64));
}

/// The device number of /dev/tty: 5, 0.
const TTY: u64 = 5 << 8;

#[test]
fn a_missing_device_is_74() {
    let (sim, _seen) = start(100.0);
    let (folder, _) = folder();
    // Root might replace that of the machine, if the program were wrong.
    let own = folder.path().join("tty");
    let (kind, access) = (FileType::CharacterDevice, Mode::RUSR | Mode::WUSR);
    let _ = rustix::fs::mknodat(rustix::fs::CWD, &own, kind, access, TTY);
    // Some file systems have no devices.
    let is_denied = |error: std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    let is_usable = own.exists() && !File::open(&own).is_err_and(is_denied);
    let tty = if is_usable { name(&own) } else { "/dev/tty" };
    for command in ["listen", "capture"] {
        let args = [command, TEMPERATURE, "-C1", "-W20s", "-o", tty];
        // A process that leads a session of its own has no terminal.
        let alone = "exec setsid --wait \"$0\" \"$@\"";
        let output = after(alone, &octave_ws(&sim, &args)).output().unwrap();
        let wanted = format!("error: output: {tty}: {}\n", Errno::NXIO);
        assert_eq!(stderr(&output), wanted);
        assert_eq!(output.status.code(), Some(74));
    }
}

#[test]
fn a_disk_that_fails_is_74() {
    // The first page of a process is never mapped: what is written there fails as a disk does.
    let output = run(&["listen", TEMPERATURE, "-q", "-o", "/proc/self/mem"]);
    assert_eq!(output.status.code(), Some(74));
    let wanted = format!("error: output: /proc/self/mem: {}\n", Errno::IO);
    assert_eq!(stderr(&output), wanted);
}

#[test]
fn an_obstacle_at_the_part_is_74() {
    let (folder, file) = folder();
    // A name that has room for no more.
    let long = folder.path().join("n".repeat(252));
    let output = run(&["capture", TEMPERATURE, "-C1", "-o", name(&long)]);
    let told = format!("error: output: {}.part: File name too long", name(&long));
    assert!(stderr(&output).starts_with(&told), "{}", stderr(&output));
    let nowhere = folder.path().join("no folder/events.jsonl");
    let output = run(&["capture", TEMPERATURE, "-C1", "-o", name(&nowhere)]);
    let told = format!("error: output: {}: No such file", name(&nowhere));
    assert!(stderr(&output).starts_with(&told), "{}", stderr(&output));
    let part = folder.path().join("events.jsonl.part");
    let args = ["capture", TEMPERATURE, "-C1", "-o", name(&file)];
    symlink("elsewhere", &part).unwrap();
    let is_refused = |why: &str| {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(74));
        let wanted = format!("error: output: {}: {why}\n", part.display());
        assert_eq!(stderr(&output), wanted);
    };
    is_refused("Too many levels of symbolic links (os error 40)");
    assert!(!folder.path().join("elsewhere").exists());
    fs::remove_file(&part).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &part, FileType::Fifo, mode, 0).unwrap();
    is_refused("No such device or address (os error 6)");
    assert!(!file.exists());
    fs::remove_file(&part).unwrap();

    // A second name of it, or another owner.
    let other = folder.path().join("other");
    fs::write(&other, "another's").unwrap();
    fs::hard_link(&other, &part).unwrap();
    let refused = |why: &str| {
        is_refused(why);
        assert_eq!(fs::read_to_string(&part).unwrap(), "another's");
        assert!(!file.exists());
    };
    refused("it has another hard link: remove it");
    fs::remove_file(&other).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&part, Some(65534), None).unwrap();
        refused("it belongs to another user: remove it");
        // As an end just before the last step leaves it.
        fs::write(&file, "before").unwrap();
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(fs::metadata(&file).unwrap().uid(), 65534);
    }
}

/// The program where a file may hold no more than this: what a full disk does to it.
fn limited(program: &std::process::Command) -> std::process::Command {
    after("ulimit -f 20", program)
}

#[test]
fn nothing_follows_a_truncated_write() {
    let (_folder, file) = folder();
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        let large = format!(r#"{{"value":"{}"}}"#, "x".repeat(100_000));
        socket.send(Message::text(large)).unwrap();
        let request = socket.read().unwrap();
        // It would fit, and hide that something is missing before it.
        socket.send(Message::text(r#"{"value":2}"#)).unwrap();
        grant(&mut socket, &request);
        serve_out(&mut socket);
    })]);
    let program = led_to(&endpoint, &["listen", "/a", "-o", name(&file)]);
    let output = limited(&program).output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    service.join().unwrap();
}

#[test]
fn a_full_disk_is_74_and_leaves_whole_lines() {
    // The most that a file may hold here is what a full disk does to it.
    let (folder, file) = folder();
    for command in ["listen", "capture"] {
        let (sim, seen) = start(0.0);
        let args = [command, TEMPERATURE, "-C1000", "-o", name(&file)];
        let child = limited(&octave_ws(&sim, &args)).spawn().unwrap();
        await_subscription(&seen);
        sim.publish_burst(TEMPERATURE, &numbers(1000));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
        let written = match command {
            "capture" => folder.path().join("events.jsonl.part"),
            _ => file.clone(),
        };
        let wanted = format!(
            "error: output: {}: File too large (os error 27)\n",
            name(&written)
        );
        assert!(stderr(&output).ends_with(&wanted), "{}", stderr(&output));
        let written = elems(&written);
        assert!(written.len() > 10);
        assert_eq!(written, numbers(written.len()));
        fs::remove_file(&file).unwrap();
        fs::write(&file, "").unwrap();
    }
}

#[test]
fn a_full_disk_leaves_whole_rows_of_csv() {
    let (_folder, file) = folder();
    let (sim, seen) = start(0.0);
    let args = [
        "listen",
        TEMPERATURE,
        "-Fcsv",
        "--fields=elems",
        "-o",
        name(&file),
    ];
    let child = limited(&octave_ws(&sim, &args)).spawn().unwrap();
    await_subscription(&seen);
    let text = "line\n".repeat(30);
    sim.publish_burst(TEMPERATURE, &vec![json!(text); 1000]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    let written = fs::read_to_string(&file).unwrap();
    let rows = written.strip_prefix("elems\n").unwrap();
    let row = format!("\"{text}\"\n");
    assert!(rows.len() > 10 * row.len());
    assert_eq!(rows, row.repeat(rows.len() / row.len()));
}

#[test]
fn a_long_text_that_does_not_fit_leaves_nothing_of_its_line() {
    let (_folder, file) = folder();
    let (sim, seen) = start(0.0);
    let output = format!("-o{}", name(&file));
    let program = octave_ws(&sim, &["listen", TEMPERATURE, "-Ftext", &output]);
    // More than one piece of a long text has, and less than all of it.
    let mut program = after("ulimit -f 200", &program);
    let child = program.spawn().unwrap();
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!("short"));
    sim.publish(TEMPERATURE, &json!("x".repeat(1 << 20)));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.ends_with("  \"short\"\n"), "{}", written.len());
    assert_eq!(written.lines().count(), 1);
}

#[test]
fn the_summary_says_what_stands_in_the_file_and_how_the_process_ends() {
    // A file that cannot be put in its place.
    let (folder, file) = folder();
    let part = folder.path().join("events.jsonl.part");
    let args = ["capture", TEMPERATURE, "-C1", "-Frecord", "-o", name(&file)];
    let (sim, _seen, child) = subscribed(&args);
    fs::create_dir(&file).unwrap();
    sim.publish_burst(TEMPERATURE, &numbers(1));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    let text = fs::read_to_string(&part).unwrap();
    let kinds = [
        r#""kind":"event","#,
        r#""kind":"summary","events":1,"gaps":0,"#,
    ];
    let found: Vec<_> = kinds.map(|kind| text.matches(kind).count()).into();
    assert_eq!(found, [1, 1], "{text}");
    assert!(text.ends_with(",\"exit\":74}\n"), "{text}");
}

/// A file system that is full after so many bytes, and has space again once that was reported.
const DISK: &str = "
    #include <errno.h>
    #include <stdlib.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static long left = -2;
    ssize_t write(int fd, const void *bytes, size_t count) {
        struct stat found;
        if (left == -2) left = atol(getenv(\"DISK\"));
        if (fd > 2 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && left >= 0) {
            if (left == 0) { left = -1; errno = ENOSPC; return -1; }
            if (count > left) count = left;
            left -= count;
        }
        return syscall(SYS_write, fd, bytes, count);
    }";

#[test]
fn a_failed_flush_on_a_full_disk_leaves_no_hole() {
    let (folder, _) = folder();
    let library = preloaded(DISK);
    // Length of a message.
    let length = {
        let (sim, _seen, child) = subscribed(&["listen", TEMPERATURE, "-C1", "-Frecord"]);
        sim.publish(TEMPERATURE, &json!("x".repeat(300)));
        let output = child.wait_with_output().unwrap();
        let summary = super::lines(&output).pop().unwrap();
        summary["bytes"].as_u64().unwrap()
    };
    for (args, disk) in [
        (&["listen", "-o"][..], 5000),
        (&["capture", "-C1000", "-o"], 5100),
        (&["listen"], 5200),
        (&["capture", "-C1000"], 5300),
    ] {
        let file = folder.path().join(args.len().to_string());
        let part = folder.path().join(format!("{}.part", args.len()));
        let (sim, seen) = start(0.0);
        let mut all = [args, &[TEMPERATURE, "-Frecord"]].concat();
        let is_named = args.contains(&"-o");
        if is_named {
            all.insert(args.len(), name(&file));
        }
        let mut program = octave_ws(&sim, &all);
        if !is_named {
            program.stdout(File::create(&file).unwrap());
        }
        let child = program
            .env("LD_PRELOAD", &library)
            .env("DISK", disk.to_string())
            .spawn()
            .unwrap();
        await_subscription(&seen);
        sim.publish_burst(TEMPERATURE, &vec![json!("x".repeat(300)); 100]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
        let text = fs::read_to_string(if part.exists() { &part } else { &file }).unwrap();
        assert!(!text.contains('\0'), "{all:?}");
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let events = lines.iter().filter(|line| line["kind"] == "event").count();
        assert!(events > 5, "{text}");
        let summary = lines.last().unwrap();
        let told = (&summary["events"], &summary["exit"]);
        assert_eq!(told, (&json!(events), &json!(74)));
        assert_eq!(summary["bytes"], json!(events as u64 * length));
    }
}

#[test]
fn links_are_followed_and_devices_are_written_to() {
    let (folder, file) = folder();
    let link = folder.path().join("link");
    symlink("events.jsonl", folder.path().join("next")).unwrap();
    symlink("next", &link).unwrap();
    // At first it leads nowhere.
    for _ in 0..2 {
        let output = run(&["capture", TEMPERATURE, "-C2", "-o", name(&link)]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(elems(&file).len(), 2);
        for link in [&link, &folder.path().join("next")] {
            assert!(fs::symlink_metadata(link).unwrap().is_symlink());
        }
    }
    for command in ["listen", "capture"] {
        let output = run(&[command, TEMPERATURE, "-C2", "-o", "/dev/null"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let output = run(&[command, TEMPERATURE, "-C2", "-o", "/dev/stdout"]);
        assert_eq!(super::lines(&output).len(), 2);
    }
}

#[test]
fn a_named_pipe_waits_for_its_reader() {
    let (folder, _) = folder();
    let pipe = folder.path().join("pipe");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
    let (sim, _seen) = start(100.0);
    let args = ["listen", TEMPERATURE, "-C2", "-o", name(&pipe)];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    let mut text = String::new();
    File::open(&pipe)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text.lines().count(), 2);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));

    let child = octave_ws(&sim, &[&args[..], &["-vv"]].concat())
        .spawn()
        .unwrap();
    kill_while_it_waits(&child);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

/// Once it has caught the signal, that is: until then, it would not say goodbye.
fn kill_while_it_waits(child: &Child) {
    until("it catches signals", || catches_signals(child));
    kill(child, Signal::TERM);
}

pub(super) fn catches_signals(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap_or_default().trim(), 16);
    caught.is_ok_and(|caught| caught >> 14 & 1 == 1)
}

#[test]
fn kill_9_leaves_one_torn_line_at_most_and_the_next_start_mends_it() {
    let (_folder, file) = folder();
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "-o", name(&file)];
    let burst: Vec<Value> = (0..20).map(|n| json!([n, "x".repeat(20_000)])).collect();
    let (mut torn, mut mended, mut checked) = (0, 0, 0);
    for round in 0..100 {
        let mut child = octave_ws(&sim, &args).spawn().unwrap();
        await_subscription(&seen);
        let before = fs::metadata(&file).unwrap().len();
        sim.publish_burst(TEMPERATURE, &burst);
        // At another place each time.
        until("so much is written", || {
            fs::metadata(&file).unwrap().len() > before + round * 4_000
        });
        kill(&child, Signal::KILL);
        mended += u32::from(warns(&mut child));
        let text = fs::read(&file).unwrap();
        let whole = text
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |at| at + 1);
        torn += u32::from(whole < text.len());
        for line in text[checked..whole].split_inclusive(|&b| b == b'\n') {
            serde_json::from_slice::<IgnoredAny>(line).unwrap();
        }
        checked = whole;
    }
    let mut last = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    kill(&last, Signal::TERM);
    mended += u32::from(warns(&mut last));

    assert_eq!(torn, mended);
    elems(&file);
}

/// Whether a run, which is at its end, has found a torn line at its start.
fn warns(child: &mut Child) -> bool {
    child.wait().unwrap();
    let mut told = String::new();
    let stderr = child.stderr.take().unwrap();
    BufReader::new(stderr).read_to_string(&mut told).unwrap();
    told.contains("a torn last line was cut off")
}

/// A file system that tells of an error only at the end of a file: `OCTAVE_TEST_FAILS` is the call.
const LATE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>
static int fails(int fd, const char *call) {
    struct stat found;
    const char *name = getenv("OCTAVE_TEST_FAILS");
    return name && !strcmp(name, call) && !fstat(fd, &found) && S_ISREG(found.st_mode)
        && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
}
int close(int fd) {
    static int (*next)(int);
    if (!next) next = dlsym(RTLD_NEXT, "close");
    int has_failed = fails(fd, "close"), done = next(fd);
    if (!has_failed) return done;
    errno = EDQUOT;
    return -1;
}
int fsync(int fd) {
    static int (*next)(int);
    if (!next) next = dlsym(RTLD_NEXT, "fsync");
    if (!fails(fd, "fsync")) return next(fd);
    errno = EIO;
    return -1;
}
"#;

#[test]
fn an_access_control_list_is_kept() {
    const ACL: &str = "system.posix_acl_access";
    let (_folder, file) = folder();
    fs::write(&file, "before").unwrap();
    // Another user may read it, and its own group may not.
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, u32::MAX),
        (0x02, 4, 65534),
        (0x04, 0, u32::MAX),
        (0x10, 4, u32::MAX),
        (0x20, 0, u32::MAX),
    ];
    let mut list = vec![2, 0, 0, 0];
    for (tag, may, id) in entries {
        list.extend(tag.to_le_bytes().into_iter().chain(may.to_le_bytes()));
        list.extend(id.to_le_bytes());
    }
    if rustix::fs::setxattr(&file, ACL, &list, rustix::fs::XattrFlags::empty()).is_err() {
        eprintln!("not run: the file system has no access control lists");
        return;
    }
    let output = run(&["capture", TEMPERATURE, "-C1", "-o", name(&file)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(fs::read_to_string(&file).unwrap() != "before");
    let mut kept = [0; 100];
    let length = rustix::fs::getxattr(&file, ACL, &mut kept).unwrap();
    assert_eq!(kept[..length], list);
}

#[test]
fn an_error_that_shows_at_the_end_of_a_file_is_one() {
    let library = preloaded(LATE);
    let (sim, _seen) = start(100.0);
    for (call, told) in [
        ("close", "Disk quota exceeded (os error 122)"),
        ("fsync", "Input/output error (os error 5)"),
        ("none", ""),
    ] {
        for (command, is_named) in [
            ("listen", true),
            ("listen", false),
            ("capture", true),
            ("capture", false),
            ("session", false),
        ] {
            let (_folder, file) = folder();
            let mut program = octave_ws(&sim, &[command]);
            if command != "session" {
                program.args([TEMPERATURE, "-C2", "-Frecord"]);
            }
            if is_named {
                program.args(["-o", name(&file)]);
            } else {
                program.stdout(File::create(&file).unwrap());
            }
            program
                .env("LD_PRELOAD", &library)
                .env("OCTAVE_TEST_FAILS", call);
            let output = program.output().unwrap();
            let code = if told.is_empty() { 0 } else { 74 };
            assert_eq!(
                output.status.code(),
                Some(code),
                "{call} {command}: {}",
                stderr(&output)
            );
            assert!(stderr(&output).contains(told), "{}", stderr(&output));
            let is_whole = command != "capture" || !is_named || told.is_empty();
            if command != "session" {
                let part = file.with_extension("jsonl.part");
                let text = fs::read_to_string(if is_whole { &file } else { &part }).unwrap();
                let summary = text.lines().last().unwrap();
                let exit = format!(r#""exit":{code}}}"#);
                assert!(summary.ends_with(&exit), "{call} {command}: {summary}");
            }
            assert_eq!(file.exists(), is_whole, "{call} {command}");
            let left = format!("{}.part holds what came, events: 2\n", name(&file));
            assert_eq!(
                stderr(&output).contains(&left),
                !is_whole,
                "{}",
                stderr(&output)
            );
        }
    }
}

#[test]
fn a_home_that_may_not_be_entered_holds_no_config() {
    let (sim, _seen) = start(100.0);
    let (folder, _) = folder();
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder.path(), 0o755);
    let home = folder.path().join("home");
    let config = home.join(".config/octave-ws/config.json");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, "{}").unwrap();
    let args = ["listen", TEMPERATURE, "-C1", "-v"];
    let Some(mut program) = as_unprivileged_user(&sim, folder.path(), &args) else {
        eprintln!("not run: it takes root to be somebody else");
        return;
    };
    program.env("HOME", &home);
    open(&home, 0o700);
    let output = program.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = format!("config: {config:?} is passed over: Permission denied");
    assert!(stderr(&output).contains(&told), "{}", stderr(&output));
    // So it is where a link leads to, or where none leads.
    let elsewhere = folder.path().join("elsewhere.json");
    for target in [&config, &elsewhere] {
        let other = folder.path().join("other");
        let linked = other.join("octave-ws/config.json");
        let _ = fs::remove_dir_all(&other);
        fs::create_dir_all(linked.parent().unwrap()).unwrap();
        symlink(target, &linked).unwrap();
        let _ = symlink(&elsewhere, &elsewhere);
        let output = program.env("XDG_CONFIG_HOME", &other).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("is passed over"),
            "{}",
            stderr(&output)
        );
    }
    program.env_remove("XDG_CONFIG_HOME");
    // One that is there is not passed over, nor one that is named.
    open(&home, 0o755);
    open(&config, 0o600);
    let output = program.output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    open(&home, 0o700);
    let output = program.env("OCTAVE_CONFIG", &config).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
}
