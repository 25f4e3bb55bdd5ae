//! The WebSocket (RFC 6455): its handshake, its messages, their compression (RFC 7692),
//! and the limits of its frames.

mod extension;
mod failure;
pub(crate) mod frames;
pub(crate) mod handshake;
mod header;
mod inflate;
pub(crate) mod inflated;
pub(crate) mod socket;
