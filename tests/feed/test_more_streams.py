"""Tests of app.feed.more_streams."""

from __future__ import annotations

from app.feed.more_streams import WantedStreams

OWN = ("trade", "kline_1s")


def wanted() -> tuple[WantedStreams, list[str]]:
    """Return streams that more can be wanted beside, and the symbols that changed."""
    changed: list[str] = []
    streams = WantedStreams(lambda _symbol: OWN)
    streams.changed = changed.append
    return streams, changed


def test_a_stream_is_followed_as_long_as_anybody_wants_it():
    """The first one who wants it begins it, the last one ends it."""
    streams, changed = wanted()
    streams.want("BTCUSDT", "aggTrade")
    streams.want("BTCUSDT", "aggTrade")
    assert streams.streams_of("BTCUSDT") == (*OWN, "aggTrade")
    assert streams.streams_of("ETHUSDT") == OWN
    streams.unwant("BTCUSDT", "aggTrade")
    assert streams.report() == {"BTCUSDT": ("aggTrade",)}
    assert changed == ["BTCUSDT"]
    streams.unwant("BTCUSDT", "aggTrade")
    assert streams.streams_of("BTCUSDT") == OWN
    assert streams.report() == {}
    assert changed == ["BTCUSDT", "BTCUSDT"]


def test_what_it_has_anyway_changes_nothing():
    """Nor does what is no stream of a symbol, nor to want no more what nobody wanted."""
    streams, changed = wanted()
    for stream in ("trade", "nonsense"):
        streams.want("BTCUSDT", stream)
        assert streams.streams_of("BTCUSDT") == OWN
        assert streams.report() == {}
        streams.unwant("BTCUSDT", stream)
    streams.unwant("BTCUSDT", "aggTrade")
    streams.want("BTCUSDT", "kline_1m")
    streams.unwant("BTCUSDT", "aggTrade")
    assert streams.streams_of("BTCUSDT") == (*OWN, "kline_1m")
    assert changed == ["BTCUSDT"]


def test_two_names_of_one_stream_are_one():
    """It is followed until neither is wanted any more."""
    streams, _ = wanted()
    streams.want("BTCUSDT", "depth5")
    streams.want("BTCUSDT", "depth5@1000ms")
    assert streams.streams_of("BTCUSDT") == (*OWN, "depth5")
    streams.unwant("BTCUSDT", "depth5")
    assert streams.streams_of("BTCUSDT") == (*OWN, "depth5")
    streams.unwant("BTCUSDT", "depth5@1000ms")
    assert streams.streams_of("BTCUSDT") == OWN
