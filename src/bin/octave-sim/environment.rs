//! The environment that leads a client to the stand-in.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use octave_ws::sim::Sim;

/// Variables and the files that they name, which exist as long as this.
pub(crate) struct Environment {
    variables: Vec<(&'static str, String)>,
    _ca_file: TemporaryFile,
    /// In place of a config file of the user or the machine.
    config_file: TemporaryFile,
}

/// What could lead a client elsewhere, with whatever begins with `OCTAVE_CLOUD_`.
const ELSEWHERE: [&str; 8] = [
    "OCTAVE_PROXY",
    "OCTAVE_TOKEN_FILE",
    "CREDENTIALS_DIRECTORY",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "SSL_CERT_FILE",
];

impl Environment {
    pub(crate) fn of(sim: &Sim) -> io::Result<Self> {
        // No two processes have the same port at a time.
        let name = format!("octave-sim-{}-{}", process::id(), sim.addr().port());
        let file = |extension| env::temp_dir().join(&name).with_extension(extension);
        let ca_file = TemporaryFile::create(file("pem"), sim.ca_pem())?;
        let config_file = TemporaryFile::create(file("json"), "{}\n")?;
        let variables = vec![
            ("OCTAVE_ENDPOINT", sim.endpoint()),
            ("OCTAVE_CA_FILE", ca_file.name()),
            ("OCTAVE_USER", sim.user().to_owned()),
            ("OCTAVE_COMPANY", sim.company().to_owned()),
            ("OCTAVE_TOKEN", sim.token().to_owned()),
        ];
        Ok(Self {
            variables,
            _ca_file: ca_file,
            config_file,
        })
    }

    /// A `KEY=value` line each.
    pub(crate) fn lines(&self) -> String {
        let lines = self.variables.iter();
        let lines: Vec<_> = lines
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        lines.concat()
    }

    pub(crate) fn apply(&self, command: &mut process::Command) {
        let elsewhere = |name: &str| ELSEWHERE.contains(&name) || name.starts_with("OCTAVE_CLOUD_");
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(elsewhere) {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("OCTAVE_CONFIG", &self.config_file.0);
    }
}

struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn create(path: PathBuf, text: &str) -> io::Result<Self> {
        let named = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{path:?}: {error}"))
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| named(&path, error))?;
        let created = Self(path);
        let written = file.write_all(text.as_bytes());
        written.map_err(|error| named(&created.0, error))?;
        Ok(created)
    }

    fn name(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // A file that is gone already is as good.
        let _ = fs::remove_file(&self.0);
    }
}
