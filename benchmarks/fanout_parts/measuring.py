"""Measures one candidate once, under one load."""

from __future__ import annotations

import contextlib
import json
import random
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import msgspec

from benchmarks.fanout_parts.candidates import Candidate
from benchmarks.fanout_parts.figures import Run
from benchmarks.fanout_parts.payloads import read_payloads
from benchmarks.fanout_parts.programs import (
    Program,
    RunFailed,
    cpu_used_ns,
    kernel_tcp_bytes,
    resident_bytes,
)
from benchmarks.fanout_parts.work import Work, write_folder

LOOKS_AT_EVERY = 97  # a prime, so that it is another place in every order of things
OWN_SYMBOLS = 10
HANDSHAKES_AT_ONCE = 64
OPAQUE_SETTLES_S = 1.5
RESUMES_EVERY = 10
_POLL_S = 0.5


@dataclass(frozen=True)
class Load:
    """What is asked of a server. After one round to warm up, `rounds` are measured.

    `own`: each client wants ten symbols of its own; else all want all. `stalled` more clients read
    nothing; `fills` rounds go before the measured ones, until nothing more can be sent to them.
    `besides` names who comes while candles flow: `handshakes`, or so many `hostile` ones.
    """

    clients: int
    symbols: int
    rounds: int = 5
    rounds_of_slow: int = 2
    own: bool = False
    stalled: int = 0
    fills: int = 6
    besides: str = ""
    hostile: int = 200

    @property
    def connections(self) -> int:
        """All that may be open at once, with those that come besides."""
        return self.clients + self.stalled + (self.hostile if self.besides else 0)

    def scaled(self, share: float) -> Load:
        """Return the same with a part of the clients."""
        return replace(
            self,
            clients=max(1, int(self.clients * share)),
            stalled=int(self.stalled * share),
        )

    def candles_a_round(self) -> int:
        """Return how many candles are delivered each second."""
        return self.clients * (OWN_SYMBOLS if self.own else self.symbols)

    def flush_s(self, candidate: Candidate) -> float:
        """Return about how long a candidate takes for a round."""
        return self.candles_a_round() * candidate.cost_us / 1e6

    def rounds_for(self, candidate: Candidate) -> int:
        """Return how many rounds a candidate gets: fewer, if it cannot keep up."""
        return self.rounds_of_slow if self.flush_s(candidate) > 1 else self.rounds

    def seconds(self, candidate: Candidate) -> float:
        """Return about how long one run takes."""
        flush = self.flush_s(candidate)
        rounds = self.rounds_for(candidate)
        settles = OPAQUE_SETTLES_S * 2 if candidate.shape == "opaque" else 0
        settles += self.fills + 2 if self.stalled else 0
        opening = 1.0 + (self.clients + self.stalled) / candidate.handshakes
        return opening + 2.0 + flush + max(rounds - 1, rounds * flush) + settles


@dataclass(frozen=True)
class Bench:
    """Where things are: compiled programs, the cores of server and clients, Node's packages."""

    built: Path
    server_core: int
    load_core: int
    environment: dict[str, str]


class Opened(msgspec.Struct):
    """The load generator's first line."""

    connected: int
    deflating: int
    seconds: float


class Received(msgspec.Struct):
    """The load generator's line about one `go`."""

    received: int
    expected: int
    bad: int
    lost: int
    surplus: int
    bytes: int
    looked_at: int
    messages: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    receiving_s: float
    cpu_s: float


class Listening(msgspec.Struct):
    """A server's first line."""

    port: int
    pid: int


def measure(bench: Bench, candidate: Candidate, load: Load) -> Run:
    """Run a candidate under a load; raise `RunFailed`."""
    rounds = load.rounds_for(candidate)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        before = 1 + (load.fills if load.stalled else 0)
        work = Work(load.symbols, before + rounds, int(time.time()))
        write_folder(Path(folder), work, plan_of(load, candidate, work.names))
        server = stack.enter_context(
            Program(
                candidate.name,
                [part.format(**_places(bench, load, folder)) for part in candidate.command],
                # A broker's wrapper is its publisher, and puts the broker on its core by itself.
                bench.load_core if candidate.kind != "ws" else bench.server_core,
                bench.environment,
            )
        )
        one = Measurement(bench, candidate, load, Path(folder), server)
        generator = [
            *(str(bench.built / "loadgen"), str(one.port), str(load.clients)),
            *(candidate.kind, folder, str(LOOKS_AT_EVERY), candidate.shape, "1"),
            *(candidate.subprotocol, str(load.stalled)),
        ]
        clients = stack.enter_context(Program("the clients", generator, bench.load_core))
        return one.run(clients, rounds)


def _places(bench: Bench, load: Load, folder: str) -> dict[str, object]:
    return {
        "folder": folder,
        "clients": load.connections,
        "core": bench.server_core,
        "built": bench.built,
    }


def plan_of(
    load: Load, candidate: Candidate, names: Sequence[str]
) -> list[tuple[str, Sequence[int]]]:
    """Return the URLs that clients open, with the numbers of the symbols that they ask for."""
    if not load.own:
        return [(candidate.target, range(len(names)))]
    chance = random.Random(11)
    plan: list[tuple[str, Sequence[int]]] = []
    for _ in range(load.clients):
        wanted = sorted(chance.sample(range(len(names)), OWN_SYMBOLS))
        plan.append((f"/?symbols={','.join(names[number] for number in wanted)}", wanted))
    return plan


class Measurement:
    """One server and its clients, from the first connection to the last candle."""

    def __init__(
        self,
        bench: Bench,
        candidate: Candidate,
        load: Load,
        folder: Path,
        server: Program,
    ) -> None:
        listening = server.answer(Listening, 30)
        self._pid = listening.pid
        self.port = listening.port
        self._bench = bench
        self._candidate = candidate
        self._load = load
        self._folder = folder
        self._server = server
        self._more: dict[str, float] = {}

    def run(self, clients: Program, rounds: int) -> Run:
        """Connect the clients, warm up, measure."""
        load = self._load
        everybody = load.clients + load.stalled
        before = resident_bytes(self._pid)
        opened = clients.answer(Opened, 20 + everybody / 200)
        connected = resident_bytes(self._pid)
        self._stalled = Stalled(load.stalled, self._pid, self._server, clients)
        first = 1
        warmed = self._go(clients, first, 0)
        if load.stalled:
            self._go(clients, load.fills, first)
            first += load.fills
        used_ns = cpu_used_ns(self._pid)
        with contextlib.ExitStack() as stack:
            received = self._go(clients, rounds, first, stack)
            used_ns = cpu_used_ns(self._pid) - used_ns
        if load.stalled:
            self._more |= self._stalled.figures()
        at_end = resident_bytes(self._pid)
        if self._candidate.shape == "opaque":
            self._decode(received, rounds)
        if not received.received:
            msg = f"none of {received.expected} candles came"
            raise RunFailed(msg)
        return Run(
            cpu_us=used_ns / 1e3 / received.received,
            delivered=received.received / received.expected,
            bad=received.bad + received.surplus,
            lost=received.lost,
            p50_ms=received.p50_ms,
            p99_ms=received.p99_ms,
            worst_ms=received.worst_ms,
            bytes_a_candle=received.bytes / received.received,
            kib_a_connection=(connected - before) / 1024 / everybody,
            kib_at_end=(at_end - before) / 1024 / everybody,
            clients_a_second=opened.connected / opened.seconds,
            load_busy=received.cpu_s / received.receiving_s if received.receiving_s else 0.0,
            looked_at=received.looked_at + warmed.looked_at,
            deflating=opened.deflating == load.clients,
            more=self._more,
        )

    def _go(
        self, clients: Program, rounds: int, begin: int, stack: contextlib.ExitStack | None = None
    ) -> Received:
        """Have rounds published, and return what arrived; with a stack, others come besides."""
        first = int(time.time() + (1.8 if stack and self._load.besides else 1.2))
        besides = self._besides(stack, first, rounds) if stack else None
        limit = 10 + 3 * rounds * self._load.flush_s(self._candidate)
        if self._candidate.shape == "opaque":
            limit = OPAQUE_SETTLES_S
        # The clients first: they must know of the rounds before the first candle comes.
        clients.tell(f"go {first} {rounds} {begin} {limit}")
        self._server.tell(f"go {first} {rounds} {begin}")
        if self._load.stalled:
            self._stalled.follow()
        received = clients.answer(Received, 5 + rounds + limit)
        if besides is not None:
            for name, value in besides.answer(dict[str, float], 20 + rounds).items():
                self._more[name.replace(" ", "_")] = value
        return received

    def _besides(self, stack: contextlib.ExitStack, first: int, seconds: int) -> Program | None:
        """Start who comes besides."""
        bench, load = self._bench, self._load
        if load.besides == "handshakes":
            command = [str(bench.built / "handshakes"), str(self.port), str(HANDSHAKES_AT_ONCE)]
        elif load.besides == "hostile":
            command = [sys.executable, "-m", "benchmarks.fanout_parts.hostile"]
            command += [str(self.port), str(load.hostile)]
        else:
            return None
        command += [str(first), str(seconds)]
        return stack.enter_context(Program(load.besides, command, bench.load_core))

    def _decode(self, received: Received, rounds: int) -> None:
        """Decode what the first client got, and take it for what every client got."""
        # Not at the top: only this table needs the format.
        from app.gateways.protobuf import decode_batch  # noqa: PLC0415

        messages = read_messages(self._folder / "dump.bin")
        texts = read_payloads(self._folder / "texts.bin")[-rounds:]
        expected = [json.loads(text, parse_float=Decimal) for each in texts for text in each]
        found = [one for message in messages for one in decode_batch(message)]
        received.bad += sum(1 for one, other in zip(found, expected, strict=False) if one != other)
        received.looked_at = len(found)
        received.received = len(found) * self._load.clients
        received.expected = len(expected) * self._load.clients


class Stalled:
    """Those who read nothing: what is kept for them, and how they end."""

    def __init__(self, many: int, pid: int, server: Program, clients: Program) -> None:
        self._many = many
        self._pid = pid
        self._server = server
        self._clients = clients
        self._before = resident_bytes(pid), kernel_tcp_bytes()
        self._kept = 0, 0
        self._behind_at: float | None = None
        self._closed_at: float | None = None

    def follow(self) -> None:
        """Watch them until the clients have something to say.

        Once all are closed some read on, to see whether they are told why; not all, as to receive
        what has waited for so many would keep the other clients from their work.
        """
        while not self._clients.has_answer(_POLL_S):
            now = resident_bytes(self._pid), kernel_tcp_bytes()
            server, kernel = (is_ - was for is_, was in zip(now, self._before, strict=True))
            self._kept = max(self._kept[0], server), max(self._kept[1], kernel)
            counters = self._count()
            if counters["behind"] and self._behind_at is None:
                self._behind_at = time.monotonic()
            if counters["closed_slow"] >= self._many and self._closed_at is None:
                self._closed_at = time.monotonic()
                self._clients.tell(f"resume {RESUMES_EVERY}")

    def figures(self) -> dict[str, float]:
        """Return what was seen."""
        time.sleep(_POLL_S)
        self._clients.tell("stalled")
        told = self._clients.answer(dict[str, int], 5)
        found = {
            "server_kib_a_stalled": self._kept[0] / 1024 / self._many,
            "kernel_kib_a_stalled": self._kept[1] / 1024 / self._many,
            "closed_slow_share": self._count()["closed_slow"] / self._many,
            "told_4008_share": told["too_slow"] / told["resumed"] if told["resumed"] else 0.0,
        }
        if self._behind_at is not None and self._closed_at is not None:
            found["closed_after_s"] = self._closed_at - self._behind_at
        return found

    def _count(self) -> dict[str, int]:
        self._server.tell("counters")
        return self._server.answer(dict[str, int], 20)


def read_messages(path: Path) -> list[bytes]:
    """Return what the load generator has written of its first client: length and bytes each."""
    content = path.read_bytes()
    at = 0
    messages = []
    while at < len(content):
        (length,) = struct.unpack_from("=I", content, at)
        messages.append(content[at + 4 : at + 4 + length])
        at += 4 + length
    return messages
