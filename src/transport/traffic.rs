use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts of all connections of a [`Client`](crate::Client) so far, those for sessions and failed ones
/// included. A clone shows later counts, too, and those of the end once the client is closed.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Mutex<Counts>>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u64,
    sent: u64,
    connections: u64,
    full_handshakes: u64,
    resumed_handshakes: u64,
}

impl Traffic {
    /// Returns the number of bytes received over TCP: with TLS those of its records, without the headers
    /// of TCP and IP.
    pub fn received(&self) -> u64 {
        self.counts().received
    }

    /// Returns the number of bytes sent over TCP, in the same way.
    pub fn sent(&self) -> u64 {
        self.counts().sent
    }

    /// Returns the number of TCP connections.
    pub fn connections(&self) -> u64 {
        self.counts().connections
    }

    /// Returns the number of full TLS handshakes.
    pub fn full_handshakes(&self) -> u64 {
        self.counts().full_handshakes
    }

    /// Returns the number of TLS handshakes that resumed a session, which take fewer bytes.
    pub fn resumed_handshakes(&self) -> u64 {
        self.counts().resumed_handshakes
    }

    /// Returns the number of bytes received and sent.
    pub fn total(&self) -> u64 {
        let counts = self.counts();
        counts.received + counts.sent
    }

    pub(super) fn add_received(&self, bytes: usize) {
        self.counts().received += bytes as u64;
    }

    pub(super) fn add_sent(&self, bytes: usize) {
        self.counts().sent += bytes as u64;
    }

    pub(super) fn add_connection(&self) {
        self.counts().connections += 1;
    }

    pub(super) fn add_handshake(&self, is_resumed: bool) {
        let mut counts = self.counts();
        counts.resumed_handshakes += u64::from(is_resumed);
        counts.full_handshakes += u64::from(!is_resumed);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Formats one line for people.
impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            received,
            sent,
            connections,
            full_handshakes,
            resumed_handshakes,
        } = *self.counts();
        write!(
            f,
            "bytes received: {received}, sent: {sent}, connections: {connections}, TLS handshakes: \
             {full_handshakes} full, {resumed_handshakes} resumed"
        )
    }
}
