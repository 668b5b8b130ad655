"""How the ids that are told differ from the market's own, after faults have changed the counting.

A market counts on for ever. What is told may skip ids, which then never exist, or begin anew at 1,
after which everything before is forgotten.
"""

from __future__ import annotations

from typing import NamedTuple


class _Turn(NamedTuple):
    """The market's ids above `after` are told as so much less."""

    after: int
    less: int
    forgets: bool  # those up to `after`


class Numbering:
    """One sequence of ids: of a symbol's trades, aggregate trades, or updates of its book."""

    def __init__(self) -> None:
        self._turns = [_Turn(-1, 0, forgets=False)]

    def skip(self, last: int, count: int) -> None:
        """Tell ids after the market's `last` as `count` higher than otherwise."""
        self._turns.append(_Turn(last, self._turns[-1].less - count, forgets=False))

    def restart(self, last: int) -> None:
        """Tell the id after the market's `last` as 1, and forget all up to it."""
        self._turns.append(_Turn(last, last, forgets=True))

    def told(self, own: int) -> int:
        """Return how one of the market's ids is told, or was when it came."""
        return own - self._turn_of(own).less

    def own(self, told: int) -> int:
        """Return the first id of the market that is not forgotten, and told as `told` or more."""
        end: int | None = None  # where the next turn begins
        for turn in reversed(self._turns):
            own = told + turn.less
            if own > turn.after:
                return own if end is None else min(own, end)
            end = turn.after + 1
            if turn.forgets:
                break
        return end or 0

    def meant(self, told: int, newest: int) -> int | None:
        """Return which of the market's ids up to `newest` was told so, the latest if several."""
        end = newest + 1
        for turn in reversed(self._turns):
            if turn.after < (own := told + turn.less) < end:
                return own
            end = turn.after + 1
        return None

    @property
    def begins(self) -> int:
        """The first id of the market that is not forgotten."""
        return next((turn.after + 1 for turn in reversed(self._turns) if turn.forgets), 0)

    def began_anew(self, first: int, last: int) -> bool:
        """Tell whether the counting began anew between two of the market's ids."""
        return any(turn.forgets and first <= turn.after < last for turn in self._turns)

    def _turn_of(self, own: int) -> _Turn:
        return next(turn for turn in reversed(self._turns) if own > turn.after)
