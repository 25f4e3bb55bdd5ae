//! Reads the streams of a run.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::str::FromStr;

use octave_ws::Stream;

use crate::exit::Failure;
use crate::wait::source::{self, FILES};

/// The sources of streams.
pub(crate) struct Sources {
    pub(crate) given: Vec<Stream>,
    /// `-` for standard input.
    pub(crate) file: Option<String>,
    pub(crate) shard: Option<Shard>,
}

impl Sources {
    /// Returns whether there may be other streams later.
    pub(crate) fn can_change(&self) -> bool {
        self.file.as_ref().is_some_and(|path| path != "-")
    }

    /// Returns the streams that are given and those of the file, each once, of which all or one
    /// share are taken. That may hold none.
    ///
    /// # Errors
    /// 78 for an unreadable file, 64 for an invalid line, and for an empty list.
    pub(crate) fn resolve(&self) -> Result<Vec<Stream>, Failure> {
        let file = self.file.as_deref().map(|path| {
            let file = match path {
                "-" => (FILES.stdin)(),
                path => source::open(Path::new(path)),
            };
            (path, file)
        });
        resolve(self.given.clone(), file, self.shard)
    }

    /// Resolves them again, by a file that may have changed.
    pub(crate) fn resolve_again(&self) -> Result<Vec<Stream>, Failure> {
        let file = self.file.as_deref();
        let file = file.map(|path| (path, FILES.open_again(Path::new(path))));
        resolve(self.given.clone(), file, self.shard)
    }
}

fn resolve(
    given: Vec<Stream>,
    file: Option<(&str, io::Result<File>)>,
    shard: Option<Shard>,
) -> Result<Vec<Stream>, Failure> {
    let mut streams = given;
    let path = file.as_ref().map(|&(path, _)| path);
    if let Some((path, file)) = file {
        let name = named(path);
        let text = file
            .and_then(|file| FILES.text_of(&file))
            .map_err(|error| Failure::unreadable(&format!("streams of {name}"), &error))?;
        streams.extend(listed(&text, &name).map_err(Failure::usage)?);
    }
    if streams.is_empty() {
        return Err(Failure::usage(match path {
            Some(path) => format!("no stream in {}: give one per line", named(path)),
            None => {
                "no stream: give an id (s and 24 hex digits) or a path (it begins with /)".into()
            }
        }));
    }
    let mut streams = each_once(streams);
    if let Some(shard) = shard {
        let all = streams.len();
        streams.retain(|stream| shard.holds(stream));
        log::info!("shard {shard}: {} of {all} streams", streams.len());
    }
    Ok(streams)
}

/// Removes repeated streams.
pub(crate) fn each_once(mut streams: Vec<Stream>) -> Vec<Stream> {
    let mut seen = HashSet::new();
    streams.retain(|stream| seen.insert(stream.clone()));
    streams
}

fn named(path: &str) -> String {
    match path {
        "-" => "standard input".to_owned(),
        path => format!("{path:?}"),
    }
}

/// Parses a list with one stream per line. `#` at the beginning, or after a space, starts a
/// comment.
fn listed(text: &str, name: &str) -> Result<Vec<Stream>, String> {
    let mut streams = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let blank = |at: usize| {
            line[..at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
        };
        let comment = line.match_indices('#').find(|&(at, _)| blank(at));
        let stream = line[..comment.map_or(line.len(), |(at, _)| at)].trim();
        if !stream.is_empty() {
            let stream = stream.parse();
            streams.push(stream.map_err(|error| format!("{name}, line {number}: {error}"))?);
        }
    }
    Ok(streams)
}

/// A share of all streams, the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Number of the shard, from 1 or from 0: the last one and 0 are the same.
    number: u64,
    of: u64,
}

impl Shard {
    fn holds(self, stream: &Stream) -> bool {
        let hash = fnv_1a(stream.as_str().as_bytes());
        // The low half by itself is a poor one: its lowest bit is the parity of those of the bytes.
        (hash ^ hash >> 32) % self.of == self.number % self.of
    }
}

/// FNV-1a, 64 bit (draft-eastlake-fnv).
pub(crate) fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(number, of)| number.parse().ok().zip(of.parse().ok()));
        match numbers {
            Some((number, of)) if of > 0 && number <= of => Ok(Self { number, of }),
            _ => Err("give K/N, such as 1/3, 2/3 or 3/3".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_comments_and_blank_lines() {
        let text = "# ours\n\n /a/b # b\r\n/a#1\n  #\n/c d";
        let listed = listed(text, "FILE").unwrap();
        let listed: Vec<&str> = listed.iter().map(Stream::as_str).collect();
        assert_eq!(listed, ["/a/b", "/a#1", "/c d"]);
    }

    #[test]
    fn a_line_that_names_no_stream_is_named() {
        let error = listed("/a\nb\n", "FILE").unwrap_err();
        assert!(
            error.starts_with("FILE, line 2: \"b\" is not a stream: "),
            "{error}"
        );
    }

    #[test]
    fn a_hash_is_that_of_the_draft() {
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_stream_stays_in_its_shard_for_good() {
        // Another hash would move it to another gateway at an upgrade.
        for (stream, of_three, of_seven) in [
            ("/demo/devices/gw1/temperature", 2, 3),
            ("/demo/devices/gw1/humidity", 2, 2),
            ("/demo/devices/gw1/location", 3, 7),
            ("s0123456789abcdef01234567", 3, 4),
            ("/a", 3, 2),
        ] {
            let stream = stream.parse().unwrap();
            for (number, of) in [(of_three, 3), (of_seven, 7)] {
                assert!(
                    Shard { number, of }.holds(&stream),
                    "{stream} {number}/{of}"
                );
            }
        }
    }

    #[test]
    fn every_stream_is_in_one_shard_and_shards_are_even() {
        for of in 1..=16 {
            let shards: Vec<Shard> = (1..=of).map(|number| Shard { number, of }).collect();
            let mut held = vec![0.0; shards.len()];
            for n in 0..10_000 {
                let stream = format!("/demo/devices/gw{n}/temperature").parse().unwrap();
                let holders: Vec<_> = (0..held.len())
                    .filter(|&k| shards[k].holds(&stream))
                    .collect();
                assert_eq!(holders.len(), 1);
                held[holders[0]] += 1.0;
            }
            let share = 10_000.0 / f64::from(u32::try_from(of).unwrap());
            assert!(
                held.iter().all(|&n| (0.85..1.15).contains(&(n / share))),
                "{held:?}"
            );
        }
    }

    #[test]
    fn a_shard_is_one_of_so_many() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, of: 3 }));
        let [first, last]: [Shard; 2] = ["0/3", "3/3"].map(|text| text.parse().unwrap());
        let streams = (0..100).map(|n| format!("/{n}").parse().unwrap());
        assert!({ streams }.all(|stream| first.holds(&stream) == last.holds(&stream)));
        for text in ["0/0", "4/3", "1", "1/", "/", "1/0", "-1/3", "1/3/4"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
