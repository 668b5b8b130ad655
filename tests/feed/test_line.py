"""Tests of app.feed.line."""

from __future__ import annotations

from app.feed.line import Line
from app.market.events import Trade
from tests.fakes import a_trade
from tests.feed.fakes import FakeConnection, a_kline


def a_line() -> tuple[Line, list[object], list[str]]:
    """Return a line, the events that came over it and the reasons for its end."""
    taken: list[object] = []
    ended: list[str] = []
    line = Line(taken.append, lambda line: ended.append(line.reason), now_s=10)
    return line, taken, ended


def test_events_go_straight_on_and_the_end_is_told_once():
    """Whatever comes reaches the feed; a loss is told once, with its reason, and closes it."""
    line, taken, ended = a_line()
    connection = FakeConnection(("BTCUSDT",), line)
    line.opened(connection, now_s=11)
    connection.deliver(a_trade())
    connection.lose("cut")
    line.end("again")
    assert taken == [a_trade()]
    assert ended == ["cut"]
    assert not connection.is_open


def test_a_line_that_was_lost_while_it_opened_is_closed():
    """An end before `connect` has returned leaves no connection behind."""
    line, _, ended = a_line()
    line.end("our own error")
    connection = FakeConnection(("BTCUSDT",), line)
    line.opened(connection, now_s=11)
    assert not connection.is_open
    assert ended == ["our own error"]


def test_silence_begins_with_the_last_candle():
    """Silence is counted from the opening, and anew from each candle; trades do not end it."""
    line, _, _ = a_line()
    connection = FakeConnection(("BTCUSDT",), line)
    line.opened(connection, now_s=11)
    assert line.silent_s(14) == 3
    connection.deliver(a_trade())
    assert line.silent_s(15) == 4
    connection.deliver(a_kline())
    assert line.heartbeats == 1
    assert line.silent_s(16) == 0
    assert line.silent_s(18) == 2


def test_it_is_asked_once_in_each_silence():
    """A ping tells which way it is silent; before there was one, nobody has answered."""
    line, _, _ = a_line()
    line.ask()
    connection = FakeConnection(("BTCUSDT",), line)
    line.opened(connection, now_s=11)
    assert not line.answers
    line.ask()
    line.ask()
    assert (line.answers, connection.pings) == (True, 1)
    connection.answers = False
    assert not line.answers
    connection.deliver(a_kline())
    line.silent_s(20)
    line.ask()
    assert connection.pings == 2


def test_without_candles_every_event_is_a_heartbeat():
    """Where a source has no candles, whatever comes shows that the connection is alive."""
    taken: list[object] = []
    line = Line(taken.append, lambda _: None, now_s=10, has_klines=False)
    connection = FakeConnection(("BTCUSDT",), line)
    line.opened(connection, now_s=11)
    assert line.silent_s(14) == 3
    connection.deliver(a_trade())
    assert (taken, line.heartbeats) == ([a_trade()], 1)
    assert line.silent_s(15) == 0


def test_what_was_asked_for_beside_its_streams_is_no_heartbeat():
    """It comes whether these are alive or not."""
    taken: list[object] = []
    line = Line(
        taken.append,
        lambda _: None,
        now_s=10,
        has_klines=False,
        counts=lambda event: isinstance(event, Trade),
    )
    connection = FakeConnection(("BTCUSDT",), line)
    line.opened(connection, now_s=11)
    connection.deliver(a_kline())
    assert (taken, line.heartbeats) == ([a_kline()], 0)
    assert line.silent_s(15) == 4
