"""The command line as a person uses it: its own process, a terminal or a pipe, and Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.end_to_end.running_program import STARTED_WITHIN_S, environment

PROGRAM = (sys.executable, "-m", "app")
QUICK_S = 5.0  # promised: about one; a busy machine gets some more


class Command:
    """A running command and what it has printed so far, on each of its two ways."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int | None) -> None:
        self.process = process
        self.out = b""
        self.news = b""
        self._terminal = terminal

    async def read(self) -> None:
        """Keep reading until it ends."""
        loop = asyncio.get_running_loop()
        if self._terminal is not None:
            loop.add_reader(self._terminal, self._read_terminal, self._terminal)
        async with asyncio.TaskGroup() as tasks:
            if self._terminal is None:
                tasks.create_task(self._read_out())
            tasks.create_task(self._read_news())

    def _read_terminal(self, number: int) -> None:
        try:
            self.out += os.read(number, 65_536)
        except OSError:  # its other end is closed
            asyncio.get_running_loop().remove_reader(number)

    async def _read_out(self) -> None:
        assert self.process.stdout is not None
        while part := await self.process.stdout.read(65_536):
            self.out += part

    async def _read_news(self) -> None:
        assert self.process.stderr is not None
        while part := await self.process.stderr.read(65_536):
            self.news += part

    async def shows(self, text: str) -> None:
        """Wait until it has printed a text, somewhere."""
        async with asyncio.timeout(STARTED_WITHIN_S):
            while text.encode() not in self.out + self.news:
                assert self.process.returncode is None, (self.out, self.news)
                await asyncio.sleep(0.02)

    async def interrupted(self) -> int:
        """Press Ctrl-C twice, and return the exit status."""
        began = time.monotonic()
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGINT)
            await asyncio.sleep(0.05)
        async with asyncio.timeout(STARTED_WITHIN_S):
            status = await self.process.wait()
        assert time.monotonic() - began < QUICK_S
        return status


@asynccontextmanager
async def command(
    folder: Path, line: str, *, tty: bool = False, **settings: str
) -> AsyncIterator[Command]:
    """Start a command in `folder`; end it if it is still there."""
    ours, theirs = pty.openpty() if tty else (None, asyncio.subprocess.PIPE)
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *line.split(),
        cwd=folder,
        env=environment(TERM="xterm", LINES="30", **{"MARKET_SOURCE": "simulated"} | settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=theirs,
        stderr=asyncio.subprocess.PIPE,
    )
    if ours is not None:
        os.close(theirs)
    running = Command(process, ours)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.read())
        try:
            yield running
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            await process.wait()
    if ours is not None:
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


FREE_PORTS = {"SERVER_PORT": "0", "WEBSOCKET_PORT": "0", "GRPC_PORT": "0"}


@pytest.mark.parametrize(
    ("line", "tty", "shown"),
    [
        ("stream BTCUSDT --live", True, "BTCUSDT"),
        ("book BTCUSDT", True, "spread"),
        ("serve --symbols BTCUSDT", False, "Ctrl-C stops"),
        ("simulate --rest-port 0 --stream-port 0", False, "Ctrl-C stops"),
    ],
)
async def test_ctrl_c_is_quick_clean_and_quiet(
    tmp_path: Path, line: str, tty: bool, shown: str
) -> None:
    """Whatever runs ends with status 0, and says nothing of how."""
    async with command(tmp_path, line, tty=tty, **FREE_PORTS) as running:
        await running.shows(shown)
        assert await running.interrupted() == 0
    text = (running.out + running.news).decode()
    for noise in ("Traceback", "Error", "never retrieved", "Aborted", "stream lost", "\x1b[3"):
        assert noise not in text


async def test_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    """It need not have begun for Ctrl-C to end it."""
    line = "stream BTCUSDT --source binance"
    rest, streams = "http://127.0.0.1:1", "ws://127.0.0.1:1"
    async with command(
        tmp_path, line, BINANCE_REST_URL=rest, BINANCE_STREAM_URL=streams
    ) as running:
        await running.shows("source binance@127.0.0.1:1")
        assert await running.interrupted() == 0
    assert b"Traceback" not in running.news


@pytest.mark.parametrize("after_s", [0.1, 0.25, 0.4])
def test_ctrl_c_while_it_loads(tmp_path: Path, after_s: float) -> None:
    """Half a second of imports is no time for a traceback either."""
    process = subprocess.Popen(
        [*PROGRAM, *["book", "BTCUSDT", "--json"]],
        cwd=tmp_path,
        env=environment(MARKET_SOURCE="simulated"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with process:
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=20)
        assert process.stderr is not None
        said = process.stderr.read()
    # Before Python has read a line of ours it ends by the signal as any of its programs does.
    assert status == 0 or b"app/" not in said, said


def test_a_reader_that_never_reads_does_not_keep_it(tmp_path: Path) -> None:
    """A full pipe holds up neither the data nor Ctrl-C."""
    process = subprocess.Popen(
        [*PROGRAM, *["stream", "BTCUSDT", "--depth-update", "--depth", "--json"]],
        cwd=tmp_path,
        env=environment(MARKET_SOURCE="simulated"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            time.sleep(2.5)  # 40 lines a second of 2 KiB fill a pipe within one
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
            assert time.monotonic() - began < QUICK_S
            assert process.stderr is not None
            assert b"Traceback" not in process.stderr.read()
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell with pipes")
async def test_a_reader_that_has_had_enough(tmp_path: Path) -> None:
    """`| head -3` ends both, without a word about a broken pipe."""
    line = f"{sys.executable} -m app stream BTCUSDT --json | head -3; echo ${{PIPESTATUS[0]}}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        line,
        cwd=tmp_path,
        env=environment(MARKET_SOURCE="simulated"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(STARTED_WITHIN_S):
        printed, news = await process.communicate()
    *lines, status = printed.decode().splitlines()
    assert [json.loads(one)["symbol"] for one in lines] == ["BTCUSDT"] * 3
    assert status == "0"
    assert b"Broken" not in news
    assert b"Traceback" not in news


async def test_a_terminal_has_colours(tmp_path: Path) -> None:
    """Unless NO_COLOR is set, as it is in the tests above."""
    async with command(tmp_path, "stream BTCUSDT --count 2", tty=True, NO_COLOR="") as running:
        await running.shows("\x1b[3")
