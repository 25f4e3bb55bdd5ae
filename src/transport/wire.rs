use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem;
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::transport::coming::Coming;
use crate::transport::linger;
use crate::transport::traffic::Traffic;
use crate::transport::unsent::{self, Unsent};
use crate::wait::context::{WaitContext, Watched};
use crate::wait::ended::WaitEnded;
use crate::wait::sockets::{Found, poll_sockets, wait_for};
use crate::wait::watchdog::Watchdog;

/// A connected TCP socket that is read and written until a deadline or a [`Stop`].
///
/// It lies below TLS and is the one place that waits: a frame that trickles in, or a flood that
/// never lets up, is cut off here, where no layer above can forget to look.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Wire {
    tcp: TcpStream,
    wait_context: WaitContext,
    deadline: Option<Instant>,
    /// Whether that was ready while there was something to read.
    is_watch_ready: bool,
    /// Total waiting time of reads, while it is measured.
    waited: Duration,
    is_measured: bool,
    /// Since when the caller has not read, after a read without data.
    left_at: Option<Instant>,
    /// The first read under a new deadline takes what has already come, even if it has passed.
    is_first_look: bool,
    /// Whether reads give up instead of waiting.
    is_buffered_only: bool,
    coming: Coming,
    traffic: Traffic,
    unsent: Unsent,
    /// Why writes fail. A read tells it, once all is read that has come.
    broken: Option<io::Error>,
    buffer: Buffer,
}

/// Data that was read. rustls asks for 4 KiB at a time; one read(2) serves many of those.
struct Buffer {
    bytes: Box<[u8]>,
    /// The data not returned yet.
    rest: Range<usize>,
}

const BUFFER: usize = 64 << 10;

/// Resolution of the measured waiting time.
const SLICE: Duration = Duration::from_secs(1);

impl Wire {
    /// Takes a connected socket over. It waits without a deadline until it is given one.
    pub(crate) fn new(
        tcp: TcpStream,
        wait_context: WaitContext,
        traffic: Traffic,
    ) -> io::Result<Self> {
        tcp.set_nonblocking(true)?;
        Ok(Self {
            tcp,
            wait_context,
            deadline: None,
            is_watch_ready: false,
            waited: Duration::ZERO,
            is_measured: false,
            left_at: None,
            is_first_look: true,
            is_buffered_only: false,
            coming: Coming::new(),
            traffic,
            unsent: Unsent::new(),
            broken: None,
            buffer: Buffer {
                bytes: vec![0; BUFFER].into(),
                rest: 0..0,
            },
        })
    }

    /// Makes reads and writes give up at `deadline` with [`ErrorKind::WouldBlock`], after which
    /// rustls and tungstenite can both be called again.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
        self.is_first_look = true;
    }

    /// Makes a read without data give up with [`ErrorKind::WouldBlock`] while this is ready, too.
    pub(crate) fn watch(&mut self, watched: Watched) {
        self.wait_context.watched = watched;
    }

    /// Sets whether reads give up with [`ErrorKind::WouldBlock`] beyond the data that was read
    /// before.
    pub(crate) fn set_buffered_only(&mut self, is_buffered_only: bool) {
        self.is_buffered_only = is_buffered_only;
    }

    /// Stops calling the function during waits, and those for the end of an attempt.
    pub(crate) fn set_connected(&mut self) {
        self.wait_context.watchdog = Watchdog::default();
        self.wait_context.cancel = None;
    }

    /// Sets whether the waiting time of reads is measured.
    pub(crate) fn measure(&mut self, is_measured: bool) {
        self.is_measured = is_measured;
    }

    /// Returns the measured waiting time, without time in which the process did not run.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns whether a watched descriptor became ready while received data was read, which comes first
    /// within limits.
    pub(crate) fn take_watch_ready(&mut self) -> bool {
        mem::take(&mut self.is_watch_ready) && self.wait_context.watched.is_ready()
    }

    /// Returns what has been received.
    pub(crate) fn coming(&self) -> Coming {
        self.coming
    }

    /// Returns the number of received bytes, those included that the system holds.
    pub(crate) fn arrived(&self) -> u64 {
        self.coming.bytes + rustix::io::ioctl_fionread(&self.tcp).unwrap_or_default()
    }

    /// Sets whether writes queue what the socket does not take at once, instead of waiting. The rest
    /// is sent by reads, while they wait.
    pub(crate) fn set_queueing(&mut self, is_queue: bool) {
        self.unsent.set_queue(is_queue);
    }

    /// Returns since when the socket has taken nothing of what is queued, if anything is.
    pub(crate) fn unsent_since(&self) -> Option<Instant> {
        self.unsent.since()
    }

    /// Returns whether all is sent. If not, a read ends with [`ErrorKind::WouldBlock`] once it is, and
    /// [`Wire::take_all_sent`] says so.
    pub(crate) fn is_all_sent(&mut self) -> bool {
        self.unsent.end_read();
        self.unsent.is_empty()
    }

    /// Returns whether all is sent that was not when this was asked for.
    pub(crate) fn take_all_sent(&mut self) -> bool {
        self.unsent.take_read_ended()
    }

    /// Returns whether a read has ended for that.
    pub(crate) fn is_read_ended(&self) -> bool {
        self.unsent.is_read_ended()
    }

    /// Sends as much of what is queued as the socket takes without waiting.
    pub(crate) fn send_queued(&mut self) {
        match self.unsent.send(&self.tcp) {
            Ok(n) => self.traffic.add_sent(n),
            Err(error) => self.broken = Some(error),
        }
    }

    /// Waits until all that is queued is sent.
    fn drain(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            self.wait_to_write()?;
            self.send_queued();
        }
        Ok(())
    }

    /// Returns whether written data is lost. Reads still return what has arrived.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Makes stops no longer end waits: the close handshake follows.
    pub(crate) fn ignore_stop(&mut self) {
        self.wait_context.stop = None;
    }

    /// Returns whether it is stopped, and ignores the stop from now on.
    pub(crate) fn take_stop(&mut self) -> bool {
        let is_stopped = self.wait_context.is_stopped();
        if is_stopped {
            self.ignore_stop();
        }
        is_stopped
    }

    /// Keeps the socket open beyond itself, see [`linger::linger`].
    pub(crate) fn linger(&self, deadline: Instant) {
        if let Ok(tcp) = self.tcp.try_clone() {
            linger::linger(tcp, deadline);
        }
    }

    /// Returns whether the deadline has passed. The first look under a new one is free.
    fn is_over(&mut self) -> bool {
        let is_first_look = mem::take(&mut self.is_first_look);
        !is_first_look && self.deadline.is_some_and(|at| at <= Instant::now())
    }

    /// Waits before each read(2), so that no read outlives the deadline or a stop. Looks first
    /// whether there is data, to know when there was none.
    fn wait_to_read(&mut self) -> io::Result<()> {
        // A caller with a loop of its own waits there.
        if let Some(left_at) = self.left_at.take()
            && self.is_measured
        {
            self.waited += left_at.elapsed().min(SLICE);
        }
        let done = self.wait_for_data_or_end();
        if done.is_err() {
            self.left_at = Some(Instant::now());
        }
        done
    }

    fn wait_for_data_or_end(&mut self) -> io::Result<()> {
        if self.is_over() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.send_queued();
        let mut found = self.look()?;
        if !found.is_ready {
            self.coming.empty();
            // Nothing that is still to come would be an answer.
            if let Some(error) = &self.broken {
                return Err(unsent::again(error));
            }
            if self.unsent.is_read_ended() {
                return Err(ErrorKind::WouldBlock.into());
            }
            if !found.is_watched_ready {
                found = self.wait_for_data()?;
            }
        }
        self.is_watch_ready |= found.is_watched_ready;
        if !found.is_ready {
            // A wait that has ended so found nothing to its end.
            self.coming.empty();
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    /// Looks whether there is something to read, without waiting.
    fn look(&self) -> io::Result<Found> {
        let now = Some(Instant::now());
        poll_sockets(&[&self.tcp], PollFlags::IN, &self.wait_context, now)
    }

    /// Waits for something to read, and sends what is queued meanwhile.
    fn wait_for_data(&mut self) -> io::Result<Found> {
        loop {
            let is_sending = !self.unsent.is_empty();
            let mut events = PollFlags::IN;
            events.set(PollFlags::OUT, is_sending);
            let (tcp, wait_context) = (&self.tcp, &self.wait_context);
            let found = if self.is_measured {
                poll_in_slices(tcp, events, wait_context, self.deadline, &mut self.waited)?
            } else {
                poll_sockets(&[tcp], events, wait_context, self.deadline)?
            };
            if !is_sending || !found.is_ready {
                return Ok(found);
            }
            self.send_queued();
            let found = self.look()?;
            let is_over = self.unsent.is_read_ended() || self.is_broken();
            if found.is_ready || found.is_watched_ready || is_over {
                return Ok(found);
            }
        }
    }

    /// Does the same before each write(2).
    fn wait_to_write(&mut self) -> io::Result<()> {
        if self.is_over() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let wait_context = self.wait_context.unwatched();
        wait_for(&[&self.tcp], PollFlags::OUT, &wait_context, self.deadline)
    }
}

/// The same as [`poll_sockets`] for something to read, measured. A process that is stopped does not
/// wait: no more than the slice is counted in which that happened.
fn poll_in_slices(
    tcp: impl AsFd,
    events: PollFlags,
    wait_context: &WaitContext,
    deadline: Option<Instant>,
    waited: &mut Duration,
) -> io::Result<Found> {
    loop {
        let start = Instant::now();
        let end = start + SLICE;
        let until = deadline.map_or(end, |deadline| deadline.min(end));
        let found = poll_sockets(&[&tcp], events, wait_context, Some(until))?;
        *waited += start.elapsed().min(SLICE);
        if found.is_ready || found.is_watched_ready || until < end {
            return Ok(found);
        }
    }
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // Whatever was read before.
        if self.wait_context.is_cancelled() {
            return Err(WaitEnded::Stopped.into());
        }
        if self.buffer.rest.is_empty() {
            if self.is_buffered_only {
                return Err(ErrorKind::WouldBlock.into());
            }
            let end = loop {
                self.wait_to_read()?;
                match self.tcp.read(&mut self.buffer.bytes) {
                    Err(error) if is_transient(&error) => {}
                    done => break done?,
                }
            };
            self.coming.read(end);
            self.traffic.add_received(end);
            self.buffer.rest = 0..end;
        }
        let ready = &self.buffer.bytes[self.buffer.rest.clone()];
        let n = ready.len().min(out.len());
        out[..n].copy_from_slice(&ready[..n]);
        self.buffer.rest.start += n;
        Ok(n)
    }
}

/// A peer that has gone may have sent something before, which tells more than that a write failed:
/// the data that is lost counts as written, and the next read that finds nothing fails for it.
impl Write for Wire {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.unsent.is_queue() && !self.is_broken() {
            let length = self.unsent.push(data)?;
            self.send_queued();
            return Ok(length);
        }
        self.drain()?;
        while !self.is_broken() {
            self.wait_to_write()?;
            match unsent::send(&self.tcp, data) {
                Err(error) if is_transient(&error) => {}
                Err(error) => self.broken = Some(error),
                done => return done.inspect(|&n| self.traffic.add_sent(n)),
            }
        }
        Ok(data.iter().map(|data| data.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.unsent.is_queue() {
            return Ok(());
        }
        self.drain()
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wire").field(&self.tcp).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::Stop;
    use crate::wait::sockets::wait;

    fn pair() -> (Wire, TcpStream, Stop) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let stop = Stop::new().unwrap();
        let wait_context = WaitContext {
            stop: Some(stop.clone()),
            ..WaitContext::default()
        };
        (
            Wire::new(near, wait_context, Traffic::default()).unwrap(),
            far,
            stop,
        )
    }

    #[test]
    fn a_passed_deadline_still_returns_received_data() {
        let (mut wire, mut far, _stop) = pair();
        far.write_all(b"ab").unwrap();
        wire.set_deadline(Some(Instant::now() + Duration::from_secs(10)));
        assert_eq!(wire.read(&mut [0; 1]).unwrap(), 1);
        wire.set_deadline(Some(Instant::now()));
        assert_eq!(wire.read(&mut [0; 9]).unwrap(), 1);
        far.write_all(b"cd").unwrap();
        wait(&wire, PollFlags::IN, None, None).unwrap();
        assert_eq!(wire.read(&mut [0; 9]).unwrap(), 2);
        far.write_all(b"e").unwrap();
        wait(&wire, PollFlags::IN, None, None).unwrap();
        let late = wire.read(&mut [0; 9]).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_stop_ends_a_wait_and_a_flood() {
        let (mut wire, mut far, stop) = pair();
        far.write_all(b"flood").unwrap();
        wait(&wire, PollFlags::IN, None, None).unwrap();
        stop.stop();
        assert!(WaitEnded::is_stop(&wire.read(&mut [0; 9]).unwrap_err()));
        assert!(WaitEnded::is_stop(&wire.write(b"x").unwrap_err()));
        wire.ignore_stop();
        assert_eq!(wire.read(&mut [0; 9]).unwrap(), 5);
        drop(far);
        assert_eq!(wire.read(&mut [0; 9]).unwrap(), 0);
    }

    #[test]
    fn received_data_is_read_although_writes_fail() {
        let (mut wire, mut far, _stop) = pair();
        wire.write_all(b"unread").unwrap();
        far.write_all(b"last").unwrap();
        wait(&wire, PollFlags::IN, None, None).unwrap();
        // With bytes unread it is reset.
        drop(far);
        while !wire.is_broken() {
            wire.write_all(b"x").unwrap();
        }
        assert_eq!(wire.read(&mut [0; 9]).unwrap(), 4);
        assert!(matches!(wire.read(&mut [0; 9]), Ok(0) | Err(_)));
    }

    #[test]
    fn a_full_queue_takes_no_more_and_ends_a_read_once_it_is_sent() {
        let (mut wire, mut far, _stop) = pair();
        wire.set_queueing(true);
        let full = loop {
            if let Err(error) = wire.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let reader = std::thread::spawn(move || {
            let read = io::copy(&mut far, &mut io::sink());
            read.unwrap()
        });
        wire.set_deadline(Some(Instant::now() + Duration::from_secs(60)));
        let start = Instant::now();
        let ended = wire.read(&mut [0; 1]).unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(wire.take_all_sent() && !wire.take_all_sent());
        drop(wire);
        assert!(reader.join().unwrap() > 64 << 10);
    }

    #[test]
    fn what_waits_for_the_queue_hears_of_a_write_that_emptied_it() {
        let (mut wire, mut far, _stop) = pair();
        wire.set_queueing(true);
        while wire.write_all(&[0; 4096]).is_ok() {}
        assert!(!wire.is_all_sent());
        let reader = std::thread::spawn(move || io::copy(&mut far, &mut io::sink()));
        wire.set_deadline(Some(Instant::now() + Duration::from_secs(60)));
        wire.set_queueing(false);
        wire.write_all(b"x").unwrap();
        assert!(!wire.is_read_ended());
        wire.set_queueing(true);
        assert!(wire.take_all_sent());
        drop(wire);
        reader.join().unwrap().unwrap();
    }

    #[test]
    fn a_peer_that_reads_nothing_ends_a_write_at_the_deadline() {
        let (mut wire, _far, _stop) = pair();
        wire.set_deadline(Some(Instant::now() + Duration::from_millis(50)));
        let error = loop {
            if let Err(error) = wire.write(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    /// A caller with a loop of its own reads without waiting.
    #[test]
    fn the_time_between_two_reads_counts_where_it_is_measured() {
        let (mut wire, _far, stop) = pair();
        let pause = Duration::from_millis(50);
        for is_measured in [false, true] {
            wire.measure(is_measured);
            for _ in 0..2 {
                wire.set_deadline(Some(Instant::now()));
                let error = wire.read(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                // Nothing stops it: this is the caller's own wait.
                let end = Some(Instant::now() + pause);
                wait(&wire, PollFlags::IN, Some(&stop), end).unwrap_err();
            }
            assert_eq!(wire.waited() >= pause, is_measured, "{:?}", wire.waited());
        }
    }
}
