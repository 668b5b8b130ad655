"""Whatever is asked of any REST route, ours and the mirror's, the answer is as it is documented."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.gateways.rest.fuzzing import FOLLOWED, fuzz, hub_aside

CASES = 500
MANY = 10_000


def judge(answered: Counter[str], cases: int) -> None:
    """Check that enough was asked, that all kinds of answers came, and none was a failure."""
    assert answered.total() >= cases
    statuses = {label.rpartition(" ")[2] for label in answered}
    assert {"200", "400"} <= statuses
    assert not [label for label in answered if label.rpartition(" ")[2].startswith("5")]
    routes = {label.rpartition(" ")[0] for label in answered}
    assert "GET /api/v3/klines" in routes
    assert "POST /add_symbol" in routes


def test_five_hundred_calls_are_answered_as_documented(tmp_path: Path) -> None:
    """No 5xx and nothing that the documentation does not say, limits off."""
    with hub_aside(tmp_path, symbols=",".join(FOLLOWED), mirror_weight=0) as hub:
        judge(fuzz(hub, cases=CASES, number=7), CASES)


@pytest.mark.soak(minutes=6)
def test_ten_thousand_calls_are_answered_as_documented(tmp_path: Path) -> None:
    """The same for long, with other calls each time."""
    with hub_aside(tmp_path, symbols=",".join(FOLLOWED), mirror_weight=0) as hub:
        judge(fuzz(hub, cases=MANY), MANY)
