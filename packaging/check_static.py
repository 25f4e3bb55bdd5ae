#!/usr/bin/env python3
"""Shows that static binaries of octave-ws work:

    packaging/check_static.py BINARY...

Each is run against the stand-in, by qemu's user mode where it is for another processor, and in
comparison with the native build: target/release holds that and octave-sim (cargo build --release
--all-features). Needs root, and Debian's qemu-user-static, strace and binutils.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

NATIVE = Path("target/release/octave-ws").absolute()
SIM = Path("target/release/octave-sim").absolute()
REFUSED = b"Connection refused (os error 111)"
STREAM = "/demo/devices/gw1/temperature"

# By the first part of a target's name. The processor is the least one that the target is for.
EMULATORS = {
    "x86_64": [],
    "aarch64": ["qemu-aarch64-static"],
    "armv7": ["qemu-arm-static", "-cpu", "cortex-a7"],
    "arm": ["qemu-arm-static", "-cpu", "arm1176"],
    "riscv64gc": ["qemu-riscv64-static"],
    "mipsel": ["qemu-mipsel-static"],
}

# System calls that Linux 3.2 does not have.
LATER = """clone3 close_range copy_file_range epoll_pwait2 faccessat2 fchmodat2 finit_module getrandom
io_uring_setup kcmp membarrier memfd_create mlock2 openat2 pidfd_open pidfd_send_signal preadv2
pwritev2 renameat2 rseq sched_getattr sched_setattr seccomp statx userfaultfd""".split()


def run(program, *args, sim=(), **options):
    """Runs a client under the stand-in."""
    command = [SIM, *sim, "--", *program, *args]
    return subprocess.run(command, capture_output=True, timeout=60, **options)


def is_static(binary, _):
    told = subprocess.check_output(["readelf", "-lW", "-d", binary], text=True)
    assert "INTERP" not in told and "NEEDED" not in told, told


def events(_, program):
    """The same thousand events as the native build writes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "events")
        event = '{"creationDate":%d,"elems":{"n":%d},"path":"' + STREAM + '","streamId":"s1"}\n'
        file.write_text("".join(event % (1707870487000 + n, n) for n in range(1000)))
        sim = ["--events", file, "--rate", "2000"]
        args = ["listen", STREAM, "--count", "1000", "--format"]
        for form in ["event", "message"]:
            native, other = [run(p, *args, form, sim=sim) for p in ([NATIVE], program)]
            assert other.stdout.count(b"\n") == 1000, other
            assert other.stdout == native.stdout, other
            assert other.returncode == native.returncode == 0, other


def capture(_, program):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "events")
        args = ["capture", STREAM, "--count", "1000", "--timeout", "30s", "-o", file]
        done = run(program, *args, sim=["--rate", "2000"])
        assert done.returncode == 0 and file.read_bytes().count(b"\n") == 1000, done


def refused(_, program):
    """Errors are those of the native build, but for what differs by run."""
    cases = [
        ["listen", "/no/such/stream"],
        ["--endpoint", "https://127.0.0.1:1", "session"],
        ["listen", "x"],
        ["capture", STREAM],
        ["lisen"],
        ["--help"],
        ["--version"],
    ]
    for case in cases:
        native, other = [run(p, *case) for p in ([NATIVE], program)]
        assert other.stdout == native.stdout and other.returncode == native.returncode, (native, other)
        told = [re.sub(rb":\d{4,5}\b", b":PORT", run.stderr) for run in (native, other)]
        # QEMU before 8 gives MIPS the number that an error of a socket has elsewhere.
        told[1] = told[1].replace(b"No error information (os error 111)", REFUSED)
        assert told[0] == told[1], told


def closed_output(_, program):
    """Events do not go to whatever file takes the number of a closed standard output."""
    args = ["sh", "-c", 'exec "$@" >&-', "sh"]
    listen = ["listen", STREAM]
    native, other = [run([*args, *p], *listen) for p in ([NATIVE], program)]
    assert other.returncode == native.returncode == 74, (native, other)
    assert other.stderr == native.stderr, (native, other)


def stop(_, program):
    """SIGTERM ends it with 0, and whole lines."""
    command = [SIM, "--rate", "100", "--", *program, "listen", STREAM]
    sim = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = [sim.stdout.readline() for _ in range(10)]
    sim.send_signal(signal.SIGTERM)
    out, err = sim.communicate(timeout=10)
    out = b"".join(lines) + out
    assert sim.returncode == 0 and out.endswith(b"}\n"), (sim.returncode, out, err)


def resolver(_, program):
    """In a folder without any other file, names are looked up by its /etc/resolv.conf."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "etc").mkdir()
        (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        inside = []
        for part in program:
            if os.path.exists(part):
                shutil.copy(part, root / Path(part).name)
                part = "/" + Path(part).name
            inside.append(part)
        script = """cat "$OCTAVE_CA_FILE" >"$0/ca.pem"
            unset OCTAVE_CONFIG
            export OCTAVE_CA_FILE=/ca.pem OCTAVE_ENDPOINT="https://localhost:${OCTAVE_ENDPOINT##*:}"
            exec chroot "$0" "$@\""""
        args = ["session", "--url"]
        done = run(["sh", "-c", script, root, *inside], *args)
        assert done.returncode == 0 and b"wss://localhost:" in done.stdout, done
        assert NAMES, "localhost was not looked up"
        NAMES.clear()


def old_kernel(_, program):
    """Without the system calls that came after Linux 3.2."""
    if len(program) > 1:
        return "not under qemu, which needs them"
    calls = ",".join(f"?{call}" for call in LATER)
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={calls}:error=ENOSYS"]
    args = ["capture", STREAM, "--count", "5", "--timeout", "30s"]
    done = run([*strace, *program], *args, sim=["--rate", "100"])
    assert done.returncode == 0 and done.stdout.count(b"\n") == 5, done
    return None


def memory(_, program):
    """What an idle client takes, beside what it shares."""
    if len(program) > 1:
        return "not under qemu, which has more"
    command = [SIM, "--rate", "10", "--", *program, "listen", STREAM, "-q"]
    sim = subprocess.Popen(command, stdout=subprocess.PIPE)
    for _ in range(10):
        sim.stdout.readline()
    client = Path(f"/proc/{sim.pid}/task/{sim.pid}/children").read_text().split()[0]
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{client}/status").read_text())
    sim.send_signal(signal.SIGTERM)
    sim.communicate(timeout=10)
    kib = int(resident[1])
    assert kib <= 2560, f"{kib} KiB"
    return f"{kib} KiB resident"


NAMES = set()


def serve_names():
    """Answers each question for an IPv4 address with loopback, and others with none."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 53))
    while True:
        question, client = udp.recvfrom(512)
        end = question.index(b"\0", 12) + 5
        NAMES.add(question[12:end])
        is_ipv4 = question[end - 4 : end - 2] == b"\0\1"
        answer = question[:2] + b"\x81\x80\0\1" + struct.pack("!HHH", is_ipv4, 0, 0) + question[12:end]
        if is_ipv4:
            answer += b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
        udp.sendto(answer, client)


def main(binaries):
    # A network of our own: its port 53 is free.
    if "OCTAVE_OWN_NETWORK" not in os.environ:
        os.environ["OCTAVE_OWN_NETWORK"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    with socket.socket() as any_socket:
        SIOCSIFFLAGS, IFF_UP = 0x8914, 1
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
    threading.Thread(target=serve_names, daemon=True).start()

    checks = [is_static, events, capture, refused, closed_output, stop, resolver, old_kernel, memory]
    for binary in binaries:
        binary = Path(binary).absolute()
        target = binary.name.removeprefix("octave-ws-")
        emulator = EMULATORS[target.split("-")[0]]
        program = [str(binary)]
        if emulator:
            program = [shutil.which(emulator[0]), *emulator[1:], *program]
        print(f"{target}: {binary.stat().st_size} bytes")
        for check in checks:
            said = check(binary, program)
            print(f"  {check.__name__}: {said or 'ok'}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
