"""A message broker that does the fan-out by itself, and its one publisher, over plain TCP.

    python -m benchmarks.fanout_parts.run_broker FOLDER nats|redis CORE CLIENTS

Each symbol is a subject (NATS) or a channel (Redis). The broker runs on CORE and is what is
measured; the publisher, this process, is on the core of the clients. It hands a round over in one
piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fanout_parts.pace import announce, obey
from benchmarks.fanout_parts.payloads import read_payloads, read_symbols

STARTS_WITHIN_S = 10


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def nats_command(folder: Path, port: int, websocket_port: int, clients: int) -> list[str]:
    """Write the configuration; return the command. Compression is off, as it is by default."""
    configuration = folder / "nats.conf"
    configuration.write_text(
        f'listen: "127.0.0.1:{port}"\nmax_connections: {clients + 1000}\n'
        f'websocket {{ listen: "127.0.0.1:{websocket_port}", no_tls: true }}\n',
        encoding="utf-8",
    )
    return ["nats-server", "-c", str(configuration)]


def redis_command(folder: Path, port: int, clients: int) -> list[str]:
    """Return the command of a Redis that keeps nothing."""
    return [
        *("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""),
        *("--appendonly", "no", "--dir", str(folder), "--maxclients", str(clients + 1000)),
        # It lets in 127.0.0.1 alone, and clients come from its neighbours too.
        *("--protected-mode", "no"),
    ]


@contextlib.contextmanager
def broker(command: list[str], core: int) -> Iterator[int]:
    """Run a broker on a core and give its process id."""
    own = os.sched_getaffinity(0)
    if core >= 0:
        os.sched_setaffinity(0, {core})
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.sched_setaffinity(0, own)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def connected(port: int) -> socket.socket:
    """Connect to a broker that has just been started."""
    until = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def written(kind: str, symbol: str, text: bytes) -> bytes:
    """Return one publication as the broker reads it."""
    name = symbol.encode()
    if kind == "nats":
        return b"PUB %b %d\r\n%b\r\n" % (name, len(text), text)
    return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        *(len(name), name),
        *(len(text), text),
    )


async def publish_to(folder: Path, kind: str, port: int) -> None:
    """Publish as told until the input ends; what the broker answers is read and dropped."""
    symbols = read_symbols(folder)
    rounds = [
        b"".join(written(kind, *one) for one in zip(symbols, texts, strict=True))
        for texts in read_payloads(folder / "texts.bin")
    ]
    reader, writer = await asyncio.open_connection(sock=connected(port))
    if kind == "nats":
        writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\n')

    async def publish(number: int) -> None:
        writer.write(rounds[number])

    async def drop() -> None:
        while answer := await reader.read(65_536):
            if answer.startswith(b"PING"):
                writer.write(b"PONG\r\n")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(drop())
        await obey(publish)


def main() -> None:
    """Serve until the input ends, or until told to stop."""
    folder, kind, core, clients = Path(sys.argv[1]), *sys.argv[2:5]
    port = free_port()
    clients_port = free_port() if kind == "nats" else port
    if kind == "nats":
        command = nats_command(folder, port, clients_port, int(clients))
    else:
        command = redis_command(folder, port, int(clients))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with broker(command, int(core)) as pid:
        connected(clients_port).close()
        announce(clients_port, pid)
        asyncio.run(publish_to(folder, kind, port))


if __name__ == "__main__":
    main()
