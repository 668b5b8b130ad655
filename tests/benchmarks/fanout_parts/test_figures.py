"""Tests of `benchmarks.fanout_parts.figures`."""

from __future__ import annotations

import pytest

from benchmarks.fanout_parts.figures import Goal, Run, median_of, ratio, short


def a_run(cpu_us):
    """Return a run of which only the CPU matters."""
    return Run(
        cpu_us=cpu_us,
        delivered=1.0,
        bad=0,
        lost=0,
        p50_ms=1.0,
        p99_ms=2.0,
        worst_ms=3.0,
        bytes_a_candle=100.0,
        kib_a_connection=5.0,
        kib_at_end=6.0,
        clients_a_second=1000.0,
        load_busy=0.3,
        looked_at=10,
        deflating=True,
    )


def cpu(run):
    """Return a run's CPU."""
    return run.cpu_us


def test_ratios_are_taken_within_a_repetition():
    """What slows one repetition down slows both: medians of each would say 1."""
    ours = [a_run(1), a_run(10), a_run(4)]
    theirs = [a_run(2), a_run(20), a_run(4)]
    assert ratio(ours, theirs, cpu) == 0.5


def test_failed_runs_are_left_out():
    """A repetition in which one of both failed says nothing of the other."""
    assert ratio([None, a_run(3)], [a_run(1), a_run(6)], cpu) == 0.5
    assert ratio([None], [a_run(1)], cpu) is None
    assert median_of([None, a_run(3)], cpu) == 3
    assert median_of([None], cpu) is None


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [
        (Goal("", limit=2.0, measured=2.0), "reached"),
        (Goal("", limit=2.0, measured=2.1), "missed"),
        (Goal("", limit=2.0, measured=2.1, at_least=True), "reached"),
        (Goal("", limit=2.0, measured=1.9, at_least=True), "missed"),
        (Goal("", limit=2.0, measured=None), "not measured"),
    ],
)
def test_a_goal_says_whether_it_is_reached(goal, verdict):
    """Less is better, unless it is said otherwise."""
    assert goal.verdict == verdict


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.0384, "0.038"), (1.5, "1.50"), (34.56, "34.6"), (31369, "31,369")],
)
def test_figures_have_the_digits_that_they_are_worth(value, text):
    """Three digits that count."""
    assert short(value) == text
