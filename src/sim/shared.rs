use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::certificate::Authority;
use super::cloud::Cloud;
use super::fault::Fault;
use super::log::{ClientAction, Observation};
use crate::Stop;

/// State that all connections of a stand-in share.
pub(super) struct Shared {
    pub(super) authority: Authority,
    pub(super) cloud: Cloud,
    pub(super) faults: Mutex<Vec<Fault>>,
    pub(super) observer: Option<Sender<Observation>>,
    pub(super) stop: Stop,
}

impl Shared {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults().contains(&fault)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of one client.
pub(super) struct Log<'a> {
    pub(super) observer: Option<&'a Sender<Observation>>,
    pub(super) peer: SocketAddr,
}

impl Log<'_> {
    pub(super) fn saw(&self, action: ClientAction) {
        if let Some(observer) = self.observer {
            let peer = self.peer;
            // The observer may have stopped.
            let _ = observer.send(Observation { peer, action });
        }
    }
}

/// Returns the answer that says no, to an HTTP request and to a message alike.
pub(super) fn refusal(msg_id: &Value, status: u16, error: &str) -> String {
    let mut head = json!({
        "ok": false,
        "status": status,
        "errors": [error],
        "messages": [],
        "references": {},
    });
    if !msg_id.is_null() {
        head["msgId"] = msg_id.clone();
    }
    format!(r#"{{"head":{head},"body":null}}"#)
}
