"""How each kind of fault shows in what a hub tells: in a number, and in an event or a log line.

One of each is enough: when several faults meet, which of them is told depends on which was first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from app.market.events import ExchangeRefusal, HoleFound, StatusEvent, StreamLost
from app.simulator.faults import Kind
from tests.faults.scenario import Notices


class Signs(NamedTuple):
    """Any of some numbers must have changed, and any of some events or log lines have come.

    With none named, nothing need be told.
    """

    numbers: tuple[str, ...]
    told: tuple[type[StatusEvent] | str, ...]


# Before its first data a connection is lost without an event.
RECONNECTED = Signs(("reconnects",), (StreamLost, "replaced its connection", "state=waiting"))
MISSED = Signs(
    ("stalls", "holes_found", "kline_missing"), (StreamLost, HoleFound, "candles missing")
)
REFUSED = Signs(
    ("exchange.refusals", "exchange.failures"),
    (ExchangeRefusal, "state=waiting", "failed symbol=", "not available", "not served"),
)
SIGNS = {
    Kind.CLOSE: RECONNECTED,
    Kind.RESET: RECONNECTED,
    Kind.CUT: RECONNECTED,
    Kind.HALF_OPEN: RECONNECTED,
    Kind.SERVER_SHUTDOWN: Signs(("reconnects",), ("about to close the connection",)),
    Kind.GARBAGE: Signs(("bad_frames", "reconnects"), ("bad frame", StreamLost)),
    Kind.ID_JUMP: Signs(("never_existed",), ("ids never existed",)),
    Kind.STALL: MISSED,
    Kind.ACK_SILENT: MISSED,
    Kind.DROP: Signs(("holes_found", "kline_missing"), (HoleFound, "candles missing")),
    Kind.DELAY: Signs(("old_events",), ()),  # if all are as late, nothing is missing
    Kind.REORDER: Signs(("holes_found", "old_events"), ()),  # of candles alone it leaves no hole
    Kind.BAD_TRADE: Signs(("bad_frames",), ("bad frame",)),
    Kind.TRADE_WRONG: Signs(("audit.recounts",), ("trades counted again",)),
    Kind.KLINE_WRONG: Signs(("kline_wrong",), ("trades counted again", "candle disputed")),
    Kind.REST_STATUS: REFUSED,
    Kind.DIAL_STATUS: REFUSED,
}
"""Not here, as they can do no harm: `REST_LAG` while nothing is asked for, a `DUPLICATE` candle."""

HEARD: dict[Kind, Callable[[Notices], int]] = {
    Kind.KLINE_WRONG: Notices.wrong_klines,  # it may be told over a silent connection alone
    Kind.ID_JUMP: Notices.jumps,  # a quiet symbol may not have traded since
}
"""How often a fault has reached a hub, where it can strike without doing so."""


def untold(notices: Notices, struck: Iterable[str]) -> list[str]:
    """Return the kinds of faults that struck and do not show."""
    unseen: list[str] = []
    for kind in map(Kind, sorted(struck)):
        signs = SIGNS.get(kind)
        if signs is None or (kind in HEARD and not HEARD[kind](notices)):
            continue
        if not any(map(notices.changed, signs.numbers)):
            unseen.append(f"{kind} changed no number")
        if signs.told and not any(map(notices.told, signs.told)):
            unseen.append(f"{kind} was not told")
    return unseen
