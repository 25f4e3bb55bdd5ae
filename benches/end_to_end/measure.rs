//! A program, run and measured.
#![allow(
    unsafe_code,
    reason = "std and rustix do not tell what a child has used"
)]

use std::fs;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a program has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// The most memory that it had, in bytes.
    pub(crate) peak: u64,
}

/// Runs a program to its end, with its standard output to /dev/null or into a pipe, and writes what
/// it has used to a file.
pub(crate) fn run(file: &str, is_piped: bool, program: &[String]) {
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).stderr(Stdio::null());
    command.stdout(if is_piped {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    let mut child = command.spawn().unwrap();
    if let Some(mut out) = child.stdout.take() {
        let mut buffer = vec![0; 64 << 10];
        while out.read(&mut buffer).unwrap() > 0 {}
    }
    child.wait().unwrap();
    let usage = of_children();
    fs::write(file, format!("{} {}", usage.cpu.as_micros(), usage.peak)).unwrap();
}

/// What [`run`] has written.
pub(crate) fn read(file: &Path) -> Usage {
    let text = fs::read_to_string(file).unwrap();
    let (cpu, peak) = text.split_once(' ').unwrap();
    Usage {
        cpu: Duration::from_micros(cpu.parse().unwrap()),
        peak: peak.parse().unwrap(),
    }
}

fn of_children() -> Usage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: it is given room for one, and zeroes are one, too.
    let usage = unsafe {
        let code = libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        assert_eq!(code, 0, "{}", io::Error::last_os_error());
        usage.assume_init()
    };
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap());
        seconds + Duration::from_micros(u64::try_from(time.tv_usec).unwrap())
    };
    Usage {
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak: u64::try_from(usage.ru_maxrss).unwrap() << 10,
    }
}
