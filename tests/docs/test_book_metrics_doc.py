"""What docs/book-metrics.md says of polls is what the plan says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.feed.poll_plan import FOR_REPAIR, POLL_WEIGHT, Poll, PollPlan

TEXT = (Path(__file__).parents[2] / "docs" / "book-metrics.md").read_text(encoding="utf-8")


def test_the_arithmetic_that_is_shown_is_what_is_told() -> None:
    """Three symbols of 5000 levels a second."""
    problem = PollPlan(Poll(5_000, 1_000)).problem(("A", "B", "C"))
    assert problem is not None
    assert problem in " ".join(TEXT.split())
    assert f"keeps a quarter of that, {FOR_REPAIR:,}" in TEXT
    assert f"the other {POLL_WEIGHT:,}" in TEXT


def test_the_table_of_costs_is_right() -> None:
    """Each row: what it costs, and how many symbols fit; one more does not."""
    rows = re.findall(r"^\| (\d+) \| (\d+) s \| ([\d,]+) \| (\d+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 5
    for limit, every_s, weight, fit in rows:
        plan = PollPlan(Poll(int(limit), int(every_s) * 1_000))
        symbols = [f"S{number}" for number in range(int(fit) + 1)]
        assert plan.weight(symbols[:1]) == int(weight.replace(",", ""))
        assert plan.problem(symbols[:-1]) is None
        assert plan.problem(symbols) is not None


@pytest.mark.parametrize("name", ["BOOK_METRICS_SECONDS", "BOOK_METRICS_BANDS", "BOOK_POLLS"])
def test_settings_that_are_named_are_there(name: str) -> None:
    """Under the very name."""
    example = (Path(__file__).parents[2] / ".env.example").read_text(encoding="utf-8")
    assert name in TEXT
    assert f"# {name}=" in example
