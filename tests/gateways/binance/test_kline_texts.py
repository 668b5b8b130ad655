"""Rows of klines that are written once."""

from __future__ import annotations

import msgspec
import pytest

from app.binance.encode import encode_klines
from app.binance.wire import TimeUnit
from app.gateways.binance.kline_texts import KlineTexts
from tests.gateways.binance.exchange import START_US, SmallExchange, trades_of

ROWS = SmallExchange(
    trades_of(START_US, 120), begin_us=START_US, now_us=START_US + 100_500_000
).klines("1s", start_us=None, end_us=None, limit=60)


@pytest.mark.parametrize("unit", list(TimeUnit))
def test_the_texts_are_those_of_the_encoder(unit):
    """Written at first or kept, in either unit, they are the same; the newest is not kept."""
    texts = KlineTexts()
    for rows in (ROWS[:20], ROWS, ROWS[10:], []):
        assert texts(rows, time_unit=unit) == encode_klines(rows, time_unit=unit)
    assert len(texts) == 59


def test_a_row_that_is_another_object_is_written_for_itself():
    """What has changed is another object, and never takes an earlier one's text."""
    texts = KlineTexts()
    for at in range(200):
        changed = [msgspec.structs.replace(ROWS[0], trades=at)]
        assert texts(changed) == encode_klines(changed)


def test_no_more_than_so_many_are_kept():
    """The oldest go first."""
    texts = KlineTexts(most=20)
    for _ in range(3):
        assert texts(ROWS) == encode_klines(ROWS)
        assert len(texts) <= 20
