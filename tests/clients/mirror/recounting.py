"""Counts again, from the trades that really happened, what streams and answers say of them.

Payloads are those of the exchange, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from app.market.events import AggTrade, Trade
from app.simulator.exchange import Simulator
from tests.clients.payloads import Payload, agg_trade_row, summed, text, trade_payload

NO_ID = -1
CARRIED = "ohlc"
VOLUMES = "vqVQ"


class Recount:
    """The trades of one symbol in a span of milliseconds, both ends included."""

    def __init__(self, simulator: Simulator, symbol: str, start_ms: int, end_ms: int) -> None:
        between = simulator.trades_between(symbol, start_ms * 1_000, (end_ms + 1) * 1_000)
        self.trades = list(between)
        self._at = {trade.id: position for position, trade in enumerate(self.trades)}
        self._start_ms = start_ms

    def between_ids(self, first: int, last: int) -> Sequence[Trade]:
        """Return the trades of some ids, both included; all must be known."""
        found = self.trades[self._at[first] : self._at[last] + 1]
        assert (found[0].id, found[-1].id) == (first, last)
        return found

    def between(self, start_ms: int, end_ms: int) -> Sequence[Trade]:
        """Return the trades of some milliseconds, both included."""
        return [trade for trade in self.trades if start_ms <= trade.time_us // 1_000 <= end_ms]

    def before(self, start_ms: int) -> Trade | None:
        """Return the last trade that is known before a time."""
        earlier = [trade for trade in self.trades if trade.time_us // 1_000 < start_ms]
        return earlier[-1] if earlier else None

    def check_kline(self, bar: Payload) -> None:
        """Check the `k` of a kline's message, of a closed bar or of one that grows still.

        One that grows holds the trades up to the one that it names.
        """
        inside = self.between(bar["t"], bar["T"])
        told = inside if bar["x"] else [trade for trade in inside if trade.id <= bar["L"]]
        assert told or not (bar["n"] or (bar["x"] and inside)), bar
        if told:
            expected = summed(trade_payload(trade) for trade in told)
        else:
            last = self.before(bar["t"])
            price = bar["o"] if last is None else text(last.price)
            expected = {
                **dict.fromkeys(CARRIED, price),
                **dict.fromkeys(VOLUMES, text(Decimal(0))),
                "f": NO_ID,
                "L": NO_ID,
                "n": 0,
            }
        assert {name: bar[name] for name in expected} == expected

    def check_row(self, row: Sequence[Any]) -> None:
        """Check a row of `klines` whose time is over."""
        names = ["t", *"ohlcv", "T", "q", "n", *"VQ"]
        bar = dict(zip(names, row, strict=False))
        inside = self.between(bar["t"], bar["T"])
        ids = {"f": inside[0].id, "L": inside[-1].id} if inside else {"f": NO_ID, "L": NO_ID}
        self.check_kline({**bar, **ids, "x": True})

    def check_agg_trade(self, told: Payload) -> None:
        """Check an aggregate, of a message or of a row of `aggTrades`."""
        parts = self.between_ids(told["f"], told["l"])
        whole = AggTrade(
            symbol=parts[0].symbol,
            id=told["a"],
            price=parts[0].price,
            quantity=sum((trade.quantity for trade in parts), Decimal(0)),
            time_us=parts[0].time_us,
            first_trade_id=parts[0].id,
            last_trade_id=parts[-1].id,
            buyer_is_maker=parts[0].buyer_is_maker,
            event_us=0,
            received_us=0,
        )
        expected = agg_trade_row(whole)
        assert {name: told[name] for name in expected} == expected
        assert {(trade.price, trade.buyer_is_maker) for trade in parts} == {
            (whole.price, whole.buyer_is_maker)
        }

    def check_agg_trades(self, told: Iterable[Payload]) -> None:
        """Check aggregates that came one after the other: none is missing, each is right."""
        rows = list(told)
        for before, after in pairwise(rows):
            assert (after["a"], after["f"]) == (before["a"] + 1, before["l"] + 1)
        for row in rows:
            self.check_agg_trade(row)
