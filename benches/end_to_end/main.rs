//! What it costs to receive events, in comparison with other clients and with the least that it can
//! cost.
//!
//! `cargo bench --bench end_to_end -- [--check] [--runs N] [ROW...]` prints a table of the rows whose
//! name contains one of the words. With `--check`, it fails where a bar is missed.

use std::env;
use std::process::{Command, ExitCode, Stdio};

use crate::measure::Usage;
use crate::service::{Events, Records, Service};

mod floor;
mod measure;
mod service;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";

const CLIENT: &str = env!("CARGO_BIN_EXE_octave-ws");

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    /// `octave-ws listen` with this format, into /dev/null or a pipe.
    Client(&'static str, Out),
    /// websocat, if it is installed.
    Websocat,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Out {
    Null,
    Pipe,
}

const EVENT: Peer = Peer::Client("event", Out::Null);

/// One measurement.
struct Row {
    name: &'static str,
    events: u32,
    size: usize,
    records: Records,
    /// Who is measured.
    peer: Peer,
    /// In comparison with whom, and how many times its CPU time is allowed.
    bars: &'static [(Peer, f64)],
}

const ROWS: [Row; 8] = [
    Row {
        name: "350 B, full records",
        events: 1_000_000,
        size: 350,
        records: Records::Full,
        peer: EVENT,
        bars: &[(Peer::Websocat, 0.5)],
    },
    Row {
        name: "350 B, a record each",
        events: 1_000_000,
        size: 350,
        records: Records::Single,
        peer: EVENT,
        bars: &[(Peer::Websocat, 0.25)],
    },
    Row {
        name: "350 B, compressed",
        events: 1_000_000,
        size: 350,
        records: Records::Compressed,
        peer: EVENT,
        bars: &[],
    },
    Row {
        name: "10 KB",
        events: 100_000,
        size: 10_000,
        records: Records::Full,
        peer: EVENT,
        bars: &[(Peer::Websocat, 0.75)],
    },
    Row {
        name: "1 MB",
        events: 1_000,
        size: 1_000_000,
        records: Records::Full,
        peer: EVENT,
        bars: &[(Peer::Websocat, 0.6)],
    },
    Row {
        name: "350 B, into a pipe",
        events: 1_000_000,
        size: 350,
        records: Records::Full,
        peer: Peer::Client("event", Out::Pipe),
        bars: &[(Peer::Websocat, 0.55)],
    },
    Row {
        name: "350 B, --format record",
        events: 1_000_000,
        size: 350,
        records: Records::Full,
        peer: Peer::Client("record", Out::Null),
        bars: &[(EVENT, 1.2)],
    },
    Row {
        name: "350 B, --format text",
        events: 1_000_000,
        size: 350,
        records: Records::Full,
        peer: Peer::Client("text", Out::Null),
        bars: &[(EVENT, 2.5)],
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("floor") => floor::run(),
        Some("measure") => measure::run(&args[1], args[2] == "pipe", &args[3..]),
        _ => return compare(&args),
    }
    ExitCode::SUCCESS
}

/// Prints the table. Fails where a bar is missed and that is asked for.
fn compare(args: &[String]) -> ExitCode {
    let mut is_check = false;
    let mut runs = 5;
    let mut words = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // By cargo.
            "--bench" => {}
            "--check" => is_check = true,
            "--runs" => runs = args.next().and_then(|n| n.parse().ok()).expect("--runs N"),
            word => words.push(word),
        }
    }
    let has_websocat = Command::new("websocat")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !has_websocat {
        println!("websocat is left out: cargo install websocat\n");
    }
    println!("CPU time for an event (user and system), the median of {runs} runs in turn\n");
    println!("|  | octave-ws | in comparison with | ratio | bar | |");
    println!("|---|---|---|---|---|---|");
    let mut is_missed = false;
    let wanted = |row: &&Row| words.is_empty() || words.iter().any(|word| row.name.contains(word));
    for row in ROWS.iter().filter(wanted) {
        let bars = row.bars.iter();
        let bars: Vec<_> = bars
            .filter(|(peer, _)| has_websocat || *peer != Peer::Websocat)
            .collect();
        let mut times = vec![Vec::new(); 1 + bars.len()];
        for _ in 0..runs {
            let peers = [row.peer].into_iter().chain(bars.iter().map(|bar| bar.0));
            for (times, peer) in times.iter_mut().zip(peers) {
                times.push(row.run(peer).cpu.as_secs_f64());
            }
        }
        let times: Vec<f64> = times.into_iter().map(median).collect();
        let each = |time: f64| format!("{:.2} µs", time * 1e6 / f64::from(row.events));
        if bars.is_empty() {
            println!("| {} | {} | | | | |", row.name, each(times[0]));
        }
        for ((peer, bar), time) in bars.iter().zip(&times[1..]) {
            let ratio = times[0] / time;
            let verdict = if ratio <= *bar { "" } else { "missed" };
            is_missed |= ratio > *bar;
            println!(
                "| {} | {} | {peer}: {} | {ratio:.2} | {bar:.2} | {verdict} |",
                row.name,
                each(times[0]),
                each(*time),
            );
        }
    }
    if words.is_empty() || words.contains(&"instructions") {
        is_missed |= count_instructions();
    }
    if words.is_empty() || words.contains(&"memory") {
        is_missed |= compare_memory(runs);
    }
    ExitCode::from(u8::from(is_check && is_missed))
}

/// Prints how many instructions an event takes, which no other program on the machine changes. Returns
/// whether those are too many. What tungstenite and rustls take of them differs with the CPU: how it
/// decrypts and copies.
fn count_instructions() -> bool {
    const BARS: [(u32, usize, u64); 2] = [(40_000, 350, 3_400), (4_000, 10_000, 5_000)];

    let has_valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if has_valgrind.is_err() {
        println!("\ninstructions are left out: install valgrind");
        return false;
    }
    let mut is_missed = false;
    println!("\nInstructions an event, by callgrind\n");
    println!("| bytes | octave-ws | tungstenite over rustls | more | bar | |");
    println!("|---|---|---|---|---|---|");
    let own = env::current_exe().unwrap();
    let own = [own.to_str().unwrap(), "floor"];
    let client = [CLIENT, "listen", TEMPERATURE, "--no-reconnect", "-q"];
    for (events, size, bar) in BARS {
        let [client, floor] = [&client[..], &own].map(|program| {
            // The fixed cost cancels.
            let [some, twice] = [events, 2 * events].map(|n| instructions(program, n, size));
            (twice - some) / u64::from(events)
        });
        let more = client.saturating_sub(floor);
        is_missed |= more > bar;
        let verdict = if more > bar { "missed" } else { "" };
        println!("| {size} | {client} | {floor} | {more} | {bar} | {verdict} |");
    }
    is_missed
}

fn instructions(program: &[&str], events: u32, size: usize) -> u64 {
    let service = Service::start(Events {
        count: events,
        size,
        records: Records::Full,
    });
    let mut valgrind = Command::new("valgrind");
    service.configure(&mut valgrind);
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.args(program);
    let output = valgrind.stdout(Stdio::null()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let collected = told.split("Collected : ").nth(1);
    let count = collected.and_then(|rest| rest.split_whitespace().next());
    let count = count.unwrap_or_else(|| panic!("{told}"));
    count.parse().unwrap()
}

/// Prints how much memory one long message takes. Returns whether that is too much.
fn compare_memory(runs: usize) -> bool {
    const LONG: u64 = 15 << 20;
    const MORE: u64 = 2 << 20;

    let mut is_missed = false;
    println!("\nThe most memory with one message of 15 MiB, beyond that with a short one\n");
    println!("| format | more | bar | |");
    println!("|---|---|---|---|");
    for format in ["event", "message", "record", "text"] {
        let peak = |size: u64| {
            let row = Row {
                name: format,
                events: 1,
                size: usize::try_from(size).expect("a size"),
                records: Records::Full,
                peer: EVENT,
                bars: &[],
            };
            let peaks = (0..runs).map(|_| row.run(Peer::Client(format, Out::Pipe)).peak);
            let mut peaks: Vec<u64> = peaks.collect();
            peaks.sort_unstable();
            peaks[peaks.len() / 2]
        };
        let more = peak(LONG).saturating_sub(peak(300));
        let is_too_much = more > LONG + MORE;
        is_missed |= is_too_much;
        let verdict = if is_too_much { "missed" } else { "" };
        let mib = |bytes: u64| format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20);
        println!(
            "| {format} | {} | {} | {verdict} |",
            mib(more),
            mib(LONG + MORE)
        );
    }
    is_missed
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Row {
    /// Runs a peer against a service of its own.
    fn run(&self, peer: Peer) -> Usage {
        let own = env::current_exe().unwrap();
        let service = Service::start(Events {
            count: self.events,
            size: self.size,
            records: self.records,
        });
        let file = service.folder().join("usage");
        let mut command = Command::new(&own);
        service.configure(&mut command).arg("measure").arg(&file);
        // All peers write to the same.
        let out = match self.peer {
            Peer::Client(_, Out::Pipe) => "pipe",
            _ => "null",
        };
        command.arg(out);
        match peer {
            Peer::Client(format, _) => {
                let listen = ["listen", TEMPERATURE, "--no-reconnect", "-q"];
                command.arg(CLIENT).args(listen).args(["--format", format])
            }
            Peer::Websocat => command.args(["sh", "-c", WEBSOCAT, CLIENT, TEMPERATURE]),
        };
        let status = command.status().unwrap();
        assert!(status.success(), "{peer:?}: {status}");
        measure::read(&file)
    }
}

/// Subscribes and prints all messages.
const WEBSOCAT: &str = r#"url=$("$0" session --url)
echo '{"msgId":"1","object":"event","type":"subscribe","path":"'"$1"'"}' |
    exec websocat --insecure --no-close --text "$url""#;

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client(..) => "--format event",
            Self::Websocat => "websocat",
        })
    }
}
