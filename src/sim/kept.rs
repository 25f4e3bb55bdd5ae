//! What a stand-in keeps over restarts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

/// A folder of small texts, if anything is kept.
pub(super) struct Kept(Option<PathBuf>);

impl Kept {
    pub(super) fn in_folder(folder: Option<PathBuf>) -> io::Result<Self> {
        let Some(folder) = folder else {
            return Ok(Self(None));
        };
        let mut builder = DirBuilder::new();
        let created = builder.recursive(true).mode(0o700).create(&folder);
        let absolute = created.and_then(|()| folder.canonicalize());
        Ok(Self(Some(
            absolute.map_err(|error| named(&folder, &error))?,
        )))
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join(name))
    }

    /// Returns the text that is kept by this name, or else keeps what `make` returns.
    pub(super) fn text(
        &self,
        name: &str,
        make: impl FnOnce() -> io::Result<String>,
    ) -> io::Result<String> {
        let Some(path) = self.path(name) else {
            return make();
        };
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(named(&path, &error)),
        }
        let text = make()?;
        // Whole, or not at all.
        let part = path.with_extension(format!("part-{}", process::id()));
        let written = create(&part).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, &path)
        });
        written.map_err(|error| named(&path, &error))?;
        Ok(text)
    }

    /// An error about the text of this name.
    pub(super) fn unusable(&self, name: &str, what: &str) -> io::Error {
        let message = match self.path(name) {
            Some(path) => format!("{path:?}: {what}"),
            None => format!("{name}: {what}"),
        };
        io::Error::new(ErrorKind::InvalidData, message)
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path:?}: {error}"))
}
