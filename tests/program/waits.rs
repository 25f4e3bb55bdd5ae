//! What a run waits for beside the service: it waits within its deadline and for no signal.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use octave_ws::sim::{Options, Sim};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{TEMPERATURE, octave_ws, start_with, terminal};

/// As much as a run may take beyond its time, here, where others run beside it.
const GRACE: Duration = Duration::from_secs(2);

const TIMEOUT: Duration = Duration::from_secs(1);

/// A stand-in that sends so much that no reader who does not read has room for it.
fn busy() -> Sim {
    let (sim, _) = start_with(Options {
        rate: 5_000.0,
        ..Options::default()
    });
    sim
}

/// How it ends, within so long.
fn wait(child: &mut Child, time: Duration) -> ExitStatus {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let ended = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let mut fds = [PollFd::new(&ended, PollFlags::IN)];
    if poll(&mut fds, Some(&time.try_into().unwrap())).unwrap() == 0 {
        child.kill().unwrap();
        panic!("it does not end");
    }
    child.wait().unwrap()
}

/// The exit code of a program that ends within so long, and what stands on standard error.
fn end(mut child: Child, time: Duration) -> (Option<i32>, String) {
    let code = wait(&mut child, time).code();
    let mut told = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut told).unwrap();
    }
    (code, told)
}

/// What nobody reads, as long as the other one is kept.
fn unread() -> [(OwnedFd, OwnedFd); 3] {
    let (pipe, writer) = io::pipe().unwrap();
    let (far, near) = UnixStream::pair().unwrap();
    let (terminal, screen) = terminal();
    [
        (writer.into(), pipe.into()),
        (near.into(), far.into()),
        (terminal, screen.into()),
    ]
}

#[test]
fn a_reader_that_reads_nothing_does_not_outlast_the_deadline() {
    let sim = busy();
    for args in [
        &["listen", TEMPERATURE, "-W1s"][..],
        &["capture", TEMPERATURE, "--duration=10s", "-W1s"],
        &["listen", TEMPERATURE, "-C1000000", "-W1s"],
    ] {
        for (stdout, _unread) in unread() {
            let child = octave_ws(&sim, args).stdout(stdout).spawn().unwrap();
            let (code, told) = end(child, TIMEOUT + GRACE);
            assert_eq!(code, Some(75), "{told}");
            let wanted = "error: timeout: output: nobody has read all lines in time\n";
            assert!(told.ends_with(wanted), "{told}");
        }
    }
}

#[test]
fn nor_the_end_of_the_run_for_longer_than_two_seconds() {
    let sim = busy();
    for command in ["listen", "capture"] {
        let (_reader, writer) = io::pipe().unwrap();
        let args = [command, TEMPERATURE, "--duration=1s"];
        let child = octave_ws(&sim, &args).stdout(writer).spawn().unwrap();
        let (code, told) = end(child, TIMEOUT + Duration::from_secs(2) + GRACE);
        assert_eq!(code, Some(75), "{told}");
        let wanted = "error: output: the reader takes nothing more, lines are left\n";
        assert!(told.ends_with(wanted), "{told}");
    }
}
