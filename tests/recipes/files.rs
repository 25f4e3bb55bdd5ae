//! Recipes whose events go to files.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use octave_ws::sim::Fault;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::patience::until;
use super::{Gateway, STREAMS, assert_done, signal, streams, text};

#[test]
#[ignore = "it is run with the programs of others"]
fn a_file_every_quarter_of_an_hour_by_cron() {
    let gateway = Gateway::new("cron", 50.0, &streams());
    let recipe = gateway.recipe("One minute of events every quarter of an hour, by cron");
    let entry = recipe.lines().find(|line| !line.starts_with('#')).unwrap();
    // crontab(5): five fields, the user, and the command, in which % has to be escaped.
    let fields: Vec<&str> = entry.splitn(7, ' ').collect();
    assert_eq!(fields[..6], ["*/15", "*", "*", "*", "*", "octave-ws"]);
    let busybox = gateway.recipe("The same, by BusyBox");
    assert!(busybox.ends_with(&format!("\n*/15 * * * * {}\n", fields[6])));
    let (plain, escaped) = (fields[6].replace("\\%", ""), fields[6].replace("\\%", "%"));
    assert!(!plain.contains('%'));
    let command = escaped.replace("--duration 1m", "--duration 500ms");
    assert_ne!(command, escaped);

    gateway.sim.set_faults(&[Fault::RefuseAll]);
    let output = gateway.shell(&command).output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    assert_eq!(text(&output.stderr).lines().count(), 1);
    let whole = |file: &PathBuf| file.extension().unwrap() == "jsonl";
    assert!(!gateway.files().iter().any(whole));

    gateway.sim.set_faults(&[]);
    let output = gateway.shell(&command).output().unwrap();
    assert_done(&output);
    assert!(
        output.stderr.is_empty(),
        "cron would mail {}",
        text(&output.stderr)
    );
    let files: Vec<PathBuf> = gateway.files().into_iter().filter(whole).collect();
    let [file] = &files[..] else {
        panic!("{files:?}")
    };
    let name = file.file_stem().unwrap().to_str().unwrap();
    assert_eq!(name.len(), "20240214T0028".len());
    assert!(fs::read_to_string(file).unwrap().lines().count() > 3);

    // A gap is mailed, of a run that was done.
    fs::remove_file(file).unwrap();
    let longer = command.replace("--duration 500ms", "--duration 4s");
    // Those of the runs before.
    gateway.seen.try_iter().for_each(drop);
    let child = gateway.shell(&longer).spawn().unwrap();
    gateway.await_subscriptions(STREAMS.len());
    assert_eq!(gateway.sim.drop_all(), 1);
    let output = child.wait_with_output().unwrap();
    let mail = text(&output.stderr);
    let warning = "warning: connected again, events may be missing from ";
    assert!(mail.lines().all(|line| line.contains(warning)), "{mail}");
    assert!(!mail.is_empty());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
#[ignore = "it is run with the programs of others"]
fn a_service_by_systemd() {
    let gateway = Gateway::new("systemd", 0.0, &streams());
    // The man page is not installed here.
    let unit = gateway.packaged("systemd/octave-ws.service");
    let unit = unit.replace("Documentation=man:octave-ws(1)\n", "");
    let path = gateway.folder.join("octave-ws.service");
    fs::write(&path, &unit).unwrap();
    let verified = gateway
        .command("systemd-analyze")
        .arg("verify")
        .arg(path)
        .output()
        .unwrap();
    assert_done(&verified);
    assert_eq!(text(&verified.stderr), "");

    let value = |key: &str| {
        let value = unit
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key}=")));
        value.unwrap().to_owned()
    };
    assert_eq!(value("Type"), "notify");
    // Refused credentials (77) may be granted later.
    assert_eq!(value("RestartPreventExitStatus"), "64 78");
    // A token that there is stays at each boot: C and f make only what is not there.
    let tmpfiles = include_str!("../../packaging/tmpfiles.d/octave-ws.conf");
    let lines = tmpfiles
        .lines()
        .filter(|line| line.contains("/etc/octave-ws/"));
    let kinds: Vec<_> = lines.map(|line| line.split_once(' ').unwrap().0).collect();
    assert_eq!(kinds, ["C", "C", "f"]);
    // What systemd does of it: its socket.
    let manager = UnixDatagram::bind(gateway.folder.join("notify")).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut command = gateway.shell(&format!("exec {}", value("ExecStart")));
    command.env("NOTIFY_SOCKET", gateway.folder.join("notify"));
    let child = command.spawn().unwrap();
    let await_told = |what: &str| loop {
        let mut bytes = [0; 1024];
        // A wait with a limit is not begun again by itself where a signal has come.
        let n = match manager.recv(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.unwrap(),
        };
        if text(&bytes[..n]).starts_with(what) {
            break;
        }
    };
    await_told("READY=1");
    let reload = value("ExecReload").replace("$MAINPID", &child.id().to_string());
    assert_done(&gateway.shell(&reload).output().unwrap());
    await_told("RELOADING=1");
    await_told("READY=1");
    signal(&child, Signal::TERM);
    assert_done(&child.wait_with_output().unwrap());
    assert_eq!(gateway.files().len(), 1);
}

#[test]
#[ignore = "it is run with the programs of others"]
fn a_file_a_day_by_logrotate() {
    let gateway = Gateway::new("logrotate", 0.0, &streams());
    let stanza = gateway.folder.join("stanza");
    let recipe = gateway.recipe("A file a day, by logrotate");
    assert_eq!(recipe, gateway.packaged("logrotate"));
    fs::write(&stanza, recipe).unwrap();
    let events = gateway.folder.join("var/lib/octave-ws/events.jsonl");
    let listen = "exec octave-ws listen --streams-file /etc/octave-ws/streams -F record -o /var/lib/octave-ws/events.jsonl";
    let child = gateway.shell(&gateway.placed(listen)).spawn().unwrap();
    // What it does for a unit with the recipe's ExecReload.
    let systemctl = gateway.folder.join("systemctl");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n'-q is-active octave-ws.service') ;;\n\
         'reload octave-ws.service') exec kill -HUP {} ;;\nesac\n",
        child.id()
    );
    fs::write(&systemctl, script).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    gateway.await_subscriptions(STREAMS.len());

    let state = gateway.folder.join("state");
    let mut published = 0;
    for _ in 0..3 {
        for _ in 0..100 {
            gateway.sim.publish(STREAMS[0], &json!({ "n": published }));
            published += 1;
        }
        // It leaves what is empty alone.
        until("something is written", || {
            fs::metadata(&events).unwrap().len() > 0
        });
        let mut logrotate = gateway.command("logrotate");
        let output = logrotate
            .arg("-f")
            .arg("-s")
            .arg(&state)
            .arg(&stanza)
            .output()
            .unwrap();
        assert_done(&output);
        until("there is another file", || events.exists());
    }
    gateway.sim.publish(STREAMS[0], &json!({ "n": published }));
    let last = format!("\"n\":{published}}}");
    until("the last one is written", || {
        fs::read_to_string(&events).unwrap().contains(&last)
    });
    signal(&child, Signal::TERM);
    assert_done(&child.wait_with_output().unwrap());

    let mut found = Vec::new();
    for file in gateway.files() {
        let lines = if file.extension().unwrap() == "gz" {
            gateway.command("zcat").arg(file).output().unwrap().stdout
        } else {
            fs::read(file).unwrap()
        };
        let lines = text(&lines)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        found.extend(lines.filter_map(|line| line["event"]["elems"]["n"].as_i64()));
    }
    assert_eq!(gateway.files().len(), 4);
    assert_eq!(found.len(), published + 1);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), published + 1);
}
