"""Has each system call of the program fail once, a run each, by strace's fault injection.

    octave-sim --rate 200 -- python3 tests/torture.py

Each run has to end in time, and not by a signal. Where it ends with 0, all lines are there. Else
one line says why, what was there stays, and behind it stand whole lines. A call that is interrupted,
a file system without locks, and one that does not sync folders have to make no difference. A file of
positions is whole, and not ahead of the output.
"""

import collections
import concurrent.futures
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time

PROGRAM = os.path.abspath(os.environ.get("OCTAVE_WS", "target/debug/octave-ws"))
STREAM = "/demo/devices/gw1/temperature"
BEFORE = '{"elems":"before"}\n'
COUNT = 3
LIMIT = 30  # seconds, of a run under strace on a busy machine

# What a call fails with that does not fail with EIO.
ERRORS = {
    "openat": "EMFILE", "pipe2": "EMFILE", "socket": "EMFILE", "socketpair": "EMFILE",
    "fcntl": "EMFILE", "dup": "EMFILE",
    "mmap": "ENOMEM", "brk": "ENOMEM", "mremap": "ENOMEM", "clone3": "EAGAIN",
    "write": "ENOSPC", "connect": "ENETUNREACH", "sendto": "ECONNRESET",
    "recvfrom": "ECONNRESET", "flock": "ENOLCK", "poll": "ENOMEM", "ppoll": "ENOMEM",
    "ioctl": "ENOTTY", "rt_sigaction": "EINVAL",
}
# What a call fails with that makes no difference.
HARMLESS = {
    "flock": ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINTR"],
    **{name: ["EINTR"] for name in ("read", "write", "poll", "ppoll", "recvfrom", "sendto")},
}
# What does not fail, or ends the process. brk(2) returns the old break instead, and getrandom(2)
# has what it needs once the system is up.
NEVER = {
    "brk", "exit", "exit_group", "geteuid", "getpid", "getrandom", "gettid", "getuid",
    "restart_syscall", "rt_sigreturn",
}


class Scenario:
    """A run of the program, and what it leaves."""

    def __init__(self, name, *args, appends=False, captures=False):
        self.name, self.args = name, args
        self.appends, self.captures = appends, captures
        self.keeps = "--state" in args

    def run(self, folder, *strace):
        """Runs it under strace. Returns the exit status, negative for a signal."""
        with open(f"{folder}/FILE", "w") as file:
            file.write(BEFORE)
        args = [arg.replace("FOLDER", folder) for arg in self.args]
        command = ["strace", "-f", "-qq", "-y", "-s0", "-o", f"{folder}/calls", *strace, PROGRAM, *args]
        with open(f"{folder}/stdout", "w") as stdout, open(f"{folder}/stderr", "w") as stderr:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout,
                                  stderr=stderr, timeout=LIMIT)
        return done.returncode

    def wrong(self, folder, code, call):
        """What is wrong with what a run has left in which this call failed."""
        return self.wrong_output(folder, code, call) or self.keeps and self.wrong_state(folder, code)

    def wrong_state(self, folder, code):
        try:
            positions = json.load(open(f"{folder}/STATE"))["streams"]
        except FileNotFoundError:
            return "no positions" if code == 0 else None
        except ValueError:
            return "broken positions"
        if not positions and code != 0:
            return None
        known = positions[STREAM]["ids"]
        lines = [json.loads(line) for line in open(f"{folder}/FILE")]
        dates = {line["id"]: line["creationDate"] for line in lines if "id" in line}
        first = min(dates.values(), default=float("inf"))
        if any(id not in dates and date > first for id, date in known.items()):
            return "positions of what is not in the file"
        if code == 0 and not dates.keys() <= known.keys():
            return "positions without what is in the file"
        return None

    def wrong_output(self, folder, code, call):
        stdout, stderr, file = (open(f"{folder}/{name}").read() for name in ("stdout", "stderr", "FILE"))
        if code < 0:
            return f"killed by signal {-code}"
        if code not in (0, 69, 74, 75, 76, 77, 78):
            return f"exit code {code}"
        if code == 0:
            lines = stdout.splitlines()
            if self.captures:
                lines = file.splitlines()
            if self.appends:
                if not file.startswith(BEFORE):
                    return "what was there is gone"
                lines = file[len(BEFORE):].splitlines()
            if self.name == "doctor":
                return None if '"ping","ok":true' in stdout else "no pong"
            if self.name == "session":
                return None if len(lines) == 1 and len(lines[0]) > 20 else "no id"
            return None if len(lines) == COUNT else f"{len(lines)} lines"
        # Where standard error itself failed, there is nobody to tell.
        errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
        if len(errors) != 1 and not re.search(r"/stderr>|\(2<|/proc/self/fd/2", call):
            return f"{len(errors)} lines say why"
        if not file.startswith(BEFORE) and not (self.captures and len(file.splitlines()) == COUNT):
            return "what was there is gone"
        for text in (file, stdout):
            if text and not text.endswith("\n"):
                return "a torn line"
            for line in text.splitlines():
                if self.name != "session":
                    json.loads(line)
        return None


SCENARIOS = [
    Scenario("capture", "capture", STREAM, f"-C{COUNT}", "-W10s", "-o", "FOLDER/FILE", captures=True),
    Scenario("listen to a file", "listen", STREAM, f"-C{COUNT}", "-W10s", "-o", "FOLDER/FILE", appends=True),
    Scenario("listen", "listen", STREAM, f"-C{COUNT}", "-W10s"),
    Scenario("capture with positions", "capture", STREAM, f"-C{COUNT}", "-W10s", "-o", "FOLDER/FILE",
             "--state", "FOLDER/STATE", captures=True),
    Scenario("listen with positions", "listen", STREAM, f"-C{COUNT}", "-W10s", "-o", "FOLDER/FILE",
             "--state", "FOLDER/STATE", appends=True),
    Scenario("session", "session", "--connect-timeout=5s"),
    Scenario("doctor", "doctor", STREAM, "--json", "--connect-timeout=5s"),
]


def calls(scenario):
    """The calls of a run from its first own: the name, how many of it there were, and the line."""
    with tempfile.TemporaryDirectory() as folder:
        code = scenario.run(folder)
        assert code == 0, open(f"{folder}/stderr").read()
        seen, begun = collections.Counter(), False
        for line in open(f"{folder}/calls"):
            found = re.match(r"\d+ +(\w+)\(", line)
            if not found:
                continue
            name = found[1]
            seen[name] += 1
            # The first thing that the program does by itself.
            begun = begun or name == "pipe2"
            if begun and name not in NEVER:
                yield name, seen[name], line


def faults(scenario):
    """The runs of a scenario: which call is to fail and how, and whether that makes a difference."""
    made = list(calls(scenario))
    if scenario.keeps:
        check_order(scenario, [line for _, _, line in made])
        # The others are those of a run without positions.
        made = [call for call in made if re.search("/FILE|/STATE|sync", call[2])]
    elif scenario.captures:
        lines = [line for _, _, line in made]
        place = [at for at, line in enumerate(lines) if re.search(r"rename\w*\(.*FILE.part", line)]
        synced = [(at, "FILE.part>" in line) for at, line in enumerate(lines) if "fsync(" in line]
        # Of the file before it is put in its place, and of the folder afterwards.
        assert [is_file for _, is_file in synced] == [True, False], synced
        assert synced[0][0] < place[0] < synced[1][0]
    for name, number, line in made:
        yield scenario, name, number, ERRORS.get(name, "EIO"), False
        for error in HARMLESS.get(name, []):
            yield scenario, name, number, error, True
        if name == "fsync" and "FILE.part>" not in line:
            yield scenario, name, number, "EINVAL", True


def check_order(scenario, lines):
    """Positions are written behind the output that they tell of, and synced before they count."""
    kinds = {
        r"sync\(.*FILE(\.part)?>": "output", r"sync\(.*STATE\.tmp>": "positions",
        r"rename\w*\(.*FILE\.part": "whole", r"rename\w*\(.*STATE\.tmp": "kept", r"sync\(": "folder",
    }
    matching = ([kind for text, kind in kinds.items() if re.search(text, line)] for line in lines)
    steps = [found[0] for found in matching if found]
    keep = ["positions", "kept", "folder"]
    # At the beginning, when the beginning of the stream is found, and at the end.
    if scenario.captures:
        wanted = [*keep, *keep, "positions", "output", "whole", "folder", "kept", "folder"]
    else:
        wanted = [*keep, "output", *keep, "output", *keep, "output"]
    assert steps == wanted, steps


def fail(scenario, name, number, error, is_harmless):
    """Has one call fail. Returns what is wrong, if anything is."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            code = scenario.run(folder, "-e", f"trace={name}",
                                "-e", f"inject={name}:error={error}:when={number}")
        except subprocess.TimeoutExpired:
            return f"{scenario.name}: {name} {number} ({error}): it does not end"
        injected = [line for line in open(f"{folder}/calls") if "(INJECTED)" in line]
        call = injected[0].strip() if injected else ""
        wrong = scenario.wrong(folder, code, call)
        if is_harmless and code != 0:
            wrong = f"exit code {code}"
        if wrong:
            told = open(f"{folder}/stderr").read().strip()
            return f"{scenario.name}: {name} {number} ({error}): {wrong}\n    {call}\n    {told}"
    return None


def race(leaves, meanwhile):
    """Another process does something with FILE.part between the time that a capture opens it and
    that it locks it. The capture has to stand back."""
    with tempfile.TemporaryDirectory() as folder:
        part = f"{folder}/FILE.part"
        if leaves:
            open(part, "w").close()
        command = ["strace", "-qq", "-o", f"{folder}/calls", "-e", "trace=openat,flock",
                   "-e", "inject=flock:delay_enter=1000000:when=1", PROGRAM,
                   "capture", STREAM, "-C1", "-W20s", "-o", f"{folder}/FILE"]
        run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        is_open = re.compile(r'FILE.part".* = \d')
        deadline = time.monotonic() + LIMIT
        while not (os.path.exists(f"{folder}/calls") and is_open.search(open(f"{folder}/calls").read())):
            assert time.monotonic() < deadline, "it does not open FILE.part"
        other = meanwhile(part)
        told = run.communicate(timeout=LIMIT)[1]
        wanted = f"error: output: another run is writing {part}\n"
        if (run.returncode, told) != (75, wanted):
            return f"a race for FILE.part, {meanwhile.__name__}: exit code {run.returncode}\n    {told}"
        if os.stat(part).st_ino != os.fstat(other.fileno()).st_ino:
            return f"a race for FILE.part, {meanwhile.__name__}: that of the other is gone"
    return None


def locked(part, mode):
    file = open(part, mode)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def taken(part):
    """It is locked by another."""
    return locked(part, "r+")


def replaced(part):
    """It is made the whole file, or taken away, and another one begun."""
    os.rename(part, part + ".old")
    return locked(part, "x")


def main():
    runs = [run for scenario in SCENARIOS for run in faults(scenario)]
    with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        wrong = [what for what in pool.map(lambda run: fail(*run), runs) if what]
    races = [(leaves, meanwhile) for leaves in (False, True) for meanwhile in (taken, replaced)]
    wrong += [what for what in (race(*run) for run in races) if what]
    for what in wrong:
        print(what)
    print(f"{len(runs)} calls failed, {len(wrong)} of them to no good end")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
