"""Which klines of one symbol and interval go out, and when, made of the hub's own candles. Pure.

A candle that is closed goes out as soon as it is: `x` is true if it is complete, and it goes out
again with each revision. Of one that grows the newest state goes out every two seconds, as the
exchange does it; of a second only what is closed.

Seconds come in the order of time. Where one is missing, as its trades are being repaired, those
behind it wait for it a little; what comes later than that is left to REST, and so is what is old.
"""

from __future__ import annotations

from app.market.events import SECOND_US, Candle, Kline
from app.market.intervals import INTERVALS_US
from app.market.view import ONE_SECOND

REVISABLE = 3_600
"""Of so many of the newest candles that were sent, revisions are sent, too."""

HOLD_US = 4 * SECOND_US
"""How long seconds wait for one before them: then the hub has told what it knows of that."""

OLD_US = 60 * SECOND_US
"""A second that ended so long ago and was never sent is not sent: some clients lose all in a flood.
"""


class SentKlines:
    """The klines of one symbol and interval, as whoever follows them has been sent them.

    `now_us` is the exchange's time throughout.
    """

    def __init__(self, interval: str) -> None:
        self._grows = interval != ONE_SECOND
        self._newest_us = -1  # when the newest opens that was sent closed
        self._last_id = -1  # of the trades up to there
        self._sent: dict[int, None] = {}  # when those open, the oldest sent first
        self._growing: Candle | None = None
        self._held: dict[int, Candle] = {}  # seconds that wait for one before them
        self._held_since_us = 0

    def close(self, candle: Candle, now_us: int) -> list[Kline]:
        """Take an issue of a closed candle; return what goes out now, in order."""
        open_us = candle.open_time_us
        if open_us in self._sent:
            return [self._issue(candle, now_us)]
        if open_us <= self._newest_us:
            return []
        if self._grows:
            return [self._issue(candle, now_us)]
        if open_us + SECOND_US + OLD_US < now_us:
            return []
        if not self._held:
            self._held_since_us = now_us
        self._held[open_us] = candle
        return self.release(now_us)

    def release(self, now_us: int) -> list[Kline]:
        """Return the seconds that need not wait any longer, in order."""
        released: list[Kline] = []
        while self._held:
            first = self._held[min(self._held)]
            waited_us = now_us - self._held_since_us
            if not self._is_next(first) and waited_us < HOLD_US:
                break
            del self._held[first.open_time_us]
            released.append(self._issue(first, now_us))
            if waited_us < HOLD_US:
                self._held_since_us = now_us
        return released

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

    def _is_next(self, candle: Candle) -> bool:
        """Whether nothing is missing between the newest second that was sent and this one.

        Where empty seconds are left out, the ids of the trades tell it.
        """
        if self._newest_us < 0 or candle.open_time_us == self._newest_us + SECOND_US:
            return True
        return candle.trades > 0 and candle.first_trade_id == self._last_id + 1

    def _issue(self, candle: Candle, now_us: int) -> Kline:
        open_us = candle.open_time_us
        if open_us > self._newest_us:
            self._newest_us = open_us
            self._sent[open_us] = None
            if len(self._sent) > REVISABLE:
                del self._sent[next(iter(self._sent))]
        if candle.trades and open_us == self._newest_us:
            self._last_id = candle.last_trade_id
        if self._growing is not None and self._growing.open_time_us <= open_us:
            self._growing = None
        # What was settled by REST alone may have no time of the exchange's, or one that is guessed.
        end_us = open_us + INTERVALS_US[candle.interval]
        event_us = max(end_us, candle.event_us or now_us)
        return kline_of(candle, closed=candle.complete, event_us=event_us)


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
