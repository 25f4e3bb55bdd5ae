//! The files of a run, which have to be different ones.

use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// Endings of the files beside that of `--state`.
const OF_STATE: [&str; 4] = ["", ".lock", ".tmp", ".bad"];

/// Fails where two options lead to the same file.
pub(super) fn check(
    output: Option<&Path>,
    status: Option<&Path>,
    state: Option<&Path>,
) -> Result<(), Failure> {
    if state == Some(Path::new("")) {
        return Err(Failure::usage("--state: give the name of a file"));
    }
    let same = |option: &str, other: &str| {
        let message = format!("{option} and {other} cannot be the same file");
        Err(Failure::usage(message))
    };
    if let (Some(output), Some(status)) = (output, status)
        && is_same_file(output, status)
    {
        return same("--status-file", "--output");
    }
    for (option, path) in [("--output", output), ("--status-file", status)] {
        let (Some(path), Some(state)) = (path, state) else {
            continue;
        };
        for ending in OF_STATE {
            if !is_same_file(path, &beside(state, ending)) {
                continue;
            }
            if ending.is_empty() {
                return same("--state", option);
            }
            let message =
                format!("{option}: FILE{ending} belongs to --state FILE: give another name");
            return Err(Failure::usage(message));
        }
    }
    Ok(())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Returns whether two paths lead to the same file, which need not be there.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| {
        path.canonicalize().or_else(|error| {
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            let name = path.file_name().ok_or(error)?;
            folder.canonicalize().map(|folder| folder.join(name))
        })
    });
    matches!((one, other), (Ok(one), Ok(other)) if one == other)
}
