use std::time::Duration;

use crate::exit::Failure;
use crate::settings::receivers::Listen;

/// When a file that is appended to is renamed, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    /// Size of a file that is renamed, in bytes.
    pub(crate) size: Option<u64>,
    /// Period whose end, counted from the Unix epoch, is the end of a file.
    pub(crate) every: Option<Duration>,
    /// Maximum number of renamed files.
    pub(crate) keep: Option<u32>,
}

impl Rotation {
    /// Returns what the options ask for, if anything.
    pub(super) fn of(listen: &Listen) -> Result<Option<Self>, Failure> {
        let (size, every, keep) = (listen.rotate_size, listen.rotate_every, listen.keep);
        if size.is_none() && every.is_none() {
            return match keep {
                None => Ok(None),
                Some(_) => Err(Failure::usage(
                    "--keep needs --rotate-size or --rotate-every",
                )),
            };
        }
        let is_file = listen.output.as_deref().is_some_and(|path| path != "-");
        if !is_file && listen.output_dir.is_none() {
            let message = "--rotate-size and --rotate-every need --output FILE";
            return Err(Failure::usage(message));
        }
        let size = size.map(|size| size as u64);
        Ok(Some(Self { size, every, keep }))
    }
}
