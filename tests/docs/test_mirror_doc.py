"""What docs/mirror.md says that is not served is answered by a hub just as the page shows it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import websockets

from tests.end_to_end.running_hub import rest_url, running_hub, stream_url

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mirror.md"


def exchanges() -> list[tuple[str, str]]:
    """Return what is sent, and what comes, of each pair of lines of the page."""
    return re.findall(r"^→ (.+)\n← (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


async def answer_of_rest(base: str, request: str) -> str:
    """Make a call that the page shows; return status and body as it shows them."""
    line, _, accept = request.partition(" with Accept: ")
    method, target = line.split()
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"Accept": accept} if accept else {}
        answer = await client.request(method, base + target, headers=headers)
    return f"{answer.status_code} {answer.text}".strip()


async def answer_of_stream(base: str, request: str) -> str:
    """Connect as the page shows it; return what comes, or how the handshake is refused."""
    path, _, message = request.partition(" ")
    try:
        async with asyncio.timeout(10), websockets.connect(base + path, proxy=None) as client:
            await client.send(message)
            return str(await client.recv())
    except websockets.InvalidStatus as error:
        return f"{error.response.status_code} {error.response.body.decode()}".strip()


async def test_what_is_not_served_is_answered_as_the_page_says(tmp_path):
    """Private calls, orders, user data, the WebSocket API, SBE, futures: each real answer."""
    shown = exchanges()
    assert len(shown) >= 15
    async with running_hub(tmp_path, symbols=("BTCUSDT",)) as hub:
        rest, stream = rest_url(hub, ""), stream_url(hub).rstrip("/")
        told = [
            await answer_of_stream(stream, request.removeprefix("WebSocket "))
            if request.startswith("WebSocket ")
            else await answer_of_rest(rest, request)
            for request, _ in shown
        ]
    assert told == [expected for _, expected in shown]
