#!/usr/bin/env python3
"""What clients cost on the wire: bytes and packets, with the headers of TCP and IP.

    cargo build --release --all-features
    python3 benches/link/link.py [target/release]

Each client goes through a forwarder that counts. octave-ws, curl with websocat or wscat and Python's
websockets talk to octave-sim, mosquitto_sub to mosquitto with a certificate as long. Those that are
not installed are left out. Certificates are short here: a public chain takes 2 to 4 KB more.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

BINARIES = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/release")
TEMPERATURE = "/demo/devices/gw1/temperature"
# IPv4 and TCP with its time stamps; the handshake and the end have some more options.
HEADERS = 20 + 32
# struct tcp_info of Linux.
SEGS_OUT, SEGS_IN = 136, 140
EVENT = {"elems": {"temperature": 21.5, "humidity": 40, "note": "x" * 120}}

PYTHON = """
import asyncio, http.client, json, os, ssl, sys, urllib.parse
import websockets
async def main():
    tls = ssl.create_default_context(cafile=os.environ["OCTAVE_CA_FILE"])
    at = urllib.parse.urlsplit(os.environ["OCTAVE_ENDPOINT"])
    post = http.client.HTTPSConnection(at.hostname, at.port, context=tls)
    names = ("user", "company", "token")
    head = {"X-Auth-" + name: os.environ["OCTAVE_" + name.upper()] for name in names}
    post.request("POST", "/session", headers=head)
    session = json.load(post.getresponse())["body"]["id"]
    url = f"wss://{at.netloc}/session/{session}/ws"
    async with websockets.connect(url, ssl=tls) as socket:
        await socket.send(json.dumps(json.loads(sys.argv[1])))
        async for message in socket:
            pass
asyncio.run(main())
"""
REQUEST = json.dumps({"msgId": "1", "object": "event", "type": "subscribe", "path": TEMPERATURE})
CURL = """
id=$(curl -s --cacert "$OCTAVE_CA_FILE" -X POST "$OCTAVE_ENDPOINT/session" \\
    -H "X-Auth-User: $OCTAVE_USER" -H "X-Auth-Company: $OCTAVE_COMPANY" \\
    -H "X-Auth-Token: $OCTAVE_TOKEN" | sed 's/.*"id":"\\([^"]*\\)".*/\\1/')
url="wss${OCTAVE_ENDPOINT#https}/session/$id/ws"
"""
WEBSOCAT = CURL + '(echo "$1"; sleep 60) | SSL_CERT_FILE="$OCTAVE_CA_FILE" exec websocat -t "$url"'
WSCAT = CURL + '(sleep 60) | exec wscat --ca "$OCTAVE_CA_FILE" -c "$url" -x "$1" -w 60'


class Forwarder:
    """Passes connections on, and counts."""

    def __init__(self, to):
        self.to, self.bytes, self.clients, self.ends = to, 0, [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            client = self.listener.accept()[0]
            service = socket.create_connection(self.to)
            for each in client, service:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.clients.append(client)
            for way in (client, service), (service, client):
                threading.Thread(target=self.copy, args=way, daemon=True).start()

    def copy(self, source, target):
        try:
            while data := source.recv(1 << 16):
                self.bytes += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cost(self):
        """The bytes with their headers, and the packets, so far."""
        packets = 0
        for client in self.clients:
            info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
            packets += sum(struct.unpack_from("I", info, at)[0] for at in (SEGS_OUT, SEGS_IN))
        return self.bytes + HEADERS * packets, packets


def minus(later, earlier):
    return tuple(a - b for a, b in zip(later, earlier))


def measure(forwarder, command, environment):
    """The cost of the start, of a later event, and of the end. An event comes each 2 seconds."""
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # The first event, and one that can refer to it. Others print what they have in blocks.
    time.sleep(1.5)
    start = forwarder.cost()
    time.sleep(2)
    first = forwarder.cost()
    time.sleep(4)
    later = forwarder.cost()
    os.killpg(child.pid, signal.SIGTERM)
    child.wait(10)
    time.sleep(0.5)
    event = tuple(n // 2 for n in minus(later, first))
    return start, event, minus(forwarder.cost(), later)


def row(name, costs):
    cells = " | ".join(f"{bytes:,} ({packets})" for bytes, packets in costs)
    print(f"| {name} | {cells} |", flush=True)


def against_sim(folder):
    events = folder / "events.jsonl"
    events.write_text((json.dumps(EVENT["elems"]) + "\n") * 100)
    sim = subprocess.Popen(
        [BINARIES / "octave-sim", "--rate", "0.5", "--events", events],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = iter(sim.stdout.readline, "")
        given = dict(line.removeprefix("export ").strip().split("=", 1) for line in take(lines))
        given = {name: value.strip("'\"") for name, value in given.items()}
        host, port = given["OCTAVE_ENDPOINT"].removeprefix("https://").rsplit(":", 1)
        for name, program, command in [
            ("octave-ws", None, [BINARIES / "octave-ws", "listen", TEMPERATURE]),
            (
                "octave-ws --no-compression",
                None,
                [BINARIES / "octave-ws", "listen", TEMPERATURE, "--no-compression"],
            ),
            ("curl and websocat", "websocat", ["sh", "-c", WEBSOCAT, "sh", REQUEST]),
            ("curl and wscat", "wscat", ["sh", "-c", WSCAT, "sh", REQUEST]),
            ("Python's websockets", "python3", [sys.executable, "-c", PYTHON, REQUEST]),
        ]:
            if program and not shutil.which(program):
                print(f"{name}: not installed", file=sys.stderr)
                continue
            forwarder = Forwarder((host, int(port)))
            own = given | {"OCTAVE_ENDPOINT": f"https://127.0.0.1:{forwarder.port}"}
            row(name, measure(forwarder, command, os.environ | own))
    finally:
        sim.terminate()


def take(lines):
    """The five variables that octave-sim prints."""
    return [next(lines) for _ in range(6)]


def against_mosquitto(folder):
    if not all(map(shutil.which, ("mosquitto", "mosquitto_sub", "mosquitto_pub", "openssl"))):
        print("mosquitto_sub: not installed", file=sys.stderr)
        return
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        + ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    port = socket.create_server(("127.0.0.1", 0)).getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\n"
        f"certfile {certificate}\nkeyfile {key}\nuser root\n"
    )
    broker = subprocess.Popen(["mosquitto", "-c", config], stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        to = ["-h", "127.0.0.1", "--cafile", str(certificate), "-t", TEMPERATURE]
        message = json.dumps({"type": "message", "resource": "s", "value": EVENT | {"id": "e" * 25}})
        publish = ["mosquitto_pub", *to, "-p", str(port), "-m", message.ljust(350)]

        def publish_on():
            time.sleep(2.5)
            while broker.poll() is None:
                subprocess.run(publish, stderr=subprocess.DEVNULL)
                time.sleep(2)

        threading.Thread(target=publish_on, daemon=True).start()
        forwarder = Forwarder(("127.0.0.1", port))
        command = ["mosquitto_sub", *to, "-p", str(forwarder.port)]
        row("mosquitto_sub", measure(forwarder, command, os.environ))
    finally:
        broker.terminate()


print("| | start to first ack | an event | the end |\n|---|---|---|---|")
with tempfile.TemporaryDirectory() as name:
    against_sim(pathlib.Path(name))
    against_mosquitto(pathlib.Path(name))
