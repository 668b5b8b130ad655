"""The silence of a source that has no candles: quiet or stalled? Pure.

With candles each second tells. Without them a silent stream is checked against the exchange's
history: if the exchange has traded meanwhile, it is stalled; if not, it is quiet, and left alone.
Times are seconds of a monotonic clock or microseconds of the exchange's, and come in as arguments.
"""

from __future__ import annotations

from app.market.events import SECOND_US

SILENT_AFTER_S = 5.0
ASK_AGAIN_S = 5.0  # and from then on each time after twice as long
ASK_MOST_S = 60.0
# A trade may be told by the history a moment before the stream brings it.
ON_ITS_WAY_US = 2 * SECOND_US
# When the last event came is known to the second.
KNOWN_TO_US = 1 * SECOND_US


class Silence:
    """Whether anybody is to ask for the exchange's newest trade that can be here, and what it told.

    `is_due` says that it is to be asked; `missed` that something was traded and never came.
    """

    def __init__(self) -> None:
        self.is_due = False
        self.missed = False
        self._again_s = 0.0
        self._wait_s = ASK_AGAIN_S

    def lasts(self, silent_s: float, now_s: float) -> bool:
        """Learn for how long nothing has come; true when the newest trade is to be asked now."""
        if silent_s <= SILENT_AFTER_S:
            self.is_due = self.missed = False
            self._again_s, self._wait_s = 0.0, ASK_AGAIN_S
        elif now_s >= self._again_s:
            self.is_due = True
            self._again_s = now_s + self._wait_s
            self._wait_s = min(ASK_MOST_S, self._wait_s * 2)
            return True
        return False

    def judge(self, newest_us: int | None, *, silent_us: int, exchange_us: int) -> None:
        """Take the time of the newest trade that can be here; `None` where there never was one."""
        self.is_due = False
        begun_us = exchange_us - silent_us
        self.missed = (
            newest_us is not None
            and begun_us + KNOWN_TO_US < newest_us <= exchange_us - ON_ITS_WAY_US
        )
