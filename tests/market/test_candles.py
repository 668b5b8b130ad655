"""Tests of app.market.candles."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.market.candles import CandleAggregator
from app.market.events import AggTrade, Candle, Kline, Trade
from app.market.position import Position
from tests.market.repairing import Repairing
from tests.market.truth import (
    D,
    Exchange,
    S,
    aggregate,
    from_rest,
    kline_of,
    newest,
    numbers,
    trade,
)

FAR = 10_000 * S


def feed(events: Iterable[Trade | Kline | AggTrade], *, end: bool = False) -> list[Candle]:
    """Give events to a new aggregator and return everything that it issues."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    candles: list[Candle] = []
    for event in events:
        candles += take(aggregator, event)
    if end:
        candles += aggregator.close_due(FAR, event_us=FAR, received_us=FAR)
    return candles


def take(aggregator: CandleAggregator, event: Trade | Kline | AggTrade) -> Sequence[Candle]:
    """Give one event of any kind."""
    if isinstance(event, Trade):
        return aggregator.add(event) or ()
    if isinstance(event, AggTrade):
        return aggregator.add_aggregate(event) or ()
    return aggregator.add_kline(event)


# Rule 1: trades prove.


def test_a_kline_whose_ids_are_not_as_many_as_its_trades_names_none():
    """A wrong number must not make millions of ids missing; the second closes by its trades."""
    trades = [trade(5_000_001, 1), trade(5_000_002, 2), trade(5_000_003, 3)]
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in trades[:2]:
        aggregator.add(each)
    wrong = replace(kline_of(trades, 2), first_trade_id=7)
    assert aggregator.add_kline(wrong) == []
    assert aggregator.ledger.holes() == []
    (candle,) = aggregator.add(trades[2]) or ()
    assert not candle.complete  # as long as it is not settled which of the two is right
    assert list(aggregator.disputed) == [2 * S]


def test_a_later_trade_closes_the_second_before_it_exactly():
    """A trade of a later second closes the one before, complete if an earlier one was seen."""
    candles = feed([trade(1, 1), trade(2, 2, "11", "2"), trade(3, 2.5, "9"), trade(4, 3)])
    (candle,) = candles
    assert candle.open_time_us == 2 * S
    assert numbers(candle)[:6] == (D(11), D(11), D(9), D(9), D(3), D(31))
    assert (candle.trades, candle.first_trade_id, candle.last_trade_id) == (2, 2, 3)
    assert candle.complete
    assert candle.revision == 0


def test_the_second_of_the_first_trade_is_never_proved_by_trades():
    """What came before the first trade is unknown, so its second is not issued as complete."""
    candles = feed([trade(1, 1), trade(2, 2), trade(3, 3)], end=True)
    assert {at: c.complete for at, c in newest(candles).items()} == {1: False, 2: True, 3: False}


def test_empty_seconds_between_trades_are_candles():
    """Seconds without a trade between two consecutive ids carry the close before them."""
    found = newest(feed([trade(1, 1), trade(2, 2, "7"), trade(3, 5)]))
    assert sorted(found) == [2, 3, 4]
    for at in (3, 4):
        assert numbers(found[at]) == (D(7),) * 4 + (0, 0, 0, 0, 0, -1, -1)
        assert found[at].complete


def test_a_missing_id_stops_the_proof_until_it_is_there():
    """Nothing is proved across a missing id; when it comes, every second behind it is."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in (trade(1, 1), trade(2, 2), trade(4, 4), trade(5, 5)):
        assert [c.open_time_us for c in take(aggregator, each)] in ([], [2 * S])
    late = take(aggregator, trade(3, 3))
    assert [(c.open_time_us // S, c.complete) for c in late] == [(2, True), (3, True), (4, True)]


def test_an_older_hole_elsewhere_does_not_matter():
    """A hole far back does not keep newer seconds from being proved."""
    found = newest(feed([trade(1, 1), trade(9, 5), trade(10, 6), trade(11, 7)]))
    assert {at: c.complete for at, c in found.items()} == {6: True}


def test_the_last_id_of_a_kline_serves_as_the_trade_of_an_earlier_second():
    """A range that begins right after the last id of an earlier kline is proved from there."""
    lost = [trade(7, 1), trade(8, 1.5)]
    found = newest(feed([kline_of(lost, 1), trade(9, 2), trade(10, 3)]))
    assert {at: c.complete for at, c in found.items()} == {2: True}


def test_an_empty_second_that_its_kline_proved_does_not_end_the_proof():
    """Seconds before an empty one that its kline has proved are proved by trades all the same."""
    trades = [trade(1, 1), trade(2, 2), trade(3, 5)]
    found = newest(feed([*trades[:2], kline_of([], 4, carried="10"), trades[2]]))
    assert {at: c.complete for at, c in found.items()} == {2: True, 3: True, 4: True}


def test_a_long_silence_without_a_known_price_is_not_published():
    """If the last trade before it had to be given up, nothing is carried."""
    aggregator = CandleAggregator(
        "SYMBOL", source="test", keep_seconds=2, most_waiting=0, backfill_seconds=10
    )
    for event in (trade(1, 1), trade(2, 2), trade(3, 3), kline_of([], 9, carried="10")):
        take(aggregator, event)
    assert aggregator.last_trade_id == 2
    assert list(take(aggregator, trade(3, 100))) == []


def test_a_long_silence_is_published_as_far_back_as_the_backfill_goes():
    """After a silence longer than the backfill, only that many empty seconds go out."""
    aggregator = CandleAggregator("SYMBOL", source="test", keep_seconds=10, backfill_seconds=10)
    take(aggregator, trade(1, 1, "7"))
    candles = take(aggregator, trade(2, 1_000_000))
    assert [c.open_time_us // S for c in candles] == list(range(999_990, 1_000_000))
    assert {(c.close, c.complete) for c in candles} == {(D(7), True)}


# Rule 2: the kline proves.


def test_a_kline_closes_its_second_once_its_ids_are_held():
    """The kline closes its second at once when all ids that it names are held."""
    trades = [trade(1, 1), trade(2, 1.2, "12")]
    candles = feed([*trades, kline_of(trades, 1)])
    assert [(c.open_time_us // S, c.complete, c.revision) for c in candles] == [(1, True, 0)]


def test_a_kline_before_its_last_trade_waits_for_it():
    """A kline that overtakes a trade proves nothing until that trade is here."""
    trades = [trade(1, 1), trade(2, 1.2, "12")]
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, trades[0])
    assert aggregator.add_kline(kline_of(trades, 1)) == []
    (candle,) = take(aggregator, trades[1])
    assert candle.complete
    assert numbers(candle) == numbers(kline_of(trades, 1))
    assert (aggregator.verified, aggregator.mismatched) == (1, 0)


def test_a_kline_without_trades_proves_an_empty_second():
    """An empty kline whose price is our close closes its second, complete."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    trades = [trade(1, 1, "5")]
    take(aggregator, trades[0])
    aggregator.add_kline(kline_of(trades, 1))
    (candle,) = aggregator.add_kline(kline_of([], 2, carried="5"))
    assert candle.complete
    assert numbers(candle) == (D(5),) * 4 + (0, 0, 0, 0, 0, -1, -1)


def test_the_last_trade_before_an_empty_second_settles_its_kline():
    """An empty kline that overtakes the trade whose price it carries is proved with that trade."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in (trade(1, 1), trade(2, 2, "5")):
        take(aggregator, each)
    assert aggregator.add_kline(kline_of([], 3, carried="6")) == []
    (candle,) = take(aggregator, trade(3, 2.5, "6"))
    assert (candle.open_time_us, candle.complete, candle.close) == (3 * S, True, D(6))


def test_a_kline_from_rest_proves_by_its_count():
    """A kline from REST names no ids: it proves its second once as many trades are held."""
    trades = [trade(1, 1), trade(2, 1.2, "12")]
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, trades[0])
    assert aggregator.add_kline(from_rest(kline_of(trades, 1))) == []
    (candle,) = take(aggregator, trades[1])
    assert candle.complete
    assert numbers(candle) == numbers(kline_of(trades, 1))
    assert (aggregator.klines, aggregator.kline_missing, aggregator.verified) == (0, 1, 1)


def test_a_kline_of_the_stream_replaces_one_from_rest():
    """The stream's own kline takes the place of REST's, and not the other way round."""
    kline = kline_of([trade(1, 1), trade(2, 1.2, "12")], 1)
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, trade(1, 1))
    aggregator.add_kline(from_rest(kline))
    assert aggregator.ledger.holes() == []
    aggregator.add_kline(kline)
    assert len(aggregator.ledger.holes()) == 1
    assert list(aggregator.add_kline(from_rest(kline))) == []
    assert (aggregator.klines, aggregator.kline_late, aggregator.kline_missing) == (1, 1, 0)


def test_a_kline_from_rest_is_compared_without_ids():
    """A second that trades have proved is verified by a kline from REST too."""
    trades = [trade(1, 1), trade(2, 2), trade(3, 3)]
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in trades:
        take(aggregator, each)
    assert aggregator.add_kline(from_rest(kline_of(trades, 2))) == []
    assert (aggregator.verified, aggregator.mismatched) == (1, 0)


def test_a_kline_supplies_the_close_before_the_first_trade():
    """Before any trade, the exchange's own empty kline is published as it is."""
    (candle,) = feed([kline_of([], 4, carried="5")])
    assert candle.complete
    assert candle.close == 5


def test_an_empty_second_that_its_kline_proved_keeps_its_price():
    """A late trade before it, at another price, does not touch what a kline has proved."""
    candles = feed([kline_of([], 2, carried="2"), trade(1, 1, "3")])
    assert [(c.open_time_us // S, c.close, c.revision) for c in candles] == [(2, D(2), 0)]


def test_an_empty_kline_at_another_price_means_a_hole_before_it():
    """An empty kline whose price is not our close is not proved: trades are missing before it."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, trade(1, 1, "5"))
    assert aggregator.add_kline(kline_of([], 2, carried="6")) == []
    (after,) = aggregator.add_kline(kline_of([], 3, carried="6"))
    assert (after.open_time_us, after.complete) == (3 * S, True)
    due = aggregator.close_due(FAR, event_us=FAR, received_us=FAR)
    assert {(c.open_time_us // S, c.complete, c.close) for c in due} == {
        (1, False, D(5)),
        (2, False, D(6)),
    }


def test_a_kline_with_other_numbers_is_no_proof():
    """A kline that names held ids but has other numbers is counted and proves nothing."""
    trades = [trade(1, 1), trade(2, 1.2, "12")]
    other = [trade(1, 1), trade(2, 1.2, "13")]
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in trades:
        take(aggregator, each)
    assert aggregator.add_kline(kline_of(other, 1)) == []
    assert aggregator.disputed == (1 * S,)
    (candle,) = aggregator.close_due(FAR, event_us=FAR, received_us=FAR)
    assert not candle.complete


def test_a_kline_after_the_proof_is_compared():
    """A second that trades had proved is verified when its kline comes, and not issued again."""
    trades = [trade(1, 1), trade(2, 2), trade(3, 3)]
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in trades:
        take(aggregator, each)
    assert aggregator.add_kline(kline_of(trades, 2)) == []
    assert aggregator.verified == 1


def test_quote_volumes_finer_than_the_exchange_shows_are_rounding():
    """Products finer than 8 decimals may differ from the kline by a step a trade: counted apart."""
    trades = [trade(1, 1, "0.00001234", "0.12345"), trade(2, 1.1, "0.00001235", "0.12345")]
    kline = replace(
        kline_of(trades, 1), quote_volume=D("0.00000304"), taker_buy_quote_volume=D("0.00000305")
    )
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in trades:
        take(aggregator, each)
    (candle,) = aggregator.add_kline(kline)
    assert candle.complete
    assert (aggregator.verified, aggregator.rounding, aggregator.mismatched) == (1, 1, 0)


def test_a_forming_kline_is_ignored():
    """Only closed klines count."""
    trades = [trade(1, 1)]
    forming = replace(kline_of(trades, 1), closed=False)
    assert feed([*trades, forming]) == []


# Rule 3: time.


def test_time_closes_a_second_unproved_and_the_proof_reissues_it():
    """After the grace a second goes out incomplete, and again, one revision up, when proved."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in (trade(1, 1), trade(2, 2)):
        take(aggregator, each)
    first = aggregator.close_due(3 * S, event_us=9, received_us=8)
    assert [(c.open_time_us // S, c.complete, c.revision) for c in first] == [
        (1, False, 0),
        (2, False, 0),
    ]
    assert (first[0].event_us, first[0].received_us) == (9, 8)
    (again,) = take(aggregator, trade(3, 3))
    assert (again.open_time_us // S, again.complete, again.revision) == (2, True, 1)
    assert (aggregator.complete, aggregator.incomplete, aggregator.revised) == (1, 1, 1)


def test_time_does_not_close_a_second_before_its_end():
    """A second is left open until the due time has reached its end."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, trade(1, 1))
    assert list(aggregator.close_due(2 * S - 1, event_us=0, received_us=0)) == []
    assert len(aggregator.close_due(2 * S, event_us=0, received_us=0)) == 1


def test_a_late_trade_reissues_the_candle_and_the_empty_ones_behind_it():
    """A late trade that changes a close changes the empty seconds that carry it."""
    trades = [trade(1, 1, "5"), trade(2, 1.5, "6")]
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, trades[0])
    aggregator.add_kline(kline_of([trade(2, 4)], 4))
    due = newest(aggregator.close_due(4 * S, event_us=0, received_us=0))
    assert {at: c.close for at, c in due.items()} == {1: D(5), 2: D(5), 3: D(5)}
    late = newest([*due.values(), *take(aggregator, trade(2, 1.5, "6"))])
    assert {at: (c.close, c.revision) for at, c in late.items()} == {
        1: (D(6), 1),
        2: (D(6), 1),
        3: (D(6), 1),
    }


def test_time_closes_an_empty_second_only_behind_a_later_kline():
    """An empty second stays open until a later kline is here, unless the source has none."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, trade(1, 1))
    assert [
        c.open_time_us // S for c in aggregator.close_due(5 * S, event_us=0, received_us=0)
    ] == [1]
    found = aggregator.close_due(5 * S, event_us=0, received_us=0, without_klines=True)
    assert [(c.open_time_us // S, c.complete) for c in found] == [
        (2, False),
        (3, False),
        (4, False),
    ]


def test_an_empty_second_inside_a_hole_is_not_invented():
    """A second without a trade, between trades with ids missing, stays unpublished."""
    trades = [trade(1, 1), trade(5, 4)]
    found = newest(feed([*trades, kline_of(trades[1:], 4)], end=True))
    assert sorted(found) == [1, 4]


def test_a_second_whose_trades_were_all_lost_is_not_published():
    """A kline that names trades of which none is held leaves its second unpublished."""
    lost = [trade(2, 2)]
    found = newest(
        feed([trade(1, 1), kline_of(lost, 2), trade(3, 3), kline_of([trade(3, 3)], 3)], end=True)
    )
    assert sorted(found) == [1, 3]
    assert found[3].complete


@pytest.mark.parametrize(
    "later",
    [
        pytest.param([kline_of([trade(9, 3)], 3)], id="a-kline-names-a-later-id"),
        pytest.param([kline_of([], 3, carried="12")], id="a-kline-carries-another-price"),
        pytest.param(
            [kline_of([], 3, carried="10"), kline_of([trade(9, 4)], 4)],
            id="a-kline-behind-one-that-carries-our-price-names-a-later-id",
        ),
    ],
)
def test_an_empty_second_that_klines_put_into_a_hole_is_not_invented(later: list[Kline]):
    """Where klines alone tell that ids are missing, seconds without a trade stay unpublished."""
    found = newest(feed([kline_of([trade(5, 1)], 1), *later], end=True))
    assert 2 not in found


@pytest.mark.parametrize("known", [trade(5, 1), kline_of([trade(5, 1)], 1)], ids=["trade", "kline"])
def test_a_kline_can_show_that_a_second_taken_for_a_hole_is_empty(known: Trade | Kline):
    """Once a kline names the id that follows the last known one, time closes what lies between."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in (known, kline_of([], 3, carried="10"), trade(7, 4)):
        take(aggregator, each)
    due = aggregator.close_due(5 * S, event_us=0, received_us=0)
    assert 2 not in newest(due)
    aggregator.add_kline(kline_of([trade(6, 4), trade(7, 4)], 4))
    (empty,) = aggregator.close_due(5 * S, event_us=0, received_us=0)
    assert (empty.open_time_us, empty.trades, empty.complete) == (2 * S, 0, False)


def test_a_late_kline_can_show_that_a_second_taken_for_a_hole_is_empty():
    """A kline that comes out of order lets time decide again about the seconds before it."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    aggregator.add_kline(kline_of([], 1, carried="5"))
    aggregator.add_kline(kline_of([], 4, carried="6"))
    assert list(aggregator.close_due(FAR, event_us=0, received_us=0)) == []
    aggregator.add_kline(kline_of([], 3, carried="5"))
    (empty,) = aggregator.close_due(FAR, event_us=0, received_us=0)
    assert (empty.open_time_us, empty.close) == (2 * S, D(5))


def test_empty_seconds_can_be_left_out():
    """With carry_empty false, seconds without a trade are not candles."""
    aggregator = CandleAggregator("SYMBOL", source="test", carry_empty=False)
    candles = [c for t in (trade(1, 1), trade(2, 2), trade(3, 9)) for c in take(aggregator, t)]
    assert [c.open_time_us // S for c in candles] == [2]


def test_what_is_older_than_the_kept_seconds_changes_nothing():
    """A trade for a second that is kept no longer is counted, and changes nothing."""
    aggregator = CandleAggregator("SYMBOL", source="test", keep_seconds=10, backfill_seconds=20)
    for at in range(1, 40):
        take(aggregator, trade(at + 1, at))
    assert list(take(aggregator, trade(1, 1))) == []
    assert aggregator.too_late == 1


def test_the_open_second_can_be_forgotten():
    """A trade that follows the newest id is too late once its second is kept no longer."""
    aggregator = CandleAggregator("SYMBOL", source="test", keep_seconds=10, backfill_seconds=20)
    take(aggregator, trade(1, 1))
    aggregator.add_kline(kline_of([], 100, carried="10"))
    assert list(take(aggregator, trade(2, 1.5))) == []
    assert (aggregator.trades, aggregator.too_late) == (1, 1)


def test_sums_keep_every_digit():
    """Sums of the longest allowed numbers lose nothing."""
    price, quantity = "999999999999.123456789012345678", "888888888888.987654321098765432"
    found = newest(feed([trade(1, 1), trade(2, 2, price, quantity), trade(3, 3)]))
    exact = int(price.replace(".", "")) * int(quantity.replace(".", ""))
    assert str(found[2].quote_volume).replace(".", "") == str(exact)


def test_aggregates_count_their_trades():
    """An aggregate stands for all its trades, at one price."""
    one = aggregate([trade(each, 2, "3", "1.25") for each in range(11, 15)])
    found = newest(feed([trade(10, 1), one, trade(15, 3)]))
    assert (found[2].trades, found[2].first_trade_id, found[2].last_trade_id) == (4, 11, 14)
    assert (found[2].volume, found[2].quote_volume) == (D(5), D(15))


# What was missed.


def filled(aggregator: CandleAggregator, *trades: Trade | AggTrade) -> list[Candle]:
    """Give trades from the exchange's history; return what that issues."""
    return aggregator.fill(trades)[0]


def given_all(*events: Trade | Kline | AggTrade) -> CandleAggregator:
    """Return an aggregator that has taken these."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    for event in events:
        take(aggregator, event)
    return aggregator


def due(aggregator: CandleAggregator, at: int = 9_000) -> list[tuple[int, bool, int]]:
    """Let time close what ended before a second; return seconds, whether complete, revisions."""
    return brief(aggregator.close_due(at * S, event_us=0, received_us=0))


def brief(candles: Iterable[Candle]) -> list[tuple[int, bool, int]]:
    """Return of candles the second, whether it is complete, and the revision."""
    return [(c.open_time_us // S, c.complete, c.revision) for c in candles]


TRADES = [trade(each, at, str(each)) for each, at in enumerate([1, 2, 2, 3, 5, 5, 6, 7], start=11)]


def test_trades_from_history_fill_a_hole():
    """What was missing completes its seconds; what is held already is not taken twice."""
    aggregator = given_all(*TRADES[:2], *TRADES[5:])
    assert due(aggregator, 6) == [(1, False, 0), (2, False, 0), (5, False, 0)]
    candles, taken = aggregator.fill(TRADES)
    assert brief(candles) == [(2, True, 1), (3, True, 0), (4, True, 0), (5, True, 1)]
    assert taken == TRADES[2:5]
    assert newest([c for c in candles if c.revision == 0])[4].close == D(14)
    assert aggregator.fill(TRADES) == ([], [])
    assert (aggregator.repaired, aggregator.duplicates) == (4, 0)


def test_aggregates_fill_what_they_do_not_overlap():
    """An aggregate of which a trade is held is left out, for its other trades to be fetched."""
    pair = [trade(12, 2, "5"), trade(13, 2, "5")]
    aggregator = given_all(TRADES[0], pair[0], TRADES[4], TRADES[5])
    assert aggregator.fill([aggregate(pair)]) == ([], [])
    _, taken = aggregator.fill([aggregate([TRADES[3]]), pair[1]])
    assert len(taken) == 2
    assert aggregator.ledger.whole


def test_history_before_what_is_known_is_not_taken():
    """The exchange tells more of the past than is missing."""
    aggregator = given_all(*TRADES[3:])
    assert filled(aggregator, *TRADES) == []
    assert aggregator.first_second_us == 3 * S


def test_the_newest_trade_from_history_shows_what_is_missing():
    """A trade behind all that is held makes a hole, as one of the stream does."""
    aggregator = given_all(*TRADES[:2])
    assert filled(aggregator, TRADES[-1]) == []
    (hole,) = aggregator.ledger.holes()
    assert (hole.first_id, hole.last_id) == (13, 17)


def test_seconds_that_are_held_back_wait_for_their_repair():
    """Time does not issue the seconds of a hole that is held back; the others go out."""
    aggregator = given_all(*TRADES[:2], *TRADES[6:])
    held_back = aggregator.ledger.holes()
    candles = aggregator.close_due(8 * S, event_us=0, received_us=0, held_back=held_back)
    assert brief(candles) == [(1, False, 0), (7, False, 0)]
    assert due(aggregator) == [(2, False, 0), (6, False, 0)]


def test_ids_that_never_existed_are_not_missing():
    """The second around ids that the exchange left out is proved once that is known."""
    aggregator = given_all(*TRADES[:3], trade(17, 3), trade(18, 4))
    assert aggregator.absent(14, 15, event_us=1, received_us=2) == []
    candles = aggregator.absent(16, 16, event_us=1, received_us=2)
    assert brief(candles) == [(2, True, 0), (3, True, 0)]
    assert (candles[0].event_us, candles[0].received_us) == (1, 2)
    assert aggregator.never_existed == 3
    assert aggregator.absent(16, 16, event_us=1, received_us=2) == []
    assert aggregator.absent(100, 101, event_us=1, received_us=2) == []


def test_a_kline_may_have_named_ids_that_never_existed():
    """Its second is compared as soon as the ids between its trades are known not to be."""
    trades = [trade(11, 1), trade(14, 1)]
    aggregator = given_all(*trades, kline_of(trades, 1))
    assert brief(aggregator.absent(12, 13, event_us=1, received_us=2)) == [(1, True, 0)]
    assert aggregator.verified == 1


def test_candles_of_rest_fill_a_hole():
    """The exchange's own candles complete the seconds of a hole, with ids counted up."""
    aggregator = given_all(*TRADES[:2], *TRADES[6:])
    (hole,) = aggregator.ledger.holes()
    klines = [from_rest(kline_of(TRADES, at, carried="14")) for at in range(2, 7)]
    assert aggregator.adopt(hole, klines[1:], event_us=9) is None
    candles = aggregator.adopt(hole, klines, event_us=9)
    assert candles is not None
    assert brief(candles) == [(at, True, 0) for at in (2, 3, 4, 5, 6)]
    for candle in candles:
        truth = kline_of(TRADES, candle.open_time_us // S, carried="14")
        assert numbers(candle) == numbers(truth)
    assert (aggregator.candles_only, aggregator.verified, aggregator.repaired) == (3, 2, 5)
    assert aggregator.ledger.whole
    assert aggregator.without_kline(7 * S) == (1 * S, 1 * S)


def test_candles_of_rest_leave_settled_seconds_alone():
    """Seconds at the edges that are proved, and forgotten, lack nothing."""
    aggregator = CandleAggregator("SYMBOL", source="test", keep_seconds=2)
    klines = [kline_of(TRADES, at) for at in (1, 2)]
    events: list[Trade | Kline] = [*TRADES[:3], *klines, *TRADES[6:]]
    for each in events:
        take(aggregator, each)
    take(aggregator, trade(19, 20))
    aggregator.ledger.forget_names(9_000 * S)
    hole = replace(aggregator.ledger.holes()[0], from_second_us=2 * S)
    of_rest = [from_rest(kline_of(TRADES, at, carried="14")) for at in range(2, 7)]
    candles = aggregator.adopt(hole, of_rest, event_us=9)
    assert candles is not None
    assert [c.open_time_us // S for c in candles] == [3, 4, 5, 6]


def test_a_count_tells_what_came_before_the_first_trade():
    """REST's kline of the partial first second tells how many of its trades were not seen."""
    trades = [trade(9, 1), trade(10, 1), trade(11, 1, "7"), trade(12, 2)]
    aggregator = given_all(trades[2])
    aggregator.add_kline(from_rest(kline_of(trades, 1)))
    assert aggregator.ledger.holes() == []  # where it ends is not known yet
    take(aggregator, trades[3])
    (hole,) = aggregator.ledger.holes()
    assert (hole.first_id, hole.last_id, hole.seconds) == (9, 10, 1)
    assert brief(filled(aggregator, *trades[:2])) == [(1, True, 0)]


def test_a_count_of_fewer_trades_than_are_held_tells_nothing():
    """It is disputed, and no trade is missing before the first."""
    aggregator = given_all(trade(1, 1), trade(2, 1), trade(3, 2))
    aggregator.add_kline(from_rest(kline_of([trade(1, 1)], 1)))
    assert aggregator.disputed == (1 * S,)
    assert aggregator.ledger.whole


def test_a_count_tells_of_a_second_before_the_first_trade():
    """A second without a trade, of which all that follows is proved, ends with the id before."""
    lost = [trade(9, 3), trade(10, 3)]
    aggregator = given_all(kline_of([], 2, carried="5"), trade(11, 5), trade(12, 6))
    aggregator.add_kline(from_rest(kline_of([trade(11, 5)], 5)))
    aggregator.add_kline(from_rest(kline_of(lost, 3)))
    assert aggregator.ledger.holes() == []  # what happened in between is not known yet
    aggregator.add_kline(from_rest(kline_of([], 4, carried="10")))
    (hole,) = aggregator.ledger.holes()
    assert (hole.first_id, hole.last_id) == (9, 10)


def test_a_kline_can_tell_of_trades_that_nothing_names():
    """Behind everything known, a count or another price is unexplained until the newest id is."""
    priced = given_all(trade(1, 1, "5"), kline_of([], 2, carried="6"))
    counted = given_all(trade(1, 1), from_rest(kline_of([trade(1, 1), trade(2, 1)], 1)))
    named = given_all(trade(1, 1), kline_of([trade(1, 1), trade(2, 1)], 1))
    assert [each.unexplained for each in (priced, counted, named)] == [True, True, False]
    filled(priced, trade(4, 3, "6"))
    filled(counted, trade(2, 1))
    assert [each.unexplained for each in (priced, counted)] == [False, False]


def test_what_is_given_up_is_not_missing_any_more():
    """Holes before a time are given up, whatever its fraction, and nothing of them is taken."""
    aggregator = given_all(TRADES[0], *TRADES[2:4], *TRADES[5:])
    (lost,) = aggregator.give_up_before(4 * S + 123_456)
    assert (lost.first_id, lost.last_id, lost.from_second_us, lost.to_second_us) == (
        12,
        15,
        S,
        3 * S,
    )
    assert aggregator.given_up == 3
    assert aggregator.give_up_before(4 * S) == []
    assert [hole.ids for hole in aggregator.ledger.holes()] == [1]
    assert list(take(aggregator, TRADES[1])) == []
    assert aggregator.too_late == 1
    assert due(aggregator, 7) == [(5, False, 0)]


def test_a_trade_of_a_second_that_is_gone_still_closes_a_hole():
    """What can change nothing any more still tells that its id is not missing."""
    aggregator = CandleAggregator("SYMBOL", source="test", keep_seconds=5, backfill_seconds=10)
    for each in (trade(1, 1), trade(2, 3), trade(4, 12), trade(5, 15)):
        take(aggregator, each)
    assert aggregator.ledger.holes() != []
    late = take(aggregator, trade(3, 3.5))
    assert [c.open_time_us // S for c in late] == [12]
    assert (aggregator.too_late, aggregator.ledger.holes()) == (1, [])


# Restarts.


def compared(*trades: Trade, klines: Sequence[int] | None = None) -> CandleAggregator:
    """Return what has taken some trades, and the klines of all seconds but the last, or of some."""
    aggregator = given_all(*trades)
    for at, kline in Exchange(trades).klines.items():
        if at < trades[-1].time_us // S if klines is None else at in klines:
            aggregator.add_kline(kline)
    return aggregator


def test_what_no_kline_has_confirmed_is_looked_at_by_another_run():
    """It could not compare it any more; but a kline that never comes is not waited for for ever."""
    trades = [trade(each, each) for each in range(1, 100)]
    aggregator = compared(*trades[:10], klines=range(5))
    position = aggregator.position()
    assert position is not None
    assert (position.second_us, position.last_id) == (4 * S, 4)
    for each in trades[10:]:
        take(aggregator, each)
    position = aggregator.position()
    assert position is not None
    assert (position.second_us, position.last_id) == (38 * S, 38)


def test_another_run_goes_on_from_a_position():
    """What lies behind a position is missing, and its price is carried."""
    position = compared(*TRADES[:5]).position()
    assert position == Position(4 * S, 14, D(14))
    aggregator = CandleAggregator("SYMBOL", source="test")
    aggregator.resume(position)
    assert aggregator.complete_until_us == 4 * S
    assert list(take(aggregator, TRADES[-1])) == []
    (hole,) = aggregator.ledger.holes()
    assert (hole.first_id, hole.last_id, hole.from_second_us) == (15, 17, 5 * S)
    assert due(aggregator) == [(7, False, 0)]
    assert brief(filled(aggregator, *TRADES)) == [(5, True, 0), (6, True, 0)]
    assert aggregator.coverage == 1.0
    silent = CandleAggregator("SYMBOL", source="test")
    silent.resume(position)
    candle = take(silent, trade(15, 8))[0]
    assert (candle.open_time_us, candle.close, candle.complete) == (5 * S, D(14), True)


def test_another_runs_holes_are_filled_whole():
    """The seconds of a hole are made anew, and nothing else of before the position goes out.

    An empty one at its beginning carries the price that was known before it.
    """
    trades = [*TRADES[:4], trade(15, 6), trade(16, 6), trade(17, 8), trade(18, 9)]
    given = given_all(*trades[:4], *trades[5:])
    for at in (1, 2, 3, 7, 8):
        given.add_kline(Exchange(trades).klines[at])
    position = given.position()
    assert position is not None
    assert position.closes == (D(14),)
    aggregator = CandleAggregator("SYMBOL", source="test")
    aggregator.resume(position)
    candles = filled(aggregator, *trades)
    assert brief(candles) == [(4, True, 0), (5, True, 0), (6, True, 0)]
    assert candles[0].close == D(14)
    unpriced = CandleAggregator("SYMBOL", source="test")
    unpriced.resume(replace(position, closes=(None,)))
    assert brief(filled(unpriced, *trades)) == [(6, True, 0)]
    unpriced.add_kline(from_rest(kline_of([], 4, carried="14")))
    assert unpriced.complete == 3


# Ids that begin anew.


def test_ids_that_begin_anew_are_noticed():
    """Smaller ids in later seconds are not taken, but counted while nothing else comes."""
    aggregator = given_all(*TRADES)
    assert [aggregator.add(trade(each, 8)) for each in (1, 2)] == [None, None]
    aggregator.add_kline(kline_of([trade(1, 8), trade(2, 8)], 8))
    assert (aggregator.backwards, aggregator.disordered) == (3, 3)
    assert aggregator.ledger.whole
    take(aggregator, trade(19, 9))
    assert (aggregator.backwards, aggregator.disordered) == (0, 3)


def test_an_id_out_of_order_is_no_new_beginning():
    """A larger id in an earlier second contradicts, and is not counted as backwards."""
    aggregator = given_all(*TRADES)
    assert aggregator.add(trade(19, 6)) is None
    assert (aggregator.backwards, aggregator.disordered) == (0, 1)


def test_after_a_new_beginning_all_goes_on():
    """The second with both kinds of ids is what its kline says; what follows is proved."""
    before, after = [trade(900, 5, "1"), trade(902, 6, "2")], [trade(1, 6, "3"), trade(2, 7)]
    aggregator = given_all(*before)
    assert len(aggregator.ledger.holes()) == 1
    aggregator.begin_anew()
    assert aggregator.ledger.holes() == []
    for each in (*after, trade(3, 8), trade(4, 10)):
        take(aggregator, each)
    both = [before[1], replace(after[0], id=903)]
    kline = replace(kline_of(both, 6), first_trade_id=1, last_trade_id=1)
    (candle,) = aggregator.add_kline(kline)
    assert numbers(candle) == numbers(kline)
    assert candle.complete
    assert {c.open_time_us // S for c in take(aggregator, trade(5, 11)) or ()} == {10}
    assert aggregator.disordered == 0


def test_what_klines_named_before_a_new_beginning_is_missing():
    """New ids that klines have named are asked for; old ones cannot be had."""
    aggregator = given_all(trade(900, 5))
    aggregator.add_kline(kline_of([trade(1, 8), trade(2, 8)], 8))
    aggregator.add_kline(kline_of([trade(901, 5)], 5))
    aggregator.begin_anew()
    assert [(hole.first_id, hole.last_id) for hole in aggregator.ledger.holes()] == [(1, 2)]


def test_what_is_of_before_a_new_beginning_is_left_out():
    """Trades and klines with the old ids, of the last second or before, tell nothing."""
    aggregator = given_all(trade(900, 5), trade(901, 6))
    aggregator.begin_anew()
    assert list(take(aggregator, trade(902, 6))) == []
    assert filled(aggregator, trade(903, 6), trade(1, 5)) == []
    aggregator.add_kline(kline_of([trade(903, 6)], 6))
    assert aggregator.ledger.whole
    assert aggregator.last_trade_id is None
    take(aggregator, trade(1, 6))
    aggregator.add_kline(from_rest(kline_of([trade(1, 6), trade(2, 6), trade(3, 6)], 6)))
    take(aggregator, trade(2, 7))
    assert aggregator.ledger.whole  # which ids would be before the first is not known
    nothing_came = given_all()
    nothing_came.begin_anew()
    assert nothing_came.ledger.whole


def test_a_second_that_was_proved_before_a_new_beginning_stays():
    """It is as it was, and its kline is compared as ever."""
    aggregator = given_all(trade(900, 5), kline_of([trade(900, 5)], 5))
    aggregator.begin_anew()
    take(aggregator, trade(1, 6))
    take(aggregator, trade(2, 8))
    assert aggregator.complete == 2


# The audit.


def disputed(*trades: Trade, kline: Kline) -> CandleAggregator:
    """Return an aggregator with a second 2 that is proved by trades and disputed by its kline."""
    aggregator = given_all(trade(1, 1), *trades, trade(9, 3), kline)
    assert aggregator.disputed == (2 * S,)
    return aggregator


def test_a_disputed_second_is_counted_once_more():
    """Trades that REST has, counted anew, agree with the kline, and the right candle goes out."""
    trades = [trade(each, 2) for each in range(2, 9)]
    wrong = [replace(trades[0], price=D(99)), *trades[1:]]
    aggregator = disputed(*wrong, kline=kline_of(trades, 2))
    assert aggregator.ids_in_dispute(2 * S) == (2, 8)
    assert aggregator.ids_in_dispute(1 * S) is None
    assert aggregator.recount(2 * S, [trade(9, 3)]) == []
    (candle,) = aggregator.recount(2 * S, [*trades, trade(9, 3)])
    assert numbers(candle) == numbers(kline_of(trades, 2))
    assert candle.complete
    assert (aggregator.disputed, aggregator.verified, aggregator.mismatched) == ((), 1, 0)
    assert aggregator.recount(2 * S, trades) == []


def test_a_recount_can_find_trades():
    """A trade that REST has is taken, though no id was missing; the second stays disputed."""
    aggregator = given_all(trade(2, 2), kline_of([trade(2, 2, "11"), trade(3, 2)], 2))
    filled(aggregator, trade(3, 2))
    assert aggregator.disputed == (2 * S,)
    assert aggregator.recount(2 * S, [trade(2, 2, "11"), trade(3, 2), trade(4, 2)]) == []
    assert (aggregator.disputed, aggregator.trades, aggregator.last_trade_id) == ((2 * S,), 3, 4)


def test_rest_decides_that_the_stream_was_wrong():
    """If REST's kline agrees with ours, ours stands and is complete again."""
    trades = [trade(each, 2) for each in range(2, 9)]
    aggregator = disputed(*trades, kline=replace(kline_of(trades, 2), high=D(99)))
    assert aggregator.recount(2 * S, trades) == []
    (candle,) = aggregator.settle(from_rest(kline_of(trades, 2)), event_us=7)
    assert brief([candle]) == [(2, True, 2)]
    assert (aggregator.kline_wrong, aggregator.mismatched, aggregator.verified) == (1, 0, 1)
    assert aggregator.settle(from_rest(kline_of(trades, 2)), event_us=7) == []


@pytest.mark.parametrize(
    ("known", "ids"),
    [("stream", (2, 9)), ("rest", (2, 8)), ("other", (2, 8))],
    ids=["as the stream named them", "ours", "ours where the stream says something else"],
)
def test_rest_decides_that_we_were_wrong(known: str, ids: tuple[int, int]):
    """If REST's kline has other numbers than ours, its numbers go out, with the ids there are."""
    trades = [trade(each, 2) for each in range(2, 9)]
    theirs = replace(kline_of([*trades, trade(9, 2, "99")], 2))
    first = {
        "stream": theirs,
        "rest": from_rest(theirs),
        "other": replace(theirs, high=D(100)),
    }[known]
    aggregator = given_all(trade(1, 1), *trades, trade(10, 3))
    filled(aggregator, trade(9, 3))
    aggregator.add_kline(first)
    assert aggregator.disputed == (2 * S,)
    (candle,) = aggregator.settle(from_rest(theirs), event_us=7)
    assert (candle.high, candle.trades, candle.complete) == (D(99), 8, True)
    assert (candle.first_trade_id, candle.last_trade_id) == ids
    assert (aggregator.mismatched, aggregator.kline_wrong, aggregator.verified) == (1, 0, 0)


def test_what_rest_has_decided_is_not_missing():
    """Ids of a second whose numbers are REST's are not asked for any more."""
    kline = from_rest(kline_of([trade(2, 2), trade(4, 2, "11")], 2))
    aggregator = given_all(trade(1, 1), trade(2, 2), trade(4, 2), trade(5, 3), trade(7, 4), kline)
    assert aggregator.disputed == (2 * S,)
    assert brief(aggregator.settle(kline, event_us=7)) == [(2, True, 0)]
    assert [hole.first_id for hole in aggregator.ledger.holes()] == [6]


def test_rest_decides_that_a_second_was_empty():
    """A second with trades that REST does not know of becomes an empty one."""
    aggregator = given_all(trade(1, 1), trade(2, 2), kline_of([], 2, carried="10"), trade(3, 3))
    assert aggregator.ids_in_dispute(2 * S) == (2, 2)
    candles = aggregator.settle(from_rest(kline_of([], 2, carried="10")), event_us=7)
    assert [(c.open_time_us // S, c.trades, c.first_trade_id) for c in candles] == [(2, 0, -1)]


def test_without_trades_there_is_nothing_to_count():
    """A second that trades proved to be empty is settled by REST's kline alone."""
    aggregator = given_all(trade(1, 1), trade(2, 3), from_rest(kline_of([trade(9, 2)], 2)))
    assert aggregator.disputed == (2 * S,)
    assert aggregator.ids_in_dispute(2 * S) is None
    assert aggregator.recount(2 * S, [trade(9, 2)]) == []


def test_trades_with_two_kinds_of_ids_are_not_counted_again():
    """Of a second in which ids began anew, the trades of before cannot be fetched."""
    aggregator = given_all(trade(900, 5))
    aggregator.begin_anew()
    take(aggregator, trade(1, 5))
    aggregator.add_kline(kline_of([trade(1, 5)], 5))
    assert aggregator.disputed == (5 * S,)
    assert aggregator.ids_in_dispute(5 * S) is None


def test_a_trade_in_a_second_that_was_proved_puts_it_in_doubt():
    """Where the exchange's history contradicts itself, its trades count; else ours come first."""
    known = [trade(1, 1), trade(2, 2), trade(3, 3), trade(5, 4)]
    assert filled(given_all(*known), trade(4, 2.5)) == []
    aggregator = given_all(*known)
    assert brief(filled(aggregator, known[2], trade(4, 2.5))) == [(2, False, 1), (3, True, 0)]
    assert (aggregator.disordered, aggregator.proved) == (1, 1)


@pytest.mark.parametrize("how", ["the stream", "history"])
def test_a_trade_that_the_kline_of_its_second_did_not_count_is_a_dispute(how: str):
    """Whichever of the two comes first: what we hold contradicts the kline, so REST decides."""
    trades = [trade(1, 1), trade(2, 2), trade(3, 2.5)]
    aggregator = given_all(*trades[:2], kline_of(trades[:2], 2))
    if how == "history":
        take(aggregator, trade(4, 4))
        candles = filled(aggregator, trades[2])
    else:
        candles = list(take(aggregator, trades[2]))
    assert brief(candles)[0] == (2, False, 1)
    assert aggregator.disputed == (2 * S,)
    settled = aggregator.settle(from_rest(kline_of(trades, 2)), event_us=0)
    assert brief(settled) == [(2, True, 2)]
    assert (aggregator.kline_wrong, aggregator.disputed) == (1, ())


def test_a_trade_that_the_exchanges_history_does_not_count_changes_nothing():
    """What REST has decided stays."""
    aggregator = given_all(trade(1, 1), trade(2, 2), from_rest(kline_of([trade(2, 2)], 2)))
    assert list(take(aggregator, trade(3, 2.5))) == []
    assert aggregator.disputed == ()


def test_an_empty_second_behind_a_corrected_one_carries_the_right_price():
    """A garbled price does not live on in the seconds behind it, with their klines or without."""
    right = [trade(1, 1), trade(2, 2), trade(3, 5)]
    garbled = trade(2, 2, "11")
    aggregator = given_all(right[0], garbled, right[2], kline_of(right, 2))
    aggregator.add_kline(kline_of([], 3, carried="10"))
    assert aggregator.disputed == (2 * S, 3 * S)
    candles = aggregator.recount(2 * S, right)
    assert [(each.close, each.complete) for each in candles] == [(D(10), True)] * 3
    assert (aggregator.disputed, aggregator.mismatched) == ((), 0)


def test_a_published_second_that_turns_out_empty_is_published_again():
    """Though empty ones are left out: a client must not keep what never was."""
    aggregator = CandleAggregator("SYMBOL", source="test", carry_empty=False)
    for each in (trade(1, 1), trade(2, 2), trade(3, 3), kline_of([], 2, carried="10")):
        take(aggregator, each)
    assert aggregator.disputed == (2 * S,)
    candles = aggregator.settle(from_rest(kline_of([], 2, carried="10")), event_us=0)
    assert [(each.trades, each.complete) for each in candles] == [(0, True)]


def test_another_runs_first_second_waits_for_its_kline():
    """Where trades before the first that was seen may be missing, no position says otherwise."""
    trades = [trade(6, 1.1), trade(7, 1.3), trade(8, 1.7), trade(9, 2), trade(10, 3), trade(11, 4)]
    first = given_all(trades[1], *trades[3:5])
    due(first, 2)
    first.add_kline(kline_of(trades, 2))
    position = first.position()
    assert position is not None
    assert not position.begins
    second = CandleAggregator("SYMBOL", source="test")
    second.resume(position)
    filled(second, *trades)
    assert second.position() is None
    assert second.open_without_kline(5 * S) == (S, S)
    second.add_kline(from_rest(kline_of(trades, 1)))
    assert second.position() is not None


def test_seconds_that_wait_for_a_kline_are_told():
    """Those that are out or proved and were not compared, and those that nobody knows of."""
    trades = [trade(1, 1), trade(2, 2), trade(3, 3), trade(9, 7)]
    aggregator = given_all(*trades, kline_of(trades, 2))
    assert aggregator.without_kline(1 * S) is None
    assert aggregator.without_kline(9 * S) == (1 * S, 1 * S)
    due(aggregator, 4)
    assert aggregator.without_kline(9 * S) == (1 * S, 3 * S)
    assert aggregator.without_kline(3 * S) == (1 * S, 1 * S)
    assert (aggregator.unverified, aggregator.never_verified) == (2, 0)
    unknown = given_all(kline_of([], 1, carried="5"), kline_of([], 3, carried="6"))
    due(unknown)
    assert unknown.without_kline(9 * S) == (2 * S, 2 * S)


def test_late_klines_are_counted():
    """A kline that comes long behind newer ones is late."""
    aggregator = given_all(kline_of([], 10, carried="5"), kline_of([], 4, carried="5"))
    assert (aggregator.klines, aggregator.kline_late) == (2, 1)


def test_how_far_it_has_come_is_known():
    """Before anything came there is no progress; then there are its ends and its share."""
    aggregator = CandleAggregator("SYMBOL", source="test", keep_seconds=4, most_waiting=0)
    assert (aggregator.first_second_us, aggregator.newest_second_us) == (None, None)
    assert (aggregator.complete_until_us, aggregator.coverage) == (None, None)
    assert (aggregator.position(), aggregator.last_trade_id) == (None, None)
    for each in TRADES:
        take(aggregator, each)
    assert (aggregator.first_second_us, aggregator.newest_second_us) == (1 * S, 7 * S)
    assert (aggregator.coverage, aggregator.last_trade_id) == (5 / 6, 18)
    assert aggregator.verified_until_us is None
    for at in range(9, 30):
        take(aggregator, kline_of([], at, carried="18"))
    assert aggregator.never_verified == 5


def test_what_had_to_be_given_up_is_missing_again():
    """The trades of a second that there is no room for are a hole, and its revisions go on."""
    aggregator = CandleAggregator("SYMBOL", source="test", keep_seconds=4, most_waiting=0)
    trades = [trade(1, 1), trade(2, 2), trade(4, 2), trade(5, 3), trade(6, 4)]
    for each in trades:
        take(aggregator, each)
    assert (2, False, 0) in due(aggregator, 5)
    for at in range(5, 20):
        take(aggregator, trade(at + 2, at))
    assert [(hole.first_id, hole.last_id) for hole in aggregator.ledger.holes()] == [(1, 4)]
    assert brief(filled(aggregator, *trades, trade(3, 2))) == [(2, True, 1)]


def test_the_open_second_can_have_to_be_given_up():
    """Trades that follow in a second that was given up are taken anew, and in order."""
    aggregator = CandleAggregator("SYMBOL", source="test", keep_seconds=2, most_waiting=0)
    take(aggregator, trade(1, 1))
    take(aggregator, trade(2, 2))
    for at in (3, 4, 5, 6, 7, 8):
        aggregator.add_kline(kline_of([], at, carried="10"))
    assert aggregator.add(trade(3, 2.5)) is not None
    assert aggregator.ledger.holes() != []


def test_aggregates_that_are_held_in_part_are_counted():
    """An aggregate cannot be split: it is not taken, and counted."""
    aggregator = given_all(trade(1, 1), trade(2, 1))
    assert aggregator.add_aggregate(aggregate([trade(2, 1), trade(3, 1)])) is None
    assert aggregator.add(trade(1, 1)) is None
    assert (aggregator.overlapping, aggregator.duplicates) == (1, 1)


# Properties.

amounts = st.decimals(
    min_value="0.00000001", max_value="99999", places=8, allow_nan=False, allow_infinity=False
)


@st.composite
def markets(draw: st.DrawFn) -> list[Trade]:
    """Draw trades with consecutive ids whose times never go backwards."""
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from([0, 1, 300_000, 700_000, 1_000_000, 3_400_000]), amounts,
                      amounts, st.booleans()),
            min_size=1,
            max_size=25,
        )
    )  # fmt: skip
    at_us = draw(st.integers(100 * S, 101 * S))
    trades = []
    for index, (step_us, price, quantity, maker) in enumerate(steps):
        at_us += step_us
        trades.append(Trade("SYMBOL", 500 + index, price, quantity, at_us, maker, at_us, at_us))
    return trades


def reference(trades: Sequence[Trade]) -> dict[int, tuple[object, ...]]:
    """Return the numbers of every second from the first trade to the last, by plain sums."""
    first, last = trades[0].time_us // S, trades[-1].time_us // S
    found: dict[int, tuple[object, ...]] = {}
    close = trades[0].price
    for at in range(first, last + 1):
        kline = kline_of(trades, at, carried=str(close))
        close = kline.close
        found[at] = numbers(kline)
    return found


@settings(max_examples=200)
@given(markets(), st.randoms(use_true_random=False))
def test_any_order_and_repetition_gives_the_same_candles(trades: list[Trade], rng: random.Random):
    """Any order and repetition of the same trades gives the same newest candles: the plain sums."""
    shuffled = [*trades, *rng.choices(trades, k=len(trades))]
    rng.shuffle(shuffled)
    found = newest(feed(shuffled, end=True))
    expected = reference(trades)
    assert {at: numbers(candle) for at, candle in found.items()} == expected
    first, last = min(expected), max(expected)
    assert {at for at, candle in found.items() if candle.complete} == {
        at for at in expected if first < at < last
    }


@settings(max_examples=200)
@given(markets(), st.randoms(use_true_random=False))
def test_complete_is_never_true_without_its_proof(trades: list[Trade], rng: random.Random):
    """With trades lost and klines anywhere, a candle that says complete equals the truth."""
    expected = reference(trades)
    lost = set(rng.sample(trades, k=rng.randint(0, len(trades) // 2)))
    carried = str(trades[0].price)
    klines = []
    for at in expected:
        klines.append(kline_of(trades, at, carried=carried))
        carried = str(klines[-1].close)
    klines = [kline for kline in klines if rng.random() < 0.6]
    events: list[Trade | Kline] = [each for each in trades if each not in lost]
    events += klines
    rng.shuffle(events)
    aggregator = CandleAggregator("SYMBOL", source="test")
    for event in events:
        for candle in take(aggregator, event):
            assert candle.low <= candle.open <= candle.high
            assert candle.low <= candle.close <= candle.high
            if candle.complete:
                assert numbers(candle) == expected[candle.open_time_us // S]
    for candle in aggregator.close_due(FAR, event_us=FAR, received_us=FAR):
        assert not candle.complete
    assert aggregator.mismatched == 0


@settings(max_examples=100)
@given(markets(), st.randoms(use_true_random=False))
def test_klines_of_everything_prove_everything(trades: list[Trade], rng: random.Random):
    """With every trade and every kline, in any order, every second ends complete and verified."""
    expected = reference(trades)
    carried = str(trades[0].price)
    events: list[Trade | Kline] = list(trades)
    for at in expected:
        kline = kline_of(trades, at, carried=carried)
        carried = str(kline.close)
        events.append(kline)
    rng.shuffle(events)
    aggregator = CandleAggregator("SYMBOL", source="test")
    candles = [candle for event in events for candle in take(aggregator, event)]
    found = newest(candles)
    assert {at: numbers(candle) for at, candle in found.items()} == expected
    assert all(candle.complete for candle in found.values())
    assert aggregator.verified == len(expected)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Draw an exchange that left some ids out, and counts some takers' trades as one."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from([0, 1, 300_000, 1_000_000, 2_700_000]),
                st.integers(1, 3),
                st.sampled_from([0, 0, 0, 1, 2]),
                st.booleans(),
            ),
            min_size=2,
            max_size=30,
        )
    )
    at_us, trade_id = 100 * S, 500
    trades: list[Trade] = []
    for step_us, price, left_out, alike in steps:
        at_us += step_us
        trade_id += left_out + 1
        made = Trade("SYMBOL", trade_id, D(price), D(alike + 1), at_us, alike, at_us, at_us)
        if trades and alike and left_out == 0:
            made = replace(trades[-1], id=trade_id, quantity=D(price))
            at_us = made.time_us
        trades.append(made)
    at_us += 2 * S
    trades.append(Trade("SYMBOL", trade_id + 1, D(2), D(1), at_us, False, at_us, at_us))
    return Exchange(trades)


randoms = st.randoms(use_true_random=False)
# Without many seconds and trades there is little that can go wrong, and cases are slow to shrink.
cases = settings(max_examples=60, deadline=None)


@cases
@given(exchanges(), randoms, st.booleans())
def test_whatever_is_lost_is_repaired(exchange: Exchange, rng: random.Random, carry: bool):
    """From whatever is left of a stream, repair makes every second what it was.

    Every candle that says complete on the way is the truth, and each issue has the next revision.
    """
    market = Repairing(exchange, rng, carry_empty=carry)
    for event in market.events():
        market.take(event)
    market.finish()
    aggregator = market.aggregator
    first_us, newest_us = aggregator.first_second_us, aggregator.newest_second_us
    assert first_us is not None
    assert newest_us == exchange.last * S
    for at in range(first_us // S, exchange.last + 1):
        if carry or exchange.klines[at].trades:
            assert market.newest[at].complete
    assert aggregator.ledger.holes() == []
    assert aggregator.complete_until_us == aggregator.verified_until_us == newest_us
    assert (aggregator.disputed, aggregator.unexplained, aggregator.unverified) == ((), False, 0)
    assert (aggregator.mismatched, aggregator.kline_wrong, aggregator.disordered) == (0, 0, 0)
    assert aggregator.coverage in (1.0, None)


@cases
@given(exchanges(), randoms)
def test_forgetting_never_makes_a_wrong_candle(exchange: Exchange, rng: random.Random):
    """With room for next to nothing, no complete candle is wrong and no revision comes twice."""
    market = Repairing(
        exchange,
        rng,
        keep_seconds=rng.choice([1, 2, 4]),
        most_waiting=rng.choice([0, 1, 3]),
        backfill_seconds=rng.choice([8, 20]),
    )
    for event in market.events():
        market.take(event)
        if rng.random() < 0.05:
            before_us = (event.time_us if isinstance(event, Trade) else event.open_time_us) - 5 * S
            market.aggregator.give_up_before(before_us)
    market.finish()
    assert market.aggregator.ledger.holes() == []


@cases
@given(exchanges(), randoms)
def test_a_restart_goes_on(exchange: Exchange, rng: random.Random):
    """After a restart from any position, everything behind it and in its holes becomes whole.

    What was settled before it is not issued again, and nothing of before it as incomplete.
    """
    market = Repairing(exchange, rng)
    events = market.events()
    position, settled = None, set[int]()
    while events:
        market.take(events.pop(0))
        found = market.aggregator.position() if rng.random() < 0.4 else None
        if found is None or rng.random() < 0.7:
            continue
        position = found
        missed_us = rng.choice([0, S, 4 * S])
        events = [
            event
            for event in events
            if (event.time_us if isinstance(event, Trade) else event.open_time_us)
            >= position.second_us + missed_us
        ]
        before = [exchange.klines[at] for at in range(exchange.first, position.second_us // S + 1)]
        assert position.close == before[-1].close
        market = market.resumed(position)
        settled = {
            kline.open_time_us // S
            for kline in before
            if not any(hole.touches(kline.open_time_us) for hole in position.holes)
        }
    market.finish()
    if position is None:
        return
    assert not settled & set(market.newest)
    begins = min([position.second_us + S, *(hole.from_second_us for hole in position.holes)]) // S
    for at in range(begins, exchange.last + 1):
        assert at in settled or market.newest[at].complete
    assert market.aggregator.complete_until_us == exchange.last * S
    assert market.aggregator.coverage in (1.0, None)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1_000])
def test_a_busy_second_is_added_up_in_parts(count: int):
    """However many trades a second has, its sums are those of all of them."""
    trades = [trade(1, 1)]
    trades += [trade(2 + n, 2 + n / 2_000, str(10 + n % 7), maker=n % 3 == 0) for n in range(count)]
    found = newest(feed([*trades, trade(2 + count, 3)]))
    assert numbers(found[2]) == numbers(kline_of(trades, 2))


# Ids that begin anew.


def test_trades_of_before_ids_began_anew_are_not_counted_twice():
    """What was counted by ids that are forgotten stays as it is, whoever brings it once more."""
    known = [trade(1, 1), trade(2, 2), trade(3, 2.5), trade(4, 3)]
    aggregator = CandleAggregator("SYMBOL", source="test")
    issued = [candle for each in known for candle in take(aggregator, each)]
    take(aggregator, trade(9_000_000, 3.1))  # an id that nobody else has given out
    aggregator.begin_anew()
    following = [trade(5, 4), trade(6, 5), trade(7, 6)]
    candles, taken = aggregator.fill([*known, *following])
    assert taken == following
    assert take(aggregator, trade(3, 2.5)) == ()
    assert aggregator.too_late == 1
    found = newest([*issued, *candles])
    assert {at: candle.trades for at, candle in found.items() if candle.complete} == {2: 2, 5: 1}


def test_garbled_newest_ids_are_told_from_a_new_beginning():
    """The exchange's newest trade follows what was held before them, or does not."""
    trades = [trade(1, 1), trade(2, 2), trade(3, 3)]
    aggregator = given_all(*trades, trade(9_000_000, 3.5))
    assert aggregator.newest_is_bad(trade(7, 6))
    assert not aggregator.newest_is_bad(trade(2, 6))  # it counts anew
    assert not aggregator.newest_is_bad(trade(9_000_001, 6))
    assert not aggregator.newest_is_bad(trade(7, 2.5))
    assert not given_all(*trades).newest_is_bad(trade(7, 6))
    many = given_all(*trades, *(trade(9_000_000 + each, 4) for each in range(4)))
    assert not many.newest_is_bad(trade(7, 6))


def test_a_second_with_garbled_ids_is_counted_anew():
    """What else it holds is missing until history brings it; other seconds stay as they are."""
    trades = [trade(1, 1), trade(2, 2), trade(3, 3), trade(4, 3.2), trade(5, 3.9), trade(6, 4)]
    aggregator = given_all(*trades[:4], trade(9_000_000, 3.5, "77"))
    due(aggregator, 4)
    aggregator.discard_newest()
    candles = filled(aggregator, *trades)
    assert brief(candles) == [(3, True, 1)]
    assert numbers(candles[0]) == numbers(kline_of(trades, 3))
    assert aggregator.ledger.whole


# Beginning behind what was traded before.


def test_a_second_run_that_misses_nothing_covers_everything():
    """The second that it goes on from counts as the proved one that it is."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    aggregator.resume(Position(5 * S, 7, D(10)))
    for number in range(8, 11):
        take(aggregator, trade(number, number - 2))
    assert aggregator.coverage == 1.0


def test_the_last_trade_before_shows_what_is_missing_behind():
    """A quiet symbol's position is known before it trades, and so is the first hole."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    aggregator.add_kline(kline_of([], 5, carried="10"))
    assert aggregator.position() is None
    aggregator.begin_after(7, 4 * S, D(10), event_us=6 * S, received_us=6 * S)
    position = aggregator.position()
    assert position is not None
    assert (position.second_us, position.last_id, position.close) == (5 * S, 7, D(10))
    take(aggregator, trade(9, 7))
    assert [(each.first_id, each.last_id) for each in aggregator.ledger.holes()] == [(8, 8)]


def test_the_last_trade_before_proves_the_first_second():
    """A second that begins right behind it was never partial."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    issued = [candle for each in (trade(8, 5), trade(9, 6)) for candle in take(aggregator, each)]
    assert not issued
    candles = aggregator.begin_after(7, 4 * S, D(10), event_us=6 * S, received_us=6 * S)
    assert [(each.open_time_us, each.trades, each.complete) for each in candles] == [
        (5 * S, 1, True)
    ]
    assert aggregator.ledger.whole


@pytest.mark.parametrize(
    ("known", "last_id", "at_s"),
    [
        pytest.param(trade(3, 5), 7, 2, id="a smaller id is held"),
        pytest.param(kline_of([], 5, carried="10"), 7, 5, id="it is not from before"),
    ],
)
def test_only_the_last_trade_before_counts(known: Trade | Kline, last_id: int, at_s: int):
    """Of an id that cannot lie before what is known, or of a later second, nothing is begun."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, known)
    ranges = aggregator.ledger.ranges
    aggregator.begin_after(last_id, at_s * S, D(10), event_us=6 * S, received_us=6 * S)
    assert aggregator.ledger.ranges == ranges


def test_seconds_that_only_a_kline_may_prove_are_known():
    """Behind a lost stream nothing follows for long; but where ids are missing, those decide."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in (trade(1, 1), trade(2, 2), trade(3, 3)):
        take(aggregator, each)
    take(aggregator, kline_of([], 6, carried="10"))
    aggregator.close_due(9 * S, event_us=9 * S, received_us=9 * S)
    assert aggregator.open_without_kline(9 * S) == (S, 5 * S)
    assert aggregator.open_without_kline(4 * S) == (S, 3 * S)
    take(aggregator, trade(5, 8))
    assert aggregator.open_without_kline(9 * S) == (S, S)
