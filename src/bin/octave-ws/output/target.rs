//! Where `--output` leads.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::mem;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::format::table::Table;
use crate::output::descriptor::{Descriptor, descriptor};
use crate::output::last;
use crate::output::rights;
use crate::output::tail::{self, Tail};
use crate::settings::files::{beside, folder};
use crate::wait;
use crate::wait::sink::{self, Sink};

/// Interval of checks for the reader of a named pipe, or for the end of a lock: nothing signals
/// either.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) enum Target {
    /// A device or a pipe, open, or a descriptor that the process was given.
    Stream(Sink),
    /// A regular file, which need not be there yet, behind all symbolic links.
    File(PathBuf),
}

impl Target {
    /// # Errors
    /// I/O errors, `IsADirectory`, and a [`wait::WaitEnded`] while a named pipe has no reader.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        match descriptor(path) {
            Some(Descriptor::Own(number)) => return Sink::given(number).map(Self::Stream),
            // The name of the file behind it is another process's business.
            Some(Descriptor::Foreign) if path.is_file() => {
                let file = OpenOptions::new().append(true).open(path)?;
                return Ok(Self::Stream(Sink::of_file(file)));
            }
            _ => {}
        }
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
    // /dev/stdout cannot be opened again if it is a socket, or another user's pipe.
    if let Some(sink) = Sink::inherited_as(found) {
        return Ok(sink);
    }
    let mut is_told = false;
    loop {
        match Sink::open(path) {
            // For a device, ENXIO means that there is no such device.
            Err(error) if found.file_type().is_fifo() && is_nxio(&error) => {
                if !mem::replace(&mut is_told, true) {
                    log::info!("output: waiting for a reader of {}", path.display());
                }
                wait::pause(LOOK)?;
            }
            done => return done,
        }
    }
}

fn is_nxio(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NXIO)
}

/// A file to whose end everything is written, and what was found there.
pub(crate) struct Appended {
    pub(crate) file: File,
    pub(crate) tail: Tail,
    /// The begin of the gap before this run, if the file holds records.
    pub(crate) missing_since: Option<SystemTime>,
    /// False if another process holds a lock on the file.
    pub(crate) is_alone: bool,
}

impl Appended {
    /// Tells what was found in the file of this name, and what was done about it.
    pub(super) fn tell(&self, name: &str) {
        match self.tail {
            Tail::Nothing | Tail::Line if !self.is_alone => {
                log::warn!("output: {name}: another process appends to it, too");
            }
            Tail::Nothing => {}
            Tail::Torn(bytes) => {
                log::warn!("output: {name}: a torn last line was cut off, {bytes} bytes");
            }
            Tail::TornInUse(bytes) => log::warn!(
                "output: {name}: a torn last line of {bytes} bytes was left: another process is \
                 writing there"
            ),
            Tail::Line => log::info!("output: {name}: a line break was added to the last line"),
        }
    }
}

/// Opens a file to append to.
pub(crate) fn append(path: &Path, table: Option<&Table>) -> io::Result<Appended> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    let appended = match options.clone().read(true).open(path) {
        // The file may be writable, but not readable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Appended {
            file: options.open(path)?,
            tail: Tail::Nothing,
            missing_since: None,
            is_alone: true,
        },
        opened => {
            let file = opened?;
            // Another process that is writing has its lock.
            let is_alone = lock(&file);
            if let Some(table) = table {
                let checked = table.check(&tail::first_line(&file)?);
                checked.map_err(io::Error::other)?;
            }
            let tail = tail::repair(&file, is_alone, table.map(Table::kind))?;
            let missing_since = last::missing_since(&file).filter(|_| is_alone);
            Appended {
                file,
                tail,
                missing_since,
                is_alone,
            }
        }
    };
    // One that may be new: positions are kept behind what is in it.
    if appended.file.metadata().is_ok_and(|file| file.len() == 0) {
        sync_folder(path);
    }
    // A courtesy to others, who cut nothing off then.
    while !locked(&appended.file, FlockOperation::NonBlockingLockShared) {
        wait::pause(LOOK)?;
    }
    Ok(appended)
}

/// A file in the making: `FILE.part`, which becomes `FILE` once it is whole.
pub(crate) struct Part {
    file: File,
    name: PathBuf,
    whole: PathBuf,
    /// The folder of both, if it can be opened: syncing it makes their names last.
    folder: Option<File>,
}

impl Part {
    /// Creates an empty file, with the permissions of the final one.
    ///
    /// # Errors
    /// Those of the operating system; `WouldBlock` where another process is about it; `Other` for
    /// one that is not ours to replace.
    pub(crate) fn create(whole: PathBuf) -> io::Result<Self> {
        let name = beside(&whole, ".part");
        // By now: once all is written it is too late to find no descriptor left for it.
        let folder = folder_of(&whole)?;
        let before = fs::metadata(&whole).ok();
        let owner = before.as_ref().map(MetadataExt::uid);
        let mode = before.as_ref().map(rights::mode);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        options.mode(mode.unwrap_or(ANYBODY));
        loop {
            let file = match options.open(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    take_away(&name, owner)?;
                    continue;
                }
                done => done?,
            };
            if !lock(&file) {
                return Err(Errno::WOULDBLOCK.into());
            }
            // Between the two, another may have taken it for one that was left.
            if is_there(&file, &name)? {
                let given = before.map_or(Ok(()), |before| rights::give(&file, &whole, &before));
                let part = Self {
                    file,
                    name,
                    whole,
                    folder,
                };
                return match given {
                    Ok(()) => Ok(part),
                    Err(error) => {
                        let _ = part.remove();
                        Err(error)
                    }
                };
            }
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Returns whether the name still leads to this file.
    pub(crate) fn is_there(&self) -> bool {
        is_there(&self.file, &self.name).unwrap_or_default()
    }

    /// Removes the file of this name.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.name)
    }

    /// Renames it to the final file, so that it survives a power cut.
    pub(crate) fn finish(&self) -> io::Result<()> {
        sink::sync(&self.file)?;
        if !is_there(&self.file, &self.name)? {
            let what = "not the file that was written: it was removed or replaced";
            return Err(io::Error::other(what));
        }
        // Not before: what another user owns, the next run could not take away.
        let own = self.file.metadata()?;
        if let Ok(before) = fs::metadata(&self.whole) {
            rights::give_owner(&self.file, &self.whole, &before)?;
        }
        if let Err(error) = fs::rename(&self.name, &self.whole) {
            let _ = fchown(&self.file, Some(own.uid()), Some(own.gid()));
            return Err(error);
        }
        match self.folder.as_ref().map_or(Ok(()), File::sync_all) {
            // Not every file system can do that for a folder.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => {
                let whole = self.whole.display();
                let what = format!("it is {whole} now, whose folder cannot be synced: {error}");
                Err(io::Error::new(error.kind(), what))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the permissions of a new file, without those that the umask removes.
const ANYBODY: u32 = 0o666;

/// Returns the folder of a file, `None` where it can be written to, but not read.
fn folder_of(file: &Path) -> io::Result<Option<File>> {
    match File::open(folder(file)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        done => done.map(Some),
    }
}

/// Returns since when events may be missing in a file of records to which nothing more is written.
pub(super) fn missing_since(place: &Path) -> Option<SystemTime> {
    let is_file = fs::metadata(place).ok()?.is_file();
    last::missing_since(&is_file.then(|| File::open(place))?.ok()?)
}

/// Creates an empty file with the owner and the permissions of the last one.
pub(super) fn follow(last: &Path, place: &Path) -> io::Result<()> {
    let before = fs::metadata(last)?;
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(rights::mode(&before));
    let new = options.open(place)?;
    rights::give(&new, last, &before)?;
    rights::give_owner(&new, last, &before)
}

/// Makes the names in the folder of a file last, as far as that can be done.
pub(super) fn sync_folder(file: &Path) {
    if let Ok(Some(folder)) = folder_of(file) {
        // Not every file system can do that for a folder.
        let _ = folder.sync_all();
    }
}

/// Takes away what an earlier run has left, as its own user or already as the owner of the whole file.
fn take_away(name: &Path, owner: Option<u32>) -> io::Result<()> {
    let refused = |why: &str| io::Error::other(format!("it {why}: remove it"));
    let open = |writes: bool| {
        // Somebody else may have put a link there, or a pipe, at which open(2) would wait.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(!writes).write(writes).custom_flags(flags);
        options.open(name)
    };
    // NFS locks for itself alone only what can be written to.
    let opened = match open(true) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(false),
        opened => opened,
    };
    let file = match opened {
        Ok(file) => file,
        // Another process had it, and is done.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(refused("is not a file"));
    }
    if ![Some(geteuid().as_raw()), owner].contains(&Some(found.uid())) {
        return Err(refused("belongs to another user"));
    }
    // With no link at all, another process has just removed it.
    if found.nlink() > 1 {
        return Err(refused("has another hard link"));
    }
    if !lock(&file) {
        return Err(Errno::WOULDBLOCK.into());
    }
    // In between, its owner may have renamed it to the final file.
    if is_there(&file, name)? {
        fs::remove_file(name)?;
    }
    Ok(())
}

/// Whether it is this very file that has the name.
pub(super) fn is_there(file: &File, name: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(name) {
        Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether the file is ours alone. Where it cannot be locked, as on some file systems, it
/// is said to be.
pub(super) fn lock(file: &File) -> bool {
    locked(file, FlockOperation::NonBlockingLockExclusive)
}

/// Releases the lock for the next process.
pub(super) fn unlock(file: &File) {
    locked(file, FlockOperation::NonBlockingUnlock);
}

fn locked(file: &File, operation: FlockOperation) -> bool {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return false,
            _ => return true,
        }
    }
}
