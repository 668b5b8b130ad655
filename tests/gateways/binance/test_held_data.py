"""What the hub knows itself of the market that the mirror serves."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest

from app.binance.server.rest import RestRefusal
from app.gateways.binance.asking import Asking
from app.gateways.binance.held_data import HeldData
from app.market.book import OrderBook
from app.market.events import SECOND_US, BookState, DepthSnapshot
from app.market.symbols import SymbolInfo
from app.ports import CANDLES, TRADES, KeptBook
from tests.gateways.binance.exchange import SYMBOL, SmallExchange, numbers, trades_of
from tests.gateways.binance.held_market import HeldMarket

BEGIN_US = 1_731_232_800_000_000
INFO = SymbolInfo(SYMBOL, "TRADING", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"))


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


class Books:
    """One book, or none."""

    def __init__(self) -> None:
        self.held: HeldBook | None = None

    def book(self, symbol: str) -> KeptBook | None:
        """Return it."""
        return self.held if symbol == SYMBOL else None


class Hub:
    """A hub that has followed an exchange for a while."""

    def __init__(self) -> None:
        self.exchange = SmallExchange(
            trades_of(BEGIN_US - 900 * SECOND_US, 1_500),
            begin_us=BEGIN_US - 900 * SECOND_US,
            now_us=BEGIN_US + 100 * SECOND_US + SECOND_US // 2,
        )
        self.market = HeldMarket(self.exchange, BEGIN_US)
        self.books = Books()
        self.listed: dict[str, SymbolInfo] | None = {SYMBOL: INFO}
        self.data = HeldData(
            listed=lambda: self.listed,
            candles=self.market.ring,
            view=self.market.view,
            books=self.books,
            ask=Asking(self.exchange, clock=self.market.clock),
            now_us=self.market.now_us,
            clock=self.market.clock,
        )
        self.market.bus.subscribe(CANDLES, self.data.seen_candle)
        self.market.bus.subscribe(TRADES, self.data.seen_trade)

    @property
    def calls(self) -> int:
        """How often the exchange was asked."""
        return len(self.exchange.calls)


@pytest.fixture
def hub() -> Hub:
    """Return such a hub."""
    return Hub()


def test_what_is_listed_is_made_once_and_told_when_it_changes(hub):
    """Every listed symbol is served, traded or not; while none are known, that is said."""
    first = hub.data.symbols()
    assert list(first) == [SYMBOL]
    assert hub.data.symbols() is first
    halted = SymbolInfo("OLDUSDT", "BREAK", "OLD", "USDT")
    hub.listed = {SYMBOL: INFO, "OLDUSDT": halted}
    assert hub.data.symbols()["OLDUSDT"].status == "BREAK"
    hub.listed = None
    with pytest.raises(RestRefusal) as refused:
        hub.data.symbols()
    assert (refused.value.status, refused.value.retry_after_s) == (503, 5)


async def test_trades_are_asked_for_once_and_then_held(hub):
    """The exchange's newest are joined with those that came since, which cost no further call."""
    first = await hub.data.trades(SYMBOL, from_id=None, limit=1_000)
    known = hub.exchange.until(hub.exchange.now_us)
    assert [trade.id for trade in first] == [trade.id for trade in known[-1_000:]]
    assert hub.calls == 1
    hub.market.move(30)
    again = await hub.data.trades(SYMBOL, from_id=None, limit=1_000)
    known = hub.exchange.until(hub.exchange.now_us)
    assert [(t.id, t.price, t.quantity, t.time_us, t.buyer_is_maker) for t in again] == [
        (t.id, t.price, t.quantity, t.time_us, t.buyer_is_maker) for t in known[-1_000:]
    ]
    page = await hub.data.trades(SYMBOL, from_id=known[-50].id, limit=20)
    assert [trade.id for trade in page] == [trade.id for trade in known[-50:-30]]
    assert hub.calls == 1
    assert await hub.data.trades(SYMBOL, from_id=5, limit=20) is None


async def test_what_is_not_followed_is_not_known(hub):
    """After a cut, and of other symbols, the exchange has to be asked."""
    await hub.data.trades(SYMBOL, from_id=None, limit=5)
    assert await hub.data.price(SYMBOL) == hub.exchange.until(hub.exchange.now_us)[-1].price
    hub.exchange.now_us += 20 * SECOND_US
    assert await hub.data.trades(SYMBOL, from_id=None, limit=5) is None
    assert await hub.data.price(SYMBOL) is None
    assert await hub.data.trades("ETHUSDT", from_id=None, limit=5) is None
    assert await hub.data.price("ETHUSDT") is None
    assert await hub.data.statistics(SYMBOL, start_us=0, end_us=1) is None
    assert await hub.data.agg_trades(SYMBOL, from_id=1, start_us=None, end_us=None, limit=5) is None


async def test_a_symbol_that_is_followed_no_longer_holds_no_trades(hub):
    """Its trades are let go; when it comes back they are held anew."""
    await hub.data.trades(SYMBOL, from_id=None, limit=5)
    assert hub.data.report()["trades"] > 0
    hub.data.forget(SYMBOL)
    hub.data.forget(SYMBOL)
    assert hub.data.report()["trades"] == 0


async def test_klines_are_those_of_the_exchange(hub):
    """Held bars and asked ones join; trades of the running second count once they are held."""
    for _ in range(3):
        rows = await hub.data.klines(
            SYMBOL, "1m", start_us=None, end_us=None, offset_us=0, limit=10
        )
        truth = hub.exchange.klines("1m", start_us=None, end_us=None, limit=10)
        assert numbers(rows[:-1]) == numbers(truth[:-1])
        hub.market.move(1.25)
    rows = await hub.data.klines(SYMBOL, "1m", start_us=None, end_us=None, offset_us=0, limit=10)
    assert numbers(rows) == numbers(hub.exchange.klines("1m", start_us=None, end_us=None, limit=10))
    assert hub.calls == 1


LEVELS = tuple((f"{100 - at}.00000000", "1.00000000") for at in range(5))
ASKS = tuple((f"{101 + at}.00000000", "2.00000000") for at in range(3))


@pytest.mark.parametrize(
    ("limit", "known"),
    [
        pytest.param(2, True, id="within the range"),
        pytest.param(3, True, id="the whole shorter side"),
        pytest.param(5, True, id="one side whole, the other as deep as it is known"),
        pytest.param(6, True, id="a little deeper than one side is known"),
        pytest.param(7, False, id="much deeper than one side is known"),
    ],
)
async def test_a_book_is_told_as_deep_as_it_is_known(hub, limit, known):
    """A side may be short if it is whole, or of at most a fifth of what is asked."""
    book = OrderBook(SYMBOL)
    book.install(DepthSnapshot(SYMBOL, 77, LEVELS, ASKS, 5, None, 0))
    hub.books.held = HeldBook(book)
    told = await hub.data.depth(SYMBOL, limit=limit)
    if not known:
        assert told is None
        return
    assert (told.last_update_id, told.bids, told.asks) == (77, LEVELS[:limit], ASKS[:limit])


async def test_a_book_that_is_not_in_step_is_not_told(hub):
    """The exchange is asked instead."""
    assert await hub.data.depth(SYMBOL, limit=1) is None
    book = OrderBook(SYMBOL)
    book.install(DepthSnapshot(SYMBOL, 77, LEVELS, ASKS, 5, None, 0))
    for state in (BookState.STALE, BookState.SYNCING, BookState.POLLED):
        hub.books.held = HeldBook(book, state)
        assert await hub.data.depth(SYMBOL, limit=1) is None
    hub.books.held = HeldBook(None)
    assert await hub.data.depth(SYMBOL, limit=1) is None
