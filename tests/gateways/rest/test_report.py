"""The report as `/status` shows it: the source first, ages as times."""

from __future__ import annotations

import msgspec
import pytest

from app.gateways.rest.report import pretty, readable, summary, symbol_report
from app.market.ages import CLASSES, class_of
from tests.gateways.rest.fakes import symbol_status


def test_a_report_may_say_itself_whether_it_is_simulated() -> None:
    """`simulated` follows from the source unless the report has a word on it."""
    assert readable({"source": "binance"})["simulated"] is False
    assert readable({"source": "replay", "simulated": True})["simulated"] is True
    assert list(readable({"a": 1, "source": "simulated"})) == ["source", "simulated", "a"]
    assert msgspec.json.decode(pretty(readable({}))) == {"source": "", "simulated": False}


def counts(*ages_us: int) -> tuple[int, ...]:
    """Count ages by class."""
    found = [0] * CLASSES
    for age_us in ages_us:
        found[class_of(age_us)] += 1
    return tuple(found)


@pytest.mark.parametrize(
    ("ages", "shown"),
    [
        pytest.param((), None, id="not counted yet"),
        pytest.param(counts(), None, id="no event yet"),
        pytest.param(
            counts(100),
            {"count": 1, "p50_ms": 0.512, "p99_ms": 0.512, "max_ms": 0.512},
            id="one event",
        ),
        pytest.param(
            counts(*[20_000] * 98, 100_000, 3_000_000),
            {"count": 100, "p50_ms": 32.768, "p99_ms": 131.072, "max_ms": 4194.304},
            id="a tail",
        ),
    ],
)
def test_ages_are_summed_up(ages: tuple[int, ...], shown: dict[str, float] | None) -> None:
    """Of the counts, the median, the 99th percentile and the largest are shown, in ms."""
    assert summary(ages) == shown


def test_a_symbol_is_shown_with_all_its_fields() -> None:
    """Nothing of a symbol's report is left out, and its counts of ages are no list of numbers."""
    status = symbol_status(event_ages=counts(100), coverage=0.5, verified_until_us=None)
    shown = symbol_report(status)
    assert list(shown) == [field.name for field in msgspec.structs.fields(status)]
    assert (shown["symbol"], shown["coverage"], shown["verified_until_us"]) == (
        "BTCUSDT",
        0.5,
        None,
    )
    assert shown["event_ages"] == summary(counts(100))
    report = {"symbols": [status, {"symbol": "as it is"}], "totals": {"trades": 5}}
    assert readable(report)["symbols"] == [shown, {"symbol": "as it is"}]
    assert readable(report)["totals"] == {"trades": 5}
