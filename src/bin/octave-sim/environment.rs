//! The environment that leads a client to the stand-in.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process;

use octave_ws::sim::Sim;

/// Variables and the file that one of them names, which goes with this.
pub(crate) struct Environment {
    variables: Vec<(&'static str, String)>,
    ca_file: PathBuf,
}

/// What could lead a client elsewhere, with whatever begins with `OCTAVE_CLOUD_`.
const ELSEWHERE: [&str; 9] = [
    "OCTAVE_CONFIG",
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
        let name = format!("octave-sim-{}-{}.pem", process::id(), sim.addr().port());
        let ca_file = env::temp_dir().join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&ca_file)
            .map_err(|error| io::Error::new(error.kind(), format!("{ca_file:?}: {error}")))?;
        let variables = vec![
            ("OCTAVE_ENDPOINT", sim.endpoint()),
            ("OCTAVE_CA_FILE", ca_file.to_string_lossy().into_owned()),
            ("OCTAVE_USER", sim.user().to_owned()),
            ("OCTAVE_COMPANY", sim.company().to_owned()),
            ("OCTAVE_TOKEN", sim.token().to_owned()),
        ];
        // From here on it is removed again, whatever happens.
        let environment = Self { variables, ca_file };
        file.write_all(sim.ca_pem().as_bytes())?;
        Ok(environment)
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
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // A file that is gone already is as good.
        let _ = fs::remove_file(&self.ca_file);
    }
}
