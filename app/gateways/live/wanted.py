"""Whether symbols may be followed now, and what history of them is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from typing_extensions import override

from app.errors import SymbolNotActive, SymbolsNotLoaded, UnknownSymbol
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.follower import Follower, Step
from app.gateways.fanout.wishes import ANY_SYMBOL, Wish
from app.market.intervals import INTERVALS_US
from app.market.ring import Key, Outgoing, Ring
from app.ports import CANDLES, STATUS, SymbolList

_PICKED_MOST = 4_096  # candles that are looked up one by one; for more, the ring is read through


class SincePosition(NamedTuple):
    """Everything published later than this, revisions too."""

    epoch: int
    sequence: int

    @override
    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"


class SinceTime(NamedTuple):
    """The newest issue of each candle that opens from then on, ms."""

    ms: int


class Last(NamedTuple):
    """The last so many candles of each symbol, up to its newest; absent ones count."""

    number: int


Since = SincePosition | SinceTime | Last
"""Which history a client asks for."""


class History(NamedTuple):
    """What there is of the history asked for. `reason` says why it is not all of it, if so."""

    steps: tuple[Step, ...]
    reason: str | None

    @property
    def told(self) -> dict[str, object]:
        """Return the fields of the reply."""
        if self.reason is None:
            return {"recovered": True}
        return {"recovered": False, "reason": self.reason}


def check_symbols(symbols: Sequence[str], registry: SymbolList) -> None:
    """Accept symbols that are all active; else raise for the first that is not.

    `SymbolNotActive` when the exchange lists it, `UnknownSymbol` when not, `SymbolsNotLoaded` while
    that is not known. `ANY_SYMBOL` is always there.
    """
    active = set(registry.active())
    missing = next((one for one in symbols if one != ANY_SYMBOL and one not in active), None)
    if missing is None:
        return
    available = registry.available()
    if available is None:
        raise SymbolsNotLoaded(missing, registry.list_problem)
    raise SymbolNotActive(missing) if missing in available else UnknownSymbol(missing)


def history(
    broadcaster: Broadcaster,
    follower: Follower,
    wishes: Iterable[Wish],
    since: Since,
    active: Sequence[str],
) -> History:
    """Return the history that these wishes ask for; `active` is what `ANY_SYMBOL` means.

    Closed candles and status have one, nothing else.
    """
    if isinstance(since, SincePosition):
        return _since_position(broadcaster, follower, wishes, since)
    ring = broadcaster.ring
    starts_us: dict[Key, int] = {}
    whole = True
    for channel, named, interval in wishes:
        if channel != CANDLES:
            continue
        for symbol in active if named == ANY_SYMBOL else (named,):
            start_us = _start_us(ring, symbol, interval, since)
            bounds = ring.bounds(symbol, interval)
            whole = whole and bounds is not None and bounds[0] <= max(start_us, 0)
            starts_us[channel, symbol, interval] = start_us
    reason = None if whole else "evicted"
    if sum(ring.count(*key[1:], start_us) for key, start_us in starts_us.items()) > _PICKED_MOST:
        return History((broadcaster.opened(follower, starts_us),), reason)
    found: list[Outgoing] = []
    for key, start_us in starts_us.items():
        found += ring.issues(*key[1:], start_us)
    return History((broadcaster.picked(follower, found),), reason)


def _since_position(
    broadcaster: Broadcaster, follower: Follower, wishes: Iterable[Wish], since: SincePosition
) -> History:
    wanted = [wish for wish in wishes if wish.channel in (CANDLES, STATUS)]
    evicted = broadcaster.ring.evicted()
    reason = None
    if since.epoch != broadcaster.epoch:
        reason = "epoch"
    elif since.sequence < evicted:
        reason = "evicted"
    after = since.sequence if reason is None else None
    return History((broadcaster.missed(follower, wanted, after),), reason)


def _start_us(ring: Ring, symbol: str, interval: str, since: SinceTime | Last) -> int:
    """Return the open time of the first candle that is asked for; far back where none is held."""
    step = INTERVALS_US[interval]
    if isinstance(since, SinceTime):
        return -(-since.ms * 1_000 // step) * step
    bounds = ring.bounds(symbol, interval)
    return 0 if bounds is None else bounds[1] - (since.number - 1) * step
