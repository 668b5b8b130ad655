"""What traded in a window, added up trade by trade: what a market's statistics have to equal."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from app.binance.statistics import Statistics
from app.market.events import AggTrade, Trade


def by_hand(
    trades: Sequence[Trade | AggTrade], *, start_us: int, end_us: int, before: Decimal | None = None
) -> Statistics | None:
    """Return the statistics of every trade that there was, in order.

    `before` is the price of what was traded before the first of them, where that is known.
    """
    earlier = [trade for trade in trades if trade.time_us < start_us]
    inside = [trade for trade in trades if start_us <= trade.time_us <= end_us]
    if not (earlier or inside):
        return None
    newest = (inside or earlier)[-1]
    prices = [trade.price for trade in inside] or [newest.price]
    before = earlier[-1].price if earlier else before
    first, last = (inside[0], inside[-1]) if inside else (None, None)
    return Statistics(
        symbol=newest.symbol,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        last=newest.price,
        last_quantity=newest.quantity,
        previous_close=prices[0] if before is None else before,
        volume=sum((trade.quantity for trade in inside), Decimal(0)),
        quote_volume=sum((trade.price * trade.quantity for trade in inside), Decimal(0)),
        open_time_us=start_us,
        close_time_us=end_us,
        first_trade_id=-1 if first is None else ids(first)[0],
        last_trade_id=-1 if last is None else ids(last)[1],
        trades=sum(ids(trade)[1] - ids(trade)[0] + 1 for trade in inside),
        last_trade_us=newest.time_us,
    )


def ids(trade: Trade | AggTrade) -> tuple[int, int]:
    """Return the first and the last id of what is one trade or several."""
    if isinstance(trade, Trade):
        return trade.id, trade.id
    return trade.first_trade_id, trade.last_trade_id
