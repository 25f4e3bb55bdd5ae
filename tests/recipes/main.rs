//! The recipes of `packaging/README.md`, with the programs that they name.
//!
//! Run with `cargo test --all-features --test recipes -- --ignored`.
#![cfg(all(feature = "cli", feature = "sim"))]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use octave_ws::sim::{ClientAction, Observation, Options, Sim};
use patience::Told;
use running::folder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

mod files;
mod init;
#[path = "../patience/mod.rs"]
mod patience;
mod pipes;
#[path = "../running/mod.rs"]
mod running;

const STREAMS: [&str; 3] = [
    "/demo/devices/gw1/temperature",
    "/demo/devices/gw1/humidity",
    "/demo/devices/gw1/location",
];

/// A gateway with the program, its settings and a stand-in of its own.
struct Gateway {
    sim: Sim,
    seen: Told,
    folder: PathBuf,
}

impl Gateway {
    fn new(name: &str, rate: f64, streams: &[String]) -> Self {
        let (observer, seen) = mpsc::channel();
        let sim = Sim::start_with(Options {
            rate,
            any_stream: true,
            observer: Some(observer),
            ..Options::default()
        });
        let (sim, folder) = (sim.unwrap(), folder(name));
        let settings = folder.join("etc/octave-ws");
        fs::create_dir_all(&settings).unwrap();
        fs::create_dir_all(folder.join("var/lib/octave-ws")).unwrap();
        let config = json!({
            "endpoint": sim.endpoint(),
            "ca_file": settings.join("ca.pem"),
            "company": sim.company(),
            "user": sim.user(),
            "token_file": settings.join("token"),
        });
        for (name, text) in [
            ("config.json", config.to_string()),
            ("ca.pem", sim.ca_pem().to_owned()),
            ("token", sim.token().to_owned()),
            (
                "streams",
                format!("# All of them.\n{}\n", streams.join("\n")),
            ),
        ] {
            fs::write(settings.join(name), text).unwrap();
        }
        let token = fs::Permissions::from_mode(0o600);
        fs::set_permissions(settings.join("token"), token).unwrap();
        let seen = Told(seen);
        Self { sim, seen, folder }
    }

    /// The code below a heading of the recipes, with the paths of this gateway.
    fn recipes(&self, heading: &str) -> Vec<String> {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/README.md");
        let readme = fs::read_to_string(readme).unwrap();
        let (_, section) = readme.split_once(&format!("\n## {heading}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        // Between fences, the first of which says what it is.
        let fenced = section.split("```").skip(1).step_by(2);
        let code = fenced.map(|fenced| fenced.split_once('\n').unwrap().1);
        code.map(|code| self.placed(code)).collect()
    }

    /// The one that there is.
    fn recipe(&self, heading: &str) -> String {
        let [recipe] = self.recipes(heading).try_into().unwrap();
        recipe
    }

    /// A file of `packaging`, with the paths of this gateway.
    fn packaged(&self, path: &str) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("packaging")
            .join(path);
        self.placed(&fs::read_to_string(file).unwrap())
    }

    fn placed(&self, text: &str) -> String {
        let folder = self.folder.to_str().unwrap();
        ["/etc/octave-ws", "/var/lib", "/etc/logrotate.d"]
            .iter()
            .fold(text.to_owned(), |text, path| {
                text.replace(path, &format!("{folder}{path}"))
            })
            .replace("/usr/bin/octave-ws", env!("CARGO_BIN_EXE_octave-ws"))
            .replace("/my_company/", "/demo/")
    }

    /// A command with as little of an environment as cron gives.
    fn command(&self, program: &str) -> Command {
        let program_at = Path::new(env!("CARGO_BIN_EXE_octave-ws")).parent().unwrap();
        let path = format!(
            "{}:{}:/usr/bin:/bin:/usr/sbin",
            self.folder.display(),
            program_at.display()
        );
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("XDG_CONFIG_HOME", self.folder.join("etc"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = self.command("/bin/sh");
        command.args(["-c", line]);
        command
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.join("var/lib/octave-ws")).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    fn await_subscriptions(&self, count: usize) {
        let subscribed = |seen: &Observation| matches!(seen.action, ClientAction::Subscribed(_));
        assert_eq!(
            self.seen.iter().filter(subscribed).take(count).count(),
            count
        );
    }
}

fn streams() -> Vec<String> {
    STREAMS.map(str::to_owned).to_vec()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn assert_done(output: &Output) {
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}
