"""websockets' own server and its `broadcast()`, each message to those who want its symbol.

python -m benchmarks.fanout_parts.run_websockets FOLDER deflate|none
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.fanout_parts.pace import announce, obey
from benchmarks.fanout_parts.payloads import read_payloads, read_symbols


async def main(folder: Path, compression: str | None) -> None:
    """Serve until the input ends."""
    symbols = read_symbols(folder)
    rounds = [[text.decode() for text in texts] for texts in read_payloads(folder / "texts.bin")]
    wanting: dict[str, set[ServerConnection]] = {symbol: set() for symbol in symbols}

    async def follow(connection: ServerConnection) -> None:
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        wanted = query["symbols"][0].split(",") if "symbols" in query else symbols
        for symbol in wanted:
            wanting[symbol].add(connection)
        try:
            await connection.wait_closed()
        finally:
            for symbol in wanted:
                wanting[symbol].discard(connection)

    async def publish(number: int) -> None:
        for symbol, text in zip(symbols, rounds[number], strict=True):
            broadcast(wanting[symbol], text)

    async with serve(follow, "127.0.0.1", 0, compression=compression) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await obey(publish)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), "deflate" if sys.argv[2] == "deflate" else None))
