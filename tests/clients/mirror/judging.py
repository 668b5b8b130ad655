"""Compares what clients saw of the places with each other, and with the truth of the exchange."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from app.market.events import Kline, Trade
from app.simulator.exchange import Simulator
from tests.clients.mirror.visiting import Visit
from tests.clients.mirror.world import HISTORY_S, World

Row = Any
SHOWN = 3


class Bar(NamedTuple):
    """Prices and volume of a span of time."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal


def flat(price: Decimal) -> Bar:
    """Return a bar in which nothing was traded."""
    return Bar(price, price, price, price, Decimal(0), Decimal(0))


def bars_after_each(trades: Iterable[Trade]) -> list[Bar]:
    """Return what a bar is after each of its trades."""
    bars: list[Bar] = []
    for trade in trades:
        last = bars[-1] if bars else flat(trade.price)
        bars.append(
            Bar(
                last.open,
                max(last.high, trade.price),
                min(last.low, trade.price),
                trade.price,
                last.volume + trade.quantity,
                last.quote_volume + trade.price * trade.quantity,
            )
        )
    return bars


def without(payload: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a payload without some of its fields."""
    return {name: value for name, value in payload.items() if name not in names}


def assert_in_steps(numbers: Sequence[int], step: int = 1, *, least: int) -> None:
    """Check that each is a step more than the one before, and that there are enough."""
    assert len(numbers) >= least, f"only {len(numbers)}"
    wrong = [(before, after) for before, after in pairwise(numbers) if after != before + step]
    assert not wrong, wrong[:SHOWN]


def assert_the_same(
    visit: Visit, name: str, key: Callable[[Row], Hashable], shown: Callable[[Row], Row], least: int
) -> None:
    """Check that what two places said under a name is equal wherever both have a key.

    Of several with one key the last counts. `shown` leaves out what may differ. So many, at least,
    must have been compared.
    """
    first, *others = visit.world.places
    expected = {key(row): shown(row) for row in visit.of(first, name)}
    for other in others:
        found = {key(row): shown(row) for row in visit.of(other, name)}
        common = expected.keys() & found.keys()
        assert len(common) >= least, f"{name}: only {len(common)} at both"
        wrong = [(expected[each], found[each]) for each in common if expected[each] != found[each]]
        assert not wrong, wrong[:SHOWN]


class Truth:
    """What really happened at the exchange, while a world went on."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def trades(self, symbol: str, start_ms: int, end_ms: int) -> list[Trade]:
        """Return the trades of some milliseconds, in order."""
        return list(self._simulator.trades_between(symbol, start_ms * 1_000, end_ms * 1_000))

    def trades_by_id(self, symbol: str) -> dict[int, Trade]:
        """Return every trade that was published."""
        return {trade.id: trade for trade in self._simulator.truth().trades[symbol]}

    def seconds(self, symbol: str) -> dict[int, Kline]:
        """Return every kline of a second that was published, by its time in ms."""
        klines = self._simulator.truth().klines[symbol]
        return {kline.open_time_us // 1_000: kline for kline in klines}

    def growing(self, symbol: str, start_ms: int, length_ms: int) -> list[Bar]:
        """Return the bar of some time before its first trade and after each, in order.

        Before the first trade it stands where the minute before it ended, with no volume.
        """
        *_, before = self.trades(symbol, start_ms - 60_000, start_ms)
        inside = self.trades(symbol, start_ms, start_ms + length_ms)
        return [flat(before.price), *bars_after_each(inside)]

    def day(self, symbol: str, first_id: int, start_ms: int, end_ms: int) -> dict[int, Bar]:
        """Return the bar from a trade on after each trade, by that one's id.

        The first trade was matched after `start_ms`, so few before the second that this is cheap.
        """
        trades = self.trades(symbol, start_ms, end_ms)
        inside = [trade for trade in trades if trade.id >= first_id]
        assert inside[0].id == first_id
        bars = bars_after_each(inside)
        return {trade.id: bar for trade, bar in zip(inside, bars, strict=True)}

    def sides(
        self, symbol: str, update_id: int, levels: int
    ) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """Return the best bids and asks after an update, best first."""
        bids, asks = self._simulator.book_at(symbol, update_id, limit=levels)
        return (
            [(Decimal(price), Decimal(much)) for price, much in bids],
            [(Decimal(price), Decimal(much)) for price, much in asks],
        )


def bars_of_the_day(world: World, first_id: int) -> dict[int, Bar]:
    """Return what the last 24 hours of BTCUSDT are after each trade, by its id.

    The market is not older than an hour before the world; `first_id` is its first trade.
    """
    begun_ms = world.clock.begun_ms - (HISTORY_S + 60) * 1_000
    now_ms = world.clock.minute_ms + 60_000
    return Truth(world.simulator).day("BTCUSDT", first_id, begun_ms, now_ms)


class BookJudge:
    """Compares local books of a client with the true ones of their update ids.

    A client knows a book as far as its last snapshot went: it is compared there, the best `levels`
    of each side. `judged` counts the books, `levels_judged` their levels, `wrong` says what
    differed.
    """

    def __init__(
        self, truth: Truth, symbol: str, *, levels: int, number: Callable[[Decimal], Any] = float
    ) -> None:
        self.judged = self.levels_judged = 0
        self.wrong: list[str] = []
        self._truth = truth
        self._symbol = symbol
        self._levels = levels
        self._number = number

    def judge(
        self,
        update_id: int,
        bids: Iterable[Sequence[Any]],
        asks: Iterable[Sequence[Any]],
        known: tuple[Any, Any],
    ) -> None:
        """Judge one state, whose sides are known down to and up to two prices."""
        true_bids, true_asks = self._truth.sides(self._symbol, update_id, self._levels)
        low, high = known
        expected = (
            [level for level in map(self._as_told, true_bids) if level[0] >= low],
            [level for level in map(self._as_told, true_asks) if level[0] <= high],
        )
        found = (
            [tuple(level) for level in bids if level[0] >= low][: self._levels],
            [tuple(level) for level in asks if level[0] <= high][: self._levels],
        )
        self.judged += 1
        self.levels_judged += len(expected[0]) + len(expected[1])
        if found != expected:
            seen, true = {*found[0], *found[1]}, {*expected[0], *expected[1]}
            missing, extra = sorted(true - seen), sorted(seen - true)
            self.wrong.append(
                f"{self._symbol} {update_id} within {low} and {high}: {len(missing)} are missing, "
                f"{missing[:SHOWN]}; {len(extra)} are false, {extra[:SHOWN]}"
            )

    def _as_told(self, level: tuple[Decimal, Decimal]) -> tuple[Any, Any]:
        return self._number(level[0]), self._number(level[1])
