"""What many clients of python-binance get that ask the same at the same time: see `telling`.

Wishes: `clients`, how many there are; `symbols`, of which each asks klines; `query`, all else.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.clients.mirror.python_binance_view import at
from tests.clients.mirror.telling import Place, visit


async def view(place: Place) -> None:
    """Let all ask at once; tell of each symbol how many answers there were, and how different."""
    client_of, _ = at(place)
    clients = [await client_of.create() for _ in range(place.wishes["clients"])]
    try:
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(ask(place, client)) for client in clients]
    finally:
        for client in clients:
            await client.close_connection()
    answers = [task.result() for task in asking]
    for symbol in place.wishes["symbols"]:
        rows = [answer[symbol] for answer in answers]
        closed = {json.dumps(each[:-1]) for each in rows}  # the last one may grow
        place.tell("answers", [symbol, len(rows), len(closed), rows[0]])


async def ask(place: Place, client: Any) -> dict[str, list[Any]]:
    """Return the klines of each symbol, asked one after the other as most bots do."""
    query = place.wishes["query"]
    return {
        symbol: await client.get_klines(symbol=symbol, **query)
        for symbol in place.wishes["symbols"]
    }


if __name__ == "__main__":
    visit(view)
