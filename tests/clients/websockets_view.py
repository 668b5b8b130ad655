"""What `websockets` gets from the hub: `python websockets_view.py SECONDS URL…`.

See `hub_visit` for what is printed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

POSITION = re.compile(r'"epoch":(\d+),"sequence":(\d+)\}*\]*\}*$')


def show(number: int, name: str, value: object) -> None:
    """Print what one address gave."""
    sys.stdout.write(json.dumps([f"{name} {number}", value]) + "\n")


async def follow(number: int, url: str, seconds: float) -> None:
    """Read until the connection is cut, resume, and read for so many seconds more."""
    position = ""
    url, _, anew = url.partition("#")
    async with connect(url) as socket:
        show(number, "extensions", [each.name for each in socket.protocol.extensions])
        try:
            async for message in socket:
                show(number, "before", message)
                position = "-".join(POSITION.findall(str(message))[0])
        except ConnectionClosed:
            pass
    show(number, "cut", socket.close_code)
    show(number, "since", position)
    async with connect(url if anew else f"{url}&since={position}") as socket:
        try:
            async with asyncio.timeout(seconds):
                async for message in socket:
                    show(number, "after", message)
        except TimeoutError:
            pass
    show(number, "end", socket.close_code)


async def main(seconds: float, *urls: str) -> None:
    """Follow all addresses at the same time."""
    async with asyncio.TaskGroup() as tasks:
        for number, url in enumerate(urls):
            tasks.create_task(follow(number, url, seconds))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), *sys.argv[2:]))
