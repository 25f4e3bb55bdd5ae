//! `octave-sim`, alone and around a command.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use super::{TEMPERATURE, end_with_its_test, kill, stderr, text};

fn octave_sim(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_octave-sim"));
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    end_with_its_test(&mut command);
    command
}

fn code(args: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = octave_sim(args).output().unwrap();
    (status.code().unwrap(), text(&stderr).to_owned())
}

#[test]
fn events_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = &folder.path().join("events");
    let whole = format!(r#"{{"path":"{TEMPERATURE}" , "id":"e1","elems":1e400}}"#);
    let other = r#"{"path":"/demo/devices/gw1/humidity","elems":2}"#;
    let lines = [
        &whole,
        other,
        "",
        r#"{"elems":{"t":3}}"#,
        "18446744073709551616",
    ];
    fs::write(file, lines.join("\n")).unwrap();
    let file = file.to_str().unwrap();
    let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
    let args = ["--rate=100", "--events", file, "--", octave_ws];
    let listen = ["listen", TEMPERATURE, "--idle=1s"];
    let output = octave_sim(&[&args[..], &listen].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(printed.len(), 3, "{printed:?}");
    assert_eq!(printed[0], whole);
    assert!(printed[1].contains(r#""elems":{"elems":{"t":3}},"#));
    assert!(printed[2].contains(r#""elems":18446744073709551616,"#));

    fs::write(file, "{}\n{nonsense").unwrap();
    let (status, told) = code(&["--events", file]);
    assert_eq!(status, 64);
    assert!(told.contains("line 2, column 2: not JSON"), "{told}");
}

#[test]
fn a_command_runs_against_it() {
    let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
    let args = [
        "-v",
        "--rate",
        "50",
        "--",
        octave_ws,
        "listen",
        TEMPERATURE,
        "-C",
        "5",
    ];
    // Variables that lead elsewhere are removed.
    let output = octave_sim(&args)
        .env("OCTAVE_CLOUD_TOKEN", "x")
        .env("OCTAVE_CONFIG", "/none")
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout).lines().count(), 5);
    let told = text(&output.stderr);
    for what in [
        "full TLS handshake",
        &format!("subscribed to {TEMPERATURE}"),
        &format!("unsubscribed from {TEMPERATURE}"),
        "closed with 1000",
        "disconnected",
    ] {
        let tells = |line: &str| line.starts_with("octave-sim: ") && line.ends_with(what);
        assert!(told.lines().any(tells), "{what}: {told}");
    }
}

#[test]
fn the_environment_of_the_command_leads_to_it() {
    let output = octave_sim(&["--", "env"])
        .env("OCTAVE_CLOUD_USER", "x")
        .env("ALL_PROXY", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let env = text(&output.stdout);
    let value = |name: &str| {
        let mut lines = env.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    };
    assert!(
        value("OCTAVE_ENDPOINT")
            .unwrap()
            .starts_with("https://127.0.0.1:")
    );
    assert_eq!(value("OCTAVE_COMPANY"), Some("demo"));
    assert!(value("OCTAVE_USER").is_some() && value("OCTAVE_TOKEN").is_some());
    assert_eq!(value("OCTAVE_CLOUD_USER"), None);
    assert_eq!(value("ALL_PROXY"), None);
    // The file goes with the stand-in.
    assert!(!Path::new(value("OCTAVE_CA_FILE").unwrap()).exists());
}

#[test]
fn it_ends_with_the_status_of_the_command() {
    assert_eq!(code(&["--", "sh", "-c", "exit 7"]), (7, String::new()));
    assert_eq!(code(&["--", "sh", "-c", "kill -KILL $$"]).0, 137);
    assert_eq!(code(&["--", "/none/such"]).0, 127);
    assert_eq!(code(&["--", "/"]).0, 126);
    let wrong = "error: usage: no option --nonsense (see --help)\n";
    assert_eq!(code(&["--nonsense"]), (64, wrong.to_owned()));
    assert_eq!(code(&["--"]).0, 64);
    assert_eq!(code(&["--rate", "-1"]).0, 64);
    let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
    let args = [
        "--rate=1e-30",
        "--fault=lifetime=10000000000000000000s",
        "--",
        octave_ws,
    ];
    let run = [
        "listen",
        "-q",
        "--duration=100ms",
        "/demo/devices/gw1/temperature",
    ];
    assert_eq!(code(&[&args[..], &run].concat()), (0, String::new()));
    assert_eq!(code(&["--listen", "0.0.0.0:0"]).0, 64);
    assert_eq!(code(&["--state", ""]).0, 64);
    let wrong = "error: usage: --listen :8443: give an IP address and a port, such as 127.0.0.1:8443 \
                 (see --help)\n";
    assert_eq!(code(&["--listen", ":8443"]), (64, wrong.to_owned()));
}

#[test]
fn sigterm_and_sighup_are_passed_on() {
    let script = "trap 'exit 9' TERM; trap 'exit 8' HUP; echo ready; while :; do sleep 0.01; done";
    for (signal, code) in [(Signal::TERM, 9), (Signal::HUP, 8)] {
        let mut child = octave_sim(&["--", "sh", "-c", script]).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        kill(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn no_signal_that_ends_it_leaves_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut command = octave_sim(&[]);
        let mut child = command.env("TMPDIR", folder.path()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        assert_ne!(fs::read_dir(folder.path()).unwrap().count(), 0);
        kill(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nohup_keeps_it_running_after_sighup() {
    let script = r#"trap '' HUP; exec "$0" --rate=50"#;
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_octave-sim")])
        .stdout(Stdio::piped());
    end_with_its_test(&mut command);
    let mut child = command.spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<String> = out.lines().take(6).map(Result::unwrap).collect();
    kill(&child, Signal::HUP);
    let output = Command::new(env!("CARGO_BIN_EXE_octave-ws"))
        .args(["listen", TEMPERATURE, "-C", "1"])
        .envs(lines.iter().map(|line| line.split_once('=').unwrap()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn other_machines_may_connect_where_that_is_allowed() {
    let (status, told) = code(&["--listen", "0.0.0.0:0"]);
    let wanted = "error: usage: --listen 0.0.0.0:0: not a loopback address: give --allow-remote \
                  to serve other machines (see --help)\n";
    assert_eq!((status, &*told), (64, wanted));

    let args = ["--rate=50", "--allow-remote", "--listen", "0.0.0.0:0"];
    let mut child = octave_sim(&args).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<String> = out.lines().take(6).map(Result::unwrap).collect();
    let variables = lines.iter().map(|line| line.split_once('=').unwrap());
    let (_, endpoint) = lines[0].split_once('=').unwrap();
    let (_, port) = endpoint.rsplit_once(':').unwrap();
    assert_eq!(endpoint, format!("https://127.0.0.1:{port}"));
    // The certificate names the address that the client connects to.
    for endpoint in [endpoint, &format!("https://127.0.0.7:{port}")] {
        let output = Command::new(env!("CARGO_BIN_EXE_octave-ws"))
            .args([
                "listen",
                TEMPERATURE,
                "-C1",
                "--no-reconnect",
                "--endpoint",
                endpoint,
            ])
            .envs(variables.clone())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    kill(&child, Signal::TERM);
    child.wait().unwrap();
}

#[test]
fn its_state_is_kept_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("a folder/it's new");
    let script = r#"set -a; . "$0"; env | grep ^OCTAVE_ | sort"#;
    let start = || {
        let mut command = octave_sim(&["--state", state.to_str().unwrap()]);
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let file = folder.path().join("sim.env");
        let mut lines = String::new();
        for _ in 0..6 {
            out.read_line(&mut lines).unwrap();
        }
        fs::write(&file, lines).unwrap();
        // A shell reads the lines, for any name of the folder.
        let mut sh = Command::new("sh");
        sh.args(["-c", script]).arg(&file).env_clear();
        let variables = text(&sh.output().unwrap().stdout).to_owned();
        kill(&child, Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        variables
    };
    let first = start();
    let ca_file = state.join("ca.pem");
    let ca = fs::read(&ca_file).unwrap();
    let ca_file = format!("OCTAVE_CA_FILE={}\n", ca_file.to_str().unwrap());
    assert!(first.contains(&ca_file), "{first}");
    let token = fs::read_to_string(state.join("token")).unwrap();
    assert!(first.contains(&format!("OCTAVE_TOKEN={token}")), "{first}");

    let second = start();
    let but_endpoint = |lines: &str| -> Vec<String> {
        let lines = lines.lines().map(str::to_owned);
        lines.filter(|line| !line.contains("=https://")).collect()
    };
    assert_eq!(but_endpoint(&first), but_endpoint(&second));
    assert_eq!(ca, fs::read(state.join("ca.pem")).unwrap());
    for (name, mode) in [("ca-key.pem", 0o600), ("ca.pem", 0o644), ("token", 0o600)] {
        let metadata = fs::metadata(state.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
    }

    // What it has signed since is trusted by the CA that was kept.
    let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
    let old_ca = folder.path().join("old.pem");
    fs::write(&old_ca, ca).unwrap();
    let output = octave_sim(&[
        "--rate=50",
        "--state",
        state.to_str().unwrap(),
        "--",
        octave_ws,
    ])
    .args(["listen", TEMPERATURE, "-C1", "--no-reconnect", "--ca-file"])
    .arg(&old_ca)
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    for name in ["token", "ca-key.pem"] {
        fs::write(state.join(name), "\n").unwrap();
        let (status, told) = code(&["--state", state.to_str().unwrap(), "--", "true"]);
        let what = match name {
            "token" => "no token",
            _ => "not a private key in PEM",
        };
        let wanted = format!("error: {:?}: {what}\n", state.join(name));
        assert_eq!((status, told), (69, wanted));
        fs::remove_file(state.join(name)).unwrap();
    }
    fs::remove_file(state.join("ca.pem")).unwrap();
    let sim_ca = octave_ws::sim::Sim::start().unwrap().ca_pem().to_owned();
    for (name, wrong, what) in [
        ("token", "two words", "a token is one word of ASCII"),
        ("ca.pem", "none", "not a certificate in PEM"),
        (
            "ca.pem",
            &sim_ca,
            "not the certificate of ca-key.pem: remove both, and they are made again",
        ),
    ] {
        fs::write(state.join(name), wrong).unwrap();
        let (status, told) = code(&["--state", state.to_str().unwrap(), "--", "true"]);
        let wanted = format!("error: {:?}: {what}\n", state.join(name));
        assert_eq!((status, told), (69, wanted));
        fs::remove_file(state.join(name)).unwrap();
    }
    let (fifo, mode) = (state.join("token"), rustix::fs::Mode::RWXU);
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
    let (status, told) = code(&["--state", state.to_str().unwrap(), "--", "true"]);
    let wanted = format!("error: {:?}: not a file\n", state.join("token"));
    assert_eq!((status, told), (69, wanted));
    assert_eq!(code(&["--state", "/dev/null/x", "--", "true"]).0, 69);
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_were_left_by_one_that_was_killed_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    // An address of its own: no other test takes its port meanwhile.
    // In a container, the number of a process may be the same at each start.
    let leave = r#"for n in "" -1; do : >"$TMPDIR/octave-sim-$$-$0$n.pem"; done; exec "$@""#;
    let port = std::net::TcpListener::bind("127.0.77.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            leave,
            &port.to_string(),
            env!("CARGO_BIN_EXE_octave-sim"),
        ])
        .arg(format!("--listen=127.0.77.1:{port}"))
        .args(["--", env!("CARGO_BIN_EXE_octave-ws"), "session"]);
    let output = command.env("TMPDIR", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn those_that_start_at_once_share_their_state() {
    let folder = tempfile::tempdir().unwrap();
    let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
    for round in 0..5 {
        let state = folder.path().join(round.to_string());
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let mut command = octave_sim(&["--state"]);
                let command = command.arg(&state).args(["--", octave_ws, "session"]);
                command.spawn().unwrap()
            })
            .collect();
        for start in starts {
            let output = start.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        }
        assert_eq!(fs::read_dir(&state).unwrap().count(), 4);
    }
}

#[test]
fn the_command_is_kept_from_config_files() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("octave-ws");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("config.json"),
        r#"{"proxy":"http://127.0.0.1:1"}"#,
    )
    .unwrap();
    let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
    let args = [
        "--rate=50",
        "--",
        octave_ws,
        "listen",
        TEMPERATURE,
        "-C1",
        "--no-reconnect",
    ];
    for (name, value) in [
        ("XDG_CONFIG_HOME", home.path().to_path_buf()),
        ("OCTAVE_CONFIG", folder.join("config.json")),
    ] {
        let output = octave_sim(&args).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

#[test]
fn alone_it_prints_the_environment_and_serves_until_stopped() {
    let mut child = octave_sim(&["--rate", "50"]).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<String> = out.lines().take(6).map(Result::unwrap).collect();
    let variables = lines.iter().map(|line| line.split_once('=').unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_octave-ws"))
        .args(["listen", TEMPERATURE, "-C", "1"])
        .env_clear()
        .envs(variables)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn standard_output_that_cannot_be_written_is_74() {
    for args in [&["--help"][..], &["--list-faults"], &[]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = octave_sim(args).stdout(full).output().unwrap();
        let wanted = "error: output: standard output: No space left on device (os error 28)\n";
        assert_eq!((output.status.code(), stderr(&output)), (Some(74), wanted));
    }
}

#[test]
fn its_lists_are_on_standard_output() {
    let list = |option| {
        let output = octave_sim(&[option]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        text(&output.stdout).to_owned()
    };
    let streams = list("--list-streams");
    assert_eq!(streams.lines().count(), 3);
    assert!(streams.starts_with(&format!("{TEMPERATURE}  # s65f0c1a24b5a8d2c0c3a5101\n")));
    let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
    let piped = format!(
        "{0} --list-streams | {0} --rate=100 -- {octave_ws} listen --streams-file - -C9",
        env!("CARGO_BIN_EXE_octave-sim")
    );
    let output = Command::new("sh").args(["-c", &piped]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let faults = list("--list-faults");
    for name in [
        "drop",
        "stall",
        "expire",
        "refuse",
        "slow",
        "garbage",
        "close=CODE",
        "flap",
    ] {
        assert!(
            faults
                .lines()
                .any(|line| line.starts_with(&format!("{name} "))),
            "{name}"
        );
    }
    let wrong = "error: usage: --fault nonsense: no fault \"nonsense\" (see --list-faults)\n";
    let no_dashes = "error: usage: octave-ws: give -- before the command to run (see --help)\n";
    assert_eq!(code(&["octave-ws", "listen"]), (64, no_dashes.to_owned()));
    assert_eq!(code(&["--fault", "nonsense"]), (64, wrong.to_owned()));
}

/// The exit code of a client that a fault befalls, and the last thing that it says.
fn befallen(fault: &str, options: &[&str]) -> (i32, String) {
    let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
    let args = [
        "--rate=100",
        "--fault",
        fault,
        // Each of them counts.
        "--fault=session-close",
        "--",
        octave_ws,
        "listen",
        TEMPERATURE,
    ];
    let mut command = octave_sim(&args);
    let output = command.args(options).output().unwrap();
    let last = text(&output.stderr).lines().last().unwrap_or_default();
    (output.status.code().unwrap(), last.to_owned())
}

#[test]
fn its_faults_befall_a_client() {
    for (fault, code, what) in [
        (
            "400",
            77,
            ": bad request (check OCTAVE_USER, OCTAVE_COMPANY and the token: user \"demo_user\", \
             company \"demo\", token from OCTAVE_TOKEN)",
        ),
        ("429", 69, ": too many requests (try again later)"),
        ("503", 69, ": service unavailable (try again later)"),
        (
            "expire",
            69,
            " (check the endpoint, and that proxies on the way allow WebSockets)",
        ),
        (
            "refuse",
            77,
            ": no permission for /demo/devices/gw1/temperature \
             (check the name of the stream, and what the user may read)",
        ),
        ("flap", 69, " ended the connection"),
        ("drop", 69, " ended the connection"),
        ("close=1013", 69, " closed with 1013"),
    ] {
        let (got, last) = befallen(fault, &["--no-reconnect"]);
        assert_eq!(got, code, "{fault}: {last}");
        assert!(last.ends_with(what), "{fault}: {last}");
    }
    for fault in ["slow", "garbage", "session-close", "session-drop"] {
        assert_eq!(befallen(fault, &["-C3"]).0, 0, "{fault}");
    }
}

#[test]
fn count_and_any_stream_are_obeyed() {
    let octave_ws = env!("CARGO_BIN_EXE_octave-ws");
    let args = ["--rate=100", "--count=7", "--any-stream", "--", octave_ws];
    let mut command = octave_sim(&args);
    let output = command
        .args(["listen", "/whatever/there/is", "--idle=500ms"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout).lines().count(), 7);
}
