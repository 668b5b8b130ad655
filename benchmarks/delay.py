"""How long after the end of a second its candle is out, and what of that is the hub's own.

    make bench SUITE=delay            five times a minute of each recording, about 22 minutes
    make bench SUITE=delay ARGS="--minutes 5.7 --runs 1"    the whole recordings, once
    QUICK=1 make bench SUITE=delay    the short form, two minutes; rougher, and not kept

Recordings are played at speed 1 through a whole hub in a process of its own; a WebSocket client in
this one notes when each candle arrives. The simulator adds the `kline_1s` that the files lack, 2 to
24 ms after the second as on the exchange. Three delays are told apart:

* out: from the end of a second by the exchange's clock until its first issue was written to the
  clients, whatever closed it;
* the hub adds: from the moment at which the message that closed it (trade, kline or what was
  missing) had reached the hub until the client has the candle. Only what a message proved counts;
* the timer: how much later than the grace it closed what nothing else did.

With rule 2 off the exchange's candles close nothing (they remain the heartbeat): what is left are
the next trade and the timer. "Next trade" is when a hub without timer and candles would close: once
a trade of a later second comes. It is worked out from the file.

Each stretch is played several times, always the same; medians over the runs are shown, and the
worst of all. Goals are shown beside; missing one is no failure. A process that does nothing else is
sent a line ten times a second meanwhile, on the hub's core: what that takes is the machine's own
share, which is milliseconds where others use the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import websockets
from rich.console import Console
from rich.table import Table

from app.captures.reader import Capture
from app.market.events import SECOND_US, AggTrade, Trade
from app.simulator.recorded import RecordedMarket
from benchmarks.delay_parts.run_hub import Issue
from benchmarks.ingest import ROOT, cores, processor

RESULTS = ROOT / "benchmarks" / "results" / "delay.json"
GRACE_MS = 300
SKIPPED = 2  # seconds at the beginning: the first is not whole, and everything starts
FOREVER_US = 1 << 62

GOAL_OUT_MS = 30.0  # p50, with rule 2
GOAL_ADDED_MS = 5.0  # p99
GOAL_TIMER_MS = 50.0  # worst, over the grace


@dataclass(frozen=True)
class Recording:
    """Files that are played together, and the symbols that are followed."""

    files: tuple[str, ...]
    symbols: tuple[str, ...]
    note: str = ""


RECORDINGS = (
    Recording(
        ("spot_btcusdt_20240808.gz", "spot_ethusdt_20240808.gz"), ("BTCUSDT", "ETHUSDT"), "2024"
    ),
    Recording(("BINANCE-b38f7c.0.gz",), ("MANAUSDT", "QTUMETH"), "2021, quiet"),
)


@dataclass
class Row:
    """What was measured of one symbol under one rule: milliseconds, one list per run."""

    symbol: str
    rule_2: bool
    candles: int = 0
    out: list[list[float]] = field(default_factory=list)
    added: list[list[float]] = field(default_factory=list)
    timer: list[list[float]] = field(default_factory=list)
    next_trade: list[float] = field(default_factory=list)
    next_trade_whole: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, print and keep the figures."""
    quick = bool(os.environ.get("QUICK"))
    parser = argparse.ArgumentParser(prog="make bench SUITE=delay ARGS=…")
    parser.add_argument("--minutes", type=float, default=0.4 if quick else 1.0)
    parser.add_argument("--runs", type=int, default=1 if quick else 5)
    asked = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    folder = ROOT / os.environ.get("CANDLEWIRE_RECORDINGS", "../shared/data")
    recordings = [
        each for each in RECORDINGS if all((folder / name).is_file() for name in each.files)
    ]
    if not recordings:
        console.print(f"No recordings in {folder}: set CANDLEWIRE_RECORDINGS to their folder.")
        return
    total = 2 * len(recordings) * asked.runs
    console.print(f"Estimated time: {total * (asked.minutes + 0.1):.0f} minutes, {total} runs.")
    rows: list[Row] = []
    control: list[list[float]] = []
    with tempfile.TemporaryDirectory() as cut:
        for recording in recordings:
            files = [
                shortened(folder / name, Path(cut) / name, asked.minutes * 60)
                for name in recording.files
            ]
            mine = [Row(symbol, rule_2) for symbol in recording.symbols for rule_2 in (True, False)]
            rows += mine
            compare(mine, files, [folder / name for name in recording.files])
            control += [
                measure(console, recording, files, mine, run=run) for run in range(asked.runs)
            ]
    report(console, rows, control, asked, kept=not quick)


def shortened(path: Path, to: Path, seconds: float) -> Path:
    """Write the first so many seconds of a recording; return where."""
    ends_ns = next(iter(Capture(path))).received_ns + round(seconds * 1e9)
    whole = Capture(path)
    lines = 0
    for record in whole:
        if record.received_ns > ends_ns:
            break
        lines = whole.lines
    with gzip.open(path) as read, gzip.open(to, "wb") as written:
        written.writelines(line for _, line in zip(range(lines), read, strict=False))
    return to


def compare(rows: Sequence[Row], files: Sequence[Path], whole: Sequence[Path]) -> None:
    """Work out when candles would close by the next trade, in the stretch and in the whole."""
    in_stretch, in_whole = (by_next_trade(paths) for paths in (files, whole))
    for row in rows:
        row.next_trade = in_stretch.get(row.symbol, [])
        row.next_trade_whole = in_whole.get(row.symbol, [])


def by_next_trade(files: Sequence[Path]) -> dict[str, list[float]]:
    """Return how long after each second's end a trade of a later one came, by symbol."""
    newest: dict[str, int] = {}
    found: dict[str, list[float]] = {}
    for happening in RecordedMarket(files).take(FOREVER_US, sys.maxsize):
        event = happening.event
        if not isinstance(event, Trade | AggTrade):
            continue
        second_us = event.time_us // SECOND_US * SECOND_US
        before_us = newest.get(event.symbol)
        if before_us is not None:
            ends = range(before_us + SECOND_US, second_us + SECOND_US, SECOND_US)
            found.setdefault(event.symbol, []).extend(
                (happening.at_us - end_us) / 1_000 for end_us in ends
            )
        newest[event.symbol] = max(second_us, before_us or 0)
    return found


def measure(
    console: Console, recording: Recording, files: Sequence[Path], rows: Sequence[Row], *, run: int
) -> list[float]:
    """Play a recording under both rules, add what was seen to its rows; return the control."""
    control: list[float] = []
    for rule_2 in (True, False):
        what = f"{recording.note}: run {run + 1}, rule 2 {'on' if rule_2 else 'off'}"
        with console.status(what):
            if not console.is_terminal:
                console.print(what)
            played = asyncio.run(play(files, recording.symbols, rule_2=rule_2))
        for row in rows:
            if row.rule_2 is rule_2:
                mine = [issue for issue in played.issues if issue.symbol == row.symbol]
                add(row, mine, played.arrivals)
        control += played.control
    return control


@dataclass
class Played:
    """What one run has shown: stamps in seconds, the control's delays in milliseconds."""

    issues: list[Issue] = field(default_factory=list)
    arrivals: dict[tuple[str, int, int], float] = field(default_factory=dict)
    control: list[float] = field(default_factory=list)


async def play(files: Sequence[Path], symbols: Sequence[str], *, rule_2: bool) -> Played:
    """Run a hub over the files; return its issues, and when each reached a client."""
    hub_core, own_core = cores()
    if own_core >= 0:
        os.sched_setaffinity(0, {own_core})
    played = Played()
    received: list[tuple[float, str | bytes]] = []

    def note(message: str | bytes) -> None:
        received.append((time.monotonic(), message))

    rule = "on" if rule_2 else "off"
    paths = [str(path) for path in files]
    async with (
        beside("run_control", str(hub_core)) as control,
        beside("run_hub", str(hub_core), rule, ",".join(symbols), *paths) as hub,
        websockets.connect(f"ws://127.0.0.1:{hub.port}/") as client,
        asyncio.TaskGroup() as tasks,
    ):
        pinging = tasks.create_task(ping(control.port, played.control))
        hub.go()
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in client:
                note(message)
        pinging.cancel()
        played.issues = msgspec.json.decode(await hub.line(), type=list[Issue])
    for stamp_s, message in received:
        candle = msgspec.json.decode(message)
        key = candle["symbol"], candle["open_time"], candle["revision"]
        played.arrivals[key] = stamp_s
    return played


class Program:
    """A program of `benchmarks.delay_parts` that runs, and has said where it listens."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    def go(self) -> None:
        """Let it begin."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"\n")

    async def line(self) -> bytes:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


@contextlib.asynccontextmanager
async def beside(name: str, *arguments: str) -> AsyncIterator[Program]:
    """Run a program; end it if it is still there."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.delay_parts.{name}", *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=1 << 26,
    )
    try:
        assert process.stdout is not None
        yield Program(process, int(await process.stdout.readline()))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def ping(port: int, delays: list[float]) -> None:
    """Send a line every tenth of a second, and note how long it took to be read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            await asyncio.sleep(0.1)
            sent_s = time.monotonic()
            writer.write(b"\n")
            delays.append((float(await reader.readline()) - sent_s) * 1_000)
    finally:
        writer.close()


def add(row: Row, issues: Sequence[Issue], arrivals: dict[tuple[str, int, int], float]) -> None:
    """Add one run's issues of one symbol."""
    first_ms = min((issue.open_time_ms for issue in issues), default=0) + 1_000 * SKIPPED
    last_ms = max((issue.open_time_ms for issue in issues), default=0)  # cut off in the middle
    out, added, timer = [], [], []
    for issue in issues:
        if not first_ms <= issue.open_time_ms < last_ms:
            continue
        late_ms = issue.out_us / 1_000 - issue.open_time_ms - 1_000
        if issue.revision == 0:
            out.append(late_ms)
        if issue.complete:
            arrived_s = arrivals.get((issue.symbol, issue.open_time_ms, issue.revision))
            if arrived_s is not None:
                added.append((arrived_s - issue.received_s) * 1_000)
        elif issue.revision == 0:
            timer.append(late_ms - GRACE_MS)
    row.candles += len(out)
    row.out.append(out)
    row.added.append(added)
    row.timer.append(timer)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that so much of them does not exceed; they are not interpolated."""
    return sorted(values)[max(0, -(-int(share * 1_000) * len(values) // 1_000) - 1)]


def summed_up(runs: Iterable[Sequence[float]]) -> dict[str, float] | None:
    """Return the medians of the runs' p50 and p99, and the worst of all; `None` for nothing."""
    measured = [run for run in runs if run]
    if not measured:
        return None
    return {
        "p50": round(statistics.median(quantile(run, 0.5) for run in measured), 3),
        "p99": round(statistics.median(quantile(run, 0.99) for run in measured), 3),
        "worst": round(max(max(run) for run in measured), 3),
    }


def figures(row: Row) -> dict[str, object]:
    """Return what is kept of a row; milliseconds."""
    return {
        "symbol": row.symbol,
        "rule_2": row.rule_2,
        "candles": row.candles,
        "out_after_end_ms": summed_up(row.out),
        "hub_adds_ms": summed_up(row.added),
        "timer_closes": sum(len(run) for run in row.timer),
        "timer_over_grace_ms": summed_up(row.timer),
        "next_trade_ms": summed_up([row.next_trade]),
        "next_trade_whole_recording_ms": summed_up([row.next_trade_whole]),
        "runs": [
            {"out_after_end_ms": summed_up([out]), "hub_adds_ms": summed_up([added])}
            for out, added in zip(row.out, row.added, strict=True)
        ],
    }


def report(
    console: Console,
    rows: Sequence[Row],
    control: Sequence[Sequence[float]],
    asked: argparse.Namespace,
    *,
    kept: bool,
) -> None:
    """Print the table and the goals, and write the figures of the full form."""
    table = Table(title="Candles: delays in ms, p50 / p99 / worst")
    for column in ("symbol", "rule 2", "candles"):
        table.add_column(column, no_wrap=True)
    for column in (
        *("out after its second", "the hub adds", "timer over grace"),
        *("next trade", "next trade, whole file"),
    ):
        table.add_column(column, justify="right", no_wrap=True)
    found = [figures(row) for row in rows]
    for row, figure in zip(rows, found, strict=True):
        timer = f"{figure['timer_closes']}: {cell(figure['timer_over_grace_ms'])}"
        table.add_row(
            *(row.symbol, "on" if row.rule_2 else "off", str(row.candles)),
            *(cell(figure[name]) for name in ("out_after_end_ms", "hub_adds_ms")),
            timer if figure["timer_closes"] else "-",
            *(cell(figure[f"next_trade_{name}ms"]) for name in ("", "whole_recording_")),
        )
    console.print(table)
    goals = verdicts(rows)
    for goal in goals:
        console.print(goal)
    console.print(
        "An empty line to a process that does nothing else took "
        f"{cell(summed_up(control))} ms (p50 / p99 / worst) meanwhile."
    )
    machine = f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    console.print(
        f"{machine}; {platform.python_implementation()} {platform.python_version()}.\n"
        f"Medians of {asked.runs} runs over the first {asked.minutes:g} minutes of each recording "
        "at speed 1; worst of all runs. Hub and client on a core each."
    )
    if not kept:
        console.print("The short form is too rough to be kept: nothing was written.")
        return
    result = {
        "suite": "delay",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine,
        "python": platform.python_version(),
        "minutes": asked.minutes,
        "runs": asked.runs,
        "goals": goals,
        "an_empty_line_takes_ms": summed_up(control),
        "rows": found,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    console.print(f"Written to {RESULTS.relative_to(ROOT)}.")


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Return each goal beside what was measured, the least favourable symbol."""
    out = [run for row in rows if row.rule_2 for run in row.out if run]
    added = [run for row in rows for run in row.added if run]
    timer = [each for row in rows for run in row.timer for each in run]
    lines = []
    if out:
        lines.append(
            f"goal: with rule 2, half of all candles out ≤ {GOAL_OUT_MS:g} ms after their second: "
            + met(statistics.median([each for run in out for each in run]), GOAL_OUT_MS)
        )
    if added:
        pooled = quantile([each for run in added for each in run], 0.99)
        lines.append(f"goal: the hub adds p99 ≤ {GOAL_ADDED_MS:g} ms: {met(pooled, GOAL_ADDED_MS)}")
    if timer:
        lines.append(
            f"goal: the timer closes ≤ grace + {GOAL_TIMER_MS:g} ms: "
            f"{met(max(timer), GOAL_TIMER_MS)}"
        )
    return lines


def met(measured: float, goal: float) -> str:
    """Say what was measured and whether it reaches the goal."""
    return f"{measured:.2f} ms, {'reached' if measured <= goal else 'missed'}"


def cell(figure: object) -> str:
    """Return three figures as text."""
    if not isinstance(figure, dict):
        return "-"
    return " / ".join(short(float(figure[name])) for name in ("p50", "p99", "worst"))


def short(milliseconds: float) -> str:
    """Return a figure with as many digits as it is worth."""
    return f"{milliseconds:.1f}" if abs(milliseconds) < 100 else f"{milliseconds:.0f}"


if __name__ == "__main__":
    main()
