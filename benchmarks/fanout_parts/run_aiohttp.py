"""aiohttp's server in its own environment: `send_str` of each candle to every client.

python -m benchmarks.fanout_parts.run_aiohttp FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aiohttp import web  # type: ignore[import-not-found]  # in its own environment

from benchmarks.fanout_parts.pace import announce, obey
from benchmarks.fanout_parts.payloads import read_payloads


async def main(folder: Path) -> None:
    """Serve until the input ends."""
    rounds = [[text.decode() for text in texts] for texts in read_payloads(folder / "texts.bin")]
    clients: set[web.WebSocketResponse] = set()

    async def follow(request: web.Request) -> web.WebSocketResponse:
        client = web.WebSocketResponse()
        await client.prepare(request)
        clients.add(client)
        try:
            async for _ in client:
                pass
        finally:
            clients.discard(client)
        return client

    async def publish(number: int) -> None:
        for text in rounds[number]:
            await asyncio.gather(
                *(client.send_str(text) for client in clients), return_exceptions=True
            )

    application = web.Application()
    application.router.add_get("/", follow)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    announce(runner.addresses[0][1])
    await obey(publish)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
