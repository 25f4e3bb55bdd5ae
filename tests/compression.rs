//! Messages that the service compresses, RFC 7692.
#![cfg(feature = "sim")]

mod raw;

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use octave_ws::sim::{Options, Sim};
use octave_ws::{
    Action, Client, Config, Credentials, ErrorKind, Phase, Step, Stream, Token, Update,
};
use raw::Socket;
use tungstenite::Message;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

const ACCEPTED: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const LONG: Duration = Duration::from_secs(30);

/// Answers the requests of a connection, the upgrade with these lines. Returns the upgrade.
fn open<'a>(tcp: &'a TcpStream, lines: &str) -> (String, Socket<'a>) {
    let mut requests = BufReader::new(tcp);
    raw::request(&mut requests);
    raw::give_session(tcp);
    let upgrade = raw::request(&mut requests);
    let socket = raw::upgraded_with(tcp, &upgrade, lines);
    (upgrade, socket)
}

fn offers(upgrade: &str) -> bool {
    upgrade.contains(
        "\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n",
    )
}

/// Sends texts in compressed messages.
struct Sender(Compress);

impl Sender {
    fn new() -> Self {
        Self(Compress::new(Compression::default(), false))
    }

    fn payload(&mut self, text: &str) -> Vec<u8> {
        let mut payload = Vec::with_capacity(text.len() + 100);
        self.0
            .compress_vec(text.as_bytes(), &mut payload, FlushCompress::Sync)
            .unwrap();
        payload.truncate(payload.len() - 4);
        payload
    }

    fn send(&mut self, socket: &mut Socket<'_>, text: &str) -> usize {
        let payload = self.payload(text);
        let length = payload.len();
        send_payload(socket, payload);
        length
    }

    /// Grants a request, by a compressed message, and returns the stream.
    fn grant(&mut self, socket: &mut Socket<'_>) {
        let request = socket.read().unwrap();
        let text = request.to_text().unwrap();
        let (_, id) = text.split_once(r#""msgId":""#).unwrap();
        let (id, _) = id.split_once('"').unwrap();
        self.send(
            socket,
            &format!(r#"{{"head":{{"msgId":"{id}","ok":true}}}}"#),
        );
    }
}

fn send_payload(socket: &mut Socket<'_>, payload: Vec<u8>) {
    let header = FrameHeader {
        rsv1: true,
        opcode: OpCode::Data(Data::Text),
        ..FrameHeader::default()
    };
    let frame = Frame::from_payload(header, payload.into());
    socket.send(Message::Frame(frame)).unwrap();
}

fn event(n: usize) -> String {
    let rest = r#""streamId":"s1","path":"/demo/a","creationDate":1700000000000,"elems":{"x":1}"#;
    format!(r#"{{"type":"message","resource":"s1","value":{{"id":"e{n}",{rest}}}}}"#)
}

/// Returns the code of the close that comes.
fn close_code(socket: &mut Socket<'_>) -> CloseCode {
    loop {
        if let Message::Close(frame) = socket.read().unwrap() {
            return frame.unwrap().code;
        }
    }
}

fn subscribed(config: &Config) -> Client {
    let mut client = Client::connect(config).unwrap();
    let stream: Stream = "/demo/a".parse().unwrap();
    client.request(Action::Subscribe, &stream).unwrap();
    client
}

/// Returns the next update that is no acknowledgement, and no connection.
fn next(client: &mut Client) -> Update {
    loop {
        match client.next(LONG).unwrap() {
            Update::Ack(_) | Update::Connected => {}
            update => return update,
        }
    }
}

fn expect_event(client: &mut Client, n: usize) {
    match next(client) {
        Update::Event(got) => assert_eq!(got.message(), event(n)),
        other => panic!("{other:?} in place of event {n}"),
    }
}

#[test]
fn compressed_messages_are_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = raw::config(&format!("http://{}", listener.local_addr().unwrap()));
    let service = thread::spawn(move || {
        let tcp = raw::accept(&listener);
        let (upgrade, mut socket) = open(&tcp, ACCEPTED);
        assert!(offers(&upgrade), "{upgrade}");
        let mut sender = Sender::new();
        sender.grant(&mut socket);
        let lengths: Vec<usize> = (0..100)
            .map(|n| sender.send(&mut socket, &event(n)))
            .collect();
        // It refers to the ones before.
        assert!(lengths[99] < lengths[0] / 4, "{lengths:?}");
        // One that is not compressed, and one after it.
        socket.send(Message::text(event(100))).unwrap();
        sender.send(&mut socket, &event(101));
        raw::serve_out(&mut socket);
    });
    let mut client = subscribed(&config);
    for n in 0..102 {
        expect_event(&mut client, n);
    }
    client.close().unwrap();
    service.join().unwrap();
}

#[test]
fn bad_compression_is_followed_by_a_connection_without() {
    // Data that is bad, a bit that may not be set on a fragment, one where nothing was agreed.
    let bit_on_a_fragment = |socket: &mut Socket<'_>| {
        socket
            .get_mut()
            .write_all(&[0x41, 1, 0, 0xc0, 1, 0])
            .unwrap();
    };
    let bad_data = |socket: &mut Socket<'_>| send_payload(socket, vec![0x06, 0x06]);
    for (lines, break_it, code) in [
        (
            ACCEPTED,
            &bad_data as &(dyn Fn(&mut Socket<'_>) + Sync),
            CloseCode::Invalid,
        ),
        (ACCEPTED, &bit_on_a_fragment, CloseCode::Protocol),
        ("", &bad_data, CloseCode::Protocol),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = raw::config(&format!("http://{}", listener.local_addr().unwrap()));
        thread::scope(|scope| {
            scope.spawn(move || {
                let tcp = raw::accept(&listener);
                let (_, mut socket) = open(&tcp, lines);
                raw::grant_next(&mut socket);
                socket.send(Message::text(event(0))).unwrap();
                break_it(&mut socket);
                assert_eq!(close_code(&mut socket), code);
                drop(socket);
                drop(tcp);
                for n in 1..3 {
                    let tcp = raw::accept(&listener);
                    let (upgrade, mut socket) = open(&tcp, "");
                    assert!(!upgrade.contains("Extensions"), "{upgrade}");
                    raw::grant_next(&mut socket);
                    socket.send(Message::text(event(n))).unwrap();
                    if n == 2 {
                        raw::serve_out(&mut socket);
                    }
                }
            });
            let mut client = subscribed(&config.retry_for(LONG));
            expect_event(&mut client, 0);
            for n in 1..3 {
                let Update::Lost(loss) = next(&mut client) else {
                    panic!("nothing is lost")
                };
                if n == 1 && code == CloseCode::Invalid {
                    let what = "a compressed message cannot be inflated (see --no-compression)";
                    assert!(loss.reason.ends_with(what), "{}", loss.reason);
                }
                loop {
                    match next(&mut client) {
                        Update::Gap(_) | Update::Disconnected(_) => {}
                        Update::Event(got) => break assert_eq!(got.message(), event(n)),
                        other => panic!("{other:?}"),
                    }
                }
            }
            client.close().unwrap();
        });
    }
}

#[test]
fn an_answer_that_was_not_offered_costs_one_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = raw::config(&format!("http://{}", listener.local_addr().unwrap()));
    let service = thread::spawn(move || {
        let tcp = raw::accept(&listener);
        let bits = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=15\r\n";
        let (upgrade, _) = open(&tcp, bits);
        assert!(offers(&upgrade), "{upgrade}");
        drop(tcp);
        let tcp = raw::accept(&listener);
        let (upgrade, mut socket) = open(&tcp, "");
        assert!(!upgrade.contains("Extensions"), "{upgrade}");
        raw::serve_out(&mut socket);
    });
    // Without retries: nothing was lost.
    let client = Client::connect(&config).unwrap();
    client.close().unwrap();
    service.join().unwrap();
}

#[test]
fn nothing_is_offered_where_that_is_not_wanted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = raw::config(&format!("http://{}", listener.local_addr().unwrap()));
    let service = thread::spawn(move || {
        let tcp = raw::accept(&listener);
        let (upgrade, _socket) = open(&tcp, ACCEPTED);
        assert!(!upgrade.contains("Extensions"), "{upgrade}");
    });
    let error = Client::connect(&config.compression(false)).err().unwrap();
    assert_eq!(
        (error.phase(), error.kind()),
        (Phase::Upgrade, ErrorKind::Malformed)
    );
    service.join().unwrap();
}

#[test]
fn the_inflated_length_is_limited() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = raw::config(&format!("http://{}", listener.local_addr().unwrap()));
    let service = thread::spawn(move || {
        let tcp = raw::accept(&listener);
        let (_, mut socket) = open(&tcp, ACCEPTED);
        let mut sender = Sender::new();
        sender.grant(&mut socket);
        sender.send(&mut socket, &event(0));
        let length = sender.send(&mut socket, &"a".repeat(100_000));
        assert!(length < 1000, "{length}");
        assert_eq!(close_code(&mut socket), CloseCode::Size);
    });
    let mut client = subscribed(&config.max_message(1000));
    expect_event(&mut client, 0);
    let error = client.next(LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLong);
    assert!(error.to_string().contains("--max-message"), "{error}");
    service.join().unwrap();
}

#[test]
fn the_stand_in_compresses_unless_told_otherwise() {
    for (client, service) in [(true, true), (true, false), (false, true)] {
        let options = Options::default().rate(1000.0).count(500);
        let sim = Sim::start_with(options.compression(service)).unwrap();
        let (steps, seen) = mpsc::channel();
        let credentials = Credentials::new(sim.company(), Token::new(sim.token()));
        let config = Config::new(credentials.user(sim.user()))
            .endpoint(sim.endpoint())
            .ca_pem(sim.ca_pem())
            .compression(client)
            .observer(move |step| {
                if let Step::Upgraded { is_compressed, .. } = step {
                    steps.send(*is_compressed).unwrap();
                }
            });
        let mut client_of_sim = Client::connect(&config).unwrap();
        let (stream, _) = Sim::DEMO_STREAMS[0];
        client_of_sim.subscribe(&stream.parse().unwrap()).unwrap();
        let events = client_of_sim.events().take(500);
        for event in events {
            let event = event.unwrap();
            assert_eq!(event.path().unwrap(), stream);
        }
        client_of_sim.close().unwrap();
        assert_eq!(seen.recv().unwrap(), client && service);
    }
}
