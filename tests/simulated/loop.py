"""A loop in simulated time: when nothing is ready, its clock jumps to the next timer.

So hours take seconds, every run is the same, and no test sleeps. There are no sockets in it: what
dials is joined in memory by whatever is set as `dial` (see `tests.simulated.network`). Work that
is given to threads is done at once, in place: time cannot leap while it is under way.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from typing_extensions import override

T = TypeVar("T")

Dial = Callable[
    [Callable[[], asyncio.BaseProtocol], str, int],
    Awaitable[tuple[asyncio.Transport, asyncio.BaseProtocol]],
]

# Any number will do, but 0: a monotonic clock says nothing by where it begins.
BEGINS_S = 1_000.0
CLEANING_REAL_S = 10.0


class Deadlock(Exception):
    """Nothing is ready and no timer is set: everybody waits for somebody else."""


class TookTooLong(Exception):
    """A simulation went on past its limit of simulated or of real seconds."""


def run_simulated(
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    seconds: float = 7_200.0,
    real_seconds: float = 50.0,
) -> T:
    """Run `main` on a loop of its own and return what it returns.

    Raises `Deadlock`, `TookTooLong`, and the first error that nobody else would see: of a callback,
    or of a task that was forgotten.
    """
    loops: list[SimulatedLoop] = []

    def make_loop() -> SimulatedLoop:
        loops.append(SimulatedLoop(seconds=seconds, real_seconds=real_seconds))
        return loops[-1]

    with asyncio.Runner(loop_factory=make_loop) as runner:
        result = runner.run(main())
        loops[0].raise_failure()
    loops[0].raise_failure()
    return result


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The loop of one simulation, with its limits in simulated and in real seconds."""

    def __init__(self, *, seconds: float, real_seconds: float) -> None:
        self._now = BEGINS_S
        self._ends = BEGINS_S + seconds
        self._really_ends = time.monotonic() + real_seconds
        self._failure: BaseException | None = None
        self.dial: Dial | None = None
        super().__init__(_Leaper(self._turn))
        self.set_default_executor(InlineExecutor())
        self.set_exception_handler(lambda _, context: self._failed(context))

    @override
    def time(self) -> float:
        """Return simulated seconds."""
        return self._now

    @override
    async def create_connection(self, protocol_factory, host=None, port=None, **options):
        """Join a new connection in memory; raise `OSError` when it cannot be."""
        if self.dial is None:
            message = f"nothing is joined to this loop, so {host}:{port} cannot be reached"
            raise OSError(message)
        return await self.dial(protocol_factory, host, port)

    @override
    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing runs in threads, so there is nothing to wait for."""

    def raise_failure(self) -> None:
        """Raise what went wrong where nobody would see it, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _turn(self, timeout: float | None) -> None:
        """Go on to the next timer, `timeout` seconds ahead; 0 when something is ready."""
        self.raise_failure()
        if time.monotonic() > self._really_ends:
            self._allow_cleaning()
            message = f"after {self._now - BEGINS_S:.1f} simulated seconds: {self._waiting()}"
            raise TookTooLong(message)
        if timeout is None:
            raise Deadlock(self._waiting())
        self._now += timeout
        if self._now > self._ends:
            self._allow_cleaning()
            message = f"over the limit of {self._ends - BEGINS_S:g} simulated seconds"
            raise TookTooLong(message)

    def _waiting(self) -> str:
        """Say of every task where it is."""
        return "; ".join(sorted(_where(task) for task in asyncio.all_tasks(self)))

    def _allow_cleaning(self) -> None:
        """Let what is cancelled now end in order, but not for ever."""
        self._ends = float("inf")
        self._really_ends = time.monotonic() + CLEANING_REAL_S

    def _failed(self, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        self._failure = self._failure or error


class _Leaper(selectors.SelectSelector):
    """A selector that waits for nothing: it tells how long it was to wait."""

    def __init__(self, turn: Callable[[float | None], None]) -> None:
        super().__init__()
        self._turn = turn

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what the loop has sent itself; else let time leap."""
        if timeout == 0:
            self._turn(0.0)
            return []
        found = super().select(0)
        if not found:
            self._turn(timeout)
        return found


class InlineExecutor(ThreadPoolExecutor):
    """Does what it is given at once, in the caller's thread."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)

    @override
    def submit(self, fn, /, *args, **kwargs):
        """Call `fn` and return a future that is done."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future carries whatever it is
            done.set_exception(error)
        return done


def _where(task: asyncio.Task[Any]) -> str:
    """Say what a task does, and the innermost place that it has come to."""
    outer: Any = task.get_coro()
    inner = outer
    while getattr(getattr(inner, "cr_await", None), "cr_frame", None) is not None:
        inner = inner.cr_await
    line = inner.cr_frame.f_lineno if inner.cr_frame is not None else 0
    return f"{task.get_name()} ({outer.__qualname__}) in {inner.__qualname__}, line {line}"
