"""Tests of the examples in `websocket_client/README.md`: each runs as it stands."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.gateways.book_texts import book_text
from tests.websocket_client.scripted_hub import candle_fields, scripted, since
from websocket_client import ws_client
from websocket_client.ws_client import read

README = Path(ws_client.__file__).with_name("README.md")
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
BOOK = read(book_text().decode())
URL = "ws://127.0.0.1:8765"


async def run_example(code, url, folder):
    """Start an example as a program of its own, read its first line and interrupt it."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code.replace(URL, url)),
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(README.parent),
            "NO_PROXY": "*",
            "PYTHONUNBUFFERED": "1",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    async with asyncio.timeout(20):
        first = await program.stdout.readline()
        program.send_signal(signal.SIGINT)
        _, errors = await program.communicate()
    return first.decode(), errors.decode()


@pytest.mark.parametrize("number", range(5))
async def test_an_example_runs(number, tmp_path):
    """Copied into a file beside the client it shows what comes, until it is interrupted."""

    async def script(session):
        request = await session.answer(9)
        while request["op"] != "subscribe":
            request = await session.answer(9)
        await session.send(*(BOOK if request["channel"] == "book" else [candle_fields(0)]))
        while True:
            await session.answer(9)

    assert len(EXAMPLES) == 5
    assert URL in EXAMPLES[number]
    async with scripted(script) as hub:
        first, errors = await run_example(EXAMPLES[number], hub.url, tmp_path)
    assert first.strip(), errors
    assert errors.rstrip().endswith("KeyboardInterrupt"), errors


async def test_the_kept_position_is_gone_on_from(tmp_path):
    """What an example writes down is what it asks for after its restart."""

    async def script(session):
        await session.answer(9)
        await session.send(candle_fields(0), candle_fields(1))
        await session.stay()

    async with scripted(script, script) as hub:
        await run_example(EXAMPLES[3], hub.url, tmp_path)
        kept = (tmp_path / "position.txt").read_text()
        await run_example(EXAMPLES[3], hub.url, tmp_path)
    epoch, sequence = kept.split("-")
    assert hub.said[1]["since"] == since(int(sequence), int(epoch))
