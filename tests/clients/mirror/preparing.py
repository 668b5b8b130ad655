"""Starts the script of a client, up to where it waits to be told its places."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.clients.client_process import ROOT, ended, environment_program, started
from tests.clients.mirror.telling import READY

FOLDER = Path(__file__).resolve().parent
READY_WITHIN_S = 60.0  # a library with thousands of modules, on a busy machine


async def prepared(environment: str, script: str) -> asyncio.subprocess.Process:
    """Start a script of this folder in an environment of `.venvs`; it has imported its library."""
    program = environment_program(environment, "python")
    process = await started(program, str(FOLDER / script), PYTHONPATH=str(ROOT))
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            line = await process.stdout.readline()
            assert line, (await process.stderr.read()).decode()
        assert json.loads(line) == ["", READY, ""]
    except BaseException:
        await ended(process)
        raise
    return process
