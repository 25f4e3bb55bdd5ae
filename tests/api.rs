//! What a program finds that links the library.
#![cfg(all(feature = "sim", feature = "serde"))]

use std::env;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, UNIX_EPOCH};

use octave_ws::sim::{Options, Sim};
use octave_ws::{
    Ack, Action, Client, Config, Credentials, Error, ErrorKind, Event, Gap, Loss, Stream, Token,
    Update, Why,
};
use serde_json::json;

const LONG: Duration = Duration::from_secs(60);
const TEMPERATURE: &str = "/demo/devices/gw1/temperature";

#[test]
fn a_stream_serializes_as_a_string() {
    let stream = Stream::try_from(TEMPERATURE).unwrap();
    assert_eq!(
        Stream::try_from(TEMPERATURE.to_owned()).as_ref(),
        Ok(&stream)
    );
    let name: &str = stream.as_ref();
    assert_eq!(name, TEMPERATURE);
    assert_eq!(serde_json::to_value(&stream).unwrap(), json!(TEMPERATURE));
    let read = serde_json::from_value::<Stream>(json!(TEMPERATURE));
    assert_eq!(read.unwrap(), stream);
    let wrong = serde_json::from_value::<Stream>(json!("none")).unwrap_err();
    assert!(
        wrong.to_string().contains("\"none\" is not a stream"),
        "{wrong}"
    );
}

#[test]
fn events_and_gaps_can_be_serialized() {
    let sim = Sim::start().unwrap();
    let mut client = Client::connect(&sim.config().retry_for(LONG)).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    sim.send(r#"{"value":{"n":1e400, "n":2}}"#);
    let Update::Event(event) = client.next(LONG).unwrap() else {
        panic!("no event")
    };
    // In its own bytes, which no value of serde_json could hold.
    let line = serde_json::to_string(&json!({})).unwrap() + &serde_json::to_string(&event).unwrap();
    assert_eq!(line, r#"{}{"n":1e400, "n":2}"#);
    sim.close_all(1012);
    let gap = loop {
        if let Update::Gap(gap) = client.next(LONG).unwrap() {
            break gap;
        }
    };
    let value = serde_json::to_value(&gap).unwrap();
    assert_eq!(value["reason"], gap.reason);
    let from = value["from"].as_str().unwrap();
    assert!(from.len() == 24 && from.ends_with('Z'), "{from}");
}

#[test]
fn events_come_one_after_the_other_until_an_error() {
    let sim = Sim::start().unwrap();
    let mut client = Client::connect(&sim.config()).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    sim.send(r#"{"value":1}"#);
    sim.send(r#"{"no":"event"}"#);
    sim.send(r#"{"value":2}"#);
    sim.close_all(1012);
    let mut events = client.events();
    for value in ["1", "2"] {
        assert_eq!(events.next().unwrap().unwrap().value(), value);
    }
    let lost = events.next().unwrap().unwrap_err();
    assert!(lost.to_string().ends_with("closed with 1012"), "{lost}");
    assert!(events.next().is_none());
}

#[test]
fn updates_can_be_created_without_a_service() {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let stream: Stream = TEMPERATURE.parse().unwrap();
    let text = r#"{"type":"message","resource":"/a","value":{"elems":{"t":1}}}"#;
    let event = Event::from_message(text).unwrap();
    assert_eq!((event.message(), event.resource()), (text, Some("/a")));
    assert!(Event::from_message(r#"{"head":{}}"#).is_none());
    let refused = Ack::new(Action::Subscribe, stream, Err("no".to_owned()));
    let updates = [
        Update::Event(event),
        Update::Lost(Loss::new(at(1), "gone")),
        Update::Gap(Gap::new(at(1), at(2), "gone")),
        Update::Ack(refused),
    ];
    let serialized = updates.clone().map(|update| match update {
        Update::Event(event) => serde_json::to_value(event),
        Update::Lost(loss) => serde_json::to_value(loss),
        Update::Gap(gap) => serde_json::to_value(gap),
        Update::Ack(ack) => serde_json::to_value(ack),
        other => panic!("{other:?}"),
    });
    let (from, to) = ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.000Z");
    let wanted = [
        json!({"elems": {"t": 1}}),
        json!({"from": from, "reason": "gone"}),
        json!({"from": from, "to": to, "reason": "gone"}),
        json!({
            "action": "subscribe", "stream": TEMPERATURE, "ok": false, "reason": "no",
            "status": null,
        }),
    ];
    assert_eq!(serialized.map(Result::unwrap), wanted);
    // RFC 3339 has no earlier date.
    let early = Loss::new(UNIX_EPOCH - Duration::from_secs(1), "gone");
    let wanted = json!({"from": "1970-01-01T00:00:00.000Z", "reason": "gone"});
    assert_eq!(serde_json::to_value(early).unwrap(), wanted);
    let gap = Gap::new(at(1), at(2), "gone").of_stream(TEMPERATURE.parse().unwrap(), Why::Behind);
    let gap = serde_json::to_value(gap).unwrap();
    assert_eq!(
        (&gap["stream"], &gap["why"]),
        (&json!(TEMPERATURE), &json!("behind"))
    );

    let config = Config::new(Credentials::new("c", Token::new("t"))).ca_pem("secret");
    let debug = format!("{config:?}");
    assert!(debug.contains("ca_pem: Some(Pem(6 bytes))"), "{debug}");
    let error = Client::connect(&config.endpoint("nowhere")).unwrap_err();
    assert_eq!(error.clone().report(), error.report());
    assert_eq!(error.kind().to_string(), "invalid configuration");
    assert_eq!(error.setting().unwrap().to_string(), "endpoint");
}

#[test]
fn debug_says_what_matters() {
    let sim = Sim::start().unwrap();
    let addr = sim.addr();
    assert_eq!(format!("{sim:?}"), format!("Sim {{ addr: {addr}, .. }}"));
    let mut client = Client::connect(&sim.config()).unwrap();
    let refused = client.subscribe(&"/none".parse().unwrap()).unwrap_err();
    assert_eq!(refused.stream().unwrap().as_str(), "/none");
    assert_eq!(format!("{refused:?}"), refused.report());
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    let wanted = format!("Client {{ peer: \"{addr}\", is_connected: true, subscribed: 1, .. }}");
    assert_eq!(format!("{client:?}"), wanted);
}

#[test]
fn an_attempt_fails_while_there_are_no_credentials() {
    let (seen, actions) = mpsc::channel();
    let sim = Sim::start_with(Options::default().observer(seen)).unwrap();
    let asked = AtomicU32::new(0);
    let good = Credentials::new(sim.company(), Token::new(sim.token())).user(sim.user());
    let config = Config::default()
        .endpoint(sim.endpoint())
        .ca_pem(sim.ca_pem())
        .retry_for(LONG)
        .credentials_from(move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Err("the modem has none"),
            1 => Ok(Credentials::new("demo", Token::new(""))),
            _ => Ok(good.clone()),
        });
    let mut client = Client::new(&config).unwrap();
    for why in ["no credentials: the modem has none", "the token is empty"] {
        let Update::Disconnected(failed) = client.next(LONG).unwrap() else {
            panic!("it connects without credentials");
        };
        assert_eq!(failed.error.to_string(), format!("config: {why}"));
        assert!(failed.retry_in > Duration::ZERO);
    }
    assert!(actions.try_recv().is_err());
    assert!(matches!(client.next(LONG).unwrap(), Update::Connected));
    client.close().unwrap();
}

/// Set for the process that [`connects_by_its_environment`] is run in.
const IS_CHILD: &str = "OCTAVE_TEST_FROM_ENV";

#[test]
fn a_config_comes_of_the_environment_and_a_file() {
    let sim = Sim::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(&path, text).unwrap();
        path
    };
    let ca = file("ca.pem", sim.ca_pem());
    // As Notepad writes it.
    let token = file("token", &format!("\u{feff}{}\r\n", sim.token()));
    let members = json!({
        "endpoint": sim.endpoint(), "ca_file": ca, "user": sim.user(), "company": "nobody",
        "token_file": token, "connect_timeout": "30s",
    });
    let config = file("config.json", &members.to_string());
    let typo = file("typo.json", r#"{"tokenfile": "/x"}"#);
    let missing = folder.path().join("none.json").to_str().unwrap().to_owned();
    let child = |variables: &[(&str, &str)]| {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "connects_by_its_environment", "--nocapture"]);
        child
            .env_clear()
            .env(IS_CHILD, "")
            .envs(variables.iter().copied());
        let output = child.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = told.lines().find_map(|line| line.strip_prefix("config: "));
        line.unwrap_or_else(|| panic!("{told}")).to_owned()
    };
    // The program has its own.
    let ca_file = ("OCTAVE_CA_FILE", ca.as_str());
    let endpoint = sim.endpoint();
    let own = format!("{} {}", sim.company(), sim.restricted_token());
    let variables = [
        ("OCTAVE_ENDPOINT", endpoint.as_str()),
        ca_file,
        ("AGENT_OWN", &own),
    ];
    assert_eq!(child(&variables), "connected");
    // A variable goes before the file.
    let company = ("OCTAVE_COMPANY", sim.company());
    assert_eq!(child(&[("OCTAVE_CONFIG", &config), company]), "connected");
    assert_eq!(child(&[("AGENT_CONFIG", &config), company]), "connected");
    let refused = child(&[("OCTAVE_CONFIG", &config)]);
    assert!(
        refused.starts_with("Refused: session: HTTP 40"),
        "{refused}"
    );
    assert_eq!(
        child(&[]),
        "Config: config: no company: set OCTAVE_COMPANY, or company in the config file"
    );
    let wrong = child(&[("AGENT_CONFIG", &typo)]);
    let wanted = format!("Config: config: {typo:?}: no key \"tokenfile\": the keys are ");
    assert!(wrong.starts_with(&wanted), "{wrong}");
    let unreadable = child(&[("AGENT_CONFIG", &missing)]);
    let wanted = format!("Config: config: {missing:?}, set by the program, cannot be read: ");
    assert!(unreadable.starts_with(&wanted), "{unreadable}");
}

#[test]
fn connects_by_its_environment() {
    if env::var_os(IS_CHILD).is_none() {
        return;
    }
    let config = match env::var("AGENT_CONFIG") {
        Ok(path) => Config::from_env_and_file(path),
        Err(_) => Config::from_env(),
    };
    let config = config.map(|config| match env::var("AGENT_OWN") {
        Ok(own) => {
            let (company, token) = own.split_once(' ').unwrap();
            config.credentials(Credentials::new(company, Token::new(token)))
        }
        Err(_) => config,
    });
    let client = config.and_then(|config| Client::connect(&config));
    let told = match client.and_then(Client::close) {
        Ok(()) => "connected".to_owned(),
        Err(error) => told(&error),
    };
    println!("\nconfig: {told}");
}

fn told(error: &Error) -> String {
    let kind: ErrorKind = error.kind();
    format!("{kind:?}: {}", error.report())
}

#[test]
fn a_member_of_an_event_is_found_by_its_path() {
    let message = r#"{"value":{"elems":{"a":{"b":1.50e400,"c":[1, 2]},"d":null}}}"#;
    let event = octave_ws::Event::from_message(message).unwrap();
    for (path, wanted) in [
        (&["elems", "a", "b"][..], Some("1.50e400")),
        (&["elems", "a", "c"], Some("[1, 2]")),
        (&["elems", "d"], Some("null")),
        (&["elems", "d", "e"], None),
        (&["elems", "none"], None),
        (&["none", "a"], None),
        (&[], Some(event.value())),
    ] {
        assert_eq!(event.member_at(path.iter().copied()), wanted, "{path:?}");
    }
}
