"""CPU per diff from the raw frame to the top 20 of the book, beside what users would pick instead.

    make bench SUITE=books             about two minutes, the first time a minute more for set-up
    QUICK=1 make bench SUITE=books     the short form, half a minute; rougher

Every keeper of books gets the same recorded diffs of two symbols from memory: decode, apply, and
read the best 20 levels of both sides, once after each diff and once after each 100th. Each runs in
a process of its own on one core, those of others in an environment of their own, one after the
other, and the whole row several times over: ratios are taken within one repetition, and their
medians shown. Before that the tops of all are compared after every diff, and must agree.

Others get orjson, the quickest decoder that they would use. Ours hands out the exchange's own text,
in which no digit is lost, checks that numbers are numbers and that no update is missing, and shows
no level that is not known exactly; theirs are floats or Decimals, and none of that.

Goals are shown beside what was measured; missing one is no failure. The full form writes its
figures to `results/books.json`, to be committed; the short form only shows them.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.books_parts.recorded import read, unpack
from benchmarks.books_parts.timing import DEPTH, READS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "books.json"
LOCK = "benchmarks/requirements-books.txt"
ENVIRONMENT = ROOT / ".venvs" / "books"
TIMEOUT_S = 300
EACH, RARELY = READS


@dataclass(frozen=True)
class Candidate:
    """One row of the table, and the goals for our figure as a part of its own.

    `each` where the top is read after each diff, `rarely` where it is read after each 100th. What
    stands `aside` is shown, but is not how it is used, and no goal counts it.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    package: str = ""  # empty: our own
    slow: bool = False
    aside: bool = False
    each: float | None = None
    rarely: float | None = None
    note: str = ""


CANDIDATES = (
    Candidate("candlewire", "run_ours"),
    Candidate(
        "ccxt",
        "run_ccxt",
        package="ccxt",
        each=0.75,
        rarely=0.75,
        note="its OrderBook alone, fed with plain floats: less than ccxt does to get there",
    ),
    Candidate(
        "ccxt.pro",
        "run_ccxt",
        ("exchange",),
        package="ccxt",
        note="the same through handle_order_book, not bounded to 1,000 levels as by default",
    ),
    Candidate(
        "order_book",
        "run_order_book",
        package="order-book",
        slow=True,
        each=0.12,
        note="cryptofeed's, with Decimals as cryptofeed uses it",
    ),
    Candidate(
        "order_book, floats",
        "run_order_book",
        ("floats",),
        package="order-book",
        slow=True,
        aside=True,
        note="the same with floats, which cryptofeed does not use",
    ),
    Candidate(
        "python-binance",
        "run_depth_cache",
        package="python-binance",
        slow=True,
        each=0.06,
        note="its DepthCache",
    ),
    Candidate("SortedDict", "run_sorted_dict", package="sortedcontainers"),
)
BEST_RARELY_GOAL = 1.15  # ours as a part of the best of the others, where tops are read rarely


@dataclass
class Row:
    """What was measured of one candidate: µs a diff, by how often the top is read."""

    candidate: Candidate
    version: str = ""
    cpu_us: dict[int, list[float]] = field(default_factory=lambda: {every: [] for every in READS})
    failure: str = ""


@dataclass(frozen=True)
class Plan:
    """How much is measured: a pass is every diff of the recordings once."""

    repetitions: int
    passes: int
    passes_slow: int
    estimate: str
    kept: bool  # whether its figures are written


FULL = Plan(7, 5, 1, "about 2 minutes", kept=True)
QUICK = Plan(3, 2, 1, "about half a minute", kept=False)


def main() -> None:
    """Compare, measure, print and keep the figures."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    plan = QUICK if os.environ.get("QUICK") else FULL
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder)
        if not unpack(ROOT / os.environ.get("CANDLEWIRE_RECORDINGS", "../shared/data"), frames):
            console.print("There is no recorded book: set CANDLEWIRE_RECORDINGS to its folder.")
            return
        console.print(f"Estimated time: {plan.estimate}, and more the first time to set up others.")
        rows = [Row(each) for each in CANDIDATES]
        prepare(rows)
        with console.status("comparing the tops"):
            compare(rows, frames)
        for repetition in range(plan.repetitions):
            with console.status(f"repetition {repetition + 1} of {plan.repetitions}"):
                for row in rows:
                    measure(row, plan, frames)
        diffs = {each.symbol: len(each.frames) for each in read(frames)}
    report(console, rows, plan, diffs)


def prepare(rows: list[Row]) -> None:
    """Set up the others' environment and ask for versions."""
    command = [sys.executable, "scripts/bootstrap.py", "--venv", ".venvs/books", LOCK]
    ready = subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    ask = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    for row in rows:
        if not row.candidate.package:
            continue
        if not ready:
            row.failure = "its environment could not be set up"
            continue
        command = [python_of(row.candidate), "-c", ask, row.candidate.package]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        row.version = answer.stdout.strip()


def python_of(candidate: Candidate) -> str:
    """Return the interpreter that a candidate runs in."""
    return str(ENVIRONMENT / "bin" / "python") if candidate.package else sys.executable


def run(row: Row, folder: Path, passes: int, *more: str) -> str:
    """Run a candidate and return the last line it printed, empty when it failed."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [-1]
    command = [
        *(python_of(row.candidate), "-m", f"benchmarks.books_parts.{row.candidate.module}"),
        *(str(folder), str(passes), str(cores[0]), *row.candidate.arguments, *more),
    ]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        row.failure = f"did not finish in {TIMEOUT_S} s"
        return ""
    except subprocess.CalledProcessError as error:
        row.failure = "".join(error.stderr.strip().splitlines()[-1:]) or "failed without a word"
        return ""
    return "".join(done.stdout.splitlines()[-1:])


def compare(rows: list[Row], folder: Path) -> None:
    """See that all show the same levels after every diff.

    Where the price has left the snapshot's range, ours shows fewer levels than the others, which do
    not know that they do not know.
    """
    ours: Any = None
    for row in rows:
        if row.failure:
            continue
        shown = run(row, folder, 1, "show")
        if not shown:
            continue
        tops = msgspec.json.decode(shown)
        if ours is None:
            ours = tops
        elif not agree(ours, tops):
            row.failure = "shows other levels than ours"


def agree(ours: Any, theirs: Any) -> bool:  # noqa: ANN401 - JSON of one's own
    """Tell whether ours are the first of theirs, after each diff of each symbol."""
    return all(
        len(mine) == len(other)
        and all(
            top[side] == shown[side][: len(top[side])]
            for top, shown in zip(mine, other, strict=True)
            for side in (0, 1)
        )
        for mine, other in zip(ours, theirs, strict=True)
    )


def measure(row: Row, plan: Plan, folder: Path) -> None:
    """Run a candidate once."""
    if row.failure:
        return
    line = run(row, folder, plan.passes_slow if row.candidate.slow else plan.passes)
    if line:
        for every, cpu_us in msgspec.json.decode(line, type=dict[str, float]).items():
            row.cpu_us[int(every)].append(cpu_us)


def ratio(ours: list[float], theirs: list[float]) -> float | None:
    """Return the median of ours as a part of theirs, repetition by repetition."""
    found = [mine / other for mine, other in zip(ours, theirs, strict=False)]
    return statistics.median(found) if found else None


def best_rarely(rows: list[Row]) -> tuple[float | None, str]:
    """Return ours as a part of the best of the others where tops are read rarely, and its name."""
    others = [row for row in rows[1:] if row.cpu_us[RARELY] and not row.candidate.aside]
    if not others:
        return None, ""
    best = min(others, key=lambda row: statistics.median(row.cpu_us[RARELY]))
    return ratio(rows[0].cpu_us[RARELY], best.cpu_us[RARELY]), best.candidate.name


def report(console: Console, rows: list[Row], plan: Plan, diffs: dict[str, int]) -> None:
    """Print the table, and write the figures of the full form."""
    table = Table(title=f"Books: CPU per diff, raw frame to the top {DEPTH}")
    table.add_column("book", no_wrap=True)
    table.add_column("version", no_wrap=True)
    for title in ("read each", "ours/this", "goal", "read each 100th", "ours/this", "goal"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        table.add_row(*cells(row, rows[0]))
    console.print(table)
    best, name = best_rarely(rows)
    if best is not None:
        console.print(
            f"Read rarely, ours is {best:.2f} of the best of the others ({name}); "
            f"goal ≤ {BEST_RARELY_GOAL:.2f}: {verdict(best, BEST_RARELY_GOAL)}."
        )
    for row in rows:
        if row.candidate.note:
            console.print(f"{row.candidate.name}: {row.candidate.note}.")
    machine = f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    told = ", ".join(f"{count} of {symbol}" for symbol, count in diffs.items())
    agreed = sum(not row.failure for row in rows)
    console.print(
        f"{machine}; {platform.python_implementation()} {platform.python_version()}.\n"
        f"µs a diff; recorded: {told}; medians of {plan.repetitions} interleaved repetitions. "
        f"The tops of {agreed} of {len(rows)} agree after every diff."
    )
    if not plan.kept:
        console.print("The short form is too rough to be kept: nothing was written.")
        return
    found = {
        "suite": "books",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine,
        "python": platform.python_version(),
        "diffs": diffs,
        "depth": DEPTH,
        "repetitions": plan.repetitions,
        "passes_a_repetition": plan.passes,
        "passes_a_repetition_of_the_slow": plan.passes_slow,
        "ours_as_part_of_the_best_read_rarely": best and round(best, 3),
        "best_read_rarely": name,
        "goal_for_that": BEST_RARELY_GOAL,
        "rows": [figures(row, rows[0]) for row in rows],
    }
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    console.print(f"Written to {RESULTS.relative_to(ROOT)}.")


def figures(row: Row, first: Row) -> dict[str, object]:
    """Return what is kept of a row."""
    kept: dict[str, object] = {"book": row.candidate.name, "version": row.version}
    goals = {EACH: row.candidate.each, RARELY: row.candidate.rarely}
    for every, name in ((EACH, "read_each_time"), (RARELY, "read_each_100th")):
        measured = row.cpu_us[every]
        part = None if row is first else ratio(first.cpu_us[every], measured)
        kept[name] = {
            "cpu_us_a_diff": round(statistics.median(measured), 2) if measured else None,
            "repetitions": [round(value, 2) for value in measured],
            "ours_as_part_of_it": part and round(part, 3),
            "goal": goals[every],
        }
    kept["failure"] = row.failure or None
    return kept


def cells(row: Row, first: Row) -> list[str]:
    """Return a row of the table."""
    shown = [row.candidate.name, row.version]
    missed = reached = False
    for every, goal in ((EACH, row.candidate.each), (RARELY, row.candidate.rarely)):
        measured = row.cpu_us[every]
        part = None if row is first else ratio(first.cpu_us[every], measured)
        shown += [
            f"{statistics.median(measured):.1f}" if measured else "-",
            f"{part:.3f}" if part is not None else "-",
            f"≤ {goal:.2f}" if goal is not None else "",
        ]
        if goal is not None and part is not None:
            missed |= part > goal
            reached |= part <= goal
    return [*shown, row.failure or ("missed" if missed else "reached" if reached else "")]


def verdict(part: float, goal: float) -> str:
    """Say whether a goal is reached."""
    return "reached" if part <= goal else "missed"


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
