"""Where output goes: data to standard output, news to standard error, quietly to the end.

A reader that is slow, or a terminal that is held, does not hold up what reads the market: writing
happens in a thread. A reader that has gone, as `head` does, ends a command as Ctrl-C does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from app.main import STOP_SIGNALS, run_to_end
from app.settings import color_wanted


class Terminal:
    """The two consoles of a command; `json` says that programs read the first.

    `gone` is set once nobody reads it any more; `stuck` is true while something is being written.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.out = _console(stderr=False)
        self.news = _console(stderr=True)
        self.json = json
        self.gone = asyncio.Event()
        self.stuck = False
        self._writing = asyncio.Lock()

    @property
    def interactive(self) -> bool:
        """Whether a person looks at the output, on a terminal that can be drawn on."""
        return self.out.is_terminal and not self.out.is_dumb_terminal and not self.json

    async def write(self, line: str | Text) -> None:
        """Write one line of data, unless nobody reads any more."""
        async with self._writing:
            if not self.gone.is_set():
                try:
                    await asyncio.to_thread(self._write, line)
                except (BrokenPipeError, ConnectionResetError):
                    self.gone.set()

    def _write(self, line: str | Text) -> None:
        """Write one line, in a thread that nobody can cancel."""
        self.stuck = True
        if isinstance(line, Text):
            self.out.print(line, soft_wrap=True)
        else:
            self.out.file.write(f"{line}\n")
        self.out.file.flush()
        self.stuck = False

    def tell(self, what: RenderableType) -> None:
        """Tell the person something that is no data."""
        self.news.print(what, soft_wrap=True)


def _console(*, stderr: bool) -> Console:
    return Console(
        stderr=stderr, no_color=not color_wanted(), highlight=False, emoji=False, markup=False
    )


def run(work: Callable[[Terminal], Coroutine[Any, Any, int]], *, json: bool = False) -> None:
    """Run `work` until it returns its exit status, or Ctrl-C or SIGTERM ends it with status 0."""
    try:
        status = run_to_end(_until_stopped(work, json=json))
    except KeyboardInterrupt:  # before the loop could listen for it
        status = 0
    raise typer.Exit(status)


async def _until_stopped(
    work: Callable[[Terminal], Coroutine[Any, Any, int]], *, json: bool
) -> int:
    terminal = Terminal(json=json)
    working = asyncio.current_task()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped and working is not None:
            stopped = True
            working.cancel()

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop)
    status = 0
    try:
        status = await work(terminal)
    except asyncio.CancelledError:
        if not stopped:
            raise
    if terminal.stuck:
        os._exit(status)  # nobody reads: neither would what is flushed at the end be
    if terminal.gone.is_set():
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
