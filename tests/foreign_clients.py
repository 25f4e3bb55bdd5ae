#!/usr/bin/env python3
"""curl and Python's websockets against the stand-in, as the vendor's page does it with curl and wscat.

    octave-sim --rate 20 -- python3 tests/foreign_clients.py
"""

import asyncio
import json
import os
import ssl
import subprocess

# Its blocking client reads and writes a TLS connection in two threads at once, which Python's ssl
# before 3.13 does not allow.
from websockets.asyncio.client import connect

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


async def receive(socket):
    """The next message."""
    return json.loads(await asyncio.wait_for(socket.recv(), 10))


async def ask(socket, **request):
    """A request, and its answer, whatever events come in before it."""
    await socket.send(json.dumps({"msgId": "m", "object": "event", **request}))
    while True:
        answer = await receive(socket)
        if "head" in answer:
            return answer


def main():
    status, answer = post("wrong")
    assert status == 400 and not answer["head"]["ok"], answer
    status, answer = post(os.environ["OCTAVE_TOKEN"])
    assert status == 201 and answer["head"]["ok"], answer

    for url in [
        ENDPOINT.replace("https", "wss") + f"/session/{answer['body']['id']}/ws",
        # The same with our session, and with our URL.
        ENDPOINT.replace("https", "wss") + f"/session/{octave_ws('session')}/ws",
        octave_ws("session", "--url"),
    ]:
        asyncio.run(asyncio.wait_for(exchange(url), 30))
    print("curl and websockets: as documented")


def octave_ws(*args):
    """The output of our client."""
    return subprocess.check_output([OCTAVE_WS, *args], text=True).strip()


async def exchange(url):
    """Everything that is done on a socket."""
    tls = ssl.create_default_context(cafile=CA_FILE)
    async with connect(url, ssl=tls, proxy=None) as socket:
        answer = await ask(socket, type="subscribe", path="/demo/none")
        assert not answer["head"]["ok"] and answer["head"]["errors"], answer
        answer = await ask(socket, type="subscribe", path=TEMPERATURE)
        assert answer["head"]["ok"] and answer["head"]["msgId"] == "m", answer
        event = await receive(socket)
        assert event["type"] == "message", event
        assert event["value"]["path"] == TEMPERATURE, event
        answer = await ask(socket, type="unsubscribe", streamId=event["resource"])
        assert answer["head"]["ok"], answer
        await asyncio.wait_for(await socket.ping(), 10)
    assert socket.close_code == 1000, socket.close_code


main()
