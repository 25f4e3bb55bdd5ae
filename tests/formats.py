#!/usr/bin/env python3
"""Reads what octave-ws has written with parsers that are not ours: csv, prometheus_client.

    formats.py DIR

DIR holds octave-sim and octave-ws. Exits with 1 where a value does not come back as it was sent.
"""

import csv
import io
import json
import pathlib
import subprocess
import sys
import tempfile

from prometheus_client.parser import text_string_to_metric_families

STREAM = "/demo/devices/gw1/temperature"
NUMBERS = ["0", "-1.50e-400", "12345678901234567890123456789.000", "1E400"]
STRINGS = [
    "", " x ", ",", '"', '","', "a,b\r\nc\n", "\t\\t\\", "\x1b[2J\x7f\x85\u2028", "é\U0001f600", "=1+1",
    "x," * 35_000,
]
NESTED = json.loads('{"a":' * 100 + "[1]" + "}" * 100)


def run(folder, arguments, events, streams=()):
    """Runs octave-ws beside a stand-in that sends these events, and returns its standard output."""
    with tempfile.TemporaryDirectory() as temporary:
        path = pathlib.Path(temporary, "events")
        path.write_text("".join(f"{event}\n" for event in events))
        command = [folder / "octave-sim", "--rate=1000", f"--events={path}", "--"]
        command += [folder / "octave-ws", "capture", STREAM, *streams, f"--count={len(events)}"]
        return subprocess.run(command + arguments, check=True, stdout=subprocess.PIPE).stdout


def elems(number, string):
    members = [("n", number), ("s", json.dumps(string)), ("o", json.dumps(NESTED)), ("z", "null")]
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in members) + "}"


def check_csv(folder, delimiter, arguments):
    values = [(n, s) for n in NUMBERS for s in STRINGS]
    output = run(folder, arguments, [elems(*value) for value in values]).decode()
    csv.field_size_limit(1 << 20)
    if delimiter == "\t":
        rows = [line.split("\t") for line in output.split("\n")[:-1]]
        escapes = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
        rows = [["".join(unescaped(cell, escapes)) for cell in row] for row in rows]
    else:
        rows = list(csv.reader(io.StringIO(output, newline=""), strict=True))
    header, *rows = rows
    assert header == ["path", "elems.n", "elems.s", "elems.o", "elems.z"], header
    for row, (number, string) in zip(rows, values, strict=True):
        path, n, s, o, z = row
        assert (path, n, s, z) == (STREAM, number, string, ""), row
        assert json.loads(o) == NESTED, o


def check_prometheus(folder):
    refused = '/none/"x"\\y'
    with tempfile.TemporaryDirectory() as temporary:
        status = pathlib.Path(temporary, "octave.prom")
        arguments = ["--require=any", f"--status-file={status}", "--status-format=prometheus"]
        run(folder, arguments, ["1", "2"], [refused])
        families = list(text_string_to_metric_families(status.read_text()))
    samples = {}
    for family in families:
        assert family.documentation and family.type in ("gauge", "counter"), family
        for sample in family.samples:
            assert sample.labels.pop("run") == "octave", sample
            samples[sample.name, *sample.labels.values()] = sample.value
    assert samples["octave_ws_state", "stopping"] == 1
    assert samples["octave_ws_stream_refused", refused] == 1
    assert samples["octave_ws_events_total",] == 2
    assert samples["octave_ws_updated_timestamp_seconds",] > 1.7e9


def unescaped(cell, escapes):
    characters = iter(cell)
    for c in characters:
        yield escapes[next(characters)] if c == "\\" else c


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    fields = "--fields=path,elems.n,elems.s,elems.o,elems.z"
    check_csv(folder, ",", ["--format=csv", fields])
    check_csv(folder, "\t", ["--format=tsv", fields])
    check_prometheus(folder)
    print("formats: all came back as they were sent")


if __name__ == "__main__":
    main()
