"""What it costs to send updates over gRPC, beside the WebSocket gateway, in the same run.

    make bench SUITE=grpc                               everything, about 8 minutes
    make bench SUITE=grpc ARGS="--repetitions 3"        a part of it
    QUICK=1 make bench SUITE=grpc                       the short form, a minute: nothing is kept

200 subscribers follow ten instruments that have ten updates a second each (trades, of which each is
published on the bus of the real gateways). In batches of 100 ms that is ten messages a second for
each, 2,000 in all. *Together* the ten instruments have their updates at the same moment, so that
the WebSocket, whose batches are what leaves together, sends as many messages; *spread* they come
one after the other, every 10 ms. Then the ceiling: each publication a message of its own, as many
as go out.

Subscribers are in two other processes, each over a connection of its own, on one core; the hub has
the other. CPU is that of the hub's process, all threads, for each delivered message; over loopback
it includes what the receiver costs the kernel. *Delay* is from when the newest publication of a
message was published to when the message was read by its subscriber; *hop* from when the hub handed
it on (`sent_us`). Candidates take turns; medians of the repetitions are shown. The full form writes
`results/grpc.json`, to be committed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import ROOT, cores, processor

RESULTS = ROOT / "benchmarks" / "results" / "grpc.json"
EVERY_MS = 100
PROCESSES = 2


@dataclass
class Row:
    """One way to follow, and what was measured of it."""

    name: str
    way: str
    subscribers: int = 200
    spread: bool = False
    flood: bool = False
    runs: list[dict[str, float]] = field(default_factory=list)

    def median(self, figure: str) -> float | None:
        """Return the median of the repetitions."""
        values = [run[figure] for run in self.runs if figure in run]
        return statistics.median(values) if values else None


ROWS = (
    Row("gRPC, batches of 100 ms, together", "grpc:100"),
    Row("WebSocket, JSON in batches, together", "json"),
    Row("WebSocket, protobuf in batches, together", "protobuf"),
    Row("gRPC, batches of 100 ms, spread", "grpc:100", spread=True),
    Row("gRPC, each a message, together", "grpc:0"),
    Row("gRPC, each a message, 20 subscribers, ceiling", "grpc:0", subscribers=20, flood=True),
    Row("gRPC, each a message, 200 subscribers, ceiling", "grpc:0", flood=True),
)


class Program:
    """A program of the suite that takes and gives lines."""

    def __init__(self, core: int, module: str, *arguments: object) -> None:
        tied = [] if core < 0 else ["taskset", "-c", str(core)]
        self._process = subprocess.Popen(
            [*tied, sys.executable, "-m", f"benchmarks.grpc_parts.{module}", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, line: str) -> None:
        """Write a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def line(self) -> str:
        """Return the next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "a program of the suite has ended"
        return line

    def figures(self) -> dict[str, Any]:
        """Return the next line as figures."""
        found: dict[str, Any] = msgspec.json.decode(self.line())
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(prog="make bench SUITE=grpc ARGS=…")
    quick = bool(os.environ.get("QUICK"))
    parser.add_argument("--repetitions", type=int, default=1 if quick else 5)
    parser.add_argument("--seconds", type=float, default=2 if quick else 8)
    parser.add_argument("--write", type=Path, help="write the figures there, whatever was measured")
    asked = parser.parse_args()
    console = Console(width=max(150, Console().width))
    hub_core, load_core = cores()
    for number in range(asked.repetitions):
        for row in ROWS:
            console.print(f"{number + 1}/{asked.repetitions}  {row.name}", style="dim")
            row.runs.append(measure(row, asked.seconds, hub_core, load_core))
    report(console, ROWS)
    whole = not quick and asked.repetitions >= 5 and asked.seconds >= 8
    path = asked.write or (RESULTS if whole else None)
    if path is None:
        console.print("Only the full form is kept: nothing was written.")
    else:
        keep(ROWS, asked.seconds, path)
        console.print(f"Written to {path}.")


def measure(row: Row, seconds: float, hub_core: int, load_core: int) -> dict[str, float]:
    """Return what one run of a row has shown."""
    hub = Program(hub_core, "run_hub")
    readers: list[Program] = []
    try:
        ports = hub.figures()
        port = ports["grpc" if row.way.startswith("grpc") else "websocket"]
        share = row.subscribers // PROCESSES
        readers += [
            Program(load_core, "run_subscribers", row.way, port, share) for _ in range(PROCESSES)
        ]
        for reader in readers:
            assert reader.line() == "ready\n"
        hub.say(work(row, 1.0))  # warm
        hub.figures()
        hub.say(work(row, seconds))
        sent = hub.figures()
        time.sleep(0.5)
        for reader in readers:
            reader.say(f"{sent['began_us']} {sent['ended_us']} {sent['published'] * share}")
        read = [reader.figures() for reader in readers]
    finally:
        for program in (*readers, hub):
            program.close()
    return worked_out(row, sent, read)


def work(row: Row, seconds: float) -> str:
    """Return the line that has the hub publish."""
    if row.flood:
        return f"flood {seconds} {row.subscribers}"
    return f"pace {seconds} {EVERY_MS} {int(row.spread)}"


def worked_out(row: Row, sent: dict[str, Any], read: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the figures of one run; every publication must have come to everybody."""
    messages = sum(one["messages"] for one in read)
    publications = sum(one["publications"] for one in read)
    assert publications == sent["published"] * row.subscribers, (publications, sent)
    ended_us = max(one["last_us"] for one in read) if row.flood else sent["ended_us"]
    took_s = (ended_us - sent["began_us"]) / 1e6
    delays = sorted(delay for one in read for delay in one["delays_us"])
    hops = sorted(hop for one in read for hop in one["hops_us"])
    figures = {
        "messages_a_second": messages / took_s,
        "publications_a_message": publications / messages,
        "cpu_us_a_message": sent["cpu_us"] / messages,
        "cpu_us_a_publication": sent["cpu_us"] / publications,
        "core_busy": sent["cpu_us"] / 1e6 / took_s,
        "fell_behind": sent["behind"],
    }
    if not row.flood:
        figures |= {"p50_ms": quantile(delays, 0.5), "p99_ms": quantile(delays, 0.99)}
        if hops:
            figures |= {"hop_p50_ms": quantile(hops, 0.5), "hop_p99_ms": quantile(hops, 0.99)}
    return figures


def quantile(ascending: Sequence[float], share: float) -> float:
    """Return a quantile, from µs to ms."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] / 1_000


COLUMNS = (
    ("messages/s", "messages_a_second", 0),
    ("updates a message", "publications_a_message", 1),
    ("µs of CPU a message", "cpu_us_a_message", 1),
    ("a delivered update", "cpu_us_a_publication", 2),
    ("core", "core_busy", 2),
    ("delay p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 2),
    ("hop p99 ms", "hop_p99_ms", 2),
)


def report(console: Console, rows: Sequence[Row]) -> None:
    """Show the medians."""
    table = Table(title="gRPC, beside the WebSocket gateway; medians", title_justify="left")
    table.add_column("")
    for title, _, _ in COLUMNS:
        table.add_column(title, justify="right")
    for row in rows:
        cells = []
        for _, figure, digits in COLUMNS:
            value = row.median(figure)
            cells.append("-" if value is None else f"{value:,.{digits}f}")
        table.add_row(row.name, *cells)
    console.print(table)


def keep(rows: Sequence[Row], seconds: float, path: Path) -> None:
    """Write the figures."""
    result = {
        "suite": "grpc",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "processor": processor(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("grpcio", "protobuf", "websockets")},
        },
        "seconds": seconds,
        "rows": [
            {
                "way": row.name,
                "subscribers": row.subscribers,
                "medians": {name: rounded(row.median(name)) for name in row.runs[0] if row.runs},
                "repetitions": [
                    {name: rounded(value) for name, value in run.items()} for run in row.runs
                ],
            }
            for row in rows
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")


def rounded(value: float | None) -> float | None:
    """Return a figure with as many digits as it is worth."""
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    main()
