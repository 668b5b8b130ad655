"""What aiohttp gets from the hub: `python aiohttp_view.py SECONDS URL…`.

See `hub_visit` for what is printed. aiohttp offers deflate when it is told to, with a window.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

import aiohttp  # type: ignore[import-not-found]  # in its own environment alone

POSITION = re.compile(r'"epoch":(\d+),"sequence":(\d+)\}*\]*\}*$')
WINDOW = 15


def show(number: int, name: str, value: object) -> None:
    """Print what one address gave."""
    sys.stdout.write(json.dumps([f"{name} {number}", value]) + "\n")


async def follow(session: aiohttp.ClientSession, number: int, url: str, seconds: float) -> None:
    """Read until the connection is cut, resume, and read for so many seconds more."""
    position = ""
    url, _, anew = url.partition("#")
    async with session.ws_connect(url, compress=WINDOW) as socket:
        offered = "permessage-deflate" if socket.compress else ""
        show(number, "extensions", offered)
        async for message in socket:
            show(number, "before", message.data)
            position = "-".join(POSITION.findall(message.data)[0])
    show(number, "cut", socket.close_code)
    show(number, "since", position)
    again = url if anew else f"{url}&since={position}"
    async with (
        session.ws_connect(again, compress=WINDOW) as socket,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(say_goodbye(socket, seconds))
        async for message in socket:
            show(number, "after", message.data)
    show(number, "end", socket.close_code)


async def say_goodbye(socket: aiohttp.ClientWebSocketResponse, seconds: float) -> None:
    """Close after so many seconds."""
    await asyncio.sleep(seconds)
    await socket.close()


async def main(seconds: float, *urls: str) -> None:
    """Follow all addresses at the same time."""
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for number, url in enumerate(urls):
            tasks.create_task(follow(session, number, url, seconds))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), *sys.argv[2:]))
