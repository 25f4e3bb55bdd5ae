#!/usr/bin/env python3
"""curl and Python's websockets against the stand-in, as the vendor's page does it with curl and wscat.

    octave-sim --rate 20 -- python3 tests/foreign_clients.py
"""

import faulthandler
import json
import os
import ssl
import subprocess

from websockets.sync.client import connect

ENDPOINT = os.environ["OCTAVE_ENDPOINT"]
CA_FILE = os.environ["OCTAVE_CA_FILE"]
OCTAVE_WS = os.environ.get("OCTAVE_WS", "octave-ws")
TEMPERATURE = "/demo/devices/gw1/temperature"


def post(token):
    """The session request, made by curl: its status and the answer."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", CA_FILE]
    command += ["--max-time", "10"]
    command += ["-X", "POST", "-w", "\n%{http_code}", ENDPOINT + "/session"]
    for name, value in [
        ("User", os.environ["OCTAVE_USER"]),
        ("Company", os.environ["OCTAVE_COMPANY"]),
        ("Token", token),
    ]:
        command += ["-H", f"X-Auth-{name}: {value}"]
    body, status = subprocess.check_output(command, text=True).rsplit("\n", 1)
    return int(status), json.loads(body)


def ask(socket, **request):
    """A request, and its answer, whatever events come in before it."""
    socket.send(json.dumps({"msgId": "m", "object": "event", **request}))
    while True:
        answer = json.loads(socket.recv(timeout=10))
        if "head" in answer:
            return answer


def main():
    status, answer = post("wrong")
    assert status == 400 and not answer["head"]["ok"], answer
    status, answer = post(os.environ["OCTAVE_TOKEN"])
    assert status == 201 and answer["head"]["ok"], answer

    exchange(ENDPOINT.replace("https", "wss") + f"/session/{answer['body']['id']}/ws")
    # The same with our session, and with our URL.
    session = subprocess.check_output([OCTAVE_WS, "session"], text=True).strip()
    exchange(ENDPOINT.replace("https", "wss") + f"/session/{session}/ws")
    exchange(subprocess.check_output([OCTAVE_WS, "session", "--url"], text=True).strip())
    print("curl and websockets: as documented")


def exchange(url):
    """Everything that is done on a socket."""
    tls = ssl.create_default_context(cafile=CA_FILE)
    with connect(url, ssl=tls, proxy=None) as socket:
        answer = ask(socket, type="subscribe", path="/demo/none")
        assert not answer["head"]["ok"] and answer["head"]["errors"], answer
        answer = ask(socket, type="subscribe", path=TEMPERATURE)
        assert answer["head"]["ok"] and answer["head"]["msgId"] == "m", answer
        event = json.loads(socket.recv(timeout=10))
        assert event["type"] == "message", event
        assert event["value"]["path"] == TEMPERATURE, event
        answer = ask(socket, type="unsubscribe", streamId=event["resource"])
        assert answer["head"]["ok"], answer
        assert socket.ping().wait(10)
    assert socket.close_code == 1000, socket.close_code


# Where a run hangs is said, before the caller ends it.
faulthandler.dump_traceback_later(40, exit=True)
main()
