"""Tests of app.feed.streams_plan."""

from __future__ import annotations

import pytest

from app.errors import InvalidSetting
from app.feed.streams_plan import DEFAULT_STREAMS, Followed, followed, served, streams_plan


@pytest.mark.parametrize(
    ("streams", "brings"),
    [
        (DEFAULT_STREAMS, Followed(trades=True, aggregates=False, klines=True, depth=True)),
        (("aggTrade",), Followed(trades=False, aggregates=True, klines=False, depth=False)),
        (("depth", "kline_1m"), Followed(trades=False, aggregates=False, klines=False, depth=True)),
        (
            ("depth20@100ms", "bookTicker"),
            Followed(trades=False, aggregates=False, klines=False, depth=False),
        ),
    ],
)
def test_streams_say_what_they_bring(streams: tuple[str, ...], brings: Followed):
    """Only the kline of a second proves candles, only changes make a whole book."""
    assert followed(streams) == brings


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
