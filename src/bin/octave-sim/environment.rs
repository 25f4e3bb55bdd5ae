//! The environment that leads a client to the stand-in.

use std::borrow::Cow;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use octave_ws::sim::Sim;

/// Variables and the files that they name, which exist as long as this.
pub(crate) struct Environment {
    variables: Vec<(&'static str, String)>,
    /// The CA certificate, unless a state folder has it.
    _ca_file: Option<TemporaryFile>,
    /// Replaces the config file of the user or the machine, for a command.
    config_file: Option<TemporaryFile>,
}

/// Variables that could lead a client to another service. Those that begin with `OCTAVE_CLOUD_` are
/// removed, too.
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
    pub(crate) fn of(sim: &Sim, has_command: bool) -> io::Result<Self> {
        let name = format!("octave-sim-{}-{}", process::id(), sim.addr().port());
        let (ca_file, temporary) = if let Some(kept) = sim.ca_file() {
            (kept.to_path_buf(), None)
        } else {
            let temporary = TemporaryFile::create(&name, "pem", sim.ca_pem())?;
            (temporary.0.clone(), Some(temporary))
        };
        let config_file = has_command.then(|| TemporaryFile::create(&name, "json", "{}\n"));
        let variables = vec![
            ("OCTAVE_ENDPOINT", sim.endpoint()),
            ("OCTAVE_API", sim.api()),
            ("OCTAVE_CA_FILE", ca_file.to_string_lossy().into_owned()),
            ("OCTAVE_USER", sim.user().to_owned()),
            ("OCTAVE_COMPANY", sim.company().to_owned()),
            ("OCTAVE_TOKEN", sim.token().to_owned()),
        ];
        Ok(Self {
            variables,
            _ca_file: temporary,
            config_file: config_file.transpose()?,
        })
    }

    /// Returns a `KEY=value` line for each variable, which sh(1) can read.
    pub(crate) fn lines(&self) -> String {
        let lines = self.variables.iter();
        let lines: Vec<_> = lines
            .map(|(name, value)| format!("{name}={}\n", quoted(value)))
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
        let config_file = self
            .config_file
            .iter()
            .map(|file| ("OCTAVE_CONFIG", &file.0));
        command.envs(config_file);
    }
}

/// Returns a word of sh(1).
fn quoted(value: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_[]".contains(c);
    if value.chars().all(is_plain) {
        value.into()
    } else {
        format!("'{}'", value.replace('\'', r"'\''")).into()
    }
}

struct TemporaryFile(PathBuf);

/// The number of left files that are passed over.
const MOST_LEFT: u32 = 1000;

impl TemporaryFile {
    fn create(name: &str, extension: &str, text: &str) -> io::Result<Self> {
        let named = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{path:?}: {error}"))
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut path = env::temp_dir().join(format!("{name}.{extension}"));
        let mut file = options.open(&path);
        // A killed process has left its files, and its pid and port may be reused.
        for n in 1..=MOST_LEFT {
            if !matches!(&file, Err(error) if error.kind() == ErrorKind::AlreadyExists) {
                break;
            }
            path.set_file_name(format!("{name}-{n}.{extension}"));
            file = options.open(&path);
        }
        let mut file = file.map_err(|error| named(&path, error))?;
        let created = Self(path);
        let written = file.write_all(text.as_bytes());
        written.map_err(|error| named(&created.0, error))?;
        Ok(created)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // A file that is gone already is as good.
        let _ = fs::remove_file(&self.0);
    }
}
