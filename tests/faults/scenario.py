"""What every case of a fault needs: its seed, a hub in simulated time, and what it told of it.

`SEED` in the environment chooses another seed; the one that a case ran with is in what it prints.
"""

from __future__ import annotations

import logging
import math
import os
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from typing_extensions import override

from app.market.ages import BOUNDS_US
from app.market.events import SECOND_US, Kline, Publication, StatusEvent
from app.ports import KLINES
from app.simulator.config import SimulatorConfig
from app.simulator.listing import LISTINGS, Listing
from tests.simulated.judge import SimulatedHub, simulated_hub
from tests.simulated.loop import run_simulated

SEED = int(os.environ.get("SEED", "11"))

LOOK_BACK_US = 600 * SECOND_US  # for the trade before the first one
OLD_US = 60_000  # no event is as old without a fault

# What the exchange allows; the simulator itself counts, see its `conduct`.
WEIGHT_LIMIT, DIAL_LIMIT, MESSAGE_LIMIT = 6_000, 300, 5


def seeds(count: int) -> list[int]:
    """Return so many different seeds."""
    return [SEED + number for number in range(count)]


def from_seeds(count: int, *, minutes: float) -> pytest.MarkDecorator:
    """Run a test from the one `seed`; in its long form from so many more, each so long at most."""
    long = pytest.mark.soak(minutes=minutes)
    first, *more = seeds(count + 1)
    return pytest.mark.parametrize(
        "seed", [first, *(pytest.param(seed, marks=long) for seed in more)]
    )


@contextmanager
def seeded(seed: int = SEED) -> Iterator[Random]:
    """Say what a case is repeated with, and again in the error that ends it; yield its chance."""
    report(f"SEED={seed}")
    try:
        yield Random(seed)
    except BaseException as error:
        error.add_note(f"SEED={seed}")
        raise


def play(
    symbols: Sequence[str],
    data_dir: Path,
    main: Callable[[SimulatedHub], Awaitable[None]],
    *,
    seed: int = SEED,
    listings: tuple[Listing, ...] = LISTINGS,
    history_s: int = 3_600,
    live: bool = True,
    seconds: float = 20_000.0,
    real_seconds: float = 50.0,
    **options: Any,
) -> None:
    """Run `main` with a hub that follows `symbols`, live for ten seconds unless not `live`.

    `seconds` and `real_seconds` are the most that it may take, by simulated and by real time.
    """
    config = SimulatorConfig(seed=seed, history_s=history_s, listings=listings)

    async def run() -> None:
        async with simulated_hub(symbols, data_dir, config=config, **options) as hub:
            if live:
                await hub.until_live()
                await hub.pass_time(10)
            await main(hub)

    with seeded(seed):
        run_simulated(run, seconds=seconds, real_seconds=real_seconds)


def check_flawless(hub: SimulatedHub, symbols: Sequence[str], **bounds: Any) -> int:
    """Assert that every second of the symbols is complete and right; return how many there are."""
    verdicts = {symbol: hub.judge(symbol, **bounds) for symbol in symbols}
    flawed = [f"{symbol}: {said}" for symbol, said in verdicts.items() if not said.flawless]
    assert not flawed, "\n".join(flawed)
    return sum(verdict.seconds for verdict in verdicts.values())


def check_conduct(hub: SimulatedHub) -> dict[str, int]:
    """Assert that the hub kept to every limit, by the exchange's own count; return that."""
    conduct: dict[str, int] = hub.exchange.status()["conduct"]
    assert conduct["weight_1m"] <= WEIGHT_LIMIT
    assert conduct["dials_5m"] <= DIAL_LIMIT
    assert conduct["messages_1s"] <= MESSAGE_LIMIT
    assert (conduct["early_calls"], conduct["early_dials"]) == (0, 0)
    return conduct


class Notices:
    """What a hub tells of itself since a moment: its numbers, its status events, its log.

    Its numbers are those of `/status`, which `/metrics` has all of: of a symbol by the name of its
    field, summed over the symbols, and of the rest by its path, like `exchange.refusals`. What the
    exchange's candles have told it is noted too: what the exchange says may never reach it.
    """

    def __init__(self, hub: SimulatedHub) -> None:
        self.records: list[logging.LogRecord] = []
        self._hub = hub
        self._before = numbers_of(hub)
        self._events_before = len(hub.client.events)
        self._since_us = hub.exchange.exchange_us()
        self._klines: list[Kline] = []
        hub.core.bus.subscribe(KLINES, self._note_kline)

    def begin_life(self) -> None:
        """Forget all: a new life of the hub begins, whose numbers begin at none."""
        self.records.clear()
        self._before.clear()
        self._events_before = len(self._hub.client.events)
        self._since_us = self._hub.exchange.exchange_us()
        self._klines.clear()
        self._hub.core.bus.subscribe(KLINES, self._note_kline)

    def changed(self, number: str) -> bool:
        """Whether a number is another one now."""
        return numbers_of(self._hub).get(number, 0) != self._before.get(number, 0)

    def told(self, what: type[StatusEvent] | str) -> bool:
        """Whether an event of a kind came or, of what has no event, a record with such a text."""
        if isinstance(what, str):
            return any(what in record.getMessage() for record in self.records)
        events = self._hub.client.events[self._events_before :]
        return any(isinstance(each.event, what) for each in events)

    def wrong_klines(self) -> int:
        """Return how many seconds it was told by the exchange with a volume that is not theirs."""
        truth = {
            symbol: self._hub.newest(symbol) for symbol in {each.symbol for each in self._klines}
        }
        return sum(
            candle is not None and candle.volume != kline.volume
            for kline in self._klines
            for candle in [truth[kline.symbol].get(kline.open_time_us)]
        )

    def jumps(self) -> int:
        """Return how often a trade has not had the id that follows that of the one before."""
        exchange = self._hub.exchange
        from_us, now_us = self._since_us - LOOK_BACK_US, exchange.exchange_us()
        return sum(
            after.id != before.id + 1 and after.time_us >= self._since_us
            for symbol in self._hub.core.manager.active()
            for before, after in pairwise(exchange.trades_between(symbol, from_us, now_us))
        )

    def check(self, number: str, what: type[StatusEvent] | str) -> None:
        """Assert that a number has changed, and that an event came, or a record with a text."""
        assert self.changed(number), f"{number} is the same still"
        assert self.told(what), f"nothing told of {what}"

    def _note_kline(self, publication: Publication) -> None:
        kline = publication.event
        if isinstance(kline, Kline) and kline.closed:
            self._klines.append(kline)


@contextmanager
def noticing(hub: SimulatedHub) -> Iterator[Notices]:
    """Keep what a hub tells from now on."""
    notices = Notices(hub)
    log = logging.getLogger("app")
    handler = _Keeping(notices.records)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield notices
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


class _Keeping(logging.Handler):
    """Keeps every record."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


def numbers_of(hub: SimulatedHub) -> dict[str, float]:
    """Return every number that a hub reports, by its name; `old_events` by the ages of all."""
    numbers: dict[str, float] = {}
    for status in hub.core.manager.statuses():
        for name, value in msgspec.structs.asdict(status).items():
            if isinstance(value, int | float):
                numbers[name] = numbers.get(name, 0) + value
        old = sum(status.event_ages[bisect_right(BOUNDS_US, OLD_US) :])
        numbers["old_events"] = numbers.get("old_events", 0) + old
    numbers.update(_flat(hub.core.inbound.report(), ""))
    return numbers


def _flat(report: Mapping[str, object], path: str) -> Iterator[tuple[str, float]]:
    for name, value in report.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        elif isinstance(value, int | float):
            yield f"{path}{name}", value


def second_of(hub: SimulatedHub) -> int:
    """Return the second that it is at the exchange."""
    return hub.exchange.exchange_us() // SECOND_US * SECOND_US


def report(text: str) -> None:
    """Say what was measured: pytest shows it with `-s`, and when the case fails."""
    print(text)  # noqa: T201 - see above


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share of all does not exceed."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


def spread(values: Sequence[float]) -> str:
    """Return the median, the 95th percentile and the largest, in words."""
    p50, p95, most = (percentile(values, share) for share in (0.5, 0.95, 1.0))
    return f"p50 {p50:.2f} s, p95 {p95:.2f} s, max {most:.2f} s, of {len(values)}"
