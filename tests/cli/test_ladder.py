"""Tests of app.cli.ladder: a book drawn for people."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from app.cli.ladder import Ladder, bar_of, imbalance
from app.market.events import BookState, BookView
from tests.cli.test_shown import a_view
from tests.fakes import symbol_info


def drawn(view: BookView, *, rows: int = 10, width: int = 80) -> list[str]:
    """Return the lines of a picture."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    ladder = Ladder(
        lambda symbol: symbol_info(symbol, tick="0.01", step="0.001"),
        Text(" SIMULATED "),
    )
    console.print(ladder.picture(view, rows=rows, width=width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_asks_above_bids_below_and_the_middle_between() -> None:
    """The best of each side is next to the middle; sums count from there."""
    view = a_view(
        bids=(("100.10", "1"), ("100.00", "2"), ("99.00", "1")),
        asks=(("100.20", "3"), ("100.30", "1")),
    )
    lines = drawn(view)
    numbers = [line.split()[:3] for line in lines[2:5]]
    assert numbers[:2] == [["100.30", "1.000", "4.000"], ["100.20", "3.000", "3.000"]]
    assert lines[4].split()[:2] == ["mid", "100.15"]
    assert "spread 0.10 (9.99 bp)" in lines[4]
    assert [line.split()[:3] for line in lines[5:8]] == [
        ["100.10", "1.000", "1.000"],
        ["100.00", "2.000", "3.000"],
        ["99.00", "1.000", "4.000"],
    ]
    assert "imbalance of 5 levels +0.00" in lines[8]
    assert "known whole   update 42   change 7" in lines[9]


def test_state_and_source_are_the_first_to_be_read() -> None:
    """What is not to be trusted says so, and why."""
    assert drawn(a_view())[0].split() == ["BTCUSDT", "IN", "STEP", "SIMULATED"]
    lines = drawn(a_view(state=BookState.STALE, reason="stream lost"))
    assert lines[0].startswith("BTCUSDT  STALE")
    assert lines[1] == "the levels last known, no more than that: stream lost"


def test_the_range_in_which_it_is_exact() -> None:
    """Beyond it nothing is known, so it is told."""
    assert "known from 90.00 to 110.50" in drawn(a_view(exact_from="90.00", exact_to="110.5"))[-1]
    assert "known from 90.00 to ∞" in drawn(a_view(exact_from="90"))[-1]
    assert "known from 0 to 110.00" in drawn(a_view(exact_to="110"))[-1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bids": (), "asks": (), "state": BookState.SYNCING}, "empty"),
        ({"asks": ()}, "one side only"),
    ],
)
def test_books_without_a_side(changes: dict[str, object], said: str) -> None:
    """There is no middle then, and nothing fails."""
    assert any(said in line for line in drawn(a_view(**changes)))


def test_no_more_levels_than_rows() -> None:
    """A deep book is cut to what is asked for."""
    bids = tuple((f"{100 - level}", "1") for level in range(50))
    lines = drawn(a_view(bids=bids, asks=()), rows=3)
    assert (
        sum(line.strip().startswith(("100.00", "99.00", "98.00", "97.00")) for line in lines) == 3
    )


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_fits_the_terminal(width: int) -> None:
    """No line is longer than the terminal is wide, and no digit is cut."""
    lines = drawn(a_view(), width=width)
    assert max(map(len, lines)) <= width
    assert any("100.10" in line and "1.000" in line for line in lines)


def test_bars() -> None:
    """A bar is as long as its share, to an eighth of a column; something is never nothing."""
    assert bar_of(1.0, 4) == "████"
    assert bar_of(0.5, 3) == "█▌"
    assert bar_of(0.0001, 4) == "▏"
    assert bar_of(0.0, 4) == ""


def test_imbalance() -> None:
    """From -1, all asks, to 1, all bids; of the best five levels."""
    assert imbalance((), ()) is None
    assert imbalance((("1", "3"),), (("2", "1"),)) == 0.5
    deep = tuple((f"{10 - level}", "1") for level in range(9))
    assert imbalance(deep, (("11", "5"),)) == 0.0
