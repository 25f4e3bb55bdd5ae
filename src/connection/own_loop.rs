//! Waits in a loop of the caller's.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::Connection;

impl Connection {
    /// Returns when there is something to do again, after a read that ended at its deadline.
    pub(crate) fn idle_until(&self) -> Option<Instant> {
        self.idle_until
    }

    /// Returns the descriptor of its socket.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.wire_ref().as_fd()
    }

    /// Returns whether data is to be sent that the peer has not taken yet.
    pub(crate) fn wants_write(&self) -> bool {
        self.socket.wire_ref().unsent_since().is_some()
    }
}
