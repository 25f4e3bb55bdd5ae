#!/usr/bin/env python3
"""octave-ws against compression that is not ours: Python's websockets and Node's ws as servers.

    python3 tests/foreign_servers.py target/debug/octave-ws node_modules/ws/wrapper.mjs

With and without context takeover, with each size of the window, and with fragments.
"""

import asyncio
import itertools
import json
import os
import random
import sys
import tempfile

from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

HOST = "127.0.0.1"
OCTAVE_WS, WS = sys.argv[1:]
# Longer than the smallest window, and one that is longer than the greatest.
RANDOM = random.Random(1)
WORDS = ["temperature", "humidity", "gw1", "demo", "devices", "location", "é", "☃"]
TEXTS = [" ".join(RANDOM.choices(WORDS, k=k)) for k in [0, 1, 30, 300, 30, 9000, 30, 1]]
EVENTS = [
    json.dumps(
        {"type": "message", "resource": "s", "value": {"id": f"e{n}", "elems": {"text": text}}},
        ensure_ascii=False,
    )
    for n, text in enumerate(TEXTS * 3)
]


def parts(text, fragments):
    length = -(-len(text) // fragments)
    return [text[n * length : (n + 1) * length] for n in range(fragments)]


async def answer(socket):
    """Grants what is asked for, and sends the events."""
    fragments = int(socket.request.path.split("/")[2].rsplit("-", 1)[1])
    async for message in socket:
        request = json.loads(message)
        ack = {"head": {"msgId": request["msgId"], "ok": True, "errors": []}, "body": {}}
        texts = [json.dumps(ack)] + (EVENTS if request["type"] == "subscribe" else [])
        for text in texts:
            await socket.send(text if fragments == 1 else parts(text, fragments))


async def start_websockets(bits, takeover):
    extension = ServerPerMessageDeflateFactory(
        server_no_context_takeover=takeover == "none",
        server_max_window_bits=None if bits == "any" else int(bits),
    )
    server = await serve(answer, HOST, 0, compression=None, extensions=[extension])
    return server.sockets[0].getsockname()[1]


async def start_ws(file):
    json.dump(EVENTS, file)
    file.flush()
    script = os.path.join(os.path.dirname(__file__), "foreign_server.mjs")
    process = await asyncio.create_subprocess_exec(
        "node", script, WS, file.name, stdout=asyncio.subprocess.PIPE
    )
    return process, int(await asyncio.wait_for(process.stdout.readline(), 20))


async def pass_on(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def front(session, port):
    """Gives that session, and passes its upgrade on to the port."""

    async def serve_one(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST "):
            body = json.dumps({"head": {"ok": True}, "body": {"id": session}}).encode()
            head = b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
            writer.close()
            return
        service, to_service = await asyncio.open_connection(HOST, port)
        to_service.write(head)
        await asyncio.gather(pass_on(reader, to_service), pass_on(service, writer))

    return serve_one


async def listen(session, port):
    """Returns what octave-ws prints of that session, and what it logs."""
    server = await asyncio.start_server(front(session, port), HOST, 0)
    endpoint = "http://%s:%d" % server.sockets[0].getsockname()
    environment = {"OCTAVE_TOKEN": "t", "OCTAVE_COMPANY": "demo", "OCTAVE_ENDPOINT": endpoint}
    process = await asyncio.create_subprocess_exec(
        *[OCTAVE_WS, "listen", "/demo/a", f"-C{len(EVENTS)}", "-W20s", "-vv", "--allow-plaintext"],
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    server.close()
    return process.returncode, out.decode(), err.decode()


async def check(name, session, port):
    code, out, err = await listen(session, port)
    expected = [json.loads(event)["value"] for event in EVENTS]
    events = [json.loads(line) for line in out.splitlines()]
    assert "the WebSocket is open, compressed" in err, f"{name} {session}: {err}"
    assert (code, events) == (0, expected), f"{name} {session}: {code} {err}\n{out[:1000]}"


async def main():
    with tempfile.NamedTemporaryFile("w") as file:
        process, ws = await start_ws(file)
    try:
        await check_all(ws)
    finally:
        process.terminate()


async def check_all(ws):
    bits = ["any"] + [str(bits) for bits in range(9, 16)]
    for bits, takeover in itertools.product(bits, ["kept", "none"]):
        websockets = await start_websockets(bits, takeover)
        for fragments in [1, 3]:
            session = f"{bits}-{takeover}-{fragments}"
            await check("websockets", session, websockets)
            await check("ws", session, ws)
    print(f"{len(EVENTS)} events of each of {2 * 2 * 2 * 8} servers came")


asyncio.run(main())
