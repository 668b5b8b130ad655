"""What has been tried for the holes of one symbol, and when to try again. Pure.

Times are seconds of a monotonic clock, and come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from app.feed.backoff import Backoff
from app.feed.repair_plan import Way
from app.market.ledger import Hole

# A reply that did not reach past a hole is asked for again, each time after twice as long, or after
# half as long where it told something new all the same: so what lags is there soon after it has
# come, though new holes come meanwhile, and what never comes costs next to nothing.
BEHIND_S = 0.5
BEHIND_MOST_S = 300.0
NEWEST_AGAIN_S = 2.0  # how soon the newest id is asked again, and how late where it told nothing
NEWEST_MOST_S = 60.0
CONFIRMED_AFTER_S = 10.0  # what two replies lack, so far apart, is not there
ROUNDS = 3  # how often every way is tried
ROUND_AGAIN_S = 30.0


class Lack(Enum):
    """What a reply says of missing ids that are not in it."""

    NEVER_EXISTED = "never existed"  # it has ids below and above them
    TOO_OLD = "too old"  # it was asked for them, and what it has begins above them


class Tries:
    """What has been tried for one hole, as long as it is that hole."""

    def __init__(self) -> None:
        self.without: set[Way] = set()  # the ways that have failed
        self.from_below = False  # its newest page had nothing of it
        self.not_before_s = 0.0
        self.reason: str | None = None  # why the last way was refused
        self._rounds = 0
        self._lack: Lack | None = None
        self._lack_s = 0.0

    def confirms(self, lack: Lack, now_s: float) -> bool:
        """Note what a reply lacks; true when one has said the same long enough ago."""
        if lack is not self._lack:
            self._lack, self._lack_s = lack, now_s
        if now_s - self._lack_s >= CONFIRMED_AFTER_S:
            return True
        self.not_before_s = self._lack_s + CONFIRMED_AFTER_S
        return False

    def all_failed(self, now_s: float) -> bool:
        """Note that no way is left; true when it is to be given up, else all are tried again."""
        self._rounds += 1
        self.without.clear()
        self.not_before_s = now_s + ROUND_AGAIN_S * self._rounds
        return self._rounds >= ROUNDS


class Case:
    """What is known of the repair of one symbol beyond its holes."""

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.not_before_s = 0.0
        self.newest_not_before_s = 0.0
        self.page: tuple[int, int] | None = None  # the lowest aggregate fetched: first trade, id
        self._newest_wait_s = NEWEST_AGAIN_S
        self._behind_wait_s = BEHIND_S
        self._behind_id = -1  # the newest that replies have reached
        self._behind_until_s = 0.0
        self._tries: dict[tuple[int, int], Tries] = {}

    def tries(self, hole: Hole) -> Tries:
        """Return what has been tried for a hole."""
        return self._tries.setdefault((hole.first_id, hole.last_id), Tries())

    def keep(self, holes: Iterable[Hole]) -> None:
        """Forget what was tried for holes that are not among these."""
        if self._tries:
            there = {(hole.first_id, hole.last_id) for hole in holes}
            self._tries = {ids: tries for ids, tries in self._tries.items() if ids in there}

    def waits(self, hole: Hole, now_s: float) -> bool:
        """Whether there is no use in asking for a hole now."""
        if now_s < self._behind_until_s and hole.last_id > self._behind_id:
            return True
        tries = self._tries.get((hole.first_id, hole.last_id))
        return tries is not None and now_s < tries.not_before_s

    def behind(self, newest_id: int, now_s: float, *, told: bool) -> None:
        """Note that replies reach up to `newest_id` only: no hole above it can be filled yet.

        `told` says whether this one has told anything new all the same.
        """
        if told:
            self._behind_wait_s = max(BEHIND_S, self._behind_wait_s / 4)
        self._behind_id = newest_id
        self._behind_until_s = now_s + self._behind_wait_s
        self._behind_wait_s = min(BEHIND_MOST_S, self._behind_wait_s * 2)

    def caught_up(self) -> None:
        """Note that a reply reached past what was asked for."""
        self._behind_wait_s = BEHIND_S
        self._behind_until_s = 0.0

    def newest_asked(self, now_s: float, *, told: bool) -> None:
        """Note when the newest id was asked, and whether that told anything new."""
        wait_s = NEWEST_AGAIN_S if told else self._newest_wait_s
        self.newest_not_before_s = now_s + wait_s
        self._newest_wait_s = min(NEWEST_MOST_S, wait_s * 2)
