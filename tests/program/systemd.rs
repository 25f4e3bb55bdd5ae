//! A service manager, and its notifications.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use octave_ws::sim::{ClientAction, Fault, Options, Sim};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::memory::led_to;
use super::patience::until;
use super::raw::{Socket, grant, play};
use super::signals::COME_BACK_LATER;
use super::silence::cpu_time;
use super::{
    TEMPERATURE, await_seen, await_subscription, kill, octave_ws, start, start_with, stderr,
    untimed,
};

const LONG: Duration = Duration::from_secs(30);

struct Manager {
    told: Receiver<String>,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self {
            told: listen_to(socket),
            folder,
        }
    }

    fn listen(&self, sim: &Sim, args: &[&str]) -> Command {
        let mut command = octave_ws(sim, &[&["listen", TEMPERATURE], args].concat());
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command
    }

    fn stop(&self, child: Child) {
        kill(&child, Signal::TERM);
        await_told(&self.told, "STOPPING=1");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

/// Reads notifications at once: a full queue would block the next.
fn listen_to(socket: UnixDatagram) -> Receiver<String> {
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 1024];
        loop {
            let n = socket.recv(&mut bytes).unwrap();
            let text = std::str::from_utf8(&bytes[..n]).unwrap().to_owned();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    told
}

/// Reads notifications up to this one.
fn await_told(told: &Receiver<String>, what: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|last| last != what) {
        let next = told.recv_timeout(LONG);
        all.push(next.unwrap_or_else(|_| panic!("no {what} after {all:?}")));
    }
    all
}

#[test]
fn notifications_follow_the_life_of_a_service() {
    let (sim, seen) = start(0.0);
    let manager = Manager::new();
    let file = manager.folder.path().join("events.jsonl");
    let output = format!("--output={}", file.display());
    let child = manager.listen(&sim, &[&output]).spawn().unwrap();
    let begun = await_told(&manager.told, "READY=1");
    await_subscription(&seen);
    assert_eq!(begun[0], "STATUS=connecting");
    sim.publish(TEMPERATURE, &json!(1));
    let status = loop {
        let told = manager.told.recv_timeout(LONG).unwrap();
        if told.contains("events: 1,") {
            break told;
        }
    };
    assert!(
        status.starts_with("STATUS=connected, events: 1, bytes: "),
        "{status}"
    );
    assert!(status.ends_with(", gaps: 0"), "{status}");

    std::fs::rename(&file, file.with_extension("1")).unwrap();
    kill(&child, Signal::HUP);
    let reloaded = await_told(&manager.told, "READY=1");
    let [.., reloading, _] = &reloaded[..] else {
        panic!("{reloaded:?}")
    };
    let since = reloading
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .unwrap();
    // By the clock that systemd compares it with.
    let since = Duration::from_micros(since.parse().unwrap());
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap();
    let is_now = now.checked_sub(since).is_some_and(|ago| ago < LONG);
    assert!(is_now, "{since:?} {now:?}");
    assert!(file.exists());
    manager.stop(child);
}

#[test]
fn ready_is_sent_while_the_service_is_away() {
    let (sim, _seen) = start(0.0);
    // Nothing is there, an answer that puts off the next attempt, and a subscription that is not
    // answered.
    for fault in [
        Some(Fault::SessionAnswer(503, "")),
        Some(Fault::AckSilent),
        None,
    ] {
        sim.set_faults(fault.as_slice());
        let manager = Manager::new();
        let file = manager.folder.path().join("events.jsonl");
        let output = format!("--output={}", file.display());
        let mut program = manager.listen(&sim, &["--ack-timeout=1h", &output]);
        if fault.is_none() {
            program.env("OCTAVE_ENDPOINT", "https://127.0.0.1:1");
        }
        let child = program.spawn().unwrap();
        await_told(&manager.told, "READY=1");
        std::fs::remove_file(&file).unwrap();
        kill(&child, Signal::HUP);
        await_told(&manager.told, "READY=1");
        assert!(file.exists(), "{fault:?}");
        manager.stop(child);
    }
}

#[test]
fn ready_is_not_sent_with_an_invalid_configuration() {
    let (sim, _seen) = start(0.0);
    let manager = Manager::new();
    let mut program = manager.listen(&sim, &[]);
    let output = program.env("OCTAVE_ENDPOINT", "nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(manager.told.try_iter().all(|told| told != "READY=1"));
}

#[test]
fn ready_is_sent_with_nothing_to_do() {
    let (sim, _seen) = start(0.0);
    let manager = Manager::new();
    let output = manager.listen(&sim, &["--shard=1/9999"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    await_told(&manager.told, "READY=1");
}

#[test]
fn its_watchdog_is_fed_while_the_service_is_alive_and_no_longer() {
    let (sim, _seen) = start(0.0);
    let manager = Manager::new();
    // Silence is not death: the service is asked.
    let mut command = manager.listen(&sim, &[]);
    let child = command.env("WATCHDOG_USEC", "100000").spawn().unwrap();
    for _ in 0..5 {
        await_told(&manager.told, "WATCHDOG=1");
    }
    manager.stop(child);

    // That of another process is not fed.
    let mut command = manager.listen(&sim, &["--duration=500ms"]);
    command
        .env("WATCHDOG_USEC", "100000")
        .env("WATCHDOG_PID", "1");
    assert!(command.output().unwrap().status.success());
    let all = await_told(&manager.told, "STOPPING=1");
    assert!(!all.contains(&"WATCHDOG=1".to_owned()), "{all:?}");

    // A service that is not heard of any more.
    sim.set_faults(&[Fault::Stall]);
    let args = ["--no-reconnect", "--ping-interval=1s", "--ping-timeout=1s"];
    let mut command = manager.listen(&sim, &args);
    let output = command.env("WATCHDOG_USEC", "100000").output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    let all = await_told(&manager.told, "STOPPING=1");
    // While it connects, which takes its time on a busy machine, it is fed.
    let is_connected = |told: &&String| told.starts_with("STATUS=connected");
    assert!(all.iter().any(|told| is_connected(&told)));
    let subscribed = all.iter().skip_while(|told| !is_connected(told));
    let fed = subscribed.filter(|told| *told == "WATCHDOG=1").count();
    // Once for the acknowledgement, at most.
    assert!(fed <= 1, "{all:?}");
}

/// How many pings a client sends from here to the end of the connection.
fn pings(mut tcp: &TcpStream) -> usize {
    let mut pings = 0;
    let mut head = [0; 2];
    // A frame of a client is masked, and has four bytes more for that.
    while tcp.read_exact(&mut head).is_ok() {
        pings += usize::from(head[0] & 0xf == 9);
        let length = usize::from(head[1] & 0x7f);
        assert!(length < 126);
        tcp.read_exact(&mut vec![0; 4 + length]).unwrap();
    }
    pings
}

#[test]
fn a_service_that_does_not_answer_is_asked_for_a_sign_of_life_once() {
    let (sender, asked) = mpsc::channel();
    let (endpoint, service) = play([Box::new(move |tcp: &TcpStream, mut socket: Socket<'_>| {
        let request = socket.read().unwrap();
        grant(&mut socket, &request);
        sender.send(pings(tcp)).unwrap();
    })]);
    let manager = Manager::new();
    let mut command = led_to(&endpoint, &["listen", "/a", "--duration=2s"]);
    command
        .env("NOTIFY_SOCKET", manager.folder.path().join("notify"))
        .env("WATCHDOG_USEC", "200000");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // And once more at the end, as nothing came since.
    assert_eq!(asked.recv_timeout(LONG).unwrap(), 2);
    service.join().unwrap();
}

#[test]
fn its_socket_may_be_abstract_or_gone() {
    let (sim, _seen) = start(0.0);
    let name = format!("octave-ws-test-{}", sim.addr());
    let addr = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&addr).unwrap();
    let told = listen_to(manager);
    let mut command = octave_ws(&sim, &["listen", TEMPERATURE, "--duration=1ms"]);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    assert!(command.output().unwrap().status.success());
    await_told(&told, "STOPPING=1");
    command.env("NOTIFY_SOCKET", "/nowhere/notify");
    let output = command.output().unwrap();
    assert!(output.status.success());
    let first = stderr(&output).lines().next().unwrap();
    assert!(
        untimed(first).starts_with("warning: systemd: NOTIFY_SOCKET cannot be reached: "),
        "{first}"
    );
}

#[test]
fn status_is_not_sent_for_each_event() {
    let (sim, _seen) = start(1000.0);
    let manager = Manager::new();
    let mut command = manager.listen(&sim, &["--count=1500"]);
    let begun_at = Instant::now();
    assert!(command.output().unwrap().status.success());
    let most = begun_at.elapsed().as_secs() + 2;
    let all = await_told(&manager.told, "STOPPING=1");
    let statuses = all
        .iter()
        .filter(|told| told.starts_with("STATUS="))
        .count();
    assert!(statuses >= 2 && statuses as u64 <= most, "{all:?}");
}

#[test]
fn its_watchdog_is_fed_while_another_connection_is_tried_for() {
    // By themselves, either lasts longer than is waited for a sign.
    for fault in [Fault::SessionSilent, Fault::SessionRaw(COME_BACK_LATER)] {
        let (sim, seen) = start(0.0);
        let manager = Manager::new();
        let mut command = manager.listen(&sim, &["--connect-timeout=1h"]);
        let child = command.env("WATCHDOG_USEC", "100000").spawn().unwrap();
        await_told(&manager.told, "READY=1");
        await_subscription(&seen);
        sim.set_faults(&[fault]);
        sim.drop_all();
        await_seen(&seen, |what| match fault {
            Fault::SessionSilent => *what == ClientAction::Ignored,
            _ => matches!(what, ClientAction::Session(_)),
        });
        let before = cpu_time(&child);
        for _ in 0..40 {
            await_told(&manager.told, "WATCHDOG=1");
        }
        // It takes turns of waiting, not of looking: these are 2 s.
        let time = cpu_time(&child).saturating_sub(before);
        assert!(time < Duration::from_millis(200), "{time:?}");
        manager.stop(child);
    }
}

#[test]
fn after_an_outage_it_listens_again() {
    let (sim, _seen) = start(0.0);
    let manager = Manager::new();
    let mut command = manager.listen(&sim, &[]);
    let child = command.env("WATCHDOG_USEC", "200000").spawn().unwrap();
    await_told(&manager.told, "READY=1");
    // Several times as long as the watchdog waits.
    sim.set_faults(&[Fault::SessionAnswer(503, "later")]);
    sim.drop_all();
    thread::sleep(Duration::from_secs(1));
    sim.set_faults(&[]);
    until("it listens again", || {
        sim.publish(TEMPERATURE, &json!(1)) > 0
    });
    manager.stop(child);
}

#[test]
fn a_file_is_opened_again_at_once_though_there_is_no_connection() {
    for fault in [Fault::SessionSilent, Fault::SessionRaw(COME_BACK_LATER)] {
        // At first, too, when there was none yet.
        let (sim, seen) = start(0.0);
        sim.set_faults(&[fault]);
        let manager = Manager::new();
        let file = manager.folder.path().join("events.jsonl");
        let output = format!("--output={}", file.display());
        let mut command = manager.listen(&sim, &["--connect-timeout=1h", &output]);
        let child = command.spawn().unwrap();
        until("there is a file", || file.exists());
        // Once it hangs, or waits for the next attempt.
        await_seen(&seen, |what| match fault {
            Fault::SessionSilent => *what == ClientAction::Ignored,
            _ => matches!(what, ClientAction::Session(_)),
        });
        super::waits::await_sleep(&child);
        std::fs::rename(&file, file.with_extension("1")).unwrap();
        kill(&child, Signal::HUP);
        until("it is opened again", || file.exists());
        manager.stop(child);
    }
}

#[test]
fn streams_that_change_before_the_first_connection_are_counted() {
    let (sim, _seen) = start_with(Options::default().any_stream());
    let manager = Manager::new();
    let list = manager.folder.path().join("list");
    let write = |count: usize| {
        let names = (0..count).map(|n| format!("/demo/{n}\n"));
        fs::write(&list, names.collect::<String>()).unwrap();
    };
    let option = format!("--streams-file={}", list.display());
    for (before, after) in [(10, 3), (3, 10)] {
        write(before);
        sim.set_faults(&[
            Fault::SessionAnswer(503, "service unavailable"),
            Fault::AckSilent,
        ]);
        let mut command = octave_ws(&sim, &["listen", &option]);
        command.env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
        let child = command.spawn().unwrap();
        await_told(&manager.told, "READY=1");
        write(after);
        kill(&child, Signal::HUP);
        await_told(&manager.told, "READY=1");
        sim.set_faults(&[Fault::AckSilent]);
        let status =
            format!("STATUS=subscribed to 0 of {after} streams, events: 0, bytes: 0, gaps: 0");
        await_told(&manager.told, &status);
        kill(&child, Signal::TERM);
        await_told(&manager.told, "STOPPING=1");
        child.wait_with_output().unwrap();
    }
}

#[test]
fn a_share_that_is_empty_at_the_first_connection_is_subscribed() {
    let (sim, _seen) = start_with(Options::default().any_stream());
    let manager = Manager::new();
    let list = manager.folder.path().join("list");
    let option = format!("--streams-file={}", list.display());
    for shard in ["--shard=1/2", "--shard=2/2"] {
        let names = (0..20).map(|n| format!("/demo/{n}\n"));
        fs::write(&list, names.collect::<String>()).unwrap();
        sim.set_faults(&[Fault::SessionAnswer(503, "service unavailable")]);
        let mut command = octave_ws(&sim, &["listen", &option, shard, "--duration=10ms"]);
        command.env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
        let child = command.spawn().unwrap();
        await_told(&manager.told, "READY=1");
        fs::write(&list, "/demo/0\n").unwrap();
        kill(&child, Signal::HUP);
        await_told(&manager.told, "READY=1");
        sim.set_faults(&[]);
        await_told(&manager.told, "STOPPING=1");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}
