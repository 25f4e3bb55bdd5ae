//! The prompt.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread;

use octave_ws::sim::{ClientAction, Fault, Observation, Options, Sim};
use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};
use serde_json::{Value, json};
use tungstenite::Message;

use super::memory::led_to;
use super::patience::{Told, until};
use super::raw::{Socket, grant, play, serve_out};
use super::{
    HUMIDITY, TEMPERATURE, await_shown, kill, octave_ws, shown, start, start_with, stderr, terminal,
};

const TEMPERATURE_ID: &str = "s65f0c1a24b5a8d2c0c3a5101";

struct Shell {
    child: Child,
    typed: Option<ChildStdin>,
    printed: BufReader<ChildStdout>,
}

impl Shell {
    fn start(sim: &Sim) -> Self {
        let mut command = octave_ws(sim, &["shell"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        Self {
            typed: child.stdin.take(),
            printed: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.typed.as_mut().unwrap(), "{line}").unwrap();
    }

    fn printed(&mut self) -> Value {
        let mut line = String::new();
        self.printed.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Ends its input. The exit code, what was printed since, and what stands on standard error.
    fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        self.typed = None;
        self.wait()
    }

    fn wait(self) -> (Option<i32>, Vec<String>, String) {
        let printed = self.printed.lines().map(Result::unwrap).collect();
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), printed, stderr(&output).to_owned())
    }
}

#[test]
fn a_subscription_without_msg_id_is_unsubscribed_without_an_answer() {
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        assert!(!request.to_text().unwrap().contains("msgId"));
        // It answers nothing.
        socket.send(Message::text(r#"{"other":1}"#)).unwrap();
        let request = socket.read().unwrap();
        let text = request.to_text().unwrap();
        assert!(
            text.contains("unsubscribe") && text.contains("\"/a\""),
            "{text}"
        );
        grant(&mut socket, &request);
        serve_out(&mut socket);
    })]);
    let mut command = led_to(&endpoint, &["shell"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    writeln!(
        typed,
        r#"{{"object":"event","type":"subscribe","path":"/a"}}"#
    )
    .unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap());
    printed.read_line(&mut String::new()).unwrap();
    drop(typed);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    service.join().unwrap();
}

fn granted(id: &str) -> Value {
    json!({
        "head": {
            "msgId": id,
            "ok": true,
            "errors": [],
            "messages": ["Your request has been processed successfully."],
        },
        "body": {},
    })
}

/// What a client has asked for, and how it closed.
fn asked(seen: &Told) -> Vec<ClientAction> {
    let of_requests = |what: &ClientAction| {
        matches!(
            what,
            ClientAction::Subscribed(_)
                | ClientAction::Unsubscribed(_)
                | ClientAction::Closed(_)
                | ClientAction::Text(_)
        )
    };
    let mut asked: Vec<ClientAction> = Vec::new();
    while !matches!(asked.last(), Some(ClientAction::Closed(_))) {
        asked.extend(Some(seen.recv().unwrap().action).filter(of_requests));
    }
    asked
}

#[test]
fn the_vendors_page_can_be_followed_line_by_line() {
    let (sim, seen) = start(0.0);
    let mut shell = Shell::start(&sim);
    shell.line(&format!(
        r#"{{"msgId":"my-request","object":"event","type":"subscribe","streamId":"{TEMPERATURE_ID}"}}"#
    ));
    assert_eq!(shell.printed(), granted("my-request"));
    shell.line(&format!(
        r#"{{"msgId":"my-path-request","object":"event","type":"subscribe","path":"{HUMIDITY}"}}"#
    ));
    assert_eq!(shell.printed(), granted("my-path-request"));
    assert_eq!(sim.publish(TEMPERATURE, &json!({ "temperature": 21.5 })), 1);
    let event = shell.printed();
    assert_eq!(
        (&event["type"], &event["resource"]),
        (&json!("message"), &json!(TEMPERATURE_ID))
    );
    assert_eq!(event["value"]["elems"], json!({ "temperature": 21.5 }));
    assert_eq!(event["value"]["path"], json!(TEMPERATURE));
    shell.line(&format!(
        r#"{{"msgId":"my-request","object":"event","type":"unsubscribe","streamId":"{TEMPERATURE_ID}"}}"#
    ));
    assert_eq!(shell.printed(), granted("my-request"));
    assert_eq!(sim.publish(TEMPERATURE, &json!(1)), 0);
    let (code, printed, told) = shell.end();
    assert_eq!((code, printed), (Some(0), vec![]), "{told}");
    let expected = [
        ClientAction::Subscribed(TEMPERATURE_ID.to_owned()),
        ClientAction::Subscribed(HUMIDITY.to_owned()),
        ClientAction::Unsubscribed(TEMPERATURE_ID.to_owned()),
        // At the end of input, what was left.
        ClientAction::Unsubscribed(HUMIDITY.to_owned()),
        ClientAction::Closed(Some(1000)),
    ];
    assert_eq!(asked(&seen), expected);
}

#[test]
fn a_script_is_done_to_its_end_and_all_answers_are_printed() {
    let (sim, seen) = start(0.0);
    let mut shell = Shell::start(&sim);
    for line in [
        &format!("  subscribe   {TEMPERATURE}  "),
        "",
        &format!("subscribe {TEMPERATURE}"),
        "subscribe nothing",
        "subscribe",
        "ping x",
        "subscribed",
        "ping",
        &format!("unsubscribe {TEMPERATURE}"),
        r#"{ "not": "a request" }"#,
    ] {
        shell.line(line);
    }
    // The last line need not end.
    write!(shell.typed.as_mut().unwrap(), "subscribe {HUMIDITY}").unwrap();
    let (code, printed, told) = shell.end();
    assert_eq!(code, Some(0), "{told}");
    let answers: Vec<Value> = printed
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let granted: Vec<_> = answers
        .iter()
        .map(|answer| answer["head"]["ok"] == true)
        .collect();
    assert_eq!(granted, [true, true, true, false, true], "{printed:?}");
    assert!(
        told.contains("\"nothing\" is not a stream: give an id"),
        "{told}"
    );
    assert!(
        told.contains("\"subscribed\" is not a command (see help)"),
        "{told}"
    );
    assert!(
        told.contains("subscribe takes a STREAM, such as /"),
        "{told}"
    );
    assert!(told.contains("ping takes no argument\n"), "{told}");
    assert!(told.contains("pong after "), "{told}");
    let sent = ClientAction::Text(r#"{ "not": "a request" }"#.to_owned());
    assert!(asked(&seen).contains(&sent));
}

#[test]
fn quit_and_a_signal_close_properly_and_a_loss_is_reported() {
    let (sim, seen) = start(0.0);
    let mut shell = Shell::start(&sim);
    shell.line(&format!(
        "subscribe {TEMPERATURE}\nquit\nsubscribe {HUMIDITY}"
    ));
    let (code, printed, told) = shell.wait();
    assert_eq!((code, printed.len()), (Some(0), 1), "{told}");
    assert_eq!(asked(&seen).len(), 3);

    let mut shell = Shell::start(&sim);
    shell.line(&format!("subscribe {TEMPERATURE}"));
    shell.printed();
    kill(&shell.child, Signal::INT);
    let (code, _, told) = shell.wait();
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        asked(&seen)[1..],
        [
            ClientAction::Unsubscribed(TEMPERATURE.to_owned()),
            ClientAction::Closed(Some(1000))
        ]
    );

    sim.set_faults(&[Fault::Flap]);
    let mut shell = Shell::start(&sim);
    shell.line(&format!("subscribe {TEMPERATURE}"));
    let (code, _, told) = shell.wait();
    assert_eq!(code, Some(69), "{told}");
    assert!(
        told.lines().last().unwrap().starts_with("error: socket: "),
        "{told}"
    );
}

#[test]
fn typed_commands_are_executed_amid_events() {
    let (sim, seen) = start_with(Options {
        rate: 100_000.0,
        ..Options::default()
    });
    let mut shell = Shell::start(&sim);
    shell.line(&format!("subscribe {TEMPERATURE}"));
    let mut printed = shell.printed;
    let (first, rest) = (shell.typed.take().unwrap(), shell.child);
    let reader = thread::spawn(move || {
        let mut line = String::new();
        let mut events = 0;
        while printed.read_line(&mut line).unwrap() > 0 {
            events += 1;
            line.clear();
        }
        events
    });
    let is_subscribed = |seen: &Observation| matches!(seen.action, ClientAction::Subscribed(_));
    seen.iter().find(is_subscribed).unwrap();
    let mut typed = first;
    writeln!(typed, "unsubscribe {TEMPERATURE}\nquit").unwrap();
    assert_eq!(rest.wait_with_output().unwrap().status.code(), Some(0));
    assert!(reader.join().unwrap() >= 2);
    assert_eq!(
        asked(&seen)[0],
        ClientAction::Unsubscribed(TEMPERATURE.to_owned())
    );
}

#[test]
fn a_terminal_has_a_prompt_and_events_are_escaped() {
    let (sim, _seen) = start(0.0);
    let (terminal, screen) = terminal();
    let mut command = octave_ws(&sim, &["shell"]);
    command
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap());
    let mut child = command.stderr(terminal).spawn().unwrap();
    drop(command);
    let mut screen = screen;
    let prompt = "\r\x1b[K\x1b[?7l> ";
    await_shown(&mut screen, prompt);
    screen.write_all(b"ping\n").unwrap();
    await_shown(&mut screen, "\r\x1b[Kpong after ");
    writeln!(screen, "subscribe {TEMPERATURE}").unwrap();
    let subscribed = format!("\r\x1b[Ksubscribed to {TEMPERATURE}\r\n");
    await_shown(&mut screen, &subscribed);
    let text = "no JSON \u{1b}[31m \u{9b}2J";
    let length = u8::try_from(text.len()).unwrap();
    sim.send_raw(&[&[0x81, length], text.as_bytes()].concat());
    let line = "\r\x1b[K< no JSON \\u{1b}[31m \\u{9b}2J\r\n";
    let last = await_shown(&mut screen, line);
    assert!(last.ends_with("\x1b[?7l> \x1b[?7h"), "{last:?}");
    // What has been typed yet stays below what comes in.
    screen.write_all(b"half").unwrap();
    await_shown(&mut screen, "\x1b[?7l> half\x1b[?7h");
    sim.publish(TEMPERATURE, &json!(1));
    let event = format!("\x1b[36m{TEMPERATURE}\x1b[0m  1\r\n");
    let last = await_shown(&mut screen, &event);
    assert!(last.ends_with("\x1b[?7l> half\x1b[?7h"), "{last:?}");
    screen.write_all(b"\x15\x1b[A").unwrap();
    let recalled = format!("\x1b[?7l> subscribe {TEMPERATURE}\x1b[?7h");
    await_shown(&mut screen, &recalled);
    screen.write_all(b"\x15\x04").unwrap();
    assert!(!shown(&mut screen).contains("> "));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let modes = tcgetattr(&screen).unwrap().local_modes;
    assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO));
}

/// As the vendor's page has it.
const PASTED: &str = "{
  \"msgId\": \"a } in \\\" a string\",
  \"object\": \"event\",

  \"type\": \"subscribe\", \"path\": \"/demo/devices/gw1/temperature\"
}";

#[test]
fn json_continues_until_its_braces_are_closed() {
    let (sim, seen) = start(0.0);
    let mut shell = Shell::start(&sim);
    shell.line(PASTED);
    assert_eq!(shell.printed()["head"]["ok"], true);
    shell.line("ping");
    // What has no end at the end of input is not sent.
    shell.line("{ \"a\": [\n1");
    let (code, _, told) = shell.end();
    assert_eq!(code, Some(64), "{told}");
    assert!(
        told.contains("error: input: JSON at its end is not finished"),
        "{told}"
    );
    let is_torn =
        |what: &ClientAction| matches!(what, ClientAction::Text(text) if text.contains("[\n1"));
    assert!(!asked(&seen).iter().any(is_torn));
}

#[test]
fn a_script_that_was_refused_something_ends_with_77() {
    let (sim, _seen) = start(0.0);
    for request in [
        "subscribe /demo/none",
        r#"{"msgId":"9","object":"event","type":"subscribe","path":"/demo/none"}"#,
    ] {
        let mut shell = Shell::start(&sim);
        shell.line(request);
        assert_eq!(shell.printed()["head"]["ok"], false);
        shell.line("exit");
        let (code, _, told) = shell.end();
        assert_eq!(code, Some(77), "{told}");
        assert!(
            told.contains("error: shell: requests were refused: 1"),
            "{told}"
        );
    }
}

#[test]
fn commands_that_cannot_be_read_are_refused_and_the_others_done() {
    let (sim, seen) = start(0.0);
    let long = "x".repeat(1 << 20);
    for (refused, message) in [
        (
            format!("{long}x").into_bytes(),
            "a line over 1 MiB is not a command",
        ),
        (
            format!("{{\"a\":\"{long}\",\n\"b\":\n1}}").into_bytes(),
            "JSON over 1 MiB is not sent",
        ),
        (
            b"subscribe \xff".to_vec(),
            "a line that is not UTF-8 is not a command",
        ),
    ] {
        let mut shell = Shell::start(&sim);
        let typed = shell.typed.as_mut().unwrap();
        typed.write_all(&refused).unwrap();
        write!(typed, "\nsubscribe {TEMPERATURE}\n").unwrap();
        assert_eq!(shell.printed()["head"]["ok"], true);
        let (code, printed, told) = shell.end();
        assert_eq!((code, printed.len()), (Some(64), 0), "{told}");
        assert!(told.contains(&format!("\n{message}\n")), "{told}");
        assert!(
            told.ends_with(&format!("error: input: {message}\n")),
            "{told}"
        );
        let asked = asked(&seen);
        assert!(
            !asked
                .iter()
                .any(|what| matches!(what, ClientAction::Text(_))),
            "{asked:?}"
        );
    }
}

#[test]
fn streams_of_arguments_are_subscribed_before_typed_commands() {
    let (sim, seen) = start(0.0);
    // The same one counts once.
    let mut command = octave_ws(&sim, &["shell", TEMPERATURE, HUMIDITY, TEMPERATURE]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    writeln!(typed, "unsubscribe {TEMPERATURE}").unwrap();
    drop(typed);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let [temperature, humidity] = [TEMPERATURE, HUMIDITY].map(str::to_owned);
    let expected = [
        ClientAction::Subscribed(temperature.clone()),
        ClientAction::Subscribed(humidity.clone()),
        ClientAction::Unsubscribed(temperature),
        ClientAction::Unsubscribed(humidity),
        ClientAction::Closed(Some(1000)),
    ];
    assert_eq!(asked(&seen), expected);

    let mut command = octave_ws(&sim, &["shell", "/demo/none"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
}

#[test]
fn requests_that_are_never_answered_keep_no_command_from_being_read() {
    let (sim, _seen) = start_with(Options::default().faults([Fault::AckSilent]));
    let mut shell = Shell::start(&sim);
    for n in 0..64 {
        let request = r#""object":"event","type":"subscribe","path":"/demo/devices/gw1/humidity""#;
        shell.line(&format!("{{\"msgId\":\"{n}\",{request}}}"));
    }
    shell.line("nonsense\nquit");
    // One without JSON, meanwhile.
    let mut other = Shell::start(&sim);
    other.line("subscribe /demo/devices/gw1/humidity\nquit");
    let (code, _, told) = shell.wait();
    assert!(told.contains("\"nonsense\" is not a command"), "{told}");
    let last = "error: shell: requests were not answered in time: 64\n";
    assert!(told.ends_with(last), "{told}");
    assert_eq!(code, Some(76));
    let (code, _, told) = other.wait();
    let last = "error: shell: requests were not answered in time: 1\n";
    assert!(told.ends_with(last), "{told}");
    assert_eq!(code, Some(76));
}

#[test]
fn a_line_without_an_end_is_refused_before_it_ends() {
    let (sim, _seen) = start(0.0);
    let mut shell = Shell::start(&sim);
    let mut typed = shell.typed.take().unwrap();
    let mut told = BufReader::new(shell.child.stderr.take().unwrap()).lines();
    let endless = thread::spawn(move || while typed.write_all(&[b'x'; 4096]).is_ok() {});
    until("a refusal", || {
        told.next().unwrap().unwrap() == "a line over 1 MiB is not a command"
    });
    kill(&shell.child, Signal::TERM);
    shell.child.wait().unwrap();
    drop(shell);
    endless.join().unwrap();
}

#[test]
fn a_refusal_at_a_terminal_is_no_failure() {
    let (sim, _seen) = start(0.0);
    let (mut child, mut screen) = at_terminal(&sim);
    screen.write_all(b"subscribe /demo/none\r").unwrap();
    await_shown(&mut screen, "refused to subscribe /demo/none: no stream");
    screen.write_all(b"quit\r").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_cursor_moves_by_the_columns_of_a_character() {
    let (sim, _seen) = start(0.0);
    let (mut child, mut screen) = at_terminal(&sim);
    screen
        .write_all("\u{6e29}\u{e9}\u{5ea6}".as_bytes())
        .unwrap();
    // A byte of another encoding.
    screen.write_all(b"\xe9\x1b[D").unwrap();
    await_shown(&mut screen, "> \u{6e29}\u{e9}\u{5ea6}\x1b[2D");
    screen.write_all(b"\x15\x04quit\r").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn json_is_pasted_at_a_terminal_and_given_up_with_an_interrupt() {
    let (sim, _seen) = start(0.0);
    let (mut child, mut screen) = at_terminal(&sim);
    let interrupt =
        |screen: &File| tcgetattr(screen).unwrap().special_codes[SpecialCodeIndex::VINTR];
    let signal = interrupt(&screen);
    assert_ne!(signal, 0);
    screen.write_all(b"{ \"half\":\rtyp").unwrap();
    await_shown(&mut screen, "\x1b[?7l. typ");
    // It gives up all that is half typed, and is the signal again.
    assert_eq!(interrupt(&screen), 0);
    screen.write_all(b"\x03").unwrap();
    let last = await_shown(&mut screen, ". typ^C\r\n");
    if !last.ends_with("> \x1b[?7h") {
        await_shown(&mut screen, PROMPT);
    }
    until("it is a signal again", || interrupt(&screen) == signal);
    // With what a terminal puts around it.
    write!(screen, "\x1b[200~{PASTED}\x1b[201~\r").unwrap();
    await_shown(&mut screen, "answer to \"a } in");
    screen.write_all(b"quit\r").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(interrupt(&screen), signal);
}

/// Types a line again and again, until it is no longer read.
fn flood(shell: &mut Shell, mut line: impl FnMut(usize) -> String + Send + 'static) {
    let mut typed = shell.typed.take().unwrap();
    thread::spawn(move || {
        for n in 0.. {
            if writeln!(typed, "{}", line(n)).is_err() {
                break;
            }
        }
    });
}

#[test]
fn commands_without_a_pause_do_not_keep_answers_from_being_read() {
    let (sim, _seen) = start_with(Options {
        any_stream: true,
        ..Options::default()
    });
    let mut shell = Shell::start(&sim);
    flood(&mut shell, |_| "ping".to_owned());
    let mut told = BufReader::new(shell.child.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    for _ in 0..100 {
        line.clear();
        told.read_line(&mut line).unwrap();
        assert!(line.starts_with("pong after "), "{line}");
    }
    kill(&shell.child, Signal::TERM);
    assert_eq!(shell.child.wait().unwrap().code(), Some(0));

    let mut shell = Shell::start(&sim);
    flood(&mut shell, |n| format!("subscribe /a/{n}"));
    for n in 1..=1000 {
        assert_eq!(shell.printed(), granted(&n.to_string()));
    }
    kill(&shell.child, Signal::TERM);
    assert_eq!(shell.child.wait().unwrap().code(), Some(0));
}

/// A shell at a terminal of its own, with a prompt.
fn at_terminal(sim: &Sim) -> (Child, File) {
    at_terminal_with(sim, &[])
}

fn at_terminal_with(sim: &Sim, args: &[&str]) -> (Child, File) {
    let (terminal, mut screen) = terminal();
    let mut command = octave_ws(sim, &[&["shell"], args].concat());
    command
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap());
    let child = command.stderr(terminal).spawn().unwrap();
    drop(command);
    await_shown(&mut screen, PROMPT);
    (child, screen)
}

#[test]
fn messages_are_shown_as_they_came_if_asked_for() {
    let (sim, _seen) = start(0.0);
    let (mut child, mut screen) = at_terminal_with(&sim, &["--format=message"]);
    writeln!(screen, "subscribe {TEMPERATURE}").unwrap();
    await_shown(
        &mut screen,
        "\r\x1b[K{\"head\":{\"msgId\":\"1\",\"ok\":true,",
    );
    sim.publish(TEMPERATURE, &json!(1));
    await_shown(&mut screen, "\"elems\":1,");
    screen.write_all(b"quit\r").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // And the other way about.
    let args = ["shell", TEMPERATURE, "--format=text", "--local-time"];
    let mut command = octave_ws(&sim, &args);
    let child = command.env("TZ", "XXX-2").stdin(Stdio::null());
    let output = child.output().unwrap();
    let wanted = format!("subscribed to {TEMPERATURE}\n");
    assert_eq!(std::str::from_utf8(&output.stdout).unwrap(), wanted);
    let output = octave_ws(&sim, &["shell", "--local-time"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
}

const PROMPT: &str = "\x1b[?7l> ";

fn is_as_it_was(screen: &File) -> bool {
    let modes = tcgetattr(screen).unwrap().local_modes;
    modes.contains(LocalModes::ICANON | LocalModes::ECHO)
}

#[test]
fn a_terminal_is_as_it_was_after_a_signal_that_ends_it() {
    for signal in [Signal::QUIT, Signal::HUP, Signal::TERM, Signal::INT] {
        let (sim, _seen) = start(0.0);
        let (mut child, screen) = at_terminal(&sim);
        assert!(!is_as_it_was(&screen));
        kill(&child, signal);
        let status = child.wait().unwrap();
        assert!(is_as_it_was(&screen), "{signal:?}");
        match signal {
            // As its starter would see it without it.
            Signal::QUIT => assert_eq!(status.signal(), Some(signal.as_raw())),
            _ => assert_eq!(status.code(), Some(0)),
        }
    }
}

#[test]
fn a_terminal_is_as_it_was_while_the_shell_is_stopped() {
    let (sim, seen) = start(0.0);
    let (mut child, mut screen) = at_terminal(&sim);
    screen.write_all(b"half").unwrap();
    await_shown(&mut screen, "> half");
    for _ in 0..2 {
        kill(&child, Signal::TSTP);
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
        assert!(is_as_it_was(&screen));
        kill(&child, Signal::CONT);
        await_shown(&mut screen, "> half");
        assert!(!is_as_it_was(&screen));
    }
    screen.write_all(b"\x15ping\n").unwrap();
    await_shown(&mut screen, "pong after ");
    screen.write_all(b"quit\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(asked(&seen), [ClientAction::Closed(Some(1000))]);
}
