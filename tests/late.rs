//! What has come in is taken before it is held against the peer that it did not.

use std::io::{Read, Write};
#[cfg(feature = "sim")]
use std::net::SocketAddr;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
#[cfg(feature = "sim")]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use octave_ws::{Action, Client, ErrorKind, FdReady, Phase, Stream, Update};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tungstenite::{Bytes, Message};

use crate::patience::until;
use crate::raw::{
    Part, Socket, accept, config, grant, open, play, serve_out, wait_until_delivered,
};

mod patience;
mod raw;

const LONG: Duration = Duration::from_secs(60);

/// What a caller allows, and as long as it is busy then.
const ALLOWED: Duration = Duration::from_millis(200);
const BUSY: Duration = Duration::from_millis(600);

fn stream() -> Stream {
    "/a".parse().unwrap()
}

fn event(n: usize, length: usize) -> Message {
    Message::text(format!(
        r#"{{"value":{{"n":{n},"x":"{}"}}}}"#,
        "x".repeat(length)
    ))
}

#[test]
fn an_ack_that_has_come_is_not_late_whatever_came_before_it() {
    for events in [0, 1, 300] {
        let (endpoint, service) = play([Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
            let request = socket.read().unwrap();
            for n in 0..events {
                socket.write(event(n, 10_000)).unwrap();
            }
            grant(&mut socket, &request);
            serve_out(&mut socket);
        })]);
        let mut client = Client::connect(&config(&endpoint).ack_timeout(ALLOWED)).unwrap();
        client.request(Action::Subscribe, &stream()).unwrap();
        thread::sleep(BUSY);
        for _ in 0..events {
            assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
            // A caller that is slow lets the service write no faster.
            thread::sleep(Duration::from_millis(1));
        }
        assert!(matches!(client.next(LONG).unwrap(), Update::Ack(_)));
        drop(client);
        service.join().unwrap();
    }
}

#[test]
fn an_ack_that_does_not_come_is_late_though_messages_come_without_a_pause() {
    let (endpoint, _service) = play([Box::new(
        |_: &TcpStream, mut socket: Socket<'_>| {
            while socket.send(event(0, 100)).is_ok() {}
        },
    )]);
    let mut client = Client::connect(&config(&endpoint).ack_timeout(ALLOWED)).unwrap();
    client.request(Action::Subscribe, &stream()).unwrap();
    let start = Instant::now();
    let error = loop {
        match client.next(LONG) {
            Ok(_) => assert!(start.elapsed() < LONG, "it is never late"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn an_ack_that_does_not_come_is_late_at_once_where_nothing_else_comes() {
    let (endpoint, _service) = play([Box::new(
        |_: &TcpStream, mut socket: Socket<'_>| {
            while socket.read().is_ok() {}
        },
    )]);
    let mut client = Client::connect(&config(&endpoint).ack_timeout(ALLOWED)).unwrap();
    client.request(Action::Subscribe, &stream()).unwrap();
    let start = Instant::now();
    assert_eq!(client.next(LONG).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() < LONG / 4);
}

#[test]
fn an_ack_that_does_not_come_is_late_to_a_caller_that_polls_too() {
    let (endpoint, _service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        // One event for several looks.
        while socket.send(event(0, 100)).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    })]);
    let mut client = Client::connect(&config(&endpoint).ack_timeout(ALLOWED)).unwrap();
    client.request(Action::Subscribe, &stream()).unwrap();
    until("it is late", || {
        client
            .next(Duration::ZERO)
            .is_err_and(|error| error.kind() == ErrorKind::TimedOut)
    });
}

#[test]
fn an_ack_behind_a_message_that_keeps_coming_in_is_waited_for() {
    let (endpoint, service) = play([Box::new(|mut tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        let message = br#"{"value":"0123456789"}"#;
        let frame = [&[0x81, 22], &message[..]].concat();
        // For several times as long as an ack may take, with pauses of less.
        for byte in frame.chunks(2) {
            tcp.write_all(byte).unwrap();
            thread::sleep(ALLOWED);
        }
        grant(&mut socket, &request);
        serve_out(&mut socket);
    })]);
    let config = config(&endpoint).ack_timeout(7 * ALLOWED);
    let mut client = Client::connect(&config).unwrap();
    client.request(Action::Subscribe, &stream()).unwrap();
    assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    assert!(matches!(client.next(LONG).unwrap(), Update::Ack(_)));
    drop(client);
    service.join().unwrap();
}

/// A relay between a client and a service: what the service sends is passed on in parts of 1000 bytes
/// with pauses, once `is_slow`. Tells of the bytes that come in for that.
#[cfg(feature = "sim")]
fn relay(to: SocketAddr, is_slow: Arc<AtomicBool>) -> (SocketAddr, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        let mut client = accept(&listener);
        let mut service = TcpStream::connect(to).unwrap();
        let (mut asked, mut asks) = (client.try_clone().unwrap(), service.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut asked, &mut asks));
        let (late, under_way) = mpsc::channel::<Vec<u8>>();
        let slow = Arc::clone(&is_slow);
        thread::spawn(move || {
            for part in under_way {
                if slow.load(Ordering::SeqCst) {
                    thread::sleep(ALLOWED);
                }
                if client.write_all(&part).is_err() {
                    break;
                }
            }
        });
        let mut part = [0; 1000];
        while let Ok(n @ 1..) = service.read(&mut part) {
            let _ = late.send(part[..n].to_vec());
            if is_slow.load(Ordering::SeqCst) {
                let _ = sender.send(n);
            }
        }
    });
    (at, told)
}

#[cfg(feature = "sim")]
#[test]
fn an_ack_behind_a_tls_record_that_keeps_coming_in_is_waited_for() {
    let path = "/demo/devices/gw1/temperature";
    let sim = octave_ws::sim::Sim::start().unwrap();
    let is_slow = Arc::new(AtomicBool::new(false));
    let (at, told) = relay(sim.addr(), Arc::clone(&is_slow));
    let config = sim.config().endpoint(format!("https://{at}"));
    let config = config.compression(false).ack_timeout(7 * ALLOWED);
    let mut client = Client::connect(&config).unwrap();
    client.subscribe(&path.parse().unwrap()).unwrap();
    is_slow.store(true, Ordering::SeqCst);
    // One record, which takes twice as long as an ack may.
    sim.publish(path, &serde_json::json!("x".repeat(14_000)));
    let mut came = 0;
    while came < 14_000 {
        came += told.recv_timeout(LONG).unwrap();
    }
    client
        .request(Action::Unsubscribe, &path.parse().unwrap())
        .unwrap();
    assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    assert!(matches!(client.next(LONG).unwrap(), Update::Ack(_)));
}

#[test]
fn a_zero_timeout_returns_data_after_pings() {
    let (sender, sent) = mpsc::channel();
    let (endpoint, service) = play([Box::new(
        move |mut tcp: &TcpStream, mut socket: Socket<'_>| {
            assert!(socket.read().unwrap().is_text());
            let event = [&[0x81, 11], &br#"{"value":1}"#[..]].concat();
            tcp.write_all(&[[0x89, 0].repeat(1000), event].concat())
                .unwrap();
            wait_until_delivered(tcp);
            sender.send(()).unwrap();
            serve_out(&mut socket);
        },
    )]);
    let mut client = Client::connect(&config(&endpoint)).unwrap();
    // Nothing of it is read before.
    client.send("{}").unwrap();
    sent.recv_timeout(LONG).unwrap();
    let next = client.next(Duration::ZERO).unwrap();
    assert!(matches!(next, Update::Event(_)), "{next:?}");
    drop(client);
    service.join().unwrap();
}

#[test]
fn a_flood_of_pongs_does_not_outlast_a_deadline_nor_a_stop() {
    let (endpoint, service) = play([Box::new(|mut tcp: &TcpStream, _: Socket<'_>| {
        let flood = [0x8a, 0].repeat(32 << 10);
        while tcp.write_all(&flood).is_ok() {}
    })]);
    let stop = octave_ws::Stop::new().unwrap();
    let config = config(&endpoint).stop(stop.clone());
    let (done, ended) = mpsc::channel();
    let caller = thread::spawn(move || {
        let mut client = Client::connect(&config).unwrap();
        assert!(matches!(client.next(ALLOWED).unwrap(), Update::TimedOut));
        stop.stop();
        assert_eq!(client.next(LONG).unwrap_err().kind(), ErrorKind::Stopped);
        // It ends in time, although data keeps arriving.
        let _ = client.close();
        done.send(()).unwrap();
    });
    ended.recv_timeout(LONG).expect("it does not end");
    caller.join().unwrap();
    service.join().unwrap();
}

#[test]
fn a_flood_of_pongs_does_not_put_off_the_end() {
    let (endpoint, service) = play([Box::new(|mut tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        let flood = [0x8a, 0].repeat(32 << 10);
        while tcp.write_all(&flood).is_ok() {}
    })]);
    let config = config(&endpoint)
        .ack_timeout(2 * LONG)
        .ping_timeout(2 * LONG);
    let (done, ended) = mpsc::channel();
    let caller = thread::spawn(move || {
        let mut client = Client::connect(&config).unwrap();
        client.subscribe(&"/a".parse().unwrap()).unwrap();
        // Nothing else would end it.
        let mut lost = 0;
        let _ = client.close_within(Duration::MAX, |next| {
            lost += usize::from(matches!(next, Update::Lost(_)));
        });
        done.send(lost).unwrap();
    });
    let lost = ended.recv_timeout(LONG).expect("it does not end");
    assert_eq!(lost, 1, "events may lie behind it");
    caller.join().unwrap();
    service.join().unwrap();
}

#[test]
fn a_message_that_comes_slowly_is_no_flood() {
    let (sender, begun) = mpsc::channel();
    let (endpoint, service) = play([Box::new(
        move |mut tcp: &TcpStream, mut socket: Socket<'_>| {
            let request = socket.read().unwrap();
            grant(&mut socket, &request);
            let text = format!(r#"{{"value":"{}"}}"#, "x".repeat(1 << 20));
            let mut frame = vec![0x81, 127];
            frame.extend((text.len() as u64).to_be_bytes());
            frame.extend(text.into_bytes());
            let (first, rest) = frame.split_at(1 << 19);
            tcp.write_all(&first[..9]).unwrap();
            wait_until_delivered(tcp);
            sender.send(()).unwrap();
            tcp.write_all(&first[9..]).unwrap();
            thread::sleep(Duration::from_secs(3));
            tcp.write_all(rest).unwrap();
            serve_out(&mut socket);
        },
    )]);
    let mut client = Client::connect(&config(&endpoint)).unwrap();
    client.subscribe(&"/a".parse().unwrap()).unwrap();
    begun.recv_timeout(LONG).unwrap();
    let mut events = 0;
    let is_event = |next| matches!(next, Update::Event(_));
    // Once the connection is known to live, the answer is not waited for.
    let _ = client.close_within(Duration::MAX, |next| events += usize::from(is_event(next)));
    assert_eq!(events, 1);
    service.join().unwrap();
}

#[test]
fn a_gap_begins_when_all_was_read_that_had_been_sent() {
    let (sender, ended) = mpsc::channel();
    let first: Box<Part> = Box::new(move |_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        for n in 0..100 {
            socket.send(event(n, 1000)).unwrap();
        }
        sender.send(SystemTime::now()).unwrap();
    });
    let second: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        serve_out(&mut socket);
    });
    let (endpoint, service) = play([first, second]);
    let mut client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
    client.subscribe(&stream()).unwrap();
    let ended_at = ended.recv_timeout(LONG).unwrap();
    // A caller that is busy reads later what came before the end.
    thread::sleep(BUSY);
    for _ in 0..100 {
        assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    }
    let Update::Lost(loss) = client.next(LONG).unwrap() else {
        panic!("no loss")
    };
    // As long as what came first may have taken.
    assert!(loss.from < ended_at + BUSY / 4, "{loss:?}, {ended_at:?}");
    drop(client);
    drop(service);
}

#[test]
fn a_message_that_was_cut_off_began_before_the_gap() {
    let (sender, begun) = mpsc::channel();
    let first: Box<Part> = Box::new(move |mut tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        let message = br#"{"value":"0123456789"}"#;
        let frame = [&[0x81, 22], &message[..]].concat();
        sender.send(SystemTime::now()).unwrap();
        for byte in &frame[..10] {
            tcp.write_all(&[*byte]).unwrap();
            thread::sleep(ALLOWED / 2);
        }
    });
    let second: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        serve_out(&mut socket);
    });
    let (endpoint, _service) = play([first, second]);
    let mut client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
    client.subscribe(&stream()).unwrap();
    let Update::Lost(loss) = client.next(LONG).unwrap() else {
        panic!("no loss")
    };
    let begun_at = begun.recv_timeout(LONG).unwrap();
    assert!(
        loss.from <= begun_at + ALLOWED / 4,
        "{loss:?}, {begun_at:?}"
    );
}

#[test]
fn half_a_frame_counts_as_a_sign_of_life_when_it_comes() {
    let (endpoint, _service) = play([Box::new(|mut tcp: &TcpStream, mut socket: Socket<'_>| {
        // Not in the same read as the end of the handshake.
        assert!(socket.read().unwrap().is_text());
        tcp.write_all(&[0x81, 100, b'{']).unwrap();
        // Pings are read, and not answered.
        let _ = std::io::copy(&mut tcp, &mut std::io::sink());
        let _ = socket.read();
    })]);
    let config = config(&endpoint)
        .ping_interval(10 * ALLOWED)
        .ping_timeout(ALLOWED);
    let mut client = Client::connect(&config).unwrap();
    client.send("{}").unwrap();
    let start = Instant::now();
    let error = client.next(LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    // Another interval would be as long again.
    assert!(start.elapsed() < 18 * ALLOWED, "{:?}", start.elapsed());
}

#[test]
fn a_pong_that_has_come_is_one_whatever_is_watched() {
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        // Read alone answers nothing.
        assert!(socket.read().unwrap().is_ping());
        thread::sleep(ALLOWED);
        socket.send(Message::Pong(Bytes::new())).unwrap();
        serve_out(&mut socket);
    })]);
    let config = config(&endpoint)
        .ping_interval(ALLOWED)
        .ping_timeout(ALLOWED);
    let mut client = Client::connect(&config).unwrap();
    let (quiet, _open) = std::io::pipe().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    client.watch([quiet, reader].map(OwnedFd::from));
    // Long enough for a ping to be sent, not for its answer.
    let next = client.next(ALLOWED + ALLOWED / 2);
    assert!(matches!(next.unwrap(), Update::TimedOut));
    thread::sleep(BUSY);
    writer.write_all(b"x").unwrap();
    let Update::FdReady(ready) = client.next(LONG).unwrap() else {
        panic!("not ready")
    };
    assert_eq!(ready, FdReady::Readable(1));
    drop(client);
    service.join().unwrap();
}

#[test]
fn an_always_readable_descriptor_delays_neither_events_nor_limits() {
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        socket.send(event(0, 100)).unwrap();
        grant(&mut socket, &request);
        // The ack of another is never sent.
        while socket.read().is_ok() {}
    })]);
    let mut client = Client::connect(&config(&endpoint).ack_timeout(ALLOWED)).unwrap();
    client.watch(Some(OwnedFd::from(
        std::fs::File::open("/dev/zero").unwrap(),
    )));
    client.request(Action::Subscribe, &stream()).unwrap();
    let (mut events, mut acks, mut readable) = (0, 0, 0);
    let start = Instant::now();
    let error = loop {
        assert!(start.elapsed() < LONG, "it is never late");
        match client.next(LONG) {
            Ok(Update::Event(_)) => events += 1,
            Ok(Update::Ack(_)) => {
                acks += 1;
                client.request(Action::Unsubscribe, &stream()).unwrap();
            }
            Ok(Update::FdReady(_)) => readable += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.phase(), Phase::Unsubscribe);
    assert_eq!((events, acks), (1, 1));
    assert!(readable > 0);
    drop(client);
    service.join().unwrap();
}

#[test]
fn a_ready_descriptor_is_reported_amid_messages() {
    let (endpoint, _service) = play([Box::new(|mut tcp: &TcpStream, _: Socket<'_>| {
        // Faster than it is read.
        let flood = [&[0x81, 11], &br#"{"value":1}"#[..]]
            .concat()
            .repeat(10_000);
        while tcp.write_all(&flood).is_ok() {}
    })]);
    let mut client = Client::connect(&config(&endpoint)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    client.watch_hangup(Some(OwnedFd::from(writer)));
    assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    drop(reader);
    let start = Instant::now();
    while !matches!(client.next(LONG).unwrap(), Update::FdReady(FdReady::HungUp)) {
        assert!(start.elapsed() < LONG);
    }
}

#[test]
fn no_time_at_all_makes_an_attempt_and_hears_a_stop() {
    let sessions = |n| {
        let part = |_: &TcpStream, mut socket: Socket<'_>| {
            let request = socket.read().unwrap();
            grant(&mut socket, &request);
        };
        vec![part; n]
    };
    let [first, second] = sessions(2)[..] else {
        unreachable!()
    };
    let (endpoint, service) = play([Box::new(first), Box::new(second)]);
    let stop = octave_ws::Stop::new().unwrap();
    let config = config(&endpoint).retry_for(LONG).stop(stop.clone());
    let mut client = Client::connect(&config).unwrap();
    client.subscribe(&stream()).unwrap();
    let mut reason = String::new();
    until("it connects", || {
        match client.next(Duration::ZERO).unwrap() {
            Update::Gap(gap) => {
                reason = gap.reason;
                true
            }
            _ => false,
        }
    });
    assert!(reason.contains("ended the connection"), "{reason}");
    service.join().unwrap();
    stop.stop();
    until("it is stopped", || client.next(Duration::ZERO).is_err());
}

/// A service whose first connection is left hanging; the next ones are served.
fn hanging() -> (String, thread::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = thread::spawn(move || {
        let first = accept(&listener);
        let tcp = accept(&listener);
        thread::sleep(ALLOWED * 2);
        let mut socket = open(&tcp);
        serve_out(&mut socket);
        first
    });
    (endpoint, service)
}

#[test]
fn a_ready_descriptor_cuts_an_attempt_short_once() {
    let (endpoint, service) = hanging();
    // By itself the first attempt would hang for longer.
    let config = config(&endpoint).retry_for(LONG).connect_timeout(2 * LONG);
    let mut client = Client::new(&config).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    client.watch(Some(OwnedFd::from(reader)));
    let thread = thread::spawn(move || {
        thread::sleep(ALLOWED);
        writer.write_all(b"x").unwrap();
        writer
    });
    assert!(matches!(client.next(LONG).unwrap(), Update::FdReady(_)));
    // Although it is not read.
    until("it connects", || {
        matches!(client.next(LONG).unwrap(), Update::Connected)
    });
    drop(client);
    drop(thread.join().unwrap());
    service.join().unwrap();
}

#[test]
fn the_attempt_after_one_that_was_cut_short_comes_to_its_end() {
    let (endpoint, service) = hanging();
    let mut client = Client::new(&config(&endpoint).retry_for(LONG)).unwrap();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    client.watch(Some(reader.try_clone().unwrap().into()));
    // Whenever it looks.
    thread::spawn(move || {
        loop {
            thread::sleep(ALLOWED);
            if writer.write_all(b"x").is_err() {
                break;
            }
        }
    });
    let start = Instant::now();
    while !matches!(client.next(LONG).unwrap(), Update::Connected) {
        assert!(start.elapsed() < LONG, "it does not connect");
        reader.read_exact(&mut [0]).unwrap();
    }
    drop(client);
    service.join().unwrap();
}

#[test]
fn somebody_can_be_called_while_it_connects_and_not_after() {
    let (endpoint, service) = hanging();
    let (sender, called) = mpsc::channel();
    let every = Duration::from_millis(10);
    let config = config(&endpoint)
        .retry_for(LONG)
        .connect_timeout(4 * BUSY)
        .watchdog(every, move || sender.send(Instant::now()).unwrap());
    let mut client = Client::new(&config).unwrap();
    assert!(matches!(
        client.next(LONG).unwrap(),
        Update::Disconnected(_)
    ));
    assert!(matches!(client.next(LONG).unwrap(), Update::Connected));
    let calls: Vec<Instant> = called.try_iter().collect();
    // While the first attempt hung, and until the second one was made.
    let span = *calls.last().unwrap() - calls[0];
    assert!(span >= BUSY && calls.len() > 5, "{} {span:?}", calls.len());
    assert!(matches!(client.next(ALLOWED).unwrap(), Update::TimedOut));
    assert_eq!(called.try_iter().count(), 0);
    drop(client);
    service.join().unwrap();
}

#[test]
fn no_duration_is_too_long() {
    let (endpoint, service) = play([Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        serve_out(&mut socket);
    })]);
    let config = config(&endpoint)
        .connect_timeout(Duration::MAX)
        .retry_for(Duration::MAX)
        .ack_timeout(Duration::MAX)
        .ping_interval(Duration::MAX)
        .ping_timeout(Duration::MAX)
        .heartbeat(Duration::MAX)
        .watchdog(Duration::MAX, || ());
    let mut client = Client::new(&config).unwrap();
    client.set_connect_limit(Some(Duration::MAX));
    assert!(matches!(
        client.next(Duration::MAX).unwrap(),
        Update::Connected
    ));
    client.subscribe(&stream()).unwrap();
    client.close_within(Duration::MAX, |_| {}).unwrap();
    service.join().unwrap();
}

#[test]
fn empty_fragments_buy_no_time_at_any_speed() {
    let (endpoint, service) = play([Box::new(|mut tcp: &TcpStream, mut socket: Socket<'_>| {
        tcp.write_all(&[0x01, 1, b'"']).unwrap();
        // 20 KB/s.
        let empty = [0, 0].repeat(1000);
        while tcp.write_all(&empty).is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
        let _ = socket.read();
    })]);
    let mut client = Client::connect(&config(&endpoint)).unwrap();
    let error = client.next(LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLong);
    drop(client);
    service.join().unwrap();
}

#[test]
fn a_transient_refusal_is_retried_amid_messages() {
    let first: Box<Part> = Box::new(|_: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
    });
    let second: Box<Part> = Box::new(|mut tcp: &TcpStream, mut socket: Socket<'_>| {
        let refused = r#"{"head":{"msgId":"1","ok":false,"status":503,"errors":["later"]}}"#;
        socket.read().unwrap();
        socket.send(Message::text(refused)).unwrap();
        let flood = [&[0x81, 11], &br#"{"value":1}"#[..]]
            .concat()
            .repeat(10_000);
        while tcp.write_all(&flood).is_ok() {
            let mut fds = [PollFd::new(tcp, PollFlags::IN)];
            if poll(&mut fds, Some(&Timespec::default())).unwrap() > 0 {
                match socket.read() {
                    Ok(request) if request.is_text() => grant(&mut socket, &request),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
    });
    let (endpoint, service) = play([first, second]);
    let mut client = Client::connect(&config(&endpoint).retry_for(LONG)).unwrap();
    client.subscribe(&stream()).unwrap();
    let deadline = Instant::now() + LONG;
    while !matches!(client.next(LONG).unwrap(), Update::Gap(_)) {
        assert!(Instant::now() < deadline, "it is not asked for again");
    }
    drop(client);
    service.join().unwrap();
}
