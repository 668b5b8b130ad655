"""Tests of app.market.second."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from app.market.events import Kline, Trade
from app.market.second import Agreement, Second

S = 1_000_000
D = Decimal


def filled() -> Second:
    """Return a second of two trades, ids 7 and 8."""
    second = Second(S)
    second.add_any(7, 7, D("0.00001234"), D("0.12345"), maker=False)
    second.add_following([Trade("SYMBOL", 8, D("0.00001235"), D("0.12345"), S, True, S, S)])
    return second


EQUAL = Kline(
    "SYMBOL",
    "1s",
    S,
    2 * S - 1,
    D("0.00001234"),
    D("0.00001235"),
    D("0.00001234"),
    D("0.00001235"),
    D("0.24690"),
    D("0.0000030479805"),
    2,
    D("0.12345"),
    D("0.000001523373"),
    7,
    8,
    closed=True,
    event_us=None,
    received_us=0,
)


def test_equal_numbers_agree():
    """Equal means numerically equal, whatever the digits."""
    assert filled().compare(EQUAL) is Agreement.EQUAL
    assert filled().compare(replace(EQUAL, volume=D("0.2469"))) is Agreement.EQUAL


@pytest.mark.parametrize(
    ("quote_volume", "agreement"),
    [
        ("0.00000304", Agreement.ROUNDED),
        ("0.00000306", Agreement.ROUNDED),
        ("0.00000307", Agreement.DIFFERENT),
    ],
)
def test_quote_volumes_may_be_a_step_apart_for_each_trade(quote_volume: str, agreement: Agreement):
    """The exchange's quote volume of two trades may be two steps of 1e-8 away, no more."""
    assert filled().compare(replace(EQUAL, quote_volume=D(quote_volume))) is agreement


@pytest.mark.parametrize(
    "change",
    [
        {"open": D(1)},
        {"high": D(1)},
        {"low": D(1)},
        {"close": D(1)},
        {"volume": D(1)},
        {"trades": 3},
        {"taker_buy_volume": D(1)},
        {"taker_buy_quote_volume": D(1)},
        {"first_trade_id": 6},
        {"last_trade_id": 9},
    ],
    ids=str,
)
def test_any_other_number_is_a_difference(change: dict[str, object]):
    """Each number of the exchange's counts."""
    assert filled().compare(replace(EQUAL, **change)) is Agreement.DIFFERENT


def test_a_kline_without_ids_is_compared_by_its_numbers():
    """A kline from REST names no ids, so there is nothing to compare them with."""
    from_rest = replace(EQUAL, first_trade_id=-1, last_trade_id=-1, from_rest=True)
    assert filled().compare(from_rest) is Agreement.EQUAL


def test_the_close_that_it_hands_on():
    """Its own close once it is proved; before that the exchange's, if that is known."""
    second = filled()
    assert second.known_close == D("0.00001235")
    second.kline = replace(EQUAL, close=D(9))
    assert second.known_close == D(9)
    second.proved = True
    assert second.known_close == D("0.00001235")
    empty = Second(S)
    assert empty.known_close is None
    empty.carry(D(3))
    assert empty.known_close == D(3)
