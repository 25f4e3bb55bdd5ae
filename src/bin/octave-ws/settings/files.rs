//! The files of a run, which have to be different ones.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::settings::Destination;

/// Fails where two options would write the same file, by any name.
pub(super) fn check(
    output: &Destination,
    is_rotated: bool,
    status: Option<&Path>,
    state: Option<&Path>,
) -> Result<(), Failure> {
    if state == Some(Path::new("")) {
        return Err(Failure::usage("--state: give the name of a file"));
    }
    let mut used = Vec::new();
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
        let same = |(other, file): &(&str, PathBuf)| other != option && file == path;
        let is_twice = used[..at].iter().any(same);
        let (other, name) = match output {
            Destination::File(file) if is_of(file, path, is_rotated) => ("--output", "name"),
            Destination::WholeFile(file) if is_of_whole(file, path) => ("--output", "name"),
            // No file of a stream has such a name.
            Destination::Folder(folder) if is_in(folder, path) => {
                ("--output-dir", "name that begins with a dot")
            }
            _ if is_twice => ("--state", "name"),
            _ => continue,
        };
        let path = path.display();
        let message = format!("{other} and {option} would both write {path}: give another {name}");
        return Err(Failure::usage(message));
    }
    Ok(())
}

/// Returns whether a file is the output, or a renamed one.
fn is_of(output: &str, path: &Path, is_rotated: bool) -> bool {
    let output = real(output);
    let is_number = |rest: &str| {
        let digits = rest.strip_prefix('.').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (bytes, of_output) = (path.as_os_str().as_bytes(), output.as_os_str().as_bytes());
    let rest = bytes.strip_prefix(of_output).map(str::from_utf8);
    match rest {
        Some(Ok(rest)) => rest.is_empty() || is_rotated && is_number(rest),
        _ => false,
    }
}

fn is_of_whole(output: &str, path: &Path) -> bool {
    let output = real(output);
    path == output || path == beside(&output, ".part")
}

/// Returns whether a file is one that may be that of a stream.
fn is_in(folder: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    path.parent() == Some(&real(folder)) && !name.as_bytes().starts_with(b".")
}

/// Returns the folder of a file.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
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
pub(crate) fn real(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    let found = path.canonicalize().ok().or_else(|| {
        // A link may lead to a file that is still to be created.
        let link = path.read_link().ok();
        let path = link.map_or_else(|| path.to_owned(), |to| folder(path).join(to));
        let folder = folder(&path).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    });
    found.unwrap_or_else(|| path.to_owned())
}
