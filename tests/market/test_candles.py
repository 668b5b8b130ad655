"""Tests of app.market.candles."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.market.candles import CandleAggregator
from app.market.events import AggTrade, Candle, Kline, Trade
from app.market.position import Position

S = 1_000_000
D = Decimal
FAR = 10_000 * S


def trade(
    trade_id: int, at_s: float, price: str = "10", quantity: str = "1", *, maker: bool = False
) -> Trade:
    """Make a trade of second `at_s`."""
    at_us = round(at_s * S)
    return Trade("SYMBOL", trade_id, D(price), D(quantity), at_us, maker, at_us, at_us)


def kline_of(trades: Sequence[Trade], at_s: int, *, carried: str | None = None) -> Kline:
    """Make the exchange's kline of second `at_s` from the very trades, by plain sums."""
    inside = sorted((t for t in trades if t.time_us // S == at_s), key=lambda t: t.id)
    bought = [t for t in inside if not t.buyer_is_maker]
    if inside:
        prices = [t.price for t in inside]
        numbers = (prices[0], max(prices), min(prices), prices[-1])
        ids = (inside[0].id, inside[-1].id)
    else:
        assert carried is not None
        numbers = (D(carried),) * 4
        ids = (-1, -1)
    return Kline(
        "SYMBOL",
        "1s",
        at_s * S,
        at_s * S + S - 1,
        *numbers,
        sum((t.quantity for t in inside), D(0)),
        sum((t.price * t.quantity for t in inside), D(0)),
        len(inside),
        sum((t.quantity for t in bought), D(0)),
        sum((t.price * t.quantity for t in bought), D(0)),
        *ids,
        closed=True,
        event_us=at_s * S + S,
        received_us=at_s * S + S,
    )


def newest(candles: Iterable[Candle]) -> dict[int, Candle]:
    """Return the newest issue of each second, by its second."""
    found: dict[int, Candle] = {}
    for candle in candles:
        before = found.get(candle.open_time_us)
        assert candle.revision == (0 if before is None else before.revision + 1)
        found[candle.open_time_us] = candle
    return {at_us // S: candle for at_us, candle in found.items()}


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


def numbers(candle: Candle) -> tuple[object, ...]:
    """Return all that the exchange's kline says too."""
    return (
        candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume,
        candle.trades, candle.taker_buy_volume, candle.taker_buy_quote_volume,
        candle.first_trade_id, candle.last_trade_id,
    )  # fmt: skip


def kline_numbers(kline: Kline) -> tuple[object, ...]:
    """Return the same of a kline."""
    return (
        kline.open, kline.high, kline.low, kline.close, kline.volume, kline.quote_volume,
        kline.trades, kline.taker_buy_volume, kline.taker_buy_quote_volume,
        kline.first_trade_id, kline.last_trade_id,
    )  # fmt: skip


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
    assert numbers(candle) == kline_numbers(kline_of(trades, 1))
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


def test_a_kline_from_rest_proves_by_the_number_of_its_trades():
    """It names no ids; but who holds as many trades of the second as it counts holds all."""
    trades = [trade(1, 1), trade(2, 1.2, "12")]
    from_rest = replace(kline_of(trades, 1), first_trade_id=-1, last_trade_id=-1, from_rest=True)
    some, every = (CandleAggregator("SYMBOL", source="test") for _ in range(2))
    take(some, trades[0])
    assert some.add_kline(from_rest) == []
    for each in trades:
        take(every, each)
    (candle,) = every.add_kline(from_rest)
    assert candle.complete
    assert (every.verified, some.verified, some.mismatched) == (1, 0, 0)


def test_a_kline_of_the_stream_replaces_one_from_rest():
    """Where a kline from REST proved nothing, the stream's own, which names ids, still counts."""
    trades = [trade(1, 1), trade(2, 1.2, "12")]
    kline = kline_of(trades, 1)
    from_rest = replace(kline, first_trade_id=-1, last_trade_id=-1, from_rest=True)
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, trades[0])
    assert aggregator.add_kline(from_rest) == []
    take(aggregator, kline)
    (candle,) = take(aggregator, trades[1])
    assert candle.complete
    assert list(aggregator.add_kline(from_rest)) == []
    assert (aggregator.verified, aggregator.mismatched) == (1, 0)


def test_a_kline_from_rest_is_compared_without_ids():
    """A second that trades have proved is verified by a kline from REST too."""
    trades = [trade(1, 1), trade(2, 2), trade(3, 3)]
    kline = replace(kline_of(trades, 2), first_trade_id=-1, last_trade_id=-1, from_rest=True)
    aggregator = CandleAggregator("SYMBOL", source="test")
    for each in trades:
        take(aggregator, each)
    assert aggregator.add_kline(kline) == []
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
    one = AggTrade("SYMBOL", 1, D(3), D(5), 11, 14, 2 * S, False, 2 * S, 2 * S)
    found = newest(feed([trade(10, 1), one, trade(15, 3)]))
    assert (found[2].trades, found[2].first_trade_id, found[2].last_trade_id) == (4, 11, 14)
    assert (found[2].volume, found[2].quote_volume) == (D(5), D(15))


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
        found[at] = kline_numbers(kline)
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


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1_000])
def test_a_busy_second_is_added_up_in_parts(count: int):
    """However many trades a second has, its sums are those of all of them."""
    trades = [trade(1, 1)]
    trades += [trade(2 + n, 2 + n / 2_000, str(10 + n % 7), maker=n % 3 == 0) for n in range(count)]
    found = newest(feed([*trades, trade(2 + count, 3)]))
    assert numbers(found[2]) == kline_numbers(kline_of(trades, 2))


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
    aggregator.begin_after(AggTrade("SYMBOL", 1, D(10), D(1), 6, 7, 2 * S, True, 2 * S, 2 * S))
    position = aggregator.position()
    assert position is not None
    assert (position.second_us, position.last_id, position.close) == (5 * S, 7, D(10))
    take(aggregator, trade(9, 7))
    assert [(each.first_id, each.last_id) for each in aggregator.ledger.holes()] == [(8, 8)]


@pytest.mark.parametrize(
    ("known", "at_s"),
    [
        pytest.param(trade(3, 5), 2, id="a trade is held"),
        pytest.param(kline_of([], 5, carried="10"), 5, id="it is not from before"),
    ],
)
def test_only_the_last_trade_before_counts(known: Trade | Kline, at_s: int):
    """Where ids are known, or of a trade that the stream brings as well, nothing is begun."""
    aggregator = CandleAggregator("SYMBOL", source="test")
    take(aggregator, known)
    ranges = aggregator.ledger.ranges
    aggregator.begin_after(
        AggTrade("SYMBOL", 1, D(10), D(1), 6, 7, at_s * S, True, at_s * S, at_s * S)
    )
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
