"""Tests of app.feed.streams_plan."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from app.errors import InvalidSetting
from app.feed.streams_plan import (
    DEFAULT_STREAMS,
    Followed,
    added,
    followed,
    served,
    streams_plan,
)
from app.market.events import (
    AveragePrice,
    BookTicker,
    DepthUpdate,
    ExchangeEvent,
    PartialDepth,
)
from tests.fakes import a_trade
from tests.feed.fakes import a_kline, aggregate

ONE = Decimal(1)


def an_aggregate() -> ExchangeEvent:
    """Return a trade as an aggregate."""
    return aggregate([a_trade()])


NOTHING = Followed(
    trades=False,
    aggregates=False,
    klines=False,
    depth=False,
    tickers=False,
    intervals=frozenset(),
    levels=frozenset(),
    others=False,
)


@pytest.mark.parametrize(
    ("streams", "brings"),
    [
        (
            DEFAULT_STREAMS,
            replace(
                NOTHING,
                trades=True,
                klines=True,
                depth=True,
                tickers=True,
                intervals=frozenset({"1s"}),
            ),
        ),
        (("aggTrade",), replace(NOTHING, aggregates=True)),
        (
            ("depth", "kline_1m", "kline_1d@+08:00"),
            replace(NOTHING, depth=True, intervals=frozenset({"1m", "1d"})),
        ),
        (
            ("depth20@100ms", "bookTicker"),
            replace(NOTHING, tickers=True, levels=frozenset({20})),
        ),
    ],
)
def test_streams_say_what_they_bring(streams: tuple[str, ...], brings: Followed):
    """Only the kline of a second proves candles, only changes make a whole book."""
    assert followed(streams) == brings


@pytest.mark.parametrize(
    ("stream", "event"),
    [
        ("trade", a_trade()),
        ("aggTrade", an_aggregate()),
        ("kline_1s", a_kline()),
        ("kline_1m", a_kline(interval="1m")),
        ("depth@100ms", DepthUpdate("BTCUSDT", 1, 2, (), (), 3, 4)),
        ("depth5", PartialDepth("BTCUSDT", 2, (), (), 5, None, 4)),
        ("depth20@100ms", PartialDepth("BTCUSDT", 2, (), (), 20, None, 4)),
        ("bookTicker", BookTicker("BTCUSDT", 2, ONE, ONE, ONE, ONE, None, 4)),
    ],
)
def test_an_event_is_of_a_stream_or_of_none(stream: str, event: ExchangeEvent):
    """Whatever else is followed: of another kind, interval or number of levels."""
    streams = {
        *("trade", "aggTrade", "kline_1s", "kline_1m", "depth@100ms"),
        *("depth5", "depth20@100ms", "bookTicker"),
    }
    assert followed((stream,)).brings(event)
    assert not followed(streams - {stream}).brings(event)
    assert not followed(()).brings(AveragePrice("BTCUSDT", "5m", ONE, 1, 1, 1))


@pytest.mark.parametrize(
    ("own", "more", "found"),
    [
        (DEFAULT_STREAMS, ["aggTrade", "kline_1m"], ("aggTrade", "kline_1m")),
        (DEFAULT_STREAMS, ["trade", "depth@100ms", "bookTicker"], ()),
        (("depth",), ["depth@1000ms", "trade"], ("trade",)),
        (("aggTrade",), ["trade", "kline_1s"], ("kline_1s",)),
        (DEFAULT_STREAMS, ["depth", "depth5@1000ms", "depth5"], ("depth5",)),
        (("trade",), ["depth"], ("depth",)),
        (DEFAULT_STREAMS, ["kline_1d@+08:00", "nonsense", "", "@arr"], ("kline_1d@+08:00",)),
    ],
)
def test_more_is_followed_that_cannot_be_mistaken(
    own: tuple[str, ...], more: list[str], found: tuple[str, ...]
):
    """Each by its one name: nothing twice, and no second stream of trades or of a book."""
    assert added(own, more) == found


def test_candles_are_made_of_trades_of_either_kind():
    """Of nothing else."""
    assert followed(["trade"]).has_candles
    assert followed(["aggTrade"]).has_candles
    assert not followed(["kline_1s", "depth"]).has_candles


def test_a_symbol_may_have_streams_of_its_own():
    """All others follow the same."""
    plan = streams_plan(DEFAULT_STREAMS, {"BTCUSDT": ("aggTrade",)})
    assert (plan("BTCUSDT"), plan("ETHUSDT")) == (("aggTrade",), DEFAULT_STREAMS)


def test_a_book_cannot_be_followed_twice():
    """The slower stream would only repeat what the other brings."""
    with pytest.raises(InvalidSetting) as caught:
        streams_plan(["trade", "depth", "depth@100ms"], {})
    assert str(caught.value) == (
        "STREAMS=trade,depth,depth@100ms: expected one of depth and depth@100ms, not both"
    )
    with pytest.raises(InvalidSetting) as caught:
        streams_plan(["trade"], {"BTCUSDT": ["depth@100ms", "depth"]})
    assert caught.value.key == "SYMBOL_STREAMS, BTCUSDT"


@pytest.mark.parametrize(
    ("wanted", "channels", "streams"),
    [
        (DEFAULT_STREAMS, {"trade", "kline_1s", "depth@100ms", "bookTicker"}, DEFAULT_STREAMS),
        (DEFAULT_STREAMS, {"aggTrade", "depth@100ms"}, ("aggTrade", "kline_1s", "depth@100ms")),
        (("trade", "aggTrade", "kline_1m"), {"aggTrade"}, ("aggTrade", "kline_1m")),
        (("depth",), {"aggTrade", "depth@100ms"}, ("aggTrade", "kline_1s")),
    ],
)
def test_a_recording_may_lack_what_is_wanted(
    wanted: tuple[str, ...], channels: set[str], streams: tuple[str, ...]
):
    """Aggregates take the place of trades; it never comes to nothing at all."""
    assert served(wanted, channels) == streams
