"""How old events are when they reach us, as counts in classes that double in width.

Class 0 counts ages below 512 µs, class k those from 256 µs · 2^k up to 512 µs · 2^k.
"""

from __future__ import annotations

from collections.abc import Sequence

FIRST_US = 512
CLASSES = 24
"""The last class counts everything from about 36 minutes on."""

BOUNDS_US = tuple(FIRST_US << k for k in range(CLASSES - 1))
"""The upper bound of each class but the last, which has none."""


def class_of(age_us: int) -> int:
    """Return the class that counts an age; one below zero, as after a leap of a clock, is in 0."""
    return min((age_us >> 9).bit_length(), CLASSES - 1) if age_us > 0 else 0


def quantile_us(counts: Sequence[int], share: float) -> int | None:
    """Return an age that `share` of all events are not older than; `None` without any event.

    It is the upper bound of the class in which that event was counted, so it errs towards older.
    """
    left = share * sum(counts)
    if not left:
        return None
    for number, count in enumerate(counts):
        left -= count
        if left <= 0:
            return FIRST_US << number
    return FIRST_US << (len(counts) - 1)
