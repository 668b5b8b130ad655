"""What one symbol's aggregator has counted: numbers, most of them in `/status` and `/metrics`."""

from __future__ import annotations


class Counts:
    """Counters that only rise, but for the few that say how many there are now."""

    def __init__(self) -> None:
        # What came.
        self.trades = 0  # taken, the aggregates' too
        self.klines = 0  # closed ones, of the stream
        self.duplicates = 0  # trades that were held already
        self.overlapping = 0  # aggregates of which some trades were held already
        self.too_late = 0  # trades of seconds that cannot change any more
        self.disordered = 0  # match times that contradict the ids: never seen from the exchange
        self.backwards = 0  # of them, those in a row that look as if the ids had begun anew
        self.kline_late = 0  # klines that came long behind newer ones, or behind REST's
        self.kline_missing = 0  # now: seconds whose kline only REST has brought

        # What went out.
        self.published = 0  # seconds
        self.revised = 0  # issues behind the first of a second
        self.complete = 0  # now: seconds whose newest issue says so
        self.incomplete = 0  # now: seconds whose newest issue says that it is not

        # What is proved, and by whom.
        self.proved = 0  # now: seconds, those that are not published too
        self.verified = 0  # seconds that were equal to their kline, or that REST agreed with
        self.rounding = 0  # of them, those whose quote volumes the exchange had rounded
        self.mismatched = 0  # seconds where REST's kline had other numbers than ours
        self.kline_wrong = 0  # seconds where the stream's kline had, and REST's agreed with ours

        # What was missed.
        self.repaired = 0  # issues that history completed
        self.candles_only = 0  # seconds that have REST's numbers, since trades were not fetched
        self.never_existed = 0  # ids that the exchange left out
        self.given_up = 0  # seconds that were too old before they were proved
