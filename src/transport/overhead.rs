use std::net::SocketAddr;

/// Bytes that a connection takes beyond its data.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overhead {
    /// Headers of IP and TCP, with its time stamps.
    pub(crate) packet: u64,
    /// A TLS record, beyond its content.
    pub(crate) record: u64,
    /// The certificates of the last full handshake.
    pub(crate) certificates: u64,
}

impl Overhead {
    pub(super) fn of_packets(addr: SocketAddr) -> Self {
        let packet = if addr.is_ipv4() { 20 + 32 } else { 40 + 32 };
        Self {
            packet,
            ..Self::default()
        }
    }
}
