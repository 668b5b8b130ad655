"""How a server is told to publish: lines of its input; standard library alone.

go FIRST COUNT ROUND     publish COUNT rounds from ROUND on, the first at the second FIRST of
                         the wall clock, the others each a second later or as soon as possible
counters                 print what the server counts, as one JSON line
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

Publish = Callable[[int], Awaitable[None]]


def announce(port: int, pid: int | None = None) -> None:
    """Say where the server listens, and which process it is."""
    print(json.dumps({"port": port, "pid": pid or os.getpid()}), flush=True)


async def until(second: int) -> None:
    """Wait for a second of the wall clock to begin."""
    while (left := second - time.time()) > 0:  # noqa: ASYNC110 - the clock tells nobody
        await asyncio.sleep(left)


async def publish_rounds(publish: Publish, first: int, count: int, begin: int) -> None:
    """Publish so many rounds, each when it is due."""
    for number in range(count):
        await until(first + number)
        await publish(begin + number)


async def obey(publish: Publish, counters: Callable[[], Mapping[str, int]] = dict) -> None:
    """Read the input and do what it says; the end of it ends the process at once."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with asyncio.TaskGroup() as tasks:
        while line := await reader.readline():
            word, *numbers = line.split()
            if word == b"go":
                first, count, begin = (int(number) for number in numbers)
                tasks.create_task(publish_rounds(publish, first, count, begin))
            else:
                print(json.dumps(dict(counters())), flush=True)
        os._exit(0)  # nobody is interested in an orderly end
