"""A market whose stream loses things, and a repair that knows the truth: every candle is judged."""

from __future__ import annotations

import random
from collections.abc import Iterable

from app.market.candles import CandleAggregator
from app.market.events import Candle, Kline, Trade
from app.market.ledger import Hole
from app.market.position import Position
from tests.market.truth import Exchange, S, from_rest, numbers

ROUNDS = 60  # of repair at the end: each fills what the one before has shown


class Repairing:
    """An aggregator, what its exchange knows, and the newest issue of each second.

    A candle that says complete must be the truth, and each issue has the next revision.
    """

    def __init__(
        self, exchange: Exchange, rng: random.Random, *, carry_empty: bool = True, **bounds: int
    ):
        self.exchange = exchange
        self.rng = rng
        self.forgets = bool(bounds)
        self.aggregator = CandleAggregator(
            "SYMBOL", source="test", carry_empty=carry_empty, **bounds
        )
        self.newest: dict[int, Candle] = {}

    def judge(self, candles: Iterable[Candle] | None) -> None:
        """Take what was issued."""
        for candle in candles or ():
            at = candle.open_time_us // S
            before = self.newest.get(at)
            assert candle.revision == (0 if before is None else before.revision + 1)
            if candle.complete:
                assert numbers(candle) == numbers(self.exchange.klines[at])
            self.newest[at] = candle
        counts = self.aggregator
        assert counts.published == len(self.newest)
        assert counts.complete == sum(candle.complete for candle in self.newest.values())
        assert counts.complete + counts.incomplete == counts.published

    # What the stream brings.

    def events(self) -> list[Trade | Kline]:
        """Return the trades and klines of the exchange as a bad stream brings them."""
        rng = self.rng
        lost, late, twice = (rng.choice([0, 0.1, 0.4]) for _ in range(3))
        events: list[tuple[float, Trade | Kline]] = []
        for trade in self.exchange.trades:
            times = 0 if rng.random() < lost else 2 if rng.random() < twice else 1
            for _ in range(times):
                delay = rng.random() * 8 * S if rng.random() < late else 0.0
                events.append((trade.time_us + delay, trade))
        for at, kline in self.exchange.klines.items():
            if rng.random() >= lost:
                delay = rng.random() * 8 * S if rng.random() < late else 0.0
                events.append(((at + 1) * S + delay, kline))
        return [event for _, event in sorted(events, key=lambda each: each[0])]

    def take(self, event: Trade | Kline) -> None:
        """Take one event, and sometimes let time close what is due, or repair a little."""
        rng, aggregator = self.rng, self.aggregator
        if isinstance(event, Kline):
            self.judge(aggregator.add_kline(event))
            now_us = event.open_time_us + S
        else:
            self.judge(aggregator.add(event))
            now_us = event.time_us
        if rng.random() < 0.2:
            held_back = [hole for hole in aggregator.ledger.holes() if rng.random() < 0.5]
            self.close_due(now_us - rng.choice([0, S // 3]), held_back)
        if rng.random() < 0.1:
            self.repair(now_us // S)
        self.look()

    def close_due(self, due_us: int, held_back: list[Hole]) -> None:
        """Let time close what is due."""
        candles = self.aggregator.close_due(
            due_us, event_us=due_us, received_us=due_us, held_back=held_back
        )
        for candle in candles:
            assert candle.open_time_us + S <= due_us
            assert not any(hole.touches(candle.open_time_us) for hole in held_back)
        self.judge(candles)

    def look(self) -> None:
        """Look whether what is missing is named with its seconds, and all up to then complete."""
        if self.forgets:
            return
        for hole in self.aggregator.ledger.holes():
            for trade in self.exchange.between(hole.first_id, hole.last_id):
                assert hole.touches(trade.time_us // S * S)
        until_us = self.aggregator.complete_until_us
        first_us = self.aggregator.first_second_us
        if until_us is not None and first_us is not None:
            for at in range(first_us // S, until_us // S + 1):
                assert at not in self.newest or self.newest[at].complete

    # What the exchange's history has.

    def repair(self, now: int) -> None:
        """Repair some part of some hole, in one of the ways there are, from before second `now`."""
        holes = self.aggregator.ledger.holes()
        if not holes:
            self.audit(now)
            return
        hole = self.rng.choice(holes)
        if self.rng.random() < 0.3 and self.adopt(hole, now):
            return
        page = self.rng.choice([1, 3, 100])
        if self.rng.random() < 0.5:
            trades = self.exchange.between(hole.first_id - 2, hole.last_id + 2)
            found = [each for each in trades if each.time_us < now * S][-page:]
            self.judge(self.aggregator.fill(found)[0])
        else:
            groups = self.exchange.aggregates(hole.first_id, hole.last_id)
            past = [each for each in groups if each.time_us < now * S][-page:]
            self.judge(self.aggregator.fill(past)[0])
        for first_id, last_id in self.exchange.absent(hole.first_id, hole.last_id):
            self.judge(self.aggregator.absent(first_id, last_id, event_us=0, received_us=0))

    def adopt(self, hole: Hole, now: int) -> bool:
        """Take the exchange's candles for a hole, or for its end."""
        from_second, to_second = hole.from_second_us // S, hole.to_second_us // S
        if to_second > from_second and self.rng.random() < 0.5:
            from_second = self.rng.randint(from_second + 1, to_second)
            end = self.exchange.between(hole.first_id, hole.last_id)
            end = [trade for trade in end if trade.time_us >= from_second * S]
            if not end:
                return False
            self.aggregator.ledger.anchor(end[0].id - 1, (from_second - 1) * S)
            hole = Hole(end[0].id, hole.last_id, from_second * S, hole.to_second_us)
        klines = self.exchange.klines
        if to_second >= now or not all(at in klines for at in range(from_second, to_second + 1)):
            return False
        candles = self.aggregator.adopt(
            hole, [from_rest(klines[at]) for at in range(from_second, to_second + 1)], event_us=0
        )
        self.judge(candles)
        return candles is not None

    def audit(self, now: int) -> None:
        """Ask for the newest trade and for klines that did not come; settle what is disputed."""
        aggregator, exchange = self.aggregator, self.exchange
        if aggregator.unexplained:
            newest = [trade for trade in exchange.trades if trade.time_us < now * S][-1:]
            self.judge(aggregator.fill(newest)[0])
        for second_us in aggregator.disputed:
            ids = aggregator.ids_in_dispute(second_us)
            if ids is not None:
                self.judge(aggregator.recount(second_us, exchange.between(*ids)))
            if second_us in aggregator.disputed:
                kline = from_rest(exchange.klines[second_us // S])
                self.judge(aggregator.settle(kline, event_us=0))
        waiting = aggregator.without_kline(now * S)
        if waiting is not None:
            for at in range(waiting[0] // S, waiting[1] // S + 1):
                if at in exchange.klines:
                    self.judge(aggregator.add_kline(from_rest(exchange.klines[at])))

    def finish(self) -> None:
        """Let the last second come, and repair until nothing is missing."""
        last = self.exchange.last
        for trade in self.exchange.trades:
            if trade.time_us >= last * S:
                self.judge(self.aggregator.add(trade))
        self.judge(self.aggregator.add_kline(self.exchange.klines[last]))
        for _ in range(ROUNDS):
            self.repair(last + 1)
        for _ in range(ROUNDS):
            for hole in reversed(self.aggregator.ledger.holes()):
                trades = self.exchange.between(hole.first_id, hole.last_id)
                self.judge(self.aggregator.fill(trades)[0])
                for first_id, last_id in self.exchange.absent(hole.first_id, hole.last_id):
                    self.judge(self.aggregator.absent(first_id, last_id, event_us=0, received_us=0))
            self.close_due((last + 1) * S, [])
            self.audit(last + 1)
            if self.aggregator.ledger.whole and not self.aggregator.unverified:
                break
        self.look()

    def resumed(self, position: Position) -> Repairing:
        """Return another run that goes on from a position."""
        other = Repairing(self.exchange, self.rng)
        other.aggregator.resume(position)
        return other
