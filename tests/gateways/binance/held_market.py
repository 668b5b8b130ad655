"""A hub's own part of a market: a bus, a ring and a clock that follow a small exchange."""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo

from app.market.codec import JsonCodec
from app.market.events import SECOND_US, Candle
from app.market.ring import Outgoing, Ring
from app.market.view import ONE_SECOND, MarketView
from app.ports import CANDLES, TRADES
from tests.fakes import FakeBus, ManualClock
from tests.gateways.binance.exchange import SYMBOL, SmallExchange, candle


class HeldMarket:
    """What the hub has followed of an exchange since a time, led second by second."""

    def __init__(self, exchange: SmallExchange, since_us: int) -> None:
        self.exchange = exchange
        self.bus = FakeBus()
        self.ring = Ring()
        self.view = MarketView()
        self.clock = ManualClock(exchange.now_us)
        self.since_us = since_us
        self._codec = JsonCodec(ZoneInfo("UTC"), "test", lambda _symbol: None)
        self._told_us = since_us  # trades before it were published
        self.bus.subscribe(CANDLES, self.view.apply)
        self.bus.subscribe(TRADES, self.view.apply)
        self.move(0)

    def now_us(self) -> int:
        """Return the exchange's time."""
        return self.exchange.now_us

    def move(self, seconds: float) -> None:
        """Let time pass: trades come as they are matched, seconds close as they end."""
        until_us = self.exchange.now_us + round(seconds * SECOND_US)
        open_us = self._told_us // SECOND_US * SECOND_US
        while self._told_us < until_us:
            step_us = min(until_us, open_us + SECOND_US)
            for trade in self.exchange.trades:
                if self._told_us <= trade.time_us < step_us:
                    self.bus.publish(TRADES, trade)
            self._told_us = step_us
            if step_us == open_us + SECOND_US and open_us >= self.since_us:
                self.issue(self.second(open_us))
            open_us = step_us // SECOND_US * SECOND_US
        self.exchange.now_us = until_us
        self.clock.step(seconds)

    def second(self, open_us: int, **changes: object) -> Candle:
        """Return the second that the exchange's trades make."""
        known = self.exchange.until(open_us + SECOND_US)
        inside = [trade for trade in known if trade.time_us >= open_us]
        before = [trade for trade in known if trade.time_us < open_us]
        carried = before[-1].price if before else Decimal(1)
        return candle(inside, open_us, carried, **changes)

    def issue(self, second: Candle) -> None:
        """Publish a second, and hold it as the hub does."""
        self.bus.publish(CANDLES, second)
        publication = self.bus.published[-1]
        self.ring.add(
            Outgoing(
                (CANDLES, SYMBOL, ONE_SECOND),
                publication.epoch,
                publication.sequence,
                self._codec.candle(publication, second),
                second.open_time_us,
            ),
            self.clock.monotonic(),
        )
