//! The settings of an `octave_ws_config`.

use std::ffi::{c_char, c_int};

use super::config::{octave_ws_config, set, try_set};
use super::stop::octave_ws_stop;
use super::{Failure, bytes, text, time};
use crate::{Config, IpVersion};

/// Sets the URL of the service, `https://HOST[:PORT][/PREFIX]`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_endpoint(
    config: *mut octave_ws_config,
    url: *const c_char,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, text(url, "url"), Config::endpoint) }
}

/// Allows an http:// endpoint, to which the token is sent unencrypted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_allow_plaintext(config: *mut octave_ws_config) -> c_int {
    // SAFETY: as the header asks.
    unsafe { set(config, Config::allow_plaintext) }
}

/// Sets the CA certificates to trust instead of the bundled web roots: len bytes of PEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_ca_pem(
    config: *mut octave_ws_config,
    pem: *const u8,
    len: usize,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, bytes(pem, len, "pem"), Config::ca_pem) }
}

/// Sets CA certificates to trust beside the others: len bytes of PEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_extra_ca_pem(
    config: *mut octave_ws_config,
    pem: *const u8,
    len: usize,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, bytes(pem, len, "pem"), Config::extra_ca_pem) }
}

/// Sets the certificate that the client shows, with its chain and its private key: len bytes of PEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_client_certificate(
    config: *mut octave_ws_config,
    pem: *const u8,
    len: usize,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, bytes(pem, len, "pem"), Config::client_certificate) }
}

/// Sets the value of the header User-Agent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_user_agent(
    config: *mut octave_ws_config,
    user_agent: *const c_char,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, text(user_agent, "user_agent"), Config::user_agent) }
}

/// Sets the proxy: `[http://][USER:PASSWORD@]HOST[:PORT]`, `socks5://` or `socks5h://`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_proxy(
    config: *mut octave_ws_config,
    url: *const c_char,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, text(url, "url"), Config::proxy) }
}

/// Sets the hosts to connect to without the proxy, in the form of the variable NO_PROXY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_no_proxy(
    config: *mut octave_ws_config,
    hosts: *const c_char,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, text(hosts, "hosts"), Config::no_proxy) }
}

/// Restricts connections to IP version 4 or 6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_ip_version(
    config: *mut octave_ws_config,
    version: c_int,
) -> c_int {
    let version = match version {
        4 => Ok(IpVersion::V4),
        6 => Ok(IpVersion::V6),
        other => Err(Failure::invalid(format!(
            "{other} is no IP version: give 4 or 6"
        ))),
    };
    // SAFETY: as the header asks.
    unsafe { try_set(config, version, Config::ip_version) }
}

/// Sets the timeout of each of: name resolution, TCP and TLS together; the session answer; the upgrade.
/// Default: 10,000 ms.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_connect_timeout(
    config: *mut octave_ws_config,
    ms: i64,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, time(ms), Config::connect_timeout) }
}

/// Sets for how long to retry while there is no connection: -1 for ever, 0 not at all. Default: 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_retry_for(
    config: *mut octave_ws_config,
    ms: i64,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, time(ms), Config::retry_for) }
}

/// Sets the timeout for the answer to a request. Default: 10,000 ms.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_ack_timeout(
    config: *mut octave_ws_config,
    ms: i64,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, time(ms), Config::ack_timeout) }
}

/// Sets the silence after which a ping is sent, and the timeout for any data after it; 0 in one of them
/// disables pings. Default: 20,000 ms each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_ping(
    config: *mut octave_ws_config,
    interval_ms: i64,
    timeout_ms: i64,
) -> c_int {
    let times = time(interval_ms).and_then(|interval| Ok((interval, time(timeout_ms)?)));
    let set =
        |config: Config, (interval, timeout)| config.ping_interval(interval).ping_timeout(timeout);
    // SAFETY: as the header asks.
    unsafe { try_set(config, times, set) }
}

/// Sets the interval for sending a heartbeat, at least 1,000 ms; 0 disables it. Default: 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_heartbeat(
    config: *mut octave_ws_config,
    ms: i64,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, time(ms), Config::heartbeat) }
}

/// Sets the time after which a connection is replaced by a new one without a gap; 0: none. Default: 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_renew_every(
    config: *mut octave_ws_config,
    ms: i64,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { try_set(config, time(ms), Config::renew_every) }
}

/// Sets whether a silent connection is kept until the next one is subscribed, 0 or 1. Default: 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_handover(
    config: *mut octave_ws_config,
    handover: c_int,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { set(config, |config| config.handover(handover != 0)) }
}

/// Sets whether the service is asked to compress its messages, 0 or 1. Default: 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_compression(
    config: *mut octave_ws_config,
    compression: c_int,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { set(config, |config| config.compression(compression != 0)) }
}

/// Sets the maximum size of a message in bytes. Default: 16 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_max_message(
    config: *mut octave_ws_config,
    bytes: usize,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe { set(config, |config| config.max_message(bytes)) }
}

/// Sets whether each attempt to connect is made in a short-lived thread, 0 or 1, so that
/// octave_ws_client_next() returns after its timeout meanwhile. Functions are called on the thread of the
/// caller all the same. Default: 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_connect_in_background(
    config: *mut octave_ws_config,
    in_background: c_int,
) -> c_int {
    // SAFETY: as the header asks.
    unsafe {
        set(config, |config| {
            config.connect_in_background(in_background != 0)
        })
    }
}

/// Sets a stop, which ends every wait of the clients of this config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn octave_ws_config_stop(
    config: *mut octave_ws_config,
    stop: *const octave_ws_stop,
) -> c_int {
    // SAFETY: a handle that is not freed.
    let stop = unsafe { stop.as_ref() }.map(|stop| stop.0.clone());
    let stop = stop.ok_or_else(|| Failure::invalid("stop is null"));
    // SAFETY: as the header asks.
    unsafe { try_set(config, stop, Config::stop) }
}
