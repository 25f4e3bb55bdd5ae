use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::stream::Stream;

/// An action on a client's socket.
pub(super) enum Order {
    Send(String),
    /// Raw bytes, below the WebSocket.
    SendRaw(Vec<u8>),
    Close(u16),
    Drop,
}

/// A client's socket: its subscriptions, and its queued actions.
pub(super) struct Subscriber {
    streams: Mutex<BTreeSet<String>>,
    /// The queued actions, each with the time before which it waits.
    queue: Mutex<VecDeque<(Option<Instant>, Order)>>,
    waker: UnixStream,
    wake: UnixStream,
}

impl Subscriber {
    pub(super) fn new() -> io::Result<Self> {
        let (waker, wake) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        Ok(Self {
            streams: Mutex::default(),
            queue: Mutex::default(),
            waker,
            wake,
        })
    }

    pub(super) fn subscribe(&self, stream: &Stream) {
        lock(&self.streams).insert(stream.id.clone());
    }

    /// False where it was not subscribed.
    pub(super) fn unsubscribe(&self, stream: &Stream) -> bool {
        lock(&self.streams).remove(&stream.id)
    }

    pub(super) fn hears(&self, stream: &Stream) -> bool {
        lock(&self.streams).contains(&stream.id)
    }

    pub(super) fn send(&self, messages: &[impl ToString], at: Option<Instant>) {
        let messages = messages.iter().map(ToString::to_string);
        self.queue(messages.map(|message| (at, Order::Send(message))));
    }

    pub(super) fn hang_up(&self, code: Option<u16>) {
        self.order([code.map_or(Order::Drop, Order::Close)]);
    }

    pub(super) fn order(&self, orders: impl IntoIterator<Item = Order>) {
        self.queue(orders.into_iter().map(|order| (None, order)));
    }

    fn queue(&self, orders: impl IntoIterator<Item = (Option<Instant>, Order)>) {
        lock(&self.queue).extend(orders);
        // The one way to fail is a pipe full of earlier wake-ups.
        let _ = (&self.waker).write(&[1]);
    }

    /// Returns the queued actions that are due. The descriptor is readable again once there are more.
    pub(super) fn take(&self) -> Vec<Order> {
        let _ = (&self.wake).read(&mut [0; 256]);
        let mut queue = lock(&self.queue);
        let now = Instant::now();
        let later = queue.iter().position(|(at, _)| *at > Some(now));
        let due = ..later.unwrap_or(queue.len());
        queue.drain(due).map(|(_, order)| order).collect()
    }

    /// Returns when the next action is due, if it waits for a time.
    pub(super) fn due(&self) -> Option<Instant> {
        lock(&self.queue).front().and_then(|(at, _)| *at)
    }
}

/// Readable when there is something to take.
impl AsFd for Subscriber {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
