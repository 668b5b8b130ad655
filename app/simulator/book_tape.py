"""One symbol's seeded book: every change that it ever sees, computed for any second on its own.

A second begins with what `Resting` says and ends with what it says of the next one. In between a
`Matching` engine works through orders: limit orders that move the best prices to where the tape's
trades need them, the orders that make exactly those trades, and what leads to the next second. So
trades, differences, best prices and snapshots are of one book, in one space of update ids.

The ids of a second begin at a formula's value, so they jump from second to second; an event of
differences bridges that, for it begins with the id after the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from app.market.events import DepthSnapshot, DepthUpdate, Level, PartialDepth
from app.simulator.chance import Draws, key_of, scramble
from app.simulator.matching import Change, Matching, Top
from app.simulator.resting import CERTAIN_EVERY, Resting, View
from app.simulator.tape import ORIGIN_S, Print, Tape

MS = 1_000
UPDATES_PER_SECOND = 4_096
FIRST_UPDATE_ID = 1_000_000_000

# REST answers out of a copy of the book that is made anew so often.
MEMORY_MS = 270

Sides = tuple[tuple[Level, ...], tuple[Level, ...]]


class Taker(NamedTuple):
    """An order that trades at once: how much at each price, best first."""

    time_ms: int
    sells: bool
    fills: tuple[tuple[int, int], ...]


class Moment(NamedTuple):
    """When the best bid and ask have to be somewhere, and who trades then."""

    time_ms: int
    bid: int
    taker: Taker | None


class Second(NamedTuple):
    """What happens to the book within a second, in the order of update ids."""

    changes: tuple[Change, ...]
    tops: tuple[Top, ...]


class BookTape:
    """Everything that happens to one symbol's book. A second costs about a millisecond."""

    def __init__(self, tape: Tape, *, seed: int) -> None:
        listing = tape.listing
        self.symbol = listing.symbol
        self.trades = bool(listing.per_minute)
        self._tape = tape
        self._resting = Resting(listing, seed=seed)
        self._key = key_of(seed, listing.symbol, "orders")
        self._usual = listing.order * 10 ** (listing.price_digits + listing.quantity_digits)
        self._price = _text_of(listing.price_digits)
        self._quantity = _text_of(listing.quantity_digits)
        self._quiet = max(0, 19 - listing.per_minute.bit_length())
        self._phase = {100: scramble(self._key) % 100, 1_000: scramble(self._key ^ 1) % 1_000}
        self.second = lru_cache(maxsize=16)(self._second)
        self._asked: tuple[tuple[int, int], _Ladder | None] = ((0, 0), None)

    # Changes

    def view(self, second: int) -> View:
        """Return the book at the start of a second, to be asked for its quantities."""
        bid = self._tape.bid_at(second, 0)
        return self._resting.view(second, bid, bid + self._tape.spread)

    def changes(self, second: int) -> tuple[Change, ...]:
        """Return each change of the book within a second."""
        return self.second(second).changes

    def last_id(self, second: int) -> int:
        """Return the id of the last update before a second."""
        earliest = max(ORIGIN_S, second - 4 * CERTAIN_EVERY)
        for earlier in range(second - 1, earliest - 1, -1):
            if changes := self.changes(earlier):
                return changes[-1].update_id
        return _first_id(earliest)

    def _second(self, second: int) -> Second:
        if not self.trades or second < ORIGIN_S:
            return Second((), ())
        before, after = self.view(second), self.view(second + 1)
        draws = Draws(self._key ^ scramble(second))
        moments = list(self._moments(second, draws))
        prices = [before.bid, before.ask, after.bid, after.ask]
        for moment in moments:
            prices += (moment.bid, moment.bid + self._tape.spread)
            if moment.taker is not None:
                prices += (price for price, _ in moment.taker.fills)
        low, high = min(prices), max(prices)
        far = sorted(
            (_when(second, moments, draws), *change)
            for change in self._resting.changed(before, after)
            if not low <= change[1] <= high
        )
        goal = self._resting.between(after, low, high)
        engine = Matching(
            *self._resting.between(before, low, high), update_id=_first_id(second) - 1
        )
        noted = 0
        for moment in moments:
            noted = _note(engine, far, noted, moment.time_ms)
            engine.now_ms = moment.time_ms
            self._reach(engine, moment, goal, draws)
        self._conclude(engine, far[noted:], after, goal, draws)
        return Second(tuple(engine.changes), tuple(engine.tops))

    def _moments(self, second: int, draws: Draws) -> Iterator[Moment]:
        """Yield when the best prices have to be where the tape has them, in order."""
        begin_ms = second * MS
        moments = [
            Moment(taker.time_ms, top - (0 if taker.sells else self._tape.spread), taker)
            for taker in takers(self._tape.prints(second))
            for top in (taker.fills[0][0],)
        ]
        if draws.below(1 + self._quiet) == 0:
            for _ in range(1 + draws.below(3)):
                millisecond = draws.below(MS)
                bid = self._tape.bid_at(second, millisecond)
                moments.append(Moment(begin_ms + millisecond, bid, None))
        moments.sort(key=lambda moment: moment.time_ms)
        yield from moments

    def _reach(
        self,
        engine: Matching,
        moment: Moment,
        goal: tuple[dict[int, int], dict[int, int]],
        draws: Draws,
    ) -> None:
        """Move the best prices, let orders follow behind them, and let who trades then trade."""
        ask = moment.bid + self._tape.spread
        engine.move(
            moment.bid, ask, bid_steps=self._size(ask, draws), ask_steps=self._size(ask, draws)
        )
        for bids, wanted in zip((True, False), goal, strict=True):
            for ticks, steps in wanted.items():
                if ticks < moment.bid if bids else ticks > ask:
                    engine.put(bids=bids, ticks=ticks, steps=steps)
        if moment.taker is None:
            bids = draws.below(2) == 0
            ticks = moment.bid if bids else ask
            engine.put(bids=bids, ticks=ticks, steps=self._size(ask, draws))
        else:
            self._trade(engine, moment.taker, draws)

    def _trade(self, engine: Matching, taker: Taker, draws: Draws) -> None:
        """Let an order trade as the tape says: what it takes rests there, and nothing between."""
        sells, fills = taker.sells, taker.fills
        last, last_steps = fills[-1]
        if engine.resting(bids=sells).get(last, 0) <= last_steps:
            engine.put(bids=sells, ticks=last, steps=last_steps + self._size(last, draws))
        for (price, steps), (following, _) in pairwise(fills):
            engine.make_way(sells=sells, first=price, last=following, first_steps=steps)
        engine.take(sells=sells, ticks=last, steps=sum(steps for _, steps in fills))

    def _conclude(
        self,
        engine: Matching,
        far: Sequence[tuple[int, bool, int, int]],
        after: View,
        goal: tuple[dict[int, int], dict[int, int]],
        draws: Draws,
    ) -> None:
        """Let the book become that of the next second, bit by bit."""
        end_ms = after.second * MS - 1
        if engine.now_ms == 0:
            engine.now_ms = end_ms + 1 - MS
        start_ms = engine.now_ms + draws.below(end_ms + 1 - engine.now_ms)
        noted = _note(engine, far, 0, start_ms)
        engine.now_ms = start_ms
        engine.move(
            after.bid,
            after.ask,
            bid_steps=goal[0][after.bid],
            ask_steps=goal[1][after.ask],
        )
        todo = [
            (bids, ticks, wanted.get(ticks, 0))
            for bids, wanted in zip((True, False), goal, strict=True)
            for ticks in sorted({*wanted, *engine.resting(bids=bids)}, reverse=not bids)
            if engine.resting(bids=bids).get(ticks, 0) != wanted.get(ticks, 0)
        ]
        for place, (bids, ticks, steps) in enumerate(todo, 1):
            time_ms = start_ms + (end_ms - start_ms) * place // len(todo)
            noted = _note(engine, far, noted, time_ms)
            engine.now_ms = time_ms
            engine.put(bids=bids, ticks=ticks, steps=steps)
        _note(engine, far, noted, end_ms)

    def _size(self, ticks: int, draws: Draws) -> int:
        """Return how much somebody offers: a few usual orders."""
        return int(self._usual * (0.5 + 6 * draws.fraction()) / ticks) or 1

    # What is sent of it

    def tops(self, second: int) -> tuple[Top, ...]:
        """Return the best prices whenever they or their quantities change."""
        return self.second(second).tops

    def diffs(self, second: int, every_ms: int) -> Iterator[DepthUpdate]:
        """Yield the differences whose stretch of `every_ms` ends in this second; no empty ones.

        An event's time is its stretch's end, or some milliseconds later.
        """
        changes = (*self.changes(second - 1), *self.changes(second))
        first_ms = second * MS + self._phase[every_ms]
        begin = sum(change.time_ms < first_ms - every_ms for change in changes)
        last_id = 0
        for end_ms in range(first_ms, (second + 1) * MS, every_ms):
            end = begin
            while end < len(changes) and changes[end].time_ms < end_ms:
                end += 1
            if end > begin:
                if not last_id:
                    last_id = changes[begin - 1].update_id if begin else self.last_id(second - 1)
                yield self._diff(changes[begin:end], last_id + 1, self._event_ms(end_ms))
                last_id = changes[end - 1].update_id
            begin = end

    def partials(self, second: int, levels: int, every_ms: int) -> Iterator[PartialDepth]:
        """Yield the best `levels`, as often as is due, also when nothing changed.

        The time of each is in `received_us`.
        """
        ladder = _Ladder(self, second, levels)
        last_id = 0
        for end_ms in range(second * MS + self._phase[every_ms], (second + 1) * MS, every_ms):
            last_id = ladder.advance(time_ms=end_ms - 1) or last_id or self.last_id(second)
            bids, asks = ladder.texts(levels)
            made_us = self._event_ms(end_ms) * MS
            yield PartialDepth(self.symbol, last_id, bids, asks, levels, None, made_us)

    def snapshot(self, now_ms: int, limit: int) -> DepthSnapshot:
        """Return what REST answers: the book as it was up to `MEMORY_MS` ago."""
        time_ms = now_ms - (now_ms - self._key) % MEMORY_MS
        second = time_ms // MS
        if not self.trades:
            return DepthSnapshot(self.symbol, FIRST_UPDATE_ID, (), (), limit, None, now_ms * MS)
        ladder = _Ladder(self, second, limit)
        last_id = ladder.advance(time_ms=time_ms) or self.last_id(second)
        bids, asks = (self.levels(side) for side in ladder.best(limit))
        return DepthSnapshot(self.symbol, last_id, bids, asks, limit, None, now_ms * MS)

    def book_at(self, update_id: int, limit: int) -> Sides:
        """Return the best `limit` bids and asks that there were after an update, best first.

        Asked in the order of the updates it is quickest: a second's book is not built anew.
        """
        if not self.trades:
            return (), ()
        second = ORIGIN_S + (update_id - FIRST_UPDATE_ID) // UPDATES_PER_SECOND
        asked, ladder = self._asked
        if ladder is None or asked != (second, limit) or ladder.last_id > update_id:
            ladder = _Ladder(self, second, limit)
            self._asked = ((second, limit), ladder)
        ladder.advance(update_id=update_id)
        return ladder.texts(limit)

    def _event_ms(self, end_ms: int) -> int:
        return end_ms + scramble(self._key ^ end_ms) % 6

    def _diff(self, changes: Sequence[Change], first_id: int, event_ms: int) -> DepthUpdate:
        bids = {change.ticks: change.steps for change in changes if change.bids}
        asks = {change.ticks: change.steps for change in changes if not change.bids}
        return DepthUpdate(
            self.symbol,
            first_id,
            changes[-1].update_id,
            self.levels(sorted(bids.items(), reverse=True)),
            self.levels(sorted(asks.items())),
            event_ms * MS,
            event_ms * MS,
        )

    def level(self, ticks: int, steps: int) -> Level:
        """Return a level as the exchange writes it."""
        return self._price(ticks), self._quantity(steps)

    def levels(self, levels: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
        """Return levels as the exchange writes them."""
        price, quantity = self._price, self._quantity
        return tuple([(price(ticks), quantity(steps)) for ticks, steps in levels])

    def rests(self, second: int, count: int) -> tuple[dict[int, int], dict[int, int]]:
        """Return the best bids and asks at the start of a second; `count` a side, if there are."""
        view = self.view(second)
        return (
            dict(self._resting.side(view, bids=True, count=count)),
            dict(self._resting.side(view, bids=False, count=count)),
        )


class _Ladder:
    """The best levels of a book in the course of one second."""

    def __init__(self, book: BookTape, second: int, count: int) -> None:
        self._book = book
        self._changes = book.changes(second)
        self._at = 0
        # So many more that those wanted are still known when all that are to go are gone.
        gone = sum(not change.steps for change in self._changes)
        self._bids, self._asks = book.rests(second, count + gone)
        self._lowest = min(self._bids) if len(self._bids) == count + gone else 0
        self._highest = max(self._asks)
        self._texts: Sides | None = None
        self._written: dict[tuple[int, int], Level] = {}

    @property
    def last_id(self) -> int:
        """The id of the last update that is made; 0 before the first."""
        return self._changes[self._at - 1].update_id if self._at else 0

    def advance(self, *, time_ms: int | None = None, update_id: int | None = None) -> int:
        """Make what happened up to a moment or an id; return the last id, 0 before the first."""
        changes = self._changes
        while self._at < len(changes):
            change = changes[self._at]
            if time_ms is not None and change.time_ms > time_ms:
                break
            if update_id is not None and change.update_id > update_id:
                break
            self._at += 1
            self._texts = None
            side = self._bids if change.bids else self._asks
            if not change.steps:
                side.pop(change.ticks, None)
            elif change.ticks >= self._lowest if change.bids else change.ticks <= self._highest:
                side[change.ticks] = change.steps
        return self.last_id

    def texts(self, count: int) -> Sides:
        """Return the best bids and asks; the same `count` each time."""
        if self._texts is None:
            bids, asks = self.best(count)
            self._texts = (self._write(bids), self._write(asks))
        return self._texts

    def best(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the best bids and asks, in ticks and steps."""
        return (
            sorted(self._bids.items(), reverse=True)[:count],
            sorted(self._asks.items())[:count],
        )

    def _write(self, levels: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
        """Return levels as text; what was written before is not written again."""
        written = self._written
        for level in levels:
            if level not in written:
                written[level] = self._book.level(*level)
        return tuple([written[level] for level in levels])


def takers(prints: Sequence[Print]) -> Iterator[Taker]:
    """Yield the orders that made these trades.

    An order goes on from price to price, away from where it began; at the same moment another one
    begins where the book's best price is again.
    """
    fills: list[tuple[int, int]] = []
    last: Print | None = None
    for trade in prints:
        if last is not None and not _goes_on(last, trade):
            yield Taker(last.time_ms, last.buyer_is_maker, tuple(fills))
            fills, last = [], None
        if last is not None and last.agg_id == trade.agg_id:
            fills[-1] = (trade.ticks, fills[-1][1] + trade.steps)
        else:
            fills.append((trade.ticks, trade.steps))
        last = trade
    if last is not None:
        yield Taker(last.time_ms, last.buyer_is_maker, tuple(fills))


def _goes_on(last: Print, trade: Print) -> bool:
    if last.agg_id == trade.agg_id:
        return True
    if (last.time_ms, last.buyer_is_maker) != (trade.time_ms, trade.buyer_is_maker):
        return False
    return trade.ticks < last.ticks if last.buyer_is_maker else trade.ticks > last.ticks


def _when(second: int, moments: Sequence[Moment], draws: Draws) -> int:
    """Return when something changes far from the price: mostly just before something near it."""
    if moments and draws.below(4):
        return moments[draws.below(len(moments))].time_ms
    return second * MS + draws.below(MS)


def _note(
    engine: Matching, far: Sequence[tuple[int, bool, int, int]], begin: int, until_ms: int
) -> int:
    """Make the changes far from the price that are due by then; return the place of the next."""
    while begin < len(far) and far[begin][0] <= until_ms:
        engine.now_ms, bids, ticks, steps = far[begin]
        engine.note(bids=bids, ticks=ticks, steps=steps)
        begin += 1
    return begin


def _first_id(second: int) -> int:
    return FIRST_UPDATE_ID + (second - ORIGIN_S) * UPDATES_PER_SECOND


def _text_of(digits: int) -> Callable[[int], str]:
    """Return what writes whole units of 10**-`digits` as the exchange does, with 8 decimals."""
    rest = "0" * (8 - digits)

    def text(units: int) -> str:
        if not digits:
            return f"{units}.{rest}"
        plain = str(units).zfill(digits + 1)
        return f"{plain[:-digits]}.{plain[-digits:]}{rest}"

    return text
