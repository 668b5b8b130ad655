"""Which symbols are followed only because somebody subscribes to a stream of them. Pure.

The exchange is asked by whoever has this; times are seconds of the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

RETRY_S = 60.0
"""How long a symbol is not tried again that could not be followed, or was taken away."""

_MOST_REMEMBERED = 1_000


class Loans(NamedTuple):
    """What is to be done: `borrow` and `give_back` these, and say that these are `refused`."""

    borrow: list[str]
    give_back: list[str]
    refused: list[str]


class Borrowing:
    """The symbols that are borrowed, at most `most`, each until nobody asks for it for `idle_s`.

    `refused` counts symbols that somebody asked for and that were not followed, `failed` those that
    could not be.
    """

    def __init__(self, *, most: int, idle_s: float) -> None:
        self.refused = 0
        self.failed = 0
        self._most = most
        self._idle_s = idle_s
        self._held: dict[str, float | None] = {}  # since when nobody asks; `None`: somebody does
        self._not_before_s: dict[str, float] = {}
        self._told: set[str] = set()  # the refused ones that are asked for still

    @property
    def held(self) -> Collection[str]:
        """What is borrowed now."""
        return self._held.keys()

    def look(
        self,
        asked: Collection[str],
        *,
        active: Collection[str],
        borrowed: Collection[str],
        available: Collection[str],
        now_s: float,
    ) -> Loans:
        """Say what is to be done, for the symbols that streams are `asked` of.

        `active` are those that are followed, `borrowed` those of them that are borrowed still, and
        `available` those that may be. What is in `borrow` counts as borrowed from now on: call
        `fail` for what could not be.
        """
        for symbol in [one for one in self._held if one not in borrowed]:
            del self._held[symbol]
            if symbol not in active:  # somebody has taken it away: not against his will
                self._wait(symbol, now_s)
        give_back = []
        for symbol, idle_since_s in tuple(self._held.items()):
            if symbol in asked:
                self._held[symbol] = None
            elif idle_since_s is None:
                self._held[symbol] = now_s
            elif now_s - idle_since_s >= self._idle_s:
                give_back.append(symbol)
                del self._held[symbol]
        self._told.intersection_update(asked)
        borrow, refused = [], []
        for symbol in asked:
            if symbol in active or symbol not in available or symbol in self._held:
                continue
            if now_s < self._not_before_s.get(symbol, now_s):
                continue
            if len(self._held) < self._most:
                self._held[symbol] = None
                borrow.append(symbol)
            elif symbol not in self._told:
                self._told.add(symbol)
                self.refused += 1
                refused.append(symbol)
        return Loans(borrow, give_back, refused)

    def fail(self, symbol: str, now_s: float) -> None:
        """Learn that a symbol could not be borrowed."""
        self.failed += 1
        self._held.pop(symbol, None)
        self._wait(symbol, now_s)

    def _wait(self, symbol: str, now_s: float) -> None:
        self._not_before_s.pop(symbol, None)
        self._not_before_s[symbol] = now_s + RETRY_S
        if len(self._not_before_s) > _MOST_REMEMBERED:
            del self._not_before_s[next(iter(self._not_before_s))]
