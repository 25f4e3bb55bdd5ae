use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};

use crate::wait::context::WaitContext;
use crate::wait::poll;
use crate::wait::sockets;

/// The connection attempt delay of RFC 8305 §5: so long an attempt has before the next one begins
/// beside it.
const DELAY: Duration = Duration::from_millis(250);

/// Attempts to connect to the addresses of a host, side by side (RFC 8305): the first that comes
/// about is taken, and none is given up before the deadline.
pub(crate) struct Attempts {
    /// Addresses without an attempt yet.
    rest: VecDeque<SocketAddr>,
    begun: Vec<(SocketAddr, OwnedFd)>,
    next_at: Instant,
    /// All that were begun, in order.
    tried: Vec<SocketAddr>,
    /// The last failure.
    error: Option<io::Error>,
}

impl Attempts {
    /// Takes the addresses in the order that they are to be tried in, but those of IPv6 and of IPv4
    /// in turn (RFC 8305 §4).
    pub(crate) fn new(addrs: &[SocketAddr]) -> Self {
        Self {
            rest: in_turn(addrs),
            begun: Vec::new(),
            next_at: Instant::now(),
            tried: Vec::new(),
            error: None,
        }
    }

    /// Returns the addresses that were tried, in order.
    pub(crate) fn tried(&self) -> &[SocketAddr] {
        &self.tried
    }

    /// Returns whether there are no addresses left but those that were given out or have failed.
    pub(crate) fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the next connection to succeed. Drops the other attempts; the next call starts them
    /// again.
    ///
    /// # Errors
    /// `WouldBlock` once `deadline` has passed or something watched is ready, that of the last
    /// attempt where all have failed, and those of the wait.
    pub(crate) fn next(
        &mut self,
        wait_context: &WaitContext,
        deadline: Instant,
    ) -> io::Result<(SocketAddr, TcpStream)> {
        loop {
            self.begin_due();
            if self.begun.is_empty() && self.rest.is_empty() {
                let error = self.error.take();
                return Err(error.unwrap_or_else(|| io::ErrorKind::NotFound.into()));
            }
            let until = if self.rest.is_empty() {
                deadline
            } else {
                deadline.min(self.next_at)
            };
            let sockets: Vec<_> = self.begun.iter().map(|(_, socket)| socket).collect();
            match sockets::wait_for(&sockets, PollFlags::OUT, wait_context, Some(until)) {
                Ok(()) => {
                    if let Some(connected) = self.take_done() {
                        return Ok(connected);
                    }
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                // Time for the next one.
                Err(_) if until < deadline && until <= Instant::now() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts the attempts that are due, and the next one at once if no attempt is in progress.
    fn begin_due(&mut self) {
        while (self.begun.is_empty() || self.next_at <= Instant::now())
            && let Some(addr) = self.rest.pop_front()
        {
            let begun = begin(addr);
            if let (Err(Errno::MFILE | Errno::NFILE), false) = (&begun, self.begun.is_empty()) {
                // No descriptors are left: the attempts in progress may succeed.
                self.rest.push_front(addr);
                self.next_at = Instant::now() + DELAY;
                break;
            }
            if !self.tried.contains(&addr) {
                self.tried.push(addr);
            }
            match begun {
                Ok(socket) => {
                    self.begun.push((addr, socket));
                    self.next_at = Instant::now() + DELAY;
                }
                Err(error) => self.error = Some(error.into()),
            }
        }
    }

    /// Returns the first attempt that has connected, and drops those that have failed.
    fn take_done(&mut self) -> Option<(SocketAddr, TcpStream)> {
        let mut at = 0;
        while let Some((addr, socket)) = self.begun.get(at) {
            if !poll::is_writable(socket) {
                at += 1;
                continue;
            }
            let addr = *addr;
            let tcp = TcpStream::from(self.begun.remove(at).1);
            match tcp.take_error() {
                Ok(None) => {
                    let others = self.begun.drain(..).map(|(addr, _)| addr);
                    self.rest = others.chain(self.rest.drain(..)).collect();
                    return Some((addr, tcp));
                }
                Ok(Some(error)) | Err(error) => {
                    self.error = Some(error);
                    self.next_at = Instant::now();
                }
            }
        }
        None
    }
}

/// Alternates the IP versions, beginning with that of the first address.
fn in_turn(addrs: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let is_v4 = addrs.first().is_some_and(SocketAddr::is_ipv4);
    let addrs = addrs.iter().copied();
    let (first, second): (Vec<_>, Vec<_>) = addrs.partition(|addr| addr.is_ipv4() == is_v4);
    let mut second = second.into_iter();
    let mut all = VecDeque::new();
    for addr in first {
        all.push_back(addr);
        all.extend(second.next());
    }
    all.extend(second);
    all
}

fn begin(addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match connect(&socket, &addr) {
        // After an interruption, too, the connection is still being made: POSIX, connect().
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// Returns a listener that does not accept, whose queue one connection fills: later ones hang.
    pub(crate) fn black_hole() -> (SocketAddr, Vec<OwnedFd>) {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let listener = TcpListener::from(socket);
        let addr = listener.local_addr().unwrap();
        let queued = TcpStream::connect(addr).unwrap();
        (addr, vec![OwnedFd::from(listener), queued.into()])
    }

    fn next(attempts: &mut Attempts, within: Duration) -> io::Result<SocketAddr> {
        let found = attempts.next(&WaitContext::default(), Instant::now() + within);
        found.map(|(addr, _)| addr)
    }

    #[test]
    fn versions_take_turns_and_the_first_one_stays_first() {
        let addrs = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let given = addrs(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let wanted = addrs(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(in_turn(&given), wanted);
        let given = addrs(&["1.1.1.1:1", "[::1]:1", "[::2]:1"]);
        assert_eq!(in_turn(&given), given);
        assert_eq!(in_turn(&[]), []);
    }

    #[test]
    fn none_is_given_up_before_the_deadline() {
        let [(first, _one), (second, _other)] = [black_hole(), black_hole()];
        let mut attempts = Attempts::new(&[first, second]);
        let start = Instant::now();
        let error = next(&mut attempts, 2 * DELAY).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(start.elapsed() >= 2 * DELAY);
        assert_eq!(attempts.tried(), [first, second]);
        assert_eq!(attempts.begun.len(), 2);
    }

    #[test]
    fn one_that_fails_is_followed_at_once_and_one_that_hangs_after_the_delay() {
        let (hole, _hole) = black_hole();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let mut attempts = Attempts::new(&[gone, gone, hole, there]);
        let start = Instant::now();
        assert_eq!(next(&mut attempts, LONG).unwrap(), there);
        let took = start.elapsed();
        assert!(took >= DELAY && took < LONG / 5, "{took:?}");
        // The other attempt is started again.
        assert!(!attempts.is_over() && attempts.begun.is_empty());
        assert_eq!(attempts.tried(), [gone, hole, there]);
        let error = next(&mut attempts, DELAY / 5).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(attempts.tried(), [gone, hole, there]);

        let mut attempts = Attempts::new(&[gone]);
        let error = next(&mut attempts, LONG).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(attempts.is_over());
    }
}
