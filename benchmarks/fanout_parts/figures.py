"""What one run has shown, and what is worked out from the repetitions; no I/O."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import msgspec

Bound = Callable[["Run"], float]


class Run(msgspec.Struct, omit_defaults=True):
    """One candidate, once. Delays are from the flush's second to receipt, in milliseconds.

    `delivered` is the share of what was expected. `load_busy` is how much of its core the load
    generator used while candles came. `bad` candles are not the text that had to come; `lost`
    connections ended by themselves. What only some tables have is in `more`.
    """

    cpu_us: float
    delivered: float
    bad: int
    lost: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    bytes_a_candle: float
    kib_a_connection: float
    kib_at_end: float
    clients_a_second: float
    load_busy: float
    looked_at: int
    deflating: bool
    more: dict[str, float] = {}


Repetitions = Sequence[Run | None]
"""A candidate's runs in the order of the repetitions; `None` where one failed."""


class Goal(msgspec.Struct, omit_defaults=True):
    """A figure to reach; `measured` is `None` where there was nothing to measure it with."""

    text: str
    limit: float
    measured: float | None
    at_least: bool = False
    unit: str = ""

    @property
    def verdict(self) -> str:
        """Say whether it is reached."""
        if self.measured is None:
            return "not measured"
        reached = self.measured >= self.limit if self.at_least else self.measured <= self.limit
        return "reached" if reached else "missed"


def median_of(runs: Repetitions, figure: Callable[[Run], float]) -> float | None:
    """Return the median of a figure over the runs that there are."""
    values = [figure(run) for run in runs if run is not None]
    return statistics.median(values) if values else None


def worst_of(
    runs: Repetitions, figure: Callable[[Run], float], pick: Callable[[list[float]], float] = max
) -> float | None:
    """Return the least favourable figure of the runs that there are."""
    values = [figure(run) for run in runs if run is not None]
    return pick(values) if values else None


def ratio(ours: Repetitions, theirs: Repetitions, figure: Callable[[Run], float]) -> float | None:
    """Return our figure as a part of theirs: within each repetition, then the median of those."""
    found = [
        figure(mine) / figure(other)
        for mine, other in zip(ours, theirs, strict=False)
        if mine is not None and other is not None and figure(other)
    ]
    return statistics.median(found) if found else None


def short(value: float | None, unit: str = "") -> str:
    """Return a figure with as many digits as it is worth."""
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        digits = 0
    else:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(digits, 3)}f}"
    return f"{text} {unit}".rstrip()


def lasted(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{seconds / 60:.0f} min"
