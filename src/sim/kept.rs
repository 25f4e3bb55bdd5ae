//! State that a stand-in keeps over restarts.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

/// Permissions of a secret, and of what others may read.
pub(super) const SECRET: u32 = 0o600;
pub(super) const PUBLIC: u32 = 0o644;

/// A folder of small texts, if anything is kept.
pub(super) struct Kept(Option<PathBuf>);

impl Kept {
    pub(super) fn in_folder(folder: Option<PathBuf>) -> io::Result<Self> {
        let Some(folder) = folder else {
            return Ok(Self(None));
        };
        let absolute = fs::create_dir_all(&folder).and_then(|()| folder.canonicalize());
        Ok(Self(Some(
            absolute.map_err(|error| named(&folder, &error))?,
        )))
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join(name))
    }

    /// Returns the text that is kept by this name, or else keeps what `make` returns, with these
    /// permissions.
    pub(super) fn text(
        &self,
        name: &str,
        mode: u32,
        make: impl FnOnce() -> io::Result<String>,
    ) -> io::Result<String> {
        let Some(path) = self.path(name) else {
            return make();
        };
        match read(&path) {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(named(&path, &error)),
        }
        let text = make()?;
        // Whole, or not at all, and that of the first of several that start at once.
        let part = path.with_extension(format!("part-{}", process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        let written = options.open(&part).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            match fs::hard_link(&part, &path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        });
        // Fails if the file could not be created.
        let _ = fs::remove_file(&part);
        let text = written.and_then(|()| read(&path));
        text.map_err(|error| named(&path, &error))
    }

    /// Returns an error about the text of this name.
    pub(super) fn unusable(&self, name: &str, what: &str) -> io::Error {
        let message = match self.path(name) {
            Some(path) => format!("{path:?}: {what}"),
            None => format!("{name}: {what}"),
        };
        io::Error::new(ErrorKind::InvalidData, message)
    }
}

fn read(path: &Path) -> io::Result<String> {
    // A pipe would be waited for.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidData, "not a file"));
    }
    fs::read_to_string(path)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path:?}: {error}"))
}
