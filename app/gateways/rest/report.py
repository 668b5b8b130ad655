"""How `/status` shows the hub's report: what matters first, and ages as times instead of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app.gateways.rest.answers import encode
from app.market.ages import quantile_us
from app.ports import SymbolStatus

SIMULATED = "simulated"


def readable(report: Mapping[str, object]) -> dict[str, object]:
    """Return the report with `source` and `simulated` in front, and each symbol as people read it.

    `simulated` follows from the source unless the report has a word on it.
    """
    source = report.get("source", "")
    shown = {"source": source, "simulated": source == SIMULATED, **report}
    symbols = report.get("symbols")
    if isinstance(symbols, list | tuple):
        shown["symbols"] = [
            symbol_report(one) if isinstance(one, SymbolStatus) else one for one in symbols
        ]
    return shown


def symbol_report(status: SymbolStatus) -> dict[str, object]:
    """Return one symbol's fields by name; its event ages are summed up."""
    return {**msgspec.structs.asdict(status), "event_ages": summary(status.event_ages)}


def summary(ages: Sequence[int]) -> dict[str, float | int] | None:
    """Return how old events were on arrival, in ms; `None` before the first.

    `ages` are counts by class (`app.market.ages`), so each time is the upper bound of a class: at
    most twice the true one, never less, but for what is beyond the last bound.
    """
    count = sum(ages)
    if not count:
        return None
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {"count": count} | {
        name: (quantile_us(ages, share) or 0) / 1_000 for name, share in shares.items()
    }


def pretty(value: object) -> bytes:
    """Return `value` as JSON with two spaces per level and a final newline."""
    return msgspec.json.format(encode(value), indent=2) + b"\n"
