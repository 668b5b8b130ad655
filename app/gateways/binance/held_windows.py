"""What traded in windows that begin with a whole minute: the rolling tickers of REST.

A window is added up from klines: whole hours where it holds any, minutes at its two ends, the
running one included. All of them are held, or asked for once and kept; so a ticker that is asked
for again and again costs the exchange next to nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

from app.binance.intervals import DAY_US, HOUR_US, MINUTE_US
from app.binance.statistics import Statistics
from app.gateways.binance.klines import MAX_ASKED, sum_of
from app.market.events import SECOND_US, AggTrade, Kline, Trade
from app.market.sums import Sum

LONGEST_US: Final = DAY_US + MINUTE_US
ABOUT_US: Final = SECOND_US  # a call that asks for a window up to now was made so long ago at most


class AskKlines(Protocol):
    """Who has the klines of a symbol that is followed: `HeldKlines.klines`."""

    def __call__(
        self,
        symbol: str,
        interval: str,
        *,
        start_us: int | None,
        end_us: int | None,
        offset_us: int,
        limit: int,
    ) -> Awaitable[Iterable[Kline]]:
        """Return klines by open time, the running one included; raise `RestRefusal`."""


async def window(
    symbol: str,
    *,
    start_us: int,
    end_us: int,
    now_us: int,
    klines: AskKlines,
    last_trade: Callable[[str], Trade | AggTrade | None],
) -> Statistics | None:
    """Return what traded from `start_us` up to now: `end_us` is about now, or later.

    `None` for what cannot be told exactly: a window that begins within a minute, has ended, or is
    longer than a day; and where no trade's id is known.
    """
    ended = end_us < now_us - ABOUT_US
    if start_us % MINUTE_US or ended or now_us - start_us > LONGEST_US:
        return None

    async def rows(interval: str, from_us: int, until_us: int | None) -> list[Kline]:
        if until_us is not None and from_us >= until_us:
            return []
        end = None if until_us is None else until_us - 1
        found = await klines(
            symbol, interval, start_us=from_us, end_us=end, offset_us=0, limit=MAX_ASKED
        )
        return list(found)

    first_hour_us = -(-start_us // HOUR_US) * HOUR_US
    last_hour_us = now_us // HOUR_US * HOUR_US
    if first_hour_us >= last_hour_us:
        parts = await rows("1m", start_us - MINUTE_US, None)
    else:
        parts = [
            *await rows("1m", start_us - MINUTE_US, first_hour_us),
            *await rows("1h", first_hour_us, last_hour_us),
            *await rows("1m", last_hour_us, None),
        ]
    before = [part for part in parts if part.open_time_us < start_us]
    total = sum_of(part for part in parts if part.open_time_us >= start_us)
    last = last_trade(symbol)
    if last is None or not total.priced or not total.named:
        return None
    # What has traded while klines were asked for counts too.
    bounds = (start_us, max(end_us, last.time_us))
    return _told(symbol, total, last, before[-1] if before else None, bounds)


def _told(
    symbol: str,
    total: Sum,
    last: Trade | AggTrade,
    before: Kline | None,
    bounds: tuple[int, int],
) -> Statistics:
    return Statistics(
        symbol=symbol,
        open=total.open,
        high=total.high,
        low=total.low,
        last=total.close,
        last_quantity=last.quantity,
        previous_close=total.open if before is None else before.close,
        volume=total.volume,
        quote_volume=total.quote_volume,
        open_time_us=bounds[0],
        close_time_us=bounds[1],
        first_trade_id=total.first_trade_id,
        last_trade_id=total.last_trade_id,
        trades=total.trades,
        last_trade_us=last.time_us,
    )
