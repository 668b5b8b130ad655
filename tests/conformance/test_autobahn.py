"""Autobahn's cases for WebSocket servers, run on our sessions by `kosoku`.

Cases 1 to 10 are about frames, text, closing and sizes, 12 and 13 about deflate. The handler is an
echo, as the cases want it; limits are lifted, since they go up to 16 MiB in thousands of fragments.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from app.gateways.rest.server import RestServer
from app.sockets.session import Session
from tests.gateways.rest.fakes import UNLIMITED, Hub
from tests.sockets.peers import listening

# Beside the interpreter, as in any environment. A program of its own, because it replaces parts of
# the standard library for its Python 2 cases.
KOSOKU = shutil.which("kosoku", path=str(Path(sys.executable).parent))
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}

# Text is checked when its message is whole: RFC 6455 (8.1) lets an endpoint wait so long.
CHECKED_LATE = {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}

pytestmark = [
    pytest.mark.skipif(KOSOKU is None, reason="no kosoku for this machine"),
    pytest.mark.parametrize("port", ["listener", "rest"]),
]


class Echo:
    """A handler that sends each message back as what it was: text or binary."""

    def session_opened(self, session: Session) -> None:
        """Say nothing."""

    def message_received(self, session: Session, message: str | bytes) -> None:
        """Send it back."""
        if isinstance(message, str):
            session.send(message.encode())
        else:
            session.send(message, binary=True)

    def control_received(self, session: Session, opcode: int) -> None:
        """Leave pongs to the session."""

    def session_writable(self, session: Session, writable: bool) -> None:
        """Leave waiting to the limits, which are lifted."""

    def session_closed(self, session: Session, code: int, reason: str) -> None:
        """Forget nothing, as nothing was kept."""


@asynccontextmanager
async def echoing(port: str) -> AsyncIterator[str]:
    """Serve echoes, and return their address: on a listener's own port, or on the REST port."""
    async with listening(
        handler=Echo(), max_message_bytes=1 << 26, max_fragments=1 << 20, max_paused_bytes=1 << 30
    ) as served:
        if port == "listener":
            yield f"ws://127.0.0.1:{served.port}"
            return
        config = replace(UNLIMITED, port=0)
        server = RestServer(Hub(config).app, config, served.listener.new_session)
        await server.start()
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(server.run())
            yield f"ws://127.0.0.1:{server.port}/live"
            run.cancel()


async def run_cases(
    port: str, report: Path, cases: Sequence[str], *, at_once: int
) -> dict[str, str]:
    """Run `cases` and return the verdict of each: how it behaved, how it closed if not well."""
    assert KOSOKU is not None
    chosen = [part for case in cases for part in ("--include", case)]
    async with echoing(port) as url:
        runner = await asyncio.create_subprocess_exec(
            *(KOSOKU, *chosen, "--parallelism", str(at_once), "--outdir", str(report), url),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, errors = await runner.communicate()
        finally:
            if runner.returncode is None:
                runner.kill()
    index = report / "index.json"
    assert index.is_file(), errors.decode()
    (results,) = msgspec.json.decode(index.read_bytes()).values()
    return {
        case: result["behavior"] if result["behaviorClose"] in PASSED else result["behaviorClose"]
        for case, result in results.items()
    }


async def test_frames_text_closing_and_sizes(port: str, tmp_path: Path) -> None:
    """Every case but those of deflate is met, the strict way but for text.

    Large messages (9) take the same way on both ports, so once is enough.
    """
    groups = (1, 2, 3, 4, 5, 6, 7, 10) if port == "rest" else (1, 2, 3, 4, 5, 6, 7, 9, 10)
    verdicts = await run_cases(port, tmp_path, [f"{group}.*" for group in groups], at_once=16)
    assert len(verdicts) == (247 if port == "rest" else 301)
    assert {case: was for case, was in verdicts.items() if was not in PASSED} == {}
    assert {case for case, was in verdicts.items() if was == "NON-STRICT"} <= CHECKED_LATE


async def test_deflate_as_it_may_be_offered(port: str, tmp_path: Path) -> None:
    """A thousand small messages in each of the ways to offer deflate, and of large fragments."""
    ways = [f"13.{way}.1" for way in range(1, 8)]
    verdicts = await run_cases(port, tmp_path, [*ways, "12.1.5", "12.2.2"], at_once=2)
    assert len(verdicts) == 9
    assert {case: was for case, was in verdicts.items() if was != "OK"} == {}


@pytest.mark.soak(minutes=3.5)
@pytest.mark.parametrize("group", [12, 13])
async def test_every_case_of_deflate(port: str, group: int, tmp_path: Path) -> None:
    """Five kinds of data, and seven ways to offer deflate, each in all sizes and fragments."""
    if (port, group) == ("rest", 12):
        pytest.skip("the kinds of data pass through the same session on either port")
    # One at a time: whatever a case says, the runner gives up on it after 20 s.
    verdicts = await run_cases(port, tmp_path, [f"{group}.*"], at_once=1)
    assert len(verdicts) == (90 if group == 12 else 126)
    assert {case: was for case, was in verdicts.items() if was != "OK"} == {}
