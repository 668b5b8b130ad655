"""The file in which payloads go from the benchmark to its programs; standard library alone."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path


def write_payloads(path: Path, rounds: Sequence[Sequence[bytes]]) -> None:
    """Write rounds of equally many payloads: both counts, then length and bytes of each."""
    many = len(rounds[0]) if rounds else 0
    parts = [struct.pack("=II", len(rounds), many)]
    for payloads in rounds:
        assert len(payloads) == many
        for payload in payloads:
            parts += struct.pack("=I", len(payload)), payload
    path.write_bytes(b"".join(parts))


def read_payloads(path: Path) -> list[list[bytes]]:
    """Return the rounds of such a file."""
    content = path.read_bytes()
    count, many = struct.unpack_from("=II", content)
    at = 8
    rounds: list[list[bytes]] = []
    for _ in range(count):
        payloads = []
        for _ in range(many):
            (length,) = struct.unpack_from("=I", content, at)
            payloads.append(content[at + 4 : at + 4 + length])
            at += 4 + length
        rounds.append(payloads)
    return rounds


def read_symbols(folder: Path) -> list[str]:
    """Return the symbols of a run, in the order of its payloads."""
    with (folder / "plan.txt").open(encoding="utf-8") as plan:
        return plan.readline().strip().split(",")
