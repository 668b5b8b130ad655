"""Which of a channel's streams is meant: candles of an interval, a book of a depth and rate. Pure.

Inside the hub a wish names it as one text (`Wish.interval`): `1m` for candles, `20@100` for a book
of 20 levels a side at most every 100 ms, `1000` for metrics of a book each second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from app.errors import InvalidRequest, NotSupported, UnsupportedInterval
from app.market.book_views import (
    DEFAULT_DEPTH,
    DEFAULT_EVERY_MS,
    DEPTHS,
    INTERVALS_MS,
    read_view_name,
    view_name,
)
from app.market.intervals import INTERVALS_US
from app.market.view import ONE_SECOND
from app.ports import BOOK, BOOK_METRICS, CANDLES, FORMING

INTERVALS = tuple(INTERVALS_US)
"""The lengths of candles that there are."""

EVERY_MS: Mapping[str, tuple[int, ...]] = {
    BOOK: INTERVALS_MS,
    BOOK_METRICS: (0, 1_000),
}
"""How often at most, in ms, by channel; 0 is each change."""


class Variant(NamedTuple):
    """What a client said, or what is so if it says nothing; `None` where nothing is said or had.

    `interval` is the length of candles, `depth` the levels a side of a book, `every` the ms from
    one message of a book, or of its metrics, to the next at least.
    """

    interval: str | None = None
    depth: int | None = None
    every: int | None = None

    @classmethod
    def named(cls, channel: str, text: str) -> Variant:
        """Return what a wish of a channel means by `text`."""
        if channel in (CANDLES, FORMING):
            return cls(interval=text)
        if channel == BOOK:
            depth, every = read_view_name(text) or (None, None)
            return cls(depth=depth, every=every)
        return cls(every=int(text)) if channel == BOOK_METRICS else cls()

    def text(self) -> str:
        """Return what a wish calls it; empty for channels that have but one."""
        if self.depth is not None and self.every is not None:
            return view_name(self.depth, self.every)
        return str(self.every) if self.every is not None else self.interval or ""

    def check(self, channel: str) -> None:
        """Accept what the channel has, or nothing named; raise `BadRequest`."""
        for name, value in self._asdict().items():
            if value is not None and name not in _USUAL.get(channel, Variant()).said():
                raise NotSupported(name=name, value=value, instead=f"channel {channel} has none")
        if self.interval is not None and self.interval not in INTERVALS:
            raise UnsupportedInterval(self.interval, INTERVALS)
        if self.depth is not None:
            _check_number("depth", self.depth, DEPTHS)
        if self.every is not None:
            _check_number("every", self.every, EVERY_MS[channel])

    def filled(self, channel: str) -> Variant:
        """Return what is meant where not everything is said; raise `BadRequest`."""
        self.check(channel)
        usual = _USUAL.get(channel, self)
        return Variant(
            usual.interval if self.interval is None else self.interval,
            usual.depth if self.depth is None else self.depth,
            usual.every if self.every is None else self.every,
        )

    def said(self) -> dict[str, object]:
        """Return, by name, what is not `None`."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def includes(self, other: Variant) -> bool:
        """Tell whether `other` has all that is said here."""
        return self.said().items() <= other.said().items()


_USUAL: Mapping[str, Variant] = {
    CANDLES: Variant(interval=ONE_SECOND),
    BOOK: Variant(depth=DEFAULT_DEPTH, every=DEFAULT_EVERY_MS),
    BOOK_METRICS: Variant(every=1_000),
}


def _check_number(name: str, value: int, known: tuple[int, ...]) -> None:
    if value not in known:
        msg = f"{name}={value}: expected one of {', '.join(map(str, known))}"
        raise InvalidRequest(msg)
