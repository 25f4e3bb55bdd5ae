//! What a service manager is told: `sd_notify(3)`.

use std::env;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A service manager that listens.
pub(crate) struct Notify {
    socket: UnixDatagram,
    /// What it was told last, and when.
    status: String,
    told_at: Option<Instant>,
    /// Whether there may be more to tell since.
    is_behind: bool,
    watchdog: Option<Watchdog>,
}

/// It expects a sign of life twice as often.
struct Watchdog {
    pause: Duration,
    /// When it was given the last one.
    fed_at: Instant,
    /// Whether the service has been asked for one since.
    has_asked: bool,
}

/// For a manager that does not take what it is told.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Between two statuses, at least.
const PAUSE: Duration = Duration::from_secs(1);

impl Notify {
    /// The one that has started this process, if it did and wants to be told.
    pub(crate) fn begin() -> Option<Self> {
        let socket = match connect() {
            Ok(socket) => socket?,
            Err(error) => {
                log::warn!("systemd: NOTIFY_SOCKET cannot be reached: {error}");
                return None;
            }
        };
        let mut notify = Self {
            socket,
            status: String::new(),
            told_at: None,
            is_behind: false,
            watchdog: watchdog().map(|interval| Watchdog {
                pause: interval / 2,
                fed_at: Instant::now(),
                has_asked: false,
            }),
        };
        notify.status(|| "connecting".to_owned());
        Some(notify)
    }

    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// To be followed by that it is ready again.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Tells the status, if it is another one and the last is not too new.
    pub(crate) fn status(&mut self, status: impl FnOnce() -> String) {
        let now = Instant::now();
        self.is_behind = self.told_at.is_some_and(|at| now < at + PAUSE);
        if self.is_behind {
            return;
        }
        let status = status();
        if status != self.status {
            self.told_at = Some(now);
            self.send(&format!("STATUS={status}"));
            self.status = status;
        }
    }

    /// Feeds the watchdog if it is time and the service was heard of since the last time. True
    /// where the service should be asked for a sign of life.
    pub(crate) fn feed(&mut self, heard_at: Option<Instant>) -> bool {
        let now = Instant::now();
        let Some(watchdog) = &mut self.watchdog else {
            return false;
        };
        if now < watchdog.fed_at + watchdog.pause {
            return false;
        }
        if heard_at.is_some_and(|at| at > watchdog.fed_at) {
            watchdog.fed_at = now;
            watchdog.has_asked = false;
            self.send("WATCHDOG=1");
            return false;
        }
        heard_at.is_some() && !std::mem::replace(&mut watchdog.has_asked, true)
    }

    /// When there may be something to tell, though nothing has come in.
    pub(crate) fn due(&self) -> Option<Instant> {
        let status = self.told_at.filter(|_| self.is_behind).map(|at| at + PAUSE);
        let watchdog = self.watchdog.as_ref();
        let watchdog = watchdog.filter(|watchdog| !watchdog.has_asked);
        let watchdog = watchdog.map(|watchdog| watchdog.fed_at + watchdog.pause);
        status.into_iter().chain(watchdog).min()
    }

    fn send(&self, message: &str) {
        if let Err(error) = self.socket.send(message.as_bytes()) {
            log::debug!("systemd: not told {message:?}: {error}");
        }
    }
}

fn connect() -> io::Result<Option<UnixDatagram>> {
    let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let addr = match path.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&addr)?;
    // More than that it is not worth to wait.
    socket.set_write_timeout(Some(LONGEST_WAIT))?;
    Ok(Some(socket))
}

/// Within what time the watchdog wants to be fed, if it watches this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse().ok();
    let is_ours = match env::var_os("WATCHDOG_PID") {
        None => true,
        Some(_) => number("WATCHDOG_PID") == Some(u64::from(process::id())),
    };
    let usec = number("WATCHDOG_USEC").filter(|&usec| usec > 0 && is_ours)?;
    Some(Duration::from_micros(usec))
}
