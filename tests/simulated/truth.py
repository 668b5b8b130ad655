"""What the candles of a stretch are, added up plainly from the trades that there were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal, localcontext

from app.binance.numbers import EXACT
from app.market.events import NO_TRADE_ID, SECOND_US, Trade

NUMBERS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "first_trade_id",
    "last_trade_id",
)

Numbers = tuple[Decimal | int | None, ...]  # `None` where nobody can say what is right
ZERO = Decimal(0)


def candles_of(
    trades: Iterable[Trade], *, close: Decimal | None, begin_us: int, end_us: int
) -> dict[int, Numbers]:
    """Return the numbers (`NUMBERS`) of each second from `begin_us` up to `end_us`.

    `trades` are in the order of the market. `close` is the price before the first of them; without
    it, the seconds before that trade are left out.
    """
    candles: dict[int, Numbers] = {}
    with localcontext(EXACT):
        at_us = begin_us
        for second, inside in _seconds(trades):
            for empty in range(at_us, second, SECOND_US):
                if close is not None:
                    candles[empty] = _empty(close)
            candles[second] = _sum(inside)
            close = inside[-1].price
            at_us = second + SECOND_US
        for empty in range(at_us, end_us, SECOND_US):
            if close is not None:
                candles[empty] = _empty(close)
    return candles


def _seconds(trades: Iterable[Trade]) -> Iterator[tuple[int, list[Trade]]]:
    """Yield the trades of each second that has any."""
    inside: list[Trade] = []
    second = -1
    for trade in trades:
        if trade.time_us // SECOND_US != second:
            if inside:
                yield second * SECOND_US, inside
            inside, second = [], trade.time_us // SECOND_US
        inside.append(trade)
    if inside:
        yield second * SECOND_US, inside


def _sum(inside: list[Trade]) -> Numbers:
    # Where ids begin anew within a second, the exchange's own candle may name the new ones only.
    ids = (inside[0].id, inside[-1].id) if inside[0].id <= inside[-1].id else (None, None)
    bought = [trade for trade in inside if not trade.buyer_is_maker]
    return (
        inside[0].price,
        max(trade.price for trade in inside),
        min(trade.price for trade in inside),
        inside[-1].price,
        sum((trade.quantity for trade in inside), ZERO),
        sum((trade.price * trade.quantity for trade in inside), ZERO),
        len(inside),
        sum((trade.quantity for trade in bought), ZERO),
        sum((trade.price * trade.quantity for trade in bought), ZERO),
        *ids,
    )


def _empty(close: Decimal) -> Numbers:
    prices = (close, close, close, close)
    return (*prices, ZERO, ZERO, 0, ZERO, ZERO, NO_TRADE_ID, NO_TRADE_ID)
