//! Paths that name a descriptor of a process.

use std::fs;
use std::os::fd::RawFd;
use std::path::Path;

use crate::settings::files::folder;

/// The system follows as many symbolic links.
const LINKS: usize = 40;

pub(super) enum Descriptor {
    /// A descriptor of this process.
    Own(RawFd),
    /// A descriptor of another process.
    Foreign,
}

/// Returns the descriptor that a path such as `/dev/stdout` or `/proc/1/fd/1` names.
pub(super) fn descriptor(path: &Path) -> Option<Descriptor> {
    let own = fs::canonicalize("/proc/self").ok()?;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let folder = fs::canonicalize(folder(&path)).ok()?;
        // The folder names a process, or one of its threads.
        if folder.starts_with("/proc") && folder.ends_with("fd") {
            let number: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let number = number.try_into().ok()?;
            let is_own = folder.starts_with(own);
            return Some(if is_own {
                Descriptor::Own(number)
            } else {
                Descriptor::Foreign
            });
        }
        path = folder.join(fs::read_link(&path).ok()?);
    }
    None
}
