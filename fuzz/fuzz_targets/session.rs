#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use octave_ws::Client;
use octave_ws_fuzz::{Place, Service};

static SERVICE: LazyLock<Service> = LazyLock::new(|| Service::start(Place::Session));

fuzz_target!(|bytes: &[u8]| {
    SERVICE.give(bytes);
    if let Err(error) = Client::connect(&SERVICE.config) {
        assert!(!error.report().contains(['\n', '\x1b']), "{error:?}");
    }
});
