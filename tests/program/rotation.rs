//! Files that the program renames by itself, once they are large or old.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

use octave_ws::sim::Sim;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::patience::{Told, until};
use super::{TEMPERATURE, await_subscription, kill, octave_ws, preloaded, start, stderr};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    (folder, file)
}

fn listen(sim: &Sim, file: &Path, args: &[&str]) -> Command {
    let args = [&["listen", TEMPERATURE, "-o", file.to_str().unwrap()], args].concat();
    octave_ws(sim, &args)
}

fn subscribed(seen: &Told, mut command: Command) -> Child {
    let child = command.spawn().unwrap();
    await_subscription(seen);
    child
}

fn stopped(child: Child) {
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

fn numbered(file: &Path, number: usize) -> PathBuf {
    format!("{}.{number}", file.display()).into()
}

/// All files, the oldest first. Numbers may be missing.
fn files(file: &Path) -> Vec<PathBuf> {
    let numbers = (1..=200).rev().map(|number| numbered(file, number));
    let all = numbers.chain([file.to_owned()]);
    all.filter(|file| file.exists()).collect()
}

/// The `elems` of the lines of all files, which are whole.
fn elems(file: &Path) -> Vec<u64> {
    elems_if_whole(file).unwrap()
}

/// The same, `None` where a file is renamed or written to meanwhile.
fn elems_if_whole(file: &Path) -> Option<Vec<u64>> {
    let mut elems = Vec::new();
    for file in files(file) {
        let text = fs::read_to_string(&file).ok()?;
        if !text.is_empty() && !text.ends_with('\n') {
            return None;
        }
        for line in text.lines() {
            elems.push(serde_json::from_str::<Value>(line).ok()?["elems"].as_u64()?);
        }
    }
    Some(elems)
}

fn publish(sim: &Sim, numbers: std::ops::Range<u64>) {
    let numbers: Vec<Value> = numbers.map(|n| json!(n)).collect();
    sim.publish_burst(TEMPERATURE, &numbers);
}

/// Sets the time of a file to three hours ago.
fn make_old(file: &Path) {
    let old = SystemTime::now() - Duration::from_secs(3 * 3600);
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(old).unwrap();
}

#[test]
fn a_file_is_renamed_once_it_has_its_size() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    let mut command = listen(&sim, &file, &["--rotate-size=2KiB"]);
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    command.arg("--count=200");
    let child = subscribed(&seen, command);
    publish(&sim, 0..200);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(elems(&file), (0..200).collect::<Vec<_>>());
    let files = files(&file);
    assert!(files.len() > 10, "{files:?}");
    for file in &files {
        let found = file.metadata().unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o604);
        let text = fs::read_to_string(file).unwrap();
        let line = text.lines().next().map_or(0, str::len) as u64;
        assert!(found.len() < 2048 + line + 10, "{}", found.len());
        assert!(found.len() >= 2048 || *file == files[files.len() - 1]);
    }
}

#[test]
fn as_many_files_are_kept_as_asked_for() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    let child = subscribed(
        &seen,
        listen(&sim, &file, &["--rotate-size=1KiB", "--keep=2", "-C200"]),
    );
    publish(&sim, 0..200);
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(files(&file).len() <= 3);
    let kept = elems(&file);
    assert!((6..100).contains(&kept.len()));
    assert_eq!(kept, (200 - kept.len() as u64..200).collect::<Vec<_>>());
}

/// Kills the process before the nth call that changes names, creates or syncs a file.
const KILLED: &str = "
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <signal.h>
    #include <stdarg.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static int left = -1;
    static void step(void) {
        if (left == -1) left = atoi(getenv(\"KILL_AT\"));
        if (--left == 0) kill(getpid(), SIGKILL);
    }
    int rename(const char *from, const char *to) {
        step();
        return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    }
    int fsync(int fd) {
        step();
        return syscall(SYS_fsync, fd);
    }
    int open64(const char *path, int flags, ...) {
        va_list more;
        va_start(more, flags);
        int mode = va_arg(more, int);
        va_end(more);
        if (strstr(path, \"/events\")) step();
        return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    }";

#[test]
fn nothing_is_lost_or_doubled_by_a_kill_at_any_step() {
    let library = preloaded(KILLED);
    let mut was_killed = true;
    let mut steps = 0;
    while was_killed {
        steps += 1;
        let (sim, seen) = start(0.0);
        let (_folder, file) = folder();
        let args = ["--rotate-size=700", "--keep=100"];
        // Files that are there.
        let child = subscribed(&seen, listen(&sim, &file, &args));
        publish(&sim, 0..10);
        until("the events are written", || {
            elems_if_whole(&file).is_some_and(|elems| elems.len() == 10)
        });
        stopped(child);
        let mut command = listen(&sim, &file, &args);
        command
            .env("LD_PRELOAD", &library)
            .env("KILL_AT", steps.to_string());
        let mut child = command.arg("-C5").spawn().unwrap();
        until("it is subscribed, or killed", || {
            child.try_wait().unwrap().is_some() || sim.publish(TEMPERATURE, &json!(10)) > 0
        });
        publish(&sim, 11..15);
        let output = child.wait_with_output().unwrap();
        was_killed = output.status.code().is_none();
        let kept = elems(&file);
        let upto = if was_killed { kept.len() as u64 } else { 15 };
        assert_eq!(kept, (0..upto).collect::<Vec<_>>(), "step {steps}");
        // The next run continues.
        let (sim, seen) = start(0.0);
        let mut command = listen(&sim, &file, &args);
        let child = subscribed(&seen, {
            command.arg("-C10");
            command
        });
        publish(&sim, upto..upto + 10);
        assert!(child.wait_with_output().unwrap().status.success());
        assert_eq!(
            elems(&file),
            (0..upto + 10).collect::<Vec<_>>(),
            "step {steps}"
        );
    }
    assert!(steps > 10, "{steps}");
}

#[test]
fn a_file_is_renamed_at_the_end_of_its_period() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    // One of long ago, before anything comes.
    fs::write(&file, "old\n").unwrap();
    make_old(&file);
    let child = subscribed(&seen, listen(&sim, &file, &["--rotate-every=2h"]));
    assert_eq!(fs::read_to_string(numbered(&file, 1)).unwrap(), "old\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    stopped(child);
    // Without another event. An empty file stays.
    let child = subscribed(&seen, listen(&sim, &file, &["--rotate-every=1s"]));
    publish(&sim, 0..1);
    until("it is renamed", || numbered(&file, 2).exists());
    publish(&sim, 1..2);
    until("it is renamed again", || numbered(&file, 3).exists());
    stopped(child);
    fs::remove_file(numbered(&file, 3)).unwrap();
    assert_eq!(elems(&file), [0, 1]);
}

#[test]
fn a_new_file_has_its_header() {
    let (sim, seen) = start(0.0);
    for fields in [&["--fields=n,elems"][..], &[]] {
        let (_folder, file) = folder();
        let args = [&["--rotate-size=60", "-Fcsv", "-C20"], fields].concat();
        let child = subscribed(&seen, listen(&sim, &file, &args));
        publish(&sim, 0..20);
        assert!(child.wait_with_output().unwrap().status.success());
        let files = files(&file);
        assert!(files.len() > 1);
        let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
        let texts: Vec<String> = texts.collect();
        let header = texts[0].lines().next().unwrap();
        assert!(header.ends_with(",elems"), "{header}");
        let rows = texts.iter().map(|text| {
            assert_eq!(text.lines().next().unwrap(), header);
            text.lines().count() - 1
        });
        assert_eq!(rows.sum::<usize>(), 20);
    }
}

#[test]
fn a_pause_is_counted_from_the_last_record_of_the_file_before() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    let args = ["-Frecord", "--rotate-size=1", "-C1"];
    for _ in 0..2 {
        let child = subscribed(&seen, listen(&sim, &file, &args));
        publish(&sim, 0..1);
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let gap = |file: &PathBuf| {
        fs::read_to_string(file)
            .unwrap()
            .contains(r#""kind":"gap""#)
    };
    assert_eq!(files(&file).iter().filter(|file| gap(file)).count(), 1);
}

#[test]
fn a_file_that_a_kill_has_left_out_has_the_rights_of_the_one_before() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    let last = numbered(&file, 1);
    fs::write(&last, "{\"elems\":0}\n").unwrap();
    fs::set_permissions(&last, fs::Permissions::from_mode(0o600)).unwrap();
    let child = subscribed(&seen, listen(&sim, &file, &["--rotate-size=1KiB", "-C1"]));
    publish(&sim, 1..2);
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(elems(&file), [0, 1]);
}

#[test]
fn a_header_alone_is_not_renamed() {
    let (sim, _seen) = start(0.0);
    let (_folder, file) = folder();
    fs::write(&file, "elems\n").unwrap();
    make_old(&file);
    let args = [
        "--rotate-every=1h",
        "-Fcsv",
        "--fields=elems",
        "--duration=1ms",
    ];
    let output = listen(&sim, &file, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(files(&file), [file]);
}

#[test]
fn a_file_of_somebody_else_gets_no_second_header() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    let args = ["--rotate-size=100", "-Fcsv", "--fields=elems", "-C100"];
    let child = subscribed(&seen, listen(&sim, &file, &args));
    until("it is there", || file.exists());
    fs::rename(&file, numbered(&file, 90)).unwrap();
    fs::write(&file, "elems\n").unwrap();
    publish(&sim, 0..100);
    assert!(child.wait_with_output().unwrap().status.success());
    let mut rows = 0;
    for file in files(&file) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("elems\n"), "{file:?}: {text}");
        assert_eq!(text.matches("elems").count(), 1, "{file:?}: {text}");
        rows += text.lines().count() - 1;
    }
    assert_eq!(rows, 100);
}

#[test]
fn a_link_that_leads_elsewhere_is_followed() {
    let (sim, seen) = start(0.0);
    let (folder, link) = folder();
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    symlink(&one, &link).unwrap();
    let child = subscribed(&seen, listen(&sim, &link, &["--rotate-size=1KiB", "-C40"]));
    publish(&sim, 0..20);
    until("it is written", || {
        elems_if_whole(&one).is_some_and(|elems| elems.len() == 20)
    });
    fs::remove_file(&link).unwrap();
    symlink(&other, &link).unwrap();
    kill(&child, Signal::HUP);
    until("it is opened again", || other.exists());
    publish(&sim, 20..40);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(elems(&one), (0..20).collect::<Vec<_>>());
    assert_eq!(elems(&other), (20..40).collect::<Vec<_>>());
    assert!(files(&other).len() > 2);
}

#[test]
fn where_a_file_cannot_be_renamed_lines_stay_in_it() {
    let (sim, seen) = start(0.0);
    let (_folder, file) = folder();
    fs::create_dir(numbered(&file, 1)).unwrap();
    let args = ["--rotate-size=1KiB", "--keep=1", "-C20"];
    let child = subscribed(&seen, listen(&sim, &file, &args));
    publish(&sim, 0..20);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("events cannot be rotated: Is a directory"));
    fs::remove_dir(numbered(&file, 1)).unwrap();
    assert_eq!(elems(&file), (0..20).collect::<Vec<_>>());
}

#[test]
fn rotation_needs_a_file() {
    let (sim, _seen) = start(0.0);
    for (args, wanted) in [
        (
            &["--rotate-size=1KiB"][..],
            "--rotate-size and --rotate-every need --output FILE",
        ),
        (
            &["--rotate-every=1h", "-o-"],
            "--rotate-size and --rotate-every need --output FILE",
        ),
        (
            &["--keep=2", "-ox"],
            "--keep needs --rotate-size or --rotate-every",
        ),
        (&["--keep=0", "-ox"], "give a whole number, at least 1"),
        (&["--rotate-every=10ms", "-ox"], "give at least 1s"),
        (
            &["--rotate-size=1KiB", "-o/dev/null"],
            "/dev/null is not a file: --rotate-size",
        ),
    ] {
        let mut command = octave_ws(&sim, &[&["listen", TEMPERATURE], args].concat());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
}
