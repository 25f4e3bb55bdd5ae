//! `doctor`: all that it takes to receive events, stage by stage.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use octave_ws::settings::{SettingSources, SettingValue};
use octave_ws::{
    Client, Config, Cost, ErrorKind, History, Phase, Probe, Step, Stop, Stream, Update, clock,
};
use serde_json::{Value, json};

use crate::commands::doctor::certificate::Certificate;
use crate::commands::doctor::report::Report;
use crate::exit::source;
use crate::exit::{Failure, UNAVAILABLE};
use crate::settings::DoctorSettings;
use crate::wait::terminal;

mod certificate;
mod report;

/// Timeout for an event, in the last stage.
const EVENT: Duration = Duration::from_secs(3);

/// Default timeout for a pong.
const PONG: Duration = Duration::from_secs(10);

/// Clocks that differ by less agree.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// Maximum number of a certificate's names in the report.
const NAMES: usize = 4;

/// Looks whether the history of a stream can be read, which is for `--fill` and `history` alone.
fn examine_history(config: &Config, stream: &Stream, report: &Report) {
    report.at("history");
    let probed = History::new(config).and_then(|mut history| history.probe(stream));
    let Probe {
        newest, is_obeyed, ..
    } = match probed {
        Ok(probe) => probe,
        Err(error) => return report.left_out(&Failure::from(error).to_string()),
    };
    let date = newest.map(|date| humantime::format_rfc3339_millis(date).to_string());
    let words = [
        match &date {
            Some(date) => format!("newest event of {date}"),
            None => "no events".to_owned(),
        },
        match is_obeyed {
            Some(true) => "filter and order are obeyed".to_owned(),
            Some(false) => "but no filter or order is obeyed, which --fill needs".to_owned(),
            None => "filter and order are untested".to_owned(),
        },
    ];
    report.passed(&words, json!({ "newest": date, "is_obeyed": is_obeyed }));
}

/// Goes through the stages, up to the first that fails. A refused stream is one of several: it is
/// noted, and the first of them is what it ends with.
pub(crate) fn doctor(settings: DoctorSettings, stop: &Stop) -> Result<(), Failure> {
    let report = Report::new(settings.is_json);
    let mut refused = None;
    let examined = examine(settings, &report, stop, &mut refused);
    if let Err(failure) = &examined {
        report.failed(failure);
    }
    report.finish()?;
    let failure = match (examined, refused) {
        (Ok(()), None) => return Ok(()),
        (Err(failure), _) | (Ok(()), Some(failure)) => failure,
    };
    Err(Failure {
        is_reported: terminal::is_stderr_on_stdout(),
        ..failure
    })
}

fn examine(
    settings: DoctorSettings,
    report: &Report,
    stop: &Stop,
    refused: &mut Option<Failure>,
) -> Result<(), Failure> {
    report.at("config");
    let config = settings.config?;
    // Creating a route checks all settings.
    let proxy = config.proxy_in_use()?;
    let words = config_line(source::setting_sources(), proxy);
    report.passed(&words, json!({ "settings": words }));

    report.at("clock");
    let (words, facts) = clock_line(clock::now());
    report.passed(&words, facts);

    report.at("dns");
    let observer = report.clone();
    let config = config
        .stop(stop.clone())
        .retry_for(Duration::ZERO)
        .observer(move |step| record(step, &observer));
    let mut client = Client::connect(&config).map_err(|error| {
        report.at(stage(error.phase()));
        failure(error)
    })?;

    let mut granted = None;
    for stream in &settings.streams {
        report.at("subscribe");
        match client.subscribe(stream) {
            Err(error) if error.kind() == ErrorKind::Refused => {
                let failure = failure(error);
                report.failed(&failure);
                refused.get_or_insert(failure);
            }
            done => {
                done.map_err(failure)?;
                granted.get_or_insert(stream);
                let stream = stream.to_string();
                report.passed(std::slice::from_ref(&stream), json!({ "stream": stream }));
            }
        }
    }
    if settings.streams.is_empty() {
        report.at("subscribe");
        report.left_out("no STREAM was given");
    }

    report.at("ping");
    client.ping().map_err(failure)?;
    let mut event = None;
    let pong = settings.pong.unwrap_or(PONG);
    let by = Instant::now().checked_add(pong);
    loop {
        match next(&mut client, by)? {
            Update::Pong(_) => break,
            Update::Event(found) => event = event.or(Some(found)),
            _ => {}
        }
        // Even if other messages keep arriving.
        if by.is_some_and(|by| by <= Instant::now()) {
            let message = format!("no pong from {} in {pong:?}", client.peer());
            return Err(Failure::new(UNAVAILABLE, message));
        }
    }
    let (words, facts) = pong_line(client.cost());
    report.passed(&words, facts);

    report.at("event");
    let has_streams = granted.is_some();
    let by = Instant::now() + EVENT;
    while has_streams && event.is_none() && by > Instant::now() {
        if let Update::Event(found) = next(&mut client, Some(by))? {
            event = Some(found);
        }
    }
    match event {
        Some(event) => {
            let path = event.path();
            let from = path.as_deref().or(event.resource()).unwrap_or("a stream");
            let bytes = event.message().len();
            let words = [format!("from {from}"), format!("{bytes} bytes")];
            report.passed(&words, json!({ "stream": from, "bytes": bytes }));
        }
        None if has_streams => report.left_out(&format!("none within {EVENT:?}")),
        None => {}
    }
    client.close()?;
    if let Some(stream) = granted {
        examine_history(&config.observer(|_| {}), stream, report);
    }
    Ok(())
}

fn next(client: &mut Client, by: Option<Instant>) -> Result<Update, Failure> {
    let left = by.map(|by| by.saturating_duration_since(Instant::now()));
    client.next(left.unwrap_or(Duration::MAX)).map_err(failure)
}

fn failure(error: octave_ws::Error) -> Failure {
    match error.kind() {
        ErrorKind::Stopped => Failure::stopped(),
        _ => error.into(),
    }
}

/// Returns the stage of an error.
fn stage(phase: Phase) -> &'static str {
    match phase {
        Phase::Config => "config",
        Phase::Resolve => "dns",
        Phase::Connect => "tcp",
        Phase::Proxy => "proxy",
        Phase::Tls => "tls",
        Phase::Session => "session",
        Phase::Upgrade => "upgrade",
        Phase::Subscribe => "subscribe",
        _ => "socket",
    }
}

/// Notes a step of connecting, as it is done.
fn record(step: &Step, report: &Report) {
    let (stage, words, facts) = match step {
        Step::Resolved { host, addrs, .. } => {
            let addresses: Vec<String> = addrs.iter().map(|addr| addr.ip().to_string()).collect();
            let words = if addresses == [host.as_str()] {
                addresses.clone()
            } else {
                vec![format!("{host}: {}", addresses.join(" "))]
            };
            let facts = json!({ "host": host, "addresses": addresses });
            ("dns", words, facts)
        }
        Step::Connected { addr, tried, .. } => {
            let others = tried.iter().filter(|tried| *tried != addr);
            let others: Vec<_> = others.map(SocketAddr::to_string).collect();
            let mut words = vec![addr.to_string()];
            if !others.is_empty() {
                words.push(format!("tried too: {}", others.join(" ")));
            }
            let facts = json!({ "address": addr.to_string(), "others": others });
            ("tcp", words, facts)
        }
        Step::Proxied { proxy, .. } => {
            let words = vec![format!("connected through {proxy}")];
            ("proxy", words, json!({ "proxy": proxy }))
        }
        Step::Secured {
            version,
            cipher,
            certificate,
            ..
        } => {
            let (words, facts) = tls(version, cipher, certificate);
            ("tls", words, facts)
        }
        Step::SessionOpened { date, is_kept, .. } => {
            let (words, facts) = session(*date, *is_kept);
            ("session", words, facts)
        }
        Step::Upgraded { is_compressed, .. } => {
            let mut words = vec!["the WebSocket is open".to_owned()];
            words.extend(is_compressed.then(|| "compressed".to_owned()));
            ("upgrade", words, json!({ "compressed": is_compressed }))
        }
        _ => return,
    };
    report.at(stage);
    report.passed(&words, facts);
}

/// Describes the answer to a ping, and the bytes that the present settings cost.
fn pong_line(cost: Option<Cost>) -> (Vec<String>, Value) {
    let mut words = vec!["pong received".to_owned()];
    let Some(Cost {
        silent_hour,
        event_overhead,
        reconnection,
        ..
    }) = cost
    else {
        return (words, json!({}));
    };
    words.extend([
        format!("bytes of an hour of silence: {silent_hour}"),
        format!("of an event: {event_overhead} and its message"),
        format!("of a reconnection: {reconnection}"),
    ]);
    let cost = json!({
        "silent_hour": silent_hour,
        "event_overhead": event_overhead,
        "reconnection": reconnection,
    });
    (words, json!({ "cost": cost }))
}

/// Describes each setting, with its source.
fn config_line(sources: &SettingSources, proxy: Option<String>) -> Vec<String> {
    let word = |name: &str, given: &Option<SettingValue>| match given {
        Some(SettingValue { value, source }) => format!("{name} {value} ({source})"),
        None => format!("no {name}"),
    };
    let mut words = vec![
        word("company", &sources.company),
        word("user", &sources.user),
        format!(
            "token from {}",
            sources.token.as_deref().unwrap_or_default()
        ),
        match &sources.endpoint {
            Some(_) => word("endpoint", &sources.endpoint),
            None => format!("endpoint {}", Config::ENDPOINT),
        },
    ];
    if sources.ca_file.is_some() {
        words.push(word("CA file", &sources.ca_file));
    }
    // The URL may hold a password.
    if let Some(source) = &sources.proxy {
        words.push(match proxy {
            Some(proxy) => format!("proxy {proxy} ({source})"),
            None => format!("no proxy for this endpoint ({source}, excluded by NO_PROXY)"),
        });
    }
    words
}

fn clock_line(now: SystemTime) -> (Vec<String>, Value) {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let is_set = !clock::is_unset(now);
    let mut words = vec![time.clone()];
    if !is_set {
        words.push(
            "was never set, but certificates are checked by it: run an NTP client".to_owned(),
        );
    }
    (words, json!({ "time": time, "is_set": is_set }))
}

fn tls(version: &str, cipher: &str, certificate: &[u8]) -> (Vec<String>, Value) {
    let mut words = vec![format!("TLS {version}"), cipher.to_owned()];
    let mut facts = json!({ "version": version, "cipher": cipher });
    if let Some(Certificate {
        names,
        not_before,
        not_after,
    }) = Certificate::read(certificate)
    {
        let told = names[..names.len().min(NAMES)].join(" ");
        let more = match names.len().saturating_sub(NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        words.push(format!("certificate for {told}{more}"));
        words.push(format!("valid from {not_before} to {not_after}"));
        let end = humantime::parse_rfc3339(&not_after).ok();
        let left = end.and_then(|end| end.duration_since(clock::now()).ok());
        if let Some(left) = left {
            words.push(format!("{} days left", left.as_secs() / (24 * 60 * 60)));
        }
        facts["names"] = json!(names);
        facts["not_before"] = json!(not_before);
        facts["not_after"] = json!(not_after);
    }
    (words, facts)
}

fn session(date: Option<SystemTime>, is_kept: bool) -> (Vec<String>, Value) {
    let kept = if is_kept { "kept" } else { "ended" };
    let mut words = vec![format!("opened, the connection is {kept}")];
    let mut facts = json!({ "is_kept": is_kept });
    if let Some(date) = date {
        let (difference, side) = match date.elapsed() {
            Ok(behind) => (behind, "behind"),
            Err(ahead) => (ahead.duration(), "ahead of"),
        };
        let time = humantime::format_duration(Duration::from_secs(difference.as_secs()));
        words.push(if difference < CLOCK_TOLERANCE {
            "server clock agrees with this one".to_owned()
        } else {
            format!("server clock is {time} {side} this one")
        });
        facts["date"] = json!(humantime::format_rfc3339_seconds(date).to_string());
    }
    (words, facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_never_set_is_reported() {
        // Before any build of this.
        for time in ["1970-01-01T00:00:00Z", "2025-06-01T00:00:00Z"] {
            let (words, facts) = clock_line(humantime::parse_rfc3339(time).unwrap());
            assert_eq!(words[0], time);
            assert!(words[1].starts_with("was never set"));
            assert_eq!(facts["is_set"], false);
        }
        assert_eq!(clock_line(clock::now()).0.len(), 1);
    }

    #[test]
    fn different_clocks_are_reported() {
        let now = clock::now();
        let hour = Duration::from_secs(3605);
        for (date, told) in [
            (now, "agrees with this one"),
            (now + hour, "is 1h 4s ahead of this one"),
            (now - hour, "is 1h 5s behind this one"),
        ] {
            assert_eq!(
                session(Some(date), true).0[1],
                format!("server clock {told}")
            );
        }
    }
}
