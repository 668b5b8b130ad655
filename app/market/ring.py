"""What was published lately, in the order of its sequence; memory alone, bounded.

One log serves everybody who has to catch up: a client that was away, one that reads slowly, and
`GET /candles`. Each publication is held as the text that its channel sends, so that handing out
thousands costs one join; that is half the memory of the candle itself, too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from app.market.intervals import INTERVALS_US
from app.market.view import ONE_SECOND

ISSUE_BYTES = 300
"""What holding one publication takes beside its text, measured: objects and its places here."""

_WARM = 4_096  # newest publications of which the forms are kept: most who catch up need those
_COMPACT_AT = 4_096  # dropped at the front of a log before its lists are cut

Key = tuple[str, str, str]
"""A channel, a symbol and an interval; the interval is empty for channels that have none."""


class Outgoing:
    """One publication on its way to clients: its place, and its text as JSON.

    `key` says who wants it, `open_time_us` which candle it is (`None` for all else); `outdated` is
    set once a newer issue of that candle is held. `forms` is for whoever sends it: what it made of
    the text, kept so that it is made once; `None` when that is not worth it any more.

    The text of a value that changes may say only what is new; `make_whole` then returns the text
    that says all of it, for who has not seen what was before.
    """

    __slots__ = (
        "_make_whole",
        "_whole",
        "epoch",
        "forms",
        "key",
        "open_time_us",
        "outdated",
        "sequence",
        "since_s",
        "text",
    )

    def __init__(  # noqa: PLR0917 - made for every publication, from left to right
        self,
        key: Key,
        epoch: int,
        sequence: int,
        text: bytes,
        open_time_us: int | None = None,
        make_whole: Callable[[], bytes] | None = None,
    ) -> None:
        self.key = key
        self.epoch = epoch
        self.sequence = sequence
        self.text = text
        self.open_time_us = open_time_us
        self.outdated = False
        self.since_s = 0.0
        self.forms: dict[object, bytes] | None = {}
        self._make_whole = make_whole
        self._whole: Outgoing | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its text says all of it."""
        return self._make_whole is None

    def as_whole(self) -> Outgoing:
        """Return it with a text that says all of it, made when first asked for."""
        if self._make_whole is None:
            return self
        if self._whole is None:
            text = self._make_whole()
            self._whole = Outgoing(self.key, self.epoch, self.sequence, text, self.open_time_us)
        return self._whole


class CandleSpan(NamedTuple):
    """Candles of one symbol, ascending by open time. All times are microseconds UTC.

    `start_us` and `end_us` are what was asked for, or else the first candle given and the newest
    held; `reach_us` is the oldest from which on all are held that were published. They are `None`
    where there is none. `next_us` is the first that did not fit the limit, `None` when all did.
    """

    texts: Sequence[bytes]
    start_us: int | None
    end_us: int | None
    reach_us: int | None
    next_us: int | None = None


class Stretch(NamedTuple):
    """A part of the log: some of what was wanted, and the sequence up to which that is all."""

    items: Sequence[Outgoing]
    until: int


class Ring:
    """Keeps every publication for `seconds`, in bytes at most `max_bytes`, oldest out first.

    What `passing` says of a key, as for trades, is kept within `passing_bytes` only, enough for who
    reads slowly. Bytes are texts plus `ISSUE_BYTES` each. Add in the order of the sequence.
    """

    def __init__(
        self,
        *,
        seconds: float = 3_600,
        max_bytes: int = 256_000_000,
        passing_bytes: int = 16_000_000,
        passing: Callable[[Key], bool] = lambda _key: False,
    ) -> None:
        self._seconds = seconds
        self._kept = _Log(max_bytes)
        self._passing = _Log(passing_bytes)
        self._is_passing = passing
        self._series: dict[tuple[str, str], _Series] = {}
        self.sequence = 0  # of the newest

    def add(self, item: Outgoing, now_s: float) -> None:
        """Hold a publication; `now_s` never goes back."""
        self.sequence = item.sequence
        item.since_s = now_s
        log = self._kept
        if self._is_passing(item.key):
            log = self._passing
        elif item.open_time_us is not None:
            _, symbol, interval = item.key
            series = self._series.get((symbol, interval))
            if series is None:
                series = self._series[symbol, interval] = _Series(interval)
            series.put(item.open_time_us, item)
        for dropped in log.add(item, now_s - self._seconds):
            self._dropped(dropped)

    def after(
        self,
        sequence: int,
        wanted: Callable[[Key], bool],
        *,
        until: int,
        passing: bool = True,
        look: int = 4_096,
        most: int | None = None,
    ) -> Stretch:
        """Return what was published later than `sequence`, up to `until`, and is wanted.

        At most `look` publications are looked at, and `most` returned: ask again from the `until`
        that is returned.
        """
        found = self._kept.after(sequence, until, look)
        items: Iterable[Outgoing] = found.items
        end = found.until
        if passing and self._passing.items:
            moving = self._passing.after(sequence, until, look)
            end = min(end, moving.until)  # as far as both were looked at
            both = merge(items, moving.items, key=_SEQUENCE)
            items = (one for one in both if one.sequence <= end)
        chosen = list(islice((one for one in items if wanted(one.key)), most))
        if most is not None and len(chosen) == most:
            end = chosen[-1].sequence
        return Stretch(chosen, end)

    def evicted(self, *, passing: bool = False) -> int:
        """Return the newest sequence that is not held any more, though nothing replaced it."""
        return max(self._kept.evicted, self._passing.evicted if passing else 0)

    def begin_after(self, sequence: int) -> None:
        """Learn that of what was published up to a sequence some was never here."""
        self._kept.evicted = max(self._kept.evicted, sequence)

    def issues(self, symbol: str, interval: str, start_us: int) -> Iterator[Outgoing]:
        """Yield the newest issue of each candle from a time on, ascending by open time."""
        series = self._held(symbol, interval)
        if series is not None:
            yield from series.between(start_us, series.newest)

    def bounds(self, symbol: str, interval: str) -> tuple[int, int] | None:
        """Return the reach and the newest open time of a symbol's candles, if any is held."""
        series = self._held(symbol, interval)
        return None if series is None else (series.reach, series.newest)

    def count(self, symbol: str, interval: str, start_us: int) -> int:
        """Return at most how many candles `issues` yields."""
        series = self._series.get((symbol, interval))
        if series is None:
            return 0
        return max(0, (series.newest - max(start_us, series.oldest)) // series.step + 1)

    def between(
        self,
        symbol: str,
        *,
        limit: int,
        start_us: int | None = None,
        end_us: int | None = None,
        interval: str = ONE_SECOND,
    ) -> CandleSpan:
        """Return the candles that open between two times, both included, at most `limit`.

        With `start_us` the oldest from there on, without it the newest up to `end_us`.
        """
        series = self._held(symbol, interval)
        if series is None:
            return CandleSpan((), start_us, end_us, None)
        last = series.newest if end_us is None else min(end_us, series.newest)
        following: Outgoing | None = None
        if start_us is None:
            found = list(islice(series.before(last), limit))
            found.reverse()
            start_us = found[0].open_time_us if found else None
        else:
            there = series.between(start_us, last)
            found = list(islice(there, limit))
            following = next(there, None)
        return CandleSpan(
            [one.text for one in found],
            start_us,
            series.newest if end_us is None else end_us,
            series.reach,
            None if following is None else following.open_time_us,
        )

    def forget(self, symbol: str) -> None:
        """Have no candles of `symbol` by time any longer; who was away is told of them still.

        Forgetting what is not held is harmless.
        """
        for key in [one for one in self._series if one[0] == symbol]:
            del self._series[key]

    def counters(self) -> Mapping[str, int | None]:
        """Return what `/status` shows; `reach_us` is the oldest candle of any symbol."""
        held = [(key[1], one) for key, one in self._series.items() if one.issues]
        return {
            "candles": sum(len(series.issues) for _, series in held),
            "publications": len(self._kept) + len(self._passing),
            "bytes": self._kept.bytes + self._passing.bytes,
            "max_bytes": self._kept.max_bytes + self._passing.max_bytes,
            "seconds": int(self._seconds),
            "evicted_sequence": self._kept.evicted,
            "reach_us": min(
                (series.reach for interval, series in held if interval == ONE_SECOND), default=None
            ),
        }

    def _held(self, symbol: str, interval: str) -> _Series | None:
        series = self._series.get((symbol, interval))
        return series if series is not None and series.issues else None

    def _dropped(self, item: Outgoing) -> None:
        if item.open_time_us is None:
            return
        _, symbol, interval = item.key
        series = self._series.get((symbol, interval))
        if series is not None and series.issues.get(item.open_time_us) is item:
            series.drop(item.open_time_us)


_SEQUENCE = attrgetter("sequence")


class _Log:
    """Publications in the order of their sequence; a queue that can be entered anywhere."""

    def __init__(self, max_bytes: int) -> None:
        self.items: list[Outgoing] = []
        self.bytes = 0
        self.max_bytes = max_bytes
        self.evicted = 0
        self._sequences: list[int] = []
        self._first = 0  # those before it are dropped, and cut off now and then

    def __len__(self) -> int:
        return len(self.items) - self._first

    def add(self, item: Outgoing, oldest_s: float) -> Iterable[Outgoing]:
        """Take one in, and return those that have to go: too old, or too many bytes."""
        items = self.items
        items.append(item)
        if len(items) > _WARM:
            items[-_WARM - 1].forms = None
        self._sequences.append(item.sequence)
        self.bytes += len(item.text) + ISSUE_BYTES
        if self.bytes <= self.max_bytes and items[self._first].since_s >= oldest_s:
            return ()
        return self._drop(oldest_s)

    def after(self, sequence: int, until: int, look: int) -> Stretch:
        """Return the next ones, at most `look`."""
        start = bisect_right(self._sequences, sequence, self._first)
        end = bisect_right(self._sequences, until, start)
        if start + look < end:
            end = start + look
            until = self._sequences[end - 1]
        return Stretch(self.items[start:end], until)

    def _drop(self, oldest_s: float) -> list[Outgoing]:
        dropped = []
        items = self.items
        while self._first < len(items):
            item = items[self._first]
            if self.bytes <= self.max_bytes and item.since_s >= oldest_s:
                break
            self._first += 1
            self.bytes -= len(item.text) + ISSUE_BYTES
            if not item.outdated:
                self.evicted = item.sequence
            dropped.append(item)
        if self._first >= _COMPACT_AT:
            del items[: self._first]
            del self._sequences[: self._first]
            self._first = 0
        return dropped


class _Series:
    """The newest issues of one symbol's candles by open time.

    An empty one is kept for what it remembers: up to where candles have left it.
    """

    __slots__ = ("_evicted", "_oldest", "issues", "newest", "step")

    def __init__(self, interval: str) -> None:
        self.step = INTERVALS_US[interval]
        self.issues: dict[int, Outgoing] = {}
        self.newest = 0
        self._oldest = 0
        self._evicted: int | None = None

    @property
    def oldest(self) -> int:
        """The oldest open time held."""
        while self._oldest not in self.issues and self._oldest < self.newest:
            self._oldest += self.step
        return self._oldest

    @property
    def reach(self) -> int:
        """The open time from which on everything is held that was published.

        It is behind the newest where that has left, as what is issued again comes later.
        """
        if self._evicted is None or self._evicted < self.oldest:
            return self.oldest
        return self._evicted + self.step

    def put(self, open_time_us: int, item: Outgoing) -> None:
        """Hold an issue in place of the earlier one."""
        replaced = self.issues.get(open_time_us)
        if replaced is not None:
            replaced.outdated = True
        if not self.issues:
            self._oldest = self.newest = open_time_us
        self.issues[open_time_us] = item
        self._oldest = min(self._oldest, open_time_us)
        self.newest = max(self.newest, open_time_us)

    def drop(self, open_time_us: int) -> None:
        """Hold one no longer."""
        del self.issues[open_time_us]
        if self._evicted is None or open_time_us > self._evicted:
            self._evicted = open_time_us
        if self.issues:
            while self.newest not in self.issues and self.newest > self._oldest:
                self.newest -= self.step

    def between(self, start_us: int, end_us: int) -> Iterator[Outgoing]:
        """Yield those that open between two times, both included, ascending."""
        first = max(self.oldest, -(-start_us // self.step) * self.step)
        issues = self.issues
        return (issues[at] for at in range(first, end_us + 1, self.step) if at in issues)

    def before(self, end_us: int) -> Iterator[Outgoing]:
        """Yield those that open up to a time, descending."""
        issues = self.issues
        last = end_us // self.step * self.step
        return (issues[at] for at in range(last, self.oldest - 1, -self.step) if at in issues)
