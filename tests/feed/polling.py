"""An exchange's book, update by update, and what streams and polls tell of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random

from app.market.events import BookChange, BookState, DepthSnapshot, Level
from tests.fakes import START_US

SYMBOL = "BTCUSDT"


def a_snapshot(
    update_id: int,
    bids: Sequence[Level] = (("99.00", "1"), ("98.00", "2")),
    asks: Sequence[Level] = (("101.00", "1"), ("102.00", "2")),
    limit: int = 5_000,
    *,
    symbol: str = SYMBOL,
    received_us: int = START_US,
) -> DepthSnapshot:
    """Return a small book as REST answers it, whole unless `limit` says otherwise."""
    return DepthSnapshot(symbol, update_id, tuple(bids), tuple(asks), limit, None, received_us)


def a_change(
    number: int,
    update_id: int,
    bids: Sequence[Level] = (),
    asks: Sequence[Level] = (),
    *,
    whole: bool = False,
    state: BookState = BookState.IN_STEP,
    exact: tuple[str | None, str | None] = (None, None),
    symbol: str = SYMBOL,
) -> BookChange:
    """Return a step of a book that is kept."""
    return BookChange(
        symbol, number, state, update_id, tuple(bids), tuple(asks), whole, *exact, "", None,
        START_US,
    )  # fmt: skip


def whole_of(snapshot: DepthSnapshot, number: int = 1) -> BookChange:
    """Return the change by which a snapshot becomes the book."""
    return a_change(
        number,
        snapshot.last_update_id,
        snapshot.bids,
        snapshot.asks,
        whole=True,
        symbol=snapshot.symbol,
    )


class TrueBook:
    """What the exchange holds: each `update` changes one price, and takes one id."""

    def __init__(self, random: Random, update_id: int = 1_000) -> None:
        self.random = random
        self.update_id = update_id
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for at in range(1, 40):
            self.sides[0][1_000 - at] = random.randrange(1, 50)
            self.sides[1][1_000 + at] = random.randrange(1, 50)

    def event(self, updates: int) -> tuple[int, list[Level], list[Level], list[DepthSnapshot]]:
        """Make so many updates; return the last id, what a diff names, and the books in between."""
        touched: tuple[set[int], set[int]] = (set(), set())
        between = []
        for _ in range(updates):
            side = self.random.randrange(2)
            price = 1_000 + (1 if side else -1) * self.random.randrange(1, 60)
            quantity = self.random.choice((0, self.random.randrange(1, 50)))
            if quantity:
                self.sides[side][price] = quantity
            else:
                self.sides[side].pop(price, None)
            touched[side].add(price)
            self.update_id += 1
            between.append(self.snapshot())
        bids, asks = (
            [(text(price), text(held.get(price, 0))) for price in sorted(named)]
            for held, named in zip(self.sides, touched, strict=True)
        )
        return self.update_id, bids, asks, between

    def snapshot(self, limit: int = 5_000) -> DepthSnapshot:
        """Return it as REST would answer now."""
        bids = [(text(at), text(size)) for at, size in sorted(self.sides[0].items(), reverse=True)]
        asks = [(text(at), text(size)) for at, size in sorted(self.sides[1].items())]
        return a_snapshot(self.update_id, bids[:limit], asks[:limit], limit)


def text(number: int) -> str:
    """Return a number as the exchange writes it."""
    return f"{Decimal(number):.8f}"


class FakeDepth:
    """Answers polls; implements `app.ports.DepthHistory`.

    `answers` says what the next ones are, for each symbol or for `*`: an error is raised, a number
    is an update id. Used up, each has the id after the one before. `delay_s` is how long each
    takes. `asked` lists symbol, limit and time.
    """

    def __init__(
        self, now_s: Callable[[], float], sleep: Callable[[float], object] | None = None
    ) -> None:
        self.answers: dict[str, list[int | Exception]] = {}
        self.asked: list[tuple[str, int, float]] = []
        self.under_way: dict[str, int] = {}
        self.most_under_way = 0
        self.delays_s: list[float] = []
        self.ids: dict[str, int] = {}
        self._now_s = now_s
        self._sleep = sleep

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot:
        """Give the next answer."""
        self.asked.append((symbol, limit, self._now_s()))
        self.under_way[symbol] = self.under_way.get(symbol, 0) + 1
        self.most_under_way = max(self.most_under_way, self.under_way[symbol])
        try:
            if self.delays_s and self._sleep is not None:
                await self._sleep(self.delays_s.pop(0))  # type: ignore[misc] # a coroutine
            else:
                await asyncio.sleep(0)
        finally:
            self.under_way[symbol] -= 1
        given = self.answers.get(symbol) or self.answers.get("*")
        answer = given.pop(0) if given else self.ids.get(symbol, 0) + 1
        if isinstance(answer, Exception):
            raise answer
        self.ids[symbol] = answer
        return a_snapshot(answer, limit=limit, symbol=symbol)

    def times(self, symbol: str = SYMBOL) -> list[float]:
        """Return when a symbol was asked for."""
        return [at_s for name, _, at_s in self.asked if name == symbol]
