//! The built program against a service that plays histories of faults, judged by what was sent.
//!
//! A hundred histories, drawn from the seeds 1 to 100. `OCTAVE_TEST_SEED=7` plays that one alone,
//! `OCTAVE_TEST_SEED=1000..2000` as many as these.
//!
//! What it does not play: unsubscriptions before the end, which only a library's caller asks for, and
//! streams by the hundreds, whose answers take longer than a history may.
#![cfg(all(feature = "cli", feature = "sim"))]

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;

use crate::seed::Random;
use crate::service::{Log, Service};

mod peer;
#[path = "../raw/mod.rs"]
mod raw;
#[path = "../seed/mod.rs"]
mod seed;
mod service;

/// As many at a time: they wait most of the time.
const AT_ONCE: usize = 12;

const TOKEN: &str = "a-token-that-nobody-may-see";

/// How much the clocks of two processes that wait for a CPU may differ.
const TOLERANCE: Duration = Duration::from_millis(50);

/// As long as no end takes.
const STUCK: Duration = Duration::from_secs(20);

/// No run takes as long.
const LONG: Duration = Duration::from_secs(90);

fn seeds() -> Range<u64> {
    let Ok(seeds) = std::env::var("OCTAVE_TEST_SEED") else {
        return 1..101;
    };
    if let Some((first, end)) = seeds.split_once("..") {
        return first.parse().unwrap()..end.parse().unwrap();
    }
    let seed = seeds.parse().unwrap();
    seed..seed + 1
}

#[test]
fn every_sent_event_is_printed_or_lies_in_a_gap() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    if let Err(failure) = play(seed) {
                        let failure = format!("OCTAVE_TEST_SEED={seed}: {failure}");
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// A certificate that signs itself, as PEM, and who has it.
fn certificate() -> (String, Arc<ServerConfig>) {
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    (certificate.pem(), Arc::new(config))
}

/// What a run has left.
struct Run {
    lines: String,
    told: String,
    code: Option<i32>,
    /// The time of SIGTERM, and how long the stop took.
    stopped_at: SystemTime,
    took: Duration,
    /// Whether an earlier one has left lines, too.
    is_killed: bool,
}

fn kill(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let _ = kill_process(pid, signal);
}

/// Ends a program by SIGTERM. Returns its exit code, and how long it took.
fn terminate(mut child: Child) -> (Option<i32>, Duration) {
    let begun = Instant::now();
    kill(&child, Signal::TERM);
    while child.try_wait().unwrap().is_none() && begun.elapsed() < STUCK {
        thread::sleep(Duration::from_millis(1));
    }
    let took = begun.elapsed();
    let _ = child.kill();
    (child.wait().unwrap().code(), took)
}

fn play(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let is_tls = random.below(2) == 0;
    let (pem, config) = certificate();
    fs::write(folder.path().join("ca.pem"), pem).unwrap();
    let log = Arc::new(Mutex::new(Log::default()));
    let (sender, last) = mpsc::channel();
    let service = Service::new(
        seed,
        listener,
        is_tls.then_some(config),
        Arc::clone(&log),
        sender,
    );
    let client = Arc::clone(&service.client);
    let is_over = Arc::clone(&service.is_over);

    let file = folder.path().join("events.jsonl");
    let output = if random.below(2) == 0 {
        Some(file.as_path())
    } else {
        None
    };
    let is_slow = output.is_none() && random.below(3) == 0;
    let scheme = if is_tls { "https" } else { "http" };
    let mut command = Command::new(env!("CARGO_BIN_EXE_octave-ws"));
    command
        .args([
            "listen",
            "/a",
            "-Frecord",
            "--allow-plaintext",
            "--ping-interval=700ms",
        ])
        .args([
            "--ping-timeout=700ms",
            "--connect-timeout=5s",
            "--ack-timeout=5s",
        ])
        .args(output.map(|path| format!("--output={}", path.display())))
        .env_clear()
        .env("OCTAVE_ENDPOINT", format!("{scheme}://{addr}"))
        .env("OCTAVE_CA_FILE", folder.path().join("ca.pem"))
        .env("OCTAVE_COMPANY", "demo")
        .env("OCTAVE_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    client.store(i32::try_from(child.id()).unwrap(), Ordering::SeqCst);
    let service = thread::spawn(move || service.run());
    let stdout = child.stdout.take().unwrap();
    let reader = thread::spawn(move || read(stdout, is_slow));
    let stderr = child.stderr.take().unwrap();
    let told = thread::spawn(move || io::read_to_string(stderr).unwrap());

    let mut found = last.recv_timeout(LONG);
    let is_killed = output.is_some() && random.below(2) == 0;
    if is_killed {
        // The next run appends to the same file.
        thread::sleep(Duration::from_millis(random.below(200) as u64));
        kill(&child, Signal::KILL);
        child.wait().unwrap();
        thread::sleep(Duration::from_millis(random.below(500) as u64));
        child = command.spawn().unwrap();
        client.store(i32::try_from(child.id()).unwrap(), Ordering::SeqCst);
        found = last.recv_timeout(LONG);
    }
    if let Some(file) = output {
        // A rotation, while events come.
        fs::rename(file, file.with_extension("1")).unwrap();
        kill(&child, Signal::HUP);
    }
    thread::sleep(Duration::from_millis(100 + random.below(400) as u64));
    let stopped_at = SystemTime::now();
    let (code, took) = terminate(child);
    is_over.store(true, Ordering::SeqCst);
    service.join().unwrap();
    let mut lines = reader.join().unwrap();
    if output.is_some() {
        for path in [file.with_extension("1"), file] {
            lines.push_str(&fs::read_to_string(path).unwrap_or_default());
        }
    }
    let told = told.join().unwrap();
    let run = Run {
        lines,
        told,
        code,
        stopped_at,
        took,
        is_killed,
    };
    let log = log.lock().unwrap();
    let judged = found.map_err(|_| "it came to no last connection".to_owned());
    judged.and_then(|()| judge(&run, &log)).map_err(|failure| {
        let (history, told) = (log.history.join(", "), &run.told);
        format!("{failure}\nhistory: {history}\n{told}")
    })
}

/// Reads to the end, with pauses or without.
fn read(mut stdout: impl Read, is_slow: bool) -> String {
    let mut text = Vec::new();
    let mut block = [0; 2048];
    loop {
        match stdout.read(&mut block).unwrap() {
            0 => return String::from_utf8(text).unwrap(),
            n => text.write_all(&block[..n]).unwrap(),
        }
        if is_slow {
            thread::sleep(Duration::from_millis(60));
        }
    }
}

fn time(record: &Value, name: &str) -> SystemTime {
    humantime::parse_rfc3339(record[name].as_str().unwrap()).unwrap()
}

fn judge(run: &Run, log: &Log) -> Result<(), String> {
    let check = |is_so: bool, what: String| if is_so { Ok(()) } else { Err(what) };
    check(run.code == Some(0), format!("exit {:?}", run.code))?;
    check(
        run.took < Duration::from_secs(4),
        format!("out after {:?}", run.took),
    )?;
    check(
        log.unanswered_pings == 0,
        "a ping was not answered".to_owned(),
    )?;
    let most = log.connected_at.windows(7);
    let hurried = most
        .filter(|of| of[6] - of[0] < Duration::from_secs(5))
        .count();
    check(hurried == 0, "more than 6 connections in 5 s".to_owned())?;
    let sessions = log.sessions.iter().map(String::as_str);
    for secret in sessions.chain([TOKEN]) {
        let is_told = run.told.contains(secret) || run.lines.contains(secret);
        check(!is_told, format!("{secret} was told"))?;
    }

    let mut printed = vec![false; log.events.len()];
    let (mut events, mut gaps, mut last) = (0_u64, Vec::new(), None);
    let mut handovers = Vec::new();
    let mut summary = None;
    for line in run.lines.lines() {
        let record: Value =
            serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        match record["kind"].as_str() {
            Some("event") => {
                let n = record["event"]["elems"].as_u64().unwrap();
                check(last < Some(n), format!("{n} twice or out of order"))?;
                let at = usize::try_from(n).unwrap();
                check(at < printed.len(), format!("{n} was not sent"))?;
                printed[at] = true;
                last = Some(n);
                events += 1;
            }
            Some("gap") => gaps.push((time(&record, "from"), time(&record, "to"))),
            Some("handover") => {
                handovers.push((time(&record, "from"), time(&record, "to")));
            }
            Some("summary") => summary = Some(record),
            _ => {}
        }
    }
    let summary = summary.ok_or("no summary")?;
    let is_counted = summary["events"] == events && summary["gaps"] == gaps.len();
    let counted = format!("events {events}, gaps {}: {summary}", gaps.len());
    check(run.is_killed || is_counted, counted)?;
    check(summary["exit"] == 0, summary.to_string())?;
    check(
        gaps.len() < log.connected_at.len() + 1,
        "gaps without a loss".to_owned(),
    )?;
    check(
        run.is_killed || handovers.len() == log.handovers,
        format!("{} handovers of {}", handovers.len(), log.handovers),
    )?;
    let is_proven = |gap: &(SystemTime, SystemTime)| {
        let mut handovers = handovers.iter();
        handovers.any(|handover| {
            gap.0 <= handover.0 && handover.1 <= gap.1 || {
                // A loss of the new connection may begin before it was subscribed.
                gap.0 < handover.0 && handover.0 < gap.1
            }
        })
    };
    check(
        !gaps.iter().any(is_proven),
        format!("a gap where there was a proof: {gaps:?} {handovers:?}"),
    )?;
    for (n, event) in log.events.iter().enumerate() {
        let is_told = |&(from, to): &(SystemTime, SystemTime)| {
            event.at + TOLERANCE >= from && event.at <= to + TOLERANCE
        };
        let is_after = event.at + TOLERANCE >= run.stopped_at;
        if printed[n] || is_after {
            continue;
        }
        check(
            !event.is_due,
            format!("{n} was sent before an end in order, and not printed"),
        )?;
        let at = humantime::format_rfc3339_millis(event.at);
        check(
            gaps.iter().any(is_told),
            format!("{n} of {at} lies in no gap"),
        )?;
    }
    Ok(())
}
