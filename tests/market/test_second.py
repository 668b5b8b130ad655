"""Tests of app.market.second."""

from __future__ import annotations

from itertools import permutations

import pytest
from msgspec.structs import replace

from app.market.events import Kline, Trade
from app.market.second import Agreement, Second, agree
from tests.fakes import a_candle
from tests.market.truth import D, S, aggregate, from_rest, kline_of, numbers, trade

NUMBERS = (
    "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
    "taker_buy_quote_volume", "first_trade_id", "last_trade_id",
)  # fmt: skip


def filled() -> Second:
    """Return a second of two trades, ids 7 and 8."""
    second = Second(S)
    second.add(Trade("SYMBOL", 7, D("0.00001234"), D("0.12345"), S, False, S, S))
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
    assert filled().compare(from_rest(EQUAL)) is Agreement.EQUAL


def test_klines_of_both_sources_can_be_compared():
    """REST's kline and the stream's agree when all numbers but the ids are equal."""
    assert agree(EQUAL, from_rest(EQUAL))
    assert not agree(EQUAL, from_rest(replace(EQUAL, taker_buy_quote_volume=D(1))))


def test_ids_are_compared_where_both_tell_them():
    """A second whose trades were counted anew tells no ids, so there is nothing to compare."""
    second = filled()
    second.begin_anew()
    assert second.renumbered
    assert second.compare(EQUAL) is Agreement.EQUAL
    assert Second(S).compare(EQUAL) is Agreement.DIFFERENT


def test_any_order_gives_the_same_sums():
    """Open and close belong to the smallest and the largest id, whatever comes first."""
    trades = [trade(5, 1, "3", maker=True), trade(6, 1, "1"), trade(7, 1, "4"), trade(8, 1, "2")]
    for order in permutations(trades):
        second = Second(S)
        for each in order:
            second.add(each)
        assert second.compare(kline_of(trades, 1)) is Agreement.EQUAL


def test_an_aggregate_is_all_its_trades():
    """An aggregate counts its trades, with the smallest and the largest of their ids."""
    trades = [trade(5, 1, "3", "2"), trade(6, 1, "3", "4")]
    second = Second(S)
    second.add(aggregate(trades))
    assert second.compare(kline_of(trades, 1)) is Agreement.EQUAL


def test_trades_that_follow_are_added_as_any():
    """Adding the next ones in one go gives what adding each of them gives."""
    trades = [trade(5, 1, "3"), trade(6, 1, "1", maker=True), trade(7, 1, "4"), trade(8, 1, "4")]
    second = Second(S)
    second.add(trades[0])
    second.add_following(trades[1:])
    assert second.compare(kline_of(trades, 1)) is Agreement.EQUAL


def test_ids_that_begin_anew_follow():
    """Smaller ids that the exchange counts anew come behind those of before."""
    second = filled()
    second.begin_anew()
    second.add(trade(1, 1, "9"))
    assert (second.open, second.close, second.trades) == (EQUAL.open, D(9), 3)


def test_the_exchanges_numbers_can_be_taken():
    """A second that adopts a kline has its numbers, and the ids that were found for it."""
    second = Second(S)
    second.adopt(EQUAL, 7, 8)
    assert second.compare(EQUAL) is Agreement.EQUAL
    assert (second.adopted, second.carried) == (True, False)
    second.adopt(kline_of([], 1, carried="5"), -1, -1)
    assert (second.close, second.trades, second.carried) == (D(5), 0, True)


def test_sums_can_be_forgotten():
    """A cleared second has no trade, and keeps what was published and what proves it."""
    second = filled()
    second.proved, second.revisions = True, 2
    second.clear()
    assert (second.trades, second.volume, second.first_id, second.carried) == (0, 0, -1, False)
    assert (second.proved, second.revisions, second.known_close) == (True, 2, None)


def test_what_went_out_is_decided():
    """A second is decided once it was issued, by another run of the hub too, or left out."""
    plain, issued, skipped = Second(S), Second(S), Second(S)
    issued.revisions = 1
    skipped.skipped = True
    assert [each.decided for each in (plain, issued, skipped)] == [False, True, True]


def test_a_disputed_second_is_not_complete():
    """A proof counts unless the exchange's kline says otherwise."""
    plain, proved, disputed = filled(), filled(), filled()
    proved.proved = disputed.proved = disputed.disputed = True
    assert [each.complete for each in (plain, proved, disputed)] == [False, True, False]


@pytest.mark.parametrize(
    "change",
    [
        {"open": D(1)}, {"high": D(1)}, {"low": D(1)}, {"close": D(1)}, {"volume": D(1)},
        {"quote_volume": D(1)}, {"trades": 3}, {"taker_buy_volume": D(1)},
        {"taker_buy_quote_volume": D(1)}, {"first_trade_id": 6}, {"last_trade_id": 9},
        {"complete": True},
    ],
    ids=str,
)  # fmt: skip
def test_an_issue_differs_in_any_number(change: dict[str, object]):
    """A candle that said anything else than what is known now is to be issued again."""
    said = dict(zip(NUMBERS, numbers(EQUAL), strict=True))
    issue = a_candle("SYMBOL", **said, complete=False)
    second = filled()
    assert not second.differs(issue)
    assert second.differs(replace(issue, **change))


def test_the_close_that_it_hands_on():
    """Its own close once it is proved; before that the exchange's, if that is known.

    None while the two contradict each other.
    """
    ours = filled()
    theirs, disputed, proved = filled(), filled(), filled()
    for each in (theirs, disputed, proved):
        each.kline = replace(EQUAL, close=D(9))
    disputed.disputed = proved.disputed = proved.proved = True
    closes = [each.known_close for each in (ours, theirs, disputed, proved)]
    assert closes == [EQUAL.close, D(9), None, EQUAL.close]
    empty, carried = Second(S), Second(S)
    carried.carry(D(3))
    assert [empty.known_close, carried.known_close] == [None, D(3)]
