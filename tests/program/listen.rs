//! What `listen` prints, and how it ends.

use std::io::{BufRead, BufReader, Read};

use octave_ws::sim::{Seen, What};
use rustix::process::Signal;
use serde_json::json;

use super::{HUMIDITY, TEMPERATURE, kill, lines, octave_ws, start, stderr};

#[test]
fn count_prints_so_many_event_objects_by_path_or_id() {
    let (sim, _seen) = start(50.0);
    let id = sim.streams()[0].1.clone();
    for stream in [TEMPERATURE, id.as_str()] {
        let output = octave_ws(&sim, &["listen", stream, "--count", "5"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let events = lines(&output);
        assert_eq!(events.len(), 5);
        for event in events {
            assert_eq!(event["path"], TEMPERATURE);
            assert_eq!(event["streamId"], id.as_str());
            assert!(event["elems"]["temperature"].is_f64(), "{event}");
        }
        assert_eq!(
            stderr(&output),
            format!(
                "connected to {}\nsubscribed to {stream}\nclosed, events: 5\n",
                sim.addr()
            )
        );
    }
}

#[test]
fn several_streams_are_listened_to_at_once_and_each_is_subscribed_once() {
    let (sim, seen) = start(50.0);
    let args = ["listen", TEMPERATURE, HUMIDITY, TEMPERATURE, "-C", "10"];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for path in [TEMPERATURE, HUMIDITY] {
        assert!(lines(&output).iter().any(|event| event["path"] == path));
    }
    drop(sim);
    let subscribed = |seen: &Seen| matches!(seen.what, What::Subscribed(_));
    assert_eq!(seen.iter().filter(subscribed).count(), 2);
}

#[test]
fn duration_ends_it_well() {
    let (sim, _seen) = start(20.0);
    let output = octave_ws(&sim, &["listen", TEMPERATURE, "--duration", "500ms"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!lines(&output).is_empty());
}

#[test]
fn a_signal_ends_it_well_after_leave_was_taken() {
    for signal in [Signal::INT, Signal::TERM] {
        let (sim, seen) = start(0.0);
        let mut child = octave_ws(&sim, &["listen", TEMPERATURE]).spawn().unwrap();
        seen.iter()
            .find(|seen| matches!(seen.what, What::Subscribed(_)))
            .unwrap();
        assert_eq!(sim.publish(TEMPERATURE, &json!({ "n": 1 })), 1);
        // An event goes out as soon as no further one is waiting.
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert!(line.contains(r#""elems":{"n":1}"#) && line.ends_with("}\n"));
        kill(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(out.read_to_string(&mut line).unwrap(), 0);
        drop(sim);
        let told: Vec<What> = seen.iter().map(|seen| seen.what).collect();
        let end = [
            What::Unsubscribed(TEMPERATURE.to_owned()),
            What::Closed(Some(1000)),
            What::Disconnected(None),
        ];
        assert_eq!(told, end);
    }
}

#[test]
fn a_failure_is_one_line_and_an_exit_code() {
    let (sim, _seen) = start(0.0);
    let peer = sim.addr();
    let listen = |variable: &str, value: Option<&str>, args: &[&str]| {
        let mut command = octave_ws(&sim, args);
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
        let output = command.output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code().unwrap(), stderr(&output).to_owned())
    };
    let good = ["listen", TEMPERATURE];
    let refused = format!(
        "error: session: HTTP 400 from {peer}: invalid credentials (check OCTAVE_USER, \
         OCTAVE_COMPANY and the token)\n"
    );
    assert_eq!(listen("OCTAVE_TOKEN", Some("wrong"), &good), (77, refused));
    let no_stream = format!(
        "connected to {peer}\n\
         error: subscribe: {peer} refused /demo/none: no stream /demo/none\n"
    );
    let none = listen("X", None, &["listen", "/demo/none"]);
    assert_eq!(none, (77, no_stream));
    let nobody = "error: connect: no connection to 127.0.0.1:1: Connection refused (os error 111) \
                  (check the endpoint and the network)\n";
    let gone = listen("OCTAVE_ENDPOINT", Some("https://127.0.0.1:1"), &good);
    assert_eq!(gone, (69, nobody.to_owned()));
    let wrong = "error: usage: no option --nonsense (see --help)\n";
    assert_eq!(listen("X", None, &["--nonsense"]), (64, wrong.to_owned()));
    let no_token = "error: config: no token: give --token-file, set OCTAVE_TOKEN_FILE or \
                    OCTAVE_TOKEN, put it into $CREDENTIALS_DIRECTORY/octave-token, or set \
                    token_file in the config file\n";
    assert_eq!(
        listen("OCTAVE_TOKEN", None, &good),
        (78, no_token.to_owned())
    );
    let no_company = "error: config: no company: give --company, set OCTAVE_COMPANY, or set \
                      company in the config file\n";
    let company = listen("OCTAVE_COMPANY", None, &good);
    assert_eq!(company, (78, no_company.to_owned()));
    let no_file = "error: config: CA file \"/none\" cannot be read: No such file or directory \
                   (os error 2)\n";
    let ca_file = listen("OCTAVE_CA_FILE", Some("/none"), &good);
    assert_eq!(ca_file, (78, no_file.to_owned()));
}

#[test]
fn a_reader_that_goes_away_ends_it_well() {
    let (sim, _seen) = start(50.0);
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_output_that_cannot_be_written_is_74() {
    let (sim, _seen) = start(50.0);
    let full = std::fs::File::options().write(true).open("/dev/full");
    let output = octave_ws(&sim, &["listen", TEMPERATURE])
        .stdout(full.unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(74));
    let last = stderr(&output).lines().last().unwrap();
    let text = "error: output: standard output: No space left on device (os error 28)";
    assert_eq!(last, text);
}
