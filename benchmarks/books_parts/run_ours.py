"""Our own: the stream's decoder, the rules of update ids, the book."""

from __future__ import annotations

from app.binance.decode import Decoder, decode_depth
from app.binance.depth import Order, follows
from app.market.book import OrderBook
from app.market.events import DepthUpdate, Level
from benchmarks.books_parts.recorded import LIMIT, Recording
from benchmarks.books_parts.timing import DEPTH, run


class Ours:
    """As the feed keeps it."""

    def __init__(self, recording: Recording) -> None:
        self._decode = Decoder().decode
        self._book = OrderBook(recording.symbol)
        self._book.install(
            decode_depth(recording.snapshot, recording.symbol, limit=LIMIT, received_us=0)
        )

    def take(self, frame: bytes) -> None:
        """Decode a frame, see that it follows, apply it."""
        update = self._decode(frame, 0)
        assert isinstance(update, DepthUpdate)
        assert follows(update, self._book.update_id) is Order.APPLY
        self._book.apply(update)

    def top(self) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return the best levels that are known exactly."""
        return self._book.top(DEPTH)


if __name__ == "__main__":
    run(Ours)
