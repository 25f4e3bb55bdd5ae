//! Look-ups where the system or a name server is not as it should be. A name server has network and
//! mount namespaces of its own: it takes root.

use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use super::{TEMPERATURE, octave_ws, preloaded, start, stderr};

/// Set where a test has the namespaces to itself.
pub(super) const ISOLATED: &str = "OCTAVE_TEST_ISOLATED";

const LOOPBACK_UP: [&str; 5] = ["ip", "link", "set", "lo", "up"];

/// Runs a test of this binary that is ignored otherwise.
pub(super) fn isolated(test: &str) {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--propagation", "private"]);
        command
    };
    let can = unshare().args(LOOPBACK_UP).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        let _ = writeln!(
            std::io::stderr(),
            "{test}: not run: it takes root, unshare(1) and ip(8)"
        );
        return;
    }
    let mut command = unshare();
    command.args(["sh", "-c"]);
    command.arg(format!("{} && exec \"$@\"", LOOPBACK_UP.join(" ")));
    command.arg("sh").arg(std::env::current_exe().unwrap());
    let command = command.args(["--exact", test, "--ignored"]);
    let output = command.env(ISOLATED, "1").output();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

#[test]
fn a_look_up_that_takes_longer_than_its_phase_is_waited_for() {
    isolated("names::without_an_answer_about_ipv6");
}

#[test]
#[ignore = "run by another, in namespaces of its own"]
fn without_an_answer_about_ipv6() {
    // Elsewhere it would replace files of the machine.
    if std::env::var_os(ISOLATED).is_none() {
        return;
    }
    let run = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).status().unwrap().success());
    };
    let folder = tempfile::tempdir().unwrap();
    let replace = |path: &str, text: &str| {
        let path = fs::canonicalize(path).unwrap_or(path.into());
        if path.exists() {
            let other = folder.path().join(path.file_name().unwrap());
            fs::write(&other, text).unwrap();
            run(
                "mount",
                &["--bind", other.to_str().unwrap(), path.to_str().unwrap()],
            );
        }
    };
    let options = "options timeout:1 attempts:2";
    replace(
        "/etc/resolv.conf",
        &format!("nameserver 127.0.0.1\n{options}\n"),
    );
    replace("/etc/nsswitch.conf", "hosts: dns\n");
    replace("/etc/hosts", "");
    assert!(Path::new("/etc/resolv.conf").exists());
    let server = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || answer_about_ipv4(&server));

    let (sim, _seen) = start(100.0);
    let port = sim.addr().port();
    let endpoint = format!("--endpoint=https://localhost:{port}");
    let args = [
        "listen",
        TEMPERATURE,
        "-C1",
        &endpoint,
        "--connect-timeout=1s",
        "-W20s",
    ];
    let output = octave_ws(&sim, &args).output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("warning: resolve: DNS lookup of localhost timed out"),
        "{told}"
    );
}

/// Answers each question for an IPv4 address with 127.0.0.1, and no other (RFC 1035 §4).
fn answer_about_ipv4(server: &UdpSocket) {
    let mut query = [0; 512];
    loop {
        let (length, from) = server.recv_from(&mut query).unwrap();
        let question = &query[12..length];
        let end = question.iter().position(|&b| b == 0).unwrap() + 5;
        let question = &question[..end];
        if question[end - 4..] != [0, 1, 0, 1] {
            continue;
        }
        let mut answer = query[..2].to_vec();
        // A response without error, to one question, with one record.
        answer.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        answer.extend(question);
        // The same name, type A, class IN, for a minute, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        server.send_to(&answer, from).unwrap();
    }
}

/// A system that gives no thread, and lets no socket be tuned.
const STINGY: &str = r"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
int pthread_create(pthread_t *a, const pthread_attr_t *b, void *(*c)(void *), void *d) {
    return EPERM;
}
int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    errno = EPERM;
    return -1;
}
";

#[test]
fn a_name_is_looked_up_without_a_thread_and_a_socket_need_not_be_tuned() {
    let (sim, _seen) = start(100.0);
    let port = sim.addr().port();
    let endpoint = format!("--endpoint=https://localhost:{port}");
    let library = preloaded(STINGY);
    for verbosity in [&["-v"][..], &[]] {
        let output = octave_ws(&sim, &["listen", TEMPERATURE, "-C1", "-4", &endpoint])
            .args(verbosity)
            .env("LD_PRELOAD", &library)
            .output()
            .unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{told}");
        for line in [
            "resolve: no thread: Operation not permitted (os error 1); it is looked up without a deadline",
            "connect: TCP_NODELAY cannot be set: Operation not permitted (os error 1)",
        ] {
            assert_eq!(told.contains(line), !verbosity.is_empty(), "{told}");
        }
    }
}
