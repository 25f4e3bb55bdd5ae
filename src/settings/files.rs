//! Reading files.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;

use crate::Error;

/// The maximum size of a file.
const MAX_FILE: u64 = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Functions that open and read files and standard input: blocking ones, or those of a program with
/// deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// Opens a file to be read.
    pub open: fn(&Path) -> io::Result<File>,
    /// Opens standard input.
    pub stdin: fn() -> io::Result<File>,
    /// Reads a file up to its end.
    pub read: fn(&File) -> io::Result<Vec<u8>>,
}

impl Files {
    /// Blocking calls.
    pub(crate) const BLOCKING: Self = Self {
        open: |path| File::open(path),
        stdin: || Ok(io::stdin().as_fd().try_clone_to_owned()?.into()),
        read: |file| {
            let mut bytes = Vec::new();
            file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_FILE {
                return Err(ErrorKind::FileTooLarge.into());
            }
            Ok(bytes)
        },
    };

    /// Opens a file that is read once more while a program runs. At anything but a regular file, that
    /// might wait for its writer.
    ///
    /// # Errors
    /// Errors of `open`.
    pub fn open_again(&self, path: &Path) -> io::Result<File> {
        if !path.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file any more"));
        }
        (self.open)(path)
    }

    /// Returns all of a file, less a byte order mark.
    ///
    /// # Errors
    /// Errors of `read`.
    pub fn bytes_of(&self, file: &File) -> io::Result<Vec<u8>> {
        let mut bytes = (self.read)(file)?;
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(bytes)
    }

    /// Does the same, as UTF-8.
    ///
    /// # Errors
    /// Errors of `read`, and `InvalidData`.
    pub fn text_of(&self, file: &File) -> io::Result<String> {
        String::from_utf8(self.bytes_of(file)?)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
    }
}

/// Returns an error about a file of the configuration.
pub(crate) fn unreadable(what: &str, error: io::Error) -> Error {
    Error::config(format!("{what} cannot be read")).because(error)
}
