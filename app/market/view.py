"""The latest state of every symbol: its last trade and its last closed candle, no history."""

from __future__ import annotations

from app.market.events import Candle, Publication, Trade

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
        self._trades: dict[str, Trade] = {}
        self._candles: dict[str, tuple[_Position, Candle]] = {}

    def apply(self, publication: Publication) -> None:
        """Take what is newer than what is held; anything but trades and 1s candles is ignored."""
        event = publication.event
        if isinstance(event, Trade):
            self._apply_trade(event)
        elif isinstance(event, Candle) and event.interval == ONE_SECOND:
            self._apply_candle(publication, event)

    def last_trade(self, symbol: str) -> Trade | None:
        """Return the trade with the largest id of `symbol` (upper case), if there was one."""
        return self._trades.get(symbol)

    def last_candle(self, symbol: str) -> Candle | None:
        """Return the newest issue of the newest second of `symbol` (upper case), if any closed."""
        held = self._candles.get(symbol)
        return held[1] if held else None

    def forget(self, symbol: str) -> None:
        """Hold nothing of `symbol` any longer. Forgetting what is not held is harmless."""
        self._trades.pop(symbol, None)
        self._candles.pop(symbol, None)

    def _apply_trade(self, trade: Trade) -> None:
        held = self._trades.get(trade.symbol)
        if held is None or trade.id > held.id:
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
