"""A market made up from a seed: the same seed makes the same market, whenever and wherever it runs.

Every symbol is a `Tape`, a function of the second; this module turns what is on the tapes into
events in the order in which they leave the exchange, and into answers about the past. The past
begins `history_s` before the start, and what the streams send joins it without a hole.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from app.binance.statistics import Statistics
from app.market.events import (
    SECOND_US,
    AggTrade,
    BookTicker,
    DepthSnapshot,
    Kline,
    Level,
    Trade,
)
from app.market.symbols import SymbolInfo
from app.simulator.bars import (
    Bar,
    Fill,
    asked_bounds,
    minutes_and_hours,
    scaled,
    to_kline,
    to_statistics,
)
from app.simulator.book_tape import BookTape
from app.simulator.chance import scramble
from app.simulator.listing import LISTINGS, Listing
from app.simulator.market import AGG_TRADE, TRADE, Happening
from app.simulator.matching import Top
from app.simulator.tape import Price, Print, Tape, total

MS = 1_000
MINUTE_US = 60 * SECOND_US
BOOK_TICKER, KLINE_1S = "bookTicker", "kline_1s"
SPEEDS = (("@100ms", 100), ("", 1_000))
DEPTHS = {
    f"depth{levels or ''}{suffix}": (levels, every_ms)
    for levels in (0, 5, 10, 20)
    for suffix, every_ms in SPEEDS
}
# What happens at one moment is sent in this order.
IN_ORDER = (TRADE, AGG_TRADE, BOOK_TICKER, *DEPTHS, KLINE_1S)
CHANNELS = frozenset(IN_ORDER)
ALWAYS = frozenset({TRADE, KLINE_1S})

# The longest that an event is held back (`Tape._stall`), in seconds, rounded up.
LONGEST_LAG_S = 1

# How far ahead nothing is expected while nobody follows anything.
IDLE_US = 60 * SECOND_US


class _ToMake(NamedTuple):
    """A second of a symbol that is to be made; it waits among the happenings for its turn."""

    symbol: str
    second: int


class SeededMarket:
    """The market of one seed. See `app.simulator.market.Market` for the methods.

    `shown_us` is how far time has come: answers hold what had left the exchange by then.
    """

    def __init__(
        self, seed: int, *, history_s: int = 0, listings: Sequence[Listing] = LISTINGS
    ) -> None:
        self.seed = seed
        self.shown_us = 0
        self.first_second = 0  # where the past begins
        self._history_s = history_s
        self._infos = {listing.symbol: listing.info for listing in listings}
        self._tapes = make_tapes(seed, listings)
        self._books = {name: BookTape(tape, seed=seed) for name, tape in self._tapes.items()}
        self._followed: dict[str, int] = {}  # symbol: the next second to make
        self._channels: dict[str, frozenset[str]] = {}  # symbol: what is made of it
        self._made: dict[tuple[str, str], int] = {}  # of both: the next second to make
        self._makers: dict[str, Callable[[Tape, int], Iterator[Happening]]] = {
            TRADE: self._trades_of,
            AGG_TRADE: self._agg_trades_of,
            BOOK_TICKER: self._book_tickers_of,
            KLINE_1S: self._kline_of,
            **{f"depth{suffix}": partial(self._diffs_of, every_ms) for suffix, every_ms in SPEEDS},
            **{
                channel: partial(self._partials_of, levels, every_ms)
                for channel, (levels, every_ms) in DEPTHS.items()
                if levels
            },
        }
        self._heap: list[tuple[int, int, Happening | _ToMake]] = []
        self._pushed = 0
        self._warmed: dict[str, tuple[int, int]] = {}  # the minutes that are added up

    def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return every listed symbol."""
        return self._infos

    def streams(self) -> Mapping[str, frozenset[str]]:
        """Return every channel for every symbol."""
        return dict.fromkeys(self._infos, CHANNELS)

    def sends(self, symbol: str, channel: str) -> bool:
        """Tell whether a channel comes out of `take`."""
        return channel in CHANNELS

    def status(self) -> Mapping[str, Any]:
        """Return the seed and where the past begins."""
        return {"seed": self.seed, "history_from_us": self.first_second * SECOND_US}

    # What happens

    def begin(self, now_us: int) -> None:
        """Let nothing happen before `now_us`; the past begins `history_s` before, on a minute."""
        self.shown_us = now_us
        self.first_second = (now_us // SECOND_US - self._history_s) // 60 * 60

    def follow(self, wanted: Mapping[str, frozenset[str]]) -> None:
        """Make what is sent of these symbols; the others' past goes on without events.

        Trades and klines are made of each, which the count of what was sent rests on; aggregate
        trades and books, which are many, where they are wanted.
        """
        for symbol in [name for name in self._followed if name not in wanted]:
            del self._followed[symbol]
        second = self.shown_us // SECOND_US
        for symbol in sorted(wanted):  # so that what happens at one moment has one order
            tape = self._tapes.get(symbol)
            if tape is None or not tape.listing.per_minute:
                continue
            self._channels[symbol] = ALWAYS | (wanted[symbol] & CHANNELS)
            # What was traded a moment ago, but is still held back, and the kline under way too.
            end = max(second, self._followed.get(symbol, 0) - 1)
            for earlier in range(second - LONGEST_LAG_S, end + 1):
                self._make(tape, earlier)
            if symbol not in self._followed:
                self._plan(tape, end + 1)

    def next_us(self) -> int | None:
        """Return when the next event leaves, or when the next second has to be made."""
        return self._heap[0][0] if self._heap else self.shown_us + IDLE_US

    def take(self, until_us: int, limit: int) -> Sequence[Happening]:
        """Return what leaves up to `until_us`."""
        taken: list[Happening] = []
        heap = self._heap
        while heap and heap[0][0] <= until_us and len(taken) < limit:
            due = heapq.heappop(heap)[2]
            if isinstance(due, Happening):
                taken.append(due)
            elif self._followed.get(due.symbol) == due.second:  # else no longer followed
                tape = self._tapes[due.symbol]
                self._make(tape, due.second)
                self._plan(tape, due.second + 1)
        reached_us = taken[-1].at_us if len(taken) == limit else until_us
        self.shown_us = max(self.shown_us, reached_us)
        return taken

    def _plan(self, tape: Tape, second: int) -> None:
        """Let a second be made: ahead of its time, and not those of all symbols at once."""
        symbol = tape.listing.symbol
        self._followed[symbol] = second
        at_us = (second - 1) * SECOND_US + scramble(tape.key) % 900_000
        self._push(at_us, _ToMake(symbol, second))

    def _make(self, tape: Tape, second: int) -> None:
        """Put what is sent of a symbol's second where `take` finds it, each channel once."""
        symbol = tape.listing.symbol
        for channel in IN_ORDER:
            if channel in self._channels[symbol] and self._made.get((symbol, channel), 0) <= second:
                self._made[symbol, channel] = second + 1
                for happening in self._makers[channel](tape, second):
                    if happening.at_us > self.shown_us:
                        self._push(happening.at_us, happening)

    def _push(self, at_us: int, item: Happening | _ToMake) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (at_us, self._pushed, item))

    def _trades_of(self, tape: Tape, second: int) -> Iterator[Happening]:
        for trade in tape.prints(second):
            at_us = _leaves_us(trade.event_ms)
            yield Happening(at_us, tape.listing.symbol, TRADE, self._trade(tape, trade))

    def _agg_trades_of(self, tape: Tape, second: int) -> Iterator[Happening]:
        for group in _groups(tape.prints(second)):
            at_us = _leaves_us(group[-1].event_ms)
            yield Happening(at_us, tape.listing.symbol, AGG_TRADE, self._agg_trade(tape, group))

    def _book_tickers_of(self, tape: Tape, second: int) -> Iterator[Happening]:
        symbol = tape.listing.symbol
        for top in self._books[symbol].tops(second):
            yield Happening(_leaves_us(top.time_ms), symbol, BOOK_TICKER, _book_ticker(tape, top))

    def _diffs_of(self, every_ms: int, tape: Tape, second: int) -> Iterator[Happening]:
        symbol = tape.listing.symbol
        channel = "depth" if every_ms == MS else f"depth@{every_ms}ms"
        for diff in self._books[symbol].diffs(second, every_ms):
            yield Happening(_leaves_us(diff.event_us // MS), symbol, channel, diff)

    def _partials_of(
        self, levels: int, every_ms: int, tape: Tape, second: int
    ) -> Iterator[Happening]:
        symbol = tape.listing.symbol
        channel = f"depth{levels}" if every_ms == MS else f"depth{levels}@{every_ms}ms"
        for part in self._books[symbol].partials(second, levels, every_ms):
            yield Happening(_leaves_us(part.received_us // MS), symbol, channel, part)

    def _kline_of(self, tape: Tape, second: int) -> Iterator[Happening]:
        event_us = (second + 1) * SECOND_US + tape.kline_lag_ms(second) * MS
        bounds = (second * SECOND_US, (second + 1) * SECOND_US)
        bar = Bar(tape.last_ticks(second), 0)
        bar.join(tape.second_bar(second))
        kline = _kline(tape, bar, "1s", bounds, closed=True, event_us=event_us)
        yield Happening(_leaves_us(event_us // MS), tape.listing.symbol, "kline_1s", kline)

    # What has happened

    def trades(self, symbol: str, *, from_id: int | None, limit: int) -> Sequence[Trade]:
        """Return trades by id, or the newest."""
        tape = self._tapes[symbol]
        first, last = tape.first_id(self.first_second), self._last_id(tape)
        begin = last - limit + 1 if from_id is None else from_id
        begin = max(first, begin)
        prints = self._between(tape, begin, min(last, begin + limit - 1))
        return [self._trade(tape, trade) for trade in prints]

    def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
    ) -> Sequence[AggTrade]:
        """Return aggregate trades by id or match time, or the newest."""
        tape = self._tapes[symbol]
        first, last = tape.first_id(self.first_second), self._last_id(tape)
        if end_us is not None:
            last = min(last, self._first_after(tape, end_us + 1) - 1)
        if last < first:
            return []
        newest, oldest = tape.agg_id(last), tape.agg_id(first)
        if from_id is not None:
            begin = from_id
        elif start_us is not None:
            begin = tape.agg_id(self._first_after(tape, start_us))
        else:
            begin = newest - limit + 1
        begin = max(oldest, begin)
        end = min(newest, begin + limit - 1)
        if end < begin:
            return []
        last = min(last, tape.id_of_agg(end + 1) - 1)
        prints = list(self._between(tape, tape.id_of_agg(begin), last))
        return [self._agg_trade(tape, group) for group in _groups(prints)]

    def klines(
        self,
        symbol: str,
        interval: str,
        *,
        start_us: int | None,
        end_us: int | None,
        offset_us: int,
        limit: int,
    ) -> Sequence[Kline]:
        """Return klines of what was traded since the past begins."""
        tape = self._tapes[symbol]
        if not tape.listing.per_minute:
            return []
        begin_us = self.first_second * SECOND_US
        asked = asked_bounds(
            interval,
            offset_us=offset_us,
            begin_us=begin_us,
            start_us=start_us,
            until_us=self.shown_us if end_us is None else min(end_us, self.shown_us),
        )
        all_bounds = sorted(islice(asked, limit))
        klines = []
        carried = None
        for bounds in all_bounds:
            begin = max(bounds[0], begin_us) // SECOND_US
            if carried is None:
                carried = tape.last_ticks(begin)
            bar = Bar(carried, 0)
            self._sum(tape, bar, begin, bounds[1] // SECOND_US)
            carried = bar.close
            closed = bounds[1] <= self.shown_us
            klines.append(_kline(tape, bar, interval, bounds, closed=closed, event_us=None))
        return klines

    def statistics(self, symbol: str, *, start_us: int, end_us: int) -> Statistics | None:
        """Return what traded between two match times, of what the past holds and has left by now.

        The trade before a window may be older than the past.
        """
        tape = self._tapes[symbol]
        if not tape.listing.per_minute:
            return None
        first = self._first_after(tape, start_us)
        last = min(self._last_id(tape), self._first_after(tape, end_us + 1) - 1)
        newest, before = tape.print_of(last), tape.print_of(min(first - 1, last))
        if newest is None:
            return None
        bar = Bar(newest.ticks, 0)
        begin_us = max(start_us, self.first_second * SECOND_US)
        self._sum_of_ids(tape, bar, first, last, begin_us=begin_us, end_us=end_us)
        price, quantity = tape.listing.price_digits, tape.listing.quantity_digits
        return to_statistics(
            bar,
            symbol=symbol,
            before=None if before is None else before.ticks,
            last=Fill(newest.ticks, newest.steps, newest.time_ms * MS),
            start_us=start_us,
            end_us=end_us,
            price=lambda ticks: scaled(ticks, price),
            quantity=lambda steps: scaled(steps, quantity),
            quote=lambda product: scaled(product, price + quantity),
        )

    def _sum_of_ids(
        self, tape: Tape, bar: Bar[int], first: int, last: int, *, begin_us: int, end_us: int
    ) -> None:
        """Add the trades `first` to `last` to `bar`: those that were matched within the two times.

        Whole hours and minutes are added as such; single trades at both ends, and where some may
        not have left yet.
        """
        begin = -(-begin_us // SECOND_US)
        settled = self.shown_us // SECOND_US - LONGEST_LAG_S
        end = max(begin, min((end_us + 1) // SECOND_US, settled))
        head = range(begin_us // SECOND_US, begin)
        tail = range(end, min(end_us, self.shown_us) // SECOND_US + 1)
        for second in head:
            bar.join(total([t for t in tape.prints(second) if first <= t.id <= last]))
        for part in _parts(tape, begin, end):
            bar.join(part)
        for second in tail:
            bar.join(total([t for t in tape.prints(second) if first <= t.id <= last]))

    def depth(self, symbol: str, *, limit: int) -> DepthSnapshot:
        """Return the book as REST holds it: a moment ago, at any place between two events."""
        return self._books[symbol].snapshot(self.shown_us // MS, limit)

    def expects_book(self, symbol: str) -> bool:
        """Tell that every book is known always."""
        return False

    def book_at(
        self, symbol: str, update_id: int, *, limit: int
    ) -> tuple[Sequence[Level], Sequence[Level]]:
        """Return the best bids and asks that there were after an update, at any time."""
        return self._books[symbol].book_at(update_id, limit)

    def as_of(self, time_us: int) -> SeededMarket:
        """Return the market as it was then. It shares what is worked out already."""
        earlier = copy(self)
        earlier.shown_us = min(self.shown_us, time_us)
        return earlier

    def warm(self, symbol: str, budget: int, *, since_us: int = 0) -> bool:
        """Add up whole minutes of the past ahead of a long answer, the newest first."""
        tape = self._tapes.get(symbol)
        if tape is None:
            return True
        begin = max(self.first_second // 60, since_us // MINUTE_US)
        end = self.shown_us // MINUTE_US
        low, high = self._warmed.get(symbol, (end, end))
        for _ in range(budget):
            if high < end:
                tape.minute_bar(high)
                high += 1
            elif low > begin:
                low -= 1
                tape.minute_bar(low)
        self._warmed[symbol] = low, high
        return low <= begin and high >= end

    def _sum(self, tape: Tape, bar: Bar[int], begin: int, end: int) -> None:
        """Add to `bar` what was traded in the seconds from `begin` up to `end`, as far as shown."""
        now = self.shown_us // SECOND_US
        second = begin
        while second < min(end, now):
            if second % 60 == 0 and second + 60 <= min(end, now):
                bar.join(tape.minute_bar(second // 60))
                second += 60
            else:
                bar.join(tape.second_bar(second))
                second += 1
        if begin <= now < end:
            shown = [t for t in tape.prints(now) if _leaves_us(t.event_ms) <= self.shown_us]
            bar.join(total(shown))

    def _last_id(self, tape: Tape) -> int:
        """Return the newest id that has left the exchange."""
        second = self.shown_us // SECOND_US
        last = tape.first_id(second - LONGEST_LAG_S) - 1
        for near in range(second - LONGEST_LAG_S, second + 1):
            for trade in tape.prints(near):
                if _leaves_us(trade.event_ms) <= self.shown_us:
                    last = trade.id
        return last

    def _first_after(self, tape: Tape, time_us: int) -> int:
        """Return the id of the first trade matched at `time_us` or later."""
        second = min(max(time_us, 0), self.shown_us + SECOND_US) // SECOND_US
        second = max(second, self.first_second)
        for trade in tape.prints(second):
            if trade.time_ms * MS >= time_us:
                return trade.id
        return tape.first_id(second + 1)

    @staticmethod
    def _between(tape: Tape, first: int, last: int) -> Iterator[Print]:
        """Yield the trades with ids `first` to `last`."""
        while first <= last:
            second = tape.second_of(first)
            for near in range(second, second // 60 * 60 + 60):
                for trade in tape.prints(near):
                    if first <= trade.id <= last:
                        yield trade
                        first = trade.id + 1
                if first > last:
                    return

    # Events

    @staticmethod
    def _trade(tape: Tape, trade: Print) -> Trade:
        listing = tape.listing
        return Trade(
            symbol=listing.symbol,
            id=trade.id,
            price=scaled(trade.ticks, listing.price_digits),
            quantity=scaled(trade.steps, listing.quantity_digits),
            time_us=trade.time_ms * MS,
            buyer_is_maker=trade.buyer_is_maker,
            event_us=trade.event_ms * MS,
            received_us=trade.event_ms * MS,
        )

    @staticmethod
    def _agg_trade(tape: Tape, group: Sequence[Print]) -> AggTrade:
        listing, first, last = tape.listing, group[0], group[-1]
        return AggTrade(
            symbol=listing.symbol,
            id=first.agg_id,
            price=scaled(first.ticks, listing.price_digits),
            quantity=scaled(sum(trade.steps for trade in group), listing.quantity_digits),
            first_trade_id=first.id,
            last_trade_id=last.id,
            time_us=first.time_ms * MS,
            buyer_is_maker=first.buyer_is_maker,
            event_us=last.event_ms * MS,
            received_us=last.event_ms * MS,
        )


def make_tapes(seed: int, listings: Sequence[Listing] = LISTINGS) -> dict[str, Tape]:
    """Return every symbol's tape; what a symbol follows must be listed before it."""
    walk = Price.market_walk(seed)
    prices: dict[str, Price] = {}
    for listing in listings:
        leader, over = prices.get(listing.follows), prices.get(listing.over)
        prices[listing.symbol] = Price(listing, seed=seed, market=walk, leader=leader, over=over)
    return {
        listing.symbol: Tape(listing, seed=seed, price=prices[listing.symbol])
        for listing in listings
    }


def _leaves_us(event_ms: int) -> int:
    """Return when an event made at `event_ms` leaves: within the millisecond, and in order."""
    return event_ms * MS + (event_ms // 8 % 3) * 400


def _parts(tape: Tape, begin: int, end: int) -> Iterator[Bar[int]]:
    """Yield sums that are the seconds from `begin` up to `end` together: few, and in order."""
    minutes = -(-begin // 60), end // 60
    if minutes[0] >= minutes[1]:
        yield from map(tape.second_bar, range(begin, end))
        return
    yield from map(tape.second_bar, range(begin, minutes[0] * 60))
    yield from minutes_and_hours(*minutes, minute_bar=tape.minute_bar, hour_bar=tape.hour_bar)
    yield from map(tape.second_bar, range(minutes[1] * 60, end))


def _groups(prints: Sequence[Print]) -> Iterator[list[Print]]:
    """Yield the trades of each aggregate trade."""
    group: list[Print] = []
    for trade in prints:
        if group and trade.agg_id != group[0].agg_id:
            yield group
            group = []
        group.append(trade)
    if group:
        yield group


def _book_ticker(tape: Tape, top: Top) -> BookTicker:
    listing = tape.listing
    return BookTicker(
        symbol=listing.symbol,
        update_id=top.update_id,
        bid_price=scaled(top.bid, listing.price_digits),
        bid_quantity=scaled(top.bid_steps, listing.quantity_digits),
        ask_price=scaled(top.ask, listing.price_digits),
        ask_quantity=scaled(top.ask_steps, listing.quantity_digits),
        event_us=None,
        received_us=top.time_ms * MS,
    )


def _kline(
    tape: Tape,
    bar: Bar[int],
    interval: str,
    bounds: tuple[int, int],
    *,
    closed: bool,
    event_us: int | None,
) -> Kline:
    listing = tape.listing
    price, quantity = listing.price_digits, listing.quantity_digits
    return to_kline(
        bar,
        symbol=listing.symbol,
        interval=interval,
        bounds=bounds,
        closed=closed,
        event_us=event_us,
        received_us=event_us or 0,
        price=lambda ticks: scaled(ticks, price),
        quantity=lambda steps: scaled(steps, quantity),
        quote=lambda product: scaled(product, price + quantity),
    )
