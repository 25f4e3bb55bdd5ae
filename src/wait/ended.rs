use std::error;
use std::fmt;
use std::io;

/// The reason for which a wait ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnded {
    /// A stop was triggered.
    Stopped,
    /// The deadline of the process has passed.
    TimedOut,
    /// A reader took nothing any more, after the end of the run.
    ReaderStalled,
}

impl WaitEnded {
    /// Returns the reason inside an I/O error, if there is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    pub(crate) fn is_stop(error: &io::Error) -> bool {
        Self::of(error) == Some(Self::Stopped)
    }
}

impl fmt::Display for WaitEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::TimedOut => "not done in time",
            Self::ReaderStalled => "nothing was taken for 2 s",
        })
    }
}

impl error::Error for WaitEnded {}

impl From<WaitEnded> for io::Error {
    fn from(ended: WaitEnded) -> Self {
        Self::new(io::ErrorKind::TimedOut, ended)
    }
}
