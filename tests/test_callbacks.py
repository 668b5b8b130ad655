"""Tests of app.callbacks: an inbox for each, and what happens when it is full."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from app.callbacks import (
    CANDLE,
    GROWING,
    HAPPENED,
    TRADE,
    Kind,
    Listener,
    Missed,
    On,
    OnBook,
    OnCandle,
    texts,
)
from app.clock import SystemClock
from app.errors import InvalidSymbol, UnsupportedInterval
from app.market.events import Candle, ExchangeRefusal, MarketEvent, Publication, Trade
from app.ports import CANDLES, FORMING, TRADES
from tests.fakes import a_candle, a_trade, settle


class Bus:
    """Numbers events and gives them to one listener."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.sequence = 0

    def publish(self, event: MarketEvent) -> None:
        """Hand an event on."""
        self.sequence += 1
        self.listener.take(Publication(1, self.sequence, self.listener.kind.topic, event))


@asynccontextmanager
async def running(listener: Listener) -> AsyncIterator[list[Missed]]:
    """Run a listener; yield what it tells to have missed."""
    told: list[Missed] = []
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(listener.run(SystemClock(), told.append))
        yield told
        task.cancel()


@contextmanager
def silent_log() -> Iterator[None]:
    """Keep the tracebacks of callbacks that fail on purpose out of the output."""
    logging.getLogger("app.callbacks").disabled = True
    try:
        yield
    finally:
        logging.getLogger("app.callbacks").disabled = False


def counts(listener: Listener) -> dict[str, object]:
    """Return the counts that are not 0."""
    report = listener.report(0.0)
    names = ("delivered", "failures", "missed", "conflated", "waiting")
    return {name: report[name] for name in names if report[name]}


async def test_each_event_in_order_whatever_kind_of_function_takes_it() -> None:
    """Coroutine functions and plain ones get every event, one after the other."""
    ids: list[int] = []

    async def take(trade: Trade) -> None:
        await asyncio.sleep(0)
        ids.append(trade.id)

    for call in (take, lambda trade: ids.append(trade.id)):
        ids.clear()
        listener = Listener(call, TRADE)
        bus = Bus(listener)
        async with running(listener):
            for number in range(50):
                bus.publish(a_trade(id=number))
            await settle(400)
            assert ids == list(range(50))
            assert listener.idle
            assert counts(listener) == {"delivered": 50}


async def test_only_what_it_wants() -> None:
    """Other symbols and intervals pass by; what concerns all symbols comes to everybody."""
    seen: list[Any] = []
    listener = Listener(
        seen.append, CANDLE, symbols=frozenset({"BTCUSDT"}), intervals=frozenset({"1m"})
    )
    bus = Bus(listener)
    wanted = a_candle(symbol="BTCUSDT", interval="1m")
    async with running(listener):
        bus.publish(a_candle(symbol="BTCUSDT", interval="1s"))
        bus.publish(a_candle(symbol="ETHUSDT", interval="1m"))
        bus.publish(wanted)
        await settle()
    assert seen == [wanted]

    refusal = ExchangeRefusal("HTTP 418", None, None, 1)
    listener = Listener(seen.append, HAPPENED, symbols=frozenset({"BTCUSDT"}))
    async with running(listener):
        Bus(listener).publish(refusal)
        await settle()
    assert seen == [wanted, refusal]


@pytest.mark.parametrize(
    ("kind", "topic", "symbol", "interval", "wanted"),
    [
        (TRADE, TRADES, "BTCUSDT", "", True),
        (TRADE, TRADES, "ETHUSDT", "", False),
        (TRADE, CANDLES, "BTCUSDT", "", False),
        (GROWING, FORMING, "BTCUSDT", "1m", True),
        (GROWING, CANDLES, "BTCUSDT", "1m", True),  # the beginning of one that grows
        (GROWING, CANDLES, "BTCUSDT", "5m", False),
    ],
)
def test_what_must_be_made_for_it(
    kind: Kind, topic: str, symbol: str, interval: str, wanted: bool
) -> None:
    """What nobody wants is not made, so it says what it wants."""
    intervals = frozenset({"1m"}) if kind is GROWING else frozenset[str]()
    listener = Listener(print, kind, symbols=frozenset({"BTCUSDT"}), intervals=intervals)
    assert listener.wants(topic, symbol, interval) is wanted


async def test_a_failing_callback_goes_on_with_the_next_event() -> None:
    """What it raises is counted and logged once; nothing is lost for it."""
    ids: list[int] = []

    def take(trade: Trade) -> None:
        ids.append(trade.id)
        if trade.id % 2:
            raise ValueError(trade.id)

    listener = Listener(take, TRADE)
    bus = Bus(listener)
    with silent_log():
        async with running(listener):
            for number in range(6):
                bus.publish(a_trade(id=number))
            await settle(40)
    assert ids == list(range(6))
    assert counts(listener) == {"delivered": 3, "failures": 3}


async def test_a_full_inbox_misses_events_and_says_so() -> None:
    """What waits is delivered without a hole; then it is told what was missed, and goes on."""
    gate = asyncio.Event()
    ids: list[int] = []

    async def take(trade: Trade) -> None:
        await gate.wait()
        ids.append(trade.id)

    listener = Listener(take, TRADE, inbox=3)
    bus = Bus(listener)
    with silent_log():
        async with running(listener) as told:
            for number in range(1, 11):
                bus.publish(a_trade(id=number))
                await settle(3)
            assert told == []
            assert not listener.idle
            assert listener.report(1e9)["busy_s"] is not None
            assert counts(listener) == {"missed": 6, "waiting": 3}
            gate.set()
            await settle(40)
            assert ids == [1, 2, 3, 4]
            name = f"{test_a_full_inbox_misses_events_and_says_so.__name__}.<locals>.take"
            assert told == [Missed(name, "trade", 6, 5, 10)]
            bus.publish(a_trade(id=11))
            await settle(10)
            assert ids[-1] == 11
            assert counts(listener) == {"delivered": 5, "missed": 6}
            assert len(told) == 1


async def test_of_candles_that_grow_the_newest_counts() -> None:
    """One that waits gives way to a newer one of its symbol and interval: counted, not missed."""
    gate = asyncio.Event()
    seen: list[tuple[str, int]] = []

    async def take(candle: Candle) -> None:
        await gate.wait()
        seen.append((candle.symbol, candle.trades))

    listener = Listener(take, GROWING, inbox=100)
    bus = Bus(listener)
    async with running(listener) as told:
        for number in range(5):
            for symbol in ("BTCUSDT", "ETHUSDT"):
                bus.publish(a_candle(symbol=symbol, trades=number))
            await settle(3)
        gate.set()
        await settle(40)
        assert told == []
    assert seen == [("BTCUSDT", 0), ("ETHUSDT", 4), ("BTCUSDT", 4)]
    assert counts(listener) == {"delivered": 3, "conflated": 7}


async def test_a_callback_that_never_waits_lets_others_have_their_turn() -> None:
    """However much waits for it, the loop goes on."""
    turns = 0
    listener = Listener(lambda _trade: None, TRADE)
    bus = Bus(listener)
    for number in range(100):
        bus.publish(a_trade(id=number))
    async with running(listener):
        while not listener.idle or not listener.delivered:
            turns += 1
            await asyncio.sleep(0)
    assert turns > 50


async def test_what_it_is_given_may_be_made_of_the_event() -> None:
    """A shape that has nothing to show calls nobody."""
    seen: list[int] = []
    listener = Listener(seen.append, TRADE, shape=lambda trade: trade.id or None)
    async with running(listener):
        for number in (0, 7):
            Bus(listener).publish(a_trade(id=number))
        await settle(10)
    assert seen == [7]


def test_both_ways_to_register() -> None:
    """With and without arguments a decorator leaves the function as it is."""
    made: list[Listener] = []
    on_trade = On[Trade](TRADE, made.append)
    on_candle = OnCandle[Candle](CANDLE, made.append)

    def take(event: object) -> None:
        """Take anything."""

    assert on_trade(take) is take
    assert on_trade(symbols="btcusdt, ETHUSDT", inbox=5)(take) is take
    assert on_candle(take) is take
    assert on_candle(interval=["1m", "1h"], symbols=("btcusdt",))(take) is take
    assert [(sorted(one.symbols), sorted(one.intervals)) for one in made] == [
        ([], []),
        (["BTCUSDT", "ETHUSDT"], []),
        ([], ["1s"]),
        (["BTCUSDT"], ["1h", "1m"]),
    ]


async def test_a_book_has_the_depth_that_was_asked_for() -> None:
    """Its depth goes to what makes the view."""
    made: list[Listener] = []
    seen: list[int] = []
    on_book = OnBook[Any](TRADE, made.append, lambda _event, *, depth=20: depth)
    on_book(seen.append)
    on_book(depth=5)(seen.append)
    for listener in made:
        async with running(listener):
            Bus(listener).publish(a_trade())
            await settle(10)
    assert seen == [20, 5]


def test_what_cannot_be_registered() -> None:
    """A wrong symbol or interval is named at once."""
    with pytest.raises(InvalidSymbol):
        On[Trade](TRADE, print)(symbols="BTC USDT")
    with pytest.raises(UnsupportedInterval, match="7m"):
        OnCandle[Candle](CANDLE, print)(interval="7m")


def test_lists() -> None:
    """One text with commas is as good as several texts."""
    assert texts(" a, b,,c ") == texts(["a", " b", "c", ""]) == ["a", "b", "c"]
