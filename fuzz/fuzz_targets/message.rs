#![no_main]

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use libfuzzer_sys::{Corpus, fuzz_target};
use octave_ws::{Client, Update};
use octave_ws_fuzz::{Place, Service};

#[path = "../../tests/strict/mod.rs"]
mod strict;

static SERVICE: LazyLock<Service> = LazyLock::new(|| Service::start(Place::Message));
static CLIENT: LazyLock<Mutex<Client>> =
    LazyLock::new(|| Mutex::new(Client::connect(&SERVICE.config).expect("a connection")));

/// An event that tells that the one before was no event.
const MARK: &str = r#"{"resource":"mark","value":{}}"#;

fuzz_target!(|text: &str| -> Corpus {
    if text.len() > 4096 {
        return Corpus::Reject;
    }
    let mut client = CLIENT.lock().expect("no panic before");
    SERVICE.give(text.as_bytes());
    SERVICE.give(MARK.as_bytes());
    let mut next = || client.next(Duration::from_secs(60)).expect("a message");
    let first = next();
    match &first {
        Update::Event(event) => {
            assert!(text.contains(event.message()));
            assert!(event.message().contains(event.value()));
            // A second parser has the same opinion.
            assert!(strict::is_json(event.message()));
            assert!(strict::is_json(event.value()));
            let _ = (event.id(), event.stream_id(), event.path());
            let _ = (event.creation_date(), event.generated_date());
        }
        Update::Unknown(unknown) => assert_eq!(unknown.text(), text),
        other => panic!("{other:?}"),
    }
    // An answer that answers nothing is passed over.
    if !matches!(&first, Update::Event(event) if event.message() == MARK) {
        assert!(matches!(next(), Update::Event(event) if event.message() == MARK));
    }
    Corpus::Keep
});
