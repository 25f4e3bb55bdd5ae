//! How fast JSON is checked: `cargo bench --features sim --bench scanner`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use octave_ws::sim::Sim;
use octave_ws::{Client, Update};

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";

/// Longer than the clock is coarse, and short enough to be done often.
const ROUND: u32 = 10_000;

fn main() {
    let sim = Sim::start().expect("a stand-in");
    let mut client = Client::connect(&sim.config()).expect("a connection");
    client
        .subscribe(&TEMPERATURE.parse().expect("a stream"))
        .expect("a subscription");
    for (name, pad) in [("the documented event", 0), ("10 KB, one string", 10_000)] {
        let elems = serde_json::json!({ "temperature": 21.5, "pad": "x".repeat(pad) });
        sim.publish(TEMPERATURE, &elems);
        let Update::Event(event) = client.next(Duration::from_secs(10)).expect("an event") else {
            panic!("no event");
        };
        // The best of many: what else the machine does takes time, and gives none.
        let fastest = (0..100).map(|_| {
            let start = Instant::now();
            for _ in 0..ROUND {
                black_box(black_box(&event).members(["elems"]));
            }
            start.elapsed()
        });
        let fastest = fastest.min().unwrap_or_default();
        let bytes = event.value().len() as u128 * u128::from(ROUND);
        let speed = bytes * 1000 / fastest.as_nanos().max(1);
        println!("{name}, {} bytes: {speed} MB/s", event.value().len());
    }
}
