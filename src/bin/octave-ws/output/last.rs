//! Reads from the last records of a file when the previous run ended.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use crate::output::tail::last_line;

/// Records of a run that was cut off amid a loss are looked for in so many bytes.
const LOOKED_AT: u64 = 16 << 20;

/// Length of the part of a record that is read.
const HEAD: usize = 192;

/// Returns since when events may be missing in a file to which nothing more was written: since its
/// last record, or since a loss that had no end yet. The records of a run that reported no gap for the
/// time before it are used only where there are no older ones. `None` where the last line is no record,
/// or cannot be read.
pub(super) fn missing_since(file: &File) -> Option<SystemTime> {
    let length = file.metadata().ok()?.len();
    let (mut since, mut last) = (None, None);
    // From when on a run was not running that told so.
    let mut paused = None;
    let mut end = length;
    while end > length.saturating_sub(LOOKED_AT) {
        let start = last_line(file, end - 1).ok()?;
        let mut head = [0; HEAD];
        let length = HEAD.min(usize::try_from(end - start).ok()?);
        file.read_exact_at(&mut head[..length], start).ok()?;
        let head = Head::of(&head[..length]);
        end = start;
        let Some(head) = head else {
            last?;
            continue;
        };
        if since.is_none() {
            since = Some(date(head.at)?);
            last = since;
        }
        let from = head.from.and_then(date);
        match head.kind {
            // The one that came before such a pause is over with it.
            "lost" if paused.is_none_or(|paused| from > Some(paused)) => return from,
            "gap" if paused.is_none() && head.is_pause => paused = from,
            "lost" | "gap" | "handover" | "summary" => break,
            "connected" if paused.is_none() => since = None,
            _ => {}
        }
    }
    since.or(last)
}

/// The beginning of a record, as [`Lines`](super::record::Lines) writes it.
struct Head<'a> {
    at: &'a str,
    kind: &'a str,
    from: Option<&'a str>,
    /// Whether it is a gap because there was no run.
    is_pause: bool,
}

impl<'a> Head<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        // The members read are ASCII; after them, a character may be cut.
        let valid = std::str::from_utf8(line).map_or_else(|error| error.valid_up_to(), str::len);
        let line = std::str::from_utf8(&line[..valid]).ok()?;
        let (at, rest) = line
            .strip_prefix(r#"{"at":""#)?
            .split_once(r#"","kind":""#)?;
        let (kind, rest) = rest.split_once('"')?;
        let from = rest.strip_prefix(r#","from":""#);
        let from = from.and_then(|rest| Some(rest.split_once('"')?.0));
        let is_pause = rest.trim_end().ends_with(r#""reason":"not running"}"#);
        Some(Self {
            at,
            kind,
            from,
            is_pause,
        })
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
        let handover = record(6, r#""handover","from":"2026-01-01T00:00:01.000Z""#);
        let summary = record(7, r#""summary","events":1"#);
        let subscribed = record(5, r#""subscribed","stream":"s1""#);
        let later = record(
            5,
            r#""lost","from":"2026-01-01T00:00:04.000Z","reason":"x""#,
        );
        let pause = record(
            6,
            r#""gap","from":"2026-01-01T00:00:02.000Z","to":"2026-01-01T00:00:06.000Z","reason":"not running""#,
        );
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
            // A run that was cut off after a handover, and amid one.
            (
                vec![event(1), connected.clone(), event(5), handover, event(8)],
                at(8),
            ),
            (vec![event(1), connected.clone(), event(5)], at(1)),
            (vec![event(6), summary], at(7)),
            // The first run, and others without a record of their pause.
            (vec![connected.clone(), subscribed.clone()], at(5)),
            (vec![event(1), connected.clone()], at(1)),
            (vec![connected.clone(), event(1), connected.clone()], at(1)),
            (
                vec![event(1), connected.clone(), subscribed.clone(), event(8)],
                at(1),
            ),
            (
                [
                    &[event(1), connected.clone()][..],
                    &[connected.clone(), event(8)],
                ]
                .concat(),
                at(1),
            ),
            (
                vec![event(1), connected.clone(), pause.clone(), event(8)],
                at(8),
            ),
            (vec![lost.clone(), connected.clone(), pause.clone()], at(6)),
            // A loss of the run itself.
            (
                vec![
                    event(1),
                    connected.clone(),
                    later,
                    connected,
                    pause,
                    event(8),
                ],
                at(4),
            ),
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
        // A transient refusal leaves a loss open, while other streams send.
        assert_eq!(since(&[lost, long.clone(), long].concat()), at(2));
    }
}
