"""Rolling tickers are what the trades of their window make, to the last digit."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.binance.intervals import DAY_US, HOUR_US, MINUTE_US
from app.binance.statistics import Statistics, rolling_window
from app.gateways.binance.asking import Asking
from app.gateways.binance.held_data import HeldData
from app.market.events import SECOND_US
from app.ports import CANDLES, TRADES
from tests.gateways.binance.exchange import SYMBOL, SmallExchange, trades_of
from tests.gateways.binance.held_market import HeldMarket
from tests.gateways.binance.test_held_data import Books

BEGIN_US = 1_731_232_800_000_000 + 40 * MINUTE_US  # when the hub began to follow, at 10:40
LISTED_US = BEGIN_US - 3 * HOUR_US  # the first trade


class Hub:
    """A hub that has followed an exchange for a minute and a half."""

    def __init__(self) -> None:
        now_us = BEGIN_US + 100 * SECOND_US + SECOND_US // 2
        trades = trades_of(LISTED_US, 3 * 3_600 + 300)
        self.exchange = SmallExchange(trades, begin_us=LISTED_US, now_us=now_us)
        self.market = HeldMarket(self.exchange, BEGIN_US)
        self.data = HeldData(
            listed=dict,
            candles=self.market.ring,
            view=self.market.view,
            books=Books(),
            ask=Asking(self.exchange, clock=self.market.clock),
            now_us=self.market.now_us,
            clock=self.market.clock,
        )
        self.market.bus.subscribe(CANDLES, self.data.seen_candle)
        self.market.bus.subscribe(TRADES, self.data.seen_trade)

    async def rolling(self, span_us: int) -> Statistics | None:
        """Ask for a window that ends now."""
        start_us, end_us = rolling_window(self.market.now_us(), span_us)
        return await self.data.statistics(SYMBOL, start_us=start_us, end_us=end_us)


def truth(hub: Hub, start_us: int) -> dict[str, object]:
    """Return what the trades since then make, by the plainest way."""
    known = hub.exchange.until(hub.exchange.now_us)
    inside = [trade for trade in known if trade.time_us >= start_us]
    before = [trade for trade in known if trade.time_us < start_us]
    prices = [trade.price for trade in inside]
    return {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "last": prices[-1],
        "last_quantity": inside[-1].quantity,
        "previous_close": before[-1].price if before else prices[0],
        "volume": sum((trade.quantity for trade in inside), Decimal(0)),
        "quote_volume": sum((trade.price * trade.quantity for trade in inside), Decimal(0)),
        "first_trade_id": inside[0].id,
        "last_trade_id": inside[-1].id,
        "trades": len(inside),
        "last_trade_us": inside[-1].time_us,
    }


@pytest.mark.parametrize("minutes", [1, 5, 59, 60, 61, 125, 24 * 60])
async def test_a_window_is_what_its_trades_make(minutes: int) -> None:
    """Short and long, over whole hours, and over all that there is."""
    hub = Hub()
    found = await hub.rolling(minutes * MINUTE_US)
    assert found is not None
    start_us = (hub.exchange.now_us - minutes * MINUTE_US) // MINUTE_US * MINUTE_US
    for name, value in truth(hub, start_us).items():
        assert getattr(found, name) == value, name
    assert (found.open_time_us, found.close_time_us) == (start_us, hub.exchange.now_us)


async def test_it_rolls_on_without_asking() -> None:
    """What is held serves while minutes and seconds go by."""
    hub = Hub()
    for _ in range(2):  # the second time the running minute is known here
        await hub.rolling(HOUR_US)
        hub.market.move(2.5)
    await hub.rolling(HOUR_US)
    calls = len(hub.exchange.calls)
    for _ in range(30):
        hub.market.move(2.5)
        found = await hub.rolling(HOUR_US)
        assert found is not None
        assert found.trades == truth(hub, found.open_time_us)["trades"]
        assert found.volume == truth(hub, found.open_time_us)["volume"]
    assert len(hub.exchange.calls) == calls


async def test_a_day_so_far_goes_on_until_its_end() -> None:
    """Of `tradingDay` the end is yet to come."""
    hub = Hub()
    midnight_us = hub.exchange.now_us // DAY_US * DAY_US
    found = await hub.data.statistics(SYMBOL, start_us=midnight_us, end_us=midnight_us + DAY_US - 1)
    assert found is not None
    assert found.close_time_us == midnight_us + DAY_US - 1
    assert found.trades == len(hub.exchange.until(hub.exchange.now_us))


@pytest.mark.parametrize(
    ("start_us", "end_us"),
    [
        pytest.param(-HOUR_US + 1, 0, id="within a minute"),
        pytest.param(-HOUR_US, -MINUTE_US, id="over"),
        pytest.param(-2 * DAY_US, 0, id="too long"),
    ],
)
async def test_the_exchange_is_asked_for_other_windows(start_us: int, end_us: int) -> None:
    """Their ends lie within what is only known as a sum."""
    hub = Hub()
    minute_us = hub.exchange.now_us // MINUTE_US * MINUTE_US
    found = await hub.data.statistics(
        SYMBOL, start_us=minute_us + start_us, end_us=hub.exchange.now_us + end_us
    )
    assert found is None


async def test_a_symbol_that_is_not_followed_is_asked_for() -> None:
    """Nothing of it is held."""
    hub = Hub()
    start_us, end_us = rolling_window(hub.exchange.now_us, HOUR_US)
    assert await hub.data.statistics("ETHUSDT", start_us=start_us, end_us=end_us) is None
    assert hub.exchange.calls == []
