//! `octave_ws_client`.

use std::ffi::{c_char, c_int, c_short};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::code::{
    OCTAVE_WS_CLOSED, OCTAVE_WS_EINVAL, OCTAVE_WS_EPANIC, OCTAVE_WS_OK, OCTAVE_WS_TIMEOUT,
};
use super::config::octave_ws_config;
use super::item::{Current, octave_ws_item};
use super::{Failure, LastFailure, bytes, code, guarded, text};
use crate::{Action, Client, Stream, Update};

/// A client. One thread at a time uses it; it may go from thread to thread.
pub struct octave_ws_client {
    state: State,
    failure: LastFailure,
}

struct State {
    client: Client,
    current: Option<Box<Current>>,
}

/// Runs a part of the interface on a client. What the last call returned ends with this one.
unsafe fn on(
    client: *mut octave_ws_client,
    act: impl FnOnce(&mut State) -> Result<c_int, Failure>,
) -> c_int {
    // SAFETY: a handle that is not freed, which no other thread uses.
    let Some(client) = (unsafe { client.as_mut() }) else {
        return OCTAVE_WS_EINVAL;
    };
    let octave_ws_client { state, failure } = client;
    failure.guard(state, |state| {
        state.current = None;
        act(state)
    })
}

/// Returns what a client says of itself; otherwise for null, and after a bug.
unsafe fn ask<T>(
    client: *const octave_ws_client,
    otherwise: T,
    ask: impl FnOnce(&Client) -> T,
) -> T {
    // SAFETY: a handle that is not freed, which no other thread uses.
    match unsafe { client.as_ref() } {
        Some(client) if !client.failure.is_broken => {
            guarded(otherwise, || ask(&client.state.client))
        }
        _ => otherwise,
    }
}

/// Creates a client that is not connected yet: octave_ws_client_next() connects. End it with
/// octave_ws_client_close() or octave_ws_client_free(). The config is copied. On failure *client is null,
/// and octave_ws_config_error() says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_new(
    config: *mut octave_ws_config,
    client: *mut *mut octave_ws_client,
) -> c_int {
    // SAFETY: as the header asks.
    let (Some(config), Some(out)) = (unsafe { (config.as_mut(), client.as_mut()) }) else {
        return OCTAVE_WS_EINVAL;
    };
    *out = ptr::null_mut();
    match config.with(Client::new) {
        Ok(client) => {
            let state = State {
                client,
                current: None,
            };
            let failure = LastFailure::new();
            *out = Box::into_raw(Box::new(octave_ws_client { state, failure }));
            OCTAVE_WS_OK
        }
        Err(code) => code,
    }
}

/// Unsubscribes, closes with 1000, and frees the client, whatever it returns; null is ignored. It takes up
/// to 1.5 s, after a stop, too. Events that arrive meanwhile are dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_close(client: *mut octave_ws_client) -> c_int {
    if client.is_null() {
        return OCTAVE_WS_OK;
    }
    guarded(OCTAVE_WS_EPANIC, || {
        // SAFETY: octave_ws_client_new() made it of a box.
        let client = unsafe { Box::from_raw(client) };
        if client.failure.is_broken {
            return OCTAVE_WS_EPANIC;
        }
        let closed = client.state.client.close();
        closed.map_or_else(|error| code::of(&error), |()| OCTAVE_WS_OK)
    })
}

/// Drops the connection and frees the client, without waiting; null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_free(client: *mut octave_ws_client) {
    if !client.is_null() {
        // SAFETY: octave_ws_client_new() made it of a box.
        guarded((), || drop(unsafe { Box::from_raw(client) }));
    }
}

unsafe fn request(client: *mut octave_ws_client, action: Action, stream: *const c_char) -> c_int {
    let act = |state: &mut State| {
        // SAFETY: as the header asks.
        let stream = unsafe { text(stream, "stream") }?.parse::<Stream>();
        let stream = stream.map_err(|error| Failure::invalid(error.to_string()))?;
        state.client.request(action, &stream)?;
        Ok(OCTAVE_WS_OK)
    };
    // SAFETY: as the header asks.
    unsafe { on(client, act) }
}

/// Asks for a stream, by its id or path, now or once connected, without waiting. The answer is an
/// OCTAVE_WS_ACK. OCTAVE_WS_EDISCONNECTED: the client is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_subscribe(
    client: *mut octave_ws_client,
    stream: *const c_char,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { request(client, Action::Subscribe, stream) }
}

/// Ends a subscription, as octave_ws_client_subscribe() begins it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_unsubscribe(
    client: *mut octave_ws_client,
    stream: *const c_char,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { request(client, Action::Unsubscribe, stream) }
}

/// Sends a ping (RFC 6455 5.5.2). The answer is an OCTAVE_WS_PONG. OCTAVE_WS_EDISCONNECTED: there is no
/// connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_ping(client: *mut octave_ws_client) -> c_int {
    let act = |state: &mut State| {
        #[cfg(octave_ws_panic)]
        panic!("for tests/capi/panic.c");
        #[cfg_attr(octave_ws_panic, expect(unreachable_code))]
        state.client.ping()?;
        Ok(OCTAVE_WS_OK)
    };
    // SAFETY: as the header asks.
    unsafe { on(client, act) }
}

/// Sends a text message of len bytes unchanged. The answer is an OCTAVE_WS_UNKNOWN. It waits while the
/// service does not read, up to the ack timeout. OCTAVE_WS_EDISCONNECTED: there is no connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_send(
    client: *mut octave_ws_client,
    message: *const c_char,
    len: usize,
) -> c_int {
    let act = |state: &mut State| {
        // SAFETY: as the header asks.
        let message = unsafe { bytes(message.cast(), len, "message") }?;
        let message = std::str::from_utf8(message);
        let message = message.map_err(|_| Failure::invalid("the message is not UTF-8"))?;
        state.client.send(message)?;
        Ok(OCTAVE_WS_OK)
    };
    // SAFETY: as the header asks.
    unsafe { on(client, act) }
}

/// Waits up to timeout_ms (0: not at all; -1: for ever) for the next item, and does all that keeps the
/// client connected meanwhile. OCTAVE_WS_OK: *item is set, and valid until the next call with this client;
/// else it is null. After OCTAVE_WS_ESTOPPED the client is to be closed; after any other failure but
/// OCTAVE_WS_EINVAL it is closed, and to be freed. octave_ws_config_retry_for() retries all that may pass:
/// not a refusal of the credentials, a certificate that is not trusted, or a client that is misconfigured.
///
/// A call takes longer while it connects, as long as the timeouts of the config allow; with
/// octave_ws_config_connect_in_background() it does not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_next(
    client: *mut octave_ws_client,
    timeout_ms: c_int,
    item: *mut *const octave_ws_item,
) -> c_int {
    // SAFETY: as the header asks.
    let Some(item) = (unsafe { item.as_mut() }) else {
        return OCTAVE_WS_EINVAL;
    };
    *item = ptr::null();
    let act = |state: &mut State| {
        let timeout = super::time(timeout_ms.into())?;
        match state.client.next(timeout)? {
            Update::TimedOut => Ok(OCTAVE_WS_TIMEOUT),
            Update::Closed => Ok(OCTAVE_WS_CLOSED),
            update => {
                *item = state.current.insert(Current::new(update)).item();
                Ok(OCTAVE_WS_OK)
            }
        }
    };
    // SAFETY: as the header asks.
    unsafe { on(client, act) }
}

/// Lets octave_ws_client_next() return an OCTAVE_WS_FD_READY while one of these descriptors is readable,
/// hung up or at its end, in place of those of an earlier call. Of several ready ones it names the first,
/// as long as that is ready. They are duplicated. count 0: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_watch(
    client: *mut octave_ws_client,
    fds: *const c_int,
    count: usize,
) -> c_int {
    let act = |state: &mut State| {
        let fds = match count {
            0 => &[],
            _ if fds.is_null() => return Err(Failure::invalid("fds is null")),
            // SAFETY: the header asks for as many.
            _ => unsafe { std::slice::from_raw_parts(fds, count) },
        };
        let mut owned = Vec::with_capacity(count);
        for &fd in fds {
            if fd < 0 {
                return Err(Failure::invalid(format!("{fd} is no descriptor")));
            }
            // SAFETY: the header asks for open descriptors.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned();
            let failed =
                |error| Failure::invalid(format!("a descriptor cannot be duplicated: {error}"));
            owned.push(fd.map_err(failed)?);
        }
        state.client.watch(owned);
        Ok(OCTAVE_WS_OK)
    };
    // SAFETY: as the header asks.
    unsafe { on(client, act) }
}

/// Returns the descriptor to wait for in a loop of the caller's, -1 while there is no connection and no
/// attempt in the background. It can change with each octave_ws_client_next(). Neither read from it nor close it.
/// Wait for octave_ws_stop_fd(), too. epoll(7): level-triggered, and by a dup(2) of it, which is replaced after
/// each octave_ws_client_next() that returned an item.
///
/// ```text
/// while ((code = octave_ws_client_next(client, 0, &item)) == OCTAVE_WS_OK)
///     handle(item);
/// fds[0].fd = octave_ws_client_fd(client);
/// fds[0].events = octave_ws_client_events(client);
/// poll(fds, n, octave_ws_client_wait_ms(client));
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_fd(client: *const octave_ws_client) -> c_int {
    let fd = |client: &Client| client.as_fd().map_or(-1, |fd| fd.as_raw_fd());
    // SAFETY: as the header asks.
    unsafe { ask(client, -1, fd) }
}

/// Returns what to wait for there: POLLIN, POLLOUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_events(client: *const octave_ws_client) -> c_short {
    let events = |client: &Client| {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, client.wants_read());
        events.set(PollFlags::OUT, client.wants_write());
        c_short::try_from(events.bits()).unwrap_or_default()
    };
    // SAFETY: as the header asks.
    unsafe { ask(client, 0, events) }
}

/// Returns the time in milliseconds until octave_ws_client_next() is to be called at the latest: -1 for
/// never, 0 for at once, for example since it has not returned OCTAVE_WS_TIMEOUT yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_wait_ms(client: *const octave_ws_client) -> c_int {
    let wait = |client: &Client| {
        let Some(at) = client.wake_at() else {
            return -1;
        };
        let left = at.saturating_duration_since(Instant::now());
        // Rounded up: it would be called too early otherwise, and often.
        let left = left.saturating_add(Duration::from_micros(999));
        c_int::try_from(left.as_millis()).unwrap_or(c_int::MAX)
    };
    // SAFETY: as the header asks.
    unsafe { ask(client, 0, wait) }
}

/// Returns the last failure of this client in one line, "" if there was none. The text belongs to the
/// client, and is valid until the next call with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_error(client: *const octave_ws_client) -> *const c_char {
    // SAFETY: a handle that is not freed.
    let client = unsafe { client.as_ref() };
    client.map_or(c"".as_ptr(), |client| client.failure.text.as_ptr())
}

/// Returns the HTTP status of the last failure of this client, 0 if it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_status(client: *const octave_ws_client) -> c_int {
    // SAFETY: a handle that is not freed.
    let client = unsafe { client.as_ref() };
    client.map_or(0, |client| client.failure.status)
}

/// Returns 1 if there is a connection, as far as is known, and otherwise 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_is_connected(client: *const octave_ws_client) -> c_int {
    // SAFETY: as the header asks.
    unsafe { ask(client, 0, |client| client.is_connected().into()) }
}

/// Returns the number of connections so far: with each reconnection one more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_client_connections(client: *const octave_ws_client) -> u64 {
    // SAFETY: as the header asks.
    unsafe { ask(client, 0, Client::connections) }
}
