"""A feed with a past that can be asked: what repair and audit are tested on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

from app.feed.audit import Audit
from app.feed.feed_clock import FeedClock
from app.feed.repair import Repair
from app.feed.symbol_feed import SymbolFeed
from app.market.candles import CandleAggregator
from app.market.events import Candle, Trade
from app.ports import CANDLES, STATUS
from tests.fakes import START_US, FakeBus, ManualClock, a_trade, settle
from tests.feed.fakes import FakeExchange, FakeHistory, LongestWaits, rest_kline

S = 1_000_000


def market(
    count: int, *, per_second: int = 3, every_s: int = 1, first_id: int = 1, seed: int = 1
) -> list[Trade]:
    """Return trades from `START_US` on, so many in every so many seconds, of prices that wander."""
    chance = random.Random(seed)
    price = 100
    trades = []
    for number in range(count):
        price = max(1, price + chance.randint(-2, 2))
        at_us = START_US + number // per_second * every_s * S + number % per_second * 100_000
        trades.append(
            a_trade(
                id=first_id + number,
                price=Decimal(price),
                quantity=Decimal(chance.randint(1, 50)),
                time_us=at_us,
                event_us=at_us,
                received_us=at_us,
                buyer_is_maker=chance.random() < 0.5,
            )
        )
    return trades


class RepairScene:
    """One feed, its repair and its audit; the test says what reaches the feed."""

    def __init__(
        self, trades: Sequence[Trade], *, trades_wanted: bool = False, whole_history: bool = True
    ) -> None:
        last_us = trades[-1].time_us
        self.clock = ManualClock(last_us + S)
        self.bus = FakeBus()
        self.history = FakeHistory(trades)
        self.crashes: list[tuple[str, Exception]] = []
        self.feed_clock = FeedClock(self.clock)
        stamp_us = self.feed_clock.stamp_us()
        self.feed_clock.set_exchange_time(
            last_us + S, asked_at_us=stamp_us, answered_at_us=stamp_us
        )
        self.others: list[SymbolFeed] = []
        self.feed = self.make_feed("BTCUSDT")
        self.repair = Repair(
            self.history,
            feeds=lambda: (self.feed, *self.others),
            clock=self.clock,
            feed_clock=self.feed_clock,
            random=LongestWaits(),
            crashed=self._crashed,
            trades_wanted=lambda _symbol: trades_wanted,
            whole_history=whole_history,
        )
        self.audit = Audit(
            self.history,
            feeds=lambda: (self.feed, *self.others),
            clock=self.clock,
            feed_clock=self.feed_clock,
            random=LongestWaits(),
            crashed=self._crashed,
        )

    def make_feed(self, symbol: str) -> SymbolFeed:
        """Return the feed of a symbol."""
        return SymbolFeed(
            symbol,
            streams=FakeExchange(),
            bus=self.bus,
            clock=self.clock,
            feed_clock=self.feed_clock,
            aggregator=CandleAggregator(symbol, source="test"),
            random=LongestWaits(),
            wake=lambda: self.repair.wake(),  # noqa: PLW0108 - it is made later
        )

    def _crashed(self, part: str, error: Exception) -> None:
        """Keep a bug that was met: `repairing` raises it, unless the test has taken it."""
        self.crashes.append((part, error))

    def receive(self, trades: Sequence[Trade]) -> None:
        """Let trades come over the stream."""
        for trade in trades:
            self.feed.event_received(trade)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, a step at a time, with whatever becomes due."""
        for _ in range(round(seconds * 10)):
            await self.clock.advance(0.1)
            await settle(60)

    def candles(self) -> dict[int, Candle]:
        """Return the newest issue of each second."""
        return {
            each.event.open_time_us: each.event
            for each in self.bus.published
            if each.topic == CANDLES and isinstance(each.event, Candle)
        }

    def told(self, kind: type) -> list[object]:
        """Return the events of a kind on the status channel."""
        return [
            each.event
            for each in self.bus.published
            if each.topic == STATUS and isinstance(each.event, kind)
        ]

    def check(self, *, from_second: int = 1) -> None:
        """Compare every second from the given one to the last but one with the truth."""
        trades = self.history.all
        last_us = trades[-1].time_us // S * S
        found = self.candles()
        for second_us in range(START_US + from_second * S, last_us, S):
            truth = rest_kline(trades, second_us)
            candle = found[second_us]
            assert candle.complete, second_us
            for name in ("open", "high", "low", "close", "volume", "quote_volume", "trades"):
                assert getattr(candle, name) == getattr(truth, name), (second_us, name)


@asynccontextmanager
async def repairing(scene: RepairScene, *, audit: bool = False) -> AsyncIterator[RepairScene]:
    """Run the repair of a scene, and its audit if wanted; an error in them fails the test."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(scene.repair.run())]
        if audit:
            running.append(tasks.create_task(scene.audit.run()))
        yield scene
        for task in running:
            task.cancel()
    for _, error in scene.crashes:
        raise error
