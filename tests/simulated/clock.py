"""A clock of one machine in simulated time: it can be stepped, drift, and stand still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from typing_extensions import override

# Timers come so much late, so that none is early by the last digit of a sum: who finds that it is
# not quite time yet would wait again, and time would not go on meanwhile, as it does elsewhere.
LATE_S = 1e-7


class SimulatedClock:
    """Implements `app.ports.Clock` on the running loop, whose own time is the true one.

    Two machines have two of them. As on Linux, `drift` makes both the wall and the monotonic clock
    run faster or slower, `step_wall` moves the wall alone, and while the machine is suspended its
    monotonic clock stands still, so that whoever sleeps on it sleeps longer.
    """

    def __init__(self, now_us: int) -> None:
        self._loop = asyncio.get_running_loop()
        # Since the true time `_since` the monotonic clock has gone on from `_seconds` at `_rate`.
        # It is in the future while the machine is suspended.
        self._since = self._loop.time()
        self._seconds = 0.0
        self._rate = 1.0
        # The wall clock alike, but it goes on during a suspension.
        self._wall_since = self._since
        self._wall_us = float(now_us)
        self._waits: dict[Callable[[], None], None] = {}  # each sets its timer anew

    def now_us(self) -> int:
        """Return the wall clock."""
        return round(self._wall_us + (self._loop.time() - self._wall_since) * self._rate * 1e6)

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        return self._seconds + max(0.0, self._loop.time() - self._since) * self._rate

    async def sleep(self, seconds: float) -> None:
        """Wait until the monotonic clock has gone on so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        async with _Wait(self, self.monotonic() + seconds) as woken:
            await woken

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a context that times out once the monotonic clock has gone on so far."""
        return _Timeout(self, self.monotonic() + seconds)

    @property
    def awake_from(self) -> float:
        """The loop's time from which the machine is awake: to come while it is suspended."""
        return self._since

    def true_time(self, seconds: float) -> float:
        """Return the loop's time at which the monotonic clock will have reached `seconds`."""
        return self._since + (seconds - self._seconds) / self._rate + LATE_S

    # What happens to it

    def step_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator does."""
        self._wall_us += seconds * 1e6

    def drift(self, ppm: float) -> None:
        """Run so many millionths faster than the loop's time from now on; below 0 slower."""
        self._settle()
        self._rate = 1.0 + ppm / 1e6
        self._set_waits_anew()

    def suspend(self, seconds: float) -> None:
        """Suspend the machine for so many seconds of the loop from now on.

        What it waits for comes later. What is on its way to it is held up by the network, which
        looks at `awake_from`; what is ready on the loop already still runs.
        """
        self._settle()
        self._since += seconds
        self._set_waits_anew()

    def _settle(self) -> None:
        """Let both clocks go on from this moment instead of an earlier one."""
        now = self._loop.time()
        self._wall_us += (now - self._wall_since) * self._rate * 1e6
        self._wall_since = now
        self._seconds, self._since = self.monotonic(), max(self._since, now)

    def _set_waits_anew(self) -> None:
        for set_anew in tuple(self._waits):
            set_anew()

    def keep(self, set_anew: Callable[[], None]) -> None:
        """Set the timer of a wait, now and whenever the clock is changed."""
        self._waits[set_anew] = None
        set_anew()

    def forget(self, set_anew: Callable[[], None]) -> None:
        """Leave it alone from now on."""
        self._waits.pop(set_anew, None)


class _Wait:
    """A future that is done when the clock says `due`."""

    def __init__(self, clock: SimulatedClock, due: float) -> None:
        self._clock = clock
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    def _set(self) -> None:
        self._stop()
        self._timer = self._loop.call_at(self._clock.true_time(self._due), self._wake)

    def _wake(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def __aenter__(self) -> asyncio.Future[None]:
        self._clock.keep(self._set)
        return self._woken

    async def __aexit__(self, *_: object) -> None:
        self._clock.forget(self._set)
        self._stop()


class _Timeout(AbstractAsyncContextManager[object]):
    """`asyncio.timeout` by a clock of its own."""

    def __init__(self, clock: SimulatedClock, due: float) -> None:
        self._clock = clock
        self._due = due
        self._timeout = asyncio.timeout(None)

    def _set(self) -> None:
        if not self._timeout.expired():
            self._timeout.reschedule(self._clock.true_time(self._due))

    @override
    async def __aenter__(self) -> object:
        await self._timeout.__aenter__()
        self._clock.keep(self._set)
        return self._timeout

    @override
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._clock.forget(self._set)
        await self._timeout.__aexit__(kind, error, traceback)
