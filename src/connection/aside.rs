//! An old connection beside the new one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::Connection;
use crate::wait::context::Watched;

impl Connection {
    /// Returns whether it has failed because pings went unanswered. It can still be read.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Stops pings, heartbeats and timeouts: from now on only explicit requests are sent.
    pub(crate) fn put_aside(&mut self) {
        self.exchange.put_aside();
        self.watch(Watched::default());
    }

    /// Takes back what [`Connection::put_aside`] did.
    pub(crate) fn take_back(&mut self) {
        self.exchange.take_back();
    }

    /// Returns the number of requests without an answer.
    pub(crate) fn pending(&self) -> usize {
        self.exchange.pending()
    }

    /// Returns a descriptor of its socket, for other waits.
    pub(crate) fn try_clone_fd(&mut self) -> io::Result<OwnedFd> {
        self.socket.wire().as_fd().try_clone_to_owned()
    }

    /// Returns the number of received bytes, those included that the system holds.
    pub(crate) fn arrived_bytes(&mut self) -> u64 {
        self.socket.wire().arrived()
    }

    /// Returns the number of bytes that were read.
    pub(crate) fn read_bytes(&mut self) -> u64 {
        self.socket.wire().coming().bytes
    }
}
