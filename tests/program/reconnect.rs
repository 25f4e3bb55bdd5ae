//! What `listen` does about a connection that is lost, or does not come about.

use std::io::{BufRead, BufReader};
use std::process::Child;

use octave_ws::sim::{Fault, Options, What};
use serde_json::json;

use super::{
    HUMIDITY, TEMPERATURE, await_subscription, octave_ws, start, start_with, stderr, text,
};

#[test]
fn it_reconnects_on_its_own_and_prints_on() {
    let (sim, seen) = start(0.0);
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE, "-C3"])
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for n in 0..3 {
        await_subscription(&seen);
        sim.publish(TEMPERATURE, &json!(n));
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert!(line.contains(&format!(r#""elems":{n},"#)), "{line}");
        sim.close_all(1001);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let peer = sim.addr();
    let told = stderr(&output);
    let lost = format!("warning: socket: {peer} closed with 1001; trying again in ");
    assert_eq!(told.matches(&lost).count(), 2, "{told}");
    let again = "warning: connected again, events may be missing from ";
    assert_eq!(told.matches(again).count(), 2, "{told}");
}

#[test]
fn no_reconnect_ends_it_with_69_at_the_first_loss() {
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "--no-reconnect"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    sim.close_all(1011);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let last = stderr(&output).lines().last().unwrap();
    assert_eq!(
        last,
        format!("error: socket: {} closed with 1011", sim.addr())
    );
}

#[test]
fn retry_for_gives_up_with_69_without_a_connection_for_so_long() {
    let (sim, _seen) = start_with(Options {
        faults: vec![Fault::SessionAnswer(503, "later")],
        ..Options::default()
    });
    let args = ["listen", TEMPERATURE, "--retry-for=500ms"];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let peer = sim.addr();
    let lines: Vec<&str> = stderr(&output).lines().collect();
    let (last, tries) = lines.split_last().unwrap();
    assert_eq!(
        *last,
        format!("error: session: HTTP 503 from {peer}: later")
    );
    assert!(!tries.is_empty());
    for (n, line) in (1..).zip(tries) {
        let times = if n > 1 {
            format!(" ({n} times)")
        } else {
            String::new()
        };
        let failure = format!("warning: session: HTTP 503 from {peer}: later{times}");
        assert!(
            line.starts_with(&format!("{failure}; trying again in ")),
            "{line}"
        );
    }
}

#[test]
fn require_any_goes_on_without_the_streams_that_are_refused() {
    let (sim, seen) = start(0.0);
    let run = |args: &[&str]| -> Child {
        let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "/demo/none", "-C1"]);
        command.args(args).spawn().unwrap()
    };
    let child = run(&["--require", "any"]);
    // The second one is asked for after the first.
    let refused = |what: &What| matches!(what, What::NotGranted(_));
    seen.iter().find(|seen| refused(&seen.what)).unwrap();
    sim.publish(TEMPERATURE, &json!(1));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    let peer = sim.addr();
    let refused = format!("subscribe: {peer} refused /demo/none: no stream /demo/none");
    assert!(stderr(&output).contains(&format!("warning: {refused}\n")));

    let output = run(&["--require=all"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    assert!(stderr(&output).contains(&format!("error: {refused} (check the name")));

    let args = ["listen", "/demo/none", "/demo/neither", "--require=any"];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(77));
}

#[test]
fn a_stream_whose_ack_is_late_is_asked_for_on_a_new_connection() {
    let (sim, seen) = start_with(Options {
        faults: vec![Fault::AckSilent],
        ..Options::default()
    });
    let args = ["listen", HUMIDITY, "-C1", "--ack-timeout=100ms"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    seen.iter()
        .find(|seen| seen.what == What::Swallowed)
        .unwrap();
    sim.set_faults(&[]);
    await_subscription(&seen);
    sim.publish(HUMIDITY, &json!(1));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let peer = sim.addr();
    let late =
        format!("warning: subscribe: {peer} did not answer in time to subscribe {HUMIDITY};");
    assert!(stderr(&output).contains(&late), "{}", stderr(&output));
}

#[test]
fn the_end_of_a_run_cuts_an_attempt_short() {
    for (option, code) in [("--duration=500ms", 0), ("--timeout=500ms", 75)] {
        let (sim, seen) = start(0.0);
        let child = octave_ws(&sim, &["listen", TEMPERATURE, option])
            .spawn()
            .unwrap();
        await_subscription(&seen);
        sim.set_faults(&[Fault::SessionSilent]);
        sim.drop_all();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    }
}
