"""Counts again, from the trades that really happened, what streams and answers say of them.

Payloads are those of the exchange, in milliseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import accumulate, pairwise
from typing import Any

from app.market.events import AggTrade, Trade
from app.simulator.exchange import Simulator
from tests.clients.payloads import Payload, agg_trade_row, summed, text, trade_payload

NO_ID = -1
NOTHING = Decimal(0)
AVERAGE_MS = 300_000
SHOWN_WITHIN_MS = 50  # a trade counts from when the exchange has sent it, some ms later at most
OF_KLINES = ["t", *"ohlcv", "T", "q", "n", *"VQ"]  # the columns of a row of `klines`
# What the fields of tickers in streams are called in answers.
OF_TICKERS = {
    "O": "openTime",
    "C": "closeTime",
    "F": "firstId",
    "L": "lastId",
    "n": "count",
    "p": "priceChange",
    "P": "priceChangePercent",
    "w": "weightedAvgPrice",
    "o": "openPrice",
    "h": "highPrice",
    "l": "lowPrice",
    "c": "lastPrice",
    "Q": "lastQty",
    "v": "volume",
    "q": "quoteVolume",
    "x": "prevClosePrice",
}


class Recount:
    """The trades of one symbol in a span of milliseconds, both ends included."""

    def __init__(self, simulator: Simulator, symbol: str, start_ms: int, end_ms: int) -> None:
        between = simulator.trades_between(symbol, start_ms * 1_000, (end_ms + 1) * 1_000)
        self.trades = list(between)
        self._at = {trade.id: position for position, trade in enumerate(self.trades)}
        self._times = [trade.time_us // 1_000 for trade in self.trades]
        self._sent = [trade.event_us // 1_000 for trade in self.trades]  # a server may stall before
        volumes = [trade.quantity for trade in self.trades]
        quotes = [trade.price * trade.quantity for trade in self.trades]
        # Of the trades before each position.
        self._volumes = list(accumulate(volumes, initial=NOTHING))
        self._quotes = list(accumulate(quotes, initial=NOTHING))

    def between_ids(self, first: int, last: int) -> Sequence[Trade]:
        """Return the trades of some ids, both included; all must be known."""
        found = self.trades[self._at[first] : self._at[last] + 1]
        assert (found[0].id, found[-1].id) == (first, last)
        return found

    def between(self, start_ms: int, end_ms: int) -> Sequence[Trade]:
        """Return the trades of some milliseconds, both included."""
        return self.trades[slice(*self._positions(start_ms, end_ms))]

    def _positions(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        return bisect_left(self._times, start_ms), bisect_right(self._times, end_ms)

    def before(self, start_ms: int) -> Trade | None:
        """Return the last trade that is known before a time."""
        position = bisect_left(self._times, start_ms)
        return self.trades[position - 1] if position else None

    # Klines

    def check_kline(self, bar: Payload) -> None:
        """Check the `k` of a kline's message, of a closed bar or of one that grows still.

        One that grows holds the trades up to the one that it names.
        """
        inside = self.between(bar["t"], bar["T"])
        told = inside if bar["x"] else [trade for trade in inside if trade.id <= bar["L"]]
        if told:
            expected = summed(trade_payload(trade) for trade in told)
        else:
            assert not bar["n"], bar
            last = self.before(bar["t"])
            price = bar["o"] if last is None else text(last.price)
            expected = {"f": NO_ID, "L": NO_ID, "n": 0, **dict.fromkeys("ohlc", price)}
            expected |= dict.fromkeys("vqVQ", text(NOTHING))
        assert {name: bar[name] for name in expected} == expected

    def check_row(self, row: Sequence[Any]) -> None:
        """Check a row of `klines` whose time is over."""
        bar = dict(zip(OF_KLINES, row, strict=False))
        inside = self.between(bar["t"], bar["T"])
        first, last = (inside[0].id, inside[-1].id) if inside else (NO_ID, NO_ID)
        self.check_kline({**bar, "f": first, "L": last, "x": True})

    # Aggregates

    def check_agg_trade(self, told: Payload) -> None:
        """Check an aggregate, of a message or of a row of `aggTrades`."""
        parts = self.between_ids(told["f"], told["l"])
        whole = AggTrade(
            symbol=parts[0].symbol,
            id=told["a"],
            price=parts[0].price,
            quantity=sum((trade.quantity for trade in parts), NOTHING),
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

    # Tickers

    def check_ticker(self, told: Payload) -> None:
        """Check a ticker of an answer, or one of a stream that tells its window, field by field.

        Of the best bid and ask nothing is known here.
        """
        row = {OF_TICKERS.get(name, name): value for name, value in told.items()}
        inside = self.between(row["openTime"], row["closeTime"])
        inside = [trade for trade in inside if trade.id <= row["lastId"]]
        newer = self.between_ids(row["lastId"], self.trades[-1].id)[1:]
        is_to_come = row["closeTime"] > self._times[-1]  # as that of `tradingDay`
        assert is_to_come or newer[0].event_us // 1_000 > row["closeTime"] - SHOWN_WITHIN_MS
        first, last = inside[0], inside[-1]
        volume = sum((trade.quantity for trade in inside), NOTHING)
        quotes = sum((trade.price * trade.quantity for trade in inside), NOTHING)
        change = last.price - first.price
        before = self.before(row["openTime"])
        expected = {
            "priceChange": text(change),
            "priceChangePercent": f"{rounded(change / first.price * 100, 3):.3f}",
            "weightedAvgPrice": text(rounded(quotes / volume, 8)),
            "openPrice": text(first.price),
            "highPrice": text(max(trade.price for trade in inside)),
            "lowPrice": text(min(trade.price for trade in inside)),
            "lastPrice": text(last.price),
            "lastQty": text(last.quantity),
            "prevClosePrice": row.get("prevClosePrice") if before is None else text(before.price),
            "volume": text(volume),
            "quoteVolume": text(quotes),
            "firstId": first.id,
            "lastId": last.id,
            "count": len(inside),
        }
        common = expected.keys() & row.keys()
        assert {"openPrice", "lastPrice", "volume", "count"} <= common
        assert {name: row[name] for name in common} == {name: expected[name] for name in common}

    def check_mini(self, told: Payload, *, late_ms: int = 2_000) -> None:
        """Check a `24hrMiniTicker`, whose window holds all trades up to some moment before it."""
        position = bisect_left(self._volumes, Decimal(told["v"]))
        inside = self.trades[:position]
        assert told["E"] - late_ms <= self._times[min(position, len(self._times) - 1)]
        assert inside[-1].time_us // 1_000 <= told["E"]
        expected = {
            "o": text(inside[0].price),
            "h": text(max(trade.price for trade in inside)),
            "l": text(min(trade.price for trade in inside)),
            "c": text(inside[-1].price),
            "v": text(self._volumes[position]),
            "q": text(self._quotes[position]),
        }
        assert {name: told[name] for name in expected} == expected

    def averages(self, last_trade_ms: int, at_ms: int | None = None) -> set[str]:
        """Return the average prices of five minutes that could be told once a trade was shown.

        At a time that is known, else from then on until the next trade was shown.
        """
        after = bisect_right(self._times, last_trade_ms)
        until_ms = self._sent[after] + SHOWN_WITHIN_MS
        assert self._times[after - 1] == last_trade_ms
        assert at_ms is None or last_trade_ms <= at_ms < until_ms
        # Within its millisecond a moment may be after the trades that five minutes begin with.
        moments = range(last_trade_ms, until_ms) if at_ms is None else [at_ms, at_ms + 1]
        begins = {bisect_left(self._times, moment - AVERAGE_MS) for moment in moments}
        ends = range(bisect_left(self._times, last_trade_ms) + 1, after + 1)
        return {self._average(begin, end) for begin in begins for end in ends}

    def _average(self, begin: int, end: int) -> str:
        volume = self._volumes[end] - self._volumes[begin]
        return text(rounded((self._quotes[end] - self._quotes[begin]) / volume, 8))


def rounded(number: Decimal, decimals: int) -> Decimal:
    """Return a number with so many decimals; half a unit goes away from zero."""
    return number.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
