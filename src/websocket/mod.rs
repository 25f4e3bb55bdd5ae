//! The WebSocket (RFC 6455): its handshake, its messages, and the limits of its frames.

pub(crate) mod frames;
pub(crate) mod handshake;
mod header;
pub(crate) mod socket;
