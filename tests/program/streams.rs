//! Many streams: from files, in shards, subscribed together.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use octave_ws::sim::{ClientAction, Fault, Options, Sim};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tungstenite::Message;

use super::memory::led_to;
use super::patience::until;
use super::raw::{Part, Socket, grant, play, serve_out};
use super::{HUMIDITY, TEMPERATURE, file, kill, lines, octave_ws, start, start_with, stderr, text};

/// Listens to the streams of a file, given as standard input.
fn listen(sim: &Sim, list: &str, args: &[&str]) -> Child {
    let list = file(
        sim,
        &format!("{}.txt", args.join("").replace('/', "")),
        list,
    );
    octave_ws(sim, &["listen", "--streams-file=-"])
        .args(args)
        .stdin(File::open(list).unwrap())
        .spawn()
        .unwrap()
}

#[test]
fn streams_of_a_file_are_listened_to_with_those_that_are_given() {
    let (sim, seen) = start(0.0);
    let list = file(
        &sim,
        "list",
        &format!("# all\n\n{HUMIDITY} # twice\n{HUMIDITY}\n"),
    );
    let list = format!("--streams-file={}", list.display());
    let args = ["listen", TEMPERATURE, &list, "-q", "--count=2"];
    let child = octave_ws(&sim, &args).spawn().unwrap();
    let subscribed = seen.iter().filter_map(|seen| match seen.action {
        ClientAction::Subscribed(stream) => Some(stream),
        _ => None,
    });
    assert_eq!(
        subscribed.take(2).collect::<Vec<_>>(),
        [TEMPERATURE, HUMIDITY]
    );
    for stream in [TEMPERATURE, HUMIDITY] {
        assert_eq!(sim.publish(stream, &json!(1)), 1);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), lines(&output).len()), (Some(0), 2));
    // Neither was subscribed again.
    let mut rest = seen
        .iter()
        .take_while(|seen| !matches!(seen.action, ClientAction::Closed(_)));
    assert!(!rest.any(|seen| matches!(seen.action, ClientAction::Subscribed(_))));
}

#[test]
fn many_subscriptions_are_one_line() {
    let (sim, _seen) = start_with(Options {
        any_stream: true,
        ..Options::default()
    });
    for (count, wanted) in [(20, 20), (21, 1)] {
        let list = (0..count).map(|n| format!("/demo/devices/gw{n}/x\n"));
        let list: String = list.collect();
        let child = listen(&sim, &list, &["--duration=1ms"]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output).matches("subscribed to").count(), wanted);
        assert_eq!(
            stderr(&output).contains("subscribed to 21 streams\n"),
            wanted == 1
        );
    }
}

#[test]
fn ten_thousand_streams_are_listened_to_in_shards() {
    let (sim, seen) = start_with(Options {
        any_stream: true,
        ..Options::default()
    });
    let list: Vec<String> = (0..10_000)
        .map(|n| format!("/demo/devices/gw{n}/x\n"))
        .collect();
    let list = list.concat();
    let shards = ["1/3", "2/3", "3/3"];
    let children = shards.map(|shard| listen(&sim, &list, &["-q", "--shard", shard]));
    let subscribed = seen.iter().filter_map(|seen| match seen.action {
        ClientAction::Subscribed(stream) => Some(stream),
        _ => None,
    });
    // Each of them is taken, by one of the three.
    let subscribed: Vec<String> = subscribed.take(10_000).collect();
    assert_eq!(subscribed.iter().collect::<BTreeSet<_>>().len(), 10_000);
    for child in children {
        kill(&child, Signal::TERM);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

#[test]
fn a_share_without_a_stream_is_done_at_once() {
    let (sim, _seen) = start(0.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    fs::write(&path, "before\n").unwrap();
    let args = ["capture", "/a", "--shard=1/9999", "-C1", "-Frecord", "-o"];
    let output = octave_ws(&sim, &args).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = "shard 1/9999: 0 of 1 streams\nwithout a stream, there is nothing to do\n";
    assert_eq!(stderr(&output), told);
    let summary = fs::read_to_string(&path).unwrap();
    assert!(
        summary.contains(r#""kind":"summary","events":0,"#),
        "{summary}"
    );
    assert_eq!(summary.lines().count(), 1);
    let output = octave_ws(&sim, &["listen", "/a", "--shard=1/9999"]).output();
    assert_eq!(output.unwrap().status.code(), Some(0));
}

const ONE_THING: &str = "standard input is read for one thing: the token, the streams, or the \
                         commands of shell (see --help)\n";

#[test]
fn a_stream_lost_twice_before_the_gap_is_recorded_for_the_last_connection() {
    let (wanted, asked) = mpsc::channel();
    let first: Box<Part> = Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        // The one that the reload adds has no answer.
        socket.read().unwrap();
        wanted.send(()).unwrap();
    });
    let second: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let requests = [socket.read().unwrap(), socket.read().unwrap()];
        let of_added = requests
            .iter()
            .find(|request| request.to_text().unwrap().contains("\"/b\""));
        grant(&mut socket, of_added.unwrap());
    });
    let third: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| serve_out(&mut socket));
    let (endpoint, service) = play([first, second, third]);
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    fs::write(&list, "/a\n").unwrap();
    let option = format!("--streams-file={}", list.display());
    let mut child = led_to(&endpoint, &["listen", &option, "-Frecord"])
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut await_told = |what: &str| until(what, || log.next().unwrap().unwrap().contains(what));
    await_told("subscribed to /a");
    fs::write(&list, "/a\n/b\n").unwrap();
    kill(&child, Signal::HUP);
    asked.recv().unwrap();
    await_told("connected again");
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    service.join().unwrap();
    let records = lines(&output);
    let connected = records
        .iter()
        .rposition(|record| record["kind"] == "connected")
        .unwrap();
    let subscribed = |record: &&Value| record["kind"] == "subscribed";
    let subscribed = records[connected..].iter().filter(subscribed);
    let subscribed: Vec<_> = subscribed.map(|record| &record["stream"]).collect();
    assert_eq!(subscribed, ["/a", "/b"], "{records:?}");
}

#[test]
fn a_stream_added_during_an_outage_is_recorded_once() {
    let (sim, seen) = start(0.0);
    let list = file(&sim, "outage", &format!("{TEMPERATURE}\n"));
    let option = format!("--streams-file={}", list.display());
    let mut command = octave_ws(&sim, &["listen", &option, "-Frecord", "-v"]);
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut await_told = |what: &str| until(what, || log.next().unwrap().unwrap().contains(what));
    await_told("subscribed to ");
    sim.set_faults(&[Fault::SessionAnswer(503, "service unavailable")]);
    sim.drop_all();
    await_told("trying again");
    fs::write(&list, format!("{TEMPERATURE}\n{HUMIDITY}\n")).unwrap();
    kill(&child, Signal::HUP);
    // Once it has been read again.
    await_told("streams: 2");
    sim.set_faults(&[]);
    await_told("connected again");
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    let records: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |stream: &str| {
        records
            .iter()
            .filter(|record| record["kind"] == "subscribed" && record["stream"] == stream)
            .count()
    };
    assert_eq!((of(TEMPERATURE), of(HUMIDITY)), (2, 1), "{records:?}");
    drop(seen);
}

#[test]
fn standard_input_is_read_for_one_thing() {
    let (sim, _seen) = start(0.0);
    let config = file(&sim, "config", r#"{"token_file":"-"}"#);
    let config = format!("--config={}", config.display());
    let streams = "--streams-file=-";
    for (args, variable) in [
        (&["shell"][..], "-"),
        (&["shell", "--token-file=-"], ""),
        (&["shell", "--token-file=/dev/stdin"], ""),
        (&["shell", &config], ""),
        (&["listen", streams], "-"),
        (&["listen", streams], "/proc/self/fd/0"),
        (&["listen", "--streams-file=/dev/stdin", &config], ""),
        (&["doctor", streams, &config], ""),
        (&["capture", streams, "-C1"], "-"),
    ] {
        let mut command = octave_ws(&sim, args);
        command
            .env("OCTAVE_TOKEN_FILE", variable)
            .env_remove("OCTAVE_TOKEN");
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let typed = format!("{TEMPERATURE}\n");
        // It may have ended without a look at it.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let output = child.wait_with_output().unwrap();
        let told = format!("error: usage: {ONE_THING}");
        assert_eq!(
            (output.status.code(), stderr(&output)),
            (Some(64), &*told),
            "{args:?}"
        );
    }
}

#[test]
fn an_invalid_list_names_its_line() {
    let (sim, _seen) = start(0.0);
    let list = file(&sim, "list", "/a\nb\n");
    let (bad, shown) = (format!("--streams-file={}", list.display()), list.display());
    for (args, code, message) in [
        (
            &[bad.as_str()][..],
            64,
            format!("usage: \"{shown}\", line 2: \"b\" is not a stream"),
        ),
        (
            &["--streams-file=/nowhere"],
            78,
            "config: streams of \"/nowhere\" cannot be read: No".into(),
        ),
        (
            &["--streams-file=-"],
            64,
            "usage: no stream in standard input: give one per line".into(),
        ),
        (
            &["--streams-file=-", "--token-file=-"],
            64,
            format!("usage: {ONE_THING}"),
        ),
        (
            &["/a", "--shard=3/2"],
            64,
            "usage: --shard 3/2: give K/N, such as".into(),
        ),
    ] {
        let mut command = octave_ws(&sim, &["listen"]);
        let output = command.args(args).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let told = stderr(&output);
        assert!(told.starts_with(&format!("error: {message}")), "{told}");
    }
}

#[test]
fn a_hangup_reads_the_file_of_streams_again() {
    const LOCATION: &str = "/demo/devices/gw1/location";
    let (sim, seen) = start(0.0);
    let list = file(&sim, "again", &format!("{TEMPERATURE}\n{HUMIDITY}\n"));
    let option = format!("--streams-file={}", list.display());
    // A refused stream is asked for again, too.
    let args = ["listen", &option, "/demo/none", "--require=any", "-Frecord"];
    let mut child = octave_ws(&sim, &args).spawn().unwrap();
    let mut asked = seen.iter().filter_map(|seen| match seen.action {
        ClientAction::Subscribed(stream) => Some(format!("+{stream}")),
        ClientAction::Unsubscribed(stream) => Some(format!("-{stream}")),
        ClientAction::NotGranted(stream) => Some(format!("!{stream}")),
        ClientAction::Connected => Some("connected".to_owned()),
        _ => None,
    });
    let mut next = |count: usize| {
        let mut next: Vec<_> = asked.by_ref().take(count).collect();
        next.sort();
        next
    };
    next(4);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut await_told = |what: &str| {
        let mut told = String::new();
        while !told.contains(what) {
            assert!(log.read_line(&mut told).unwrap() > 0, "{told}");
        }
    };
    await_told("refused /demo/none");
    fs::write(&list, format!("{HUMIDITY}\n{LOCATION}\n")).unwrap();
    kill(&child, Signal::HUP);
    let changed = [
        "!no stream /demo/none".to_owned(),
        format!("+{LOCATION}"),
        format!("-{TEMPERATURE}"),
    ];
    assert_eq!(next(3), changed);
    await_told("unsubscribed from ");
    // One that cannot be read changes nothing.
    fs::write(&list, "no stream\n").unwrap();
    kill(&child, Signal::HUP);
    for stream in [HUMIDITY, LOCATION] {
        sim.publish(stream, &json!(1));
    }
    await_told("the streams stay as they were");
    let mut records = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_event = |line: io::Result<String>| line.unwrap().contains(r#""kind":"event""#);
    assert!(records.any(is_event) && records.any(is_event));
    kill(&child, Signal::TERM);
    let ended = [format!("-{HUMIDITY}"), format!("-{LOCATION}")];
    assert_eq!(next(2), ended);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// A file of streams that is changed while a run listens to them.
struct List {
    path: PathBuf,
    pid: OnceLock<Pid>,
    /// Tells whose run it is.
    pids: Mutex<mpsc::Receiver<Pid>>,
}

impl List {
    fn change(&self, streams: &str) {
        fs::write(&self.path, streams).unwrap();
        let pid = self
            .pid
            .get_or_init(|| self.pids.lock().unwrap().recv().unwrap());
        kill_process(*pid, Signal::HUP).unwrap();
    }
}

/// Runs until 300 ms after all is subscribed, from `/a` and `/x` on.
fn end_of_changes<const N: usize>(service: impl FnOnce(&Arc<List>) -> [Box<Part>; N]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "/a\n/x\n").unwrap();
    let (sender, pids) = mpsc::channel();
    let list = Arc::new(List {
        path: file.path().to_owned(),
        pid: OnceLock::new(),
        pids: Mutex::new(pids),
    });
    let (endpoint, service) = play(service(&list));
    let option = format!("--streams-file={}", file.path().display());
    let args = ["listen", &option, "--duration=300ms", "-W30s"];
    let child = led_to(&endpoint, &args).spawn().unwrap();
    sender.send(Pid::from_child(&child)).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    service.join().unwrap();
}

fn refuse(socket: &mut Socket<'_>, request: &Message) {
    let text = request.to_text().unwrap();
    let (_, id) = text.split_once(r#""msgId":""#).unwrap();
    let (id, _) = id.split_once('"').unwrap();
    let answer = format!(r#"{{"head":{{"msgId":"{id}","ok":false,"errors":["no"]}}}}"#);
    socket.send(Message::text(answer)).unwrap();
}

/// Gives `/x` up and asks for it again, before there is an answer. Returns the request for `/a` and
/// these three.
fn given_up_and_asked_for_again(list: &List, socket: &mut Socket<'_>) -> [Message; 4] {
    let of_a = socket.read().unwrap();
    let of_x = socket.read().unwrap();
    list.change("/a\n");
    let unsubscription = socket.read().unwrap();
    list.change("/a\n/x\n");
    [of_a, of_x, unsubscription, socket.read().unwrap()]
}

#[test]
fn answers_after_a_hangup_count() {
    end_of_changes(|list| {
        let list = Arc::clone(list);
        [Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
            let [of_a, of_x, unsubscription, again] =
                given_up_and_asked_for_again(&list, &mut socket);
            grant(&mut socket, &of_a);
            refuse(&mut socket, &of_x);
            grant(&mut socket, &unsubscription);
            grant(&mut socket, &again);
            serve_out(&mut socket);
        })]
    });
}

#[test]
fn an_unanswered_request_after_a_hangup_is_not_awaited() {
    end_of_changes(|list| {
        let list = Arc::clone(list);
        let part: [Box<Part>; 2] = [
            Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
                given_up_and_asked_for_again(&list, &mut socket);
                socket.close(None).unwrap();
                serve_out(&mut socket);
            }),
            Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
                for _ in 0..2 {
                    let request = socket.read().unwrap();
                    grant(&mut socket, &request);
                }
                serve_out(&mut socket);
            }),
        ];
        part
    });
}

#[test]
fn an_abandoned_stream_does_not_keep_a_run_from_ending() {
    end_of_changes(|list| {
        let list = Arc::clone(list);
        [Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
            let first = socket.read().unwrap();
            grant(&mut socket, &first);
            // The other one is never answered.
            socket.read().unwrap();
            list.change("/a\n");
            serve_out(&mut socket);
        })]
    });
}

#[test]
fn a_replaced_file_blocks_nothing() {
    let (sim, seen) = start(0.0);
    let list = file(&sim, "pipe", TEMPERATURE);
    let option = format!("--streams-file={}", list.display());
    let mut child = octave_ws(&sim, &["listen", &option, "-C1"])
        .spawn()
        .unwrap();
    super::await_subscription(&seen);
    fs::remove_file(&list).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mkfifoat(rustix::fs::CWD, &list, mode).unwrap();
    kill(&child, Signal::HUP);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains("it is not a regular file any more; the streams stay as they were") {
        assert!(log.read_line(&mut told).unwrap() > 0, "{told}");
    }
    sim.publish(TEMPERATURE, &json!(1));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
