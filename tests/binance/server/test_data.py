"""A market that is all here, as the data behind a server."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.binance.server.data import Immediate
from app.binance.statistics import nothing_traded
from app.market.events import AggTrade, DepthSnapshot, Trade

NOW = 1_784_620_805_000_000
TRADE = Trade("SOLUSDT", 900001, Decimal("182.41"), Decimal("3.2"), NOW, False, NOW, NOW)
AGG_TRADE = AggTrade(
    "SOLUSDT", 510001, Decimal("182.42"), Decimal("3.2"), 900001, 900001, NOW, False, NOW, NOW
)
BOOK = DepthSnapshot("SOLUSDT", 77310042, (("182.38", "61.2"),), (), 1, None, NOW)


class History:
    """A market that tells what it is given, and remembers the call."""

    def __init__(self, trades=(), agg_trades=(), book=None, sums=None):
        self.told_trades, self.told_agg_trades = trades, agg_trades
        self.book, self.sums = book, sums
        self.asked = None

    def symbols(self):
        return {}

    def trades(self, symbol, **asked):
        self.asked = asked
        return self.told_trades

    def agg_trades(self, symbol, **asked):
        self.asked = asked
        return self.told_agg_trades

    def klines(self, symbol, interval, **asked):
        self.asked = {"interval": interval, **asked}
        return ()

    def depth(self, symbol, *, limit):
        return self.book

    def statistics(self, symbol, *, start_us, end_us):
        return self.sums


async def test_calls_are_handed_on_as_they_are():
    """Every bound reaches the market, and its answer comes back."""
    history = History(trades=[TRADE], agg_trades=[AGG_TRADE], book=BOOK)
    data = Immediate(history)
    assert data.symbols() == {}
    assert await data.trades("SOLUSDT", from_id=7, limit=9) == [TRADE]
    assert history.asked == {"from_id": 7, "limit": 9}
    by_time: dict[str, Any] = {"from_id": None, "start_us": 1, "end_us": 2, "limit": 3}
    assert await data.agg_trades("SOLUSDT", **by_time) == [AGG_TRADE]
    assert history.asked == by_time
    bars: dict[str, Any] = {"start_us": 1, "end_us": 2, "offset_us": 3, "limit": 4}
    assert await data.klines("SOLUSDT", "1m", **bars) == ()
    assert history.asked == {"interval": "1m", **bars}
    assert await data.depth("SOLUSDT", limit=5) == BOOK


@pytest.mark.parametrize(
    ("history", "price"),
    [
        pytest.param(History(trades=[TRADE], agg_trades=[AGG_TRADE]), "182.41", id="trades"),
        pytest.param(History(agg_trades=[AGG_TRADE]), "182.42", id="aggregate trades alone"),
        pytest.param(History(), "0", id="nothing"),
    ],
)
async def test_the_price_is_that_of_the_newest_trade(history, price):
    """Of whichever kind of trade the market has."""
    assert await Immediate(history).price("SOLUSDT") == Decimal(price)


async def test_a_symbol_that_never_traded_has_statistics_of_zeros():
    """All that happened is known, so nothing is an answer; a book may be unknown all the same."""
    data = Immediate(History())
    assert await data.statistics("SOLUSDT", start_us=1, end_us=2) == nothing_traded("SOLUSDT", 1, 2)
    assert await data.depth("SOLUSDT", limit=5) is None
    sums = nothing_traded("SOLUSDT", 3, 4)
    told = Immediate(History(sums=sums))
    assert await told.statistics("SOLUSDT", start_us=1, end_us=2) == sums
