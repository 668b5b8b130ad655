"""`poll`: order books over REST, again and again, within what the exchange allows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import count
from random import Random

from rich.text import Text

from app.callbacks import Kind, Listener, Missed
from app.cli.following import Bounds, Counted, books_of, lines_of, unlisted
from app.cli.shown import BAD, QUIET, WARNING, notice
from app.cli.terminal import Terminal
from app.clock import SystemClock
from app.embed import Candlewire
from app.errors import SymbolsNotLoaded
from app.feed.poll_plan import PollPlan
from app.feed.poller import Poller
from app.market.events import DepthSnapshot

LOOK_S = 1.0
_SNAPSHOT = Kind("snapshot", "")
_INTERVAL = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)?")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, None: 1_000}


def interval_ms(text: str) -> int:
    """Return an interval such as `5`, `0.5s`, `500ms` or `1m` in ms; a bare number is seconds.

    Raises `ValueError`.
    """
    found = _INTERVAL.fullmatch(text.strip().lower())
    if found is None:
        message = f"expected seconds such as 5, or 500ms, got {text!r}"
        raise ValueError(message)
    return round(float(found[1]) * _UNITS_MS[found[2]])


def arithmetic(plan: PollPlan, symbols: Sequence[str]) -> str:
    """Return what a plan costs, as a person would work it out."""
    poll = plan.every
    return (
        f"{len(symbols)} symbol{'' if len(symbols) == 1 else 's'} x {poll.weight} weight "
        f"(limit {poll.limit}) x {float(poll.per_minute):g} a minute = {plan.weight(symbols):,} "
        f"of {plan.budget:,} that polls may use"
    )


async def poll(
    terminal: Terminal,
    symbols: Sequence[str],
    plan: PollPlan,
    bounds: Bounds,
    *,
    source: str | None = None,
) -> int:
    """Poll until it has been enough, or refuse what would cost too much."""
    if problem := plan.problem(symbols):
        terminal.tell(Text(f"candlewire: {problem}", BAD))
        return 2
    books = books_of(source)
    async with Candlewire(source=source, streams=("trade",), book_source=books) as hub:
        terminal.tell(notice(hub.source.name, simulated=hub.source.simulated))
        terminal.tell(Text(arithmetic(plan, symbols), QUIET))
        if unknown := unlisted(symbols, await _listed(terminal, hub), hub.source.name):
            for text in unknown:
                terminal.tell(text)
            return 2
        counted = Counted(terminal, hub, lines_of(hub), bounds, live=False)
        await _poll(
            terminal, hub, symbols=symbols, plan=plan, counted=counted, seconds=bounds.seconds
        )
    return 0


async def _listed(terminal: Terminal, hub: Candlewire) -> Sequence[str]:
    """Return the symbols that there are, however long it takes to learn them."""
    while True:
        try:
            return list(await hub.available(within_s=10.0))
        except SymbolsNotLoaded as error:
            terminal.tell(Text(f"waiting: {error}", WARNING))


async def _poll(
    terminal: Terminal,
    hub: Candlewire,
    *,
    symbols: Sequence[str],
    plan: PollPlan,
    counted: Counted,
    seconds: float | None,
) -> None:
    clock = SystemClock()
    listener = Listener(counted.take, _SNAPSHOT)
    numbers = count(1)

    def taken(snapshot: DepthSnapshot) -> None:
        listener.put(snapshot, next(numbers))

    def missed(one: Missed) -> None:
        terminal.tell(Text(f"too slow: {one.count} books are not shown", WARNING))

    poller = Poller(
        hub,
        plan=plan,
        symbols=lambda: symbols,
        taken=taken,
        clock=clock,
        random=Random(),  # noqa: S311 - spreads calls in time, guards nothing
    )
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(poller.run()),
            tasks.create_task(listener.run(clock, missed)),
            tasks.create_task(_say_what_fails(terminal, poller, symbols)),
        ]
        await hub.run(seconds)
        for task in running:
            task.cancel()


async def _say_what_fails(terminal: Terminal, poller: Poller, symbols: Sequence[str]) -> None:
    """Tell why a symbol cannot be polled, once for as long as it lasts."""
    told: dict[str, str] = {}
    while True:
        await asyncio.sleep(LOOK_S)
        for symbol in symbols:
            polled = poller.of(symbol)
            error = "" if polled is None else polled.error
            if error and error != told.get(symbol):
                terminal.tell(Text(f"{symbol}: {error}", WARNING))
            told[symbol] = error
