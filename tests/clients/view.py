"""What a library sees: its own Python runs a script of `tests/clients`, which prints what it gets.

A script prints one JSON array a line: a name, and a value that the library gave under that name.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 50.0


async def what_is_seen(library: str, script: str, *arguments: str) -> dict[str, list[Any]]:
    """Run a script in the environment of `library`; return every value by its name, in order.

    The test fails when the script fails, or says anything on stderr: libraries tell of lost
    connections and of messages that they cannot read in their logs alone.
    """
    folder = "Scripts" if os.name == "nt" else "bin"
    python = ROOT / ".venvs" / library / folder / "python"
    if not python.exists():
        pytest.fail(f"there is no environment in .venvs/{library}: `make test-clients` makes it")
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(Path(__file__).with_name(script)),
        *arguments,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            printed, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors.decode()) == (0, "")
    seen: dict[str, list[Any]] = {}
    for line in printed.decode().splitlines():
        name, value = json.loads(line)
        seen.setdefault(name, []).append(value)
    return seen


def show(name: str, value: object) -> None:
    """Print one value for `what_is_seen`; for the scripts."""
    sys.stdout.write(json.dumps([name, value]) + "\n")
