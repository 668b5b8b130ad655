"""One symbol's tape."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from app.simulator.listing import LISTINGS, PAIR, QUIET
from app.simulator.seeded import make_tapes
from app.simulator.tape import FIRST_ID, ORIGIN_S, Price

NOW_S = 1_795_225_200
TAPES = make_tapes(7)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHBTC", QUIET])
def test_the_id_of_any_second_is_a_formula(symbol):
    """Asked in any order, ids never fall and what one second ends with the next begins with."""
    tape = TAPES[symbol]
    for begin in (ORIGIN_S + 60, NOW_S, NOW_S + 86_400 * 365):
        ids = [tape.first_id(second) for second in range(begin, begin + 7_200, 13)]
        assert ids == sorted(ids)
    for second in (NOW_S + 3_600, NOW_S, NOW_S + 1, NOW_S + 59):
        prints = tape.prints(second)
        numbers = [trade.id for trade in prints]
        assert numbers == list(range(tape.first_id(second), tape.first_id(second + 1)))


def test_nothing_was_traded_before_the_origin():
    """The market opens with its first id."""
    tape = TAPES["BTCUSDT"]
    assert tape.first_id(ORIGIN_S) == tape.first_id(0)
    assert tape.first_id(ORIGIN_S) <= FIRST_ID + 8
    assert tape.prints(ORIGIN_S - 1) == ()
    assert tape.last_ticks(ORIGIN_S - 1) == tape.listing.level


def test_every_trade_is_found_by_its_id():
    """`second_of` is the inverse of the ids of a second."""
    for symbol in ("SOLUSDT", QUIET):
        tape = TAPES[symbol]
        begin, end = tape.first_id(NOW_S), tape.first_id(NOW_S + 3_600)
        for trade_id in range(begin, end, max(1, (end - begin) // 50)):
            second = tape.second_of(trade_id)
            assert trade_id in [trade.id for trade in tape.prints(second)]


def test_aggregate_ids_are_a_formula():
    """Six of eight trades begin one; a second always begins with one; both ways agree."""
    tape = TAPES["BTCUSDT"]
    begins = [tape.begins_agg(FIRST_ID + n) for n in range(8_000)]
    assert sum(begins) == 6_000
    first = tape.first_id(NOW_S)
    known = tape.agg_id(first)
    for trade_id in range(first + 1, first + 500):
        known += tape.begins_agg(trade_id)
        assert tape.agg_id(trade_id) == known
        if tape.begins_agg(trade_id):
            assert tape.id_of_agg(known) == trade_id
    assert all(tape.begins_agg(tape.first_id(NOW_S + n)) for n in range(200))


def test_the_bar_of_a_minute_is_the_sum_of_its_seconds():
    """Whole minutes are added up once and kept."""
    tape = TAPES["LINKUSDT"]
    minute = NOW_S // 60
    whole = tape.minute_bar(minute)
    seconds = [tape.second_bar(second) for second in range(minute * 60, minute * 60 + 60)]
    assert whole.trades == sum(bar.trades for bar in seconds)
    assert whole.quote == sum(bar.quote for bar in seconds)
    assert whole.trades == whole.last_id - whole.first_id + 1


def test_a_cross_rate_is_the_quotient_of_its_two_prices():
    """ETHBTC stays within a few hundredths of a percent of ETHUSDT over BTCUSDT."""
    last = {name: TAPES[name].listing for name in ("ETHUSDT", "BTCUSDT", "ETHBTC")}
    for second in range(NOW_S, NOW_S + 86_400, 3_600):
        eth, btc, cross = (
            TAPES[name].last_ticks(second) / 10**listing.price_digits
            for name, listing in last.items()
        )
        assert cross == pytest.approx(eth / btc, rel=0.002)


def test_symbols_move_together_and_the_pair_comes_back():
    """Returns correlate; the pair's spread stays narrow while its prices wander."""
    listings = {listing.symbol: listing for listing in LISTINGS}
    walk = Price.market_walk(7)

    def price(symbol: str) -> Price:
        listing = listings[symbol]
        leader = price(listing.follows) if listing.follows else None
        return Price(listing, seed=7, market=walk, leader=leader)

    times = range(NOW_S, NOW_S + 4 * 86_400, 1_800)

    def logs(symbol: str) -> list[float]:
        made = price(symbol)
        return [made.log(second) for second in times]

    def correlation(left: list[float], right: list[float]) -> float:
        lefts = [b - a for a, b in pairwise(left)]
        rights = [b - a for a, b in pairwise(right)]
        products = sum(a * b for a, b in zip(lefts, rights, strict=True))
        return products / math.sqrt(sum(a * a for a in lefts) * sum(b * b for b in rights))

    assert correlation(logs("BTCUSDT"), logs("ETHUSDT")) > 0.4
    leader, follower = logs(PAIR[0]), logs(PAIR[1])
    by = listings[PAIR[1]].follow_by
    spread = [b - by * a for a, b in zip(leader, follower, strict=True)]
    assert max(spread) - min(spread) < 0.02
    assert max(leader) - min(leader) > 0.02
