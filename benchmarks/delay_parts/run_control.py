"""Says when it got each line: what the machine itself takes to bring a message to a process.

    python -m benchmarks.delay_parts.run_control CORE

It prints its port, and answers every line with a stamp of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection until it ends."""
    with contextlib.suppress(ConnectionError):
        while await reader.readline():
            writer.write(b"%.9f\n" % time.monotonic())
    writer.close()


async def run() -> None:
    """Serve until ended by whoever started it."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if int(sys.argv[1]) >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(run())
