//! What the records of a file say of its end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use crate::output::tail::last_line;

/// Records of a run that was cut off amid a loss are looked for in so many bytes.
const LOOKED_AT: u64 = 16 << 20;

/// As long as what is of interest at the beginning of a record.
const HEAD: usize = 128;

/// Returns since when events may be missing in a file to which nothing more was written: since its
/// last record, or since a loss that had no end yet. `None` where its last line is no record, or
/// where it cannot be read.
pub(super) fn missing_since(file: &File) -> Option<SystemTime> {
    let length = file.metadata().ok()?.len();
    let mut since = None;
    let mut end = length;
    while end > length.saturating_sub(LOOKED_AT) {
        let start = last_line(file, end - 1).ok()?;
        let mut head = [0; HEAD];
        let length = HEAD.min(usize::try_from(end - start).ok()?);
        file.read_exact_at(&mut head[..length], start).ok()?;
        let head = Head::of(&head[..length]);
        if since.is_none() {
            since = Some(date(head.as_ref()?.at)?);
        }
        match head {
            Some(head) if head.kind == "lost" => return head.from.and_then(date),
            Some(head) if matches!(head.kind, "gap" | "summary") => break,
            _ => end = start,
        }
    }
    since
}

/// The beginning of a record, as [`Lines`](super::record::Lines) writes it.
struct Head<'a> {
    at: &'a str,
    kind: &'a str,
    from: Option<&'a str>,
}

impl<'a> Head<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        // What is of interest is ASCII; behind it, a character may be cut.
        let valid = std::str::from_utf8(line).map_or_else(|error| error.valid_up_to(), str::len);
        let line = std::str::from_utf8(&line[..valid]).ok()?;
        let (at, rest) = line
            .strip_prefix(r#"{"at":""#)?
            .split_once(r#"","kind":""#)?;
        let (kind, rest) = rest.split_once('"')?;
        let from = rest.strip_prefix(r#","from":""#);
        let from = from.and_then(|rest| Some(rest.split_once('"')?.0));
        Some(Self { at, kind, from })
    }
}

fn date(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn since(text: &str) -> Option<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let since = missing_since(&file)?;
        Some(humantime::format_rfc3339_millis(since).to_string())
    }

    fn record(second: u32, rest: &str) -> String {
        format!("{{\"at\":\"2026-01-01T00:00:{second:02}.000Z\",\"kind\":{rest}}}\n")
    }

    #[test]
    fn events_are_missing_since_the_last_record_or_a_loss_before_it() {
        let event = |second| record(second, r#""event","resource":"s1","event":{"n":1}"#);
        let lost = record(3, r#""lost","from":"2026-01-01T00:00:02.000Z","reason":"x"#);
        let gap = record(5, r#""gap","from":"2026-01-01T00:00:02.000Z","to":"x""#);
        let connected = record(4, r#""connected","peer":"\u{e4}""#);
        let summary = record(7, r#""summary","events":1"#);
        let at = |second: u32| Some(format!("2026-01-01T00:00:{second:02}.000Z"));
        for (lines, wanted) in [
            (vec![], None),
            (vec!["text\n".to_owned()], None),
            (vec!["{}\n".to_owned()], None),
            (vec![event(1)], at(1)),
            (vec![event(1), lost.clone()], at(2)),
            (
                vec![event(1), lost.clone(), connected.clone(), event(4)],
                at(2),
            ),
            (vec![event(1), lost.clone(), gap.clone()], at(5)),
            (vec![event(1), lost.clone(), gap, event(6)], at(6)),
            (vec![lost.clone(), summary.clone(), event(8)], at(8)),
            (vec![event(6), summary], at(7)),
        ] {
            assert_eq!(since(&lines.concat()), wanted, "{lines:?}");
        }
        let long = record(
            9,
            &format!(
                r#""event","resource":"s1","event":"{}""#,
                "\u{e4}".repeat(1 << 20)
            ),
        );
        assert_eq!(since(&long), at(9));
        assert_eq!(since(&[long.clone(), long.clone()].concat()), at(9));
        // A stream that is refused for now leaves a loss open, while others send.
        assert_eq!(since(&[lost, long.clone(), long].concat()), at(2));
    }
}
