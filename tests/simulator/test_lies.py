"""Wrong numbers."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from app.simulator.lies import wrong_kline, wrong_trade
from app.simulator.seeded import SeededMarket
from tests.fakes import a_trade

NOW_US = 1_795_225_200_000_000


def test_a_wrong_trade_is_off_by_a_unit():
    """In price and quantity, and in nothing else."""
    trade = a_trade(price=Decimal("10.50"), quantity=Decimal(3))
    wrong = wrong_trade(trade)
    assert (wrong.price, wrong.quantity) == (Decimal("10.51"), Decimal(4))
    assert replace(wrong, price=trade.price, quantity=trade.quantity) == trade


def test_a_wrong_kline_is_off_in_its_volume():
    """By the same unit each time."""
    market = SeededMarket(7, history_s=60)
    market.begin(NOW_US)
    kline = market.klines("BTCUSDT", "1s", start_us=None, end_us=None, offset_us=0, limit=2)[0]
    wrong = wrong_kline(kline)
    assert wrong == wrong_kline(kline)
    assert wrong.volume - kline.volume == Decimal("0.00001")
    assert replace(wrong, volume=kline.volume) == kline
