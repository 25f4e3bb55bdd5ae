//! A small file that is replaced as a whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::settings::files::{hidden, real};

/// Replaces a file so that readers find the old one or the new one. It is not synced: after a power cut
/// the process that it describes is gone, too.
///
/// # Errors
/// Those of the operating system. `AlreadyExists` for what is not a regular file.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Through a link, which stays.
    let path = &real(path);
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let what = "not a regular file, which it would replace";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    let new = &hidden(path);
    // Somebody else may have put a link there, or a pipe, at which open(2) would wait.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let written = options
        .open(new)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    let replaced = written.and_then(|()| fs::rename(new, path));
    if replaced.is_err() {
        let _ = fs::remove_file(new);
    }
    replaced
}
