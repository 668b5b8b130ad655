"""How long to wait before trying again: full jitter, from 1 s doubling to 30 s, for ever."""

from __future__ import annotations

from random import Random


class Backoff:
    """The waits of one thing that is tried again and again.

    Each wait is drawn evenly from 0 to a ceiling that doubles from `first_s` to `most_s`; so many
    that failed at the same moment do not come back at the same moment.
    """

    def __init__(self, random: Random, *, first_s: float = 1.0, most_s: float = 30.0) -> None:
        self._random = random
        self._first_s = first_s
        self._most_s = most_s
        self._ceiling_s = first_s
        self.failures = 0

    def next_wait_s(self) -> float:
        """Count a failure and return how long to wait before the next try."""
        self.failures += 1
        wait = self._random.uniform(0.0, self._ceiling_s)
        self._ceiling_s = min(self._most_s, self._ceiling_s * 2)
        return wait

    def reset(self) -> None:
        """Begin anew, after a success."""
        self.failures = 0
        self._ceiling_s = self._first_s
