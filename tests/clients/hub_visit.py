"""Lets clients of several kinds follow the hub, cut and resumed, and judges what each printed.

Each follows all its addresses at the same time, and says of number n of them: `extensions n`;
`before n`, a message, as text; `cut n`, the code; `since n`, the position that it resumes from;
`after n`, a message; `end n`, the code.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.browser import what_a_page_sees
from tests.clients.client_process import FOLDER, Seen, environment_program, what_it_prints
from tests.clients.cutting_relay import CuttingRelay, relay_to
from tests.end_to_end.delivery import Asked, Judge, Visit
from tests.end_to_end.light_client import Form, Payloads, read_reply
from tests.end_to_end.published import Truth, what_was_published, writing_down
from tests.end_to_end.running_program import program, started

SYMBOLS = ("BTCUSDT", "ETHUSDT", "QTUMETH")
WISHES = frozenset(("candles", symbol, "1s") for symbol in SYMBOLS)
BEFORE_S, AFTER_S = 4.0, 3.0


@dataclass(frozen=True)
class Place:
    """One way to follow the hub: on its own port or on that of the REST service."""

    on_rest: bool
    batch: bool

    def url(self, port: int) -> str:
        """Return the address, through a relay's port."""
        path = "/live" if self.on_rest else "/"
        batch = "&batch=true" if self.batch else ""
        return f"ws://127.0.0.1:{port}{path}?symbols={','.join(SYMBOLS)}{batch}"


PLACES = [Place(on_rest, batch) for on_rest in (False, True) for batch in (False, True)]

Follow = Callable[[Sequence[str], Path], Awaitable[Seen]]


async def websockets_client(urls: Sequence[str], _folder: Path) -> Seen:
    """Follow with the library `websockets`."""
    script = str(FOLDER / "websockets_view.py")
    return await what_it_prints(sys.executable, script, str(AFTER_S), *urls)


async def aiohttp_client(urls: Sequence[str], _folder: Path) -> Seen:
    """Follow with the library aiohttp."""
    python = environment_program("aiohttp", "python")
    return await what_it_prints(python, str(FOLDER / "aiohttp_view.py"), str(AFTER_S), *urls)


async def ws_client(urls: Sequence[str], _folder: Path) -> Seen:
    """Follow with the package ws of Node.js."""
    node = environment_program("ws", "node")
    script = str(FOLDER / "ws_view.js")
    environment = str(Path(node).parents[1])
    return await what_it_prints(node, script, environment, str(AFTER_S), *urls)


async def browser_client(urls: Sequence[str], folder: Path) -> Seen:
    """Follow in a page of a browser."""
    seen: Seen = {}
    profile = folder / "profile"
    for name, value in await what_a_page_sees(profile, FOLDER / "follow.js", list(urls), AFTER_S):
        seen.setdefault(name, []).append(value)
    return seen


@dataclass
class HubVisit:
    """What a client saw of each place, and what there was to be seen."""

    seen: Seen
    truth: Truth
    payloads: Payloads = field(default_factory=Payloads)

    def of(self, place: Place, what: str) -> list[Any]:
        """Return what it said of one place."""
        return self.seen.get(f"{what} {PLACES.index(place)}", [])

    def visits(self, place: Place) -> list[Visit]:
        """Return its two connections to one place."""
        form = Form("candlewire.json", place.batch, deflated=True)
        [position] = self.of(place, "since")
        since = int(position.split("-")[1])
        first = [text.encode() for text in self.of(place, "before")]
        # The reply to what the address asks comes first, and has another shape than data.
        reply, *more = self.of(place, "after")
        second = [read_reply(reply), *(text.encode() for text in more)]
        return [
            Visit(form, WISHES, by_default=False, received=first),
            Visit(form, WISHES, False, second, {None: Asked(WISHES, since)}),
        ]

    def judge(self, place: Place) -> Judge:
        """Compare all that it saw of one place with what was published."""
        judge = Judge(self.truth, self.payloads)
        for number, visit in enumerate(self.visits(place)):
            judge.check(visit, f"connection {number}")
        judge.check_payloads()
        return judge


async def visit_hub(folder: Path, follow: Follow) -> HubVisit:
    """Let a client follow every place of a hub on the simulator; each is cut once."""
    arguments = ("--source", "simulated", "--symbols", ",".join(SYMBOLS))
    async with program(folder, *arguments, **writing_down(folder)) as hub:
        await started(hub)
        async with relay_to(hub.stream_port) as live, relay_to(hub.rest_port) as rest:
            urls = [place.url((rest if place.on_rest else live).port) for place in PLACES]
            async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
                following = tasks.create_task(followed(follow, urls, folder))
                await cut_once([live, rest])
            return HubVisit(following.result(), what_was_published(folder))


async def followed(follow: Follow, urls: Sequence[str], folder: Path) -> Seen:
    """Await a client."""
    return await follow(urls, folder)


async def cut_once(relays: Sequence[CuttingRelay]) -> None:
    """Break off all connections, once they have been there for some seconds."""
    while any(relay.passed < len(PLACES) // len(relays) for relay in relays):
        await asyncio.sleep(0.05)
    await asyncio.sleep(BEFORE_S)
    for relay in relays:
        relay.cut()
