#!/usr/bin/env python3
"""A path that is cut for a while, between two network namespaces and a router that drops packets.

    cargo build --all-features && python3 tests/cut.py target/debug

TCP delivers what was sent meanwhile: each event is printed once, in order, without a gap. Where the
service has dropped its side by then, the gap begins when the path was cut. Needs root.
"""

import concurrent.futures
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

STREAM = "/demo/devices/gw1/temperature"
CUT = 15  # seconds
OPTIONS = ["--ping-interval=3s", "--ping-timeout=3s", "--connect-timeout=2s", "-Frecord", "-v"]


def ip(*args):
    subprocess.run(["ip", *args], check=True)


class Path:
    """A client's namespace, a router's and a service's."""

    def __init__(self, number):
        self.net = f"10.98.{number}"
        self.client, self.router, self.service = (f"cut{number}{part}" for part in "crs")

    def __enter__(self):
        for name in (self.client, self.router, self.service):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for name, end, first in ((self.client, "to-client", 0), (self.service, "to-service", 4)):
            ip("link", "add", "eth", "netns", name, "type", "veth", "peer", end, "netns", self.router)
            for where, device, last in ((name, "eth", 2), (self.router, end, 1)):
                ip("-n", where, "addr", "add", f"{self.net}.{first + last}/30", "dev", device)
                ip("-n", where, "link", "set", device, "up")
            ip("-n", name, "route", "add", "default", "via", f"{self.net}.{first + 1}")
        self.open(True)
        return self

    def __exit__(self, *_):
        for name in (self.client, self.router, self.service):
            ip("netns", "del", name)

    def open(self, is_open):
        """Lets the router pass packets on, or drop them."""
        setting = f"net.ipv4.ip_forward={int(is_open)}"
        subprocess.run(["ip", "netns", "exec", self.router, "sysctl", "-qw", setting], check=True)

    def run(self, binaries, folder, sim_options, time_after):
        """The records of a client, and when the path was cut."""
        address = f"{self.net}.6:8443"
        sim = [f"{binaries}/octave-sim", "--allow-remote", "--listen", address, "--state", folder]
        sim = subprocess.Popen(["ip", "netns", "exec", self.service, *sim, "--rate=1", *sim_options],
                               stdout=subprocess.PIPE, text=True)
        lines = [sim.stdout.readline().strip() for _ in range(6)]
        environment = dict(os.environ, **dict(line.split("=", 1) for line in lines))
        with open(f"{folder}/stderr", "w") as stderr:
            client = [f"{binaries}/octave-ws", "listen", STREAM, *OPTIONS]
            client = subprocess.Popen(["ip", "netns", "exec", self.client, *client], env=environment,
                                      stdout=subprocess.PIPE, stderr=stderr, text=True)
            records = [json.loads(client.stdout.readline()) for _ in range(4)]
            assert records[-1]["kind"] == "event", records
            cut_at = time.time()
            self.open(False)
            time.sleep(CUT)
            self.open(True)
            time.sleep(time_after)
            client.send_signal(signal.SIGTERM)
            records += [json.loads(line) for line in client.stdout]
        sim.terminate()
        assert (client.wait(), sim.wait()) == (0, 0), open(f"{folder}/stderr").read()
        return records, cut_at


def seconds(record, name):
    return datetime.datetime.fromisoformat(record[name].replace("Z", "+00:00")).timestamp()


def of_kind(records, kind):
    return [record for record in records if record["kind"] == kind]


def is_handed_over(binaries, number):
    """Nothing is lost, and nothing comes twice."""
    # Retransmissions double: what was sent comes within as long again.
    with tempfile.TemporaryDirectory() as folder, Path(number) as path:
        records, _ = path.run(binaries, folder, [], CUT + 5)
        told = open(f"{folder}/stderr").read()
    dates = [record["event"]["creationDate"] for record in of_kind(records, "event")]
    assert dates == sorted(set(dates)), dates
    assert max(later - date for date, later in zip(dates, dates[1:])) < 1500, dates
    assert not of_kind(records, "gap") and not of_kind(records, "lost"), told
    [handover] = of_kind(records, "handover")
    assert handover["events"] >= CUT - 2, handover
    return f"a cut of {CUT} s: {len(dates)} events, {handover['events']} of them late, and no gap"


def is_a_gap(binaries, number):
    """The service drops its side while the path is cut."""
    with tempfile.TemporaryDirectory() as folder, Path(number) as path:
        records, cut_at = path.run(binaries, folder, [f"--fault=lifetime={CUT // 2}s"], 5)
    gap = of_kind(records, "gap")[0]
    # An event was on its way.
    assert -1.5 < seconds(gap, "from") - cut_at < 1.5, (gap, cut_at)
    assert not of_kind(records, "handover"), records
    return "a service that has dropped its side: a gap from the cut on"


def main():
    if os.geteuid() != 0 or subprocess.run(["ip", "netns", "list"], stdout=subprocess.DEVNULL).returncode:
        print("skipped: a cut path needs root and network namespaces")
        return
    [binaries] = sys.argv[1:]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for done in [pool.submit(is_handed_over, binaries, 1), pool.submit(is_a_gap, binaries, 2)]:
            print(done.result())


main()
