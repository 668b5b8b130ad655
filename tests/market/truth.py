"""Trades, the exchange's klines of them by plain sums, and what candles must be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from app.market.events import SECOND_US, AggTrade, Candle, Kline, Trade

S = SECOND_US
D = Decimal


def trade(
    trade_id: int, at_s: float, price: str = "10", quantity: str = "1", *, maker: bool = False
) -> Trade:
    """Make a trade of second `at_s`."""
    at_us = round(at_s * S)
    return Trade("SYMBOL", trade_id, D(price), D(quantity), at_us, maker, at_us, at_us)


def aggregate(trades: Sequence[Trade], aggregate_id: int = 1) -> AggTrade:
    """Make the aggregate of trades at one price and time."""
    first, last = trades[0], trades[-1]
    return AggTrade(
        "SYMBOL",
        aggregate_id,
        first.price,
        sum((each.quantity for each in trades), D(0)),
        first.id,
        last.id,
        first.time_us,
        first.buyer_is_maker,
        first.event_us,
        first.received_us,
    )


def kline_of(trades: Sequence[Trade], at_s: int, *, carried: str | None = None) -> Kline:
    """Make the exchange's kline of second `at_s` from the very trades, by plain sums."""
    inside = sorted((t for t in trades if t.time_us // S == at_s), key=lambda t: t.id)
    bought = [t for t in inside if not t.buyer_is_maker]
    if inside:
        prices = [t.price for t in inside]
        row = (prices[0], max(prices), min(prices), prices[-1])
        ids = (inside[0].id, inside[-1].id)
    else:
        assert carried is not None
        row = (D(carried),) * 4
        ids = (-1, -1)
    return Kline(
        "SYMBOL",
        "1s",
        at_s * S,
        at_s * S + S - 1,
        *row,
        sum((t.quantity for t in inside), D(0)),
        sum((t.price * t.quantity for t in inside), D(0)),
        len(inside),
        sum((t.quantity for t in bought), D(0)),
        sum((t.price * t.quantity for t in bought), D(0)),
        *ids,
        closed=True,
        event_us=at_s * S + S,
        received_us=at_s * S + S,
    )


def from_rest(kline: Kline) -> Kline:
    """Return a kline as REST gives it: without ids, and without a time of its own."""
    return replace(kline, first_trade_id=-1, last_trade_id=-1, event_us=None, from_rest=True)


def numbers(said: Candle | Kline) -> tuple[object, ...]:
    """Return all that a candle and the exchange's kline both say."""
    return (
        said.open, said.high, said.low, said.close, said.volume, said.quote_volume,
        said.trades, said.taker_buy_volume, said.taker_buy_quote_volume,
        said.first_trade_id, said.last_trade_id,
    )  # fmt: skip


def newest(candles: Iterable[Candle]) -> dict[int, Candle]:
    """Return the newest issue of each second, by its second; revisions must count up from 0."""
    found: dict[int, Candle] = {}
    for candle in candles:
        at = candle.open_time_us // S
        assert candle.revision == (found[at].revision + 1 if at in found else 0)
        found[at] = candle
    return found


class Exchange:
    """What an exchange knows of some trades; ids that are not among them never existed.

    `first` and `last` are its first and last second; before the first trade it shows its price.
    """

    def __init__(self, trades: Sequence[Trade]):
        self.trades = list(trades)
        self.first, self.last = (each.time_us // S for each in (trades[0], trades[-1]))
        self.klines: dict[int, Kline] = {}
        price = str(trades[0].price)
        for at in range(self.first, self.last + 1):
            self.klines[at] = kline_of(trades, at, carried=price)
            price = str(self.klines[at].close)

    def between(self, first_id: int, last_id: int) -> list[Trade]:
        """Return the trades of these ids."""
        return [each for each in self.trades if first_id <= each.id <= last_id]

    def aggregates(self, first_id: int, last_id: int) -> list[AggTrade]:
        """Return the aggregates that have any of these ids: trades at one price, time and side."""
        groups: list[list[Trade]] = []
        for each in self.trades:
            before = groups[-1][-1] if groups else None
            alike = before is not None and replace(
                each, id=before.id, quantity=before.quantity
            ) == before and each.id == before.id + 1  # fmt: skip
            if alike:
                groups[-1].append(each)
            else:
                groups.append([each])
        found = [aggregate(group, number) for number, group in enumerate(groups)]
        return [
            one for one in found if one.first_trade_id <= last_id and one.last_trade_id >= first_id
        ]

    def absent(self, first_id: int, last_id: int) -> list[tuple[int, int]]:
        """Return the runs of ids among these that never existed."""
        there = {each.id for each in self.trades}
        runs: list[tuple[int, int]] = []
        for each in range(first_id, last_id + 1):
            if each in there:
                continue
            if runs and runs[-1][1] == each - 1:
                runs[-1] = runs[-1][0], each
            else:
                runs.append((each, each))
        return runs
