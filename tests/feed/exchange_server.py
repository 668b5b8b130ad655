"""A tiny exchange on a loopback port: it answers what a test has written down, REST and streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from app.feed.source import Source


class ExchangeServer:
    """What each path answers, and what was asked.

    `answers` maps a path without its query to (status, headers, body); streams are accepted unless
    `/stream` is in it. `frames` are sent to every stream. A path in `silent` is never answered.
    """

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.silent: set[str] = set()
        self.frames: list[bytes] = []
        self.asked: list[str] = []
        self.streams: list[ServerConnection] = []
        self.closed: list[ServerConnection] = []
        self.port = 0
        self.over = asyncio.Event()

    @property
    def source(self) -> Source:
        """This exchange as a source."""
        return Source("here", f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}")

    async def request(self, _: ServerConnection, request: Request) -> Response | None:
        """Answer a request, or let it become a stream."""
        self.asked.append(request.path)
        path = request.path.partition("?")[0]
        if path in self.silent:
            await self.over.wait()
        if path not in self.answers:
            return None
        status, headers, body = self.answers[path]
        sent = Headers({"Content-Length": str(len(body)), "Connection": "close", **headers})
        return Response(status, HTTPStatus(status).phrase, sent, body)

    async def stream(self, connection: ServerConnection) -> None:
        """Send the frames and stay until the other side goes."""
        self.streams.append(connection)
        for frame in self.frames:
            await connection.send(frame.decode())
        await connection.wait_closed()
        self.closed.append(connection)


@asynccontextmanager
async def serving() -> AsyncIterator[ExchangeServer]:
    """Run one on a free port."""
    server = ExchangeServer()
    async with serve(
        server.stream, "127.0.0.1", 0, process_request=server.request, close_timeout=0.1
    ) as listening:
        server.port = next(iter(listening.sockets)).getsockname()[1]
        try:
            yield server
        finally:
            server.over.set()
