"""Runs the programs of the benchmark, each on its core, and reads what they and the kernel say."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

import msgspec

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = Path(__file__).resolve().parent
BUILT = ("loadgen", "bare", "handshakes")
Answer = TypeVar("Answer")


class RunFailed(Exception):
    """A program did not do its part; the text says what it said."""


def build(into: Path) -> str:
    """Compile the programs in C; return what is missing, or nothing."""
    compiler = shutil.which("cc")
    if compiler is None:
        return "no C compiler found (Debian, Ubuntu: sudo apt install build-essential)"
    for name in BUILT:
        command = [
            *(compiler, "-O2", "-std=gnu11", "-o", str(into / name), str(PARTS / f"{name}.c")),
            "-lz",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            hint = ""
            if "zlib.h" in done.stderr:
                hint = " (Debian, Ubuntu: sudo apt install zlib1g-dev)"
            return f"{name}.c does not compile{hint}: {done.stderr.strip()[:500]}"
    return ""


class Program:
    """A child process that is told lines and answers lines of JSON; ended when the block ends."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        core: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        own = os.sched_getaffinity(0)
        if core >= 0:
            # Children inherit it from their first instruction on; some count cores right then.
            os.sched_setaffinity(0, {core})
        try:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                env={**os.environ, **(environment or {})},
            )
        finally:
            os.sched_setaffinity(0, own)
        self._unread = b""

    def __enter__(self) -> Program:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its input, then end it if that did not."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._complaints.close()

    def tell(self, line: str) -> None:
        """Write a line to its input."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise RunFailed(self._what_it_said()) from error

    def answer(self, type_: type[Answer], within_s: float) -> Answer:
        """Return the next line that it prints, decoded; raise `RunFailed`."""
        line = self._line(time.monotonic() + within_s)
        try:
            return msgspec.json.decode(line, type=type_)
        except msgspec.DecodeError as error:
            msg = f"{self._name} printed {line[:200]!r}"
            raise RunFailed(msg) from error

    def has_answer(self, within_s: float) -> bool:
        """Tell whether it prints something within so long."""
        if b"\n" in self._unread:
            return True
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], within_s)[0])

    def _line(self, until: float) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            if not self.has_answer(max(0.0, until - time.monotonic())):
                msg = f"{self._name} did not answer in time"
                raise RunFailed(msg)
            some = os.read(self._process.stdout.fileno(), 65_536)
            if not some:
                raise RunFailed(self._what_it_said())
            self._unread += some
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _what_it_said(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return f"{self._name}: {lines[-1][:400] if lines else 'ended without a word'}"


def cpu_used_ns(pid: int) -> int:
    """Return the CPU time of all threads of a process."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has in use."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def kernel_tcp_bytes() -> int:
    """Return what the kernel holds in the buffers of all TCP sockets of this machine."""
    sockets = Path("/proc/net/sockstat").read_text(encoding="ascii")
    found = re.search(r"^TCP:.* mem (\d+)", sockets, re.MULTILINE)
    return int(found.group(1)) * os.sysconf("SC_PAGE_SIZE") if found else 0
