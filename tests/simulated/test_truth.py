"""The truth about candles."""

from __future__ import annotations

from decimal import Decimal

from app.market.events import SECOND_US
from tests.fakes import START_US, a_trade
from tests.simulated.truth import NUMBERS, candles_of

END_US = START_US + 4 * SECOND_US
TRADES = [
    a_trade(id=7, price=Decimal(10), quantity=Decimal(2), time_us=START_US + SECOND_US),
    a_trade(
        id=8,
        price=Decimal(12),
        quantity=Decimal(1),
        time_us=START_US + 2 * SECOND_US - 1,
        buyer_is_maker=False,
    ),
    a_trade(id=9, price=Decimal(11), quantity=Decimal(4), time_us=START_US + 3 * SECOND_US),
]


def test_a_second_is_the_sum_of_its_trades():
    """Open and close by their order, what the takers bought apart, the ids of the ends."""
    candles = candles_of(TRADES, close=None, begin_us=START_US, end_us=END_US)
    second = dict(zip(NUMBERS, candles[START_US + SECOND_US], strict=True))
    assert second == {
        "open": 10,
        "high": 12,
        "low": 10,
        "close": 12,
        "volume": 3,
        "quote_volume": 32,
        "trades": 2,
        "taker_buy_volume": 1,
        "taker_buy_quote_volume": 12,
        "first_trade_id": 7,
        "last_trade_id": 8,
    }


def test_empty_seconds_carry_the_price_before_them():
    """Where it is known; the seconds before the first trade are left out where it is not."""
    known = candles_of(TRADES, close=Decimal(9), begin_us=START_US, end_us=END_US + SECOND_US)
    assert {(us - START_US) // SECOND_US: numbers[3] for us, numbers in known.items()} == {
        0: 9,
        1: 12,
        2: 12,
        3: 11,
        4: 11,
    }
    assert known[START_US] == (9, 9, 9, 9, 0, 0, 0, 0, 0, -1, -1)
    unknown = candles_of(TRADES, close=None, begin_us=START_US, end_us=END_US)
    assert min(unknown) == START_US + SECOND_US
    assert candles_of([], close=None, begin_us=START_US, end_us=END_US) == {}
