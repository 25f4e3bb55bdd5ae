//! Where `--output` leads.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::sink::Sink;
use crate::wait;

/// How often to look for the reader of a named pipe, or for the end of a lock: nothing tells of it.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) enum Place {
    /// A device or a pipe, open.
    Stream(Sink),
    /// A regular file, which need not be there yet, behind all symbolic links.
    File(PathBuf),
}

impl Place {
    /// # Errors
    /// Those of the operating system; `IsADirectory`; a [`wait::Cut`] while nobody opens the other
    /// end of a named pipe.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if found.is_file() => Ok(Self::File(fs::canonicalize(path)?)),
            Ok(found) => Ok(Self::Stream(stream(path, &found)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
                Ok(to) => Self::of(&path.parent().unwrap_or(Path::new("")).join(to)),
                Err(_) => Ok(Self::File(path.to_owned())),
            },
            Err(error) => Err(error),
        }
    }
}

/// Opens a device, or a named pipe once somebody reads it.
fn stream(path: &Path, found: &Metadata) -> io::Result<Sink> {
    // What cannot be opened again under /dev/stdout: a socket, or another user's pipe.
    if let Some(sink) = Sink::inherited_as(found) {
        return Ok(sink);
    }
    loop {
        match Sink::open(path) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => wait::pause(LOOK)?,
            done => return done,
        }
    }
}

/// Opens a file, to whose end everything is written. Returns, too, how many bytes of a torn last
/// line were cut off.
pub(crate) fn append(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).open(path)?;
    // Where another process is writing, its last line is no torn one.
    let torn = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => 0,
        _ => torn(&file)?,
    };
    if torn > 0 {
        file.set_len(file.metadata()?.len() - torn)?;
    }
    // Not every file system has locks; this one is a courtesy to others.
    while flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK) {
        wait::pause(LOOK)?;
    }
    Ok((file, torn))
}

/// How many bytes stand behind the last line break.
fn torn(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut block = [0; 4096];
    let mut end = length;
    while end > 0 {
        let start = (end - 1) / block.len() as u64 * block.len() as u64;
        let read = &mut block[..usize::try_from(end - start).unwrap_or_default()];
        file.read_exact_at(read, start)?;
        if let Some(at) = read.iter().rposition(|&b| b == b'\n') {
            return Ok(length - start - at as u64 - 1);
        }
        end = start;
    }
    Ok(length)
}

/// A file in the making: `FILE.part`, which becomes `FILE` once it is whole.
pub(crate) struct Part {
    file: File,
    name: PathBuf,
    whole: PathBuf,
}

impl Part {
    /// Begins anew, with an empty file.
    ///
    /// # Errors
    /// Those of the operating system; `WouldBlock` where another process is about it.
    pub(crate) fn create(whole: PathBuf) -> io::Result<Self> {
        let mut name = OsString::from(&whole);
        name.push(".part");
        let name = PathBuf::from(name);
        // Somebody else may have put a link there, or a pipe, at which open(2) would wait.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        let flags = i32::try_from(flags).unwrap_or_default();
        let mut options = OpenOptions::new();
        options.write(true).create(true).custom_flags(flags);
        loop {
            let file = options.open(&name)?;
            // Not every file system has locks.
            if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
                return Err(Errno::WOULDBLOCK.into());
            }
            // Between the two, whoever had it may have made it the whole one.
            let (own, there) = (file.metadata()?, fs::metadata(&name));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
                file.set_len(0)?;
                return Ok(Self { file, name, whole });
            }
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it the whole one, with the permissions that a file in its place has had, so that it
    /// stays so whatever happens to the power.
    pub(crate) fn finish(&self) -> io::Result<()> {
        if let Ok(before) = fs::metadata(&self.whole) {
            self.file.set_permissions(before.permissions())?;
        }
        self.file.sync_all()?;
        fs::rename(&self.name, &self.whole)?;
        let folder = match self.whole.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        match File::open(folder)?.sync_all() {
            // Not every file system can do that for a folder.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            done => done,
        }
    }
}
