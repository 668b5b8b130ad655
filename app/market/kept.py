"""The seconds of one symbol that can still change, and a mark for each that cannot any more.

A second that is proved and verified is forgotten soon; one that is not is kept for its repair, as
long as there is room. How seconds close is decided elsewhere: see `app.market.candles`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

from app.market.events import SECOND_US
from app.market.ledger import Hole
from app.market.second import Second

# The mark of a forgotten second: two flags, and above them how often it was issued.
_PROVED, _VERIFIED, _ISSUES = 1, 2, 2
_MOST_ISSUES = (1 << 14) - 1


class KeptSeconds:
    """Seconds by their first microsecond; bounded by what they still wait for.

    Settled ones are kept for `keep_seconds` behind the newest; at most `most_waiting` older ones
    wait for trades or for a kline. Nothing from before `floor_us` is taken any more: that is
    `backfill_seconds` behind the newest, and before anything was known at most `keep_seconds`.
    """

    def __init__(self, *, keep_seconds: int, most_waiting: int, backfill_seconds: int) -> None:
        self.newest_us = -1  # of which a trade or a kline is known, or that was issued
        self.first_us = -1  # the first of all
        self.floor_us = 0
        self.backfill_us = backfill_seconds * SECOND_US
        self.never_verified = 0  # seconds that were proved, and forgotten without a kline
        # Spans of seconds, first and last, that became too old before they were proved and out.
        self.given_up: list[tuple[int, int]] = []
        self._keep_us = min(keep_seconds, backfill_seconds) * SECOND_US
        self._most_waiting = most_waiting
        self._complete_next_us = -1  # the first that is not proved and published
        self._verified_next_us = -1  # the first that is not proved and equal to its kline
        self._tidy_every_us = max(1, keep_seconds // 2) * SECOND_US
        self._tidied_us = 0
        self._seconds: dict[int, Second] = {}
        self._closes: dict[int, Decimal] = {}  # of seconds that are not kept, for those behind them
        self._marks = array("H", bytes(2 * (backfill_seconds + 1)))

    def resume(self, second_us: int, holes: Sequence[Hole], closes: Mapping[int, Decimal]) -> int:
        """Begin behind `second_us`: all before is settled but the seconds of `holes` (ascending).

        `closes` are those of the seconds before these, and of `second_us` itself. Return how many
        seconds are settled, from the first hole's on. For one that has seen nothing.
        """
        first_us = min(holes[0].from_second_us, second_us) if holes else second_us
        self.newest_us = second_us
        self.first_us = self.floor_us = max(first_us, second_us - self.backfill_us)
        self._complete_next_us = self._verified_next_us = self.first_us
        for at_us in range(self.floor_us, second_us + SECOND_US, SECOND_US):
            self._marks[self._place(at_us)] = _PROVED | _VERIFIED
        settled = (second_us - self.first_us) // SECOND_US + 1
        for hole in holes:
            from_us = max(hole.from_second_us, self.first_us)
            for at_us in range(from_us, hole.to_second_us + SECOND_US, SECOND_US):
                self._marks[self._place(at_us)] = 0
                settled -= 1
        self._closes.update(closes)
        return settled

    def begin_after(self, second_us: int, close: Decimal) -> int:
        """Learn that a second before all that is known is settled; return how many are by that."""
        self.first_us = self.floor_us = max(second_us, self.newest_us - self.backfill_us)
        self._complete_next_us = self._verified_next_us = self.first_us
        if self.first_us > second_us:
            return 0
        self._marks[self._place(second_us)] = _PROVED | _VERIFIED
        self._closes[second_us] = close
        return 1

    def get(self, second_us: int) -> Second | None:
        """Return a kept second."""
        return self._seconds.get(second_us)

    def take(self, second_us: int) -> Second:
        """Return a second, a new one if it is not kept; `gone` tells whether that may be."""
        second = self._seconds.get(second_us)
        if second is None:
            second = self._seconds[second_us] = Second(second_us)
            second.revisions = self._mark(second_us) >> _ISSUES
        return second

    def gone(self, second_us: int) -> bool:
        """Whether it is too old, or was proved and forgotten: nothing may change it."""
        if second_us in self._seconds:
            return False
        if second_us < self.floor_us:
            return True
        mark = self._mark(second_us)
        return bool(mark & _PROVED) or mark >> _ISSUES == _MOST_ISSUES

    def proved(self, second_us: int) -> bool:
        """Whether all its trades are known, as far back as is remembered."""
        second = self._seconds.get(second_us)
        return second.proved if second is not None else bool(self._mark(second_us) & _PROVED)

    def verified(self, second_us: int) -> bool:
        """Whether it was equal to its kline, as far back as is remembered."""
        second = self._seconds.get(second_us)
        return second.verified if second is not None else bool(self._mark(second_us) & _VERIFIED)

    def known_close(self, second_us: int) -> Decimal | None:
        """Return what a second behind it would carry; `None` while unknown, or long forgotten."""
        second = self._seconds.get(second_us)
        close = None if second is None else second.known_close
        return self._closes.get(second_us) if close is None else close

    def remember_close(self, second_us: int, close: Decimal) -> None:
        """Keep the close of a second that is not kept, as long as the one behind it may need it."""
        self._closes[second_us] = close

    def __iter__(self) -> Iterator[Second]:
        """Yield what is kept, in no order."""
        return iter(self._seconds.values())

    def reach(self, second_us: int) -> bool:
        """Learn of something in `second_us`; tell whether it is time to `tidy`."""
        if self.newest_us < 0:
            self.newest_us = self.first_us = second_us
            self._complete_next_us = self._verified_next_us = second_us
            self.floor_us = second_us - self._keep_us
            return False
        if second_us <= self.newest_us:
            if second_us < self.first_us:
                self.first_us = second_us
                self._complete_next_us = self._verified_next_us = second_us
            return False
        floor_us = max(self.floor_us, second_us - self.backfill_us)
        self._give_up(floor_us)
        self._clear_marks(self.newest_us + SECOND_US, second_us)
        self.newest_us = second_us
        self.floor_us = floor_us
        return second_us - self._tidied_us >= self._tidy_every_us

    def tidy(self) -> list[Second]:
        """Forget what is settled and old, and what there is no room for.

        Return those that had to go without having been proved: their trades are missing again.
        """
        self._tidied_us = self.newest_us
        self._advance()
        old_us = self.newest_us - self._keep_us
        waiting: list[int] = []
        for second_us, second in tuple(self._seconds.items()):
            if second_us < self.floor_us or (
                second_us < old_us and second.proved and second.verified
            ):
                self._forget(second, verified=second.verified)
            elif second_us < old_us:
                waiting.append(second_us)
        # It looks at all of them, so the more there are the longer it waits for the next time.
        self._tidy_every_us = max(self._keep_us // 2, len(waiting) // 4 * SECOND_US, SECOND_US)
        lost: list[Second] = []
        too_many = len(waiting) - self._most_waiting
        if too_many > 0:
            for second_us in sorted(waiting)[:too_many]:
                second = self._seconds[second_us]
                if second.proved:
                    self.never_verified += 1
                else:
                    lost.append(second)
                self._forget(second, verified=second.proved)  # nothing will ever verify it
        self._forget_closes()
        return lost

    def give_up_before(self, second_us: int) -> None:
        """Take nothing from before a second any more."""
        self._give_up(second_us)
        self.floor_us = max(self.floor_us, second_us)
        for old_us in [each for each in self._seconds if each < self.floor_us]:
            del self._seconds[old_us]

    def reopen(self, second_us: int) -> None:
        """Learn that a second is proved no more."""
        self._complete_next_us = min(self._complete_next_us, second_us)
        self._verified_next_us = min(self._verified_next_us, second_us)

    @property
    def complete_until_us(self) -> int | None:
        """The last second up to which all are proved and out; `None` if the first one is not."""
        self._advance()
        return self._until(self._complete_next_us)

    @property
    def verified_until_us(self) -> int | None:
        """The last second up to which all are proved and equal to their klines.

        Those that were forgotten before their klines came do not count: see `never_verified`.
        """
        self._advance()
        return self._until(self._verified_next_us)

    def _advance(self) -> None:
        """Move on as far as everything is proved, and verified."""
        self._complete_next_us = self._advanced(
            self._complete_next_us,
            _PROVED,
            lambda second: second.complete and second.decided and second.known_close is not None,
        )
        self._verified_next_us = self._advanced(
            self._verified_next_us, _VERIFIED, lambda second: second.proved and second.verified
        )

    def _until(self, next_us: int) -> int | None:
        return next_us - SECOND_US if next_us > self.first_us else None

    def _advanced(self, next_us: int, flag: int, done: Callable[[Second], bool]) -> int:
        if next_us < 0:
            return next_us
        next_us = max(next_us, self.floor_us)
        while next_us <= self.newest_us:
            second = self._seconds.get(next_us)
            if not (done(second) if second is not None else self._mark(next_us) & flag):
                break
            next_us += SECOND_US
        return next_us

    def _forget(self, second: Second, *, verified: bool) -> None:
        second_us = second.open_us
        del self._seconds[second_us]
        if second_us < self.floor_us:
            return  # its place is another's by now
        flags = _PROVED * second.proved | _VERIFIED * verified
        issues = min(second.revisions, _MOST_ISSUES)
        self._marks[self._place(second_us)] = issues << _ISSUES | flags
        close = second.known_close
        if close is not None and (second.proved or second.kline is not None):
            self._closes[second_us] = close

    def _forget_closes(self) -> None:
        """Keep only those that a second may need which can still go out: the newest of them."""
        for second_us in sorted(self._closes):
            behind_us = second_us + SECOND_US
            if (
                behind_us < self.floor_us
                or self.proved(behind_us)
                or len(self._closes) > self._most_waiting + 1
            ):
                del self._closes[second_us]

    def _give_up(self, floor_us: int) -> None:
        """Note which seconds between the floor and a new one were not proved, or did not go out."""
        if self.first_us < 0:
            return
        first_us = max(self.floor_us, self.first_us)
        known_us = min(floor_us, self.newest_us + SECOND_US)
        for second_us in range(first_us, known_us, SECOND_US):
            second = self._seconds.get(second_us)
            if not (self.proved(second_us) and (second is None or second.decided)):
                self._note_given_up(second_us, second_us)
        if floor_us > known_us >= first_us:  # of what lies between nothing was ever known
            self._note_given_up(known_us, floor_us - SECOND_US)

    def _note_given_up(self, first_us: int, last_us: int) -> None:
        if self.given_up and self.given_up[-1][1] + SECOND_US == first_us:
            first_us = self.given_up.pop()[0]
        self.given_up.append((first_us, last_us))

    def _mark(self, second_us: int) -> int:
        if second_us < self.floor_us or second_us > self.newest_us:
            return 0
        return self._marks[self._place(second_us)]

    def _clear_marks(self, from_us: int, to_us: int) -> None:
        """Make room for the marks of seconds that are new."""
        size = len(self._marks)
        if (to_us - from_us) // SECOND_US >= size:
            self._marks = array("H", bytes(2 * size))
            return
        for second_us in range(from_us, to_us + 1, SECOND_US):
            self._marks[self._place(second_us)] = 0

    def _place(self, second_us: int) -> int:
        return second_us // SECOND_US % len(self._marks)
