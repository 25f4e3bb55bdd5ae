//! A logger that keeps everything, of every crate: neither the token nor a session id is in it.
//!
//! By itself, since a process has one logger.
#![cfg(feature = "sim")]

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use octave_ws::sim::{Fault, Sim};
use octave_ws::{Client, ErrorKind, SessionId};
use serde_json::json;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const LONG: Duration = Duration::from_secs(60);

struct Keeper(Mutex<String>);

static KEEPER: Keeper = Keeper(Mutex::new(String::new()));

impl Log for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(kept, "{} {}", record.target(), record.args()).unwrap();
    }

    fn flush(&self) {}
}

/// What was logged, and the bytes of what was dumped in hex, row by row.
fn kept() -> (String, Vec<u8>) {
    let text = KEEPER.0.lock().unwrap().clone();
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("ureq_proto")) {
        // `TARGET 4854 5450 ... HTTP....`
        let pairs = line.split(' ').skip(1).take_while(|pair| pair.len() == 4);
        for pair in pairs {
            let byte = |at| u8::from_str_radix(&pair[at..at + 2], 16).ok();
            bytes.extend(byte(0).into_iter().chain(byte(2)));
        }
    }
    (text, bytes)
}

fn assert_hidden(secret: &str) {
    let (text, bytes) = kept();
    assert!(!text.contains(secret), "{secret}: {text}");
    let is_secret = |part: &[u8]| part == secret.as_bytes();
    let dumped = String::from_utf8_lossy(&bytes);
    assert!(!bytes.windows(secret.len()).any(is_secret), "{dumped}");
}

#[test]
fn a_logger_that_keeps_everything_has_no_secret() {
    log::set_logger(&KEEPER).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let sim = Sim::start().unwrap();
    let config = sim.config().connect_timeout(LONG);

    // Both legs, an event and a leave.
    let mut client = Client::connect(&config).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    sim.publish(TEMPERATURE, &json!(1));
    client.next(LONG).unwrap();
    client.close().unwrap();
    let id = SessionId::request(&config).unwrap();
    assert_hidden(sim.token());
    assert_hidden(id.expose_secret());
    // What the ids are made of, to find those that were not told.
    let (text, bytes) = kept();
    assert!(bytes.starts_with(b"POST /session HTTP/1.1\r\n"), "{text}");
    assert!(bytes.windows(4).any(|part| part == b"201 "), "{text}");
    assert!(!bytes.windows(6).any(|part| part == b"\"body\""), "{text}");

    // A service that gives it back, in its head and its body, chunked and not.
    let echo = sim.token();
    for (answer, kind) in [
        (
            format!("HTTP/1.1 400 {echo}\r\nX-Echo: {echo}\r\nLocation: /{echo}\r\n\r\n{echo}"),
            ErrorKind::Refused,
        ),
        (
            format!(
                "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a={echo}\r\n\r\n\
                 {:x}\r\n{echo}\r\n0\r\n\r\n",
                echo.len()
            ),
            ErrorKind::Refused,
        ),
        (
            format!("HTTP/1.1 302 No\r\nLocation: https://h/?{echo}\r\nContent-Length: 0\r\n\r\n"),
            ErrorKind::Status(302),
        ),
    ] {
        sim.set_faults(&[Fault::SessionRaw(answer.leak())]);
        let error = Client::connect(&config).err().unwrap();
        assert_eq!(error.kind(), kind);
        assert!(!error.report().contains(echo), "{}", error.report());
    }
    let (_, bytes) = kept();
    assert!(bytes.windows(4).any(|part| part == b"302 "));
    assert_hidden(echo);
}
