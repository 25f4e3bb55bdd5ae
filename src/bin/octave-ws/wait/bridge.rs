//! Writes that do not block, to a pipe whose flags are not ours to change.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PIPE_BUF, PipeFlags, pipe_with};
#[cfg(target_os = "linux")]
use rustix::pipe::{SpliceFlags, splice};

/// A pipe of our own, from which bytes are moved on: where another has filled the pipe after poll(2)
/// found room in it, a write would block, and a move need not.
pub(super) struct Bridge {
    read: OwnedFd,
    write: OwnedFd,
}

impl Bridge {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { read, write })
    }

    /// Writes as many bytes as a pipe takes whole or not at all, `PIPE_BUF` at most.
    pub(super) fn write(&self, pipe: &File, bytes: &[u8]) -> rustix::io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(PIPE_BUF)];
        let length = rustix::io::write(&self.write, bytes)?;
        let moved = self.move_on(pipe, length);
        if moved != Ok(length) {
            // The rest is written again.
            while rustix::io::read(&self.read, &mut [0; PIPE_BUF]).is_ok_and(|n| n > 0) {}
        }
        match moved {
            // Not every system, nor every filter of system calls, has it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => rustix::io::write(pipe, bytes),
            done => done,
        }
    }

    #[cfg(target_os = "linux")]
    fn move_on(&self, pipe: &File, length: usize) -> rustix::io::Result<usize> {
        splice(&self.read, None, pipe, None, length, SpliceFlags::NONBLOCK)
    }

    #[cfg(not(target_os = "linux"))]
    fn move_on(&self, _: &File, _: usize) -> rustix::io::Result<usize> {
        Err(Errno::NOSYS)
    }
}
