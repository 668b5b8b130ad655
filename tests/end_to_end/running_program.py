"""The hub as a person starts it: its own process, found by what it prints and answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STARTED_WITHIN_S = 30.0  # far beyond what a person waits: tests share two cores


class Program:
    """A running `python -m app.main`; `output` is what it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process, rest_port: int, stream_port: int):
        self.process = process
        self.rest_port = rest_port
        self.stream_port = stream_port
        self.output = ""

    @property
    def stream_url(self) -> str:
        """Where its WebSocket is."""
        return f"ws://127.0.0.1:{self.stream_port}/"

    @property
    def rest_url(self) -> str:
        """Where its REST service is."""
        return f"http://127.0.0.1:{self.rest_port}"

    async def read(self) -> None:
        """Keep reading what it prints until it ends."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.output += line.decode()

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended.

        Not by its process object: that one looks first whether it has ended, and then asyncio's
        watcher would miss its exit status.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    async def ended(self, within_s: float) -> int:
        """Return its exit status."""
        async with asyncio.timeout(within_s):
            return await self.process.wait()


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment without the hub's own settings, and with `settings`."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
        "COLUMNS": "200",
        **settings,
    }


@asynccontextmanager
async def program(folder: Path, *arguments: str, **settings: str) -> AsyncIterator[Program]:
    """Start the program in `folder`, which keeps its state; end it if it is still there."""
    rest_port, stream_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app.main",
        *arguments,
        cwd=folder,
        env=environment(
            **{
                "SERVER_PORT": str(rest_port),
                "WEBSOCKET_PORT": str(stream_port),
                "GRPC_PORT": "0",
            }
            | settings
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    running = Program(process, rest_port, stream_port)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.read())
        try:
            yield running
        finally:
            if process.returncode is None:
                running.signal(signal.SIGKILL)
            await process.wait()


async def started(running: Program) -> None:
    """Wait until the program has said where it is."""
    async with asyncio.timeout(STARTED_WITHIN_S):
        while not re.search(r"Ctrl-C stops", running.output):
            assert running.process.returncode is None, running.output
            await asyncio.sleep(0.05)


async def failed(folder: Path, *arguments: str, **settings: str) -> tuple[int, list[str]]:
    """Run the program that cannot start; return its exit status and the lines that it printed."""
    async with program(folder, *arguments, **settings) as running:
        status = await running.ended(STARTED_WITHIN_S)
    return status, running.output.strip().splitlines()
