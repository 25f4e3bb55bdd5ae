//! Options, and where settings come from.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;

use octave_ws::sim::Sim;
use rustix::process::Signal;
use serde_json::json;

use super::memory::led_to;
use super::raw::{accept, give_session, request, upgraded};
use super::{COMMANDS, TEMPERATURE, file, kill, lines, octave_ws, start, stderr, text, untimed};

/// The exit code and the last line on standard error.
fn end(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let last = stderr(&output).lines().last().unwrap_or_default();
    (output.status.code().unwrap(), last.to_owned())
}

fn usage(args: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_octave-ws");
    let output = Command::new(program).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{args:?}");
    assert!(output.stdout.is_empty());
    let line = stderr(&output).strip_suffix(" (see --help)\n").unwrap();
    line.strip_prefix("error: usage: ").unwrap().to_owned()
}

#[test]
fn options_stand_on_either_side_of_the_command_and_in_any_spelling() {
    let (sim, _seen) = start(100.0);
    let token_file = file(&sim, "token", sim.token());
    let token_file = token_file.to_str().unwrap();
    let glued = format!("--token-file={token_file}");
    for args in [
        vec![
            "--token-file",
            token_file,
            "listen",
            TEMPERATURE,
            "--count",
            "3",
        ],
        vec![&glued, "-C3", "listen", TEMPERATURE],
        vec!["listen", "--count=3", TEMPERATURE, &glued],
        vec!["listen", TEMPERATURE, "-qC3", &glued],
        vec!["-vv", "listen", "-C", "3", &glued, "--", TEMPERATURE],
    ] {
        let output = octave_ws(&sim, &args)
            .env_remove("OCTAVE_TOKEN")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(lines(&output).len(), 3, "{args:?}");
    }
}

#[test]
fn usage_errors_are_one_line() {
    let stream = "give an id (s and 24 hex digits) or a path (it begins with /)";
    for (args, what) in [
        (
            vec!["lisn"],
            "no command \"lisn\": did you mean listen?".to_owned(),
        ),
        (
            vec!["help", "watch"],
            "no command \"watch\": the commands are listen, capture, history, session, shell, doctor, status, completions"
                .to_owned(),
        ),
        (
            vec!["listen", "--cuont=1"],
            "no option --cuont: did you mean --count?".to_owned(),
        ),
        (
            vec!["completions"],
            "Required positional arguments not provided: SHELL".to_owned(),
        ),
        (vec!["listen", "--nope=1"], "no option --nope".to_owned()),
        (
            vec!["listen", "/a", "--heartbeat=300ms"],
            "--heartbeat 300ms: give a duration of at least 1s, or 0s for never".to_owned(),
        ),
        (
            vec!["listen", "--token", "x"],
            "no option --token: did you mean --token-file?".to_owned(),
        ),
        (
            vec!["session", "--count=5"],
            "unexpected argument --count".to_owned(),
        ),
        (vec!["--", "lisn"], "no command \"lisn\": did you mean listen?".to_owned()),
        (vec!["listen", "-x"], "no option -x".to_owned()),
        (
            vec!["listen", "--quiet=1"],
            "--quiet takes no value".to_owned(),
        ),
        (
            vec!["listen", "/a", "-C"],
            "--count takes a value".to_owned(),
        ),
        (vec!["listen"], format!("no stream: {stream}")),
        (
            vec!["-qv", "listen", "/a"],
            "--quiet and --verbose cannot be used together".to_owned(),
        ),
        (
            vec!["listen", "s123"],
            format!(
                "\"s123\" is not a stream: {stream}"
            ),
        ),
        (
            vec!["listen", "/a", "-C0"],
            "--count 0: give a whole number, at least 1"
                .to_owned(),
        ),
        (
            vec!["listen", "/a", "--idle=1x"],
            "--idle 1x: give a duration such as 250ms, 10s or 1h30m"
                .to_owned(),
        ),
        (
            vec!["--max-message=0", "listen", "/a"],
            "--max-message 0: give a size such as 4096, 64KiB or 16MiB"
                .to_owned(),
        ),
    ] {
        assert_eq!(usage(&args), what, "{args:?}");
    }
}

#[test]
fn help_and_version_are_on_standard_output_and_fit_a_terminal() {
    for (args, start) in [
        (vec!["--help"], "Usage: octave-ws [OPTIONS] COMMAND"),
        (
            vec!["listen", "/a", "-h"],
            "Usage: octave-ws listen [OPTIONS] STREAM...",
        ),
        (vec!["help"], "Usage: octave-ws [OPTIONS] COMMAND"),
        (
            vec!["help", "capture"],
            "Usage: octave-ws capture [OPTIONS] STREAM...",
        ),
        (
            vec!["-h", "listen"],
            "Usage: octave-ws listen [OPTIONS] STREAM...",
        ),
        (
            vec!["--version"],
            concat!("octave-ws ", env!("CARGO_PKG_VERSION"), "\n"),
        ),
        (
            vec!["version"],
            concat!("octave-ws ", env!("CARGO_PKG_VERSION"), "\n"),
        ),
        (
            vec!["listen", "-V"],
            concat!("octave-ws ", env!("CARGO_PKG_VERSION"), "\n"),
        ),
    ] {
        let program = env!("CARGO_BIN_EXE_octave-ws");
        let output = Command::new(program).args(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty());
        let text = text(&output.stdout);
        assert!(text.starts_with(start), "{args:?}: {text}");
    }
}

#[test]
fn help_fits_a_terminal_of_80_columns() {
    for command in COMMANDS {
        let program = env!("CARGO_BIN_EXE_octave-ws");
        let output = Command::new(program).args(["help", command]).output();
        let output = output.unwrap();
        let text = text(&output.stdout);
        assert!(text.starts_with("Usage: "), "{command}: {text}");
        let wide = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None);
    }
}

#[test]
fn a_missing_command_prints_a_short_usage() {
    for args in [&[][..], &["-v"], &["--company=demo"]] {
        let program = env!("CARGO_BIN_EXE_octave-ws");
        let output = Command::new(program).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(output.stdout.is_empty());
        let told = stderr(&output);
        assert!(
            told.starts_with("Usage: octave-ws [OPTIONS] COMMAND"),
            "{told}"
        );
        assert!(told.ends_with(" for more.\n"), "{told}");
        for command in ["listen", "capture", "history", "session", "status"] {
            assert!(told.contains(&format!("\n  {command} ")), "{told}");
        }
    }
}

#[test]
fn the_options_of_help_have_their_values() {
    let program = env!("CARGO_BIN_EXE_octave-ws");
    let output = Command::new(program)
        .args(["capture", "-h"])
        .output()
        .unwrap();
    let told = text(&output.stdout);
    for option in [
        "  -C, --count N  ",
        "      --duration DURATION  ",
        "  -o, --output FILE  ",
        "      --shard K/N  ",
        "      --require all|any  ",
        "      --no-reconnect  ",
        "\nThe connection options are listed by octave-ws --help.\n",
    ] {
        assert!(told.contains(option), "{option}: {told}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure_of_help() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let program = env!("CARGO_BIN_EXE_octave-ws");
    let output = Command::new(program).arg("-h").stdout(writer).output();
    let output = output.unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let full = std::fs::File::options().write(true).open("/dev/full");
    let output = Command::new(program)
        .arg("-h")
        .stdout(full.unwrap())
        .output();
    assert_eq!(output.unwrap().status.code(), Some(74));
}

#[test]
fn an_option_comes_before_the_environment_and_that_before_the_config_file() {
    let (sim, _seen) = start(0.0);
    let nobody = "error: connect: no connection to 127.0.0.1:1: Connection refused (os error 111) \
                  (check the endpoint and the network)";
    let good = format!(r#"{{"endpoint": {:?}}}"#, sim.endpoint());
    let good = file(&sim, "good.json", &good);
    let wrong = file(&sim, "wrong.json", r#"{"endpoint": "https://127.0.0.1:1"}"#);
    let run = |config, variable: Option<String>, option: Option<String>| {
        let mut command = octave_ws(&sim, &["listen", "/demo/none", "--no-reconnect"]);
        command.env("OCTAVE_CONFIG", config);
        match variable {
            Some(endpoint) => command.env("OCTAVE_ENDPOINT", endpoint),
            None => command.env_remove("OCTAVE_ENDPOINT"),
        };
        command.args(option.map(|endpoint| format!("--endpoint={endpoint}")));
        end(&mut command)
    };
    let there = |end: (i32, String)| assert_eq!(end.0, 77, "{}", end.1);
    let elsewhere = || Some("https://127.0.0.1:1".to_owned());
    there(run(&good, None, None));
    assert_eq!(run(&wrong, None, None), (69, nobody.to_owned()));
    there(run(&wrong, Some(sim.endpoint()), None));
    there(run(&wrong, elsewhere(), Some(sim.endpoint())));
    // Empty is not set.
    there(run(&good, Some(String::new()), None));
}

#[test]
fn every_setting_can_stand_in_the_config_file() {
    let (sim, _seen) = start(100.0);
    let token_file = file(&sim, "token", sim.token());
    let ca_file = file(&sim, "ca.pem", sim.ca_pem());
    let config = serde_json::json!({
        "endpoint": sim.endpoint(),
        "user": sim.user(),
        "company": sim.company(),
        "token_file": token_file,
        "ca_file": ca_file,
        "connect_timeout": "5s",
        "ack_timeout": "5s",
        "ping_interval": "10s",
        "ping_timeout": "1m",
        "heartbeat": "0s",
        "renew": "1h",
        "compression": false,
        "handover": true,
        "max_message": 65536,
    });
    let path = file(&sim, "octave-ws/config.json", &config.to_string());
    let folder = path.parent().unwrap().parent().unwrap();
    let home = folder.join("home");
    std::fs::create_dir_all(home.join(".config")).unwrap();
    let _ = std::os::unix::fs::symlink(path.parent().unwrap(), home.join(".config/octave-ws"));
    for (name, value) in [("XDG_CONFIG_HOME", folder), ("HOME", &home)] {
        let output = octave_ws(&sim, &["listen", TEMPERATURE, "-C1"])
            .env_clear()
            .env(name, value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(lines(&output).len(), 1);
    }
}

#[test]
fn an_invalid_config_file_names_the_place() {
    let (sim, _seen) = start(0.0);
    let keys = "ack_timeout, api, ca_file, company, compression, connect_timeout, endpoint, handover, \
                heartbeat, max_message, ping_interval, ping_timeout, proxy, renew, token_file, user";
    let quotes = |key| format!(": \"{key}\" is not a string: put the value into quotes");
    for (text, what) in [
        (
            "{",
            " is not a JSON object: EOF while parsing an object at line 1 column 1".to_owned(),
        ),
        // A token, whose file it is.
        (
            "hunter2",
            " is not a JSON object: expected value at line 1 column 1".to_owned(),
        ),
        (r#""hunter2""#, " is not a JSON object".to_owned()),
        ("1234567890", " is not a JSON object".to_owned()),
        (
            r#"{"tokn": "x"}"#,
            format!(": no key \"tokn\": the keys are {keys}"),
        ),
        (
            r#"{"token": "x"}"#,
            format!(": no key \"token\": the keys are {keys}"),
        ),
        (r#"{"user": null}"#, quotes("user")),
        (r#"{"user": 5}"#, quotes("user")),
        (
            r#"{"user": "a", "user": "b"}"#,
            ": \"user\" is given twice".to_owned(),
        ),
        (
            r#"{"compression": "no"}"#,
            ": \"compression\": give true or false".to_owned(),
        ),
        (
            r#"{"compression": 0}"#,
            ": \"compression\" is neither true nor false".to_owned(),
        ),
        (
            r#"{"heartbeat": "1ms"}"#,
            ": \"heartbeat\": give a duration of at least 1s, or 0s for never".to_owned(),
        ),
        (
            r#"{"ack_timeout": "soon"}"#,
            ": \"ack_timeout\": give a duration such as 250ms, 10s or 1h30m".to_owned(),
        ),
    ] {
        let path = file(&sim, "config.json", text);
        let mut command = octave_ws(&sim, &["listen", "/a", "--config"]);
        let message = format!("error: config: {path:?}{what}");
        assert_eq!(end(command.arg(&path)), (78, message.clone()));
        // An option overrides a value, but no mistake.
        let args = ["--heartbeat=1s", "--ack-timeout=1s", "--user=a"];
        assert_eq!(end(command.args(args)), (78, message));
    }
    let mut command = octave_ws(&sim, &["listen", "/a", "--config=/none"]);
    let message = "error: config: \"/none\", set by --config, cannot be read: No such file or directory \
                   (os error 2)";
    assert_eq!(end(&mut command), (78, message.to_owned()));
}

/// A run without a token in the environment, which takes one for good if it comes to the stream.
fn tokenless(sim: &Sim) -> Command {
    let mut command = octave_ws(sim, &["listen", "/demo/none"]);
    command.env_remove("OCTAVE_TOKEN");
    command
}

#[test]
fn the_token_comes_from_a_file_standard_input_the_environment_or_systemd() {
    let (sim, _seen) = start(0.0);
    let good = file(&sim, "good", &format!("{}\n", sim.token()));
    let credential = file(&sim, "octave-token", sim.token());
    let folder = credential.parent().unwrap();
    let wrong = file(&sim, "wrong", "wrong");
    let taken = |command: &mut Command| {
        let (_, line) = end(command);
        assert!(line.contains("refused /demo/none"), "{command:?}: {line}");
    };
    taken(tokenless(&sim).arg("--token-file").arg(&good));
    taken(tokenless(&sim).env("OCTAVE_TOKEN_FILE", &good));
    taken(tokenless(&sim).env("OCTAVE_TOKEN", sim.token()));
    taken(tokenless(&sim).env("OCTAVE_CLOUD_TOKEN", sim.token()));
    taken(tokenless(&sim).env("CREDENTIALS_DIRECTORY", folder));
    // In that order.
    let command = &mut tokenless(&sim);
    taken(
        command
            .arg("--token-file")
            .arg(&good)
            .env("OCTAVE_TOKEN_FILE", &wrong),
    );
    taken(
        tokenless(&sim)
            .env("OCTAVE_TOKEN_FILE", &good)
            .env("OCTAVE_TOKEN", "wrong"),
    );
    let command = &mut tokenless(&sim);
    taken(
        command
            .env("OCTAVE_TOKEN", sim.token())
            .env("OCTAVE_CLOUD_TOKEN", "wrong"),
    );

    let mut child = tokenless(&sim)
        .args(["--token-file", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", sim.token()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(stderr(&output).contains("refused /demo/none"));
}

#[test]
fn a_token_file_is_read_again_for_each_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let put = |token: &str| fs::write(&path, token).unwrap();
    put("first");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut program = led_to(&endpoint, &["listen", "/a", "-W60s"]);
    let named = program.env_remove("OCTAVE_TOKEN").arg("--token-file");
    let child = named.arg(&path).spawn().unwrap();
    for (wanted, later) in [("first", "next\n"), ("next", ""), ("next", "")] {
        let tcp = accept(&listener);
        let mut requests = BufReader::new(&tcp);
        let head = request(&mut requests).to_ascii_lowercase();
        let wanted = format!("x-auth-token: {wanted}\r\n");
        assert!(head.contains(&wanted), "{head}");
        give_session(&tcp);
        upgraded(&tcp, &request(&mut requests));
        // Before the connection is lost, after which it is looked at.
        put(later);
    }
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    let warning = format!("token file {path:?} is empty; using the previous credentials");
    assert!(stderr(&output).contains(&warning), "{}", stderr(&output));
}

#[test]
fn the_last_of_repeated_options_counts() {
    let (sim, _seen) = start(100.0);
    let args = [
        "--endpoint=https://127.0.0.1:1",
        "listen",
        TEMPERATURE,
        "-C7",
        "-C=2",
    ];
    let endpoint = format!("--endpoint={}", sim.endpoint());
    let last = ["--count", "3", &endpoint, "-q", "-q"];
    let output = octave_ws(&sim, &[&args[..], &last].concat())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(lines(&output).len(), 3);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let (sim, _seen) = start(100.0);
    let marked = |name: &str, text: &str| file(&sim, name, &format!("\u{feff}{text}"));
    let token_file = marked("token", sim.token());
    let ca_file = marked("ca.pem", sim.ca_pem());
    let config = json!({"token_file": token_file, "ca_file": ca_file}).to_string();
    let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "-C1"]);
    command
        .env_remove("OCTAVE_TOKEN")
        .env_remove("OCTAVE_CA_FILE")
        .env("OCTAVE_CONFIG", marked("config.json", &config));
    assert_eq!(end(&mut command).0, 0);
}

#[test]
fn one_version_of_ip_is_enough() {
    let (sim, _seen) = start(100.0);
    let endpoint = format!("--endpoint=https://localhost:{}", sim.addr().port());
    for option in ["-4", "--ipv4"] {
        let args = ["listen", TEMPERATURE, "-C1", &endpoint, option];
        assert_eq!(end(&mut octave_ws(&sim, &args)).0, 0);
    }
    for (option, host, told) in [
        ("-6", "127.0.0.1", "no IPv6 address for 127.0.0.1"),
        ("--ipv6", "127.0.0.1", "no IPv6 address for 127.0.0.1"),
        ("-4", "[::1]", "no IPv4 address for ::1"),
    ] {
        let endpoint = format!("--endpoint=https://{host}:1");
        let args = ["listen", "/a", "-C1", "--no-reconnect", &endpoint, option];
        let told = format!("error: resolve: {told} (check the endpoint and the network)");
        assert_eq!(end(&mut octave_ws(&sim, &args)), (69, told));
    }
    assert_eq!(
        usage(&["doctor", "-4", "-6"]),
        "-4 and -6 cannot be used together"
    );
}

#[test]
fn an_invalid_token_names_its_source() {
    let (sim, _seen) = start(0.0);
    let empty = file(&sim, "empty", " \n");
    let mut command = tokenless(&sim);
    let message = format!("error: config: token file {empty:?}, set by --token-file, is empty");
    assert_eq!(end(command.arg("--token-file").arg(&empty)), (78, message));
    let mut command = tokenless(&sim);
    let message = "error: config: token file \"/none\", set by --token-file, cannot be read: No such \
                   file or directory (os error 2)";
    assert_eq!(
        end(command.arg("--token-file=/none")),
        (78, message.to_owned())
    );
    let mut command = tokenless(&sim);
    let (code, line) = end(command.env("OCTAVE_TOKEN", "a\nX-Evil: b"));
    let message = "error: config: the token has a control character at position 2, which no header can contain (from OCTAVE_TOKEN)";
    assert_eq!((code, line.as_str()), (78, message));
    // At the start, listen does not try again.
    let lines = file(&sim, "lines", "a\nb\n");
    let mut command = tokenless(&sim);
    let message = format!(
        "error: config: the token has a control character at position 2, which no header can contain (from {lines:?}, set by --token-file)"
    );
    assert_eq!(end(command.arg("--token-file").arg(&lines)), (78, message));
    let huge = file(&sim, "huge", &"a".repeat(70_000));
    let mut command = tokenless(&sim);
    let message =
        format!("error: config: token file {huge:?}, set by --token-file, is too long for a token");
    assert_eq!(end(command.arg("--token-file").arg(&huge)), (78, message));
}

#[test]
fn a_token_that_looks_like_a_mistake_is_warned_of_unseen() {
    let (sim, _seen) = start(0.0);
    let contains = |what: &str| format!("contains {what}, which are sent as part of it");
    let quotes = || contains("quotation marks");
    let name = || "begins with NAME=: give only what follows".to_owned();
    for (token, what) in [
        ("\"Secret1\"", Some(quotes())),
        ("'Secret1'", Some(quotes())),
        ("OCTAVE_TOKEN=Secret1", Some(name())),
        ("export OCTAVE_TOKEN=Secret1", Some(name())),
        (
            "Secret1\u{2013}",
            Some("contains characters that are not ASCII, which are sent as UTF-8".to_owned()),
        ),
        ("Bearer Secret1", Some(contains("spaces"))),
        (
            "Secret1\u{200b}",
            Some("contains an invisible character, which is sent as part of it".to_owned()),
        ),
        ("\u{feff}Secret1", None),
        ("Secret1==", None),
        ("Secret/1+x=", None),
    ] {
        let mut command = tokenless(&sim);
        let output = command.env("OCTAVE_TOKEN", token).output().unwrap();
        let told = stderr(&output);
        let (warning, _) = untimed(told).split_once('\n').unwrap();
        let wanted = what.map(|what| format!("warning: the token from OCTAVE_TOKEN {what}"));
        assert_eq!(wanted.is_some(), warning.starts_with("warning: "), "{told}");
        assert_eq!(warning, wanted.as_deref().unwrap_or(warning));
        assert!(!told.contains("Secret"), "{told}");
        assert_eq!(output.status.code(), Some(77));
    }
}

#[test]
fn a_token_file_that_others_can_read_is_warned_of() {
    let (sim, _seen) = start(0.0);
    let path = file(&sim, "token", sim.token());
    for (mode, warned) in [(0o644, true), (0o600, false), (0o640, false)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let mut command = tokenless(&sim);
        let output = command.arg("--token-file").arg(&path).output().unwrap();
        let warning = format!(
            "warning: token file {path:?} can be read by everybody on this machine: chmod o-r\n"
        );
        assert_eq!(stderr(&output).contains(&warning), warned, "{mode:o}");
    }
}

#[test]
fn an_endpoint_in_the_clear_is_refused() {
    let (sim, _seen) = start(0.0);
    let mut command = octave_ws(
        &sim,
        &[
            "listen",
            "/a",
            "--no-reconnect",
            "--endpoint=http://127.0.0.1:1",
        ],
    );
    let message = "error: config: endpoint \"http://127.0.0.1:1\": the token would travel in the \
                   clear: give https://HOST[:PORT] (set by --endpoint)";
    assert_eq!(end(&mut command), (78, message.to_owned()));
    // Allowed, it is dialled.
    assert_eq!(end(command.arg("--allow-plaintext")).0, 69);
}

#[test]
fn the_proxy_comes_from_the_option_the_environment_or_the_config_file() {
    let (sim, _seen) = start(0.0);
    let url = "http://user:secret@127.0.0.1:1";
    let by_proxy = |command: &mut Command, origin: &str| {
        let output = command.output().unwrap();
        let line = format!(
            "error: connect: no connection to the proxy 127.0.0.1:1: Connection refused (os error \
             111) (check the network and the proxy, set by {origin})\n"
        );
        assert_eq!(stderr(&output), line);
        assert_eq!(output.status.code(), Some(69));
    };
    let directly = |command: &mut Command| assert_eq!(end(command).0, 77, "{command:?}");
    let listen = || octave_ws(&sim, &["listen", "/demo/none", "--no-reconnect"]);
    directly(&mut listen());
    by_proxy(listen().args(["--proxy", url]), "--proxy");
    for name in [
        "OCTAVE_PROXY",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        by_proxy(listen().env(name, url), name);
        directly(listen().env(name, url).arg("--proxy="));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        directly(
            listen()
                .env("HTTPS_PROXY", url)
                .env(name, "localhost, 127.0.0.0/8"),
        );
        by_proxy(
            listen().env("HTTPS_PROXY", url).env(name, "localhost"),
            "HTTPS_PROXY",
        );
        // What names this program is meant for it.
        by_proxy(
            listen().env("OCTAVE_PROXY", url).env(name, "*"),
            "OCTAVE_PROXY",
        );
    }
    // At a deadline, too.
    let (code, last) = end(octave_ws(&sim, &["listen", "/a", "-W500ms"]).env("HTTPS_PROXY", url));
    let cause = "error: timeout: connect: no connection to the proxy 127.0.0.1:1: ";
    assert!(last.starts_with(cause), "{last}");
    assert!(last.ends_with(", set by HTTPS_PROXY)"), "{last}");
    assert_eq!(code, 75);
    let config = file(&sim, "proxy.json", &format!(r#"{{"proxy": "{url}"}}"#));
    let origin = format!("\"proxy\" in {config:?}");
    // What names this program is meant for it, in its config file too.
    by_proxy(
        listen()
            .env("OCTAVE_CONFIG", config)
            .env("HTTPS_PROXY", "http://127.0.0.1:2"),
        &origin,
    );
    let mut command = listen();
    let message = "error: config: proxy: not an http:// or socks5:// URL: give \
                   http://[USER:PASSWORD@]HOST[:PORT], or socks5:// or socks5h:// (set by --proxy)";
    assert_eq!(
        end(command.arg("--proxy=socks4://x")),
        (78, message.to_owned())
    );
}

#[test]
fn an_error_says_where_the_value_came_from() {
    let (sim, _seen) = start(0.0);
    let other = Sim::start().unwrap();
    let other = file(&other, "other.pem", other.ca_pem());
    let nothing = file(&sim, "nothing.pem", "nothing");
    let config = file(&sim, "ca.json", &format!(r#"{{"ca_file": {nothing:?}}}"#));
    let peer = sim.addr();
    let listen = || {
        let mut command = octave_ws(&sim, &["listen", "/demo/none", "--no-reconnect"]);
        command.env_remove("OCTAVE_CA_FILE");
        command
    };
    let untrusted = |end: (i32, String)| {
        let advice = format!("the CA file {other:?}, set by SSL_CERT_FILE)");
        assert_eq!(end.0, 69);
        assert!(end.1.ends_with(&advice), "{}", end.1);
    };
    untrusted(end(listen().env("SSL_CERT_FILE", &other)));
    let none = "error: config: no PEM certificate among the CA certificates";
    // What this program's own config says goes before what is meant for others.
    assert_eq!(
        end(listen()
            .env("SSL_CERT_FILE", &other)
            .env("OCTAVE_CONFIG", &config)),
        (
            78,
            format!("{none} ({nothing:?}, set by \"ca_file\" in {config:?})")
        )
    );
    let mut command = listen();
    command.arg("--ca-file").arg(&nothing);
    assert_eq!(
        end(&mut command),
        (78, format!("{none} ({nothing:?}, set by --ca-file)"))
    );

    let token = file(&sim, "wrong", "wrong");
    let mut command = octave_ws(&sim, &["listen", "/a", "--company=\u{e9}"]);
    command.env_remove("OCTAVE_USER").env_remove("OCTAVE_TOKEN");
    let refused = format!(
        "error: session: HTTP 400 from {peer}: invalid credentials (check --company and the \
         token: no user, company \"\u{e9}\", token from {token:?}, set by OCTAVE_TOKEN_FILE)"
    );
    assert_eq!(end(command.env("OCTAVE_TOKEN_FILE", &token)), (77, refused));
}

/// The last line of a run to which each connection gives this one answer, by this option.
fn answered(option: &str, answer: &'static str) -> (i32, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let tcp = accept(&listener);
        request(&mut BufReader::new(&tcp));
        (&tcp).write_all(answer.as_bytes()).unwrap();
    });
    let (sim, _seen) = start(0.0);
    let option = format!("{option}{peer}");
    let mut command = octave_ws(&sim, &["listen", "/a", "--no-reconnect", &option]);
    let (code, line) = end(command.arg("--allow-plaintext"));
    server.join().unwrap();
    (code, line.replace(&peer, "PEER"))
}

#[test]
fn a_wrong_kind_of_proxy_or_port_is_explained() {
    let ntlm = "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\n";
    let (code, line) = answered("--proxy=http://", ntlm);
    let advice = ", which asks for NTLM (check the user and password of the proxy, set by --proxy: only Basic authentication is supported)";
    assert!(line.ends_with(advice), "{line}");
    assert_eq!(code, 69);

    // A fatal alert, unexpected_message.
    let line = answered("--endpoint=http://", "\x15\x03\x01\0\x02\x02\x0a");
    let tls = "error: session: PEER speaks TLS: give https:// in the endpoint";
    assert_eq!(line, (69, tls.to_owned()));
    let body = "Client sent an HTTP request to an HTTPS server.\n";
    let refusal =
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let (code, line) = answered("--endpoint=http://", refusal);
    let told = format!("{} (give https:// in the endpoint)", body.trim_end());
    assert!(line.ends_with(&told), "{line}");
    assert_eq!(code, 77);
    // As the stand-in's own port answers.
    let (sim, _seen) = start(0.0);
    let plain = sim.endpoint().replace("https", "http");
    let mut command = octave_ws(
        &sim,
        &["listen", "/a", "--no-reconnect", "--allow-plaintext"],
    );
    let (code, line) = end(command.env("OCTAVE_ENDPOINT", plain));
    let told = tls.replace("PEER", &sim.addr().to_string());
    assert_eq!((code, line), (69, told));
}

#[test]
fn a_timeout_of_nothing_is_refused() {
    let wanted = "give a duration of more than 0s, such as 10s";
    for command in ["listen", "capture", "history"] {
        assert!(usage(&[command, "/a", "-W0s"]).ends_with(wanted));
    }
    for (option, key) in [
        ("--connect-timeout=0s", "connect_timeout"),
        ("--ack-timeout=0s", "ack_timeout"),
    ] {
        assert!(
            usage(&["listen", "/a", option]).ends_with(wanted),
            "{option}"
        );
        let (sim, _seen) = start(0.0);
        let config = file(&sim, "zero.json", &format!(r#"{{"{key}": "0s"}}"#));
        let mut command = octave_ws(&sim, &["listen", "/a"]);
        let (code, line) = end(command.env("OCTAVE_CONFIG", config));
        assert_eq!(code, 78);
        assert!(line.ends_with(wanted), "{line}");
    }
}
