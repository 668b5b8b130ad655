"""The newest issue of each recent second of every symbol, ready to be sent; memory alone, bounded.

A candle is held as the text that its channel sends, so that asking for thousands of them costs one
join. It is half the memory of the candle itself, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from app.market.events import SECOND_US, Candle, Publication
from app.market.view import ONE_SECOND

ISSUE_BYTES = 200
"""What holding one candle takes beside its text, measured: objects, position, its place here."""


class CandleSpan(NamedTuple):
    """Candles of one symbol, ascending by open time. All times are microseconds UTC.

    `start_us` and `end_us` are what was asked for, or else the first candle given and the newest
    held; `reach_us` is the oldest second held. They are `None` where there is no such second.
    `next_us` is the first that did not fit the limit, `None` when all did.
    """

    texts: Sequence[bytes]
    start_us: int | None
    end_us: int | None
    reach_us: int | None
    next_us: int | None = None


class CandleRing:
    """Keeps the 1-second candles of the last `seconds` before each symbol's newest.

    Publications may come in any order and any number of times: per second the newer (epoch,
    sequence) stays. When all symbols together pass `max_bytes`, counted as texts plus `ISSUE_BYTES`
    each, the oldest seconds of all go first. `write` makes a candle's text. Who removes a symbol
    from the wanted set calls `forget` after its feed has ended.
    """

    def __init__(
        self,
        write: Callable[[Publication, Candle], bytes],
        *,
        seconds: int = 3_600,
        max_bytes: int = 256_000_000,
    ) -> None:
        self.bytes = 0
        self._write = write
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._held: dict[str, _Series] = {}

    def apply(self, publication: Publication) -> None:
        """Take an issue that is newer than the one held; anything but 1s candles is ignored."""
        candle = publication.event
        if not isinstance(candle, Candle) or candle.interval != ONE_SECOND:
            return
        second = candle.open_time_us // SECOND_US
        series = self._held.get(candle.symbol)
        if series is not None and (
            second <= series.newest - self._seconds or series.outdates(second, publication)
        ):
            return
        text = self._write(publication, candle)
        if series is None:
            series = self._held[candle.symbol] = _Series(second)
        self.bytes -= series.drop_until(second - self._seconds)
        self.bytes += series.put(second, _Issue(publication.epoch, publication.sequence, text))
        while self.bytes > self._max_bytes:
            self._drop_oldest_second()

    def between(
        self,
        symbol: str,
        *,
        limit: int,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> CandleSpan:
        """Return the candles that open between two times, both included, at most `limit`.

        With `start_us` the oldest from there on, without it the newest up to `end_us`.
        """
        series = self._held.get(symbol)
        if series is None:
            return CandleSpan((), start_us, end_us, None)
        first, last = series.oldest, series.newest
        if start_us is not None:
            first = max(first, -(-start_us // SECOND_US))
        if end_us is not None:
            last = min(last, end_us // SECOND_US)
        following = None
        if start_us is None:
            found = list(islice(series.among(range(last, first - 1, -1)), limit))
            found.reverse()
            start_us = found[0] * SECOND_US if found else None
        else:
            there = series.among(range(first, last + 1))
            found = list(islice(there, limit))
            following = next(there, None)
        return CandleSpan(
            [series.issues[second].text for second in found],
            start_us,
            series.newest * SECOND_US if end_us is None else end_us,
            series.oldest * SECOND_US,
            None if following is None else following * SECOND_US,
        )

    def forget(self, symbol: str) -> None:
        """Hold nothing of `symbol` any longer. Forgetting what is not held is harmless."""
        series = self._held.pop(symbol, None)
        if series is not None:
            self.bytes -= series.drop_until(series.newest)

    def counters(self) -> Mapping[str, int | None]:
        """Return what `/status` shows; `reach_us` is the oldest second of any symbol."""
        oldest = min((series.oldest for series in self._held.values()), default=None)
        return {
            "candles": sum(len(series.issues) for series in self._held.values()),
            "bytes": self.bytes,
            "max_bytes": self._max_bytes,
            "seconds": self._seconds,
            "reach_us": None if oldest is None else oldest * SECOND_US,
        }

    def _drop_oldest_second(self) -> None:
        # Mostly one second is the oldest of every symbol, so one look at all frees one of each.
        oldest = min(series.oldest for series in self._held.values())
        for symbol, series in tuple(self._held.items()):
            if series.oldest == oldest:
                self.bytes -= series.drop_until(oldest)
                if not series.issues:
                    del self._held[symbol]


class _Issue(msgspec.Struct, frozen=True, gc=False):
    """One issue: its position, and its text."""

    epoch: int
    sequence: int
    text: bytes

    @property
    def cost(self) -> int:
        return len(self.text) + ISSUE_BYTES


class _Series:
    """The issues of one symbol by second; `oldest` and `newest` are those held, if any is."""

    __slots__ = ("issues", "newest", "oldest")

    def __init__(self, second: int) -> None:
        self.issues: dict[int, _Issue] = {}
        self.oldest = self.newest = second

    def outdates(self, second: int, publication: Publication) -> bool:
        """Tell whether what is held of a second is as new as `publication`, or newer."""
        held = self.issues.get(second)
        return held is not None and (held.epoch, held.sequence) >= (
            publication.epoch,
            publication.sequence,
        )

    def among(self, seconds: range) -> Iterator[int]:
        """Yield those of some seconds that are held, in their order."""
        return (second for second in seconds if second in self.issues)

    def put(self, second: int, issue: _Issue) -> int:
        """Hold an issue in place of an earlier one, and return the bytes that it adds."""
        replaced = self.issues.get(second)
        if not self.issues:
            self.oldest = self.newest = second
        self.issues[second] = issue
        self.oldest = min(self.oldest, second)
        self.newest = max(self.newest, second)
        return issue.cost - (replaced.cost if replaced is not None else 0)

    def drop_until(self, second: int) -> int:
        """Hold no second up to this one, and return the bytes that this frees."""
        freed = 0
        while self.issues and (self.oldest <= second or self.oldest not in self.issues):
            dropped = self.issues.pop(self.oldest, None)
            if dropped is not None:
                freed += dropped.cost
            self.oldest += 1
        return freed
