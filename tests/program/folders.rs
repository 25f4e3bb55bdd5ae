//! A file or a named pipe for each stream.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use octave_ws::sim::Options;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::json;

use super::patience::until;
use super::{
    HUMIDITY, TEMPERATURE, await_seen, await_subscription, kill, octave_ws, start, start_with,
    stderr,
};

const TEMPERATURE_FILE: &str = "_demo_devices_gw1_temperature";
const HUMIDITY_FILE: &str = "_demo_devices_gw1_humidity";

/// All files of a folder with their texts.
fn texts(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap();
    let text = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(|entry| text(entry.unwrap())).collect()
}

#[test]
fn each_stream_has_a_file() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let dir = path.to_str().unwrap();
    let args = ["listen", TEMPERATURE, HUMIDITY, "--output-dir", dir];
    let child = octave_ws(&sim, &[&args[..], &["-F{elems}"]].concat())
        .spawn()
        .unwrap();
    await_subscription(&seen);
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    let wanted = |names: &[(&str, &str)]| {
        let wanted = names
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let wanted: BTreeMap<_, _> = wanted.collect();
        until("the files are there", || texts(path) == wanted);
    };
    // None before its first event.
    wanted(&[(TEMPERATURE_FILE, "1\n")]);
    for (stream, elems) in [(HUMIDITY, 2), (TEMPERATURE, 3)] {
        sim.publish(stream, &json!(elems));
    }
    wanted(&[(TEMPERATURE_FILE, "1\n3\n"), (HUMIDITY_FILE, "2\n")]);
    fs::rename(path.join(TEMPERATURE_FILE), path.join("old")).unwrap();
    kill(&child, Signal::HUP);
    // The new file follows a signal that was taken.
    until("the file is opened again", || {
        sim.publish(TEMPERATURE, &json!(4));
        path.join(TEMPERATURE_FILE).exists()
    });
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(texts(path)["old"].starts_with("1\n3\n"));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_pipe_takes_the_place_of_a_file() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join(TEMPERATURE_FILE);
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let dir = folder.path().to_str().unwrap();
    let args = [
        "listen",
        TEMPERATURE,
        HUMIDITY,
        "-F{elems}",
        "--output-dir",
        dir,
        "-C4",
    ];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    await_subscription(&seen);
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(File::open(pipe).unwrap()).lines();
        lines.map(Result::unwrap).collect::<Vec<_>>()
    });
    for (stream, elems) in [
        (HUMIDITY, 1),
        (TEMPERATURE, 2),
        (TEMPERATURE, 3),
        (HUMIDITY, 4),
    ] {
        sim.publish(stream, &json!(elems));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(reader.join().unwrap(), ["2", "3"]);
    let text = fs::read_to_string(folder.path().join(HUMIDITY_FILE)).unwrap();
    assert_eq!(text, "1\n4\n");
}

#[test]
fn more_streams_than_open_files_lose_nothing() {
    const COUNT: usize = 300;
    let options = Options::default().any_stream();
    let (sim, seen) = start_with(options);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let streams: Vec<String> = (0..COUNT).map(|n| format!("/demo/gw{n}")).collect();
    let list = super::file(&sim, "streams", &streams.join("\n"));
    let args = ["listen", "-F{elems}", "--output-dir", dir, "--streams-file"];
    let child = octave_ws(&sim, &args).arg(list).spawn().unwrap();
    let mut left: BTreeSet<String> = streams.iter().cloned().collect();
    await_seen(&seen, |action| {
        if let octave_ws::sim::ClientAction::Subscribed(stream) = action {
            left.remove(stream);
        }
        left.is_empty()
    });
    for round in 0..2 {
        for stream in &streams {
            sim.publish(stream, &json!(round));
        }
    }
    until("all is written", || {
        let texts = texts(folder.path());
        texts.len() == COUNT && texts.values().all(|text| text == "0\n1\n")
    });
    let open = fs::read_dir(format!("/proc/{}/fd", child.id()))
        .unwrap()
        .count();
    assert!((200..280).contains(&open), "{open}");
    kill(&child, Signal::TERM);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn names_stay_in_the_folder() {
    let (sim, seen) = start(0.0);
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("in");
    fs::create_dir(&folder).unwrap();
    let dir = folder.to_str().unwrap();
    let long = "x/".repeat(500);
    let paths = [
        "../up",
        "..",
        ".",
        "",
        "/a\\nb\\u0000",
        &long,
        &format!("{long}y"),
    ];
    let count = format!("-C{}", paths.len());
    let args = ["listen", TEMPERATURE, &count, "-F{n}", "--output-dir", dir];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    for path in paths {
        sim.send(&format!(
            r#"{{"resource":"s","value":{{"path":"{path}"}}}}"#
        ));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let texts = texts(&folder);
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
    let names: Vec<&str> = texts.keys().map(String::as_str).collect();
    assert_eq!(names[..5], ["_", "_.", "_..", "_.._up", "_a_b_"]);
    assert_eq!(names.len(), 7);
    assert!(
        names[5..]
            .iter()
            .all(|name| name.starts_with("x_x_") && name.len() <= 240)
    );
}

#[test]
fn each_file_has_its_columns_and_its_size() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let args = [
        "listen",
        TEMPERATURE,
        HUMIDITY,
        "-C4",
        "-Fcsv",
        "--output-dir",
        dir,
    ];
    let child = octave_ws(
        &sim,
        &[&args[..], &["--rotate-size=1", "--keep=1"]].concat(),
    );
    let child = { child }.spawn().unwrap();
    await_subscription(&seen);
    await_subscription(&seen);
    for _ in 0..2 {
        sim.publish(TEMPERATURE, &json!({"t": 1}));
        sim.publish(HUMIDITY, &json!({"h": 2}));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let texts = texts(folder.path());
    for (name, member) in [(TEMPERATURE_FILE, "t"), (HUMIDITY_FILE, "h")] {
        let header = format!("time,path,elems.{member}\n");
        let last = &texts[&format!("{name}.1")];
        assert!(
            last.starts_with(&header) && last.lines().count() == 2,
            "{texts:?}"
        );
    }
}

#[test]
fn a_folder_is_not_for_everything() {
    let (sim, _seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let none = format!("{dir}/none");
    for (args, code, wanted) in [
        (
            ["--output-dir", dir, "-ox"],
            64,
            "--output and --output-dir cannot be used together",
        ),
        (
            ["--output-dir", dir, "-Frecord"],
            64,
            "--output-dir holds events",
        ),
        (
            ["--output-dir", &none, "-q"],
            74,
            "none: No such file or directory",
        ),
        (
            ["--output-dir", "/dev/null", "-q"],
            74,
            "/dev/null: not a directory",
        ),
    ] {
        let mut command = octave_ws(&sim, &[&["listen", TEMPERATURE], &args[..]].concat());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
}

#[test]
fn a_pipe_without_a_reader_is_no_success() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join(HUMIDITY_FILE);
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let dir = folder.path().to_str().unwrap();
    let args = [
        "listen",
        TEMPERATURE,
        HUMIDITY,
        "-F{elems}",
        "--output-dir",
        dir,
    ];
    let mut child = octave_ws(&sim, &args).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut is_said = |words: &str| lines.any(|line| line.unwrap().contains(words));
    await_subscription(&seen);
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    until("it is written", || {
        folder.path().join(TEMPERATURE_FILE).exists()
    });
    // The first lies in the buffer when the second finds no reader.
    kill(&child, Signal::STOP);
    sim.publish(TEMPERATURE, &json!(2));
    sim.publish(HUMIDITY, &json!(2));
    kill(&child, Signal::CONT);
    assert!(is_said("waiting for a reader of "));
    kill(&child, Signal::TERM);
    assert!(is_said("stopped: output: not all lines were read"));
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let text = fs::read_to_string(folder.path().join(TEMPERATURE_FILE)).unwrap();
    assert_eq!(text, "1\n2\n");
    // One that has left ends the run, for the other streams, too.
    let mut child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    await_subscription(&seen);
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(File::open(pipe).unwrap())
            .read_line(&mut line)
            .unwrap();
        line
    });
    sim.publish(HUMIDITY, &json!(3));
    assert_eq!(reader.join().unwrap(), "3\n");
    // A process that another test starts may hold the pipe for a moment.
    until("it ends", || {
        sim.publish(HUMIDITY, &json!(4));
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    let wanted = format!("output: {HUMIDITY_FILE}: the reader of the pipe has left");
    assert!(stderr(&output).contains(&wanted), "{}", stderr(&output));
}

#[test]
fn two_paths_of_one_name_are_said() {
    let (sim, seen) = start_with(Options::default().any_stream());
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let args = [
        "listen",
        "/a/b",
        "/a_b",
        "-F{elems}",
        "-C3",
        "--output-dir",
        dir,
    ];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    await_subscription(&seen);
    for stream in ["/a/b", "/a_b", "/a_b"] {
        sim.publish(stream, &json!(1));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = "_a_b holds the events of /a/b and of /a_b";
    assert_eq!(
        stderr(&output).matches(said).count(),
        1,
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_other_files_are_whole_where_a_reader_leaves() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join(HUMIDITY_FILE);
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let dir = folder.path().to_str().unwrap();
    let args = [
        "listen",
        TEMPERATURE,
        HUMIDITY,
        "-F{elems}",
        "--output-dir",
        dir,
    ];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    await_subscription(&seen);
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        let mut reader = BufReader::new(File::open(pipe).unwrap());
        reader.read_line(&mut line).unwrap();
        reader
    });
    sim.publish(HUMIDITY, &json!(1));
    let reader = reader.join().unwrap();
    // Both lie in the buffer when the pipe is found to be left.
    kill(&child, Signal::STOP);
    sim.publish(TEMPERATURE, &json!(2));
    sim.publish(HUMIDITY, &json!("x".repeat(100_000)));
    drop(reader);
    kill(&child, Signal::CONT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    let text = fs::read_to_string(folder.path().join(TEMPERATURE_FILE)).unwrap();
    assert_eq!(text, "2\n");
}

#[test]
fn a_number_at_the_end_of_a_name_is_no_rotated_file() {
    let (sim, seen) = start_with(Options::default().any_stream());
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let args = [
        "listen",
        "/a",
        "/a.1",
        "-F{path}",
        "-C6",
        "--rotate-size=1",
        "--keep=1",
    ];
    let args = [&args[..], &["--output-dir", dir]].concat();
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    await_subscription(&seen);
    for _ in 0..3 {
        sim.publish("/a", &json!(1));
        sim.publish("/a.1", &json!(1));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let texts = texts(folder.path());
    assert_eq!((&*texts["_a.1"], &*texts["_a.1_.1"]), ("/a\n", "/a.1\n"));
}
