//! What `listen` prints, and how it ends.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use octave_ws::sim::{ClientAction, Fault, Observation, Options};
use rustix::process::Signal;
use serde_json::{Value, json};
use tungstenite::Message;

use super::memory::led_to;
use super::raw::{Socket, grant, play, serve_out};
use super::{
    HUMIDITY, TEMPERATURE, await_subscription, kill, lines, octave_ws, start, start_with, stderr,
    text, untimed,
};

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
    let subscribed = |seen: &Observation| matches!(seen.action, ClientAction::Subscribed(_));
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
        await_subscription(&seen);
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
        let told: Vec<ClientAction> = seen.iter().map(|seen| seen.action).collect();
        let end = [
            ClientAction::Unsubscribed(TEMPERATURE.to_owned()),
            ClientAction::Closed(Some(1000)),
            ClientAction::Disconnected(None),
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
    let good = ["listen", TEMPERATURE, "--no-reconnect"];
    let refused = format!(
        "error: session: HTTP 400 from {peer}: invalid credentials (check OCTAVE_USER, \
         OCTAVE_COMPANY and the token: user \"demo_user\", company \"demo\", token from \
         OCTAVE_TOKEN)\n"
    );
    assert_eq!(listen("OCTAVE_TOKEN", Some("wrong"), &good), (77, refused));
    let no_stream = format!(
        "connected to {peer}\n\
         error: subscribe: {peer} refused /demo/none: no stream /demo/none \
         (check the name of the stream, and what the user may read)\n"
    );
    let none = listen("X", None, &["listen", "/demo/none"]);
    assert_eq!(none, (77, no_stream));
    sim.set_faults(&[Fault::RefuseWith(TEMPERATURE, 503)]);
    let (code, told) = listen("X", None, &good);
    assert!(told.ends_with(" (try again later)\n"), "{told}");
    assert_eq!(code, 77);
    let nobody = "error: connect: no connection to 127.0.0.1:1: Connection refused (os error 111) \
                  (check the endpoint and the network)\n";
    let gone = listen("OCTAVE_ENDPOINT", Some("https://127.0.0.1:1"), &good);
    assert_eq!(gone, (69, nobody.to_owned()));
    let wrong = "error: usage: no option --nonsense (see --help)\n";
    assert_eq!(listen("X", None, &["--nonsense"]), (64, wrong.to_owned()));
    let no_token = "error: config: no token: set OCTAVE_TOKEN_FILE or OCTAVE_TOKEN, put it into \
                    $CREDENTIALS_DIRECTORY/octave-token, or set token_file in the config file (see \
                    --token-file)\n";
    assert_eq!(
        listen("OCTAVE_TOKEN", None, &good),
        (78, no_token.to_owned())
    );
    let no_company = "error: config: no company: set OCTAVE_COMPANY, or company in the config \
                      file (see --company)\n";
    let company = listen("OCTAVE_COMPANY", None, &good);
    assert_eq!(company, (78, no_company.to_owned()));
    let no_file = "error: config: CA file \"/none\", set by OCTAVE_CA_FILE, cannot be read: No \
                   such file or directory (os error 2)\n";
    let ca_file = listen("OCTAVE_CA_FILE", Some("/none"), &good);
    assert_eq!(ca_file, (78, no_file.to_owned()));
}

#[test]
fn the_exit_code_tells_whose_fault_it_was() {
    for (fault, code, what) in [
        (
            Fault::SessionAnswer(401, "no"),
            77,
            "HTTP 401 from {peer}: no",
        ),
        (Fault::SessionAnswer(403, ""), 77, "HTTP 403 from {peer}"),
        (
            Fault::SessionAnswer(200, r#"{"head":{"ok":false,"errors":["not you"]}}"#),
            77,
            "HTTP 200 from {peer}: not you",
        ),
        (
            Fault::SessionAnswer(404, "\u{1b}[2J"),
            69,
            "HTTP 404 from {peer}: \\u{1b}[2J",
        ),
        (
            Fault::SessionAnswer(503, "later"),
            69,
            "HTTP 503 from {peer}: later",
        ),
        (
            Fault::SessionAnswer(201, "<html>"),
            76,
            "HTTP 201 from {peer}: its body is not a JSON object",
        ),
        (
            Fault::SessionAnswer(201, "{}"),
            76,
            "HTTP 201 from {peer}: it has no body.id",
        ),
        (
            Fault::SessionAnswer(201, r#"{"body":{"id":"../x"}}"#),
            76,
            "HTTP 201 from {peer}: its session id is not usable",
        ),
    ] {
        let (sim, _seen) = start_with(Options {
            faults: vec![fault],
            ..Options::default()
        });
        let args = ["listen", TEMPERATURE, "--no-reconnect"];
        let output = octave_ws(&sim, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{fault:?}");
        let what = what.replace("{peer}", &sim.addr().to_string());
        let line = stderr(&output);
        assert!(
            line.starts_with(&format!("error: session: {what}")),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn an_unanswered_request_is_76() {
    let (sim, _seen) = start_with(Options {
        faults: vec![Fault::AckSilent],
        ..Options::default()
    });
    let args = [
        "listen",
        TEMPERATURE,
        "--ack-timeout=50ms",
        "--no-reconnect",
    ];
    let output = octave_ws(&sim, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(76));
    let last = stderr(&output).lines().last().unwrap();
    let peer = sim.addr();
    let line =
        format!("error: subscribe: {peer} did not answer in time to subscribe {TEMPERATURE}");
    assert_eq!(last, line);
}

#[test]
fn a_restricted_token_goes_without_a_user() {
    let (sim, _seen) = start(50.0);
    let output = octave_ws(&sim, &["listen", TEMPERATURE, "-C1"])
        .env_remove("OCTAVE_USER")
        .env("OCTAVE_TOKEN", sim.restricted_token())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
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

#[test]
fn a_closed_standard_output_is_74() {
    let (sim, _seen) = start(0.0);
    for args in [vec!["listen", TEMPERATURE], vec!["session"], vec!["--help"]] {
        let program = octave_ws(&sim, &args);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "exec \"$@\" >&-", "sh"])
            .arg(program.get_program());
        shell.args(program.get_args()).env_clear();
        for (name, value) in program.get_envs() {
            shell.env(name, value.unwrap());
        }
        let output = shell.output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{args:?}");
        let last = stderr(&output).lines().last().unwrap();
        let text = "error: output: standard output: Bad file descriptor (os error 9)";
        assert_eq!(last, text);
    }
}

#[test]
fn lines_are_batched_in_bursts_and_flushed_when_idle() {
    let (sim, seen) = start(0.0);
    // Each write(2) comes out of it as one datagram.
    let (near, far) = UnixDatagram::pair().unwrap();
    let mut child = octave_ws(&sim, &["listen", TEMPERATURE, "-C21"])
        .stdout(OwnedFd::from(far))
        .spawn()
        .unwrap();
    await_subscription(&seen);
    let mut write = vec![0; 64 << 10];
    let mut lines_of_a_write = || {
        let n = near.recv(&mut write).unwrap();
        assert_eq!(write[n - 1], b'\n');
        text(&write[..n]).lines().count()
    };
    sim.publish(TEMPERATURE, &json!(0));
    assert_eq!(lines_of_a_write(), 1);
    let burst: Vec<_> = (1..=20).map(|n| json!(n)).collect();
    sim.publish_burst(TEMPERATURE, &burst);
    // As many as a pipe takes in one go, and the rest.
    let mut writes = vec![lines_of_a_write()];
    while writes.iter().sum::<usize>() < 20 {
        writes.push(lines_of_a_write());
    }
    assert!(writes.len() <= 3, "{writes:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn idle_ends_it_well_once_no_event_has_come_for_so_long() {
    let (sim, seen) = start(0.0);
    let args = ["listen", TEMPERATURE, "--idle", "300ms"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(lines(&output).len(), 1);
}

#[test]
fn a_run_past_its_timeout_ends_with_75() {
    let run = |faults: &[Fault], args: &[&str]| {
        let (sim, _seen) = start_with(Options {
            rate: 50.0,
            faults: faults.to_vec(),
            ..Options::default()
        });
        let output = octave_ws(&sim, args).output().unwrap();
        let last = stderr(&output).lines().last().unwrap().to_owned();
        (output.status.code().unwrap(), last, lines(&output).len())
    };
    let args = ["listen", TEMPERATURE, "-W", "500ms", "--count=1000000"];
    let (code, last, events) = run(&[], &args);
    let message = format!("error: timeout: not done in time, events: {events}");
    assert_eq!((code, last), (75, message));
    assert!(events > 0);
    let start = Instant::now();
    let (code, last, _) = run(&[Fault::SessionSilent], &args);
    assert_eq!(code, 75);
    // Not by --connect-timeout, which is 10 s.
    assert!(start.elapsed() < Duration::from_secs(5), "{last}");
    assert!(
        last.starts_with(
            "error: timeout: session: timed out waiting for an answer from 127.0.0.1:"
        ),
        "{last}"
    );
}

#[test]
fn output_is_the_servers_own_bytes_less_raw_line_breaks() {
    let value =
        "{\r\n  \"id\": \"e1\",\"n\":12345678901234567890.50,\"k\":1,\"k\":\"\\n\\ud800\u{9b}\"\n}";
    let message = format!("\n{{\"type\": \"message\",\n \"value\":{value}, \"x\": [ ]}}\r\n");
    let one_line = |text: &str| text.replace(['\r', '\n'], "");
    for (format, line) in [("event", one_line(value)), ("message", one_line(&message))] {
        let (sim, seen) = start(0.0);
        let args = ["listen", TEMPERATURE, "-C1", "-F", format];
        let child = octave_ws(&sim, &args).spawn().unwrap();
        await_subscription(&seen);
        sim.send(&message);
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stdout), line + "\n");
    }
}

#[test]
fn other_messages_are_warned_of_once_a_kind() {
    let (sim, seen) = start(0.0);
    let child = octave_ws(&sim, &["listen", TEMPERATURE, "-C2"])
        .spawn()
        .unwrap();
    await_subscription(&seen);
    sim.publish(TEMPERATURE, &json!(1));
    for odd in [
        "junk",
        "{}",
        "junk",
        "[]",
        r#"{"head":{"ok":true,"msgId":"99"}}"#,
    ] {
        sim.send(odd);
    }
    sim.publish(TEMPERATURE, &json!(2));
    let output = child.wait_with_output().unwrap();
    assert_eq!(lines(&output).len(), 2);
    let warnings = stderr(&output)
        .lines()
        .map(untimed)
        .filter(|line| line.starts_with("warning: "));
    let kinds = [
        "it is not JSON",
        "it is neither an event nor an answer",
        "it is not a JSON object",
        "it answers no pending request",
    ];
    let mut expected = kinds
        .map(|kind| format!("warning: a message was skipped: {kind}"))
        .to_vec();
    expected.push("warning: messages were skipped, 2 times: it is not JSON".to_owned());
    assert_eq!(warnings.collect::<Vec<_>>(), expected);
}

#[test]
fn quiet_says_nothing_but_errors_and_verbose_says_when() {
    let (sim, _seen) = start(50.0);
    let run = |args: &[&str]| {
        let output = octave_ws(&sim, args).output().unwrap();
        stderr(&output).to_owned()
    };
    assert_eq!(run(&["listen", TEMPERATURE, "-C1", "-q"]), "");
    assert_eq!(run(&["listen", "/demo/none", "-q"]).lines().count(), 1);
    let told = run(&["listen", TEMPERATURE, "-C1", "-v"]);
    for line in told.lines() {
        let (at, _) = line.split_once(' ').unwrap();
        assert_eq!(at.len(), "2024-02-14T00:28:07.000Z".len(), "{line}");
        assert!(at.ends_with('Z'), "{line}");
    }
}

#[test]
fn verbose_tells_the_life_of_the_connection() {
    let (sim, seen) = start(50.0);
    let output = octave_ws(&sim, &["listen", TEMPERATURE, "-C1", "-vv"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told: Vec<&str> = stderr(&output)
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    let peer = sim.addr();
    let life = [
        format!("octave-ws {}", env!("CARGO_PKG_VERSION")),
        format!("resolve: resolved {} to 1 address", peer.ip()),
        format!("connect: connected to {peer}"),
        "tls: full handshake of TLS 1.3, TLS13_AES_256_GCM_SHA384".to_owned(),
        "session: opened, and the connection kept".to_owned(),
        "upgrade: the WebSocket is open, compressed".to_owned(),
        format!("connected to {peer}"),
        format!("subscribe: asked for {TEMPERATURE}"),
        format!("subscribed to {TEMPERATURE}"),
        format!("socket: closing the connection to {peer}"),
        format!("unsubscribe: asked for {TEMPERATURE}"),
        "closed, events: 1".to_owned(),
    ];
    let (traffic, told) = told.split_last().unwrap();
    assert_eq!(told, life);
    let end = ", connections: 1, TLS handshakes: 1 full, 0 resumed";
    assert!(
        traffic.starts_with("bytes received: ") && traffic.ends_with(end),
        "{traffic}"
    );
    // Of secrets it tells nothing, not even a session id's beginning.
    drop(sim);
    let started = |what| match what {
        ClientAction::Session(start) => Some(start),
        _ => None,
    };
    let session = seen.iter().find_map(|seen| started(seen.action)).unwrap();
    assert!(!stderr(&output).contains(&session));
}

#[test]
fn sixteen_file_descriptors_are_enough() {
    let (sim, _seen) = start(50.0);
    let endpoint = format!("--endpoint=https://localhost:{}", sim.addr().port());
    let program = octave_ws(&sim, &["listen", TEMPERATURE, "-C1", &endpoint]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -n 16; exec \"$@\"", "sh"])
        .arg(program.get_program());
    shell.args(program.get_args()).env_clear();
    for (name, value) in program.get_envs() {
        shell.env(name, value.unwrap());
    }
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_failure_is_told_without_a_descriptor_for_it() {
    let (sim, _seen) = start(0.0);
    let program = octave_ws(&sim, &["session"]);
    for most in 9..16 {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {most}; exec \"$@\""), "sh"]);
        command.arg(program.get_program()).args(program.get_args());
        let variables = program.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        let output = command.output().unwrap();
        let told = stderr(&output);
        let is_told = told.starts_with("error: ") && told.lines().count() == 1;
        assert!(output.status.success() || is_told, "{most}: {told:?}");
    }
}

#[test]
fn ten_thousand_streams_are_listened_to() {
    let (sim, seen) = start_with(Options {
        any_stream: true,
        ..Options::default()
    });
    let mut command = octave_ws(&sim, &["listen", "-q", "-C1"]);
    let paths = (0..10_000).map(|n| format!("/demo/devices/gw{n}/x"));
    let child = command.args(paths).spawn().unwrap();
    let subscribed = |seen: &Observation| matches!(seen.action, ClientAction::Subscribed(_));
    assert_eq!(seen.iter().filter(subscribed).take(10_000).count(), 10_000);
    assert_eq!(sim.publish("/demo/devices/gw9999/x", &json!(1)), 1);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(lines(&output).len(), 1);
}

/// A service that sends an event between a request to unsubscribe and its acknowledgement.
fn sends_while_unsubscribed() -> (String, std::thread::JoinHandle<()>) {
    play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        socket.send(Message::text(r#"{"value":1}"#)).unwrap();
        let request = socket.read().unwrap();
        socket.send(Message::text(r#"{"value":2}"#)).unwrap();
        grant(&mut socket, &request);
        serve_out(&mut socket);
    })])
}

#[test]
fn events_before_the_unsubscription_are_printed() {
    for (args, events) in [
        (&["listen", "/a"][..], "1\n2\n"),
        (&["listen", "/a", "--idle=300ms"], "1\n2\n"),
        (&["capture", "/a", "--idle=300ms"], "1\n2\n"),
        (&["listen", "/a", "-C1"], "1\n"),
    ] {
        let (endpoint, service) = sends_while_unsubscribed();
        let mut child = led_to(&endpoint, args).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        out.read_line(&mut text).unwrap();
        if args.len() == 2 {
            kill(&child, Signal::TERM);
        }
        out.read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        assert_eq!(text, events, "{args:?}");
        service.join().unwrap();
    }
}

#[test]
fn all_refused_streams_are_named() {
    let (sim, _seen) = start(0.0);
    let peer = sim.addr();
    for require in ["all", "any"] {
        let args = ["listen", "/demo/none", "/demo/no", "--require", require];
        let mut command = octave_ws(&sim, &args);
        if require == "all" {
            command.arg(TEMPERATURE);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(77));
        let count = if require == "all" { "2 of 3" } else { "2 of 2" };
        let refused = format!(
            "error: subscribe: {peer} refused {count} streams: /demo/no: no stream /demo/no; \
             /demo/none: no stream /demo/none (check the name of the stream, and what the user may \
             read)\n"
        );
        assert!(stderr(&output).ends_with(&refused), "{}", stderr(&output));
    }
}

#[test]
fn the_log_suits_its_reader() {
    let (sim, _seen) = start(0.0);
    let listen = [
        "listen",
        "/demo/none",
        TEMPERATURE,
        "--require=any",
        "--duration=1ms",
    ];
    let output = octave_ws(&sim, &listen)
        .args(["--log-format=json", "-v"])
        .output()
        .unwrap();
    let levels: BTreeSet<_> = stderr(&output)
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            humantime::parse_rfc3339(line["at"].as_str().unwrap()).unwrap();
            assert!(!line["message"].as_str().unwrap().is_empty());
            line["level"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(levels.iter().eq(["debug", "info", "warning"]), "{levels:?}");

    // Those of wrong usage, and of the shell, too.
    let mut shell = octave_ws(&sim, &["shell", "--log-format=json"]);
    let mut shell = shell.stdin(Stdio::piped()).spawn().unwrap();
    shell
        .stdin
        .take()
        .unwrap()
        .write_all(b"help\nnonsense\n")
        .unwrap();
    let wrong = octave_ws(&sim, &["listen", "/a", "-4", "-6", "--log-format=json"]).output();
    let misspelt = octave_ws(&sim, &["--log-format", "json", "lisen"]).output();
    let joined = octave_ws(&sim, &["lisen", "--log-format=json"]).output();
    for output in [shell.wait_with_output(), wrong, misspelt, joined] {
        let output = output.unwrap();
        assert!(!output.stderr.is_empty());
        let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
        assert!(stderr(&output).lines().all(is_json), "{}", stderr(&output));
    }

    // Standard error is announced as the journal, once falsely.
    let journal = tempfile::NamedTempFile::new().unwrap();
    let own = journal.as_file().metadata().unwrap();
    for is_journal in [false, true] {
        journal.as_file().set_len(0).unwrap();
        let inode = own.ino() + u64::from(!is_journal);
        let status = octave_ws(&sim, &listen)
            .env("JOURNAL_STREAM", format!("{}:{inode}", own.dev()))
            .stderr(
                std::fs::File::options()
                    .append(true)
                    .open(&journal)
                    .unwrap(),
            )
            .status();
        assert!(status.unwrap().success());
        let told = std::fs::read_to_string(&journal).unwrap();
        let warning = told
            .lines()
            .find(|line| line.contains("warning: "))
            .unwrap();
        assert_eq!(warning.starts_with("<4>warning: "), is_journal, "{told}");
        assert_eq!(untimed(warning) == warning, is_journal, "{told}");
    }
}
