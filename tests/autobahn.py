#!/usr/bin/env python3
"""The Autobahn test suite against this library's socket layer, by way of examples/autobahn_echo.rs.

    pip install kosoku==0.1.0
    python3 tests/autobahn.py target/debug/examples/autobahn_echo

No case may fail. Those of compression (12.*, 13.*) that limit the client's window are not played: the
client does not offer that, since it compresses nothing itself.
"""

import asyncio
import os
import sys

from kosoku import FailureError, run_fuzzingserver
from kosoku.cases import CASES

# Invalid UTF-8 is noticed at a message's end, not at the offending byte.
LATE_BUT_NOTICED = {"6.4.3", "6.4.4"}


def with_bytes(on_message):
    """These cases expect bytes, and are given a str."""

    def with_bytes(self, message, binary):
        if isinstance(message, str):
            message = message.encode("latin-1" if binary else "utf-8")
        on_message(self, message, binary)

    return with_bytes


for case_id, case in CASES.items():
    if case_id.startswith(("12.", "13.")):
        case.onMessage = with_bytes(case.onMessage)
        # In place of 1,000 messages of up to 128 KiB.
        case.COUNT = 50


def is_good(result):
    if result.behavior.value == "UNIMPLEMENTED":
        return result.case_id.startswith(("13.3.", "13.4.", "13.5.", "13.6."))
    if result.behavior.value == "NON-STRICT":
        return result.passed and result.case_id in LATE_BUT_NOTICED
    return result.passed


async def main(testee):
    async with run_fuzzingserver(host="127.0.0.1", port=0) as server:
        process = await asyncio.create_subprocess_exec(
            testee, f"127.0.0.1:{server.port}", "octave-ws", stderr=asyncio.subprocess.DEVNULL
        )
        try:
            results = await asyncio.wait_for(server.get_result(), 300)
        except FailureError as error:
            results = error.results
        code = await asyncio.wait_for(process.wait(), 10)
    bad = [result for result in results if not is_good(result)]
    for result in bad:
        print(result.case_id, result.behavior.value, result.behavior_close.value, result.result)
    print(f"Autobahn: {len(results)} cases, {len(bad)} failed")
    # The suite leaves tasks behind that wait for ever.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    return bool(bad) or not results or code != 0


failed = asyncio.run(main(sys.argv[1]))
sys.stdout.flush()
# The suite's native threads may abort an interpreter that is torn down in order.
os._exit(failed)
