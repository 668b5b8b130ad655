"""The latest state of every symbol: its last trade and its last closed candle, no history."""

from __future__ import annotations

from app.market.events import AggTrade, Candle, Publication, Trade

ONE_SECOND = "1s"

_Position = tuple[int, int, int, int]


class MarketView:
    """Keeps, per symbol, the newest trade and the newest issue of the newest 1-second candle.

    Publications may come in any order and any number of times, since repairs re-issue old seconds
    and deliver old trades: whatever is older than what is held changes nothing. It holds as many
    symbols as were applied and not forgotten; who removes a symbol from the wanted set calls
    `forget` after its feed has ended.
    """

    def __init__(self) -> None:
        self._trades: dict[str, Trade | AggTrade] = {}
        self._candles: dict[str, tuple[_Position, Candle]] = {}

    def apply(self, publication: Publication) -> None:
        """Take what is newer than what is held; anything but trades and 1s candles is ignored."""
        event = publication.event
        if isinstance(event, Trade | AggTrade):
            self._apply_trade(event)
        elif isinstance(event, Candle) and event.interval == ONE_SECOND:
            self._apply_candle(publication, event)

    def last_trade(self, symbol: str) -> Trade | AggTrade | None:
        """Return the trade with the largest id of `symbol` (upper case), if there was one.

        It is an aggregate where the source has no single trades.
        """
        return self._trades.get(symbol)

    def last_candle(self, symbol: str) -> Candle | None:
        """Return the newest issue of the newest second of `symbol` (upper case), if any closed."""
        held = self._candles.get(symbol)
        return held[1] if held else None

    def forget(self, symbol: str) -> None:
        """Hold nothing of `symbol` any longer. Forgetting what is not held is harmless."""
        self._trades.pop(symbol, None)
        self._candles.pop(symbol, None)

    def _apply_trade(self, trade: Trade | AggTrade) -> None:
        held = self._trades.get(trade.symbol)
        if held is None or _last_id(trade) > _last_id(held):
            self._trades[trade.symbol] = trade

    def _apply_candle(self, publication: Publication, candle: Candle) -> None:
        # Revisions count up within one numbering process; a new epoch counts from 0 again and wins.
        position = (
            candle.open_time_us,
            publication.epoch,
            candle.revision,
            publication.sequence,
        )
        held = self._candles.get(candle.symbol)
        if held is None or position > held[0]:
            self._candles[candle.symbol] = (position, candle)


def _last_id(trade: Trade | AggTrade) -> int:
    """Return the largest id of the trades in it; an aggregate's own id counts otherwise."""
    return trade.id if isinstance(trade, Trade) else trade.last_trade_id
