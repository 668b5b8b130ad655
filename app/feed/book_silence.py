"""Whether a book that brings no events is quiet or its stream silent. Pure.

A book may not change for minutes, which is no fault. But tickers are of the same id space, and a
trade changes a book: where these go on alone, the stream of the book has fallen silent alone.
Times are seconds of a monotonic clock and come in as arguments.
"""

from __future__ import annotations

SILENT_S = 4.0  # tickers are ahead of the book for so long
SILENT_LOOKS = 3  # or at so many looks, about a second apart, something was traded
QUIET_S = 5.0  # without any sign of movement: the book may just not change
AGAIN_S = 5.0  # until silence is told again; it doubles
AGAIN_MOST_S = 60.0
BEFORE_ANY = 2  # how often it is told of a stream that never brought an event: there may be none


class BookSilence:
    """Watches one book's stream. `count` says how often it was found silent.

    `rate` is how many seconds pass at the exchange in one of ours.
    """

    def __init__(self, *, now_s: float, rate: float = 1.0) -> None:
        self.count = 0
        self.ticker_id = 0
        self._rate = rate
        self._newest_id = 0
        self._since_s = now_s  # of the stream, or its last event
        self._behind_since_s: float | None = None
        self._looks = 0
        self._seen_trade: object = None
        self._heard = False
        self._again_s = 0.0
        self._wait_s = AGAIN_S

    def begin(self, now_s: float) -> None:
        """Learn that a stream begins, or is waited for anew."""
        self._since_s = now_s
        self._behind_since_s = None
        self._looks = 0

    def begin_anew(self) -> None:
        """Learn that ids begin anew."""
        self._newest_id = self.ticker_id = 0

    def event(self, now_s: float) -> None:
        """Learn that an event came."""
        self.begin(now_s)
        self._heard = True
        self._again_s, self._wait_s = 0.0, AGAIN_S

    def book_is_at(self, update_id: int) -> None:
        """Learn how far the book, or what waits for it, has come."""
        self._newest_id = update_id

    def look(self, newest_trade: object, now_s: float) -> bool:
        """Tell whether the stream is silent; to be called about once a second.

        Told once, and again only after a wait. `newest_trade` tells by being another object than
        before that something was traded.
        """
        if newest_trade is not self._seen_trade:
            self._seen_trade = newest_trade
            self._looks += 1
        if self.ticker_id <= self._newest_id:
            self._behind_since_s = None
        elif self._behind_since_s is None:
            self._behind_since_s = now_s
        silent_s = SILENT_S / self._rate
        behind = self._behind_since_s is not None and now_s - self._behind_since_s >= silent_s
        traded = self._looks >= SILENT_LOOKS and now_s - self._since_s >= silent_s
        if not (behind or traded) or now_s < self._again_s:
            return False
        self._again_s = now_s + self._wait_s / self._rate
        self._wait_s = min(AGAIN_MOST_S, self._wait_s * 2)
        self.begin(now_s)
        if not self._heard and self.count >= BEFORE_ANY:
            return False
        self.count += 1
        return True

    def is_quiet(self, now_s: float) -> bool:
        """Whether no event has come for so long that none may come, and nothing else moves."""
        moves = self._behind_since_s is not None or self._looks > 1
        return not moves and now_s - self._since_s >= QUIET_S / self._rate
