#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use octave_ws::{Client, Update};
use octave_ws_fuzz::{Place, Service};

static SERVICE: LazyLock<Service> = LazyLock::new(|| Service::start(Place::Frames));

fuzz_target!(|bytes: &[u8]| {
    SERVICE.give(bytes);
    let mut client = Client::connect(&SERVICE.config).expect("an upgrade");
    // The service ends the connection, so that each message is followed by one, or by an error.
    while let Ok(next) = client.next(Duration::from_secs(60)) {
        assert!(!matches!(next, Update::TimedOut | Update::Closed), "{next:?}");
    }
});
