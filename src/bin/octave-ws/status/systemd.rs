//! Notifies a service manager: `sd_notify(3)`.

use std::env;
use std::io;
use std::mem;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::time::{ClockId, clock_gettime};

use crate::wait;

/// A service manager that listens.
pub(crate) struct Notify {
    socket: UnixDatagram,
    /// The last status sent, and its time.
    status: String,
    told_at: Option<Instant>,
    /// Whether there may be more to tell since.
    is_behind: bool,
    watchdog: Option<Arc<Watchdog>>,
}

/// systemd recommends half of this interval.
struct Watchdog {
    socket: UnixDatagram,
    pause: Duration,
    state: Mutex<Fed>,
}

struct Fed {
    /// Time of the last WATCHDOG=1.
    at: Instant,
    /// Time of the last check for a sign of life.
    looked_at: Instant,
    /// Whether the service has been asked for one since.
    has_asked: bool,
}

/// Timeout for a manager that does not read.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Minimum time between two statuses.
const PAUSE: Duration = Duration::from_secs(1);

impl Notify {
    /// Returns the service manager that has started this process, if it has one that takes
    /// notifications.
    pub(crate) fn begin() -> Option<Self> {
        let socket = match connect() {
            Ok(socket) => socket?,
            Err(error) => {
                log::warn!("systemd: NOTIFY_SOCKET cannot be reached: {error}");
                return None;
            }
        };
        let mut notify = Self {
            watchdog: Watchdog::begin(&socket),
            socket,
            status: String::new(),
            told_at: None,
            is_behind: false,
        };
        notify.status(|| "connecting".to_owned());
        Some(notify)
    }

    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// Notifies of a reload, which ends with the next READY=1.
    pub(crate) fn reloading(&self) {
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic));
        let usec = now.unwrap_or_default().as_micros();
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

    /// Feeds the watchdog if it is time and the service was heard of since the last time, or there
    /// is no connection but another one is tried for. True where the service should be asked for a
    /// sign of life.
    pub(crate) fn feed(&self, heard_at: Option<Instant>) -> bool {
        let watchdog = self.watchdog.as_ref();
        watchdog.is_some_and(|watchdog| watchdog.feed(heard_at))
    }

    /// Returns the interval and the function that feed the watchdog while the client connects.
    pub(crate) fn feeder(&self) -> Option<(Duration, impl Fn() + Send + Sync + 'static)> {
        let watchdog = Arc::clone(self.watchdog.as_ref()?);
        Some((watchdog.pause / 2, move || {
            watchdog.feed(None);
        }))
    }

    /// Returns when there may be something to tell, though nothing has come in.
    pub(crate) fn due(&self) -> Option<Instant> {
        let status = self.told_at.filter(|_| self.is_behind).map(|at| at + PAUSE);
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.due());
        status.into_iter().chain(watchdog).min()
    }

    fn send(&self, message: &str) {
        send(&self.socket, message);
    }
}

impl Watchdog {
    fn begin(socket: &UnixDatagram) -> Option<Arc<Self>> {
        let now = Instant::now();
        Some(Arc::new(Self {
            pause: watchdog()? / 2,
            socket: socket.try_clone().ok()?,
            state: Mutex::new(Fed {
                at: now,
                looked_at: now,
                has_asked: false,
            }),
        }))
    }

    fn feed(&self, heard_at: Option<Instant>) -> bool {
        let now = Instant::now();
        let mut fed = self.fed();
        if now < fed.at.max(fed.looked_at) + self.pause {
            return false;
        }
        fed.looked_at = now;
        if heard_at.is_none_or(|at| at > fed.at) {
            fed.at = now;
            fed.has_asked = false;
            send(&self.socket, "WATCHDOG=1");
            return false;
        }
        !mem::replace(&mut fed.has_asked, true)
    }

    fn due(&self) -> Instant {
        let fed = self.fed();
        fed.at.max(fed.looked_at) + self.pause
    }

    fn fed(&self) -> MutexGuard<'_, Fed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(socket: &UnixDatagram, message: &str) {
    let attempt = || rustix::net::send(socket, message.as_bytes(), SendFlags::DONTWAIT);
    let sent = match attempt() {
        Err(Errno::AGAIN) => {
            wait::writable_by(socket, Instant::now() + LONGEST_WAIT).and_then(|()| Ok(attempt()?))
        }
        done => done.map_err(io::Error::from),
    };
    if let Err(error) = sent {
        log::debug!("systemd: {message:?} could not be sent: {error}");
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
    Ok(Some(socket))
}

/// Returns within what time the watchdog wants to be fed, if it watches this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse().ok();
    let is_ours = match env::var_os("WATCHDOG_PID") {
        None => true,
        Some(_) => number("WATCHDOG_PID") == Some(u64::from(process::id())),
    };
    let usec = number("WATCHDOG_USEC").filter(|&usec| usec > 0 && is_ours)?;
    Some(Duration::from_micros(usec))
}
