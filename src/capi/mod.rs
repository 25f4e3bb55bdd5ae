//! The interface for C, of which `include/octave_ws.h` is made. The one room with `unsafe`.
//!
//! The comments of what is exported are those of the header.
#![allow(unsafe_code, reason = "C passes pointers")]
#![allow(non_camel_case_types, reason = "the names are those of C")]
#![allow(clippy::doc_markdown, reason = "a C header has no Markdown")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the header says once what every function needs"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

pub mod client;
pub mod code;
pub mod config;
pub mod credentials;
pub mod item;
pub mod log;
pub mod settings;
pub mod stop;

use code::{OCTAVE_WS_EINVAL, OCTAVE_WS_EPANIC, OCTAVE_WS_OK};

use crate::Error;

/// A failure of a function: its code, its HTTP status, and its text.
struct Failure {
    code: c_int,
    status: c_int,
    text: String,
}

impl Failure {
    /// The failure of an argument that cannot be used.
    fn invalid(what: impl Into<String>) -> Self {
        Self {
            code: OCTAVE_WS_EINVAL,
            status: 0,
            text: what.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            code: code::of(&error),
            status: error.status().map_or(0, c_int::from),
            text: error.report(),
        }
    }
}

/// The last failure of a handle, and whether a panic has left it unusable.
struct LastFailure {
    status: c_int,
    text: CString,
    is_broken: bool,
}

impl LastFailure {
    fn new() -> Self {
        Self {
            status: 0,
            text: CString::default(),
            is_broken: false,
        }
    }

    /// Runs a part of the interface on what the handle holds. Returns its code.
    fn guard<T>(
        &mut self,
        of: &mut T,
        act: impl FnOnce(&mut T) -> Result<c_int, Failure>,
    ) -> c_int {
        if self.is_broken {
            return OCTAVE_WS_EPANIC;
        }
        match catch_unwind(AssertUnwindSafe(|| act(of))) {
            Ok(Ok(code)) => code,
            Ok(Err(failure)) => self.keep(&failure),
            Err(_) => {
                self.is_broken = true;
                self.keep(&Failure {
                    code: OCTAVE_WS_EPANIC,
                    status: 0,
                    text: "a bug of the library: it panicked".to_owned(),
                })
            }
        }
    }

    fn keep(&mut self, failure: &Failure) -> c_int {
        self.text = line(&failure.text);
        self.status = failure.status;
        failure.code
    }
}

/// Returns a string that ends with NUL. A text of the service may hold anything.
fn line(text: &str) -> CString {
    CString::new(text.replace('\0', "\\0")).unwrap_or_default()
}

/// A function of the caller's, and its argument.
#[derive(Clone, Copy)]
pub(super) struct Callback<F> {
    pub(super) function: F,
    pub(super) user: *mut c_void,
}

// SAFETY: the library calls it on the thread that called the client, which belongs to one thread at a
// time.
unsafe impl<F> Send for Callback<F> {}
unsafe impl<F> Sync for Callback<F> {}

/// Runs a part of the interface that has no handle to keep its failure.
fn guarded<T>(otherwise: T, act: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or(otherwise)
}

/// Returns a text that C passed, which must not be null.
unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's of the interface.
    unsafe { optional_text(text, name) }?.ok_or_else(|| Failure::invalid(format!("{name} is null")))
}

/// Returns a text that C passed, None for null.
unsafe fn optional_text<'a>(text: *const c_char, name: &str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the header asks for a string that ends with NUL.
    let text = unsafe { CStr::from_ptr(text) };
    let text = text.to_str();
    text.map(Some)
        .map_err(|_| Failure::invalid(format!("{name} is not UTF-8")))
}

/// Returns bytes that C passed.
unsafe fn bytes<'a>(data: *const u8, len: usize, name: &str) -> Result<&'a [u8], Failure> {
    if data.is_null() && len > 0 {
        return Err(Failure::invalid(format!("{name} is null")));
    }
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: the header asks for as many bytes.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// Returns a time: -1 is for ever.
fn time(ms: i64) -> Result<Duration, Failure> {
    match u64::try_from(ms) {
        Ok(ms) => Ok(Duration::from_millis(ms)),
        Err(_) if ms == -1 => Ok(Duration::MAX),
        Err(_) => Err(Failure::invalid(format!("{ms} is no time in milliseconds"))),
    }
}

/// Returns the version that is linked, as OCTAVE_WS_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn octave_ws_version() -> u32 {
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | number(env!("CARGO_PKG_VERSION_PATCH"))
}

/// Returns the version that is linked, as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn octave_ws_version_string() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

const _: () = assert!(OCTAVE_WS_OK == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_code_and_the_handle_is_of_no_more_use() {
        let mut failure = LastFailure::new();
        let mut calls = 0;
        let code = failure.guard(&mut calls, |_| panic!("a bug"));
        assert_eq!(code, OCTAVE_WS_EPANIC);
        assert_eq!(
            failure.text.as_c_str(),
            c"a bug of the library: it panicked"
        );
        let code = failure.guard(&mut calls, |calls| {
            *calls += 1;
            Ok(OCTAVE_WS_OK)
        });
        assert_eq!((code, calls), (OCTAVE_WS_EPANIC, 0));
        assert_eq!(guarded(7, || panic!("a bug")), 7);
    }

    #[test]
    fn a_failure_keeps_its_text_in_one_string() {
        let mut failure = LastFailure::new();
        let code = failure.guard(&mut (), |()| Err(Failure::invalid("a\0b")));
        assert_eq!(code, OCTAVE_WS_EINVAL);
        assert_eq!(failure.text.as_c_str(), c"a\\0b");
    }
}
