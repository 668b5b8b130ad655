"""What can befall the order books of clients, and of the hub, at the exchange."""

from __future__ import annotations

from typing import Any

from app.simulator.faults import Fault, Kind


def faults_of_books(seconds: float, *, often: float = 1.0) -> list[Fault]:
    """Return all that can befall a book for so long, but for numbers that are wrong.

    `often` says how much of it: a client that asks for all its books anew each time is over the
    limits of the exchange before long.
    """
    diffs: dict[str, Any] = {"stream": "*@depth@100ms", "duration": seconds}
    at_depth: dict[str, Any] = {"path": "/api/v3/depth", "duration": seconds}
    return [
        Fault(kind=Kind.DROP, probability=0.01 * often, **diffs),
        Fault(kind=Kind.DUPLICATE, probability=0.03 * often, **diffs),
        Fault(kind=Kind.REORDER, probability=0.01 * often, **diffs),
        Fault(kind=Kind.DELAY, probability=0.01 * often, delay=0.4, **diffs),
        Fault(kind=Kind.REST_LAG, probability=0.5, delay=0.7, **at_depth),
        Fault(kind=Kind.REST_DELAY, probability=0.5, delay=0.5, **at_depth),
        Fault(kind=Kind.CUT, at=5.0, every=23.0),
        Fault(kind=Kind.RESET, at=14.0, every=37.0),
        Fault(kind=Kind.STALL, at=9.0, every=31.0, duration=2.0, stream="*@depth@100ms"),
    ]
