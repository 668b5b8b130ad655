"""Runs a third-party client in an environment of its own, and returns what it saw.

A client is a script of this folder that is called with addresses, those of the exchange with two,
REST and streams. It prints one JSON array a line: a name, and a value that the library gave under
that name.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.simulator.exchange import Truth
from tests.simulator.running import running

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
PATIENCE_S = 45.0
LOOPBACK = "127.0.0.1,localhost"  # never through a proxy that the machine may have

Seen = dict[str, list[Any]]


@dataclass(frozen=True)
class Visit:
    """What a client saw of the seeded simulator, and what there was to be seen."""

    seen: Seen
    truth: Truth
    symbols: list[str]
    status: dict[str, Any]  # the simulator's, when the client had gone


async def visit_simulator(environment: str, script: str) -> Visit:
    """Let a client see the seeded simulator."""
    async with running(keep_truth=True) as simulator:
        seen = await what_is_seen(environment, script, simulator.rest_url, simulator.stream_url)
        return Visit(seen, simulator.truth(), list(simulator.symbols), simulator.status())


async def what_is_seen(environment: str, script: str, *arguments: str) -> Seen:
    """Run `script` in an environment of `.venvs`; return its values by their names, in order.

    The test fails when the script fails, and when it says anything on stderr: it is there that
    libraries complain of lost connections and of messages that they cannot read.
    """
    python = environment_program(environment, "python")
    return await what_it_prints(python, str(FOLDER / script), *arguments)


def environment_program(environment: str, name: str) -> str:
    """Return the path of a program in an environment of `.venvs`."""
    path = ROOT / ".venvs" / environment / ("Scripts" if os.name == "nt" else "bin") / name
    if not path.exists():
        pytest.fail(f"no {name} in .venvs/{environment}: `make test-clients` makes it")
    return str(path)


async def what_it_prints(*command: str) -> Seen:
    """Run a command, and return its values as `what_is_seen` does."""
    seen: Seen = {}
    for name, value in await printed_lines(*command):
        seen.setdefault(name, []).append(value)
    return seen


async def printed_lines(
    *command: str,
    patience_s: float = PATIENCE_S,
    quiet: bool = True,
    expected: str = "",
    **environment: str,
) -> list[Any]:
    """Run a command with more in its environment; return what each line of JSON says.

    The test fails as `lines_of` says.
    """
    process = await started(*command, **environment)
    return await lines_of(process, patience_s=patience_s, quiet=quiet, expected=expected)


async def started(*command: str, **environment: str) -> asyncio.subprocess.Process:
    """Start a command with more in its environment."""
    return await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def lines_of(
    process: asyncio.subprocess.Process,
    *,
    said: str = "",
    patience_s: float = PATIENCE_S,
    quiet: bool = True,
    expected: str = "",
) -> list[Any]:
    """Tell a process something, and return what each line of JSON says that it prints by its end.

    The test fails when it takes longer than `patience_s`, when the process fails, and, where it is
    to be `quiet`, when it says anything on stderr but the line that is `expected`.
    """
    try:
        async with asyncio.timeout(patience_s):
            printed, complaints = await process.communicate(said.encode())
    finally:
        await ended(process)
    complaint = complaints.decode()
    assert process.returncode == 0, complaint
    assert not (quiet and set(complaint.splitlines()) - {expected}), complaint
    return [json.loads(line) for line in printed.decode().splitlines()]


async def ended(process: asyncio.subprocess.Process) -> None:
    """End a process that is still there."""
    if process.returncode is None:
        process.kill()
        await process.wait()
