//! The client under test of the Autobahn test suite: `autobahn_echo HOST:PORT AGENT [CA]`, over TLS
//! where an authority's PEM file is given.

use std::error::Error;
use std::fs;
use std::time::Duration;

use octave_ws::echo::echo;
use octave_ws::{Config, Credentials, Token};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (at, agent, ca) = match &args[..] {
        [at, agent] => (at, agent, None),
        [at, agent, ca] => (at, agent, Some(ca)),
        _ => return Err("usage: autobahn_echo HOST:PORT AGENT [CA]".into()),
    };
    // Not checked.
    let config = Config::new(Credentials::new("none", Token::new("none")));
    let config = match ca {
        Some(ca) => config
            .endpoint(format!("https://{at}"))
            .ca_pem(fs::read(ca)?),
        None => config.endpoint(format!("http://{at}")).allow_plaintext(),
    };
    let timeout = Duration::from_secs(60);
    let count: u32 = echo(&config, "/getCaseCount", timeout)?.parse()?;
    for case in 1..=count {
        // That a case ends badly is, often, what it is about: the suite judges.
        if let Err(error) = echo(
            &config,
            &format!("/runCase?case={case}&agent={agent}"),
            timeout,
        ) {
            eprintln!("case {case}: {}", error.report());
        }
    }
    // The suite may be gone before it has said goodbye.
    let _ = echo(&config, &format!("/updateReports?agent={agent}"), timeout);
    Ok(())
}
