"""Which klines of one symbol and interval go out, and when, made of the hub's own candles. Pure.

A candle that is closed goes out as soon as it is: `x` is true if it is complete, and it goes out
again with each revision. Of one that grows the newest state goes out every two seconds, as the
exchange does it; of a second only what is closed. Candles come in the order of time: one that is
older than the newest sent, and was never sent itself, is left to REST.
"""

from __future__ import annotations

from app.market.events import Candle, Kline
from app.market.intervals import INTERVALS_US
from app.market.view import ONE_SECOND

REVISABLE = 3_600
"""Of so many of the newest candles that were sent, revisions are sent, too."""


class KlineSeries:
    """The klines of one symbol and interval, as whoever follows them has been sent them."""

    def __init__(self, interval: str) -> None:
        self._grows = interval != ONE_SECOND
        self._newest_us = -1  # when the newest opens that was sent closed
        self._sent: dict[int, None] = {}  # when those open, the oldest sent first
        self._growing: Candle | None = None

    def close(self, candle: Candle) -> Kline | None:
        """Take an issue of a closed candle; return what goes out of it."""
        open_us = candle.open_time_us
        if open_us not in self._sent:
            if open_us <= self._newest_us:
                return None
            self._newest_us = open_us
            self._sent[open_us] = None
            if len(self._sent) > REVISABLE:
                del self._sent[next(iter(self._sent))]
        if self._growing is not None and self._growing.open_time_us <= open_us:
            self._growing = None
        return kline_of(candle, closed=candle.complete, event_us=candle.event_us)

    def grow(self, candle: Candle) -> None:
        """Take the newest state of a candle that grows."""
        if self._grows and candle.open_time_us > self._newest_us:
            self._growing = candle

    def due(self, now_us: int) -> Kline | None:
        """Return what is known of the candle that grows; `None` where nothing is, or it is over."""
        growing = self._growing
        if growing is None or growing.open_time_us + INTERVALS_US[growing.interval] <= now_us:
            return None
        return kline_of(growing, closed=False, event_us=now_us)


def kline_of(candle: Candle, *, closed: bool, event_us: int) -> Kline:
    """Return a candle as the exchange says it, made at `event_us`."""
    return Kline(
        symbol=candle.symbol,
        interval=candle.interval,
        open_time_us=candle.open_time_us,
        close_time_us=candle.open_time_us + INTERVALS_US[candle.interval] - 1,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        quote_volume=candle.quote_volume,
        trades=candle.trades,
        taker_buy_volume=candle.taker_buy_volume,
        taker_buy_quote_volume=candle.taker_buy_quote_volume,
        first_trade_id=candle.first_trade_id,
        last_trade_id=candle.last_trade_id,
        closed=closed,
        event_us=event_us,
        received_us=candle.received_us,
    )
