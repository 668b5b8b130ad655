"""How the script of a client says what it got; it runs in that client's own environment.

Only the standard library is used. A script has one coroutine that visits one place:

    async def view(place: Place) -> None:
        place.tell("trade", trade)

    if __name__ == "__main__":
        visit(view)

It is told all places on stdin, once it has said that it is ready: importing its library takes some
a long time. It visits them at the same time, and prints one JSON array a line: `[place, name,
value]`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

READY = "ready"

_LINES = threading.Lock()  # some libraries have threads


@dataclass(frozen=True)
class Place:
    """Where an exchange is, or what looks like one, and what a client is asked to do there.

    `rest` and `stream` are addresses without a path, `tls` is that of the streams over TLS (empty
    where there is none) with the file that proves it, `certificate`. `wishes` are the test's own.
    """

    name: str
    rest: str
    stream: str
    tls: str = ""
    certificate: str = ""
    wishes: dict[str, Any] = field(default_factory=dict)

    def tell(self, name: str, value: object) -> None:
        """Print a value that the library gave; what JSON lacks, such as decimals, is text."""
        line = json.dumps([self.name, name, value], default=str)
        with _LINES:
            sys.stdout.write(line + "\n")


def places() -> list[Place]:
    """Say that the script is ready; return where it is told to go."""
    sys.stdout.write(json.dumps(["", READY, ""]) + "\n")
    sys.stdout.flush()
    return [Place(**each) for each in json.loads(sys.stdin.readline())]


def visit(view: Callable[[Place], Awaitable[None]]) -> None:
    """Visit every place at the same time; an error at one of them ends the script."""
    asyncio.run(_visit_all(view))


async def _visit_all(view: Callable[[Place], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for place in places():
            tasks.create_task(_visited(view, place))


async def _visited(view: Callable[[Place], Awaitable[None]], place: Place) -> None:
    await view(place)
