//! What is read: files, pipes and standard input, without waiting but in the one place for it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use octave_ws::settings::Files;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::wait;

/// What is longer has no end.
const MOST: usize = 64 << 20;

/// How the files of the configuration are read.
pub(crate) const FILES: Files = Files {
    open,
    stdin,
    read: read_to_end,
};

/// Opens a file, or a named pipe that somebody may write to later.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // At a pipe without a writer, open(2) would wait.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let flags = i32::try_from(flags).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags).open(path)
}

/// Standard input: where that can be had, a description of our own, since the flags of the one
/// that there is are others', too.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn stdin() -> io::Result<File> {
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let kind = stdin.metadata()?.file_type();
    if kind.is_fifo() || rustix::termios::isatty(&stdin) {
        return open(Path::new("/proc/self/fd/0")).or(Ok(stdin));
    }
    Ok(stdin)
}

/// All of a file up to its end.
///
/// # Errors
/// Those of the operating system, a [`wait::Cut`], and `FileTooLarge`.
fn read_to_end(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    loop {
        match read(file, &mut block)? {
            0 => break,
            n => bytes.extend_from_slice(&block[..n]),
        }
        if bytes.len() > MOST {
            return Err(ErrorKind::FileTooLarge.into());
        }
    }
    Ok(bytes)
}

/// Waits for something to read and takes it.
fn read(file: &File, block: &mut [u8]) -> io::Result<usize> {
    loop {
        wait::readable(file)?;
        match rustix::io::read(file, &mut *block) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}
