//! Writes buffered lines.

use std::io::{self, Seek, SeekFrom, Write};
use std::mem;

use memchr::memrchr;

use super::{FLUSH_THRESHOLD, Output};
use crate::exit::End;
use crate::output::parts::whole_lines;
use crate::output::rotate::Rotated;
use crate::wait::sink::Sink;

impl Output {
    /// Writes whole lines, and counts the events among them that get lost.
    pub(super) fn write_out(&mut self, parts: &[&[u8]]) -> Result<(), End> {
        let written = if self.is_file() {
            self.write_to_file(parts)
        } else {
            self.write_to_reader(parts)
        };
        if let (Ok(()), Some(rotated)) = (&written, &mut self.rotated) {
            rotated.written(parts.iter().map(|part| part.len()).sum());
            self.rotate_if_due();
        }
        let written = written.map_err(|(error, kept)| {
            for (_, length) in self.events.iter().filter(|&&(end, _)| end > kept) {
                self.lost.0 += 1;
                self.lost.1 += length;
            }
            error
        });
        self.events.clear();
        written.map_err(|error| End::of_output(&self.name, &error))
    }

    /// Renames the file and opens another one, if it is time and no line is begun. Where that fails, lines
    /// go into the same file.
    pub(super) fn rotate_if_due(&mut self) {
        let Some(rotated) = &mut self.rotated else {
            return;
        };
        let is_due = self.begun == 0 && (rotated.is_large() || rotated.is_old());
        if is_due && rotated.length() <= self.header.line().count() as u64 {
            rotated.leave_period();
        } else if is_due {
            let synced = self.sink.sync();
            match synced.and_then(|()| rotated.rotate(self.sink.file(), self.format.table())) {
                Ok(file) => {
                    self.sink = Sink::of_file(file);
                    self.is_header_due = rotated.length() == 0;
                    log::info!("output: {} was rotated", self.name);
                }
                Err(error) => log::warn!("output: {} cannot be rotated: {error}", self.name),
            }
        }
        let left = self.rotated.as_ref().map_or(usize::MAX, Rotated::left);
        self.threshold = left.clamp(1, FLUSH_THRESHOLD);
    }

    /// Leaves no part of a line where not all of it fits. An error comes with how much was written
    /// and stays.
    fn write_to_file(&mut self, parts: &[&[u8]]) -> Result<(), (io::Error, usize)> {
        let mut written = 0;
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let error = match self.sink.file().write(rest) {
                    Ok(0) => io::ErrorKind::WriteZero.into(),
                    Ok(n) => {
                        written += n;
                        self.begun = match memrchr(b'\n', &rest[..n]) {
                            Some(at) => n - at - 1,
                            None => self.begun + n,
                        };
                        rest = &rest[n..];
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => error,
                };
                let mut torn = mem::take(&mut self.begun);
                if self.format.table().is_some() {
                    // Rows are not told apart by line breaks, and are held back whole.
                    let mut ends = self.events.iter().map(|&(end, _)| end);
                    let kept = ends.rfind(|&end| end <= written);
                    torn = written - kept.unwrap_or_default();
                }
                self.cut(torn);
                return Err((error, written.saturating_sub(torn)));
            }
        }
        Ok(())
    }

    /// Takes the last bytes away again, if they are the file's last.
    fn cut(&self, length: usize) {
        // Another process may have cut off its own meanwhile.
        if length == 0 {
            return;
        }
        let end = self.sink.file().metadata().map(|metadata| metadata.len());
        if let (Ok(end), Ok(position)) = (end, self.sink.file().stream_position())
            && end == position
        {
            // Another process may have emptied it meanwhile.
            let end = end.saturating_sub(length as u64);
            // Lines of a failed write are removed from the file.
            let _ = self
                .sink
                .file()
                .set_len(end)
                .and_then(|()| self.sink.file().seek(SeekFrom::Start(end)));
        }
    }

    /// Fails with the number of written bytes.
    fn write_to_reader(&mut self, parts: &[&[u8]]) -> Result<(), (io::Error, usize)> {
        let [bytes] = *parts else {
            return self.sink.write_all(parts, false);
        };
        let mut written = 0;
        let mut done = Ok(());
        while written < bytes.len() && done.is_ok() {
            let rest = &bytes[written..];
            let now = &rest[..whole_lines(rest, self.sink.at_once())];
            let is_begun = written == 0 && self.begun > 0;
            done = self
                .sink
                .write_all(&[now], is_begun)
                .map_err(|(error, more)| {
                    written += more;
                    error
                });
            if done.is_ok() {
                written += now.len();
            }
        }
        self.begun = match memrchr(b'\n', &bytes[..written]) {
            _ if written < bytes.len() => 0,
            Some(at) => written - at - 1,
            None => self.begun + written,
        };
        done.map_err(|error| (error, written))
    }
}
