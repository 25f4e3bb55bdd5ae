//! Recipes whose events go to another program.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::running::Running;
use super::{Gateway, STREAMS, assert_done, streams, text};

#[test]
#[ignore = "it is run with the programs of others"]
fn some_of_it_by_jq() {
    let gateway = Gateway::new("jq", 50.0, &streams());
    let recipe = gateway.recipe("Selected fields, with jq");
    let command = recipe.replace(" | ", " --count 3 | ");
    let output = gateway.shell(&command).output().unwrap();
    assert_done(&output);
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines
            .iter()
            .all(|line| line[0].is_i64() && line[1].is_number()),
        "{lines:?}"
    );
}

/// The recipe's command, to a broker on this port, until no event has come for so long.
fn publish(recipe: &str, port: u16, idle: &str) -> String {
    assert!(recipe.contains(" -p 1883 ") && recipe.contains(" | "));
    recipe
        .replace(" -p 1883 ", &format!(" -p {port} "))
        .replace(" | ", &format!(" --idle {idle} | "))
}

/// A broker that takes all messages.
fn broker(gateway: &Gateway) -> Running {
    Running::start(&gateway.folder, |port| {
        let config = gateway.folder.join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n");
        fs::write(&config, text).unwrap();
        let config = config.to_str().unwrap().to_owned();
        ("mosquitto".to_owned(), vec!["-c".to_owned(), config])
    })
}

#[test]
#[ignore = "it is run with the programs of others"]
fn into_mqtt() {
    let gateway = Gateway::new("mqtt", 0.0, &streams());
    let broker = broker(&gateway);
    let mut subscriber = gateway.command("stdbuf");
    let port = broker.port.to_string();
    let args = [
        "-oL",
        "mosquitto_sub",
        "-h",
        "localhost",
        "-p",
        &port,
        "-q",
        "1",
        "-t",
        "octave/#",
        "-d",
        "-C",
        "2",
    ];
    let mut subscriber = subscriber.args(args).spawn().unwrap();
    let mut received = BufReader::new(subscriber.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(received.any(|line| line.starts_with("Subscribed ")));

    let command = publish(&gateway.recipe("Into MQTT"), broker.port, "300ms");
    let publisher = gateway.shell(&command).spawn().unwrap();
    gateway.await_subscriptions(STREAMS.len());
    for stream in &STREAMS[..2] {
        gateway.sim.publish(stream, &json!({ "words": "one, two" }));
    }
    assert_done(&publisher.wait_with_output().unwrap());
    let messages = received.filter(|line| line.starts_with('{'));
    let paths: Vec<Value> = messages
        .map(|line| serde_json::from_str::<Value>(&line).unwrap()["path"].clone())
        .collect();
    assert_eq!(paths, STREAMS[..2]);
    assert!(subscriber.wait().unwrap().success());
}

#[test]
#[ignore = "it is run with the programs of others"]
fn into_mqtt_by_topic() {
    let gateway = Gateway::new("topics", 0.0, &streams());
    let broker = broker(&gateway);
    let port = broker.port.to_string();
    let mut subscriber = gateway.command("stdbuf");
    let args = [
        "-oL",
        "mosquitto_sub",
        "-h",
        "localhost",
        "-p",
        &port,
        "-q",
        "1",
    ];
    let topics = ["-t", "octave/#", "-d", "-C", "6", "-F", "%t %p"];
    let mut subscriber = subscriber.args(args).args(topics).spawn().unwrap();
    let mut received = BufReader::new(subscriber.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(received.any(|line| line.starts_with("Subscribed ")));

    let recipe = gateway.recipe("Into MQTT, a topic for each stream");
    assert!(recipe.contains(" -p 1883 ") && recipe.contains(" --output-dir ."));
    let command = recipe
        .replace(" -p 1883 ", &format!(" -p {port} "))
        .replace(" --output-dir .", " --output-dir . --count 6");
    let publisher = gateway.shell(&command).spawn().unwrap();
    gateway.await_subscriptions(STREAMS.len());
    for n in 0..2 {
        for stream in &STREAMS {
            gateway
                .sim
                .publish(stream, &json!({ "words": format!("{n}, two") }));
        }
    }
    let mut messages: Vec<(String, Value)> = received
        .filter(|line| line.starts_with("octave/"))
        .map(|line| {
            let (topic, message) = line.split_once(' ').unwrap();
            let event: Value = serde_json::from_str(message).unwrap();
            assert_eq!(topic, format!("octave{}", event["path"].as_str().unwrap()));
            (topic.to_owned(), event["elems"]["words"].clone())
        })
        .collect();
    assert_done(&publisher.wait_with_output().unwrap());
    assert!(subscriber.wait().unwrap().success());
    // In the order of each stream.
    messages.sort_by(|one, other| one.0.cmp(&other.0));
    let words: Vec<&Value> = messages.iter().map(|(_, words)| words).collect();
    assert_eq!(words, ["0, two", "1, two"].repeat(STREAMS.len()));
}

/// What a subscriber of NATS is sent on a subject: `MSG SUBJECT SID BYTES`, and the bytes.
struct Nats(BufReader<TcpStream>);

impl Nats {
    fn subscribe(port: u16, subject: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let greeting = "CONNECT {\"verbose\":false}\r\n";
        write!(stream, "{greeting}SUB {subject} 1\r\nPING\r\n").unwrap();
        let mut nats = Self(BufReader::new(stream));
        while nats.line() != "PONG" {}
        nats
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn message(&mut self) -> Value {
        let head = loop {
            match self.line() {
                ping if ping == "PING" => write!(self.0.get_mut(), "PONG\r\n").unwrap(),
                line => break line,
            }
        };
        let length = head
            .strip_prefix("MSG octave.events 1 ")
            .unwrap()
            .parse()
            .unwrap();
        let mut message = vec![0; length];
        self.0.read_exact(&mut message).unwrap();
        assert_eq!(self.line(), "");
        serde_json::from_slice(&message).unwrap()
    }
}

#[test]
#[ignore = "it is run with the programs of others"]
fn beyond_one_machine_into_nats() {
    let paths: Vec<String> = (0..12).map(|n| format!("/demo/devices/gw{n}/t")).collect();
    let gateway = Gateway::new("nats", 0.0, &paths);
    let [config, recipe] = &gateway.recipes("Beyond one machine, into NATS")[..] else {
        panic!("a configuration and a command")
    };
    let probe = TcpListener::bind("127.0.0.1:0").unwrap();
    let clients = probe.local_addr().unwrap().port();
    drop(probe);
    let server = Running::start(&gateway.folder, |port| {
        let config = config.replace("port: 1883", &format!("port: {port}"));
        let path = gateway.folder.join("nats-server.conf");
        fs::write(&path, config).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let args = ["-a", "127.0.0.1", "-p", &clients.to_string(), "-c", &path];
        ("nats-server".to_owned(), args.map(str::to_owned).to_vec())
    });
    let mut subscriber = Nats::subscribe(clients, "octave.events");

    let publishers: Vec<_> = ["1/3", "2/3", "3/3"]
        .map(|shard| {
            let recipe = recipe.replace("--shard 1/3", &format!("--shard {shard}"));
            let command = publish(recipe.trim(), server.port, "500ms");
            gateway.shell(&command).spawn().unwrap()
        })
        .into();
    gateway.await_subscriptions(paths.len());
    for path in &paths {
        assert_eq!(gateway.sim.publish(path, &json!(1)), 1);
    }
    let mut received: Vec<Value> = paths
        .iter()
        .map(|_| subscriber.message()["path"].clone())
        .collect();
    received.sort_by_key(Value::to_string);
    let mut expected: Vec<Value> = paths.iter().map(|path| json!(path)).collect();
    expected.sort_by_key(Value::to_string);
    assert_eq!(received, expected);
    for publisher in publishers {
        assert_done(&publisher.wait_with_output().unwrap());
    }
}
