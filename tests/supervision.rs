//! Any sequence of faults, played by a service of one thread: the client has one session at a
//! time, comes back to its stream after each of them, and tells each gap.

use std::fmt::Debug;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use octave_ws::{Client, Config, Credentials, Token, Update};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rustix::net::sockopt::set_socket_linger;
use tungstenite::{Bytes, Message};

use crate::raw::{Socket, give_session, grant, request, upgraded};
use crate::seed::property;

mod raw;
mod seed;

const STREAM: &str = "/demo/stream";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Session,
    Upgrade,
    /// The request, which is not answered.
    Ack,
    /// The subscription, of which the client has heard.
    Subscribed,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    End,
    Reset,
    Silence,
    /// An HTTP status, or half a frame.
    Refusal,
}

fn any_faults() -> impl Strategy<Value = Vec<(Place, Fault)>> {
    let place = prop::sample::select(vec![
        Place::Session,
        Place::Upgrade,
        Place::Ack,
        Place::Subscribed,
    ]);
    let fault = prop::sample::select(vec![
        Fault::End,
        Fault::Reset,
        Fault::Silence,
        Fault::Refusal,
    ]);
    prop::collection::vec((place, fault), 0..4)
}

#[test]
fn there_is_never_more_than_one_session_and_no_stream_is_lost_for_ever() {
    let mut runner = TestRunner::new(property(16));
    let mut runs = Vec::new();
    for _ in 0..16 {
        let faults = any_faults().new_tree(&mut runner).unwrap().current();
        runs.push(thread::spawn(move || play(&faults)));
    }
    for run in runs {
        run.join().unwrap();
    }
}

fn play(faults: &[(Place, Fault)]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let timeout = Duration::from_secs(1);
    let config = Config::new(Credentials::new("acme", Token::new("secret")))
        .endpoint(format!("http://{}", listener.local_addr().unwrap()))
        .allow_plaintext()
        .retry_for(Duration::MAX)
        .handover(false)
        .connect_timeout(timeout)
        .ack_timeout(timeout)
        .ping_interval(timeout)
        .ping_timeout(timeout);
    let client = thread::spawn(move || {
        let mut client = Client::connect(&config).unwrap();
        client.subscribe(&STREAM.parse().unwrap()).unwrap();
        let (mut losses, mut gaps) = (0, 0);
        loop {
            match client.next(Duration::from_secs(60)).unwrap() {
                Update::Event(_) => break,
                // Where nothing is subscribed, there is nothing to lose.
                Update::Lost(_) if client.loss().is_none() => {}
                Update::Connected | Update::Disconnected(_) => {}
                Update::Lost(_) => losses += 1,
                Update::Gap(_) => {
                    gaps += 1;
                    assert_eq!(losses, gaps);
                }
                other => panic!("{other:?}"),
            }
        }
        client.close().unwrap();
        gaps
    });

    let mut before = None;
    for &(place, fault) in faults {
        let tcp = accept(&listener, before.take(), &faults);
        let Some(mut socket) = serve(&tcp, place) else {
            before = fail(
                tcp,
                fault,
                b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n",
            );
            continue;
        };
        let request = socket.read().unwrap();
        if place == Place::Subscribed {
            grant(&mut socket, &request);
            // A pong tells that the ack has been read, and is not lost by a reset.
            socket.send(Message::Ping(Bytes::new())).unwrap();
            while !socket.read().unwrap().is_pong() {}
        }
        before = fail(tcp, fault, &[0x81, 100, b'{']);
    }
    let tcp = accept(&listener, before, &faults);
    let mut socket = serve(&tcp, Place::Subscribed).unwrap();
    let request = socket.read().unwrap();
    grant(&mut socket, &request);
    let event = format!(r#"{{"type":"message","resource":"{STREAM}","value":{{}}}}"#);
    socket.send(Message::text(event)).unwrap();
    let unsubscribe = loop {
        match socket.read().unwrap() {
            Message::Text(text) => break Message::Text(text),
            message => assert!(message.is_ping() || message.is_pong(), "{message:?}"),
        }
    };
    grant(&mut socket, &unsubscribe);
    while socket.read().is_ok() {}
    let lost = faults
        .iter()
        .filter(|(place, _)| *place == Place::Subscribed);
    assert_eq!(client.join().unwrap(), lost.count(), "{faults:?}");
}

/// The next connection, before which the client has ended the one before.
fn accept(listener: &TcpListener, before: Option<TcpStream>, told: &impl Debug) -> TcpStream {
    let tcp = raw::accept(listener);
    if let Some(mut before) = before {
        before.set_nonblocking(true).unwrap();
        let end = before.read_to_end(&mut Vec::new());
        let is_open = end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(!is_open, "two connections at a time: {told:?}");
    }
    tcp
}

/// Does as the protocol says up to the place; a socket where that is behind the upgrade.
fn serve(tcp: &TcpStream, place: Place) -> Option<Socket<'_>> {
    let mut requests = BufReader::new(tcp);
    let first = request(&mut requests);
    if place == Place::Session {
        return None;
    }
    // Where a session was given and the connection then ended, the upgrade comes alone.
    let upgrade = if first.starts_with("GET") {
        first
    } else {
        give_session(tcp);
        request(&mut requests)
    };
    (place != Place::Upgrade).then(|| upgraded(tcp, &upgrade))
}

/// Plays the fault. Returns the connection where the client is to end it.
fn fail(mut tcp: TcpStream, fault: Fault, refusal: &[u8]) -> Option<TcpStream> {
    match fault {
        Fault::End => None,
        Fault::Reset => {
            set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap();
            None
        }
        Fault::Silence => Some(tcp),
        Fault::Refusal => {
            tcp.write_all(refusal).unwrap();
            Some(tcp)
        }
    }
}
