//! The state of a client.

use std::fmt;
use std::time::Instant;

use super::old::{Old, Stage};
use super::{Client, State};
use crate::connection::Connection;
use crate::update::Loss;
use crate::{Error, Stream, Traffic};

impl Client {
    /// Returns the service as `HOST:PORT`.
    pub fn peer(&self) -> String {
        self.route.endpoint.to_string()
    }

    /// Returns whether there is a connection, as far as is known.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Open(_)) || self.renewed().is_some()
    }

    /// Returns whether all streams are subscribed on a new connection, and newer events wait until those
    /// of the old one have come. See [`Config::handover`](crate::Config::handover).
    pub fn is_handing_over(&self) -> bool {
        let is_there = |old: &Old| matches!(old.stage, Stage::Proving(_) | Stage::Leaving(_));
        self.old().is_some_and(is_there)
    }

    /// Returns how many connections were made so far: with each reconnection one more.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Returns the bytes, connections and handshakes of this client, which count on after it is closed.
    pub fn traffic(&self) -> Traffic {
        self.route.traffic().clone()
    }

    /// Returns the error of the last attempt to connect, unless a later one led to a connection with
    /// all streams subscribed.
    pub fn last_failure(&self) -> Option<&Error> {
        self.failures.last()
    }

    /// Returns when the last data arrived on the connection, if there is one.
    pub fn heard_at(&self) -> Option<Instant> {
        match &self.state {
            State::Open(connection) => Some(connection.heard_at()),
            _ => self.renewed().map(Connection::heard_at),
        }
    }

    /// Returns the loss that is not over yet, if any: events may be missing since then. A loss is over
    /// when all streams are subscribed again, and the old connection has proved that no event is missing
    /// or is given up.
    pub fn loss(&self) -> Option<&Loss> {
        self.loss.as_ref()
    }

    /// Returns the subscribed streams, those whose subscription was acknowledged.
    pub fn subscribed(&self) -> impl Iterator<Item = &Stream> {
        self.subscriptions.subscribed().iter()
    }
}

/// Shows the peer, the state, and the number of subscribed streams.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.peer())
            .field("is_connected", &self.is_connected())
            .field("subscribed", &self.subscriptions.subscribed().len())
            .finish_non_exhaustive()
    }
}
