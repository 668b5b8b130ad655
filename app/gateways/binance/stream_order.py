"""Whether an event is newer than all that its stream has brought before. Pure.

Two connections of one symbol bring everything twice for a while, and what was missed is published
late. Who follows the exchange is used to events that only ever get newer.
"""

from __future__ import annotations

from app.market.events import (
    SECOND_US,
    AggTrade,
    BookTicker,
    DepthUpdate,
    Kline,
    PartialDepth,
    TickerEvent,
    Trade,
)

ANEW_US = 5 * SECOND_US
"""How long older update ids have to come alone until they are taken for ids begun anew."""

Ordered = Trade | AggTrade | BookTicker | DepthUpdate | PartialDepth | Kline | TickerEvent


class NewestFirst:
    """The newest event of one stream. All given to it must be of the same kind and stream."""

    __slots__ = ("_newest",)

    def __init__(self) -> None:
        self._newest: Ordered | None = None

    def passes(self, event: Ordered) -> bool:
        """Tell whether an event may go out, and take it for the newest if so."""
        newest = self._newest
        if newest is not None and not _is_newer(event, newest):
            return False
        self._newest = event
        return True


def _is_newer(event: Ordered, newest: Ordered) -> bool:
    match event, newest:
        case (Trade(id=number, time_us=time_us), Trade() as last) | (
            AggTrade(id=number, time_us=time_us),
            AggTrade() as last,
        ):
            # Match times never go back with rising ids: a lower id at a later time is one of ids
            # that were begun anew, as on a test network that was wiped.
            return number > last.id or time_us > last.time_us
        case (BookTicker(update_id=number), BookTicker(update_id=before)) | (
            DepthUpdate(last_update_id=number) | PartialDepth(last_update_id=number),
            DepthUpdate(last_update_id=before) | PartialDepth(last_update_id=before),
        ):
            return number > before or event.received_us >= newest.received_us + ANEW_US
        case Kline(), Kline():
            # A bar that ends and the one that begins may be told at the same time.
            return _kline_time(event) > _kline_time(newest)
        case _:
            return (event.event_us or 0) > (newest.event_us or 0)


def _kline_time(kline: Kline) -> tuple[int, int]:
    return kline.event_us or 0, kline.open_time_us
