"""The candles of one symbol that are not closed yet: closed seconds, and the trades since."""

from __future__ import annotations

from app.market.bars import BAR_SPANS_US, Bars, candle_of
from app.market.events import SECOND_US, AggTrade, Candle, Trade
from app.market.second import Second
from app.market.sums import Sum
from app.market.view import ONE_SECOND

# A second is closed by then or, inside a hole, not before its repair.
_LONGEST_RUNNING_US = 30 * SECOND_US
# Of the seconds that went on when it began to listen, trades may have come before.
_UNHEARD_US = 2 * SECOND_US


class Forming:
    """Adds up the seconds that go on, by their trades, on top of what `bars` hold.

    It begins with the first second of which it can hear every trade. A trade of a second that is
    closed changes nothing: the candle says what it is.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._running: dict[int, Second] = {}
        self._heard_us = bars.newest_us + SECOND_US + _UNHEARD_US if bars.newest_us >= 0 else -1
        self._event_us = self._received_us = 0

    def add(self, trade: Trade | AggTrade) -> None:
        """Take a trade that was not taken before."""
        second_us = trade.time_us - trade.time_us % SECOND_US
        if self._heard_us < 0:
            self._heard_us = second_us + _UNHEARD_US
        if second_us < self._heard_us:
            return
        second = self._running.get(second_us)
        if second is None:
            if second_us <= self._bars.newest_us:
                return
            second = self._running[second_us] = Second(second_us)
        second.add(trade)
        self._event_us, self._received_us = trade.event_us, trade.received_us

    def close(self, candle: Candle) -> None:
        """Learn that a second is closed."""
        self._running.pop(candle.open_time_us, None)
        self._event_us, self._received_us = candle.event_us, candle.received_us
        for second_us in [each for each in self._running if self._is_stale(each)]:
            del self._running[second_us]

    def _is_stale(self, second_us: int) -> bool:
        return second_us < self._bars.newest_us - _LONGEST_RUNNING_US

    def candle(self, interval: str) -> Candle | None:
        """Return the candle of an interval as far as it has come; `None` while there is none."""
        newest_us = max(self._running, default=-1)
        if interval == ONE_SECOND:
            if newest_us <= self._bars.newest_us:
                return None
            return self._made(interval, newest_us, Sum.of_running(self._running[newest_us]))
        newest_us = max(newest_us, self._bars.newest_us)
        if newest_us < 0:
            return None
        open_us = newest_us - newest_us % BAR_SPANS_US[interval]
        whole = self._bars.so_far(interval, open_us)
        if whole is None:
            return None
        for second_us, second in self._running.items():
            if second_us >= open_us:
                whole.add(Sum.of_running(second))
        return self._made(interval, open_us, whole) if whole.priced else None

    def _made(self, interval: str, open_us: int, whole: Sum) -> Candle:
        return candle_of(
            whole,
            self._bars,
            interval,
            open_us,
            complete=False,
            revision=0,
            event_us=self._event_us,
            received_us=self._received_us,
            forming=True,
        )
