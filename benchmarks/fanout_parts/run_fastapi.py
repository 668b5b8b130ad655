"""FastAPI as its manual has it: `send_json` of each candle to every client; uvicorn as it comes.

python -m benchmarks.fanout_parts.run_fastapi FOLDER
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from benchmarks.fanout_parts.pace import announce, obey
from benchmarks.fanout_parts.payloads import read_payloads


def main(folder: Path) -> None:
    """Serve until the input ends."""
    rounds = [
        [msgspec.json.decode(text) for text in texts]
        for texts in read_payloads(folder / "texts.bin")
    ]
    clients: set[WebSocket] = set()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)

    async def publish(number: int) -> None:
        for candle in rounds[number]:
            await asyncio.gather(
                *(client.send_json(candle) for client in clients), return_exceptions=True
            )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(obey(publish))
            yield

    application = FastAPI(lifespan=lifespan)

    @application.websocket("/")
    async def follow(client: WebSocket) -> None:
        await client.accept()
        clients.add(client)
        try:
            while True:
                await client.receive_text()
        except WebSocketDisconnect:
            clients.discard(client)

    config = uvicorn.Config(application, log_level="warning")
    announce(listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
