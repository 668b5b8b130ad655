"""What it costs to send candles to many clients, beside what users would pick instead.

    make bench SUITE=fanout            everything, about 20 minutes
    make bench SUITE=fanout ARGS="--tables main,single --repetitions 3"    a part of it
    QUICK=1 make bench SUITE=fanout    the short form, three minutes: fewer clients, one repetition

At each second of the wall clock every symbol closes: all servers are given the same candles, with
the same JSON text, and send them to all clients that want them. Ours is the real gateway: `Candle`
events are published on the bus, and everything from there is counted. Peers get the text ready
made (FastAPI the object, as `send_json` wants it). The bare loop in C sends frames made before,
and is the limit.

One load generator in C is every client: it offers `permessage-deflate; client_max_window_bits` as
browsers do, counts candles by frames, and looks at every message of every 97th client, inflated:
it must be the very text that had to come. Server and clients have a core each. CPU is that of the
server's process, threads together, from when all are connected and one round has warmed up until
all is received; over loopback it includes much of what the receiver costs the kernel, for all
alike. Delays are from the second at which a round was due to the receipt of each candle.

Candidates take turns; ratios are taken within one repetition, and their medians shown. Goals are
shown beside what was measured; missing one is no failure. The full form writes its figures to
`results/fanout.json`, to be committed; the short form only shows them.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.fanout_parts.candidates import OURS, Equipment, equip
from benchmarks.fanout_parts.figures import Goal, Run, lasted, median_of, ratio, short
from benchmarks.fanout_parts.measuring import Bench, measure
from benchmarks.fanout_parts.programs import RunFailed, build
from benchmarks.fanout_parts.tables import TABLES, Row, Table, cpu
from benchmarks.ingest import ROOT, cores, processor

RESULTS = ROOT / "benchmarks" / "results" / "fanout.json"
DESCRIPTORS = 65_536  # more than any table needs
SPARE_DESCRIPTORS = 200
QUICK_SHARE = 0.2
QUICK_ROUNDS = 2


@dataclass
class Outcome:
    """A table's runs and failures, by the names of its rows."""

    table: Table
    runs: dict[str, list[Run | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Measure, print and keep the figures."""
    quick = bool(os.environ.get("QUICK"))
    asked = read_arguments()
    console = Console()
    # The tables are wide, and worth nothing without their last digits.
    console = Console(width=max(150, console.width if console.is_terminal else 0))
    if not Path("/proc/self/schedstat").exists():
        console.print("This suite needs Linux, with scheduler statistics in /proc.")
        return
    remarks = []
    tables = [table for table in TABLES if table.key in asked.tables]
    if quick:
        tables = [shortened(table) for table in tables]
    if asked.repetitions:
        tables = [replace(table, repetitions=asked.repetitions) for table in tables]
    share = descriptor_share(tables)
    if share < 1:
        tables = [scaled(table, share) for table in tables]
        remarks.append(
            f"This process may open {resource.getrlimit(resource.RLIMIT_NOFILE)[1]} files only "
            f"(ulimit -Hn): every table has {100 * share:.0f} % of its clients."
        )
    total = sum(seconds(table) for table in tables)
    console.print(f"Estimated time: {lasted(total)}, and a minute the first time to set up peers.")
    with tempfile.TemporaryDirectory() as built:
        problem = build(Path(built))
        if problem:
            console.print(f"Nothing can be measured: {problem}")
            return
        equipment = equip({row.candidate for table in tables for row in table.rows})
        server_core, load_core = cores()
        if server_core < 0:
            remarks.append("There is one core only: server and clients share it.")
        bench = Bench(Path(built), server_core, load_core, equipment.environment)
        outcomes = run_all(console, bench, tables, equipment)
    remarks += [f"{name}: {reason}." for name, reason in equipment.missing.items()]
    report(console, outcomes, remarks)
    everything = not quick and len(tables) == len(TABLES)
    keep(console, outcomes, equipment, remarks, asked.write or (RESULTS if everything else None))


def read_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench SUITE=fanout ARGS=…")
    keys = [table.key for table in TABLES]
    parser.add_argument(
        "--tables", default=",".join(keys), help=f"some of {','.join(keys)}; default: all"
    )
    parser.add_argument("--repetitions", type=int, help="default: what each table needs")
    parser.add_argument("--write", type=Path, help="write the figures there, whatever was measured")
    asked = parser.parse_args()
    asked.tables = asked.tables.split(",")
    unknown = set(asked.tables) - set(keys)
    if unknown:
        parser.error(f"no table {', '.join(sorted(unknown))}: expected some of {', '.join(keys)}")
    return asked


def shortened(table: Table) -> Table:
    """Return a table's short form; what needs its time to happen keeps its rounds."""
    rows = tuple(
        replace(
            row,
            load=replace(
                row.load.scaled(QUICK_SHARE),
                rounds=row.load.rounds if row.load.stalled else QUICK_ROUNDS,
            ),
        )
        for row in table.rows
    )
    return replace(table, rows=rows, repetitions=1)


def scaled(table: Table, share: float) -> Table:
    """Return a table with a part of the clients."""
    return replace(
        table, rows=tuple(replace(row, load=row.load.scaled(share)) for row in table.rows)
    )


def descriptor_share(tables: Sequence[Table]) -> float:
    """Allow as many files as the system lets us; return the share of clients that they are for.

    Servers and clients inherit it.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    needed = max(row.load.connections for table in tables for row in table.rows)
    return min(1.0, (allowed - SPARE_DESCRIPTORS) / needed)


def seconds(table: Table) -> float:
    """Return about how long a table takes."""
    return table.repetitions * sum(row.load.seconds(row.candidate) for row in table.rows)


def run_all(
    console: Console, bench: Bench, tables: Sequence[Table], equipment: Equipment
) -> list[Outcome]:
    """Measure table by table, repetition by repetition, row by row."""
    left = sum(seconds(table) for table in tables)
    outcomes = []
    for table in tables:
        outcome = Outcome(table, {row.name: [] for row in table.rows})
        outcomes.append(outcome)
        for row in table.rows:
            if row.candidate.name in equipment.missing:
                outcome.failures[row.name] = equipment.missing[row.candidate.name]
        for repetition in range(1, table.repetitions + 1):
            for row in table.rows:
                what = f"{table.key}, repetition {repetition} of {table.repetitions}: {row.name}"
                console.print(f"{what} … about {lasted(left)} left", style="dim")
                run_row(console, bench, outcome, row)
                left -= row.load.seconds(row.candidate)
    return outcomes


def run_row(console: Console, bench: Bench, outcome: Outcome, row: Row) -> None:
    """Measure one row once; one that failed is left alone from then on."""
    run = None
    if row.name not in outcome.failures:
        try:
            run = measure(bench, row.candidate, row.load)
        except RunFailed as failed:
            outcome.failures[row.name] = str(failed)
            console.print(f"  failed: {failed}", markup=False)
    outcome.runs[row.name].append(run)


COLUMNS = (
    *("µs/candle", "lowest-highest", "ours/this", "p50 ms", "p99 ms", "delivered"),
    *("B/candle", "KiB/client", "at end", "clients/s", "load"),
)


def report(console: Console, outcomes: Sequence[Outcome], remarks: Sequence[str]) -> None:
    """Print the tables, the goals, and what has to be said."""
    for outcome in outcomes:
        shown = Shown(title=f"{outcome.table.key}: {outcome.table.title}")
        shown.add_column("server", no_wrap=True)
        for column in COLUMNS:
            shown.add_column(column, justify="right", no_wrap=True)
        for row in outcome.table.rows:
            shown.add_row(row.name, *cells(outcome, row))
        console.print(shown)
        for row in outcome.table.rows:
            console.print(about(outcome, row), end="", markup=False)
        if outcome.table.note:
            console.print(f"  {outcome.table.note}.")
        for goal in outcome.table.goals(outcome.runs):
            console.print(said(goal), markup=False)
    for remark in remarks:
        console.print(remark, markup=False)
    console.print(machine())


def cells(outcome: Outcome, row: Row) -> list[str]:
    """Return a row of a table."""
    runs = outcome.runs[row.name]
    measured = [run.cpu_us for run in runs if run is not None]
    if not measured:
        return ["failed"] + ["-"] * (len(COLUMNS) - 1)
    ours = outcome.runs.get(OURS.name)
    part = ratio(ours, runs, cpu) if ours and row.name != OURS.name else None
    share = median_of(runs, lambda run: run.delivered)
    return [
        short(median_of(runs, cpu)),
        f"{short(min(measured))}-{short(max(measured))}",
        short(part),
        short(median_of(runs, lambda run: run.p50_ms) or None),
        short(median_of(runs, lambda run: run.p99_ms) or None),
        short(share and share * 100, "%"),
        short(median_of(runs, lambda run: run.bytes_a_candle)),
        short(median_of(runs, lambda run: run.kib_a_connection)),
        short(median_of(runs, lambda run: run.kib_at_end)),
        short(median_of(runs, lambda run: run.clients_a_second)),
        f"{100 * (median_of(runs, lambda run: run.load_busy) or 0.0):.0f} %",
    ]


def about(outcome: Outcome, row: Row) -> str:
    """Return what a row needs to have said below its table."""
    lines = []
    runs = [run for run in outcome.runs[row.name] if run is not None]
    load = row.load
    if row.candidate.note:
        lines.append(row.candidate.note)
    if row.name in outcome.failures:
        lines.append(outcome.failures[row.name])
    wrong = [run for run in runs if run.bad or run.lost]
    if wrong:
        lines.append(
            f"WRONG: {sum(run.bad for run in wrong)} bad candles, "
            f"{sum(run.lost for run in wrong)} connections lost"
        )
    if runs and not all(run.deflating for run in runs) and row.candidate.kind == "ws":
        lines.append("deflate was not negotiated")
    for name in runs[0].more if runs else ():
        value = median_of(runs, lambda run, name=name: run.more.get(name, 0.0))  # type: ignore[misc]
        lines.append(f"{name.replace('_', ' ')} {short(value)}")
    if runs and load.rounds_for(row.candidate) != load.rounds:
        lines.append(f"{load.rounds_of_slow} rounds only, as it cannot keep up")
    return f"  {row.name}: {'; '.join(lines)}.\n" if lines else ""


def said(goal: Goal) -> str:
    """Return a goal beside what was measured."""
    sign = "≥" if goal.at_least else "≤"
    limit = f"{short(goal.limit)} {goal.unit}".rstrip()
    return f"goal: {goal.text} {sign} {limit}: {short(goal.measured, goal.unit)}, {goal.verdict}"


def machine() -> str:
    """Say what was measured on."""
    pinned = "" if cores()[0] < 0 else "; server and clients on a core each"
    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
        f"{platform.python_implementation()} {platform.python_version()}{pinned}."
    )


def keep(
    console: Console,
    outcomes: Sequence[Outcome],
    equipment: Equipment,
    remarks: Sequence[str],
    path: Path | None,
) -> None:
    """Write the figures, if they are to be kept."""
    if path is None:
        console.print("Only the full form is kept: nothing was written.")
        return
    result = {
        "suite": "fanout",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "processor": processor(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "versions": {"python": platform.python_version(), **equipment.versions},
        "remarks": remarks,
        "tables": [kept(outcome) for outcome in outcomes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rounded(result))) + b"\n")
    console.print(f"Written to {path}.")


def kept(outcome: Outcome) -> dict[str, object]:
    """Return what is kept of a table: medians, and every run."""
    rows = []
    ours = outcome.runs.get(OURS.name)
    for row in outcome.table.rows:
        runs = outcome.runs[row.name]
        rows.append(
            {
                "server": row.name,
                "note": row.candidate.note,
                "clients": row.load.clients,
                "symbols": row.load.symbols,
                "rounds": row.load.rounds_for(row.candidate),
                "failure": outcome.failures.get(row.name),
                "cpu_us_a_candle": median_of(runs, cpu),
                "ours_as_part_of_it": ratio(ours, runs, cpu) if ours else None,
                "p99_ms": median_of(runs, lambda run: run.p99_ms),
                "repetitions": runs,
            }
        )
    goals = [
        {**msgspec.to_builtins(goal), "verdict": goal.verdict}
        for goal in outcome.table.goals(outcome.runs)
    ]
    table = outcome.table
    return {"table": table.key, "title": table.title, "rows": rows, "goals": goals}


def rounded(value: object) -> object:
    """Return plain values with as many digits as they are worth."""
    value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
