//! Reads files, pipes and standard input without blocking.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use octave_ws::settings::Files;
use rustix::io::Errno;

use crate::wait;

/// The maximum size of a file.
const MAX_SOURCE: usize = 64 << 20;

/// Opens and reads the files of the configuration.
pub(crate) const FILES: Files = Files {
    open,
    stdin: || {
        reserve_stdin()?;
        stdin()
    },
    read: read_to_end,
};

static IS_STDIN_RESERVED: AtomicBool = AtomicBool::new(false);
static IS_STDIN_CONTESTED: AtomicBool = AtomicBool::new(false);

/// Standard input has one reader: what one has read, no other one gets.
///
/// # Errors
/// Where there is one already.
pub(crate) fn reserve_stdin() -> io::Result<()> {
    if IS_STDIN_RESERVED.swap(true, Ordering::Relaxed) {
        IS_STDIN_CONTESTED.store(true, Ordering::Relaxed);
        return Err(io::Error::other(
            "standard input is read for something else",
        ));
    }
    Ok(())
}

/// Returns whether it was to be read for more than one thing.
pub(crate) fn is_stdin_contested() -> bool {
    IS_STDIN_CONTESTED.load(Ordering::Relaxed)
}

/// Opens a file, or a named pipe that somebody may write to later.
///
/// # Errors
/// I/O errors, and an error where standard input is [read](reserve_stdin) for something else.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = open_apart(path)?;
    if is_stdin(&file)? {
        reserve_stdin()?;
    }
    Ok(file)
}

/// Whether a file is standard input by another name, and one reader takes from the other.
fn is_stdin(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    let is_shared = metadata.file_type().is_fifo() || rustix::termios::isatty(file);
    // Where there is no standard input, it is not this.
    let stdin = rustix::fs::fstat(io::stdin()).ok();
    let own = (metadata.dev(), metadata.ino());
    Ok(is_shared && stdin.is_some_and(|stdin| (stdin.st_dev, stdin.st_ino) == own))
}

fn open_apart(path: &Path) -> io::Result<File> {
    // At a pipe without a writer, open(2) would wait.
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// Standard input: where that can be had, a description of our own, since the flags of the one
/// that there is are others', too.
///
/// # Errors
/// I/O errors.
pub(crate) fn stdin() -> io::Result<File> {
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let kind = stdin.metadata()?.file_type();
    if kind.is_fifo() || rustix::termios::isatty(&stdin) {
        return open_apart(Path::new("/proc/self/fd/0")).or(Ok(stdin));
    }
    Ok(stdin)
}

/// Returns all of a file up to its end.
///
/// # Errors
/// I/O errors, a [`wait::WaitEnded`], and `FileTooLarge`.
fn read_to_end(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    loop {
        match read(file, &mut block)? {
            0 => break,
            n => bytes.extend_from_slice(&block[..n]),
        }
        if bytes.len() > MAX_SOURCE {
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
