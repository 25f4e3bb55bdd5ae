//! A long run with `--fill` and `--state`, under random faults, restarts and kills: what was published
//! against what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use octave_ws::sim::{Fault, Options, Sim};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::seed::{Random, seed};
use super::{await_subscription, kill, octave_ws, start_with, stderr};
use crate::patience::until;

const STREAMS: [&str; 2] = [
    "/demo/devices/gw1/temperature",
    "/demo/devices/gw1/humidity",
];

/// Faults that end within the time that a run waits for its history.
const FAULTS: [&str; 8] = [
    "history-500",
    "history-429",
    "history-html",
    "history-torn",
    "history-capped",
    "history-doubled",
    "history-behind",
    "history-ahead",
];

/// The time of a run, unless it is to be a longer one.
const SECONDS: u64 = 20;

/// Interval between the events of a stream.
const BETWEEN: Duration = Duration::from_millis(20);

struct Soak {
    sim: Sim,
    /// When each event of each stream was published.
    published: BTreeMap<&'static str, Vec<SystemTime>>,
}

impl Soak {
    fn publish(&mut self) {
        for path in STREAMS {
            let dates = self.published.entry(path).or_default();
            dates.push(SystemTime::now());
            self.sim.publish(path, &json!({ "n": dates.len() - 1 }));
        }
    }

    fn publish_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.publish();
            thread::sleep(BETWEEN);
        }
    }

    fn listen(&self, folder: &Path) -> Child {
        let [file, state] = ["file", "state"].map(|name| folder.join(name));
        let mut command = octave_ws(&self.sim, &["listen", "-q", "-F", "record"]);
        command
            .args(STREAMS)
            .arg("-o")
            .arg(file)
            .arg("--state")
            .arg(state);
        command.spawn().unwrap()
    }
}

fn soak(has_kills: bool) {
    let seconds = std::env::var("OCTAVE_SOAK_SECONDS");
    let seconds = seconds.map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let mut random = Random::new(seed(1));
    let (sim, seen) = start_with(Options::default().capacity(100_000));
    let folder = tempfile::tempdir().unwrap();
    let mut soak = Soak {
        sim,
        published: BTreeMap::new(),
    };
    let mut child = soak.listen(folder.path());
    await_subscription(&seen);
    await_subscription(&seen);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let fault = FAULTS[random.below(FAULTS.len())];
        let kinds = if has_kills { 6 } else { 5 };
        match random.below(kinds) {
            0 => _ = soak.sim.drop_all(),
            1 => _ = soak.sim.close_all(1001),
            2 => {
                soak.sim.set_faults(&[fault.parse::<Fault>().unwrap()]);
                soak.sim.drop_all();
                soak.publish_for(Duration::from_millis(500));
                soak.sim.set_faults(&[]);
            }
            3 => {
                kill(&child, Signal::TERM);
                let output = child.wait_with_output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
                soak.publish_for(Duration::from_millis(random.below(1500) as u64));
                child = soak.listen(folder.path());
            }
            5 => {
                kill(&child, Signal::KILL);
                child.wait_with_output().unwrap();
                soak.publish_for(Duration::from_millis(random.below(1500) as u64));
                child = soak.listen(folder.path());
            }
            _ => {}
        }
        soak.publish_for(Duration::from_millis(random.below(3000) as u64));
    }
    soak.publish();
    let file = folder.path().join("file");
    let last: Vec<u64> = soak
        .published
        .values()
        .map(|dates| dates.len() as u64 - 1)
        .collect();
    until("the last events are there", || {
        let seen = written(&file).0;
        let newest = STREAMS.map(|path| {
            seen.get(path)
                .and_then(|numbers| numbers.iter().max().copied())
        });
        newest.iter().flatten().copied().collect::<Vec<u64>>() == last
    });
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    check(&soak, &file, has_kills);
}

/// The numbers of the events of each stream, in order, and the gaps.
fn written(file: &Path) -> (BTreeMap<String, Vec<u64>>, Vec<Value>) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let (mut events, mut gaps) = (BTreeMap::<String, Vec<u64>>::new(), Vec::new());
    for line in whole.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        match record["kind"].as_str() {
            Some("event") => {
                let path = record["event"]["path"].as_str().unwrap();
                let n = record["event"]["elems"]["n"].as_u64().unwrap();
                events.entry(path.to_owned()).or_default().push(n);
            }
            Some("gap") => gaps.push(record),
            _ => {}
        }
    }
    (events, gaps)
}

fn check(soak: &Soak, file: &Path, has_kills: bool) {
    let (events, gaps) = written(file);
    let date = |gap: &Value, name| humantime::parse_rfc3339(gap[name].as_str().unwrap()).unwrap();
    let second = Duration::from_secs(1);
    for (path, dates) in &soak.published {
        let numbers = &events[*path];
        let once: BTreeSet<u64> = numbers.iter().copied().collect();
        let is_told = |at: SystemTime| {
            gaps.iter().any(|gap| {
                let is_its = gap["stream"].is_null() || gap["stream"] == json!(path);
                is_its && date(gap, "from") <= at + second && at <= date(gap, "to") + second
            })
        };
        for (n, at) in dates.iter().enumerate() {
            assert!(
                once.contains(&(n as u64)) || is_told(*at),
                "{path}: {n} is missing: {gaps:?}"
            );
        }
        if !has_kills {
            assert_eq!(once.len(), numbers.len(), "{path}: twice");
            assert!(numbers.is_sorted(), "{path}: out of order: {numbers:?}");
        }
        let twice = numbers.len() - once.len();
        println!(
            "{path}: published {}, twice {twice}, gaps {}",
            dates.len(),
            gaps.len()
        );
    }
}

#[test]
fn nothing_is_missing_twice_or_out_of_order() {
    soak(false);
}

#[test]
fn after_kills_nothing_is_missing() {
    soak(true);
}
