"""Links the library for C, and runs the examples and small_stack.c with it: by themselves, under valgrind, and
with ASan and UBSan.

    python3 tests/capi/run.py LIBRARY.a PANICKING.a OCTAVE_SIM

Both are of packaging/localize.sh, the second one with --cfg octave_ws_panic.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBRARY, PANICKING, SIM = (os.path.abspath(path) for path in sys.argv[1:4])
STREAM = "/demo/devices/gw1/temperature"
WARNINGS = ["-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/include"]
SYSTEM = ["-lpthread", "-lm", "-ldl", "-lgcc_s", "-lc"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
VALGRIND = [
    "valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--num-callers=40",
    "--errors-for-leak-kinds=definite,indirect,possible",
    f"--suppressions={ROOT}/tests/capi/valgrind.supp",
]  # fmt: skip


def compile_header(folder):
    source = os.path.join(folder, "header.c")
    with open(source, "w") as file:
        file.write("#include <octave_ws.h>\nint main(void) { return octave_ws_version() == 0; }\n")
    for compiler in ["gcc -std=c99", "gcc -std=c11", "g++ -x c++ -std=c++11"]:
        subprocess.run([*compiler.split(), *WARNINGS, "-fsyntax-only", source], check=True)


def build(folder, source, name, flags=(), library=LIBRARY):
    program = os.path.join(folder, name)
    source = os.path.join(ROOT, source)
    command = ["gcc", "-std=c99", "-D_POSIX_C_SOURCE=200809L", *WARNINGS, source, library, *flags]
    subprocess.run([*command, "-Wl,--gc-sections", *SYSTEM, "-o", program], check=True)
    return program


def compile_readme(folder):
    """Compiles the example of the README."""
    with open(os.path.join(ROOT, "README.md")) as file:
        _, _, rest = file.read().partition("```c\n")
    body, _, _ = rest.partition("```")
    source = os.path.join(folder, "readme.c")
    with open(source, "w") as file:
        file.write("#include <err.h>\n#include <stdio.h>\n#include <octave_ws.h>\n")
        file.write(f"int main(void) {{\n{body}return 0; }}\n")
    subprocess.run(["gcc", "-std=c99", *WARNINGS, "-fsyntax-only", source], check=True)


def link_beside_another(folder):
    """Links a second archive of Rust, whose standard library has the same names."""
    other = os.path.join(folder, "other.rs")
    with open(other, "w") as file:
        body = 'std::panic::catch_unwind(|| "7".parse().unwrap()).unwrap_or(1)'
        file.write(f'#[unsafe(no_mangle)] pub extern "C" fn other() -> i32 {{ {body} }}\n')
    command = ["rustc", "--edition=2024", "--crate-type=staticlib", other, "--out-dir", folder]
    subprocess.run(command, check=True)
    source = os.path.join(folder, "both.c")
    with open(source, "w") as file:
        file.write(
            "#include <octave_ws.h>\nint other(void);\n"
            "int main(void) { return other() != 7 || octave_ws_version() != OCTAVE_WS_VERSION; }\n"
        )
    archive = os.path.join(folder, "libother.a")
    subprocess.run([build(folder, source, "both", [archive])], check=True)


class Sim:
    """The stand-in, and the environment of its clients."""

    def __init__(self, *args):
        self.process = subprocess.Popen([SIM, *args], stdout=subprocess.PIPE, text=True)
        self.env = dict(os.environ)
        for line in self.process.stdout:
            name, _, value = line.strip().partition("=")
            self.env[name] = value.strip("'")
            if len([name for name in self.env if name.startswith("OCTAVE_")]) == 6:
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def listen(command, *args, until, changes=None):
    """Listens until a line of either output has these words; stops it. Returns its code and output."""
    with Sim("--rate", "20", *args) as sim:
        env = sim.env | (changes or {})
        process = subprocess.Popen(
            [*command, STREAM], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        output = ""
        for line in process.stdout:
            output += line
            if until in line:
                process.send_signal(signal.SIGTERM)
        return process.wait(timeout=60), output


def check(wanted, found):
    if found[0] != wanted:
        sys.exit(f"{wanted} expected: {found}")


def run_all(how, programs):
    listener, poller, small = ([*how, program] for program in programs)
    check(0, listen(listener, until='"elems"'))
    check(0, listen(listener, "--fault", "drop", until="events may be missing: "))
    check(0, listen(listener, "--fault", "refuse", until=": refused"))
    wrong = listen(listener, until="nothing", changes={"OCTAVE_TOKEN": "wrong"})
    check(1, wrong)
    if "error: session: HTTP 400" not in wrong[1]:
        sys.exit(f"no reason: {wrong}")
    check(1, listen(listener, until="nothing", changes={"OCTAVE_ENDPOINT": "ftp://x"}))
    for args in [(), ("--fault", "drop"), ("--fault", "session-silent")]:
        with Sim("--rate", "20", *args) as sim:
            process = subprocess.Popen(
                [*poller, STREAM], env=sim.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            if "session-silent" not in args:
                line = process.stdout.readline()
                if '"elems"' not in line:
                    sys.exit(f"no event: {line}")
            process.stdin.close()
            check(0, (process.wait(timeout=60), args))
            process.stdout.close()
    with Sim("--rate", "20") as sim:
        names = ["ENDPOINT", "CA_FILE", "COMPANY", "USER", "TOKEN"]
        arguments = [sim.env[f"OCTAVE_{name}"] for name in names]
        output = subprocess.run(
            [*small, *arguments, STREAM], stdout=subprocess.PIPE, text=True, timeout=60
        )
        if output.stdout != "done\n":
            sys.exit(f"no event in a small stack: {output}")
        check(0, (output.returncode, output.stdout))


def main():
    folder = tempfile.mkdtemp()
    try:
        compile_header(folder)
        compile_readme(folder)
        link_beside_another(folder)
        panicking = build(folder, "tests/capi/panic.c", "panic", library=PANICKING)
        subprocess.run([*VALGRIND, panicking], check=True)
        sources = ["examples/c/listen.c", "examples/c/poll.c", "tests/capi/small_stack.c"]
        plain = [build(folder, source, str(n)) for n, source in enumerate(sources)]
        run_all([], plain)
        run_all(VALGRIND, plain)
        run_all([], [build(folder, source, f"{n}s", SANITIZE) for n, source in enumerate(sources)])
    finally:
        shutil.rmtree(folder)
    print("the library for C: all is well")


main()
