"""The truth about a recording, by the plainest calculation there is: used to judge, never shared.

Nothing of the application is imported: lines are read with the standard library, numbers are
`Decimal`, a second is a dictionary entry.
"""

from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

getcontext().prec = 60

Numbers = dict[str, Any]


def trades_in(path: Path) -> dict[str, list[Numbers]]:
    """Return the trades of a recording by symbol, in id order; aggregates keep their id range."""
    found: dict[str, dict[int, Numbers]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            start = line.find('{"stream"')
            if start < 0:
                continue
            data = json.loads(line[start:], parse_float=Decimal)["data"]
            kind = data.get("e")
            if kind not in {"trade", "aggTrade"}:
                continue
            first, last = (data["t"],) * 2 if kind == "trade" else (data["f"], data["l"])
            found.setdefault(data["s"], {})[first] = {
                "first": first,
                "last": last,
                "price": Decimal(data["p"]),
                "quantity": Decimal(data["q"]),
                "second": data["T"] // 1000 * 1000,
                "bought": not data["m"],
            }
    return {symbol: [held[key] for key in sorted(held)] for symbol, held in found.items()}


def candles_of(trades: list[Numbers]) -> dict[int, Numbers]:
    """Return the candle of every second from the first trade's to the last trade's."""
    by_second: dict[int, list[Numbers]] = {}
    for trade in trades:
        by_second.setdefault(trade["second"], []).append(trade)
    candles: dict[int, Numbers] = {}
    close = trades[0]["price"]
    zero = Decimal(0)
    for second in range(trades[0]["second"], trades[-1]["second"] + 1000, 1000):
        inside = by_second.get(second, [])
        prices = [trade["price"] for trade in inside] or [close]
        close = prices[-1]
        bought = [trade for trade in inside if trade["bought"]]
        candles[second] = {
            "open": prices[0],
            "high": max(prices),
            "low": min(prices),
            "close": prices[-1],
            "volume": sum((trade["quantity"] for trade in inside), zero),
            "quote_volume": sum((trade["price"] * trade["quantity"] for trade in inside), zero),
            "trades": sum(trade["last"] - trade["first"] + 1 for trade in inside),
            "taker_buy_volume": sum((trade["quantity"] for trade in bought), zero),
            "taker_buy_quote_volume": sum(
                (trade["price"] * trade["quantity"] for trade in bought), zero
            ),
            "first_trade_id": inside[0]["first"] if inside else -1,
            "last_trade_id": inside[-1]["last"] if inside else -1,
        }
    return candles


def minutes_of(path: Path) -> dict[tuple[str, int], Numbers]:
    """Return the exchange's own 1-minute candles from the file that holds them."""
    with path.open(encoding="utf-8", newline="") as lines:
        return {
            (row["symbol"], int(row["open_time_ms"])): {
                name: Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")
            }
            for row in csv.DictReader(lines)
        }


def roll_up(candles: dict[int, Numbers], minute: int) -> Numbers:
    """Return the candle of a whole minute from its sixty 1-second candles."""
    inside = [candles[second] for second in range(minute, minute + 60_000, 1000)]
    traded = [candle for candle in inside if candle["trades"]]
    return {
        "open": traded[0]["open"],
        "high": max(candle["high"] for candle in traded),
        "low": min(candle["low"] for candle in traded),
        "close": traded[-1]["close"],
        "volume": sum((candle["volume"] for candle in traded), Decimal(0)),
    }


def check_seconds(found: dict[int, Numbers], expected: dict[int, Numbers]) -> None:
    """Assert that every candle equals the truth, and that all but the torn ends are complete.

    Nothing is known of what was before a recording and after it, so its first second never is.
    """
    first, last = min(expected), max(expected)
    assert sorted(found) == sorted(expected)
    for second, candle in expected.items():
        assert {name: found[second][name] for name in candle} == candle, f"{second - first} ms"
    assert not found[first]["complete"]
    incomplete = [second for second, candle in found.items() if not candle["complete"]]
    assert set(incomplete) <= {first, last}


def check_minutes(
    found: dict[str, dict[int, Numbers]], expected: dict[str, dict[int, Numbers]], path: Path
) -> int:
    """Assert that whole minutes equal the exchange's own in the file; return how many there are."""
    compared = 0
    for (symbol, minute), truth in minutes_of(path).items():
        seconds = expected[symbol]
        if min(seconds) < minute and minute + 60_000 <= max(seconds):
            assert roll_up(found[symbol], minute) == truth
            compared += 1
    return compared
