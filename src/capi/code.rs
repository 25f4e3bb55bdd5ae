//! The codes that functions return.

use std::ffi::{c_char, c_int};

use crate::{Error, ErrorKind};

/// Done. octave_ws_client_next(): the item is set.
pub const OCTAVE_WS_OK: c_int = 0;
/// Nothing came in by the timeout.
pub const OCTAVE_WS_TIMEOUT: c_int = 1;
/// The client is closed. An earlier call returned why.
pub const OCTAVE_WS_CLOSED: c_int = 2;

/// An argument cannot be used: a null pointer, no UTF-8, no stream, a value out of range.
pub const OCTAVE_WS_EINVAL: c_int = -1;
/// A bug of the library: it panicked. The handle can only be freed.
pub const OCTAVE_WS_EPANIC: c_int = -2;
/// The configuration is invalid or incomplete.
pub const OCTAVE_WS_ECONFIG: c_int = -3;
/// The system has no descriptor, memory or thread left.
pub const OCTAVE_WS_ESYSTEM: c_int = -4;
/// There is no connection: it could not be made, or was lost.
pub const OCTAVE_WS_EDISCONNECTED: c_int = -5;
/// A phase did not complete by its deadline.
pub const OCTAVE_WS_ETIMEDOUT: c_int = -6;
/// TLS failed, for example because of an invalid certificate.
pub const OCTAVE_WS_ETLS: c_int = -7;
/// An HTTP status other than success: octave_ws_client_status().
pub const OCTAVE_WS_ESTATUS: c_int = -8;
/// The service refused the credentials or a stream.
pub const OCTAVE_WS_EREFUSED: c_int = -9;
/// An answer violates the protocol.
pub const OCTAVE_WS_EPROTOCOL: c_int = -10;
/// A message exceeds the limit.
pub const OCTAVE_WS_ETOOLONG: c_int = -11;
/// octave_ws_stop_now() was called.
pub const OCTAVE_WS_ESTOPPED: c_int = -12;

/// Returns the code of an error.
pub(super) fn of(error: &Error) -> c_int {
    match error.kind() {
        ErrorKind::Config => OCTAVE_WS_ECONFIG,
        ErrorKind::System => OCTAVE_WS_ESYSTEM,
        ErrorKind::Disconnected => OCTAVE_WS_EDISCONNECTED,
        ErrorKind::TimedOut => OCTAVE_WS_ETIMEDOUT,
        ErrorKind::Tls => OCTAVE_WS_ETLS,
        ErrorKind::Status(_) => OCTAVE_WS_ESTATUS,
        ErrorKind::Refused => OCTAVE_WS_EREFUSED,
        ErrorKind::Malformed | ErrorKind::UnusableId => OCTAVE_WS_EPROTOCOL,
        ErrorKind::TooLong => OCTAVE_WS_ETOOLONG,
        ErrorKind::Stopped => OCTAVE_WS_ESTOPPED,
    }
}

/// Returns a constant text for a code, such as "timed out". Never null.
#[unsafe(no_mangle)]
pub extern "C" fn octave_ws_strerror(code: c_int) -> *const c_char {
    let text = match code {
        OCTAVE_WS_OK => c"done",
        OCTAVE_WS_TIMEOUT => c"nothing came in",
        OCTAVE_WS_CLOSED => c"closed",
        OCTAVE_WS_EINVAL => c"invalid argument",
        OCTAVE_WS_EPANIC => c"bug of the library",
        OCTAVE_WS_ECONFIG => c"invalid configuration",
        OCTAVE_WS_ESYSTEM => c"system error",
        OCTAVE_WS_EDISCONNECTED => c"disconnected",
        OCTAVE_WS_ETIMEDOUT => c"timed out",
        OCTAVE_WS_ETLS => c"TLS failed",
        OCTAVE_WS_ESTATUS => c"HTTP status",
        OCTAVE_WS_EREFUSED => c"refused",
        OCTAVE_WS_EPROTOCOL => c"malformed answer",
        OCTAVE_WS_ETOOLONG => c"message too long",
        OCTAVE_WS_ESTOPPED => c"stopped",
        _ => c"unknown code",
    };
    text.as_ptr()
}
