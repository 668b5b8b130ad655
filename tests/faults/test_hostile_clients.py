"""Clients that mean harm, against the whole program: each is turned away, nobody else notices.

They come from an address of their own, as they would. While they are at it, fifty others follow
everything, and miss nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.gateways.live.config import LiveConfig
from app.sockets.frames import BINARY, CLOSE, PING, TEXT
from tests.end_to_end.churning import FORMS
from tests.end_to_end.delivery import Asked, Judge, Visit, request_of
from tests.end_to_end.light_client import Connection, Payloads
from tests.end_to_end.published import what_was_published, writing_down
from tests.end_to_end.running_program import Program, program, started
from tests.sockets.peers import DEFLATE, Peer, connected, frame, request

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
EVERYTHING = frozenset({("candles", "*", "1s")})
WELL_BEHAVED = 50
THEIRS = "127.0.0.2"
LIMITS = LiveConfig()
RETURNS_TO_BYTES = 40_000_000
"""More than what Python keeps for later of what it once needed; each attack sends or opens more."""

# Whoever is slow is cut off after ten seconds: here after two.
SOON = """
from app.gateways.live.config import LiveConfig

LiveConfig.__init__.__kwdefaults__["handshake_timeout_s"] = 2.0
"""

pytestmark = [
    pytest.mark.alone,
    pytest.mark.xdist_group("crowds"),
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="needs all of 127.0.0.0/8, and /proc"
    ),
]


class Hub:
    """The program under attack, as strangers see it."""

    def __init__(self, running: Program) -> None:
        self.port = running.stream_port
        self._running = running

    def connect(self, *first: bytes) -> contextlib.AbstractAsyncContextManager[Peer]:
        """Connect from the address of those who mean harm."""
        return connected(self.port, *first, local_addr=(THEIRS, 0))

    @asynccontextmanager
    async def upgraded(self, path: str = "/?symbols=", extra: str = "") -> AsyncIterator[Peer]:
        """Connect, and go through the handshake."""
        async with self.connect(request(path, extra)) as peer:
            assert (await peer.response()).status == 101
            yield peer

    async def status(self, *lines: str, path: str = "/") -> int:
        """Return the status of the answer to a handshake."""
        async with self.connect(request(path, "".join(f"{line}\r\n" for line in lines))) as peer:
            return int((await peer.response()).status)

    async def clients(self) -> dict[str, Any]:
        """Return what it reports of its clients."""
        async with httpx.AsyncClient(base_url=self._running.rest_url) as rest:
            found: dict[str, Any] = (await rest.get("/status")).json()["clients"]
            return found

    def memory(self) -> int:
        """Return its resident bytes."""
        pages = Path(f"/proc/{self._running.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4_096


async def code(peer: Peer) -> int:
    """Return the code with which a connection is closed, whatever comes before."""
    while (got := await peer.frame()).opcode != CLOSE:
        pass
    return got.close[0]


async def pages_of_strangers(hub: Hub) -> None:
    """Come from a foreign page: 403; without an Origin, or from the hub's own page: welcome."""
    assert await hub.status("Origin: https://evil.example") == 403
    assert await hub.status("Origin: null") == 403
    assert await hub.status("Origin: http://localhost.evil.example") == 403
    assert await hub.status() == 101
    assert await hub.status("Origin: http://localhost:8000") == 101


async def half_open_handshakes(hub: Hub) -> None:
    """Begin a thousand, end none: few are kept, and a client from elsewhere comes in meanwhile."""
    async with contextlib.AsyncExitStack() as stack:
        begun = request()[:-2]
        for _ in range(1_000):
            await stack.enter_async_context(hub.connect(begun))
        told = await hub.clients()
        assert told["handshakes"] <= LIMITS.max_handshakes_per_ip + 256  # being told so
        connection = await Connection.open(f"ws://127.0.0.1:{hub.port}/", FORMS[0], Payloads())
        await connection.say_goodbye()
        await until_gone(hub)


async def until_gone(hub: Hub) -> None:
    """Wait until only the well-behaved are there."""
    async with asyncio.timeout(10):
        while True:
            told = await hub.clients()
            if (told["handshakes"], told["clients"]) == (0, WELL_BEHAVED):
                return
            await asyncio.sleep(0.1)


async def slow_headers(hub: Hub) -> None:
    """Send headers byte by byte, busily: 408."""
    async with hub.connect() as peer:

        async def drip() -> None:
            with contextlib.suppress(OSError):
                for byte in request("/" + "?" * 1_000):
                    peer.send(bytes((byte,)))
                    await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as tasks:
            dripping = tasks.create_task(drip())
            assert (await peer.response()).status == 408
            dripping.cancel()


async def huge_requests(hub: Hub) -> None:
    """Send headers or an address without an end: 414 or 431."""
    async with hub.connect(b"GET / HTTP/1.1\r\n", b"X: " + b"x" * 100_000) as peer:
        assert (await peer.response()).status in (414, 431)
    names = ",".join(f"A{number}USDT" for number in range(10_000))
    assert await hub.status(path=f"/?symbols={names}") in (414, 431)


async def huge_frames(hub: Hub) -> None:
    """Send a frame that says it is a terabyte, and one that is a megabyte: 1009."""
    async with hub.upgraded() as peer:
        peer.send(b"\x81\xff" + (1 << 40).to_bytes(8) + b"mask" + b"x" * 1_000)
        assert await code(peer) == 1009
    async with hub.upgraded() as peer:
        peer.send(frame(TEXT, b"x" * 1_000_000))
        assert await code(peer) == 1009


async def compression_bombs(hub: Hub) -> None:
    """Send some kilobytes that become up to a hundred megabytes: 1009."""
    deflater = zlib.compressobj(wbits=-15)
    bomb = deflater.compress(b"\0" * 100_000_000) + deflater.flush(zlib.Z_SYNC_FLUSH)
    for whole in (bomb[:-4], bomb[:60_000]):
        async with hub.upgraded(extra=DEFLATE) as peer:
            peer.send(frame(TEXT, whole, rsv=0x40))
            assert await code(peer) == 1009


async def subscribe_floods(hub: Hub) -> None:
    """Send more requests than allowed, or more pings: 4009."""
    wish = json.dumps({"op": "subscribe", "channel": "candles", "symbols": ["BTCUSDT"]}).encode()
    for one in (frame(TEXT, wish), frame(PING)):
        async with hub.upgraded() as peer:
            peer.send(one * 1_000)
            assert await code(peer) == 4009


async def a_million_symbols(hub: Hub) -> None:
    """Name a million: 1009; or as many as fit a message: an error, and no more."""
    names = [f"A{number}" for number in range(1_000_000)]
    wish = {"op": "subscribe", "id": 1, "channel": "candles"}
    async with hub.upgraded() as peer:
        peer.text(json.dumps({**wish, "symbols": names}))
        assert await code(peer) == 1009
    async with hub.upgraded() as peer:
        peer.text(json.dumps({**wish, "symbols": names[:5_000]}))
        reply = json.loads((await peer.frame()).payload)
        assert reply["error"]["code"] in ("UnknownSymbol", "TooManySubscriptions")
        peer.text('{"op":"ping","id":2}')
        assert "result" in json.loads((await peer.frame()).payload)


async def nonsense(hub: Hub) -> None:
    """Send what is no text, no JSON, no sense: a code, or an error where that can be answered."""
    deep = b"[" * 60_000
    for sent, ends in (
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"\xe2\x82", fin=False) + frame(0, b"\x28"), 1007),
        (frame(BINARY, b"\x00"), 1003),
        (b"\x81\x02hi", 1002),  # without a mask
        (frame(TEXT, b"{}", rsv=0x40), 1002),  # as if deflated
        (frame(0x3, b""), 1002),  # of no kind there is
        (frame(CLOSE, b"\x03"), 1002),
    ):
        async with hub.upgraded() as peer:
            peer.send(sent)
            assert await code(peer) == ends, sent
    async with hub.upgraded() as peer:
        for text in (b"{", deep, b'{"op":"subscribe","since":-1}', b'{"op":[]}', b"NaN"):
            peer.send(frame(TEXT, text))
            assert "error" in json.loads((await peer.frame()).payload), text[:20]


async def fragments(hub: Hub) -> None:
    """Send a message in endless fragments, empty or not: 1009; two at once: 1002."""
    for piece in (b"", b"x" * 1_000):
        async with hub.upgraded() as peer:
            peer.send(frame(TEXT, piece, fin=False), frame(0, piece, fin=False) * 1_000)
            assert await code(peer) == 1009
    async with hub.upgraded() as peer:
        peer.send(frame(TEXT, b"{", fin=False), frame(TEXT, b"}"))
        assert await code(peer) == 1002


async def too_many_connections(hub: Hub) -> None:
    """Open all connections that one address may have, and one more: 503."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(LIMITS.max_connections_per_ip):
            await stack.enter_async_context(hub.upgraded())
        assert await hub.status() == 503


ATTACKS: Sequence[Callable[[Hub], Awaitable[None]]] = (
    pages_of_strangers,
    half_open_handshakes,
    slow_headers,
    huge_requests,
    huge_frames,
    compression_bombs,
    subscribe_floods,
    a_million_symbols,
    nonsense,
    fragments,
    too_many_connections,
)


async def test_hostile_clients_are_turned_away_and_nobody_else_notices(
    tmp_path: Path, subtests: pytest.Subtests
):
    """Each with its documented code; memory returns, and fifty clients miss nothing meanwhile."""
    written = writing_down(tmp_path)
    with (tmp_path / "sitecustomize.py").open("a") as more:
        more.write(SOON)
    arguments = ("--source", "simulated", "--symbols", ",".join(SYMBOLS))
    payloads = Payloads()
    async with program(tmp_path, *arguments, RATE_LIMIT="0", **written) as running:
        await started(running)
        hub = Hub(running)
        followers = [await followed(hub, payloads, number) for number in range(WELL_BEHAVED)]
        for attack in ATTACKS:  # what is loaded and made once is there after this
            if attack not in (half_open_handshakes, slow_headers):
                await attack(hub)
        await until_gone(hub)
        before = hub.memory()
        for attack in ATTACKS:
            with subtests.test(attack.__name__):
                await attack(hub)
        await until_gone(hub)
        assert hub.memory() - before < RETURNS_TO_BYTES
        for connection, _ in followers:
            connection.ask(op="ping", id=2)
            await connection.reply(2)
        told = await hub.clients()
        for connection, _ in followers:
            await connection.say_goodbye()
            assert connection.code == 1000
    assert "Traceback" not in running.output, running.output
    assert told["failures"] == told["crashed"] == 0
    judge = Judge(what_was_published(tmp_path), payloads)
    judge.check_payloads()
    for number, (_, visit) in enumerate(followers):
        judge.check(visit, f"client {number}")
    assert not judge.verdict, (judge.verdict, judge.examples)
    assert judge.received["candles"] >= 4 * len(SYMBOLS) * WELL_BEHAVED


async def followed(hub: Hub, payloads: Payloads, number: int) -> tuple[Connection, Visit]:
    """Connect one that behaves, and follow every candle."""
    form = FORMS[number % len(FORMS)]
    batch = "&batch=true" if form.batch else ""
    address = f"ws://127.0.0.1:{hub.port}/?symbols={batch}"
    connection = await Connection.open(address, form, payloads)
    visit = Visit(form, frozenset(), by_default=False, received=connection.received)
    visit.asked = {1: Asked(EVERYTHING), 2: Asked()}
    connection.ask(**request_of(1, visit.asked[1]))
    await connection.reply(1)
    return connection, visit
