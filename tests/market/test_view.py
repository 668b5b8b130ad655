"""MarketView: the newest of each symbol, whatever the order things come in."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.events import Candle, Publication, StreamLost, Trade
from app.market.view import MarketView
from tests.fakes import an_aggregate


def published(event: Trade | Candle | StreamLost, epoch: int = 1, sequence: int = 1) -> Publication:
    """Return an event with a position."""
    return Publication(epoch, sequence, "any", event)


def trade(number: int, symbol: str = "BTCUSDT") -> Trade:
    """Return one trade."""
    one = Decimal(1)
    return Trade(symbol, number, one, one, number, False, number, number)


def candle(
    second: int, revision: int = 0, *, symbol: str = "BTCUSDT", interval: str = "1s"
) -> Candle:
    """Return one candle."""
    n = Decimal(1)
    start = second * 1_000_000
    return Candle(
        "simulated", symbol, interval, start, n, n, n, n, n, n, 1, n, n, 1, 1, True, revision, 1, 1
    )


def test_nothing_is_known_at_first() -> None:
    """Before its first data a symbol has neither trade nor candle."""
    view = MarketView()
    assert view.last_trade("BTCUSDT") is None
    assert view.last_candle("BTCUSDT") is None


def test_the_last_trade_is_the_one_with_the_largest_id() -> None:
    """A repaired trade that is older than the last one does not replace it."""
    view = MarketView()
    for number in (5, 7, 6):
        view.apply(published(trade(number)))
    assert view.last_trade("BTCUSDT") == trade(7)


def test_an_aggregate_counts_by_its_last_trade() -> None:
    """Aggregates are numbered by themselves, yet which one is newer is told by their trades."""
    view = MarketView()
    first = an_aggregate(id=3, first_trade_id=5, last_trade_id=7)
    later = an_aggregate(id=4, first_trade_id=8, last_trade_id=8)
    for one in (later, first):
        view.apply(Publication(1, 1, "any", one))
    assert view.last_trade("BTCUSDT") == later
    view.apply(published(trade(6)))
    assert view.last_trade("BTCUSDT") == later


def test_symbols_do_not_mix() -> None:
    """Each symbol has a last trade and a last candle of its own."""
    view = MarketView()
    view.apply(published(trade(5)))
    view.apply(published(candle(5, symbol="ETHUSDT")))
    assert view.last_trade("ETHUSDT") is None
    assert view.last_candle("BTCUSDT") is None
    assert view.last_candle("ETHUSDT") == candle(5, symbol="ETHUSDT")


@pytest.mark.parametrize(
    ("issues", "kept"),
    [
        pytest.param([(candle(1), 1, 1), (candle(2), 1, 2)], 1, id="a newer second replaces"),
        pytest.param([(candle(2), 1, 1), (candle(1, 1), 1, 2)], 0, id="a re-issued old one not"),
        pytest.param([(candle(2), 1, 1), (candle(2, 1), 1, 2)], 1, id="a newer revision replaces"),
        pytest.param([(candle(2, 1), 1, 2), (candle(2), 1, 1)], 0, id="an older revision not"),
        pytest.param([(candle(2, 3), 1, 9), (candle(2), 2, 1)], 1, id="a newer epoch replaces"),
        pytest.param([(candle(2), 2, 1), (candle(2, 3), 1, 9)], 0, id="an older epoch not"),
        pytest.param([(candle(2), 1, 5), (candle(2), 1, 5)], 0, id="a repetition changes nothing"),
    ],
)
def test_the_newest_issue_of_the_newest_second_is_kept(
    issues: list[tuple[Candle, int, int]], kept: int
) -> None:
    """Second, then epoch, then revision decide which candle is the last one."""
    view = MarketView()
    for event, epoch, sequence in issues:
        view.apply(published(event, epoch, sequence))
    assert view.last_candle("BTCUSDT") is issues[kept][0]


def test_other_intervals_and_events_change_nothing() -> None:
    """Only trades and 1-second candles are the state of a symbol."""
    view = MarketView()
    view.apply(published(candle(1, interval="1m")))
    view.apply(published(StreamLost("BTCUSDT", "reset", None, 1)))
    assert view.last_candle("BTCUSDT") is None


def test_a_forgotten_symbol_is_as_if_never_seen() -> None:
    """After `forget` nothing is held, and forgetting twice is harmless."""
    view = MarketView()
    view.apply(published(trade(5)))
    view.apply(published(candle(5)))
    view.forget("BTCUSDT")
    view.forget("BTCUSDT")
    assert view.last_trade("BTCUSDT") is None
    assert view.last_candle("BTCUSDT") is None


@given(st.permutations([(second, revision) for second in range(3) for revision in range(3)]))
def test_the_order_of_arrival_does_not_matter(arrivals: list[tuple[int, int]]) -> None:
    """Whatever order the issues come in, the newest revision of the newest second is left."""
    view = MarketView()
    for sequence, (second, revision) in enumerate(arrivals):
        view.apply(published(candle(second, revision), sequence=sequence))
    assert view.last_candle("BTCUSDT") == candle(2, 2)
