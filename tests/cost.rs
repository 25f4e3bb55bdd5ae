//! What receiving costs, in counts that no other program on the machine changes.
#![cfg(feature = "sim")]
#![allow(unsafe_code, reason = "an allocator is")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use octave_ws::sim::{ClientAction, Options, Sim};
use octave_ws::{Action, Client, Stream, Update};

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const LONG: Duration = Duration::from_secs(60);

/// Counts the allocations of each thread: the stand-in's do not count for the client.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // None at the end of a thread.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: it does what the system's does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_event_takes_no_allocation_of_its_own() {
    const EVENTS: u64 = 10_000;
    const SIZE: usize = 350;

    let event = format!(r#"{{"value":{{"pad":"{}"}}}}"#, "x".repeat(SIZE - 20));
    let length = u16::try_from(SIZE).unwrap().to_be_bytes();
    let frame = [&[0x81, 126], &length[..], event.as_bytes()].concat();
    // tungstenite has one for each message, rustls one for each record. The stand-in compresses what
    // it sends by itself.
    for (frames_of_record, is_compressed, theirs) in [(40, false, 1), (1, false, 2), (1, true, 2)] {
        let sim = Sim::start().unwrap();
        let mut client = Client::connect(&sim.config()).unwrap();
        client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
        let record = frame.repeat(frames_of_record);
        for _ in 0..20_000 / frames_of_record {
            if is_compressed {
                sim.send(&event);
            } else {
                sim.send_raw(&record);
            }
        }
        let mut receive = |events: u64| {
            let before = COUNT.get();
            for _ in 0..events {
                let Update::Event(event) = client.next(LONG).unwrap() else {
                    panic!("no event")
                };
                assert_eq!(event.message().len(), SIZE);
            }
            COUNT.get() - before
        };
        // Until all buffers have their size.
        receive(5_000);
        let allocations = receive(EVENTS);
        let most = theirs * EVENTS + EVENTS / 10;
        assert!(
            allocations < most,
            "{frames_of_record} {is_compressed}: {allocations}"
        );
    }
}

#[test]
fn a_first_event_takes_one_connection_and_one_handshake() {
    let (observer, seen) = mpsc::channel();
    let sim = Sim::start_with(Options::default().observer(observer)).unwrap();
    let mut client = Client::connect(&sim.config()).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    sim.send(r#"{"value":1}"#);
    assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
    let seen: Vec<ClientAction> = seen.try_iter().map(|seen| seen.action).collect();
    let count = |wanted: fn(&ClientAction) -> bool| seen.iter().filter(|what| wanted(what)).count();
    assert_eq!(
        count(|what| matches!(what, ClientAction::Connected)),
        1,
        "{seen:?}"
    );
    assert_eq!(
        count(|what| matches!(what, ClientAction::Handshake { .. })),
        1
    );
    assert_eq!(count(|what| matches!(what, ClientAction::Session(_))), 1);
    assert_eq!(count(|what| matches!(what, ClientAction::Subscribed(_))), 1);
}

/// How long anything takes to the other side of a [`link`].
const LATENCY: Duration = Duration::from_millis(40);

/// What a connection has cost.
struct Cost {
    sent: usize,
    received: usize,
    /// How often the client sent something after it had received something, or at first.
    round_trips: usize,
    packets: Packets,
}

/// The segments of a connection that carried data.
struct Packets {
    sent: u32,
    received: u32,
}

impl Packets {
    /// Counts those of a client, by its peer's socket.
    fn of_peer(tcp: &TcpStream) -> Self {
        // struct tcp_info of Linux: tcpi_data_segs_in and tcpi_data_segs_out.
        const AT: usize = 152;
        let mut info = [0_u8; AT + 8];
        let mut length = libc::socklen_t::try_from(info.len()).unwrap();
        // SAFETY: the system writes no more than that length.
        let done = unsafe {
            libc::getsockopt(
                tcp.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        assert_eq!((done, usize::try_from(length).unwrap()), (0, info.len()));
        let [sent, received] =
            [AT, AT + 4].map(|at| u32::from_ne_bytes(info[at..at + 4].try_into().unwrap()));
        Self { sent, received }
    }
}

/// Passes one connection on, slowly. Tells at its end what it has cost.
fn link(to: SocketAddr) -> (SocketAddr, mpsc::Receiver<Cost>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (end, ended) = mpsc::channel();
    thread::spawn(move || {
        let client = listener.accept().unwrap().0;
        let service = TcpStream::connect(to).unwrap();
        for tcp in [&client, &service] {
            tcp.set_nodelay(true).unwrap();
        }
        let is_answered = Arc::new(AtomicBool::new(true));
        let round_trips = Arc::new(AtomicUsize::new(0));
        let (answered, trips) = (Arc::clone(&is_answered), Arc::clone(&round_trips));
        let asks = move || {
            trips.fetch_add(answered.swap(false, SeqCst).into(), SeqCst);
        };
        let answers = move || is_answered.store(true, SeqCst);
        let (client_too, service_too) = (client.try_clone().unwrap(), service.try_clone().unwrap());
        let counted = client.try_clone().unwrap();
        let sent = pass_on(client_too, service_too, asks, || {});
        let received = pass_on(service, client, || {}, answers);
        let [sent, received] = [sent, received].map(|way| way.join().unwrap());
        let round_trips = round_trips.load(SeqCst);
        let _ = end.send(Cost {
            sent,
            received,
            round_trips,
            packets: Packets::of_peer(&counted),
        });
    });
    (at, ended)
}

/// Calls back for what comes in, and before that goes out. Returns how many bytes it was.
fn pass_on(
    mut from: TcpStream,
    mut to: TcpStream,
    comes: impl Fn() + Send + 'static,
    goes: impl Fn() + Send + 'static,
) -> thread::JoinHandle<usize> {
    let (late, under_way) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, bytes) in under_way {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            goes();
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut count = 0;
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            count += n;
            comes();
            let _ = late.send((Instant::now() + LATENCY, buffer[..n].to_vec()));
        }
        count
    })
}

#[test]
fn an_ack_takes_four_round_trips_of_a_connection_and_few_bytes() {
    let sim = Sim::start().unwrap();
    // On a busy machine an answer may come amid a flight: the least of a few counts.
    let mut least = usize::MAX;
    for _ in 0..5 {
        let (at, ended) = link(sim.addr());
        let config = sim.config().endpoint(format!("https://{at}"));
        let mut client = Client::connect(&config).unwrap();
        client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
        drop(client);
        let Cost {
            sent,
            received,
            round_trips,
            packets,
        } = ended.recv_timeout(LONG).unwrap();
        assert!(sent < 1_010, "sent {sent}");
        assert!(received < 1_600, "received {received}");
        // The end of the handshake leaves with the request of the session.
        assert_eq!(packets.sent, 4);
        assert!(packets.received <= 5, "{}", packets.received);
        least = least.min(round_trips);
    }
    // TLS, the session, the upgrade, the ack.
    assert_eq!(least, 4);
}

/// Passes connections on, and counts what they cost.
struct Counter {
    at: SocketAddr,
    clients: Arc<Mutex<Vec<TcpStream>>>,
    sent: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
}

impl Counter {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let counter = Self {
            at: listener.local_addr().unwrap(),
            clients: Arc::default(),
            sent: Arc::default(),
            received: Arc::default(),
        };
        let clients = Arc::clone(&counter.clients);
        let (sent, received) = (Arc::clone(&counter.sent), Arc::clone(&counter.received));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let service = TcpStream::connect(to).unwrap();
                for tcp in [&client, &service] {
                    tcp.set_nodelay(true).unwrap();
                }
                clients.lock().unwrap().push(client.try_clone().unwrap());
                let too = (client.try_clone().unwrap(), service.try_clone().unwrap());
                count_on(too.0, too.1, Arc::clone(&sent));
                count_on(service, client, Arc::clone(&received));
            }
        });
        counter
    }

    /// Returns what everything so far has cost: bytes and packets, sent and received.
    fn cost(&self) -> [usize; 4] {
        let mut packets = [0, 0];
        for client in self.clients.lock().unwrap().iter() {
            let Packets { sent, received } = Packets::of_peer(client);
            packets[0] += sent as usize;
            packets[1] += received as usize;
        }
        let [sent, received] = [&self.sent, &self.received].map(|bytes| bytes.load(SeqCst));
        [sent, received, packets[0], packets[1]]
    }
}

/// Copies bytes, and counts them before they go on.
fn count_on(mut from: TcpStream, mut to: TcpStream, count: Arc<AtomicUsize>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            count.fetch_add(n, SeqCst);
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// The bytes and packets, sent and received, of each step of a client, once.
fn steps() -> Vec<(&'static str, [usize; 4])> {
    let sim = Sim::start_with(Options::default().any_stream()).unwrap();
    let counter = Counter::start(sim.addr());
    let endpoint = format!("https://{}", counter.at);
    let config = sim.config().endpoint(endpoint).retry_for(LONG);
    let mut steps = Vec::new();
    let mut before = [0; 4];
    let mut step = |name| {
        let now = counter.cost();
        steps.push((name, [0, 1, 2, 3].map(|n| now[n] - before[n])));
        before = now;
    };
    let stream: Stream = TEMPERATURE.parse().unwrap();

    let mut client = Client::connect(&config).unwrap();
    client.subscribe(&stream).unwrap();
    step("start");
    client.ping().unwrap();
    assert!(matches!(client.next(LONG).unwrap(), Update::Pong(_)));
    step("ping");
    let text = "x".repeat(300);
    for name in ["first event", "second event"] {
        sim.publish(
            TEMPERATURE,
            &serde_json::json!({"name": name, "text": text}),
        );
        assert!(matches!(client.next(LONG).unwrap(), Update::Event(_)));
        step(name);
    }
    let paths: Vec<Stream> = (0..1_000)
        .map(|n| format!("/demo/devices/gw{n}/temperature").parse().unwrap())
        .collect();
    client.request_all(Action::Subscribe, &paths).unwrap();
    for _ in 0..paths.len() {
        assert!(matches!(client.next(LONG).unwrap(), Update::Ack(_)));
    }
    step("1,000 streams");
    sim.drop_all();
    while !matches!(client.next(LONG).unwrap(), Update::Gap(_)) {}
    step("reconnection of 1,001 streams");
    client.close().unwrap();

    let mut client = Client::connect(&config).unwrap();
    client.subscribe(&stream).unwrap();
    step("farewell and start");
    sim.drop_all();
    while !matches!(client.next(LONG).unwrap(), Update::Gap(_)) {}
    step("reconnection");
    client.close().unwrap();
    step("farewell");
    steps
}

/// The bounds of bytes are 2% above what they are, so that no packet is added unseen.
#[test]
fn each_step_has_its_bytes_and_packets() {
    // A busy machine sends a packet again, or two as one: the least of a few counts.
    let runs: Vec<_> = (0..5).map(|_| steps()).collect();
    for (n, (name, most)) in [
        ("start", [1_021, 1_540, 4, 5]),
        ("ping", [36, 32, 1, 1]),
        ("first event", [0, 260, 0, 1]),
        ("second event", [0, 70, 0, 1]),
        ("1,000 streams", [99_989, 10_932, 8, 40]),
        ("reconnection of 1,001 streams", [100_981, 11_912, 12, 45]),
        ("farewell and start", [104_231, 12_516, 15, 50]),
        ("reconnection", [1_114, 1_014, 4, 5]),
        ("farewell", [176, 86, 3, 3]),
    ]
    .into_iter()
    .enumerate()
    {
        let cost = [0, 1, 2, 3].map(|part| runs.iter().map(|run| run[n].1[part]).min().unwrap());
        assert_eq!(runs[0][n].0, name);
        let is_within = cost.iter().zip(&most).all(|(cost, most)| cost <= most);
        assert!(is_within, "{name}: {cost:?} of {most:?}");
    }
}
