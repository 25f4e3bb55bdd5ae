//! The signals that are blocked at the start, by the parent process above all.
#![allow(
    unsafe_code,
    reason = "neither std nor signal-hook sets the mask, and the calls are plain"
)]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Unblocks signals for the calling thread, and those that it starts.
pub(super) fn unblock(signals: &[c_int]) -> io::Result<()> {
    match mask(libc::SIG_UNBLOCK, signals) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Runs before `main`: a SIGHUP that comes so early is kept until it is [unblocked](unblock).
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static HOLD_BACK: extern "C" fn() = hold_back;

#[cfg(target_os = "linux")]
extern "C" fn hold_back() {
    // Where that fails, it ends the process, as it would have.
    mask(libc::SIG_BLOCK, &[libc::SIGHUP]);
}

fn mask(how: c_int, signals: &[c_int]) -> c_int {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) initializes the set that the other two take.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), ptr::null_mut())
    }
}
