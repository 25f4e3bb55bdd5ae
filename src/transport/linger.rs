use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use crate::wait::poll::poll_until;

/// Keeps a socket open until the peer ends the connection, by the deadline, in a thread of its own. What
/// still arrives is dropped. Without a thread, the socket is closed at once.
pub(super) fn linger(mut tcp: TcpStream, deadline: Instant) {
    let discard = move || {
        let mut dropped = [0; 4096];
        while Instant::now() < deadline {
            let mut fds = [PollFd::new(&tcp, PollFlags::IN)];
            let is_ready = poll_until(&mut fds, Some(deadline)).is_ok_and(|n| n > 0);
            if !is_ready || tcp.read(&mut dropped).map_or(true, |n| n == 0) {
                break;
            }
        }
    };
    let thread = thread::Builder::new().name("linger".to_owned());
    let _ = thread.spawn(discard);
}
