//! `octave_ws_stop`.

use std::ffi::c_int;

use super::guarded;
use crate::Stop;

/// Ends every wait of the clients whose configs have it. It cannot be undone.
pub struct octave_ws_stop(pub(super) Stop);

/// Creates a stop, which has two descriptors. Free it with octave_ws_stop_free(). Returns null if there are
/// no descriptors left.
#[unsafe(no_mangle)]
pub extern "C" fn octave_ws_stop_new() -> *mut octave_ws_stop {
    guarded(std::ptr::null_mut(), || {
        let stop = Stop::new().ok().map(octave_ws_stop);
        stop.map_or(std::ptr::null_mut(), |stop| Box::into_raw(Box::new(stop)))
    })
}

/// Stops. Any thread and any signal handler may call it: it is async-signal-safe, and leaves errno as it
/// was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_stop_now(stop: *const octave_ws_stop) {
    // SAFETY: a handle that is not freed.
    if let Some(stop) = unsafe { stop.as_ref() } {
        stop.0.stop();
    }
}

/// Returns 1 if it was stopped, and otherwise 0. Any thread may call it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_stop_is_stopped(stop: *const octave_ws_stop) -> c_int {
    // SAFETY: a handle that is not freed.
    let stop = unsafe { stop.as_ref() };
    guarded(0, || stop.is_some_and(|stop| stop.0.is_stopped()).into())
}

/// Returns a descriptor that is readable once it is stopped, for a poll(2) of the caller's; -1 for null. It
/// belongs to the stop: neither read from it nor close it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_stop_fd(stop: *const octave_ws_stop) -> c_int {
    use std::os::fd::{AsFd, AsRawFd};

    // SAFETY: a handle that is not freed.
    let stop = unsafe { stop.as_ref() };
    stop.map_or(-1, |stop| stop.0.as_fd().as_raw_fd())
}

/// Frees a stop; null is ignored. Configs and clients that have it keep their share of it. Not while a
/// signal handler may use it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_stop_free(stop: *mut octave_ws_stop) {
    if !stop.is_null() {
        // SAFETY: octave_ws_stop_new() made it of a box.
        guarded((), || drop(unsafe { Box::from_raw(stop) }));
    }
}
