"""Lets clients follow books of the hub, and judges each book at each number by what was published.

They are the clients of `hub_visit`; their addresses say `#anew`: books have no history, so a client
that comes back just connects again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.client_book import ClientBook, Level
from tests.clients.client_process import Seen
from tests.clients.cutting_relay import CuttingRelay, relay_to
from tests.clients.hub_visit import BEFORE_S, Follow, followed
from tests.end_to_end.published import writing_down
from tests.end_to_end.running_program import program, started

SYMBOLS = ("BTCUSDT", "ETHUSDT")
FILE = "published.jsonl"  # of `writing_down`

Sides = tuple[tuple[Level, ...], tuple[Level, ...]]


@dataclass(frozen=True)
class Place:
    """One way to follow books; `on_rest` is on the port of the REST service."""

    name: str
    path: str
    on_rest: bool
    depth: int

    def url(self, port: int) -> str:
        """Return the address, through a relay's port."""
        return f"ws://127.0.0.1:{port}{self.path}#anew"


_CHOSEN = f"?channels=book&symbols={','.join(SYMBOLS)}"
PLACES = [
    Place("each change", f"/{_CHOSEN}&depth=20&every=0", on_rest=False, depth=20),
    Place("ten a second, batches", f"/live{_CHOSEN}&depth=100&batch=true", on_rest=True, depth=100),
    Place("for a page", "/ws/market_data/BTCUSDT?depth=20", on_rest=True, depth=20),
]


class TrueBooks:
    """The books as the hub's own changes make them, step by step."""

    def __init__(self, folder: Path) -> None:
        self._changes: dict[str, dict[int, Any]] = {}
        with (folder / FILE).open("rb") as lines:
            for line in lines:
                _, _, topic, event = json.loads(line, parse_float=Decimal)
                if topic == "book_changes":
                    self._changes.setdefault(event["symbol"], {})[event["number"]] = event

    def at(self, symbol: str, numbers: Sequence[int], depth: int) -> Iterator[Sides]:
        """Yield the best levels, within what is exact, at each of some rising numbers."""
        changes = self._changes[symbol]
        sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
        wanted = set(numbers)
        for number in range(min(changes), max(numbers) + 1):
            change = changes[number]
            for name, side in sides.items():
                if change["whole"]:
                    side.clear()
                side.update((Decimal(price), Decimal(much)) for price, much in change[name])
            if number in wanted:
                yield _best(sides, change, depth)


def _best(sides: dict[str, dict[Decimal, Decimal]], change: Any, depth: int) -> Sides:
    least = Decimal(change["exact_from"] or 0)
    most = Decimal(change["exact_to"] or "Infinity")
    bids = [one for one in sides["bids"].items() if one[1] and one[0] >= least]
    asks = [one for one in sides["asks"].items() if one[1] and one[0] <= most]
    return tuple(sorted(bids, reverse=True)[:depth]), tuple(sorted(asks)[:depth])


@dataclass(frozen=True)
class BookVisit:
    """What a client saw of each place, and what there was to be seen."""

    seen: Seen
    truth: TrueBooks

    def of(self, place: Place, what: str) -> list[Any]:
        """Return what it said of one place."""
        return self.seen.get(f"{what} {PLACES.index(place)}", [])

    def books(self, place: Place, what: str) -> dict[str, list[tuple[int, Sides, ClientBook]]]:
        """Rebuild what came `before` or `after` the cut: each state, by its symbol and number."""
        books: dict[str, ClientBook] = {}
        states: dict[str, list[tuple[int, Sides, ClientBook]]] = {}
        for text in self.of(place, what):
            message = json.loads(text, parse_float=Decimal)
            for one in message.get("batch", [message]):
                symbol = one["symbol"]
                book = books.setdefault(symbol, ClientBook(symbol, place.depth))
                book.take(one)
                assert book.is_whole, (book.state, book.reason)
                assert book.number is not None
                states.setdefault(symbol, []).append((book.number, book.top(), book))
        return states


async def visit_books(folder: Path, follow: Follow) -> BookVisit:
    """Let a client follow every place of a hub on the simulator; each is cut once."""
    arguments = ("--source", "simulated", "--symbols", ",".join(SYMBOLS))
    async with program(folder, *arguments, **writing_down(folder)) as hub:
        await started(hub)
        async with relay_to(hub.stream_port) as live, relay_to(hub.rest_port) as rest:
            urls = [place.url((rest if place.on_rest else live).port) for place in PLACES]
            async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
                following = tasks.create_task(followed(follow, urls, folder))
                await cut_once([live, rest])
            return BookVisit(following.result(), TrueBooks(folder))


async def cut_once(relays: Sequence[CuttingRelay]) -> None:
    """Break off all connections, once they have been there for some seconds."""
    while sum(relay.passed for relay in relays) < len(PLACES):
        await asyncio.sleep(0.05)
    await asyncio.sleep(BEFORE_S)
    for relay in relays:
        relay.cut()
