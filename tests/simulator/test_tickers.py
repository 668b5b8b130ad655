"""Tickers and average prices that are made of what has traded."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from app.binance.streams import parse_stream
from app.market.events import SECOND_US, AveragePrice, MiniTicker, Ticker, Trade, WindowTicker
from app.simulator.listing import LISTINGS, QUIET
from app.simulator.seeded import SeededMarket
from app.simulator.served import Served
from app.simulator.tickers import AFTER_US, Tickers
from tests.simulator.running import BUSY_US
from tests.simulator.traded import by_hand

DAY_US = 86_400 * SECOND_US
TRADED = len([listing for listing in LISTINGS if listing.per_minute])


class Exchange:
    """A market with its tickers, led by hand, from half a second after `BUSY_US` on."""

    def __init__(self, *names: str, history_s: int = 600) -> None:
        self.market = SeededMarket(7, history_s=history_s)
        self.market.begin(BUSY_US + SECOND_US // 2)
        self.served = Served(self.market)
        self.tickers = Tickers(self.market, self.served)
        self.follow(*names)
        for symbol in self.tickers.symbols:
            self.market.warm(symbol, 200)

    def follow(self, *names: str) -> None:
        """Let these streams be followed."""
        streams = [(name, parse_stream(name)) for name in names]
        self.tickers.follow([(name, stream) for name, stream in streams if stream is not None])

    def tick(self, seconds: float = 1.0) -> dict[str, Any]:
        """Let time pass; return what goes out, by name."""
        self.market.take(self.market.shown_us + int(seconds * SECOND_US), 10**6)
        return dict(self.tickers.take(self.market.shown_us))

    def trades(self, symbol: str) -> list[Trade]:
        """Return the whole past of a symbol."""
        found: list[Trade] = []
        begin = 0
        while page := self.served.trades(symbol, from_id=begin, limit=1000):
            found += page
            begin = page[-1].id + 1
        return found


def test_every_ticker_is_the_sum_of_its_window():
    """All of one moment tell what the trades of REST add up to in their windows, bit by bit."""
    names = [f"solusdt@{kind}" for kind in ("ticker", "miniTicker", "ticker_1h", "avgPrice")]
    exchange = Exchange(*names, history_s=2 * 3_600)
    sent = exchange.tick()
    assert list(sent) == names
    ticker, mini, window, average = (sent[name] for name in names)
    trades = exchange.trades("SOLUSDT")
    now = exchange.market.shown_us
    assert isinstance(ticker, Ticker)
    assert (ticker.event_us, now - DAY_US - ticker.open_time_us) == (now, 1_000)
    day = by_hand(trades, start_us=ticker.open_time_us, end_us=ticker.close_time_us)
    assert day is not None
    assert (ticker.open, ticker.high, ticker.low, ticker.last) == (
        (day.open, day.high, day.low, day.last)
    )
    assert (ticker.volume, ticker.quote_volume, ticker.last_quantity) == (
        (day.volume, day.quote_volume, day.last_quantity)
    )
    assert ticker.trades == ticker.last_trade_id - ticker.first_trade_id + 1 == len(trades)
    assert ticker.price_change == day.last - day.open
    book = exchange.market.depth("SOLUSDT", limit=1)
    assert book.bids[0] == (str(ticker.bid_price), str(ticker.bid_quantity))
    assert book.asks[0] == (str(ticker.ask_price), str(ticker.ask_quantity))
    assert isinstance(mini, MiniTicker)
    assert (mini.open, mini.close, mini.volume) == (ticker.open, ticker.last, ticker.volume)
    assert isinstance(window, WindowTicker)
    assert window.open_time_us == (now - 3_600 * SECOND_US) // (60 * SECOND_US) * 60 * SECOND_US
    hour = by_hand(trades, start_us=window.open_time_us, end_us=window.close_time_us)
    assert hour is not None
    assert (window.open, window.volume, window.trades) == (hour.open, hour.volume, hour.trades)
    assert (window.first_trade_id, window.last_trade_id) == (
        (hour.first_trade_id, hour.last_trade_id)
    )
    assert isinstance(average, AveragePrice)
    minutes = by_hand(trades, start_us=now - 300 * SECOND_US, end_us=now)
    assert minutes is not None
    exact = minutes.quote_volume / minutes.volume
    assert abs(average.price - exact) <= Decimal("0.000000005")
    assert average.last_trade_us == trades[-1].time_us


def test_they_come_a_moment_after_each_second():
    """Once a second, while somebody follows them."""
    exchange = Exchange("btcusdt@ticker")
    assert len(exchange.tick(0.001)) == 1  # the first one at once
    due = exchange.tickers.due_us
    assert due == (exchange.market.shown_us // SECOND_US + 1) * SECOND_US + AFTER_US
    times = [sent["btcusdt@ticker"].event_us for _ in range(60) if (sent := exchange.tick(0.05))]
    assert [time - BUSY_US for time in times] == [1_051_000, 2_051_000, 3_051_000]
    exchange.follow()
    assert exchange.tickers.due_us is None
    assert exchange.tick(5) == {}


def symbols(events: Sequence[Any]) -> set[str]:
    """Return whose events these are."""
    return {event.symbol for event in events}


@pytest.mark.parametrize("name", ["!miniTicker@arr", "!ticker_1h@arr", "!ticker_1d@arr"])
def test_a_stream_of_all_brings_what_has_changed(name):
    """First everything that trades, then those alone that are not as they were."""
    exchange = Exchange(name)
    first = exchange.tick()[name]
    assert len(first) == len(symbols(first)) == TRADED
    known = {event.symbol: event for event in first}
    brought = 0
    for _ in range(20):
        own = {symbol: exchange.trades(symbol)[-1].id for symbol in (QUIET, "BTCUSDT")}
        events = exchange.tick()[name]
        for event in events:
            before = known[event.symbol]
            volume = (event.volume, event.quote_volume)
            assert volume != (before.volume, before.quote_volume)
            known[event.symbol] = event
        for symbol, last in own.items():
            traded = exchange.trades(symbol)[-1].id > last
            assert (symbol in symbols(events)) is traded
            brought += traded
    assert 0 < brought < 30


def test_a_slower_stream_of_all_comes_every_third_second():
    """Both names of the usual one bring the same, the slow one what changed in three seconds."""
    names = ["!miniTicker@arr", "!miniTicker@arr@1000ms", "!miniTicker@arr@3000ms"]
    exchange = Exchange(*names)
    ticks = [exchange.tick() for _ in range(7)]
    assert all(tick[names[0]] == tick[names[1]] for tick in ticks)
    slow = [number for number, tick in enumerate(ticks) if names[2] in tick]
    assert slow == [slow[0], slow[0] + 3, slow[0] + 6][: len(slow)]
    assert len(slow) >= 2
    changed = set[str]().union(*(symbols(t[names[0]]) for t in ticks[slow[0] + 1 : slow[1] + 1]))
    assert symbols(ticks[slow[1]][names[2]]) == changed


def test_what_never_traded_or_is_halted_sends_nothing():
    """A listed symbol without a trade has no ticker; BREAK stops those of a symbol."""
    exchange = Exchange("lunausdt@ticker", "ethusdt@ticker", "!miniTicker@arr")
    sent = exchange.tick()
    assert "lunausdt@ticker" not in sent
    assert "LUNAUSDT" not in symbols(sent["!miniTicker@arr"])
    exchange.served.set_status("ETHUSDT", "BREAK")
    sent = exchange.tick()
    assert "ethusdt@ticker" not in sent
    assert "ETHUSDT" not in symbols(sent["!miniTicker@arr"])
    exchange.served.set_status("ETHUSDT", "CANCEL_ONLY")
    assert "ethusdt@ticker" in exchange.tick()


def test_new_ids_are_named_after_a_reset():
    """The numbers go on, the ids begin at 1, on the streams and over REST."""
    exchange = Exchange("btcusdt@ticker", "btcusdt@ticker_4h")
    exchange.tick()
    exchange.served.reset_ids("BTCUSDT")
    sent = exchange.tick(3)
    last = exchange.served.trades("BTCUSDT", from_id=None, limit=1)[0].id
    for event in sent.values():
        assert (event.first_trade_id, event.last_trade_id) == (1, last)
        assert event.trades > 1_000
    now = exchange.market.shown_us
    found = exchange.served.statistics("BTCUSDT", start_us=now - DAY_US, end_us=now)
    assert found is not None
    assert (found.first_trade_id, found.last_trade_id) == (1, last)


def test_a_long_past_is_added_up_before_tickers_come():
    """No ticker comes until its window is added up ahead, so that none holds up the streams."""
    exchange = Exchange(history_s=1_800)
    exchange.follow("btcusdt@ticker")
    assert exchange.tick() == {}
    since_us = exchange.market.shown_us - DAY_US
    while not exchange.market.warm("BTCUSDT", 20, since_us=since_us):
        pass
    assert len(exchange.tick()) == 1


def test_a_past_of_more_than_a_day_is_not_awaited():
    """What is added up of the day before is enough, however far the past reaches."""
    exchange = Exchange(f"{QUIET.lower()}@ticker", history_s=2 * 86_400)
    assert exchange.tick() == {}
    since_us = exchange.market.shown_us - DAY_US - 60 * SECOND_US
    while not exchange.market.warm(QUIET, 100, since_us=since_us):
        pass
    assert list(exchange.tick()) == [f"{QUIET.lower()}@ticker"]
