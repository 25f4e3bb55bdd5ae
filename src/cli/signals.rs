//! Signals as the parent process has left them.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

/// Returns whether the process ignores the signal, as under nohup(1). Call it before a handler is
/// registered.
#[allow(unsafe_code, reason = "neither std nor signal-hook reads an action")]
pub fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action, sigaction(2) only writes the present one.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroes are a valid value, too.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
