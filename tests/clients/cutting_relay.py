"""Stands between clients and a port, and breaks off what goes through when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class CuttingRelay:
    """A relay to a port of this machine; `passed` counts the connections that there were.

    While it is `down`, new ones are broken off at once.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.passed = 0
        self.down = False
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []

    def cut(self) -> None:
        """Break off everything that goes through now, on both sides."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection until one of its sides ends."""
        if self.down:
            writer.transport.abort()
            return
        self.passed += 1
        with contextlib.suppress(OSError):
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers += [writer, back]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass_on(reader, back))
                tasks.create_task(_pass_on(onward, writer))
            back.close()
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@contextlib.asynccontextmanager
async def relay_to(target: int) -> AsyncIterator[CuttingRelay]:
    """Run a relay on a free port."""
    relay = CuttingRelay(target)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        relay.cut()
