"""Which streams are asked of the exchange for clients, and how long after the last of them. Pure.

Times are seconds of the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

Wanted = tuple[str, str]
"""A symbol, and a stream of it as the exchange calls it: `("BTCUSDT", "aggTrade")`."""


class Change(NamedTuple):
    """What is to be wanted from now on, and what no more."""

    want: list[Wanted]
    unwant: list[Wanted]


class MoreWanted:
    """What is wanted of the exchange now. After its last client a stream stays for `linger_s`."""

    def __init__(self, *, linger_s: float) -> None:
        self._linger_s = linger_s
        self._held: dict[Wanted, float | None] = {}  # since when nobody needs it

    def __len__(self) -> int:
        return len(self._held)

    def look(self, needed: Collection[Wanted], active: Collection[str], now_s: float) -> Change:
        """Say what changes, for the streams that clients need and the symbols that are followed.

        What is needed of another symbol waits until that is followed.
        """
        unwant = []
        for wanted, since_s in tuple(self._held.items()):
            if wanted[0] not in active:
                over = True
            elif wanted in needed:
                self._held[wanted] = None
                over = False
            elif since_s is None:
                self._held[wanted] = now_s
                over = False
            else:
                over = now_s - since_s >= self._linger_s
            if over:
                del self._held[wanted]
                unwant.append(wanted)
        want = [one for one in needed if one[0] in active and one not in self._held]
        self._held.update(dict.fromkeys(want))
        return Change(want, unwant)

    def end(self) -> list[Wanted]:
        """Want nothing any more; return what was."""
        held = list(self._held)
        self._held.clear()
        return held
