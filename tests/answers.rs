//! Answers of a service that have to make a difference, and those that must not.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::bufread::GzEncoder;
use octave_ws::{Action, Client, Config, Credentials, ErrorKind, Stream, Token, Update};
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::patience::until;
use crate::raw::{Part, Socket, accept, config, give_session, grant, open, play, serve_out};
use crate::raw::{request, upgraded, wait_until_delivered};

mod patience;
mod raw;

const LONG: Duration = Duration::from_secs(60);

fn stream() -> Stream {
    "/a".parse().unwrap()
}

/// A service that is played on a thread, and its endpoint.
fn serve(service: impl FnOnce(TcpListener) + Send + 'static) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (endpoint, thread::spawn(move || service(listener)))
}

/// Returns what comes next but the absence of a connection.
fn next_change(client: &mut Client) -> Update {
    loop {
        match client.next(LONG).unwrap() {
            Update::Disconnected(_) => {}
            other => return other,
        }
    }
}

#[test]
fn a_retry_after_of_either_leg_is_waited_for() {
    let later = b"HTTP/1.1 503 Later\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n";
    for is_of_upgrade in [false, true] {
        let (endpoint, service) = serve(move |listener| {
            let tcp = accept(&listener);
            let mut requests = BufReader::new(&tcp);
            request(&mut requests);
            if is_of_upgrade {
                give_session(&tcp);
                request(&mut requests);
            }
            let since = Instant::now();
            (&tcp).write_all(later).unwrap();
            drop(tcp);
            let tcp = accept(&listener);
            // By itself it would have come back within a second.
            assert!(since.elapsed() >= Duration::from_secs(3));
            serve_out(&mut open(&tcp));
        });
        let client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
        client.close().unwrap();
        service.join().unwrap();
    }
}

/// A service that answers so many requests for a session with this, before it gives one, and has
/// had a subscription before or not.
fn refusing(answer: &'static str, times: usize, is_later: bool) -> octave_ws::Result<()> {
    let (endpoint, service) = serve(move |listener| {
        if is_later {
            let tcp = accept(&listener);
            let mut socket = open(&tcp);
            let asked = socket.read().unwrap();
            grant(&mut socket, &asked);
        }
        for _ in 0..times {
            let tcp = accept(&listener);
            request(&mut BufReader::new(&tcp));
            (&tcp).write_all(answer.as_bytes()).unwrap();
        }
        if is_later {
            serve_out(&mut open(&accept(&listener)));
        }
    });
    let mut client = Client::connect(&config(&endpoint).retry_for(Duration::MAX))?;
    client.subscribe(&stream()).unwrap();
    // A loss; failures; a connection and its gap.
    let gap = (0..times + 4).find_map(|_| match client.next(2 * LONG) {
        Ok(Update::Gap(_)) => Some(Ok(())),
        Err(error) => Some(Err(error)),
        Ok(_) => None,
    });
    gap.unwrap()?;
    client.close().unwrap();
    service.join().unwrap();
    Ok(())
}

#[test]
fn permanent_errors_are_retried_after_a_subscription() {
    let answers = [
        ("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 1),
        (
            "HTTP/1.1 302 To\r\nLocation: http://portal/\r\nContent-Length: 0\r\n\r\n",
            1,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<!-- -->\n", 3),
    ];
    let runs = answers.map(|(answer, times)| {
        thread::spawn(move || {
            let error = refusing(answer, times, false).unwrap_err();
            assert!(!matches!(error.kind(), ErrorKind::TimedOut), "{error}");
            refusing(answer, times, true).unwrap();
        })
    });
    for run in runs {
        run.join().unwrap();
    }
}

#[test]
fn credentials_may_change_from_one_session_to_the_next() {
    let (endpoint, service) = serve(|listener| {
        for token in ["first", "second", "second"] {
            let tcp = accept(&listener);
            let mut requests = BufReader::new(&tcp);
            let head = request(&mut requests).to_ascii_lowercase();
            assert!(
                head.contains(&format!("x-auth-token: {token}\r\n")),
                "{head}"
            );
            give_session(&tcp);
            upgraded(&tcp, &request(&mut requests));
        }
    });
    let tokens = Mutex::new(["first", "second", "second"].into_iter());
    let config = config(&endpoint).retry_for(LONG).credentials_from(move || {
        let token = tokens.lock().unwrap().next().ok_or("there are no more")?;
        Ok::<_, &str>(Credentials::new("demo", Token::new(token)))
    });
    let mut client = Client::connect(&config).unwrap();
    while !service.is_finished() {
        let _ = client.next(Duration::from_millis(20)).unwrap();
    }
    service.join().unwrap();
}

#[test]
fn a_session_id_is_hidden_wherever_the_service_says_it() {
    let id = "an-id.that_nobody~may-see";
    let (endpoint, service) = serve(move |listener| {
        let tcp = accept(&listener);
        let mut requests = BufReader::new(&tcp);
        request(&mut requests);
        let body = format!(r#"{{"head":{{"ok":true}},"body":{{"id":"{id}"}}}}"#);
        let length = body.len();
        let answer = format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n\r\n{body}");
        (&tcp).write_all(answer.as_bytes()).unwrap();
        let mut socket = upgraded(&tcp, &request(&mut requests));
        let asked = socket.read().unwrap();
        let (_, msg_id) = asked.to_text().unwrap().split_once(r#""msgId":""#).unwrap();
        let (msg_id, _) = msg_id.split_once('"').unwrap();
        let refusal = format!(
            r#"{{"head":{{"msgId":"{msg_id}","ok":false,"errors":["none of {id} by raw-token-{id}"]}}}}"#
        );
        socket.send(Message::text(refusal)).unwrap();
        let alien = format!(r#"{{"type":"{id}"}}"#);
        socket.send(Message::text(alien)).unwrap();
        let frame = CloseFrame {
            code: CloseCode::Policy,
            reason: format!("{id} is over").into(),
        };
        socket.close(Some(frame)).unwrap();
        serve_out(&mut socket);
    });
    let mut client = Client::connect(&config(&endpoint)).unwrap();
    let mut told = vec![client.subscribe(&stream()).unwrap_err().report()];
    loop {
        match client.next(LONG) {
            // The message itself is the caller's.
            Ok(Update::Unknown(unknown)) => told.push(unknown.reason().to_owned()),
            Ok(next) => told.push(format!("{next:?}")),
            Err(error) => break told.push(error.report()),
        }
    }
    assert!(
        told[0].ends_with("none of [redacted] by [redacted]-[redacted]"),
        "{told:?}"
    );
    assert!(
        told.last().unwrap().contains("closed with 1008"),
        "{told:?}"
    );
    assert!(told.iter().all(|told| !told.contains(id)), "{told:?}");
    service.join().unwrap();
}

#[test]
fn the_token_goes_into_its_own_header_whatever_the_others_hold() {
    let (endpoint, service) = serve(|listener| {
        let tcp = accept(&listener);
        let head = request(&mut BufReader::new(&tcp));
        let wanted = "\r\nx-auth-company: x-auth-token: none\r\nx-auth-token: raw-token\r\n";
        assert!(head.contains(wanted), "{head}");
    });
    let credentials = Credentials::new("x-auth-token: none", Token::new("raw-token"));
    let config = Config::new(credentials).endpoint(endpoint);
    let error = Client::connect(&config.allow_plaintext()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    service.join().unwrap();
}

#[test]
fn a_connection_with_bytes_behind_the_sessions_answer_is_not_used_again() {
    let (endpoint, service) = serve(|listener| {
        let first = accept(&listener);
        request(&mut BufReader::new(&first));
        let body = r#"{"body":{"id":"a"}}HTTP/1.1 101 Switching Protocols"#;
        let answer = format!("HTTP/1.1 201 Created\r\nContent-Length: 19\r\n\r\n{body}");
        (&first).write_all(answer.as_bytes()).unwrap();
        let second = accept(&listener);
        let mut requests = BufReader::new(&second);
        let upgrade = request(&mut requests);
        assert!(
            upgrade.starts_with("GET /session/a/ws HTTP/1.1\r\n"),
            "{upgrade}"
        );
        serve_out(&mut upgraded(&second, &upgrade));
    });
    Client::connect(&config(&endpoint))
        .unwrap()
        .close()
        .unwrap();
    service.join().unwrap();
}

#[test]
fn cookies_of_the_session_go_with_the_upgrade_on_whatever_connection() {
    for is_kept in [true, false] {
        let (endpoint, service) = serve(move |listener| {
            let first = accept(&listener);
            let mut requests = BufReader::new(&first);
            let head = request(&mut requests);
            assert!(
                head.to_ascii_lowercase()
                    .contains("accept-encoding: identity\r\n")
            );
            let connection = if is_kept { "keep-alive" } else { "close" };
            let body = r#"{"body":{"id":"a"}}"#;
            let answer = format!(
                "HTTP/1.1 201 Created\r\nConnection: {connection}\r\nContent-Length: 19\r\n\
                 Set-Cookie: lb=server-7; Path=/; HttpOnly\r\nSet-Cookie: b=c\r\n\r\n{body}"
            );
            (&first).write_all(answer.as_bytes()).unwrap();
            let second;
            let mut socket = if is_kept {
                let upgrade = request(&mut requests);
                assert!(
                    upgrade.contains("\r\nCookie: lb=server-7; b=c\r\n"),
                    "{upgrade}"
                );
                upgraded(&first, &upgrade)
            } else {
                second = accept(&listener);
                let upgrade = request(&mut BufReader::new(&second));
                assert!(
                    upgrade.contains("\r\nCookie: lb=server-7; b=c\r\n"),
                    "{upgrade}"
                );
                upgraded(&second, &upgrade)
            };
            let frame = CloseFrame {
                code: CloseCode::Policy,
                reason: "no more by server-7".into(),
            };
            socket.close(Some(frame)).unwrap();
            serve_out(&mut socket);
        });
        let mut client = Client::connect(&config(&endpoint)).unwrap();
        let error = client.next(LONG).unwrap_err().to_string();
        assert!(
            error.ends_with("closed with 1008 no more by [redacted]"),
            "{error}"
        );
        service.join().unwrap();
    }
}

#[test]
fn a_session_answer_may_come_compressed_all_the_same() {
    let gzip = |plain: &[u8]| {
        let mut coded = Vec::new();
        let mut encoder = GzEncoder::new(plain, Compression::default());
        encoder.read_to_end(&mut coded).unwrap();
        coded
    };
    let answers = [
        ("gzip", gzip(br#"{"body":{"id":"a"}}"#), ""),
        (
            "br",
            b"what is this?".to_vec(),
            "its body is in a content coding that cannot be read",
        ),
        // Longer than it looks.
        ("gzip", gzip(&vec![0; 1 << 20]), "is too long"),
    ];
    let wanted = answers.each_ref().map(|(_, _, wanted)| *wanted);
    let (endpoint, service) = serve(move |listener| {
        for (coding, body, wanted) in answers {
            let tcp = accept(&listener);
            let mut requests = BufReader::new(&tcp);
            request(&mut requests);
            let head = format!(
                "HTTP/1.1 201 Created\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            (&tcp)
                .write_all(&[head.as_bytes(), &body].concat())
                .unwrap();
            if wanted.is_empty() {
                let upgrade = request(&mut requests);
                serve_out(&mut upgraded(&tcp, &upgrade));
            }
        }
    });
    let config = config(&endpoint);
    Client::connect(&config).unwrap().close().unwrap();
    for wanted in &wanted[1..] {
        let error = Client::connect(&config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        let error = error.to_string();
        assert!(error.ends_with(wanted), "{error}");
    }
    service.join().unwrap();
}

#[test]
fn a_refused_upgrade_is_retried_on_a_new_connection() {
    let (endpoint, service) = serve(|listener| {
        let first = accept(&listener);
        let mut requests = BufReader::new(&first);
        request(&mut requests);
        give_session(&first);
        request(&mut requests);
        let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        (&first).write_all(refusal).unwrap();
        let second = accept(&listener);
        let upgrade = request(&mut BufReader::new(&second));
        assert!(upgrade.starts_with("GET /session/a/ws "), "{upgrade}");
        serve_out(&mut upgraded(&second, &upgrade));
        // And no more than once.
        let third = accept(&listener);
        let mut requests = BufReader::new(&third);
        request(&mut requests);
        give_session(&third);
        request(&mut requests);
        (&third).write_all(refusal).unwrap();
        let fourth = accept(&listener);
        request(&mut BufReader::new(&fourth));
        (&fourth).write_all(refusal).unwrap();
    });
    // Without a second attempt.
    let config = config(&endpoint);
    Client::connect(&config).unwrap().close().unwrap();
    let error = Client::connect(&config).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Status(400));
    service.join().unwrap();
}

#[test]
fn an_oversized_session_answer_is_refused() {
    let head = "HTTP/1.1 201 Created\r\n";
    let long = "x".repeat(70 << 10);
    let answers = [
        format!("{head}Content-Length: 71680\r\n\r\n{long}"),
        format!("{head}Connection: close\r\n\r\n{long}"),
        format!("{head}X: {long}\r\n\r\n"),
        format!("{head}{}\r\n", "X: y\r\n".repeat(200)),
    ];
    for answer in answers {
        let (endpoint, service) = serve(move |listener| {
            for _ in 0..3 {
                let tcp = accept(&listener);
                request(&mut BufReader::new(&tcp));
                // It may hear of it before it has said all.
                let _ = (&tcp).write_all(answer.as_bytes());
            }
        });
        let error = Client::connect(&config(&endpoint).retry_for(LONG))
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        service.join().unwrap();
    }
}

#[test]
fn a_refused_unsubscription_leaves_the_stream_subscribed() {
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let asked = socket.read().unwrap();
        grant(&mut socket, &asked);
        let asked = socket.read().unwrap();
        let (_, msg_id) = asked.to_text().unwrap().split_once(r#""msgId":""#).unwrap();
        let (msg_id, _) = msg_id.split_once('"').unwrap();
        let refusal = format!(r#"{{"head":{{"msgId":"{msg_id}","ok":false,"errors":["no"]}}}}"#);
        socket.send(Message::text(refusal)).unwrap();
        serve_out(&mut socket);
    })]);
    let mut client = Client::connect(&config(&endpoint)).unwrap();
    client.subscribe(&stream()).unwrap();
    let error = client.unsubscribe(&stream()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let left: Vec<_> = client.subscribed().cloned().collect();
    assert_eq!(left, [stream()]);
    client.close().unwrap();
    service.join().unwrap();
}

#[test]
fn a_protocol_violation_is_read_to_its_end() {
    let (endpoint, service) = play([Box::new(|mut tcp: &TcpStream, mut socket: Socket<'_>| {
        let asked = socket.read().unwrap();
        grant(&mut socket, &asked);
        // A reserved opcode, and more behind it than is read at once, but no more than the kernel
        // takes: while it has no room, its timers decide.
        let more = vec![0; 256 << 10];
        tcp.write_all(&[&[0x83, 0], &more[..]].concat()).unwrap();
        tcp.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // With bytes left unread it would be reset.
        tcp.read_to_end(&mut answer).unwrap();
        // A masked close.
        assert_eq!((answer[0], answer[1]), (0x88, 0x82));
    })]);
    let mut client = Client::connect(&config(&endpoint)).unwrap();
    client.subscribe(&stream()).unwrap();
    let error = client.next(LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    service.join().unwrap();
}

#[test]
fn events_before_the_end_are_delivered_although_no_pong_can_be_sent() {
    for pings in [2, 200] {
        let (endpoint, service) = play([Box::new(
            move |mut tcp: &TcpStream, mut socket: Socket<'_>| {
                let asked = socket.read().unwrap();
                grant(&mut socket, &asked);
                let event = br#"{"value":1}"#;
                let event = [&[0x81, 11], &event[..]].concat();
                let close = [0x88, 2, 3, 0xe9];
                let all = [[0x89, 0].repeat(pings), event.repeat(20), close.to_vec()].concat();
                tcp.write_all(&all).unwrap();
                wait_until_delivered(tcp);
                // What comes now is answered with a reset.
                rustix::net::shutdown(tcp, rustix::net::Shutdown::Both).unwrap();
            },
        )]);
        let mut client = Client::connect(&config(&endpoint)).unwrap();
        client.subscribe(&stream()).unwrap();
        service.join().unwrap();
        for _ in 0..20 {
            assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
        }
        let error = client.next(LONG).unwrap_err();
        assert!(error.to_string().ends_with(" closed with 1001"), "{error}");
    }
}

/// How long nothing is heard before the end.
const SILENCE: Duration = Duration::from_secs(4);

#[test]
fn the_first_loss_stays_whatever_follows_and_begins_with_the_silence() {
    let silent: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let asked = socket.read().unwrap();
        grant(&mut socket, &asked);
        socket.send(Message::text(r#"{"value":1}"#)).unwrap();
        // No close at the end.
        thread::sleep(SILENCE);
    });
    let closing: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        socket.read().unwrap();
        let (code, reason) = (CloseCode::Error, "".into());
        socket.close(Some(CloseFrame { code, reason })).unwrap();
        serve_out(&mut socket);
    });
    let well: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| serve_out(&mut socket));
    let (endpoint, service) = play([silent, closing, well]);
    let mut client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
    client.subscribe(&stream()).unwrap();
    assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    let heard_at = SystemTime::now();
    let Update::Lost(loss) = client.next(LONG).unwrap() else {
        panic!("no loss")
    };
    assert!(
        loss.reason.ends_with(" ended the connection"),
        "{}",
        loss.reason
    );
    let distance = |at: SystemTime| match at.duration_since(heard_at) {
        Ok(later) => later,
        Err(earlier) => earlier.duration(),
    };
    assert!(distance(loss.from) < SILENCE / 2, "{loss:?}");
    // The second one is lost, too, which is no loss of its own.
    assert!(matches!(next_change(&mut client), Update::Connected));
    assert!(matches!(next_change(&mut client), Update::Connected));
    let Update::Gap(gap) = client.next(LONG).unwrap() else {
        panic!("no gap")
    };
    assert_eq!((gap.from, gap.reason), (loss.from, loss.reason));
    assert!(distance(gap.to) > SILENCE / 2);
    client.close().unwrap();
    service.join().unwrap();
}

#[test]
fn a_service_that_reads_nothing_causes_no_deadlock() {
    for is_talking in [false, true] {
        let (done, is_done) = mpsc::channel::<()>();
        let (endpoint, service) = serve(move |listener| {
            // Far less than the requests, so that a write has to wait.
            set_socket_recv_buffer_size(&listener, 4096).unwrap();
            let tcp = accept(&listener);
            let mut socket = open(&tcp);
            let event = Message::text(r#"{"value":1}"#);
            while is_talking && socket.send(event.clone()).is_ok() {}
            let _ = is_done.recv_timeout(LONG);
        });
        let config = config(&endpoint).ack_timeout(Duration::from_secs(1));
        let mut client = Client::connect(&config).unwrap();
        let mut end = None;
        for n in 0..10_000 {
            let stream: Stream = format!("/a/path/of/some/length/{n}").parse().unwrap();
            end = client.request(Action::Subscribe, &stream).err();
            if end.is_some() {
                break;
            }
        }
        let error = end.unwrap_or_else(|| {
            loop {
                match client.next(LONG) {
                    Ok(next) => assert!(matches!(next, Update::Event(_)), "{next:?}"),
                    Err(error) => break error,
                }
            }
        });
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        drop((client, done));
        service.join().unwrap();
    }
}

#[test]
fn requests_are_sent_while_answers_are_read() {
    const STREAMS: usize = 4000;
    const EVENTS: usize = 4000;
    let (endpoint, service) = serve(move |listener| {
        set_socket_recv_buffer_size(&listener, 64 << 10).unwrap();
        let tcp = accept(&listener);
        let mut socket = open(&tcp);
        let first = socket.read().unwrap();
        grant(&mut socket, &first);
        // More than buffers take, as are the requests: one side has to read before it has written.
        let event = format!(r#"{{"value":"{}"}}"#, "x".repeat(4000));
        for _ in 0..EVENTS {
            socket.send(Message::text(event.as_str())).unwrap();
        }
        serve_out(&mut socket);
    });
    let mut client = Client::connect(&config(&endpoint)).unwrap();
    let path = "p".repeat(4000);
    let streams: Vec<Stream> = (0..STREAMS)
        .map(|n| format!("/{path}/{n}").parse().unwrap())
        .collect();
    client.request_all(Action::Subscribe, &streams).unwrap();
    let (mut acks, mut events) = (0, 0);
    while (acks, events) != (STREAMS, EVENTS) {
        match client.next(LONG).unwrap() {
            Update::Ack(ack) => {
                ack.outcome.unwrap();
                acks += 1;
            }
            Update::Event(_) => events += 1,
            other => panic!("{other:?} after {acks} and {events}"),
        }
    }
    drop(client);
    service.join().unwrap();
}

/// Ends the connection once it has granted what it is asked for.
fn grants_and_ends() -> Box<Part> {
    Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let asked = socket.read().unwrap();
        grant(&mut socket, &asked);
    })
}

#[test]
fn a_loss_after_the_deadline_for_connecting_closes_the_client() {
    let (endpoint, service) = play([grants_and_ends()]);
    let mut client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
    client.subscribe(&stream()).unwrap();
    client.set_connect_limit(Some(Duration::ZERO));
    let error = client.next(LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(client.loss().is_some());
    for _ in 0..2 {
        assert!(matches!(client.next(LONG).unwrap(), Update::Closed));
    }
    service.join().unwrap();
}

#[test]
fn each_loss_and_connection_is_reported_without_subscriptions() {
    let sends_and_ends: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        assert_eq!(socket.read().unwrap().to_text().unwrap(), "mine");
    });
    let stays: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| serve_out(&mut socket));
    let (endpoint, service) = play([sends_and_ends, stays]);
    let mut client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
    client.send("mine").unwrap();
    assert!(client.last_failure().is_none());
    assert!(matches!(client.next(LONG).unwrap(), Update::Lost(_)));
    assert!(client.last_failure().is_some());
    assert!(client.send("lost").is_err());
    assert!(matches!(next_change(&mut client), Update::Connected));
    assert!(client.last_failure().is_none());
    drop(client);
    service.join().unwrap();
}

#[test]
fn a_redirect_of_the_upgrade_tells_no_secret() {
    let secrets = ["raw-token", "secretsessionid", "secretcookie"];
    for secret in secrets {
        let (endpoint, service) = serve(move |listener| {
            let tcp = accept(&listener);
            let mut requests = BufReader::new(&tcp);
            request(&mut requests);
            let body = r#"{"head":{"ok":true},"body":{"id":"secretsessionid"}}"#;
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 201 Created\r\nSet-Cookie: a=secretcookie\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            );
            { &tcp }.write_all(answer.as_bytes()).unwrap();
            let answer = format!("HTTP/1.1 302 To\r\nLocation: https://{secret}.example/x\r\n\r\n");
            request(&mut requests);
            { &tcp }.write_all(answer.as_bytes()).unwrap();
            // Once more on a connection of its own.
            let tcp = accept(&listener);
            request(&mut BufReader::new(&tcp));
            { &tcp }.write_all(answer.as_bytes()).unwrap();
        });
        let error = Client::connect(&config(&endpoint)).err().unwrap();
        let told = error.report();
        assert!(
            told.ends_with("a redirect to https://[redacted].example"),
            "{told}"
        );
        service.join().unwrap();
    }
}

#[test]
fn both_requests_look_like_those_of_a_browser() {
    let (endpoint, service) = serve(|listener| {
        let tcp = accept(&listener);
        let mut requests = BufReader::new(&tcp);
        let post = request(&mut requests);
        let body = r#"{"head":{"ok":true},"body":{"id":"a"}}"#;
        // As many lines as some proxies make of it.
        let answer = format!(
            "HTTP/1.1 201 Created\r\n{}Content-Length: {}\r\n\r\n{body}",
            "X: 1\r\n".repeat(120),
            body.len()
        );
        { &tcp }.write_all(answer.as_bytes()).unwrap();
        let upgrade = request(&mut requests);
        upgraded(&tcp, &upgrade);
        let host = format!("\r\nHost: {}\r\n", listener.local_addr().unwrap());
        let agent = concat!(
            "\r\nUser-Agent: octave-ws/",
            env!("CARGO_PKG_VERSION"),
            "\r\n"
        );
        for head in [post, upgrade] {
            assert!(head.contains(&host) && head.contains(agent), "{head}");
        }
    });
    Client::connect(&config(&endpoint)).unwrap();
    service.join().unwrap();
}

#[test]
fn a_loss_between_the_first_events_and_the_answer_is_a_gap() {
    let sends_and_ends: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        socket.read().unwrap();
        socket.send(Message::text(r#"{"value":1}"#)).unwrap();
    });
    let grants: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        serve_out(&mut socket);
    });
    let (endpoint, service) = play([sends_and_ends, grants]);
    let mut client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
    client.request(Action::Subscribe, &stream()).unwrap();
    assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    assert!(matches!(client.next(LONG).unwrap(), Update::Lost(_)));
    assert!(client.loss().is_some());
    assert!(matches!(next_change(&mut client), Update::Connected));
    assert!(matches!(client.next(LONG).unwrap(), Update::Ack(_)));
    assert!(matches!(client.next(LONG).unwrap(), Update::Gap(_)));
    drop(client);
    service.join().unwrap();
}

#[test]
fn no_more_than_six_connections_are_made_in_five_seconds() {
    let (endpoint, service) = serve(|listener| {
        let mut accepted = Vec::new();
        let end = Instant::now() + Duration::from_secs(8);
        while Instant::now() < end && accepted.len() < 12 {
            let tcp = accept(&listener);
            accepted.push(Instant::now());
            let mut requests = BufReader::new(&tcp);
            if request(&mut requests).starts_with("POST") {
                give_session(&tcp);
                request(&mut requests);
            }
            { &tcp }.write_all(b"HTTP/1.1 503 Later\r\n\r\n").unwrap();
        }
        // Accepting takes its time.
        let least = Duration::from_millis(4500);
        assert!(
            accepted.windows(7).all(|of| of[6] - of[0] > least),
            "{accepted:?}"
        );
        assert!(accepted.len() >= 7);
    });
    let config = config(&endpoint).retry_for(Duration::from_secs(13));
    assert!(Client::connect(&config).is_err());
    service.join().unwrap();
}

#[test]
fn a_failed_send_is_reported_and_the_loss_follows() {
    let resets: Box<Part> = Box::new(|tcp: &TcpStream, _: Socket<'_>| {
        set_socket_linger(tcp, Some(Duration::ZERO)).unwrap();
    });
    let (endpoint, service) = play([resets]);
    let mut client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
    // A reset takes its time.
    until("nothing can be sent", || client.send("lost").is_err());
    for error in [client.send("lost"), client.ping()] {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Disconnected);
    }
    assert!(matches!(client.next(LONG).unwrap(), Update::Lost(_)));
    service.join().unwrap();
}

#[test]
fn received_events_are_delivered_although_the_service_stopped_reading() {
    let (done, ended) = mpsc::channel::<()>();
    let reads_nothing: Box<Part> = Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
        for n in 0..3 {
            let event = format!(r#"{{"value":{n}}}"#);
            socket.send(Message::text(event)).unwrap();
        }
        let _ = ended.recv();
    });
    let (endpoint, service) = play([reads_nothing]);
    let config = config(&endpoint).ack_timeout(Duration::from_millis(200));
    let mut client = Client::connect(&config).unwrap();
    let text = "x".repeat(1 << 20);
    until("nothing can be sent", || client.send(&text).is_err());
    for _ in 0..3 {
        assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    }
    let error = client.next(LONG).unwrap_err();
    assert!(error.to_string().ends_with(" stopped reading"), "{error}");
    drop(done);
    service.join().unwrap();
}

#[test]
fn a_transient_refusal_of_a_restoration_answers_no_request() {
    let refuses: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        // The restoration, and behind it what the caller asks for.
        let refused = r#"{"head":{"msgId":"1","ok":false,"status":503,"errors":["later"]}}"#;
        socket.read().unwrap();
        let asked = socket.read().unwrap();
        socket.send(Message::text(refused)).unwrap();
        grant(&mut socket, &asked);
        serve_out(&mut socket);
    });
    let (endpoint, service) = play([grants_and_ends(), refuses]);
    let mut client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
    client.subscribe(&stream()).unwrap();
    assert!(matches!(client.next(LONG).unwrap(), Update::Lost(_)));
    assert!(matches!(next_change(&mut client), Update::Connected));
    client.subscribe(&stream()).unwrap();
    assert_eq!(client.subscribed().count(), 1);
    drop(client);
    service.join().unwrap();
}

#[test]
fn two_messages_are_kept_while_an_answer_is_awaited_however_long() {
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let asked = socket.read().unwrap();
        let event = format!(r#"{{"value":"{}"}}"#, "x".repeat(2 << 20));
        socket.send(Message::text(event)).unwrap();
        grant(&mut socket, &asked);
        serve_out(&mut socket);
    })]);
    let mut client = Client::connect(&config(&endpoint)).unwrap();
    client.subscribe(&stream()).unwrap();
    assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    drop(client);
    service.join().unwrap();
}

#[test]
fn secrets_of_earlier_connections_are_redacted() {
    const OLD: &str = "the-first-token";
    let (endpoint, service) = play([
        Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
            let request = socket.read().unwrap();
            grant(&mut socket, &request);
            socket.close(None).unwrap();
            serve_out(&mut socket);
        }),
        Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
            let request = socket.read().unwrap();
            grant(&mut socket, &request);
            let code = CloseCode::Normal;
            let reason = format!("{OLD} is no more").into();
            socket.close(Some(CloseFrame { code, reason })).unwrap();
            serve_out(&mut socket);
        }),
    ]);
    let count = AtomicU32::new(0);
    let config = config(&endpoint).credentials_from(move || {
        let token = match count.fetch_add(1, Ordering::Relaxed) {
            0 => OLD,
            _ => "the-second-token",
        };
        Ok::<_, io::Error>(Credentials::new("demo", Token::new(token)))
    });
    let config = config.retry_for(Duration::MAX);
    let mut client = Client::connect(&config).unwrap();
    client.subscribe(&"/a".parse().unwrap()).unwrap();
    let mut losses = std::iter::from_fn(|| Some(client.next(LONG).unwrap())).filter_map(|next| {
        let Update::Lost(loss) = next else {
            return None;
        };
        Some(loss.reason)
    });
    losses.next().unwrap();
    let reason = losses.next().unwrap();
    assert!(!reason.contains(OLD), "{reason}");
    assert!(reason.contains("[redacted] is no more"), "{reason}");
    drop(client);
    service.join().unwrap();
}
