"""What asking for order books again and again costs, and whether the exchange allows it. Pure.

The exchange counts weight per address and minute. This hub uses less than that, see
`app.feed.governor`, and polls may take three quarters of it: the rest is for what cannot wait, as
repair, first snapshots and the list of symbols.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from app.binance.limits import LARGEST_DEPTH, WEIGHT_LIMIT, depth_weight
from app.feed.governor import WEIGHT_PER_MINUTE

FOR_REPAIR = WEIGHT_PER_MINUTE // 4
POLL_WEIGHT = WEIGHT_PER_MINUTE - FOR_REPAIR

SHORTEST_MS = 100
LONGEST_MS = 3_600_000
LIMITS = (5_000, 1_000, 500, 100)  # the most levels of each price

_MINUTE_MS = 60_000
_STEPS_MS = (100, 1_000)  # what intervals that would fit are rounded up to: below 10 s, and above


class Poll(NamedTuple):
    """How deep one book is asked for, 1 to 5000 levels a side, and how often."""

    limit: int = 100
    interval_ms: int = 1_000

    @property
    def weight(self) -> int:
        """What one call costs."""
        return depth_weight(self.limit)

    @property
    def per_minute(self) -> Fraction:
        """How often it is asked in a minute."""
        return Fraction(_MINUTE_MS, self.interval_ms)


def check_poll(poll: Poll) -> Poll:
    """Return `poll`, or raise `ValueError` when it asks for what there is not."""
    if not 1 <= poll.limit <= LARGEST_DEPTH:
        message = f"expected 1 to {LARGEST_DEPTH} levels, got {poll.limit}"
        raise ValueError(message)
    if not SHORTEST_MS <= poll.interval_ms <= LONGEST_MS:
        message = f"expected {SHORTEST_MS} to {LONGEST_MS} ms, got {poll.interval_ms}"
        raise ValueError(message)
    return poll


class PollPlan:
    """How each symbol is polled: as `by_symbol` says, else as `every` says."""

    def __init__(
        self,
        every: Poll = Poll(),  # noqa: B008 - it does not change
        by_symbol: Mapping[str, Poll] | None = None,
        *,
        budget: int = POLL_WEIGHT,
    ) -> None:
        self.every = check_poll(every)
        self.by_symbol = {symbol: check_poll(poll) for symbol, poll in (by_symbol or {}).items()}
        self.budget = budget

    def of(self, symbol: str) -> Poll:
        """Return how a symbol is polled."""
        return self.by_symbol.get(symbol, self.every)

    def weight(self, symbols: Iterable[str]) -> int:
        """Return what polling these symbols costs in a minute, rounded up."""
        return ceil(sum(_cost(poll, 1) for poll in map(self.of, symbols)))

    def problem(self, symbols: Sequence[str]) -> str | None:
        """Say why these symbols cannot be polled so, with the arithmetic; `None` when they can."""
        polls = Counter(map(self.of, symbols))
        total = sum((_cost(poll, count) for poll, count in polls.items()), Fraction(0))
        if total <= self.budget:
            return None
        parts = [_arithmetic(poll, count) for poll, count in sorted(polls.items())]
        together = f"; together {_whole(total)}" if len(parts) > 1 else ""
        fitting = [*self._longer(polls, total), *self._shallower(polls), *self._fewer(symbols)]
        return (
            f"{'; '.join(parts)}{together} > {self.budget:,} of {WEIGHT_LIMIT:,} a minute "
            f"({WEIGHT_PER_MINUTE:,} are used at most, {FOR_REPAIR:,} of them for repair); "
            f"what would fit: {', or '.join(fitting)}"
        )

    def _longer(self, polls: Mapping[Poll, int], total: Fraction) -> Iterable[str]:
        """Yield how rarely would be rarely enough."""
        times = total / self.budget
        if len(polls) == 1:
            (poll,) = polls
            least_ms = ceil(poll.interval_ms * times)
            step_ms = _STEPS_MS[least_ms > 10_000]
            every_ms = -(-least_ms // step_ms) * step_ms
            if every_ms <= LONGEST_MS:
                yield f"every {every_ms / 1_000:g} s"
        else:
            yield f"every interval {ceil(times * 10) / 10:g} times as long"

    def _shallower(self, polls: Mapping[Poll, int]) -> Iterable[str]:
        """Yield how few levels would be few enough."""
        deepest = max(poll.limit for poll in polls)
        for limit in LIMITS:
            if limit < deepest and self.budget >= sum(
                _cost(poll._replace(limit=min(limit, poll.limit)), count)
                for poll, count in polls.items()
            ):
                yield f"limit {limit}"
                return

    def _fewer(self, symbols: Sequence[str]) -> Iterable[str]:
        """Yield how many of these symbols would be few enough."""
        total = Fraction(0)
        for count, symbol in enumerate(symbols):
            total += _cost(self.of(symbol), 1)
            if total > self.budget:
                if count:
                    yield f"the first {count} symbols alone" if count > 1 else f"{symbols[0]} alone"
                return


def _cost(poll: Poll, count: int) -> Fraction:
    """Return what polling so many symbols so costs in a minute."""
    return count * poll.weight * poll.per_minute


def _arithmetic(poll: Poll, count: int) -> str:
    return (
        f"{count} symbol{'s' if count > 1 else ''} x {poll.weight} weight (limit {poll.limit}) x "
        f"{_whole(poll.per_minute)} a minute = {_whole(_cost(poll, count))}"
    )


def _whole(number: Fraction) -> str:
    """Return a number for people: exact, or with one decimal."""
    return f"{number.numerator:,}" if number.denominator == 1 else f"{float(number):,.1f}"
