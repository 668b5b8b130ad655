"""Tests of app.cli.polling: what polls cost, and what they bring."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli.following import Bounds
from app.cli.polling import arithmetic, interval_ms, poll
from app.feed.poll_plan import Poll, PollPlan
from tests.cli.screen import Screen


@pytest.mark.parametrize(
    ("text", "ms"), [("5", 5_000), ("0.5", 500), ("250ms", 250), ("2 s", 2_000), ("1M", 60_000)]
)
def test_intervals(text: str, ms: int) -> None:
    """A bare number is seconds."""
    assert interval_ms(text) == ms


@pytest.mark.parametrize("text", ["", "often", "-1", "1h", "1e3"])
def test_what_is_no_interval(text: str) -> None:
    """Anything else says what was expected."""
    with pytest.raises(ValueError, match="500ms"):
        interval_ms(text)


def test_the_arithmetic_of_a_plan() -> None:
    """Symbols times weight times calls, as a person would work it out."""
    plan = PollPlan(Poll(1_000, 5_000))
    assert arithmetic(plan, ["BTCUSDT", "ETHUSDT"]).startswith(
        "2 symbols x 50 weight (limit 1000) x 12 a minute = 1,200 of "
    )


async def test_a_plan_that_costs_too_much_is_refused_at_once() -> None:
    """Nothing is asked; the sum is shown, and what would fit."""
    screen = Screen()
    plan = PollPlan(Poll(5_000, 500))
    assert await poll(screen, ["BTCUSDT"], plan, Bounds(), source="binance") == 2
    assert "1 symbol x 250 weight (limit 5000) x 120 a minute = 30,000" in screen.told
    assert "what would fit" in screen.told


async def test_books_come_at_their_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As deep as asked for, whole each time, each newer than the one before."""
    monkeypatch.chdir(tmp_path)
    screen = Screen(json=True)
    bounds = Bounds(count=6, json=True)
    plan = PollPlan(Poll(20, 200))
    assert await poll(screen, ["BTCUSDT", "ETHUSDT"], plan, bounds, source="simulated") == 0
    read = [json.loads(line) for line in screen.data]
    assert len(read) == 6
    assert "2 symbols x 5 weight" in screen.told
    assert {one["symbol"] for one in read} == {"BTCUSDT", "ETHUSDT"}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        books = [one for one in read if one["symbol"] == symbol]
        assert all(len(one["bids"]) == len(one["asks"]) == one["limit"] == 20 for one in books)
        ids = [one["last_update_id"] for one in books]
        assert ids == sorted(ids)


async def test_a_symbol_that_there_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and nothing is polled."""
    monkeypatch.chdir(tmp_path)
    screen = Screen()
    plan = PollPlan(Poll())
    assert await poll(screen, ["NOSUCH"], plan, Bounds(), source="simulated") == 2
    assert "NOSUCH is not listed" in screen.told
    assert screen.data == []
