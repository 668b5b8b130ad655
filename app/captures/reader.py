"""Reading recordings of an exchange's traffic: line by line, lazily, plain or gzipped.

Two formats, told apart line by line:

* frames, one line a message: the receive time in nanoseconds, a space, the frame as it came. A
  body without a stream's envelope that looks like an order book is a REST answer.

      1723161254087896568 {"stream":"btcusdt@trade","data":{"e":"trade",...}}

* mixed text, as cryptofeed records it: a configuration line, the URLs that were dialled, REST
  answers behind the URL that was asked, and frames behind their receive time in seconds.

      configuration: {"trades":["BTC-AUD"]}
      wss://stream.binance.com:9443/stream?streams=btcaud@aggTrade <-> 1617647602.623478
      https://www.binance.com/api/v1/depth?symbol=BTCAUD&limit=1000 -> 1617647603.8164911: {...}
      1617647603.4249449: {"stream":"btcaud@bookTicker","data":{...}}

A recorder that was killed leaves a torn last line, or a gzip file without its end: that tail is
cut and counted. Anything else that is neither format raises `BadCapture` with the path and line.
"""

from __future__ import annotations

import gzip
import heapq
import re
import zlib
from collections.abc import Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from app.errors import BadCapture

GZIP_MAGIC = b"\x1f\x8b"
MAX_LINE_BYTES = 64 * 1024 * 1024

_NANOSECONDS = re.compile(rb"([1-9]\d{18}) (?=[\[{])")
_SECONDS = re.compile(rb"([1-9]\d{9})(?:\.(\d{1,9}))?: (?=[\[{])")
_ANSWER = re.compile(rb"(https?://\S+) -> ([1-9]\d{9})(?:\.(\d{1,9}))?: (?=[\[{])")
_REMARK = re.compile(rb"configuration: |wss?://|https?://")
_BARE_ANSWER = (b'{"lastUpdateId"', b'{"serverTime"', b'{"timezone"', b"[")


class Record(NamedTuple):
    """One message as it was received. `url` is what was asked, where the recording names it."""

    received_ns: int
    body: bytes
    is_answer: bool = False
    url: str | None = None

    @property
    def received_us(self) -> int:
        """The receive time in microseconds, rounded down."""
        return self.received_ns // 1_000


class Capture:
    """One recording. Iterate over it as often as needed: each time the file is read anew.

    Every field below describes the latest pass.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0  # lines read
        self.torn = 0  # 1 when the file's tail was cut off

    def __iter__(self) -> Iterator[Record]:
        """Yield the records in the order of the file; raise `BadCapture`."""
        self.lines = self.torn = 0
        try:
            with self.path.open("rb") as opened:
                packed = opened.read(2) == GZIP_MAGIC
                opened.seek(0)
                if not packed:
                    yield from self._records(opened)
                    return
                with gzip.GzipFile(fileobj=opened) as unpacked:
                    yield from self._records(unpacked)
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadCapture(str(self.path), self.lines, f"cannot be read: {reason}") from error

    def _records(self, lines: IO[bytes] | gzip.GzipFile) -> Iterator[Record]:
        while True:
            try:
                line = lines.readline(MAX_LINE_BYTES)
            except EOFError:  # a gzip file without its end
                self.torn = 1
                return
            except (zlib.error, gzip.BadGzipFile) as error:
                raise self._bad(reason=f"the compressed data is damaged: {error}") from error
            if not line:
                return
            self.lines += 1
            record = self._record(line)
            if record is not None:
                yield record
            if self.torn:
                return

    def _record(self, line: bytes) -> Record | None:
        """Return the line's record, or `None` for a remark and for a torn last line."""
        whole = line.endswith(b"\n")
        if not whole and len(line) >= MAX_LINE_BYTES:
            raise self._bad(reason=f"a line is longer than {MAX_LINE_BYTES} bytes")
        record = parse(line.rstrip(b"\r\n"))
        if record is None and not whole:
            self.torn = 1
            return None
        if isinstance(record, Record):
            if not whole and not _is_json(record.body):
                self.torn = 1
                return None
            return record
        if record is None:
            raise self._bad(reason="expected '<nanoseconds> <frame>' or '<seconds>: <frame>'")
        return None

    def _bad(self, *, reason: str) -> BadCapture:
        return BadCapture(str(self.path), self.lines, reason)


class Remark(NamedTuple):
    """A line that carries no message: a configuration, a URL that was dialled, an empty line."""

    text: bytes


def parse(line: bytes) -> Record | Remark | None:
    """Return what one line (without its end) says; `None` when it is of neither format."""
    if found := _NANOSECONDS.match(line):
        body = line[found.end() :]
        return Record(int(found[1]), body, body.startswith(_BARE_ANSWER))
    if found := _SECONDS.match(line):
        return Record(_nanoseconds(found[1], found[2]), line[found.end() :])
    if found := _ANSWER.match(line):
        url = found[1].decode("ascii", "replace")
        return Record(
            _nanoseconds(found[2], found[3]), line[found.end() :], is_answer=True, url=url
        )
    if not line or _REMARK.match(line):
        return Remark(line)
    return None


def merged(captures: Iterable[Iterable[Record]]) -> Iterator[Record]:
    """Yield the records of all captures by receive time; equal times in the order given."""
    return heapq.merge(*captures, key=attrgetter("received_ns"))


def _nanoseconds(seconds: bytes, fraction: bytes | None) -> int:
    """Join the two halves of a decimal number of seconds exactly: no float has 19 digits."""
    return int(seconds) * 1_000_000_000 + int((fraction or b"").ljust(9, b"0"))


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.MsgspecError:
        return False
    return True
