//! Repairs the end of a file, after its last line break.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;

use memchr::memchr2_iter;
use serde_core::de::IgnoredAny;

use crate::format::table::Kind;

/// The end of a file, as found and repaired.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing: the last line is whole.
    Nothing,
    /// A torn record of so many bytes, or NULs, which were cut off.
    Torn(u64),
    /// The same, which was given a line break: another process writes to the file.
    TornInUse(u64),
    /// A line of another kind, which was given its line break.
    Line,
}

/// Attempts to read a file that becomes shorter meanwhile, or whose length is wrong.
const LOOKS: u32 = 100;

/// Sees to it that what is appended begins a line. Nothing is cut off unless the file is ours
/// alone. In a table a row without its end is torn, whatever it holds.
pub(crate) fn repair(file: &File, is_alone: bool, table: Option<Kind>) -> io::Result<Tail> {
    for _ in 0..LOOKS {
        let length = file.metadata()?.len();
        let found = match table {
            None => find(file, length),
            Some(kind) => find_row(file, length, kind),
        };
        let found = match found {
            // The file has become shorter meanwhile.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            found => found?,
        };
        let Found { start, end } = found;
        if start == length {
            return Ok(Tail::Nothing);
        }
        let torn = length - end;
        if torn > 0 && is_alone && !cut(file, length, end)? {
            continue;
        }
        if start < end || !is_alone {
            (&mut &*file).write_all(b"\n")?;
        }
        return Ok(match torn {
            0 => Tail::Line,
            torn if is_alone => Tail::Torn(torn),
            torn => Tail::TornInUse(torn),
        });
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Cuts a file of this length off at its end, unless it is of another length by now: what was torn
/// may be whole.
fn cut(file: &File, length: u64, end: u64) -> io::Result<bool> {
    let is_unchanged = file.metadata()?.len() == length;
    if is_unchanged {
        file.set_len(end)?;
    }
    Ok(is_unchanged)
}

/// The last line of a file that has no line break.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    start: u64,
    /// The offset of the torn bytes, or the length of the file.
    end: u64,
}

/// Finds the last line of a file of this length. A line that begins as a JSON object and is not
/// JSON is a torn record; after a power cut some file systems have NULs where data was to come, or
/// before the rest of it.
fn find(file: &File, length: u64) -> io::Result<Found> {
    let end = behind(file, length, |b| b != 0)?;
    let start = last_line(file, end)?;
    let end = if is_torn_record(file, start, end)? {
        start
    } else {
        end
    };
    Ok(Found { start, end })
}

/// Finds the last row of a table, which is torn.
fn find_row(file: &File, length: u64, kind: Kind) -> io::Result<Found> {
    let end = behind(file, length, |b| b != 0)?;
    let range = Range { file, at: 0, end };
    let mut reader = BufReader::with_capacity(64 << 10, range);
    let (mut at, mut start, mut is_quoted, mut last) = (0, 0, false, b'\n');
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            break;
        }
        for n in memchr2_iter(b'"', b'\n', block) {
            // A quotation mark within a cell that is not quoted is part of it.
            let before = n.checked_sub(1).map_or(last, |before| block[before]);
            let is_mark = is_quoted || matches!(before, b',' | b'\n' | b'"');
            if block[n] == b'"' && kind == Kind::Csv && is_mark {
                is_quoted = !is_quoted;
            } else if block[n] == b'\n' && !is_quoted {
                start = at + n as u64 + 1;
            }
        }
        let read = block.len();
        last = block[read - 1];
        at += read as u64;
        reader.consume(read);
    }
    Ok(Found { start, end: start })
}

fn is_torn_record(file: &File, start: u64, end: u64) -> io::Result<bool> {
    let range = || Range {
        file,
        at: start,
        end,
    };
    let mut first = [0];
    if range().read(&mut first)? == 0 || !b"{\0".contains(&first[0]) {
        return Ok(false);
    }
    // Not all of it at once in memory, however long it is.
    let parsed = serde_json::from_reader::<_, IgnoredAny>(BufReader::new(range()));
    match parsed {
        Err(error) if error.is_io() => Err(error.into()),
        parsed => Ok(parsed.is_err()),
    }
}

/// Returns the first line of a file with its end, which may be missing.
pub(super) fn first_line(file: &File) -> io::Result<String> {
    let length = file.metadata()?.len();
    let end = length.min(LONGEST_FIRST);
    let mut line = Vec::new();
    BufReader::new(Range { file, at: 0, end }).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Maximum length of a first line, in bytes.
const LONGEST_FIRST: u64 = 1 << 20;

/// Returns the offset after the last line break, or 0.
pub(super) fn last_line(file: &File, length: u64) -> io::Result<u64> {
    behind(file, length, |b| b == b'\n')
}

/// Returns the offset behind the last byte that matches, or 0.
fn behind(file: &File, length: u64, is_such: impl Fn(u8) -> bool) -> io::Result<u64> {
    let mut block = [0; 4096];
    let mut end = length;
    while end > 0 {
        let start = (end - 1) / block.len() as u64 * block.len() as u64;
        let read = &mut block[..usize::try_from(end - start).unwrap_or_default()];
        file.read_exact_at(read, start)?;
        if let Some(at) = read.iter().rposition(|&b| is_such(b)) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// A part of a file. It does not end before its end.
struct Range<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = out.len().min(left);
        let n = self.file.read_at(&mut out[..most], self.at)?;
        if n == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Repairs a file, and returns its repair and its text.
    fn mended(text: &str, is_alone: bool) -> (Tail, String) {
        mended_as(text, is_alone, None)
    }

    fn mended_as(text: &str, is_alone: bool, table: Option<Kind>) -> (Tail, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, text).unwrap();
        let file = File::options().read(true).append(true).open(&path).unwrap();
        let tail = repair(&file, is_alone, table).unwrap();
        // Nothing is left to be done.
        let again = repair(&file, true, table).unwrap();
        assert!(!is_alone || again == Tail::Nothing);
        (tail, fs::read_to_string(path).unwrap())
    }

    #[test]
    fn only_a_torn_record_is_cut_off() {
        let long = format!("{{\"a\":\"{}", "x".repeat(10_000));
        let nuls = "\0".repeat(10_000);
        for torn in [
            "{",
            "{\"a\":1",
            "{\"a\":1}}",
            "{\0\0",
            "\0\0",
            "\0\0{\"a\":1",
            &nuls,
            &long,
        ] {
            let length = torn.len() as u64;
            for before in ["", "{}\n", "\n", "text\n"] {
                let text = format!("{before}{torn}");
                let cut = (Tail::Torn(length), before.to_owned());
                assert_eq!(mended(&text, true), cut, "{text}");
                let left = (Tail::TornInUse(length), format!("{text}\n"));
                assert_eq!(mended(&text, false), left, "{text}");
            }
        }
    }

    #[test]
    fn a_row_without_its_end_is_cut_off() {
        let whole = "a,b\n1,\"x\ny\"\n";
        let csv = Some(Kind::Csv);
        for torn in [
            "2,\"x",
            "2,\"x\n",
            "2,\"x\"\"\n\0\0",
            "\"",
            "\0\0",
            "2,x",
            "2,\"x\ny\"",
        ] {
            let cut = (Tail::Torn(torn.len() as u64), whole.to_owned());
            assert_eq!(
                mended_as(&format!("{whole}{torn}"), true, csv),
                cut,
                "{torn}"
            );
        }
        for text in ["", whole] {
            assert_eq!(mended_as(text, true, csv), (Tail::Nothing, text.to_owned()));
        }
        // One within a cell that is not quoted, at the end of a block, too.
        for marks in ["5\" pipe\n", "5\"\n"] {
            let rows = format!("a,b\n1,{marks}2,x\n");
            assert_eq!(mended_as(&rows, true, csv), (Tail::Nothing, rows.clone()));
        }
        // Quotation marks are others' business in TSV.
        let (text, torn) = ("a\tb\n\"\t1\n", "2");
        let cut = (Tail::Torn(1), text.to_owned());
        assert_eq!(
            mended_as(&format!("{text}{torn}"), true, Some(Kind::Tsv)),
            cut
        );
        let block = format!("{}\n\"{}", "x".repeat(70_000), "y".repeat(70_000));
        let (tail, left) = mended_as(&block, true, csv);
        assert_eq!((tail, left.len()), (Tail::Torn(70_001), 70_001));
    }

    #[test]
    fn any_other_line_is_given_its_end() {
        for line in ["a note", "{\"a\":1}", "[1,2", "00:28:07Z  /a  1", " {"] {
            for is_alone in [true, false] {
                let text = format!("first\n{line}");
                let ended = (Tail::Line, format!("{text}\n"));
                assert_eq!(mended(&text, is_alone), ended, "{text}");
            }
        }
        for whole in ["", "\n", "{\"a\"\n"] {
            assert_eq!(mended(whole, true), (Tail::Nothing, whole.to_owned()));
        }
    }

    #[test]
    fn nuls_behind_a_whole_line_are_cut_off_and_it_is_given_its_end() {
        for line in ["{\"a\":1}", "a note", "00:28:07Z  /a  1"] {
            let text = format!("first\n{line}{}", "\0".repeat(5000));
            let cut = (Tail::Torn(5000), format!("first\n{line}\n"));
            assert_eq!(mended(&text, true), cut);
            let left = (Tail::TornInUse(5000), format!("{text}\n"));
            assert_eq!(mended(&text, false), left);
        }
    }

    #[test]
    fn a_file_that_becomes_shorter_meanwhile_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "{\"a\"").unwrap();
        let file = File::open(&path).unwrap();
        let error = find(&file, 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(find(&file, 4).unwrap(), Found { start: 0, end: 0 });
        let (file, at, end) = (&file, 0, 100);
        let mut text = Vec::new();
        let error = Range { file, at, end }.read_to_end(&mut text).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(text, b"{\"a\"");
    }

    #[test]
    fn a_torn_record_that_grows_is_not_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "{\"a\"").unwrap();
        let mut file = File::options().read(true).append(true).open(&path).unwrap();
        let Found { end, .. } = find(&file, 4).unwrap();
        file.write_all(b":1}\n").unwrap();
        assert!(!cut(&file, 4, end).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":1}\n");
        assert_eq!(repair(&file, true, None).unwrap(), Tail::Nothing);
        assert!(cut(&file, 8, 0).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn a_file_with_a_wrong_length_is_abandoned() {
        // In sysfs(5) each is said to fill a page.
        let Ok(file) = File::open("/sys/kernel/uevent_seqnum") else {
            eprintln!("not run: there is no such file here");
            return;
        };
        let error = repair(&file, false, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "{\"a\"").unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        assert!(repair(&file, true, None).is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "{\"a\"");
    }
}
