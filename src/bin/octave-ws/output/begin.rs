//! Begins an output: its header, and its rotation.

use std::fs;
use std::path::Path;

use super::Output;
use crate::exit::{End, Failure, OUTPUT};
use crate::format::header::Header;
use crate::output::record::Lines;
use crate::output::rotate::{self, Rotated};
use crate::output::tail;
use crate::settings::Rotation;

impl Output {
    /// Creates the file of this name where a kill amid a rotation has left it out, with the permissions of
    /// the one before it.
    pub(crate) fn resume(path: &str) -> Result<(), End> {
        let resumed = rotate::resume(Path::new(path));
        resumed.map_err(|error| End::of_opening(path, &error))
    }

    /// Renames the file whenever it is large or old from now on. Each new one begins with the header.
    ///
    /// # Errors
    /// 64 where lines go to something else than a file, 74 where that fails.
    pub(crate) fn set_rotation(&mut self, rotation: Rotation, header: Header) -> Result<(), End> {
        if self.watched.is_none() {
            let what = "is not a file: --rotate-size and --rotate-every need one";
            return Err(Failure::usage(format!("{} {what}", self.name)).into());
        }
        let place = fs::canonicalize(&self.name);
        let rotated = place.and_then(|place| Rotated::new(rotation, place, self.sink.file()));
        let rotated = rotated.map_err(|error| End::of_output(&self.name, &error))?;
        self.missing_since = self.missing_since.or_else(|| rotated.missing_since());
        self.rotated = Some(rotated);
        self.header = header;
        Ok(())
    }

    /// Begins an output that has just been opened, where the lines have a header.
    ///
    /// # Errors
    /// 74 for a file with other columns.
    pub(crate) fn begin(&mut self, lines: &mut Lines) -> Result<(), End> {
        match lines.begin(|| self.first_line()) {
            Ok(None) => {}
            Ok(Some(header)) => self.write(&*header)?,
            Err(wrong) => {
                let message = format!("output: {}: {wrong}", self.name);
                return Err(Failure::new(OUTPUT, message).into());
            }
        }
        self.rotate_if_due();
        Ok(())
    }

    /// Returns the first line of a file that is appended to, if there is one and it can be read.
    fn first_line(&self) -> Option<String> {
        if !self.is_file() {
            return None;
        }
        let line = tail::first_line(self.sink.file()).ok()?;
        let is_line = !line.is_empty();
        is_line.then(|| line.trim_end_matches(['\n', '\r']).to_owned())
    }
}
