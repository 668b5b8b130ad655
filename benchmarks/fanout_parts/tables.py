"""What is measured, and what is to be reached: one table for each question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.fanout_parts.candidates import (
    AIOHTTP,
    BARE,
    BARE_APART,
    BROADCAST,
    BROADCAST_PLAIN,
    FASTAPI,
    NATS,
    NODE,
    NODE_DEFLATE,
    OURS,
    OURS_BATCH,
    OURS_PROTOBUF,
    REDIS,
    Candidate,
)
from benchmarks.fanout_parts.figures import Goal, Repetitions, Run, median_of, ratio, worst_of
from benchmarks.fanout_parts.measuring import Load

GRACE_S = 10.0  # what a slow client is given as the hub comes

Measured = Mapping[str, Repetitions]
"""The runs of a table, by the names of its rows."""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    candidate: Candidate
    load: Load


@dataclass(frozen=True)
class Table:
    """Rows that are measured in turn, so many times, and the goals on them."""

    key: str
    title: str
    rows: tuple[Row, ...]
    goals: Callable[[Measured], list[Goal]]
    repetitions: int = 5
    note: str = ""


def cpu(run: Run) -> float:
    """Return the server's CPU per delivered candle."""
    return run.cpu_us


def p99(run: Run) -> float:
    """Return the delay that 99 of 100 candles do not exceed."""
    return run.p99_ms


def delivered(run: Run) -> float:
    """Return the part of all candles that arrived, right and in order."""
    return run.delivered if not run.bad and not run.lost else 0.0


def more(name: str) -> Callable[[Run], float]:
    """Return a reader of a figure that only some runs have."""
    return lambda run: run.more.get(name, 0.0)


def rows(load: Load, *candidates: Candidate) -> tuple[Row, ...]:
    """Return a row per candidate, all under one load."""
    return tuple(Row(each.name, each, load) for each in candidates)


def cpu_goal(measured: Measured, theirs: Candidate, limit: float) -> Goal:
    """Return the goal that our CPU be such a part of theirs."""
    found = ratio(measured[OURS.name], measured[theirs.name], cpu)
    return Goal(f"server CPU per delivered candle, ours / {theirs.name}", limit, found)


def all_delivered(measured: Measured, row: str) -> Goal:
    """Return the goal that every candle arrive in every run."""
    worst = worst_of(measured[row], delivered, min)
    return Goal(f"delivered, {row}", 100.0, worst and worst * 100, at_least=True, unit="%")


def main_goals(measured: Measured) -> list[Goal]:
    """Return what is to be reached with many clients that all want the same."""
    ours = measured[OURS.name]
    return [
        cpu_goal(measured, BROADCAST, 1 / 25),
        cpu_goal(measured, NATS, 1 / 4),
        cpu_goal(measured, REDIS, 0.7),
        cpu_goal(measured, BARE, 1.6),
        Goal(f"p99, ours / {BARE.name}", 1.6, ratio(ours, measured[BARE.name], p99)),
        all_delivered(measured, OURS.name),
        Goal(
            "memory per connection at the end, deflate negotiated",
            10.0,
            median_of(ours, lambda run: run.kib_at_end),
            unit="KiB",
        ),
    ]


def single_goals(measured: Measured) -> list[Goal]:
    """Return what is to be reached where nothing can travel together."""
    return [cpu_goal(measured, BARE, 1.5), all_delivered(measured, OURS.name)]


def own_goals(measured: Measured) -> list[Goal]:
    """Return what is to be reached where each client wants something else."""
    return [cpu_goal(measured, BROADCAST, 1 / 12), all_delivered(measured, OURS.name)]


_BATCH_GOALS = {10: 56.0, 20: 48.0, 200: 38.0}
_PROTOBUF_GOAL = 30.0
_CLIENTS_OF_BATCHES = 100


def batch_rows() -> tuple[Row, ...]:
    """Return a row per format and number of symbols."""
    return tuple(
        Row(f"{form}, {symbols} symbols", candidate, Load(_CLIENTS_OF_BATCHES, symbols, rounds=3))
        for form, candidate in (("JSON", OURS_BATCH), ("protobuf", OURS_PROTOBUF))
        for symbols in _BATCH_GOALS
    )


def batch_goals(measured: Measured) -> list[Goal]:
    """Return how small batches are to be."""
    found = []
    for row in batch_rows():
        json = row.candidate is OURS_BATCH
        size = median_of(measured[row.name], lambda run: run.bytes_a_candle)
        limit = _BATCH_GOALS[row.load.symbols] if json else _PROTOBUF_GOAL
        found.append(Goal(f"bytes per candle, batch, {row.name}", limit, size, unit="B"))
    return found


NONE_STALLED = "none stalled"
HALF_STALLED = "half stalled"


def stalled_goals(measured: Measured) -> list[Goal]:
    """Return what those who stall may cost."""
    stalled = measured[HALF_STALLED]

    def kept(run: Run) -> float:
        return more("server_kib_a_stalled")(run) + more("kernel_kib_a_stalled")(run)

    told = worst_of(stalled, more("told_4008_share"), min)
    closed = worst_of(stalled, lambda run: run.more.get("closed_after_s", float("inf")))
    return [
        Goal(
            "p99 of the others, half stalled / none",
            1.3,
            _ratio_p99(measured, HALF_STALLED, NONE_STALLED),
        ),
        all_delivered(measured, HALF_STALLED),
        Goal(
            "kept per stalled client, server and kernel together",
            1024.0,
            worst_of(stalled, kept),
            unit="KiB",
        ),
        Goal("all closed after they fell behind", GRACE_S + 2, closed, unit="s"),
        Goal("told 4008 when they read on", 100.0, told and told * 100, at_least=True, unit="%"),
    ]


STREAMING = "while strangers come"


def handshake_goals(measured: Measured) -> list[Goal]:
    """Return how many strangers are to be let in meanwhile."""

    def a_second(run: Run) -> float:
        return more("upgraded")(run) / more("seconds")(run) if run.more else 0.0

    return [
        Goal(
            "handshakes a second on one core",
            2000.0,
            median_of(measured[STREAMING], a_second),
            at_least=True,
        ),
        all_delivered(measured, STREAMING),
    ]


UNDISTURBED = "undisturbed"
DISTURBED = "among hostile clients"


def hostile_goals(measured: Measured) -> list[Goal]:
    """Return what those who mean no good may cost."""
    return [
        Goal(
            "p99 of the others, among hostile / undisturbed",
            1.3,
            _ratio_p99(measured, DISTURBED, UNDISTURBED),
        ),
        all_delivered(measured, DISTURBED),
    ]


def _ratio_p99(measured: Measured, one: str, other: str) -> float | None:
    return ratio(measured[one], measured[other], p99)


def no_goals(_: Measured) -> list[Goal]:
    """Return nothing: the table is for comparison."""
    return []


TABLES = (
    Table(
        "main",
        "10,000 clients, each wants all 10 symbols",
        rows(Load(10_000, 10), BARE, OURS, BROADCAST, NATS, REDIS),
        main_goals,
    ),
    Table(
        "peers",
        "1,000 clients, each wants all 20 symbols",
        rows(
            Load(1_000, 20, rounds=3),
            *(BARE, BARE_APART, OURS, OURS_BATCH, BROADCAST, BROADCAST_PLAIN, FASTAPI, AIOHTTP),
            *(NODE, NODE_DEFLATE, NATS, REDIS),
        ),
        no_goals,
    ),
    Table(
        "single",
        "2,000 clients, one symbol: nothing travels together",
        rows(Load(2_000, 1), BARE, OURS, BROADCAST),
        single_goals,
    ),
    Table(
        "own",
        "1,000 clients, each wants 10 of its own of 200 symbols",
        rows(Load(1_000, 200, rounds=3, own=True), OURS, BROADCAST),
        own_goals,
    ),
    Table("batch", "batches: bytes on the wire", batch_rows(), batch_goals, repetitions=1),
    Table(
        "stalled",
        "500 clients that read all 200 symbols, and 500 that read nothing",
        (
            Row(NONE_STALLED, OURS, Load(500, 200, rounds=6)),
            Row(HALF_STALLED, OURS, Load(500, 200, rounds=13, stalled=500)),
        ),
        stalled_goals,
        repetitions=3,
    ),
    Table(
        "handshakes",
        "5,000 clients that read all 10 symbols, while others come and go",
        (Row(STREAMING, OURS, Load(5_000, 10, rounds=6, besides="handshakes")),),
        handshake_goals,
        repetitions=3,
        note="µs/candle has what the strangers cost in it",
    ),
    Table(
        "hostile",
        "2,000 clients that read all 10 symbols, and 200 that mean no good",
        (
            Row(UNDISTURBED, OURS, Load(2_000, 10, rounds=6)),
            Row(DISTURBED, OURS, Load(2_000, 10, rounds=6, besides="hostile")),
        ),
        hostile_goals,
        note="µs/candle has what the hostile ones cost in it",
    ),
)
