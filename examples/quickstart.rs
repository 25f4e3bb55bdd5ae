//! Subscribes to a stream of a stand-in, which it starts itself, and prints five events.

use std::error::Error;
use std::time::Duration;

use octave_ws::sim::{Options, Sim};
use octave_ws::{Action, Client, Stream, Update};

fn main() -> Result<(), Box<dyn Error>> {
    let sim = Sim::start_with(Options::default().rate(5.0))?;

    let mut client = Client::connect(&sim.config())?;
    println!("connected to {}", sim.endpoint());
    let stream: Stream = "/demo/devices/gw1/temperature".parse()?;
    client.request(Action::Subscribe, &stream)?;
    let mut events = 0;
    while events < 5 {
        match client.next(Duration::from_secs(10))? {
            Update::Ack(ack) => {
                let outcome = ack
                    .outcome
                    .map_or_else(|words| words, |()| "granted".to_owned());
                println!("ack: {} {}: {outcome}", ack.action, ack.stream);
            }
            Update::Event(event) => {
                println!("event: {}", event.value());
                events += 1;
            }
            other => return Err(format!("unexpected: {other:?}").into()),
        }
    }
    client.close()?;
    println!("closed cleanly");
    Ok(())
}
