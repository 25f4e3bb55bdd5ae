//! The bytes that a client costs.

use std::time::Duration;

use super::Client;
use crate::protocol::HEARTBEAT;
use crate::transport::overhead::Overhead;

/// The estimated bytes of a client at its settings, sent and received, with the headers of TCP and IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// An hour in which the service sends nothing by itself: pings, heartbeats and their answers.
    pub silent_hour: u64,
    /// An event alone, beyond its own length. Its length is that of the compressed message, where the
    /// service compresses.
    pub event_overhead: u64,
    /// Another connection that resumes the TLS session, without its subscriptions.
    pub reconnection: u64,
}

/// The header of a frame from the client, which has a mask, and of one from the service.
const OWN_FRAME: u64 = 6;
const FRAME: u64 = 2;
const LONG_FRAME: u64 = 4;

/// Packets of a connection up to its WebSocket, the end of the connection included.
const PACKETS: u64 = 21;

impl Client {
    /// Returns the estimated cost of the last connection. `None` before the first.
    pub fn cost(&self) -> Option<Cost> {
        let connecting = self.connecting_bytes?;
        // Without a timeout, no pings are sent.
        let ping_interval = match self.config.ping_timeout {
            Duration::ZERO => Duration::ZERO,
            _ => self.config.ping_interval,
        };
        let intervals = (ping_interval, self.config.heartbeat);
        Some(cost(self.route.overhead(), connecting, intervals))
    }
}

fn cost(overhead: &Overhead, connecting: u64, (ping, heartbeat): (Duration, Duration)) -> Cost {
    let Overhead {
        packet,
        record,
        certificates,
    } = overhead;
    let per_hour = |interval: Duration| match interval.as_millis() {
        0 => 0,
        millis => 3_600_000 / u64::try_from(millis).unwrap_or(u64::MAX),
    };
    // Each is acknowledged by TCP: the ping by its pong.
    let ping_bytes = 3 * packet + 2 * record + OWN_FRAME + FRAME;
    let heartbeat_bytes = 2 * packet + record + OWN_FRAME + HEARTBEAT.len() as u64;
    Cost {
        silent_hour: per_hour(ping) * ping_bytes + per_hour(heartbeat) * heartbeat_bytes,
        event_overhead: 2 * packet + record + LONG_FRAME,
        reconnection: connecting.saturating_sub(*certificates) + PACKETS * packet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted on a wire with TLS 1.3 and IPv4.
    #[test]
    fn the_estimate_is_close_to_what_was_counted() {
        let overhead = Overhead {
            packet: 52,
            record: 22,
            certificates: 2_800,
        };
        let second = Duration::from_secs(1);
        let at = |ping, heartbeat| cost(&overhead, 5_000, (ping * second, heartbeat * second));
        let usual = at(20, 0);
        assert_eq!((usual.silent_hour, usual.event_overhead), (180 * 208, 130));
        assert_eq!(usual.reconnection, 2_200 + 21 * 52);
        assert_eq!(at(0, 0).silent_hour, 0);
        assert_eq!(at(0, 60).silent_hour, 60 * 152);
    }
}
