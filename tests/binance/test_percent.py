from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.percent import percent_decode, query_pairs


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("btcusdt%40trade%2Fethusdt@trade", "btcusdt@trade/ethusdt@trade"),
        ("btcusdt@kline_1d@+08:00", "btcusdt@kline_1d@+08:00"),
        ("%2B08%3A00", "+08:00"),
        ("%E8%BF%99", "\u8fd9"),
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("%ff", "\ufffd"),
        ("\ud800", "?"),
    ],
)
def test_escapes_are_decoded_and_a_plus_stays(text, decoded):
    """Only whole escapes are decoded, a plus is a plus, bad UTF-8 becomes a replacement mark."""
    assert percent_decode(text) == decoded


def test_a_second_question_mark_separates():
    """A query with a second question mark has one pair more."""
    assert query_pairs("streams=a/b?timeUnit=MICROSECOND&x") == [
        ("streams", "a/b"),
        ("timeUnit", "MICROSECOND"),
        ("x", ""),
    ]


@given(st.text())
def test_any_text_can_be_decoded(text):
    """No query and no path raises anything."""
    percent_decode(text)
    query_pairs(text)
