"""CPU per trade from the socket to the published candle, beside what users would pick instead.

    make bench SUITE=ingest            about three minutes, the first time a minute more for set-up
    QUICK=1 make bench SUITE=ingest    the short form, half a minute; rougher and without the parts

All clients get the same trades in bursts over loopback from one sender in a process of its own, on
another core. Each runs in a process and an environment of its own, one after the other, and the
whole row several times over: ratios are taken within one repetition, and their medians shown. CPU
time is what the client's process used between its first and last measured trade. The peers call
back with a trade object, counted and dropped; ours goes on to 1-second candles on the bus.

Goals are shown beside what was measured; missing one is no failure. The full form writes its
figures to `results/ingest.json`, to be committed; the short form only shows them.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.ingest_clients.frames import SYMBOL, looped, made_up, recorded, write_blocks

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "ingest.json"
OURS = "candlewire"
WARM_UP = 5_000
TAIL = 2_000  # trades after the last measured one, so that its candle closes
CLIENT_TIMEOUT_S = 120


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, and the lock that fills it."""

    folder: str
    lock: str


@dataclass(frozen=True)
class Candidate:
    """One row of the table: a program, and the goal for our figure as a part of its own."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    environment: Environment | None = None  # None: the project's own
    package: str = ""
    slow: bool = False
    goal: float | None = None
    part: bool = False  # a part of the way only, left out of the short form
    note: str = ""


@dataclass
class Row:
    """What was measured of one candidate, one entry per repetition; none after a failure."""

    candidate: Candidate
    version: str = ""
    cpu_us: list[float] = field(default_factory=list)
    system_us: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    failure: str = ""


def part(name: str, socket: str, stage: str) -> Candidate:
    """Return a candidate that runs the part of the way that `stage` names."""
    return Candidate(name, "run_ours", (socket, stage), part=True)


CANDIDATES = (
    Candidate(OURS, "run_ours", ("own", "candles")),
    part("  trades subscribed too", "own", "trades"),
    part("  receive + decode", "own", "decode"),
    part("  receive", "own", "receive"),
    Candidate(
        "websockets recv()",
        "run_ours",
        ("recv", "candles"),
        package="websockets",
        goal=0.5,
        note="instead of our socket, everything after it ours",
    ),
    part("  receive + decode", "recv", "decode"),
    part("  receive", "recv", "receive"),
    Candidate(
        "cryptofeed",
        "run_cryptofeed",
        environment=Environment("cryptofeed", "benchmarks/requirements-cryptofeed.txt"),
        package="cryptofeed",
        goal=0.40,
        note="plain ws, past its check for wss://, so that it carries no TLS; aggTrade; uvloop",
    ),
    Candidate(
        "ccxt.pro",
        "run_ccxt",
        environment=Environment("ccxt", "tests/clients/requirements-ccxt.txt"),
        package="ccxt",
        slow=True,
        goal=0.15,
        note="raw payloads, as it subscribes",
    ),
    Candidate(
        "python-binance",
        "run_python_binance",
        environment=Environment("python-binance", "tests/clients/requirements-python-binance.txt"),
        package="python-binance",
        slow=True,
        goal=0.15,
        note="raw payloads; its queue of 100 messages enlarged, or a burst would end it",
    ),
)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    repetitions: int
    trades: int
    trades_slow: int
    estimate: str
    kept: bool  # whether its figures are written


FULL = Plan(5, 150_000, 30_000, "about 3 minutes", kept=True)
QUICK = Plan(3, 40_000, 8_000, "about half a minute", kept=False)


def main() -> None:
    """Measure, print and keep the figures."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    plan = QUICK if os.environ.get("QUICK") else FULL
    console.print(f"Estimated time: {plan.estimate}, and a minute the first time to set up peers.")
    rows = [Row(each) for each in CANDIDATES if plan is FULL or not each.part]
    for row in rows:
        prepare(row)
    trades = recorded(ROOT / os.environ.get("CANDLEWIRE_RECORDINGS", "../shared/data"))
    source = "recorded" if trades else "made up (no recording found)"
    trades = trades or made_up()
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder)
        write_blocks(frames, list(looped(trades, WARM_UP + plan.trades + TAIL)))
        with sender(frames) as port:
            for repetition in range(plan.repetitions):
                with console.status(f"repetition {repetition + 1} of {plan.repetitions}"):
                    for row in rows:
                        measure(row, plan, port, trades[0].id)
    report(console, rows, plan, source)


def prepare(row: Row) -> None:
    """Set up a candidate's environment and ask for its version."""
    environment = row.candidate.environment
    if environment is None:
        if row.candidate.package:
            row.version = importlib.metadata.version(row.candidate.package)
        return
    folder = f".venvs/{environment.folder}"
    command = [sys.executable, "scripts/bootstrap.py", "--venv", folder, environment.lock]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        row.failure = "its environment could not be set up"
        return
    ask = f"import importlib.metadata; print(importlib.metadata.version({row.candidate.package!r}))"
    answer = subprocess.run(
        [python_of(row.candidate), "-c", ask], capture_output=True, text=True, check=False
    )
    row.version = answer.stdout.strip()


def python_of(candidate: Candidate) -> str:
    """Return the interpreter that a candidate runs in."""
    if candidate.environment is None:
        return sys.executable
    return str(ROOT / ".venvs" / candidate.environment.folder / "bin" / "python")


def cores() -> tuple[int, int]:
    """Return the cores of client and sender; -1 where processes cannot be tied to one."""
    if not hasattr(os, "sched_getaffinity"):
        return -1, -1
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (-1, -1)


@contextlib.contextmanager
def sender(folder: Path) -> Iterator[int]:
    """Run the sender and give its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.ingest_clients.sender", str(folder), str(cores()[1])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def measure(row: Row, plan: Plan, port: int, base_id: int) -> None:
    """Run a candidate once."""
    if row.failure:
        return
    candidate = row.candidate
    first = base_id + WARM_UP
    last = first + (plan.trades_slow if candidate.slow else plan.trades)
    command = [
        *(python_of(candidate), "-m", f"benchmarks.ingest_clients.{candidate.module}"),
        *(str(port), SYMBOL, str(first), str(last), str(cores()[0])),
        *candidate.arguments,
        str(base_id),
    ]
    try:
        run = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=CLIENT_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        row.failure = f"did not finish in {CLIENT_TIMEOUT_S} s"
        return
    except subprocess.CalledProcessError as error:
        row.failure = "".join(error.stderr.strip().splitlines()[-1:]) or "failed without a word"
        return
    lines = run.stdout.splitlines()
    if not lines:
        row.failure = "ended without figures"
        return
    # The meter's line is the last; libraries may have had something to say before it.
    figures = msgspec.json.decode(lines[-1], type=dict[str, float])
    cpu_s = figures["user_s"] + figures["system_s"]
    row.cpu_us.append(cpu_s / figures["trades"] * 1e6)
    row.system_us.append(figures["system_s"] / figures["trades"] * 1e6)
    row.busy.append(cpu_s / figures["wall_s"])


def ratios(ours: Row, theirs: Row) -> list[float]:
    """Return our CPU as a part of theirs, repetition by repetition."""
    return [mine / other for mine, other in zip(ours.cpu_us, theirs.cpu_us, strict=False)]


def report(console: Console, rows: list[Row], plan: Plan, source: str) -> None:
    """Print the table, and write the figures of the full form."""
    table = Table(title="Ingest: CPU per trade in bursts, socket to published candle")
    table.add_column("client", no_wrap=True)
    table.add_column("version", no_wrap=True)
    for column in ("µs a trade", "lowest-highest", "core busy", "ours / this", "goal"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    kept = [figures(row, rows[0]) for row in rows]
    for row, figure in zip(rows, kept, strict=True):
        table.add_row(*cells(row, figure))
    console.print(table)
    for row in rows:
        if row.candidate.note:
            console.print(f"{row.candidate.name}: {row.candidate.note}.")
    machine = f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    console.print(
        f"{machine}; {platform.python_implementation()} {platform.python_version()}.\n"
        f"Trades: {source}, looped, {plan.trades} ({plan.trades_slow} for the slow ones) "
        f"after {WARM_UP} to warm up; medians of {plan.repetitions} interleaved repetitions."
    )
    if not plan.kept:
        console.print("The short form is too rough to be kept: nothing was written.")
        return
    found = {
        "suite": "ingest",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine,
        "python": platform.python_version(),
        "trades": source,
        "repetitions": plan.repetitions,
        "trades_a_repetition": plan.trades,
        "trades_a_repetition_of_the_slow": plan.trades_slow,
        "rows": kept,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    console.print(f"Written to {RESULTS.relative_to(ROOT)}.")


def figures(row: Row, first: Row) -> dict[str, object]:
    """Return what is kept of a row."""
    measured = row.cpu_us
    found = ratios(first, row) if row is not first else []
    return {
        "client": row.candidate.name.strip(),
        "version": row.version,
        "cpu_us_a_trade": round(statistics.median(measured), 3) if measured else None,
        "repetitions": [round(value, 3) for value in measured],
        "system_us_a_trade": round(statistics.median(row.system_us), 3) if row.system_us else None,
        "core_busy": round(statistics.median(row.busy), 2) if row.busy else None,
        "ours_as_part_of_it": round(statistics.median(found), 3) if found else None,
        "goal": row.candidate.goal,
        "failure": row.failure or None,
    }


def cells(row: Row, figure: dict[str, object]) -> list[str]:
    """Return a row of the table."""
    measured = row.cpu_us
    ratio, goal = figure["ours_as_part_of_it"], row.candidate.goal
    verdict = row.failure
    if goal is not None and isinstance(ratio, float):
        verdict = "reached" if ratio <= goal else "missed"
    return [
        row.candidate.name,
        row.version,
        f"{figure['cpu_us_a_trade']:.2f}" if measured else "-",
        f"{min(measured):.2f}-{max(measured):.2f}" if measured else "-",
        f"{100 * statistics.median(row.busy):.0f} %" if row.busy else "-",
        f"{ratio:.2f}" if isinstance(ratio, float) else "-",
        f"≤ {goal:.2f}" if goal is not None else "",
        verdict,
    ]


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
