//! Lines as the user lays them out: templates.

use std::process::{Command, Output};

use super::{TEMPERATURE, await_subscription, octave_ws, start, stderr, text};

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
