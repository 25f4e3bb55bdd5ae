//! Events that were sent on a silent connection, or on one that is replaced, are not lost and come once.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use octave_ws::{Action, Client, Config, ErrorKind, Stop, Update};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

use crate::raw::{Socket, grant, open};

mod raw;

const STREAM: &str = "/demo/stream";
const LONG: Duration = Duration::from_secs(20);

/// A client, and what it returns: a word for each update.
struct Run {
    updates: Receiver<Update>,
}

impl Run {
    fn new(config: Config) -> Self {
        Self::with(config, |_, _| {})
    }

    /// Runs a client that does something after each update.
    fn with(config: Config, mut act: impl FnMut(&mut Client, &Update) + Send + 'static) -> Self {
        let (sender, updates) = channel();
        thread::spawn(move || {
            let mut client = Client::new(&config).unwrap();
            client.request(Action::Subscribe, &STREAM.parse().unwrap())?;
            loop {
                let update = client.next(LONG)?;
                act(&mut client, &update);
                // The test is over.
                if sender.send(update).is_err() {
                    return client.close();
                }
            }
        });
        Self { updates }
    }

    fn next(&self) -> Update {
        match self.updates.recv_timeout(LONG) {
            // What follows says more.
            Ok(Update::Disconnected(_)) => self.next(),
            Ok(update) => update,
            Err(RecvTimeoutError::Timeout) => panic!("no update comes"),
            Err(RecvTimeoutError::Disconnected) => panic!("the client has ended"),
        }
    }

    /// Checks that these come next: ids of events, and names of other updates.
    fn expect(&self, words: &str) -> Update {
        let mut last = None;
        for (n, wanted) in words.split(' ').enumerate() {
            let update = self.next();
            let found = match &update {
                Update::Event(event) => event.id().unwrap_or_default().into_owned(),
                Update::Connected => "connected".to_owned(),
                Update::Ack(_) => "ack".to_owned(),
                Update::Lost(_) => "lost".to_owned(),
                Update::Gap(_) => "gap".to_owned(),
                Update::Handover(_) => "handover".to_owned(),
                other => format!("{other:?}"),
            };
            assert_eq!(found, wanted, "{n} of {words}");
            last = Some(update);
        }
        last.unwrap()
    }
}

fn service() -> (TcpListener, Config) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = raw::config(&format!("http://{}", listener.local_addr().unwrap()))
        .retry_for(Duration::MAX)
        .ping_interval(Duration::from_millis(100))
        .ping_timeout(Duration::from_millis(100));
    (listener, config)
}

/// The next connection, whose reads end.
fn accept(listener: &TcpListener) -> TcpStream {
    let tcp = raw::accept(listener);
    tcp.set_read_timeout(Some(LONG)).unwrap();
    tcp
}

/// Sends events with these ids.
fn send(socket: &mut Socket<'_>, ids: &str) {
    for id in ids.split(' ') {
        let event = format!(
            r#"{{"object":"event","type":"message","resource":"s1","value":{{"id":"{id}","path":"{STREAM}"}}}}"#
        );
        socket.send(Message::text(event)).unwrap();
    }
}

/// Opens the WebSocket of a connection, and grants its subscription.
fn subscribed(tcp: &TcpStream) -> Socket<'_> {
    let mut socket = open(tcp);
    subscribe(&mut socket);
    socket
}

/// Grants the subscription of a connection.
fn subscribe(socket: &mut Socket<'_>) {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < LONG, "no request comes");
        let message = socket.read().unwrap();
        if message.is_text() {
            return grant(socket, &message);
        }
    }
}

/// Refuses a subscription, with a status.
fn refuse(socket: &mut Socket<'_>, request: &Message, status: u16) {
    let (_, id) = request
        .to_text()
        .unwrap()
        .split_once(r#""msgId":""#)
        .unwrap();
    let (id, _) = id.split_once('"').unwrap();
    let ack = format!(r#"{{"head":{{"msgId":"{id}","ok":false,"status":{status}}}}}"#);
    socket.send(Message::text(ack)).unwrap();
}

/// Answers until this many pings have come.
fn answer_pings(socket: &mut Socket<'_>, mut count: usize) {
    while count > 0 {
        if socket.read().unwrap().is_ping() {
            count -= 1;
        }
    }
    socket.flush().unwrap();
}

/// Reads to the close, and returns its code. Requests before it are granted.
fn closed(socket: &mut Socket<'_>) -> (usize, u16) {
    let mut requests = 0;
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => {
                assert!(text.contains("unsubscribe"), "{text}");
                requests += 1;
                grant(socket, &Message::Text(text));
            }
            Message::Close(Some(CloseFrame { code, .. })) => {
                // The answer.
                let _ = socket.flush();
                return (requests, code.into());
            }
            _ => {}
        }
    }
}

#[test]
fn what_comes_late_on_a_silent_connection_comes_first_and_once() {
    let (listener, config) = service();
    let begun = SystemTime::now();
    let run = Run::new(config.ping_timeout(Duration::from_secs(1)));
    let tcp = accept(&listener);
    let mut old = subscribed(&tcp);
    send(&mut old, "1");
    run.expect("connected ack 1");
    // Pings go unanswered.
    let tcp = accept(&listener);
    let mut new = subscribed(&tcp);
    send(&mut new, "3 4");
    send(&mut old, "2 3 4 5");
    answer_pings(&mut old, 2);
    assert_eq!(closed(&mut old), (1, 1000));
    send(&mut new, "5 6");
    let Update::Handover(handover) = run.expect("connected 2 3 4 5 handover") else {
        unreachable!()
    };
    assert_eq!(handover.events, 4);
    assert!(begun <= handover.from && handover.from < handover.to);
    assert!(handover.to <= SystemTime::now());
    run.expect("6");
}

/// A service up to where its old connection is silent and its new one is subscribed.
fn handing_over(script: impl FnOnce(&Run, &TcpListener, Socket<'_>, Socket<'_>)) {
    handing_over_with(grant, script);
}

/// The same with another answer to the request on the new connection.
fn handing_over_with(
    answer: impl FnOnce(&mut Socket<'_>, &Message),
    script: impl FnOnce(&Run, &TcpListener, Socket<'_>, Socket<'_>),
) {
    let (listener, config) = service();
    let run = Run::new(config.ping_timeout(Duration::from_secs(1)));
    let old_tcp = accept(&listener);
    let mut old = subscribed(&old_tcp);
    send(&mut old, "1");
    run.expect("connected ack 1");
    let new_tcp = accept(&listener);
    let mut new = open(&new_tcp);
    let request = new.read().unwrap();
    answer(&mut new, &request);
    run.expect("connected");
    script(&run, &listener, old, new);
}

fn gap(update: Update) -> (SystemTime, SystemTime) {
    match update {
        Update::Gap(gap) => (gap.from, gap.to),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_pong_what_has_come_is_delivered_and_a_gap_told() {
    for ends in [true, false] {
        let begun = SystemTime::now();
        handing_over(|run, _, mut old, mut new| {
            let subscribed_at = SystemTime::now();
            send(&mut old, "2");
            send(&mut new, "4");
            run.expect("2");
            if ends {
                old.get_ref().shutdown(Shutdown::Both).unwrap();
            }
            // The new connection is alive meanwhile.
            let lost = loop {
                match run.updates.try_recv() {
                    Ok(update) => break update,
                    Err(_) => answer_pings(&mut new, 1),
                }
            };
            assert!(matches!(lost, Update::Lost(_)), "{lost:?}");
            // The event may have come before the end of the old connection.
            let (from, to) = match run.next() {
                Update::Event(_) => gap(run.expect("gap")),
                update => {
                    run.expect("4");
                    gap(update)
                }
            };
            assert!(begun <= from && from + Duration::from_millis(100) < subscribed_at);
            // When it was subscribed, not when the old connection was given up.
            assert!(to < subscribed_at + Duration::from_millis(500));
            send(&mut new, "5");
            run.expect("5");
        });
    }
}

#[test]
fn a_service_that_serves_the_newest_connection_alone_is_found_out() {
    handing_over(|run, listener, mut old, mut new| {
        let (before, subscribed_at) = (SystemTime::now(), SystemTime::now());
        send(&mut new, "3");
        send(&mut old, "2");
        // Once more than the pings of its silence.
        answer_pings(&mut old, 2);
        closed(&mut old);
        let (from, to) = gap(run.expect("2 lost 3 gap"));
        assert!(from < to && to < before + Duration::from_millis(500));
        assert!(from + Duration::from_millis(500) > subscribed_at);
        // The next silence is a loss at once.
        run.expect("lost");
        let tcp = accept(listener);
        let _newest = subscribed(&tcp);
        run.expect("connected gap");
    });
}

#[test]
fn a_service_that_serves_the_newest_of_three_alone_has_missed_since_the_second() {
    handing_over(|run, listener, mut old, _new| {
        let second_at = SystemTime::now();
        // The new one is silent, too.
        let tcp = accept(listener);
        let mut newest = subscribed(&tcp);
        send(&mut newest, "4");
        answer_pings(&mut old, 2);
        closed(&mut old);
        let (from, to) = gap(run.expect("connected lost 4 gap"));
        assert!(from <= second_at && second_at < to);
    });
}

#[test]
fn ids_that_come_twice_on_one_connection_are_delivered_twice() {
    handing_over(|run, _, mut old, mut new| {
        send(&mut old, "2 2 2");
        answer_pings(&mut old, 2);
        closed(&mut old);
        send(&mut new, "2 3 3 2 2 2");
        run.expect("2 2 2 handover 3 3 2");
    });
}

#[test]
fn a_new_connection_that_is_silent_too_is_followed_by_another_one() {
    handing_over(|run, listener, mut old, mut new| {
        send(&mut new, "3");
        let tcp = accept(listener);
        let mut newest = subscribed(&tcp);
        send(&mut newest, "4");
        send(&mut old, "2 3 4");
        answer_pings(&mut old, 2);
        closed(&mut old);
        run.expect("connected 2 3 4 handover");
    });
}

#[test]
fn a_new_connection_that_ends_before_the_proof_is_a_loss() {
    handing_over(|run, listener, mut old, mut new| {
        send(&mut old, "2");
        send(&mut new, "3");
        new.close(None).unwrap();
        run.expect("2 3 lost");
        let tcp = accept(listener);
        let _newest = subscribed(&tcp);
        run.expect("connected gap");
    });
}

#[test]
fn a_service_that_refuses_a_second_connection_gets_one() {
    let (listener, config) = service();
    let run = Run::new(config);
    let tcp = accept(&listener);
    let mut old = subscribed(&tcp);
    send(&mut old, "1");
    run.expect("connected ack 1");
    let mut refused = accept(&listener);
    refused
        .write_all(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    run.expect("lost");
    assert_eq!(closed(&mut old), (0, 1000));
    let tcp = accept(&listener);
    let _new = subscribed(&tcp);
    run.expect("connected gap");
    // From now on, a silent connection is dropped.
    run.expect("lost");
}

#[test]
fn it_can_be_turned_off() {
    let (listener, config) = service();
    let run = Run::new(config.handover(false));
    let tcp = accept(&listener);
    let mut old = subscribed(&tcp);
    send(&mut old, "1");
    run.expect("connected ack 1 lost");
    let tcp = accept(&listener);
    let _new = subscribed(&tcp);
    run.expect("connected gap");
}

/// A service whose first connection is replaced after a second, up to where the next one is open.
fn renewing(script: impl FnOnce(&Run, &TcpListener, Socket<'_>, &TcpStream)) {
    let (listener, config) = service();
    let config = config.renew_every(Duration::from_secs(1));
    let run = Run::new(config.ping_interval(Duration::from_secs(20)));
    let old_tcp = accept(&listener);
    let mut old = subscribed(&old_tcp);
    send(&mut old, "1");
    run.expect("connected ack 1");
    let new_tcp = accept(&listener);
    script(&run, &listener, old, &new_tcp);
}

#[test]
fn a_connection_is_replaced_without_a_loss() {
    renewing(|run, _, mut old, new_tcp| {
        // While the new one is opened.
        send(&mut old, "2");
        let mut new = open(new_tcp);
        let begun = Instant::now();
        subscribe(&mut new);
        send(&mut new, "3");
        send(&mut old, "3");
        answer_pings(&mut old, 1);
        assert_eq!(closed(&mut old), (1, 1000));
        let Update::Handover(handover) = run.expect("connected 2 3 handover") else {
            unreachable!()
        };
        assert_eq!(handover.events, 2);
        // Without the wait for an event.
        assert!(begun.elapsed() < LONG);
        send(&mut new, "4");
        run.expect("4");
    });
}

/// A service may send what it has in a queue after the pong.
#[test]
fn an_event_behind_the_last_pong_comes_too() {
    for in_background in [false, true] {
        let (listener, config) = service();
        let config = config.renew_every(Duration::from_secs(1));
        let config = config.connect_in_background(in_background);
        let run = Run::new(config.ping_interval(Duration::from_secs(20)));
        let old_tcp = accept(&listener);
        let mut old = subscribed(&old_tcp);
        send(&mut old, "1");
        run.expect("connected ack 1");
        let new_tcp = accept(&listener);
        let mut new = subscribed(&new_tcp);
        send(&mut new, "3");
        send(&mut old, "3");
        answer_pings(&mut old, 1);
        // Published before the new connection was subscribed.
        send(&mut old, "2");
        assert_eq!(closed(&mut old), (1, 1000));
        let Update::Handover(handover) = run.expect("connected 3 2 handover") else {
            unreachable!()
        };
        assert_eq!(handover.events, 2);
    }
}

/// Reads to the request to unsubscribe a stream, and does not answer it.
fn await_unsubscription(socket: &mut Socket<'_>) {
    while !matches!(socket.read().unwrap(), Message::Text(text) if text.contains("unsubscribe")) {}
}

#[test]
fn what_is_proved_is_told_before_the_end_of_the_new_connection() {
    renewing(|run, listener, mut old, new_tcp| {
        let mut new = open(new_tcp);
        subscribe(&mut new);
        send(&mut new, "2");
        send(&mut old, "2");
        answer_pings(&mut old, 1);
        await_unsubscription(&mut old);
        new_tcp.shutdown(Shutdown::Both).unwrap();
        run.expect("connected 2 handover lost");
        let tcp = accept(listener);
        let _next = subscribed(&tcp);
        run.expect("connected gap");
    });
}

#[test]
fn at_the_end_the_new_connection_of_a_proved_handover_is_closed_in_order() {
    let (listener, config) = service();
    let stop = Stop::new().unwrap();
    let config = config.ping_interval(LONG).stop(stop.clone());
    let config = config.renew_every(Duration::from_secs(1));
    let client = thread::spawn(move || {
        let mut client = Client::connect(&config).unwrap();
        client.subscribe(&STREAM.parse().unwrap()).unwrap();
        let mut updates = Vec::new();
        let run = client.run(|update| {
            updates.push(format!("{update:?}"));
            ControlFlow::Continue(())
        });
        run.unwrap_err();
        let closed = client.close_with(|update| updates.push(format!("{update:?}")));
        closed.unwrap();
        updates
    });
    let old_tcp = accept(&listener);
    let mut old = subscribed(&old_tcp);
    let new_tcp = accept(&listener);
    let mut new = subscribed(&new_tcp);
    send(&mut new, "2");
    send(&mut old, "2");
    answer_pings(&mut old, 1);
    await_unsubscription(&mut old);
    stop.stop();
    assert_eq!(closed(&mut new), (1, 1000));
    let updates = client.join().unwrap();
    let is_told = updates.iter().any(|update| update.starts_with("Handover"));
    assert!(is_told, "{updates:?}");
}

#[test]
fn a_connection_that_cannot_be_replaced_is_kept() {
    for refusal in ["409 Conflict", "500 Internal Server Error"] {
        renewing(|run, listener, mut old, mut new_tcp: &TcpStream| {
            let answer = format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n");
            new_tcp.write_all(answer.as_bytes()).unwrap();
            send(&mut old, "2");
            run.expect("2");
            if refusal.starts_with('5') {
                // Later.
                let tcp = accept(listener);
                let _new = subscribed(&tcp);
                answer_pings(&mut old, 1);
                closed(&mut old);
                run.expect("connected handover");
            }
        });
    }
}

#[test]
fn a_connection_is_kept_where_the_next_one_gets_no_streams() {
    renewing(|run, _, mut old, new_tcp| {
        let mut new = open(new_tcp);
        let request = new.read().unwrap();
        refuse(&mut new, &request, 409);
        send(&mut old, "2");
        run.expect("connected 2");
        assert_eq!(closed(&mut new), (0, 1000));
    });
}

#[test]
fn a_service_that_ends_the_first_of_two_connections_gets_one() {
    renewing(|run, listener, mut old, new_tcp| {
        let mut new = open(new_tcp);
        old.close(None).unwrap();
        subscribe(&mut new);
        run.expect("connected lost gap");
        send(&mut new, "3");
        run.expect("3");
        // It is not replaced.
        let more = run.updates.recv_timeout(Duration::from_millis(1500));
        assert_eq!(more.unwrap_err(), RecvTimeoutError::Timeout);
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
    });
}

#[test]
fn at_the_end_a_connection_that_is_being_replaced_is_closed_in_order() {
    let (listener, config) = service();
    let stop = Stop::new().unwrap();
    let config = config.ping_interval(LONG).stop(stop.clone());
    let config = config.renew_every(Duration::from_secs(1));
    let client = thread::spawn(move || {
        let mut client = Client::connect(&config).unwrap();
        client.subscribe(&STREAM.parse().unwrap()).unwrap();
        let error = client.run(|_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped);
        assert!(client.is_connected() && client.loss().is_none());
        let mut ids = Vec::new();
        let closed = client.close_with(|update| match update {
            Update::Event(event) => ids.push(event.id().unwrap_or_default().into_owned()),
            other => panic!("{other:?}"),
        });
        closed.unwrap();
        ids
    });
    let tcp = accept(&listener);
    let mut old = subscribed(&tcp);
    // Its session is not answered.
    let _new = accept(&listener);
    send(&mut old, "2");
    stop.stop();
    assert_eq!(closed(&mut old), (1, 1000));
    assert_eq!(client.join().unwrap(), ["2"]);
}

#[test]
fn an_earlier_pong_proves_nothing() {
    for is_subscribed in [false, true] {
        let (listener, config) = service();
        let config = config.ping_timeout(Duration::from_secs(2));
        let run = Run::with(config, |client, update| {
            if let Update::Ack(_) = update {
                client.ping().unwrap();
            }
        });
        let old_tcp = accept(&listener);
        let mut old = subscribed(&old_tcp);
        send(&mut old, "1");
        run.expect("connected ack 1");
        let new_tcp = accept(&listener);
        let mut new = open(&new_tcp);
        // Before the new connection is subscribed, or while an event of it is awaited.
        if is_subscribed {
            subscribe(&mut new);
            answer_pings(&mut old, 1);
        } else {
            answer_pings(&mut old, 1);
            subscribe(&mut new);
        }
        send(&mut old, "2");
        run.expect("connected 2");
        send(&mut new, "3");
        send(&mut old, "3");
        answer_pings(&mut old, 2);
        closed(&mut old);
        run.expect("3 handover");
    }
}

#[test]
fn a_stream_that_is_refused_for_now_holds_nothing_up() {
    handing_over_with(
        |socket, request| refuse(socket, request, 503),
        |run, _, _old, mut new| {
            send(&mut new, "3");
            run.expect("ack lost 3");
            subscribe(&mut new);
            run.expect("gap");
        },
    );
}

#[test]
fn a_request_on_a_new_connection_is_sent_once() {
    let (listener, config) = service();
    let mut connections = 0;
    let config = config.ping_timeout(Duration::from_secs(1));
    let run = Run::with(config, move |client, update| {
        connections += usize::from(matches!(update, Update::Connected));
        if connections == 2 && matches!(update, Update::Connected) {
            let other = "/demo/other".parse().unwrap();
            client.request(Action::Subscribe, &other).unwrap();
        }
    });
    let old_tcp = accept(&listener);
    let mut old = subscribed(&old_tcp);
    run.expect("connected ack");
    let new_tcp = accept(&listener);
    let mut new = open(&new_tcp);
    let mut requests = Vec::new();
    while requests.len() < 2 {
        let message = new.read().unwrap();
        if message.is_text() {
            requests.push(message.to_text().unwrap().contains("/demo/other"));
            grant(&mut new, &message);
        }
    }
    requests.sort_unstable();
    assert_eq!(requests, [false, true]);
    run.expect("connected ack");
    answer_pings(&mut old, 2);
    closed(&mut old);
    run.expect("handover");
}
