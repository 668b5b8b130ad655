"""A small exchange for the mirror to ask: trades, the klines that they make, and its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from random import Random

from app.binance.encode import encode_klines, encode_trades
from app.binance.intervals import bar_bounds
from app.binance.limits import weight_of
from app.market.events import SECOND_US, Candle, Kline, Trade
from app.market.sums import Sum

SYMBOL = "BTCUSDT"
START_US = 1_731_232_845_000_000  # 2024-11-10 10:00:45 UTC


def trades_of(
    first_us: int, seconds: int, *, seed: int = 7, per_second: float = 1.5, first_id: int = 100
) -> list[Trade]:
    """Return trades of so many seconds, some of which have none."""
    random = Random(seed)
    trades: list[Trade] = []
    for second in range(seconds):
        count = random.choice([0, 1, 1, 2, 3]) if per_second else 0
        times = sorted(random.randrange(1_000) for _ in range(count))
        for ms in times:
            time_us = first_us + second * SECOND_US + ms * 1_000
            trades.append(
                Trade(
                    SYMBOL,
                    first_id + len(trades),
                    Decimal(random.randrange(4_000_000, 4_000_500)).scaleb(-2),
                    Decimal(random.randrange(1, 90_000)).scaleb(-5),
                    time_us,
                    random.random() < 0.5,
                    time_us + 500,
                    time_us + 900,
                )
            )
    return trades


def kline(
    trades: Sequence[Trade], interval: str, bounds: tuple[int, int], carried: Decimal, now_us: int
) -> Kline:
    """Return the kline of these trades, by the plainest way."""
    prices = [trade.price for trade in trades] or [carried]
    bought = [trade for trade in trades if not trade.buyer_is_maker]
    return Kline(
        symbol=SYMBOL,
        interval=interval,
        open_time_us=bounds[0],
        close_time_us=bounds[1] - 1,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=sum((trade.quantity for trade in trades), Decimal(0)),
        quote_volume=sum((trade.price * trade.quantity for trade in trades), Decimal(0)),
        trades=len(trades),
        taker_buy_volume=sum((trade.quantity for trade in bought), Decimal(0)),
        taker_buy_quote_volume=sum((trade.price * trade.quantity for trade in bought), Decimal(0)),
        first_trade_id=trades[0].id if trades else -1,
        last_trade_id=trades[-1].id if trades else -1,
        closed=bounds[1] <= now_us,
        event_us=None,
        received_us=0,
        from_rest=True,
    )


def candle(trades: Sequence[Trade], open_us: int, carried: Decimal, **changes: object) -> Candle:
    """Return the complete second that these trades make."""
    row = kline(trades, "1s", (open_us, open_us + SECOND_US), carried, open_us + SECOND_US)
    said: dict[str, object] = {
        "source": "test",
        "complete": True,
        "revision": 0,
        "event_us": 0,
        "received_us": 0,
        **{
            name: getattr(row, name)
            for name in Candle.__struct_fields__
            if name in Kline.__struct_fields__ and name not in {"event_us", "received_us"}
        },
        **changes,
    }
    return Candle(**said)  # type: ignore[arg-type]  # the fields by name


class SmallExchange:
    """Its klines of any interval, as it would answer at `now_us`; every call is counted."""

    def __init__(self, trades: Sequence[Trade], *, begin_us: int, now_us: int) -> None:
        self.trades = list(trades)
        self.begin_us = begin_us
        self.now_us = now_us
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.room = True
        self.denied: str | None = None
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    def until(self, time_us: int) -> list[Trade]:
        """Return the trades matched before a time."""
        return [trade for trade in self.trades if trade.time_us < time_us]

    def klines(
        self,
        interval: str,
        *,
        start_us: int | None,
        end_us: int | None,
        limit: int,
        offset_us: int = 0,
    ) -> list[Kline]:
        """Answer as the documents say, with the bar in progress."""
        last_us = self.now_us if end_us is None else min(end_us, self.now_us)
        known = self.until(self.now_us)
        opens: list[tuple[int, int]] = []
        bounds = bar_bounds(interval, self.begin_us, offset_us)
        while bounds[0] <= last_us:
            if start_us is None or bounds[0] >= start_us:
                opens.append(bounds)
            bounds = bar_bounds(interval, bounds[1], offset_us)
        opens = opens[-limit:] if start_us is None else opens[:limit]
        rows = []
        for bounds in opens:
            inside = [t for t in known if bounds[0] <= t.time_us < bounds[1]]
            before = [t for t in known if t.time_us < bounds[0]]
            carried = before[-1].price if before else known[0].price
            rows.append(kline(inside, interval, bounds, carried, self.now_us))
        return rows

    async def call(
        self, path: str, parameters: Mapping[str, str], *, microseconds: bool = False
    ) -> bytes:
        """Answer a call."""
        self.calls.append((path, dict(parameters)))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        if path.endswith("/trades"):
            return encode_trades(self.until(self.now_us)[-int(parameters["limit"]) :])
        if not path.endswith("/klines"):
            return b'{"path":"%b"}' % path.encode()
        rows = self.klines(
            parameters["interval"],
            start_us=_us(parameters.get("startTime"), 0),
            end_us=_us(parameters.get("endTime"), 999),
            limit=int(parameters["limit"]),
            offset_us=_offset(parameters.get("timeZone", "0")),
        )
        return encode_klines(rows)

    def has_room(self, weight: int) -> bool:
        """Whether there is room, which the test decides."""
        return self.room

    @property
    def weight(self) -> int:
        """What all calls have cost."""
        return sum(weight_of(path, parameters) for path, parameters in self.calls)


def numbers(rows: Iterable[Kline]) -> list[tuple[object, ...]]:
    """Return what a client sees of rows."""
    return [
        (
            row.open_time_us,
            row.close_time_us,
            row.open,
            row.high,
            row.low,
            row.close,
            row.volume,
            row.quote_volume,
            row.trades,
            row.taker_buy_volume,
            row.taker_buy_quote_volume,
        )
        for row in rows
    ]


def sum_of_seconds(seconds: Iterable[Candle]) -> Sum:
    """Return the sum of candles."""
    total = Sum()
    for second in seconds:
        total.add(Sum.of(second, seconds=1))
    return total


def _us(text: str | None, last_part: int) -> int | None:
    return None if text is None else int(text) * 1_000 + last_part


def _offset(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    hours, _, minutes = text.lstrip("-").partition(":")
    return sign * (int(hours) * 60 + int(minutes or 0)) * 60 * SECOND_US
