"""One symbol's seeded market: every trade that it ever makes, computed for any second on its own.

Nothing is walked from the beginning. Trade ids are consecutive although any second can be asked
first, because the id at the start of a minute is a formula: minutes since `ORIGIN` times the pace,
plus a bounded wave, plus a bounded jitter, all rising (see `_raw_id`). Within a minute, sixty
weights share out the minute's ids. Prices come from `chance.Walk`, which knows its value at any
second. All numbers are whole: ticks, steps, milliseconds.

Ids decide what belongs together, too: of eight ids in a row six begin a new aggregate trade, so
the aggregate id of a trade is a formula as well; a second always begins with such an id.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from app.simulator.bars import Bar
from app.simulator.chance import Draws, Walk, exponential, key_of, scramble
from app.simulator.listing import Listing

ORIGIN_S = 1_483_228_800  # 2017-01-01, the earliest time that the exchange's own REST answers
ORIGIN_MINUTE = ORIGIN_S // 60

WAVE_MINUTES = 32

# Which two ids of each eight continue the aggregate trade before them: never the first.
_CONTINUE = tuple(1 << a | 1 << b for a in range(1, 8) for b in range(a + 1, 8))

FIRST_ID = 100_000_000
FIRST_AGG_ID = 75_000_000


class Print(NamedTuple):
    """One trade on the tape. Times are milliseconds since 1970; the price is in whole ticks."""

    id: int
    ticks: int
    steps: int
    time_ms: int
    buyer_is_maker: bool
    event_ms: int
    agg_id: int


class Tape:
    """Everything that one symbol trades. Asking costs some 5 µs a trade; recent seconds are kept.

    A second before `ORIGIN_S` is empty.
    """

    def __init__(self, listing: Listing, *, seed: int, price: Price) -> None:
        self.listing = listing
        self._price = price
        self.key = key_of(seed, listing.symbol)
        self._ids_key = key_of(seed, listing.symbol, "ids")
        self._group_key = key_of(seed, listing.symbol, "groups")
        self._stall_key = key_of(seed, listing.symbol, "stalls")
        self._notional = listing.order * 10 ** (listing.price_digits + listing.quantity_digits)
        self.minute_id = lru_cache(maxsize=1_024)(self._minute_id)
        self.boundaries = lru_cache(maxsize=512)(self._boundaries)
        self.prints = lru_cache(maxsize=1_024)(self._prints)
        self.second_bar = lru_cache(maxsize=2_048)(self._second_bar)
        self.minute_bar = lru_cache(maxsize=16_384)(self._minute_bar)
        self.hour_bar = lru_cache(maxsize=1_024)(self._hour_bar)

    # Ids

    def first_id(self, second: int) -> int:
        """Return the id of the first trade at or after the start of `second`."""
        return self.boundaries(second // 60)[second % 60]

    def second_of(self, trade_id: int) -> int:
        """Return the second in which the trade with this id is made."""
        low, high = ORIGIN_MINUTE, ORIGIN_MINUTE + 1
        while self.minute_id(high) <= trade_id:
            low, high = high, ORIGIN_MINUTE + 2 * (high - ORIGIN_MINUTE)
        while high - low > 1:
            middle = (low + high) // 2
            if self.minute_id(middle) <= trade_id:
                low = middle
            else:
                high = middle
        bounds = self.boundaries(low)
        return low * 60 + max(n for n in range(60) if bounds[n] <= trade_id)

    def id_of_agg(self, agg_id: int) -> int:
        """Return the first trade id of an aggregate trade."""
        block, wanted = divmod(agg_id - FIRST_AGG_ID, 6)
        pattern = self._continued(block)
        starts = [n for n in range(8) if not pattern >> n & 1]
        return FIRST_ID + block * 8 + starts[wanted]

    def agg_id(self, trade_id: int) -> int:
        """Return the id of the aggregate trade that holds this trade."""
        block, place = divmod(trade_id - FIRST_ID, 8)
        begun = ~self._continued(block) & (2 << place) - 1
        return FIRST_AGG_ID + block * 6 + begun.bit_count() - 1

    def begins_agg(self, trade_id: int) -> bool:
        """Tell whether this trade begins a new aggregate trade."""
        block, place = divmod(trade_id - FIRST_ID, 8)
        return not self._continued(block) >> place & 1

    def _continued(self, block: int) -> int:
        bits = scramble(self._group_key + block & (1 << 64) - 1)
        return _CONTINUE[bits % len(_CONTINUE)]

    def _raw_id(self, minute: int) -> int:
        """Return how many ids are used before `minute`, before they are moved to a group's start.

        The pace alone rises by 1 a minute, the wave by at least -0.35, the jitter by more than
        -0.4: together they always rise.
        """
        since = minute - ORIGIN_MINUTE
        if since <= 0:
            return 0
        pace = self.listing.per_minute
        place, offset = divmod(since, WAVE_MINUTES)
        left, right = self._wave(place), self._wave(place + 1)
        wave = (left * (WAVE_MINUTES - offset) + right * offset) // WAVE_MINUTES
        jitter = scramble(self._ids_key ^ since << 1) % (pace * 2 // 5 + 1)
        return (since * pace + wave + jitter) // 1_000

    def _wave(self, place: int) -> int:
        height = self.listing.per_minute * WAVE_MINUTES * 7 // 20
        return scramble(self._ids_key ^ place << 1 | 1) % (height + 1)

    def _minute_id(self, minute: int) -> int:
        return self._aligned(self._raw_id(minute))

    def _aligned(self, raw: int) -> int:
        trade_id = FIRST_ID + raw
        while not self.begins_agg(trade_id):
            trade_id += 1
        return trade_id

    def _boundaries(self, minute: int) -> tuple[int, ...]:
        """Return the first id of each of the minute's seconds, and of the next minute."""
        raw, following = self._raw_id(minute), self._raw_id(minute + 1)
        draws = Draws(self._ids_key ^ scramble(minute))
        # A quiet spell of 5 to 24 seconds in every fifth minute.
        quiet = range(0)
        if draws.below(5) == 0:
            begin = draws.below(50)
            quiet = range(begin, begin + 5 + draws.below(20))
        sums = [0]
        for second in range(60):
            share = draws.below(1_024)
            weight = 60 + (share * share >> 10)
            if draws.below(48) == 0:
                weight *= 9
            if second in quiet:
                weight //= 16
            sums.append(sums[-1] + weight)
        total, span = sums[-1], following - raw
        return tuple(self._aligned(raw + span * part // total) for part in sums)

    # Trades

    def _prints(self, second: int) -> tuple[Print, ...]:
        bounds = self.boundaries(second // 60)
        begin, end = bounds[second % 60 : second % 60 + 2]
        if begin == end:
            return ()
        draws = Draws(self.key ^ scramble(second))
        aggs = self._agg_ids(begin, end)
        orders = _orders(begin, aggs, draws)
        times = self._times(len(orders), second, draws)
        stalls = [*self._stall(second - 1), *self._stall(second)]
        early, late = self._price.ticks(second), self._price.ticks(second + 1)
        buyers = 50 + (20 if late > early else -20)
        prints: list[Print] = []
        event = agg_id = 0
        for order, millisecond in zip(orders, times, strict=True):
            bid = self._bid(early, late, millisecond)
            sells = draws.below(100) >= buyers
            ticks = bid if sells else bid + self.spread
            time_ms = second * 1_000 + millisecond
            event = max(event, _event_ms(time_ms, stalls, draws.below(6)))
            for trade_id in order:
                begun, agg_id = agg_id, aggs[trade_id - begin]
                if agg_id != begun and trade_id != order[0]:  # it sweeps on
                    ticks = max(1, ticks + (-1 if sells else 1) * (1 + draws.below(3)))
                steps = self._steps(ticks, draws)
                prints.append(Print(trade_id, ticks, steps, time_ms, sells, event, agg_id))
        return tuple(prints)

    def _agg_ids(self, begin: int, end: int) -> list[int]:
        """Return `agg_id` of every trade in a range, quicker than one by one."""
        block, place = divmod(begin - FIRST_ID, 8)
        pattern = self._continued(block)
        agg_id = self.agg_id(begin)
        found = [agg_id]
        for _ in range(begin + 1, end):
            place += 1
            if place == 8:
                place, block = 0, block + 1
                pattern = self._continued(block)
            agg_id += not pattern >> place & 1
            found.append(agg_id)
        return found

    def _times(self, count: int, second: int, draws: Draws) -> list[int]:
        """Return when the orders come, in ms within the second; many at once come in bursts."""
        usual = self.listing.per_minute // 60_000 + 1
        if count <= 3 * usual:
            return sorted(draws.below(1_000) for _ in range(count))
        centre = draws.below(900)
        return sorted(
            centre + draws.below(100) if draws.below(5) else draws.below(1_000)
            for _ in range(count)
        )

    def _steps(self, ticks: int, draws: Draws) -> int:
        """Return a quantity: most orders are small, a few are large, some are round."""
        share = draws.fraction()
        whole = int(self._notional * (0.04 + share / (1.02 - share)) / ticks) or 1
        if whole > 10 and draws.below(10) == 0:
            scale = 10 ** (len(str(whole)) - 1)
            whole = whole // scale * scale
        return whole

    def _stall(self, second: int) -> list[tuple[int, int]]:
        """Return the stretches (ms) in which the exchange's stream server falls behind.

        What is traded in one is sent at its end: so a trade may come after the kline of its second,
        for most of them reach into the next.
        """
        bits = scramble(self._stall_key ^ second)
        if bits % 48:
            return []
        begin = second * 1_000 + 999 - (bits >> 8) % 240
        return [(begin, begin + 60 + (bits >> 24) % 160)]

    # Best prices

    def bid_at(self, second: int, millisecond: int) -> int:
        """Return the best bid at a moment of a second; the best ask is `spread` above it."""
        early, late = self._price.ticks(second), self._price.ticks(second + 1)
        return self._bid(early, late, millisecond)

    def _bid(self, early: float, late: float, millisecond: int) -> int:
        """Return the best bid between the prices at the start and the end of the second."""
        middle = early + (late - early) * millisecond / 1_000
        return max(1, int(middle - self.spread / 2))

    @property
    def spread(self) -> int:
        """The distance between best bid and best ask, in ticks."""
        return self.listing.spread_ticks

    # Candles

    def kline_lag_ms(self, second: int) -> int:
        """Return how long after the second's end its kline is made: 2 to 24 ms."""
        return 2 + scramble(self._stall_key ^ ~second & (1 << 64) - 1) % 23

    def print_of(self, trade_id: int) -> Print | None:
        """Return a trade by its id; `None` before the first that there ever was."""
        if trade_id < FIRST_ID:
            return None
        prints = self.prints(self.second_of(trade_id))
        return prints[trade_id - prints[0].id]

    def last_ticks(self, second: int) -> int:
        """Return the price of the last trade before `second`; the usual level if there is none."""
        trade_id = self.first_id(second) - 1
        if trade_id < FIRST_ID:
            return self.listing.level
        return self.prints(self.second_of(trade_id))[-1].ticks

    def _second_bar(self, second: int) -> Bar[int]:
        """Return the sum of a second's trades; its prices mean nothing when it is empty."""
        return total(self.prints(second))

    def _minute_bar(self, minute: int) -> Bar[int]:
        bar = Bar(0, 0)
        for second in range(minute * 60, minute * 60 + 60):
            bar.join(total(self._prints(second)))  # past the cache, which keeps the newest
        return bar

    def _hour_bar(self, hour: int) -> Bar[int]:
        bar = Bar(0, 0)
        for minute in range(hour * 60, hour * 60 + 60):
            bar.join(self.minute_bar(minute))
        return bar


def total(prints: tuple[Print, ...] | list[Print]) -> Bar[int]:
    """Return the sum of trades, in ticks and steps."""
    bar = Bar(0, 0)
    for trade in prints:
        bar.add(
            trade.id,
            trade.id,
            trade.ticks,
            trade.steps,
            trade.ticks * trade.steps,
            trade.buyer_is_maker,
        )
    return bar


def _orders(begin: int, aggs: list[int], draws: Draws) -> list[range]:
    """Share ids out among taker orders: one aggregate in eight goes on with the order before it."""
    starts = [begin]
    for place in range(1, len(aggs)):
        if aggs[place] != aggs[place - 1] and draws.below(8):
            starts.append(begin + place)  # noqa: PERF401 (a draw inside a condition reads worse)
    ends = [*starts[1:], begin + len(aggs)]
    return [range(first, end) for first, end in zip(starts, ends, strict=True)]


def _event_ms(time_ms: int, stalls: list[tuple[int, int]], lag: int) -> int:
    """Return when the stream server makes the event of a trade matched at `time_ms`."""
    for begin, end in stalls:
        if begin <= time_ms < end:
            return end
    # Never past its second, so that events stay in order although each second stands alone.
    return time_ms + min(lag, 999 - time_ms % 1_000)


class Price:
    """A symbol's fair price at any second: the whole market's moves, and its own."""

    MARKET_SIGMA = 6.0e-5  # per square root of a second: about 34 % a year
    OWN_SIGMA = 5.0e-5
    LEVELS = 20  # anchors every 12 days

    def __init__(
        self,
        listing: Listing,
        *,
        seed: int,
        market: Walk,
        leader: Price | None = None,
        over: Price | None = None,
    ) -> None:
        """`leader` and `over` are the prices of `listing.follows` and `listing.over`."""
        self._level = float(listing.level)
        self._beta = listing.beta
        self._market = market
        self._leader = leader
        self._over = over
        self._follow_by = listing.follow_by
        key = key_of(seed, listing.symbol, "price")
        sigma = self.OWN_SIGMA * listing.own
        if leader is None:
            self._own = Walk(key, levels=self.LEVELS, sigma=sigma, anchor_sigma=0.08 * listing.own)
        else:  # a spread that returns within a quarter of an hour
            self._own = Walk(key, levels=10, sigma=sigma, anchor_sigma=0.0015 * listing.own)

    @staticmethod
    def market_walk(seed: int) -> Walk:
        """Return the walk that all symbols of one seed share."""
        key = key_of(seed, "market")
        return Walk(key, levels=Price.LEVELS, sigma=Price.MARKET_SIGMA, anchor_sigma=0.1)

    def log(self, second: int) -> float:
        """Return the logarithm of the price over its usual level."""
        own = self._own.at(second)
        if self._leader is not None:
            over = 0.0 if self._over is None else self._over.log(second)
            return self._follow_by * self._leader.log(second) - over + own
        return self._beta * self._market.at(second) + own

    def ticks(self, second: int) -> float:
        """Return the price at the start of a second, in ticks and parts of a tick."""
        return max(4.0, self._level * exponential(self.log(second)))
