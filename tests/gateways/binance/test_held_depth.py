"""Snapshots of the hub's books: whatever a client gets, the hub's diffs lead on from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from app.binance.encode import encode_depth
from app.binance.server.rest import RestRefusal
from app.binance.wire import TimeUnit
from app.gateways.binance.held_depth import WITHIN_S, HeldDepth
from app.market.book import OrderBook
from app.market.events import BookChange, BookState, DepthSnapshot, DepthUpdate, Publication
from app.ports import BOOK_CHANGES, KeptBook
from tests.fakes import ManualClock

SYMBOL = "BTCUSDT"
BIDS = tuple((f"{100 - at}.00000000", "1.00000000") for at in range(5))
ASKS = tuple((f"{101 + at}.00000000", "2.00000000") for at in range(3))
DEEP = 6  # more bids than are known exactly


@dataclass
class HeldBook:
    """A book as its keeper says it is."""

    book: OrderBook | None
    state: BookState = BookState.IN_STEP
    symbol: str = SYMBOL
    reason: str = ""
    number: int = 1
    since_us: int = 0
    event_us: int | None = None
    received_us: int = 0


class Hub:
    """A hub with one book, and an exchange that can be asked."""

    def __init__(self) -> None:
        self.held: HeldBook | None = None
        self.clock = ManualClock()
        self.told: list[int] = []  # the update ids of the exchange's next answers
        self.asked = 0
        self.depth = HeldDepth(self, ask=self.ask, clock=self.clock)

    def book(self, symbol: str) -> KeptBook | None:
        """Return the book."""
        return self.held if symbol == SYMBOL else None

    async def ask(self, path: str, parameters: Mapping[str, str], time_unit: TimeUnit) -> bytes:
        """Answer as the exchange."""
        assert time_unit is TimeUnit.MILLISECOND
        assert (path, dict(parameters)) == (
            "/api/v3/depth",
            {"symbol": SYMBOL, "limit": str(DEEP)},
        )
        self.asked += 1
        update_id = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        return encode_depth(DepthSnapshot(SYMBOL, update_id, BIDS, ASKS, DEEP, None, 0))

    async def install(self, update_id: int) -> None:
        """Let the book be in step anew, after whatever break."""
        book = OrderBook(SYMBOL)
        book.install(DepthSnapshot(SYMBOL, update_id, BIDS, ASKS, 5, None, 0))
        self.held = HeldBook(book)
        await self._publish(whole=True)

    async def update(self, update_id: int) -> None:
        """Let the next change come."""
        assert self.held is not None
        assert self.held.book is not None
        first_id = self.held.book.update_id + 1
        self.held.book.apply(DepthUpdate(SYMBOL, first_id, update_id, (), (), 0, 0))
        await self._publish(whole=False)

    async def break_off(self, state: BookState = BookState.STALE) -> None:
        """Let the book miss something."""
        assert self.held is not None
        self.held.state = state
        await self._publish(whole=False)

    async def _publish(self, *, whole: bool) -> None:
        held = self.held
        assert held is not None
        assert held.book is not None
        change = BookChange(
            symbol=SYMBOL,
            number=held.number,
            state=held.state,
            update_id=held.book.update_id,
            bids=(),
            asks=(),
            whole=whole,
            exact_from=None,
            exact_to=None,
            reason="",
            event_us=None,
            received_us=0,
        )
        self.depth.seen(Publication(1, 1, BOOK_CHANGES, change))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    @asynccontextmanager
    async def asking(self, limit: int) -> AsyncIterator[asyncio.Task[DepthSnapshot | None]]:
        """Let a client ask while something happens."""
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(self.depth.depth(SYMBOL, limit=limit))
            await asyncio.sleep(0)
            yield call


@pytest.fixture
def hub() -> Hub:
    """Return a hub without a book yet."""
    return Hub()


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(2, id="within the range"),
        pytest.param(3, id="the whole shorter side"),
        pytest.param(5, id="one side whole, the other as deep as it is known"),
    ],
)
async def test_a_book_is_told_as_deep_as_it_is_known(hub, limit):
    """A side may be short only if it is whole; nobody is asked."""
    await hub.install(77)
    told = await hub.depth.depth(SYMBOL, limit=limit)
    assert (told.last_update_id, told.bids, told.asks) == (77, BIDS[:limit], ASKS[:limit])
    assert hub.asked == 0


async def test_no_book_of_ones_own_is_told_where_there_was_none_yet(hub):
    """The exchange may be asked instead: no diff has led over a break yet."""
    assert await hub.depth.depth(SYMBOL, limit=5) is None
    hub.held = HeldBook(None, BookState.SYNCING)
    assert await hub.depth.depth(SYMBOL, limit=5) is None
    await hub.install(77)
    hub.held.state = BookState.POLLED
    assert await hub.depth.depth(SYMBOL, limit=5) is None


@pytest.mark.parametrize("state", [BookState.STALE, BookState.SYNCING])
async def test_a_call_waits_for_a_book_that_is_out_of_step(hub, state):
    """A book of the exchange from within the break would keep what came and went there."""
    await hub.install(77)
    await hub.break_off(state)
    async with hub.asking(limit=5) as call:
        await hub.break_off(state)
        assert not call.done()
        await hub.install(90)
    assert call.result().last_update_id == 90
    assert hub.asked == 0


async def test_a_call_waits_no_longer_than_it_may(hub):
    """Then it says so, as the exchange does."""
    await hub.install(77)
    await hub.break_off()
    with pytest.raises(ExceptionGroup) as raised:
        async with hub.asking(limit=5):
            await hub.clock.advance(WITHIN_S + 1)
    [refusal] = raised.value.exceptions
    assert isinstance(refusal, RestRefusal)
    assert refusal.code == -1007


async def test_the_best_level_alone_is_never_waited_for(hub):
    """It is no book to go on from, so the exchange may be asked at once."""
    await hub.install(77)
    told = await hub.depth.depth(SYMBOL, limit=1)
    assert told.last_update_id == 77
    await hub.break_off()
    assert await hub.depth.depth(SYMBOL, limit=1) is None


async def test_a_deeper_book_comes_from_the_exchange(hub):
    """At once when the diffs have reached it, within the same run."""
    await hub.install(77)
    await hub.update(80)
    hub.told = [79]
    told = await hub.depth.depth(SYMBOL, limit=DEEP)
    assert (told.last_update_id, told.bids) == (79, BIDS)


async def test_an_answer_that_is_ahead_waits_for_the_diffs(hub):
    """Until then a break could still pass over it."""
    await hub.install(77)
    hub.told = [85]
    async with hub.asking(limit=DEEP) as call:
        await hub.update(84)
        assert not call.done()
        await hub.update(86)
    assert (call.result().last_update_id, hub.asked) == (85, 1)


async def test_an_answer_from_within_a_break_is_asked_for_again(hub):
    """One diff leads from 80 to 90 and names nothing of what was at 85 alone."""
    await hub.install(77)
    await hub.update(80)
    hub.told = [85, 91]
    async with hub.asking(limit=DEEP) as call:
        await hub.break_off()
        await hub.install(90)
        assert not call.done()
        await hub.update(92)
        await hub.update(93)
    assert (call.result().last_update_id, hub.asked) == (91, 2)


async def test_an_older_answer_that_was_kept_is_not_given_after_a_break(hub):
    """It may be from within the break; what is asked later is not."""
    await hub.install(90)
    hub.told = [85, 91]
    async with hub.asking(limit=DEEP) as call:
        assert not call.done()
        await hub.update(92)
    assert (call.result().last_update_id, hub.asked) == (91, 2)


async def test_a_book_that_is_kept_no_longer_holds_nobody_up(hub):
    """Who waits for it is sent to the exchange at once, and nothing of it is remembered."""
    await hub.install(77)
    await hub.break_off()
    async with hub.asking(limit=5) as call:
        hub.held = None
        hub.depth.forget(SYMBOL)
        hub.depth.forget(SYMBOL)
    assert call.result() is None
