"""The loop whose clock leaps."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.simulated.loop import Deadlock, TookTooLong, run_simulated


def test_waiting_takes_no_real_time():
    """Hours pass between two lines, and timers come in the order of their times."""
    woken: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(seconds)
        woken.append((name, asyncio.get_running_loop().time() - begun))

    async def main() -> str:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait("late", 100_000.0))
            tasks.create_task(wait("early", 3.5))
        return "done"

    begun = time.monotonic()
    assert run_simulated(main, seconds=200_000.0) == "done"
    assert time.monotonic() - begun < 10
    assert [name for name, _ in woken] == ["early", "late"]
    assert [took for _, took in woken] == pytest.approx([3.5, 100_000.0])


def test_time_stands_still_while_something_is_ready():
    """However many turns the loop makes."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        loop.call_later(1.0, lambda: None)
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.time() - begun

    assert run_simulated(main) == 0.0


def test_work_for_threads_is_done_in_place():
    """Its result and its error come back as from a thread, and no time passes meanwhile."""

    def fail() -> None:
        raise KeyError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert await asyncio.to_thread(threading.get_ident) == threading.get_ident()
        assert await loop.run_in_executor(None, int, "7") == 7
        with pytest.raises(KeyError):
            await asyncio.to_thread(fail)
        assert loop.time() == begun

    run_simulated(main)


def test_a_deadlock_raises_and_says_who_waits_where():
    """Instead of hanging."""

    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match=r"Event\.wait"):
        run_simulated(wait_for_nobody)


def test_both_limits_end_it():
    """Too many simulated seconds, and too many real ones in a loop that does not rest."""

    async def sleep_on() -> None:
        await asyncio.sleep(1_000)

    async def never_rest() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(TookTooLong, match="over the limit"):
        run_simulated(sleep_on, seconds=999)
    with pytest.raises(TookTooLong, match="never_rest"):
        run_simulated(never_rest, real_seconds=0.05)


def test_what_is_cancelled_by_a_limit_may_still_clean_up():
    """Waiting included."""
    cleaned: list[bool] = []

    async def main() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(50)
            cleaned.append(True)

    with pytest.raises(TookTooLong):
        run_simulated(main, seconds=10)
    assert cleaned == [True]


def test_an_error_in_a_callback_fails_the_run():
    """It would be logged otherwise, and passed over."""

    def fail() -> None:
        raise IndexError

    async def main() -> None:
        asyncio.get_running_loop().call_later(1.0, fail)
        await asyncio.sleep(2.0)

    with pytest.raises(IndexError):
        run_simulated(main)


def test_nothing_is_dialled_by_itself():
    """A loop that is joined to no network has no way out."""

    async def main() -> None:
        with pytest.raises(OSError, match="nothing is joined"):
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", 80)

    run_simulated(main)
