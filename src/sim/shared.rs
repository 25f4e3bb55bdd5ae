use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde_json::{Value, json};

use super::certificate::Authority;
use super::cloud::Cloud;
use super::fault::Fault;
use super::history_fault::HistoryFault;
use super::log::{ClientAction, Observation};
use crate::Stop;
use crate::wait::sockets;

/// State that all connections of a stand-in share.
pub(super) struct Shared {
    pub(super) authority: Authority,
    pub(super) cloud: Cloud,
    pub(super) faults: Mutex<Vec<Fault>>,
    /// When the first stream was subscribed.
    pub(super) subscribed_at: OnceLock<Instant>,
    pub(super) compression: bool,
    pub(super) observer: Option<Sender<Observation>>,
    pub(super) stop: Stop,
}

impl Shared {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults().contains(&fault)
    }

    pub(super) fn has_of_history(&self, fault: HistoryFault) -> bool {
        self.has(Fault::History(fault))
    }

    /// Returns the status with which requests for history are answered by a fault.
    pub(super) fn history_status(&self) -> Option<u16> {
        self.faults().iter().find_map(|fault| match fault {
            Fault::History(HistoryFault::Status(status)) => Some(*status),
            _ => None,
        })
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while a fault stops everything. Fails if the stand-in is stopped.
    pub(super) fn thaw(&self) -> io::Result<()> {
        let Some((begin, end)) = self.freeze() else {
            return Ok(());
        };
        let now = Instant::now();
        if now < begin || now >= end {
            return Ok(());
        }
        // The stop alone is waited for: nothing is ever readable of what this polls.
        let stop = Some(&self.stop);
        match sockets::wait(&self.stop, PollFlags::empty(), stop, Some(end)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            done => done,
        }
    }

    /// Returns when a fault stops everything, and when that is over.
    pub(super) fn freeze(&self) -> Option<(Instant, Instant)> {
        let time = self.faults().iter().find_map(|fault| fault.freeze())?;
        let begin = *self.subscribed_at.get()? + Duration::from_secs(1);
        Some((begin, begin.checked_add(time)?))
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
