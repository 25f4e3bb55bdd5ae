//! The files of a run, which have to be different ones.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::settings::Destination;

/// Fails where two options would write the same file, by any name.
pub(super) fn check(
    output: &Destination,
    status: Option<&Path>,
    state: Option<&Path>,
) -> Result<(), Failure> {
    if state == Some(Path::new("")) {
        return Err(Failure::usage("--state: give the name of a file"));
    }
    let mut used = Vec::new();
    if let Destination::File(path) | Destination::WholeFile(path) = output {
        used.push(("--output", real(path)));
    }
    if let Destination::WholeFile(path) = output {
        used.push(("--output", beside(&real(path), ".part")));
    }
    if let Some(state) = state {
        used.push(("--state", real(state)));
        for ending in [".lock", ".tmp", ".bad"] {
            used.push(("--state", beside(&real(state), ending)));
        }
    }
    if let Some(status) = status {
        let status = real(status);
        used.push(("--status-file", hidden(&status)));
        used.push(("--status-file", status));
    }
    for (at, (option, path)) in used.iter().enumerate() {
        let earlier = used[..at]
            .iter()
            .find(|(other, file)| other != option && file == path);
        if let Some((other, _)) = earlier {
            let path = path.display();
            let message =
                format!("{other} and {option} would both write {path}: give another name");
            return Err(Failure::usage(message));
        }
    }
    Ok(())
}

/// Returns the path of a file that stands beside another, its name and an ending.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Returns the path of the hidden file that will replace another one.
///
/// Collectors pass over hidden files, and no other program has that name.
pub(crate) fn hidden(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

/// Returns the path without links, of a file that need not be there.
fn real(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    let found = path.canonicalize().ok().or_else(|| {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    });
    found.unwrap_or_else(|| path.to_owned())
}
