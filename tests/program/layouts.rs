//! Lines as the user lays them out: templates and tables.

use std::fs;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::json;

use super::{TEMPERATURE, await_subscription, kill, octave_ws, patience, start, stderr, text};

/// The lines of a run that is sent these messages.
fn printed(args: &[&str], messages: &[&str]) -> Output {
    let (sim, seen) = start(0.0);
    let count = format!("-C{}", messages.len());
    let args = [&["listen", TEMPERATURE, &count], args].concat();
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    for message in messages {
        sim.send(message);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

/// A message with this Event object.
fn message(value: &str) -> String {
    format!(r#"{{"object":"event","type":"message","resource":"s1","value":{value}}}"#)
}

#[test]
fn a_template_lays_out_each_event_on_a_line() {
    let long = "x\u{e9}".repeat(35_000);
    let deep = format!("{}1e400{}", r#"{"a":"#.repeat(500), "}".repeat(500));
    let hostile = message(&format!(
        r#"{{"path":"/a\r\nb","creationDate":1587387677625,"generatedDate":null,
            "elems":{{"temperature":1.50e-400,"s":"\u001b[2J,\"quoted\"\t\u0085","long":"{long}",
            "deep":{deep}}}}}"#
    ));
    let template =
        r"{n}\t{time}\t{path}\t{elems.temperature}\t{elems.s}\t{elems.none}\t{elems.long}";
    let deepest = format!("{{elems.deep{}}}", ".a".repeat(500));
    let template = format!(r"{template}\t{deepest}\t{{{{{{resource}}}}}}");
    let output = printed(&["-F", &template], &[&hostile, &message("null")]);
    let wanted = format!(
        "1\t2020-04-20T13:01:17.625Z\t/a\\r\\nb\t1.50e-400\t\\u001b[2J,\"quoted\"\\t\\u0085\t\t{long}\
         \t1e400\t{{s1}}\n2\t\t\t\t\t\t\t\t{{s1}}\n"
    );
    assert!(text(&output.stdout) == wanted, "{}", text(&output.stdout));
}

#[test]
fn the_time_of_arrival_is_that_of_now() {
    let output = printed(&["-F{at}"], &[&message("{}")]);
    let at = humantime::parse_rfc3339(text(&output.stdout).trim()).unwrap();
    assert!(at.elapsed().unwrap().as_secs() < 60);
}

#[test]
fn a_wrong_format_is_refused() {
    for (format, wanted) in [
        (
            "{path} {celsius}",
            "--format {path} {celsius}: unknown member {celsius} at character 8: there are",
        ),
        ("{path", "{ without } at character 1: write {{ for a brace"),
        ("jsonl", "--format jsonl: give event, message, record, text"),
    ] {
        let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
        let args = ["listen", TEMPERATURE, "--format", format];
        let output = Command::new(octave_ws).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1);
    }
}

#[test]
fn the_columns_of_the_first_event_are_kept_for_all_rows() {
    let first = message(r#"{"path":"/a","creationDate":0,"elems":{"t":1.50,"u, v":"x,\"y\"\nz"}}"#);
    let second = message(r#"{"path":"/b","elems":{"t":2,"w":3}}"#);
    let output = printed(&["-Fcsv"], &[&first, &second]);
    let wanted = "time,path,elems.t,\"elems.u, v\"\n\
                  1970-01-01T00:00:00.000Z,/a,1.50,\"x,\"\"y\"\"\nz\"\n,/b,2,\n";
    assert_eq!(text(&output.stdout), wanted);
    let said = "the columns are those of the first event, other members are left out: \
                --fields time,path,elems.t,elems.u, v";
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
    let output = printed(
        &["-Ftsv", "--fields", "path,elems.none|n"],
        &[&first, &second],
    );
    let wanted = "path\telems.none|n\n/a\t1\n/b\t2\n";
    assert_eq!(text(&output.stdout), wanted);
    assert!(!stderr(&output).contains("columns"), "{}", stderr(&output));
}

#[test]
fn a_file_has_one_header() {
    let (sim, seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let [path, old] = ["file", "old"].map(|name| folder.path().join(name));
    let args = ["listen", TEMPERATURE, "-Fcsv", "-o", path.to_str().unwrap()];
    let fields = ["--fields", "n,elems"];
    let listen = |args: &[&str]| {
        let child = octave_ws(&sim, args).spawn().unwrap();
        await_subscription(&seen);
        child
    };
    // A row that was torn amid a quoted text.
    fs::write(&path, "n,elems\n1,\"x").unwrap();
    let child = listen(&[&args[..], &fields].concat());
    sim.publish(TEMPERATURE, &json!("a"));
    let holds = |text: &str| {
        patience::until("the file has the rows", || {
            fs::read_to_string(&path).is_ok_and(|found| found == text)
        });
    };
    holds("n,elems\n1,a\n");
    fs::rename(&path, &old).unwrap();
    kill(&child, Signal::HUP);
    holds("n,elems\n");
    sim.publish(TEMPERATURE, &json!("b"));
    holds("n,elems\n2,b\n");
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("a torn last line was cut off, 4 bytes"));
    // The columns are those of the file.
    let child = listen(&[&args[..], &["-C1"]].concat());
    sim.publish(TEMPERATURE, &json!("c"));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let whole = fs::read_to_string(&path).unwrap();
    assert_eq!(whole, "n,elems\n2,b\n1,c\n");
    assert!(stderr(&output).contains("the columns are those of the file: --fields n,elems"));
    // And no others: nothing is changed before that is known.
    let torn = format!("{whole}torn");
    fs::write(&path, &torn).unwrap();
    let mut command = octave_ws(&sim, &[&args[..], &["--fields=time"]].concat());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    assert!(stderr(&output).contains("begins with \"n,elems\", not with the header \"time\""));
    assert_eq!(fs::read_to_string(&path).unwrap(), torn);
}

#[test]
fn a_file_that_begins_with_an_empty_line_is_no_table() {
    let (sim, _seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "\nnotes\n").unwrap();
    let args = ["listen", TEMPERATURE, "-Fcsv", "-o", path.to_str().unwrap()];
    for fields in [&[][..], &["--fields=time"]] {
        let args = [&args[..], fields, &["--duration=1ms"]].concat();
        let output = octave_ws(&sim, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("begins with \"\""),
            "{}",
            stderr(&output)
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "\nnotes\n");
    }
}

#[test]
fn fields_are_those_of_tables() {
    for (args, wanted) in [
        (
            ["--fields=time", "--format=event"],
            "--fields is for --format csv and tsv",
        ),
        (
            ["--fields=time,x", "--format=csv"],
            "unknown member \"x\" in field 2",
        ),
    ] {
        let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
        let args = [&["listen", TEMPERATURE], &args[..]].concat();
        let output = Command::new(octave_ws).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
}
