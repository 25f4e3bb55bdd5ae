//! The signals that end a run, and those that do not.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use octave_ws::Stop;
use octave_ws::cli::signals::is_ignored;
use octave_ws::wait::poll;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGXFSZ};
use signal_hook::{flag, low_level};

use crate::wait::terminal;

mod inherited;

/// A signal that comes again within this time is the same one: timeout(1) signals its child, and then
/// the group that the child is in.
const REPEAT: Duration = Duration::from_secs(1);

/// Lets SIGINT and SIGTERM pull the stop, unless the starter has SIGINT ignored. Another one ends the
/// process at once, with 128 and its number. A file that may not grow is an error, and no signal.
pub(crate) fn catch(stop: &Stop) -> io::Result<Hangups> {
    let first = Arc::new(First::new());
    let is_heard = |signal: &c_int| *signal != SIGINT || !is_ignored(SIGINT);
    for signal in [SIGINT, SIGTERM].into_iter().filter(is_heard) {
        first.register(signal)?;
        low_level::pipe::register(signal, stop.waker()?)?;
    }
    // Not reported beside the error of the write.
    flag::register(SIGXFSZ, Arc::default())?;
    let hangups = Hangups::note(stop)?;
    inherited::unblock(&[SIGINT, SIGTERM, SIGHUP, SIGPIPE])?;
    Ok(hangups)
}

/// The 24 bits of milliseconds that fit beside a signal: not every gateway has 64-bit atomics.
const MILLIS: u32 = u32::MAX >> 8;

/// The first signal that asks for the end.
struct First {
    begun: Instant,
    /// The signal, and above its eight bits the milliseconds when it came, as far as they fit. 0
    /// before it comes.
    came: AtomicU32,
}

impl First {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            came: AtomicU32::new(0),
        }
    }

    /// Lets the signal end the process at once, unless it is the first, or its repeat.
    #[allow(unsafe_code, reason = "no safe registration looks at a clock")]
    fn register(self: &Arc<Self>, signal: c_int) -> io::Result<()> {
        let first = Arc::clone(self);
        let came = move || {
            if !first.is_same(signal) {
                low_level::exit(128 + signal);
            }
        };
        // SAFETY: it reads a clock and an atomic, and exits as _exit(2) does: each is
        // async-signal-safe.
        unsafe { low_level::register(signal, came) }?;
        Ok(())
    }

    /// Returns whether the signal that has just come is the first one, or its repeat.
    fn is_same(&self, signal: c_int) -> bool {
        let now = self.begun.elapsed().as_millis() & u128::from(MILLIS);
        let now = u32::try_from(now).unwrap_or_default();
        let came = now << 8 | signal.unsigned_abs();
        let order = Ordering::SeqCst;
        match self.came.compare_exchange(0, came, order, order) {
            Ok(_) => true,
            Err(first) => {
                let since = now.wrapping_sub(first >> 8) & MILLIS;
                first & 0xff == signal.unsigned_abs() && u128::from(since) < REPEAT.as_millis()
            }
        }
    }
}

/// SIGHUP, caught from the start of the process: its meaning depends on the command.
pub(crate) struct Hangups {
    /// Readable once there was one.
    pipe: OwnedFd,
    /// Whether the starter has it ignored, as nohup(1) does.
    is_ignored: bool,
}

impl Hangups {
    /// Registers for SIGHUP. One that comes because the controlling terminal is gone triggers the
    /// stop.
    #[allow(unsafe_code, reason = "no safe registration asks for the terminal")]
    fn note(stop: &Stop) -> io::Result<Self> {
        // Read first: registering for a signal ends its being ignored.
        let was_ignored = is_ignored(SIGHUP);
        if !was_ignored && has_terminal() {
            let waker = stop.waker()?;
            let came = move || {
                if !has_terminal() {
                    // A stop that was pulled already takes no more.
                    let _ = rustix::io::write(&waker, &[0]);
                }
            };
            // SAFETY: it asks for the terminal's process group, opens and closes a file and writes,
            // each of which is async-signal-safe.
            unsafe { low_level::register(SIGHUP, came) }?;
        }
        Ok(Self {
            pipe: signal_pipe(SIGHUP)?,
            is_ignored: was_ignored,
        })
    }

    /// Lets each SIGHUP pull the stop, one that has come already included, unless the starter has it
    /// ignored. A second one changes nothing: a shell sends one beside the terminal's.
    pub(crate) fn let_stop(&self, stop: &Stop) -> io::Result<()> {
        if self.is_ignored {
            return Ok(());
        }
        low_level::pipe::register(SIGHUP, stop.waker()?)?;
        if poll::is_readable(&self.pipe) {
            stop.stop();
        }
        Ok(())
    }

    /// Forgets those that there were.
    pub(crate) fn drain(&self) {
        drain(&self.pipe);
    }
}

/// Readable once there was one.
impl AsFd for Hangups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Returns whether a terminal controls the process: that on standard error, or any. A chroot may
/// have no /dev/tty.
fn has_terminal() -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    terminal::is_stderr_its_terminal() || rustix::fs::open("/dev/tty", flags, Mode::empty()).is_ok()
}

/// Becomes readable, and no more than that happens, with each SIGTSTP: a terminal's ^Z.
pub(crate) fn suspensions() -> io::Result<OwnedFd> {
    signal_pipe(SIGTSTP)
}

fn signal_pipe(signal: c_int) -> io::Result<OwnedFd> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    low_level::pipe::register(signal, write)?;
    Ok(read)
}

/// Forgets those that there were.
pub(crate) fn drain(pipe: &OwnedFd) {
    while rustix::io::read(pipe, &mut [0; 64]).is_ok_and(|n| n > 0) {}
}

/// Suspends the process, as SIGTSTP does by default, until SIGCONT.
pub(crate) fn suspend() -> io::Result<()> {
    low_level::emulate_default_handler(SIGTSTP)
}

/// SIGQUIT, which would end the process where it stands.
pub(crate) struct TerminalSignals(Arc<AtomicBool>);

impl TerminalSignals {
    /// Lets SIGQUIT pull the stop instead, unless the starter has it ignored.
    pub(crate) fn catch(stop: &Stop) -> io::Result<Self> {
        let caught = Arc::new(AtomicBool::new(false));
        if !is_ignored(SIGQUIT) {
            flag::register(SIGQUIT, Arc::clone(&caught))?;
            low_level::pipe::register(SIGQUIT, stop.waker()?)?;
        }
        Ok(Self(caught))
    }

    /// Ends the process by it, if there was one, now that all is done.
    pub(crate) fn end(&self) {
        if self.0.load(Ordering::Relaxed) {
            // Where that fails, the process ends as it would have.
            let _ = low_level::emulate_default_handler(SIGQUIT);
        }
    }
}
