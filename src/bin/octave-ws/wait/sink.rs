//! An output that is written without blocking.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use memchr::memchr;
use octave_ws::wait::poll;
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use rustix::net::SendFlags;
use rustix::pipe::PIPE_BUF;
#[cfg(target_os = "linux")]
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use crate::wait::bridge::Bridge;
use crate::wait::{self, WaitEnded};

/// A file, or what somebody reads: a pipe, a socket, a terminal.
pub(crate) struct Sink {
    file: File,
    kind: Kind,
    /// For a shared pipe.
    bridge: Option<Bridge>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file: writes never block.
    File,
    /// A description of our own, whose writes do not block.
    Own,
    /// The same of a pipe that can be made to take more.
    Pipe,
    /// Its writes can be told not to block, one by one.
    Socket,
    /// A description that others use too: their flags are not ours to change. Where poll(2) finds
    /// it writable, it takes as many bytes as this without blocking.
    Shared(usize),
}

const DEVICE_AT_ONCE: usize = 64 << 10;

/// A terminal that poll(2) finds writable holds less than this.
const TERMINAL_AT_ONCE: usize = 256;

impl Sink {
    /// # Errors
    /// `EBADF` where the process began without a standard output.
    pub(crate) fn stdout() -> io::Result<Self> {
        Self::given(1)
    }

    pub(crate) fn stderr() -> io::Result<Self> {
        Self::inherited(io::stderr().as_fd())
    }

    /// Writes to standard error where no descriptor is left for one more, unless that would block.
    pub(crate) fn write_to_stderr(text: &str) {
        if poll::is_writable(io::stderr()) {
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }

    /// Returns a descriptor that the process was given at its start.
    ///
    /// # Errors
    /// `EBADF` if the number is not open.
    #[allow(unsafe_code, reason = "the caller knows it by its number alone")]
    pub(crate) fn given(number: RawFd) -> io::Result<Self> {
        let closed = usize::try_from(number)
            .ok()
            .and_then(|number| CLOSED.get(number));
        if closed.is_some_and(|closed| closed.load(Ordering::Relaxed)) {
            return Err(Errno::BADF.into());
        }
        // SAFETY: an invalid number is an error of the next call; one that is not the process's own
        // stays open.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        // The process's own are closed on exec(2).
        if fcntl_getfd(fd)?.contains(FdFlags::CLOEXEC) {
            return Err(Errno::BADF.into());
        }
        Self::inherited(fd)
    }

    /// Standard output or standard error, if it is this socket or pipe.
    pub(crate) fn inherited_as(found: &Metadata) -> Option<Self> {
        let kind = found.file_type();
        let streams = [Self::stdout(), Self::stderr()].into_iter().flatten();
        let is_found = |sink: &Self| {
            let own = sink.file.metadata();
            own.is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
        };
        { streams }.find(|sink| (kind.is_socket() || kind.is_fifo()) && is_found(sink))
    }

    fn inherited(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let file = File::from(fd.try_clone_to_owned()?);
        let metadata = file.metadata()?;
        let is_terminal = rustix::termios::isatty(&file);
        let kind = metadata.file_type();
        let mut bridge = None;
        let kind = if kind.is_file() {
            Kind::File
        } else if kind.is_socket() {
            Kind::Socket
        } else if is_terminal || kind.is_fifo() {
            if let Ok(own) =
                Self::open(&Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string()))
            {
                return Ok(own);
            }
            if is_terminal {
                Kind::Shared(TERMINAL_AT_ONCE)
            } else {
                bridge = Some(Bridge::new()?);
                Kind::Shared(PIPE_BUF)
            }
        } else {
            // Devices that do not block, such as /dev/null.
            Kind::Shared(DEVICE_AT_ONCE)
        };
        Ok(Self { file, kind, bridge })
    }

    /// Writes to an open file of its own.
    pub(crate) fn of_file(file: File) -> Self {
        Self {
            file,
            kind: Kind::File,
            bridge: None,
        }
    }

    /// Opens what is no regular file.
    ///
    /// # Errors
    /// I/O errors, `ENXIO` for a named pipe without a reader.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        let kind = if can_grow(&file) {
            Kind::Pipe
        } else {
            Kind::Own
        };
        Ok(Self {
            file,
            kind,
            bridge: None,
        })
    }

    /// Returns whether what is written stays there.
    pub(crate) fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Fails where not all that was written has come to stay, as far as that shows. What is no file
    /// keeps nothing.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.is_file() {
            sync(&self.file)
        } else {
            Ok(())
        }
    }

    /// Returns the best size of a write of whole lines: what a pipe takes whole or not at all, so
    /// that the lines of several programs in one pipe are not mixed.
    pub(crate) fn at_once(&self) -> usize {
        match self.kind {
            Kind::File => usize::MAX,
            Kind::Shared(at_once) => at_once.max(PIPE_BUF),
            Kind::Own | Kind::Pipe | Kind::Socket => PIPE_BUF,
        }
    }

    /// Writes all of it, one part after the other. `is_begun` says whether a line has been begun by what
    /// was written before. Where a wait for the reader of a pipe is cut
    /// short, the line that has been begun is still written to its end, as far as the system lets
    /// pipes grow.
    ///
    /// # Errors
    /// I/O errors and [`WaitEnded`], with the number of bytes written.
    pub(crate) fn write_all(
        &self,
        parts: &[&[u8]],
        is_begun: bool,
    ) -> Result<(), (io::Error, usize)> {
        let (mut is_amid_line, mut written) = (is_begun, 0);
        for (n, part) in parts.iter().enumerate() {
            let mut rest = *part;
            while !rest.is_empty() {
                match self.write(rest) {
                    Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
                    Ok(n) => {
                        is_amid_line = rest[n - 1] != b'\n';
                        rest = &rest[n..];
                        written += n;
                    }
                    Err(error) => {
                        if WaitEnded::of(&error).is_some() && is_amid_line {
                            // Where that fails, too, the reader finds a torn line.
                            let finished = self.finish_line(rest, &parts[n + 1..]);
                            written += finished.unwrap_or_default();
                        }
                        return Err((error, written));
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes what is left of a line. Returns how many bytes those were.
    fn finish_line(&self, rest: &[u8], parts: &[&[u8]]) -> io::Result<usize> {
        let mut line = [&[rest], parts].concat().concat();
        line.truncate(memchr(b'\n', &line).map_or(line.len(), |at| at + 1));
        self.squeeze_in(&line)?;
        Ok(line.len())
    }

    /// Writes without waiting: a pipe that is full is made to take more.
    pub(crate) fn squeeze_in(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        // A write that blocks is not tried before there is room.
        let mut has_room = !matches!(self.kind, Kind::Shared(_));
        while !rest.is_empty() {
            if !has_room {
                grow(&self.file, rest.len())?;
            }
            let written = match self.kind {
                Kind::Socket | Kind::Shared(_) => self.write_at_once(rest),
                _ => rustix::io::write(&self.file, rest),
            };
            match written {
                Err(Errno::AGAIN) if has_room => has_room = false,
                Err(Errno::INTR) => {}
                done => rest = &rest[done?..],
            }
        }
        Ok(())
    }

    /// Writes some of it, as soon as that does not block.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let since = Instant::now();
        let mut has_to_wait = matches!(self.kind, Kind::Shared(_));
        loop {
            if has_to_wait {
                wait::writable(&self.file, since)?;
            }
            match self.write_at_once(bytes) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if has_to_wait => wait::retry(since)?,
                Err(Errno::AGAIN) => has_to_wait = true,
                done => return Ok(done?),
            }
        }
    }

    fn write_at_once(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match self.kind {
            Kind::File | Kind::Own | Kind::Pipe => rustix::io::write(&self.file, bytes),
            Kind::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                rustix::net::send(&self.file, bytes, flags)
            }
            Kind::Shared(most) => match &self.bridge {
                Some(bridge) => bridge.write(&self.file, bytes),
                None => rustix::io::write(&self.file, &bytes[..bytes.len().min(most)]),
            },
        }
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Syncs a file. Fails where that fails, or a close of it: quotas and network file systems may tell
/// only then that not all could be written.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        // Not every file system can.
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::INVAL | Errno::NOSYS)
            ) => {}
        done => done?,
    }
    // Each close of a description tells. Without a descriptor for one more, none can.
    match file.try_clone() {
        Ok(file) => close(file),
        Err(_) => Ok(()),
    }
}

#[allow(unsafe_code, reason = "std drops the errors of close(2)")]
fn close(file: File) -> io::Result<()> {
    // SAFETY: the descriptor is owned, and not used any more.
    let closed = unsafe { libc::close(file.into_raw_fd()) };
    match io::Error::last_os_error() {
        // The descriptor is closed all the same.
        error if closed != 0 && error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// Returns whether it is a pipe of which [`grow`] makes a larger one.
#[cfg(target_os = "linux")]
fn can_grow(file: &File) -> bool {
    fcntl_getpipe_size(file).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn can_grow(_: &File) -> bool {
    false
}

/// Makes a pipe so large that it takes as many bytes more.
#[cfg(target_os = "linux")]
fn grow(pipe: &File, bytes: usize) -> io::Result<()> {
    // Each of its pages may hold the end of one write and the beginning of none.
    let size = fcntl_getpipe_size(pipe)? + bytes + 2 * PIPE_BUF;
    fcntl_setpipe_size(pipe, size)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn grow(_: &File, _: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The standard streams that were closed when the process began: input, output and error.
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Runs before `main`: by then, Rust has put /dev/null where nothing was, and records would vanish
/// in it as if they had been written.
#[allow(unsafe_code, reason = "nothing that is safe runs before main")]
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_CLOSED: extern "C" fn() = note_closed;

#[cfg(target_os = "linux")]
extern "C" fn note_closed() {
    use rustix::stdio::{stderr, stdin, stdout};
    for (fd, closed) in [stdin(), stdout(), stderr()].into_iter().zip(&CLOSED) {
        let is_closed = fcntl_getfd(fd) == Err(Errno::BADF);
        closed.store(is_closed, Ordering::Relaxed);
    }
}
