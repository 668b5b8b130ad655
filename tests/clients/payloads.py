"""The exchange's JSON for what really happened, written out plainly: used to judge, never shared.

Nothing of `app.binance` is used: the texts come from the documents of the exchange.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from app.market.events import AggTrade, Kline, Trade

Payload = dict[str, Any]


def text(number: Decimal) -> str:
    """Return a number as the exchange writes all of them: with 8 decimals."""
    return f"{number:.8f}"


def trade_payload(trade: Trade) -> Payload:
    """Return the message of the stream `<symbol>@trade`."""
    return {
        "e": "trade",
        "E": trade.event_us // 1_000,
        "s": trade.symbol,
        "t": trade.id,
        "p": text(trade.price),
        "q": text(trade.quantity),
        "T": trade.time_us // 1_000,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def trade_row(trade: Trade) -> Payload:
    """Return a row of `trades` and `historicalTrades`."""
    return {
        "id": trade.id,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity),
        "time": trade.time_us // 1_000,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def agg_trade_row(trade: AggTrade) -> Payload:
    """Return a row of `aggTrades`."""
    return {
        "a": trade.id,
        "p": text(trade.price),
        "q": text(trade.quantity),
        "f": trade.first_trade_id,
        "l": trade.last_trade_id,
        "T": trade.time_us // 1_000,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def kline_payload(kline: Kline) -> Payload:
    """Return the message of the stream `<symbol>@kline_1s`, without its last field.

    That one, `B`, is documented as to be ignored.
    """
    open_ms = kline.open_time_us // 1_000
    return {
        "e": "kline",
        "E": (kline.event_us or 0) // 1_000,
        "s": kline.symbol,
        "k": {
            "t": open_ms,
            "T": open_ms + 999,
            "s": kline.symbol,
            "i": "1s",
            "f": kline.first_trade_id,
            "L": kline.last_trade_id,
            "o": text(kline.open),
            "c": text(kline.close),
            "h": text(kline.high),
            "l": text(kline.low),
            "v": text(kline.volume),
            "n": kline.trades,
            "x": True,
            "q": text(kline.quote_volume),
            "V": text(kline.taker_buy_volume),
            "Q": text(kline.taker_buy_quote_volume),
        },
    }


def kline_row(kline: Kline) -> list[Any]:
    """Return a row of `klines`, without its last field, which is to be ignored."""
    open_ms = kline.open_time_us // 1_000
    return [
        open_ms,
        text(kline.open),
        text(kline.high),
        text(kline.low),
        text(kline.close),
        text(kline.volume),
        open_ms + 999,
        text(kline.quote_volume),
        kline.trades,
        text(kline.taker_buy_volume),
        text(kline.taker_buy_quote_volume),
    ]


def without_ignored(payload: Payload) -> Payload:
    """Return a kline's message without the field that is to be ignored."""
    return {**payload, "k": {name: value for name, value in payload["k"].items() if name != "B"}}


def summed(trades: Iterable[Payload]) -> Payload:
    """Return what a second's kline must say of these trades, which are all there are in it."""
    inside: Sequence[Payload] = sorted(trades, key=lambda trade: int(trade["t"]))
    prices = [Decimal(trade["p"]) for trade in inside]
    bought = [trade for trade in inside if not trade["m"]]

    def volume(of: Sequence[Payload]) -> str:
        return text(sum((Decimal(t["q"]) for t in of), Decimal(0)))

    def quote_volume(of: Sequence[Payload]) -> str:
        return text(sum((Decimal(t["p"]) * Decimal(t["q"]) for t in of), Decimal(0)))

    return {
        "f": inside[0]["t"],
        "L": inside[-1]["t"],
        "o": text(prices[0]),
        "c": text(prices[-1]),
        "h": text(max(prices)),
        "l": text(min(prices)),
        "v": volume(inside),
        "n": len(inside),
        "q": quote_volume(inside),
        "V": volume(bought),
        "Q": quote_volume(bought),
    }
