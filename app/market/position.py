"""How far one symbol's candles have come: what must be known to go on after a restart."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from app.market.events import SECOND_US
from app.market.kept import KeptSeconds
from app.market.ledger import HeldRange, Hole, TradeLedger

# How long a position waits for the klines of proved seconds: another run could not compare them.
_PATIENCE_US = 60 * SECOND_US


class Position(msgspec.Struct, frozen=True, gc=False):
    """Everything up to the end of `second_us` is proved, except what `holes` name.

    `last_id` is the last trade id up to then, `close` the price of that trade: what an empty second
    behind it carries. The holes are ascending, and lack all trades of their seconds, since sums of
    parts of a second are not kept; unless the first one `begins` with a whole second, trades that
    nothing has told of may be missing before it. `closes` are the prices before each, where known.
    """

    second_us: int
    last_id: int
    close: Decimal
    holes: tuple[Hole, ...] = ()
    closes: tuple[Decimal | None, ...] = ()
    begins: bool = False


class PositionFinder:
    """Finds the newest position that can be told of; it remembers where the last one was."""

    def __init__(self) -> None:
        self._second_us = -1
        self._last_id = -1

    def find(self, ledger: TradeLedger, kept: KeptSeconds) -> Position | None:
        """Return the position, or `None` if none can be told of: an older one stays good."""
        before_us = kept.newest_us + SECOND_US
        for held in reversed(ledger.ranges):
            second_us, last_id = _verified(*_last_proved(held, kept), kept)
            until_us, before_us = before_us, held.first_second_us
            if held.last_second_us < kept.floor_us:
                break  # how far it has proved is forgotten
            if last_id < held.first_id or second_us >= until_us or not kept.proved(second_us):
                continue
            if last_id == self._last_id:
                second_us = max(second_us, self._second_us)
            second_us = _silent_until(second_us, until_us, kept)
            close = kept.known_close(second_us)
            holes = _whole_holes(last_id, ledger, kept)
            if close is None or (holes and holes[-1].last_id >= last_id):
                continue
            self._second_us, self._last_id = second_us, last_id
            closes = tuple(_close_before(hole, kept) for hole in holes)
            begins = bool(holes) and _begins(holes[0], ledger)
            return Position(second_us, last_id, close, holes, closes, begins)
        return None


def _last_proved(held: HeldRange, kept: KeptSeconds) -> tuple[int, int]:
    """Return the last second that a range can have proved, and the last id up to its end."""
    last_us = held.last_second_us
    if kept.proved(last_us):
        return last_us, held.last_id
    second = kept.get(last_us)
    last_id = held.last_id  # if its trades were given up
    if second is not None and second.trades:
        last_id = second.first_id - 1
    elif held.first_second_us == last_us:
        last_id = held.first_id - 1
    return last_us - SECOND_US, last_id


def _verified(second_us: int, last_id: int, kept: KeptSeconds) -> tuple[int, int]:
    """Go back to the last second that was compared too; for a minute, not for ever."""
    while kept.proved(second_us) and not _settled(second_us, kept):
        second = kept.get(second_us)
        if second is not None and second.trades:
            last_id = second.first_id - 1
        second_us -= SECOND_US
    return second_us, last_id


def _silent_until(second_us: int, until_us: int, kept: KeptSeconds) -> int:
    """Return the last of the settled seconds that follow, before `until_us`: no id is of them."""
    while second_us + SECOND_US < until_us and _settled(second_us + SECOND_US, kept):
        second_us += SECOND_US
    return second_us


def _settled(second_us: int, kept: KeptSeconds) -> bool:
    """Whether another run need not look at a second any more."""
    old = second_us < kept.newest_us - _PATIENCE_US
    return kept.proved(second_us) and (old or kept.verified(second_us))


def _whole_holes(last_id: int, ledger: TradeLedger, kept: KeptSeconds) -> tuple[Hole, ...]:
    """Return what is missing up to `last_id`, with all trades of the seconds it touches.

    Also what was given up: else seconds that it touches would look whole once others are filled.
    """
    whole: list[Hole] = []
    for missing in ledger.gaps():
        if missing.first_id > last_id:
            break
        hole = _widened(missing, ledger, kept)
        if hole is None:
            continue
        if whole and (
            whole[-1].last_id + 1 >= hole.first_id or whole[-1].to_second_us >= hole.from_second_us
        ):
            before = whole.pop()
            hole = Hole(
                before.first_id,
                max(before.last_id, hole.last_id),
                before.from_second_us,
                max(before.to_second_us, hole.to_second_us),
            )
        whole.append(hole)
    return tuple(whole)


def _widened(hole: Hole, ledger: TradeLedger, kept: KeptSeconds) -> Hole | None:
    """Return a hole that lacks whole seconds; `None` if it touches none that can still change."""
    from_us, to_us = max(hole.from_second_us, kept.floor_us), hole.to_second_us
    while from_us <= to_us and kept.proved(from_us):
        from_us += SECOND_US  # none of its trades is missing
    while from_us <= to_us and kept.proved(to_us):
        to_us -= SECOND_US
    if from_us > to_us:
        return None
    first_id, last_id = hole.first_id, hole.last_id
    below, above = kept.get(from_us), kept.get(to_us)
    if below is not None and below.trades:
        first_id = min(first_id, below.first_id)
    if above is not None and above.trades:
        last_id = max(last_id, above.last_id)
    return Hole(first_id, last_id, from_us, to_us)


def _begins(hole: Hole, ledger: TradeLedger) -> bool:
    """Whether the first id of a hole of whole seconds is known to be the first of them."""
    held = ledger.range_of(hole.first_id)
    if held is not None and held.first_id < hole.first_id:
        return True
    if held is not None and held.reach_us < hole.from_second_us:
        return True
    return ledger.range_of(hole.first_id - 1) is not None or ledger.begins(hole.first_id)


def _close_before(hole: Hole, kept: KeptSeconds) -> Decimal | None:
    """Return what the second before a hole closed at, if that is sure."""
    before_us = hole.from_second_us - SECOND_US
    second = kept.get(before_us)
    if second is None or second.proved or second.kline is not None:
        return kept.known_close(before_us)
    return None
