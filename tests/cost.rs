//! What receiving costs, in counts that no other program on the machine changes.
#![cfg(feature = "sim")]
#![allow(unsafe_code, reason = "an allocator is")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::mpsc;
use std::time::Duration;

use octave_ws::sim::{Flood, Options, Records, Seen, Sim, What};
use octave_ws::{Client, Next};

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const LONG: Duration = Duration::from_secs(10);

/// Counts allocations, each thread its own: the stand-in's are none of the client's.
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

fn flooded(records: Records) -> (Sim, Client, mpsc::Receiver<Seen>) {
    let (observer, seen) = mpsc::channel();
    let flood = Flood {
        events: 20_000,
        size: 350,
        records,
    };
    let sim = Sim::start_with(Options::default().flood(flood).observer(observer)).unwrap();
    let mut client = Client::connect(&sim.config()).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    (sim, client, seen)
}

#[test]
fn an_event_takes_no_allocation_of_its_own() {
    const EVENTS: u64 = 10_000;

    // tungstenite has one for each message, rustls one for each record.
    for (records, theirs) in [(Records::Full, 1), (Records::Single, 2)] {
        let (_sim, mut client, _seen) = flooded(records);
        let mut receive = |events: u64| {
            let before = COUNT.get();
            for _ in 0..events {
                let Next::Event(event) = client.next(LONG).unwrap() else {
                    panic!("no event")
                };
                assert_eq!(event.message().len(), 350);
            }
            COUNT.get() - before
        };
        // Until all buffers have their size.
        receive(5_000);
        let allocations = receive(EVENTS);
        let most = theirs * EVENTS + EVENTS / 10;
        assert!(allocations < most, "{records:?}: {allocations}");
    }
}

#[test]
fn a_first_event_takes_one_connection_and_one_handshake() {
    let (_sim, mut client, seen) = flooded(Records::Full);
    assert!(matches!(client.next(LONG).unwrap(), Next::Event(_)));
    let seen: Vec<What> = seen.try_iter().map(|seen| seen.what).collect();
    let count = |wanted: fn(&What) -> bool| seen.iter().filter(|what| wanted(what)).count();
    assert_eq!(count(|what| matches!(what, What::Connected)), 1, "{seen:?}");
    assert_eq!(count(|what| matches!(what, What::Handshake { .. })), 1);
    assert_eq!(count(|what| matches!(what, What::Session(_))), 1);
    assert_eq!(count(|what| matches!(what, What::Subscribed(_))), 1);
}
