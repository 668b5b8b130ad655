"""What there is to follow, and who wants what. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from app.market.ring import Key
from app.market.view import ONE_SECOND
from app.ports import BOOK, BOOK_METRICS, CANDLES, FORMING, STATUS, TRADES

ANY_SYMBOL = "*"
"""Every symbol of a channel, those that are added later too."""

CHANNELS = (CANDLES, TRADES, STATUS, BOOK, BOOK_METRICS)
"""What a client may name. Forming candles belong to `candles`; inside they have their own key."""


NEWEST_WINS = frozenset({FORMING, BOOK, BOOK_METRICS})
"""Channels of values of which only the newest matters: no log holds them."""


class Wish(NamedTuple):
    """A channel, a symbol or `ANY_SYMBOL`, and an interval where the channel has one.

    For a book that is its depth and how often it may come: `20@100`; for its metrics the latter.
    """

    channel: str
    symbol: str
    interval: str = ""


CLOSED_SECONDS = Wish(CANDLES, ANY_SYMBOL, ONE_SECOND)
"""What a client gets that says nothing: every active symbol's closed candle, each second."""

Wishes = frozenset[Wish]


def is_passing(key: Key) -> bool:
    """Tell whether a publication is not replayed, so that the ring keeps it for a moment only."""
    return key[0] == TRADES


def forming(wish: Wish) -> Wish:
    """Return the wish for the candle that grows, beside the one for those that are closed."""
    return wish._replace(channel=FORMING)


def wanted_by(wishes: Wishes) -> Callable[[Key], bool]:
    """Return a test whether these wishes want a publication of some key.

    One without a symbol concerns them all, so whoever follows any of its channel.
    """
    channels = {wish.channel for wish in wishes}

    def wanted(key: Key) -> bool:
        channel, symbol, interval = key
        if not symbol:
            return channel in channels
        # Wishes are tuples: they equal and hash like keys.
        return key in wishes or (channel, ANY_SYMBOL, interval) in wishes

    return wanted


Group = TypeVar("Group")


class Interests(Generic[Group]):
    """Which groups want a publication, asked by its key."""

    def __init__(self) -> None:
        # Dicts without values are sets that keep their order.
        self._wanting: dict[Key, dict[Group, None]] = {}

    def add(self, group: Group, wishes: Iterable[Wish]) -> None:
        """Let `group` have what its wishes name."""
        for wish in wishes:
            self._wanting.setdefault(wish, {})[group] = None

    def discard(self, group: Group, wishes: Iterable[Wish]) -> None:
        """Let it have this no more."""
        for wish in wishes:
            wanting = self._wanting[wish]
            del wanting[group]
            if not wanting:
                del self._wanting[wish]

    def keys(self) -> list[Key]:
        """Return everything that anybody wants."""
        return list(self._wanting)

    def wanting(self, key: Key) -> Iterator[Group]:
        """Yield those that want it, each once however it asked."""
        channel, symbol, interval = key
        if not symbol:
            # Rarely said, so it may look at every wish there is.
            found = [one for wish, one in self._wanting.items() if wish[0] == channel]
            yield from {group: None for groups in found for group in groups}
            return
        every = self._wanting.get((channel, ANY_SYMBOL, interval))
        named = self._wanting.get(key)
        if every:
            yield from every
        if named:
            for group in named:
                if not every or group not in every:
                    yield group
