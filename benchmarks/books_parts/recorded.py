"""The recorded books as plain files, which every environment can read without a library."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

RECORDINGS = {
    "BTCUSDT": "spot_btcusdt_20240808.gz",
    "ETHUSDT": "spot_ethusdt_20240808.gz",
}
LIMIT = 1_000  # of each recorded snapshot


@dataclass(frozen=True)
class Recording:
    """One symbol: the body of its snapshot, and the frames of all diffs that follow it."""

    symbol: str
    snapshot: bytes
    frames: list[bytes]


def unpack(source: Path, folder: Path) -> bool:
    """Write what the recordings hold into `folder`; say whether they are there."""
    for symbol, name in RECORDINGS.items():
        path = source / name
        if not path.is_file():
            return False
        snapshot, last_id = b"", -1
        frames = []
        with gzip.open(path) as lines:
            for line in lines:
                body = line.split(b" ", 1)[1].strip()
                if body.startswith(b'{"lastUpdateId"'):
                    snapshot, last_id = body, json.loads(body)["lastUpdateId"]
                elif b"@depth" in body[:40]:
                    frames.append(body)
        frames = [frame for frame in frames if json.loads(frame)["data"]["u"] > last_id]
        (folder / symbol).write_bytes(b"\n".join([snapshot, *frames]))
    return True


def read(folder: Path) -> list[Recording]:
    """Return what `unpack` has written."""
    recordings = []
    for symbol in RECORDINGS:
        snapshot, *frames = (folder / symbol).read_bytes().split(b"\n")
        recordings.append(Recording(symbol, snapshot, frames))
    return recordings
