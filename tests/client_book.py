"""A book as a client rebuilds it from the messages of the channel `book`, and nothing else.

It uses nothing of `app`, so that it can judge the hub: whatever a client must never see raises
`BrokenBook`. It takes what comes over any way that has the fields of the JSON messages: JSON text,
fields that were read from protocol buffers, the messages of `/ws/market_data/…`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any, NoReturn

Level = tuple[Decimal, Decimal]
"""Price and quantity."""

WHOLE_STATES = ("in_step", "polled")
STATES = ("syncing", "stale", *WHOLE_STATES)


class BrokenBook(AssertionError):
    """Raised for a message that must never come after those before it."""


class ClientBook:
    """One book of one subscription.

    `number`, `update_id`, `state`, `reason` and the exact range are those of the last message;
    `number` is `None` before the first. `snapshots` and `updates` count what came. Levels are
    compared as numbers: `43250.5` is `43250.50`.
    """

    def __init__(self, symbol: str | None = None, depth: int | None = None) -> None:
        self.symbol = symbol
        self.depth = depth
        self.number: int | None = None
        self.update_id = 0
        self.state = ""
        self.reason = ""
        self.position = (0, 0)
        self.exact_from: Decimal | None = None
        self.exact_to: Decimal | None = None
        self.snapshots = 0
        self.updates = 0
        self._bids: dict[Decimal, Decimal] = {}
        self._asks: dict[Decimal, Decimal] = {}
        self._needs_snapshot = True

    def reconnected(self) -> None:
        """Begin anew: the next message has to be a snapshot, and not older than what is held."""
        self._needs_snapshot = True

    def take(self, message: str | bytes | Mapping[str, Any]) -> None:
        """Follow one message; raise `BrokenBook` if it cannot be followed."""
        fields = message
        if isinstance(fields, str | bytes):
            fields = json.loads(fields, parse_float=Decimal)
        assert isinstance(fields, Mapping)
        self._check_place(fields)
        if fields["type"] == "snapshot":
            self._take_snapshot(fields)
        elif fields["type"] == "update":
            self._take_update(fields)
        else:
            self._broken(fields, "the type is neither snapshot nor update")
        self.number = fields["number"]
        self.update_id = fields["update_id"]
        self.state = fields["state"]
        self.reason = fields.get("reason", "")
        self.exact_from = _number(fields["exact_from"])
        self.exact_to = _number(fields["exact_to"])
        self._check_levels(fields)

    def top(self, most: int | None = None) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return bids and asks, best first, at most so many a side."""
        bids = sorted(self._bids.items(), reverse=True)[:most]
        return tuple(bids), tuple(sorted(self._asks.items())[:most])

    @property
    def is_whole(self) -> bool:
        """Whether the hub says of this book that it is right, now."""
        return self.state in WHOLE_STATES

    def _check_place(self, fields: Mapping[str, Any]) -> None:
        """Refuse what belongs to another book, or comes in the wrong order."""
        self.symbol = self.symbol or fields["symbol"]
        self.depth = self.depth or fields["depth"]
        if (fields["symbol"], fields["depth"]) != (self.symbol, self.depth):
            self._broken(fields, "it is of another book")
        if fields["state"] not in STATES:
            self._broken(fields, "there is no such state")
        position = (fields.get("epoch", 0), fields.get("sequence", 0))
        # Only a snapshot that is asked for anew may be as old as what is held.
        again = fields["type"] == "snapshot" and position == self.position
        if position < self.position or (position == self.position != (0, 0) and not again):
            self._broken(fields, f"its position comes after {self.position}")
        same_numbering = position[0] == self.position[0]
        if self.number is not None and same_numbering and fields["number"] < self.number:
            self._broken(fields, f"its number comes after {self.number}")
        self.position = position

    def _take_snapshot(self, fields: Mapping[str, Any]) -> None:
        if "previous" in fields:
            self._broken(fields, "a snapshot has no previous")
        for side in ("bids", "asks"):
            prices = [price for price, _ in _levels(fields[side])]
            ordered = ((a > b) if side == "bids" else (a < b) for a, b in pairwise(prices))
            if not all(ordered):
                self._broken(fields, f"its {side} are not best first, each price once")
        self._bids = dict(_levels(fields["bids"]))
        self._asks = dict(_levels(fields["asks"]))
        self._needs_snapshot = False
        self.snapshots += 1

    def _take_update(self, fields: Mapping[str, Any]) -> None:
        if self._needs_snapshot:
            self._broken(fields, "an update came before the snapshot")
        if fields["previous"] != self.number:
            self._broken(fields, f"what is held has the number {self.number}")
        if fields["number"] <= fields["previous"]:
            self._broken(fields, "its number does not rise")
        for name, side in (("bids", self._bids), ("asks", self._asks)):
            changes = list(_levels(fields[name]))
            if len(dict(changes)) < len(changes):
                self._broken(fields, f"a price of its {name} is there twice")
            for price, quantity in changes:
                if quantity:
                    side[price] = quantity
                elif side.pop(price, None) is None:
                    self._broken(fields, f"it deletes {price} of the {name}, which is not held")
        self.updates += 1

    def _check_levels(self, fields: Mapping[str, Any]) -> None:
        """Refuse a book that cannot be: too deep, crossed, or beyond what is known exactly."""
        bids, asks = self.top()
        if max(len(bids), len(asks)) > (self.depth or 0):
            self._broken(fields, f"{len(bids)} bids and {len(asks)} asks are held")
        if any(quantity <= 0 for _, quantity in (*bids, *asks)):
            self._broken(fields, "a quantity is not above 0")
        if bids and asks and bids[0][0] >= asks[0][0] and self.is_whole:
            self._broken(fields, f"the book is crossed: {bids[0]} and {asks[0]}")
        if bids and self.exact_from is not None and bids[-1][0] < self.exact_from:
            self._broken(fields, f"the bid {bids[-1]} is beyond what is exact")
        if asks and self.exact_to is not None and asks[-1][0] > self.exact_to:
            self._broken(fields, f"the ask {asks[-1]} is beyond what is exact")

    def _broken(self, fields: Mapping[str, Any], why: str) -> NoReturn:
        shown = {name: value for name, value in fields.items() if name not in ("bids", "asks")}
        msg = f"{why}: {shown}, after {self.snapshots} snapshots and {self.updates} updates"
        raise BrokenBook(msg)


def _levels(rows: Any) -> Iterator[Level]:
    for price, quantity in rows:
        yield Decimal(price), Decimal(quantity)


def _number(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)
