"""A WebSocket client of a hub in simulated time: all that it is told, over all lives of the hub.

Its WebSocket is that of a library, none of ours. It does what docs/websocket.md says: it comes back
when its connection has ended, and asks for what it missed once it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any, get_args

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from app.market.events import Candle, Publication, StatusEvent
from app.ports import CANDLES, STATUS

WISHES = f"?channels={CANDLES},{STATUS}"
PAUSE_S = (0.1, 3.0)  # before it comes back
CUT = 1006

Position = tuple[int, int]  # epoch, sequence


class Client:
    """Follows the candles and the status of all symbols at `url` until cancelled.

    `pages` asks for all that a hub still holds, as `GET /candles/{symbol}` answers it for each
    symbol, and raises `OSError` where there is no hub. `now_us` is the exchange's clock.

    `candles` of each symbol are by their position among all that the hub has published, in the
    order in which they came; `events` too. A candle's `received_us` is when it came here, and its
    `event_us` is 0: no message says more. `misplaced` counts what came live though it, or something
    newer, had come before. `ends` are the ends of connections by their code, 1006 without one.
    `following` is set while it is connected.
    """

    def __init__(
        self,
        url: str,
        *,
        pages: Callable[[], Awaitable[Sequence[bytes]]],
        now_us: Callable[[], int],
        random: Random,
    ) -> None:
        self.candles: dict[str, dict[Position, Publication]] = {}
        self.events: list[Publication] = []
        self.misplaced: Counter[str] = Counter()  # by symbol
        self.ends: Counter[int] = Counter()
        self.following = asyncio.Event()
        self._url = url
        self._pages = pages
        self._now_us = now_us
        self._random = random
        self._newest: Position = (0, 0)  # of what came live

    async def run(self) -> None:
        """Follow the hub; dial again whenever the connection has ended or there is none."""
        while True:
            with contextlib.suppress(OSError, InvalidHandshake):
                # As a browser it waits for the hub's pings, and sends none.
                async with connect(self._url + WISHES, proxy=None, ping_interval=None) as socket:
                    self.following.set()
                    try:
                        await self._follow(socket)
                    finally:
                        self.following.clear()
            await asyncio.sleep(self._random.uniform(*PAUSE_S))

    async def _follow(self, socket: ClientConnection) -> None:
        """Fetch what was missed, and take what comes, up to the end of the connection."""
        with contextlib.suppress(ConnectionClosed):
            for page in await self._pages():
                for candle in _PAGE.decode(page).candles:
                    self._keep(candle)
            while True:
                self._take(_LIVE.decode(await socket.recv()))
        self.ends[socket.close_code or CUT] += 1

    def _take(self, message: _CandleMessage | _StatusMessage) -> None:
        """Take a message that came live."""
        position = message.epoch, message.sequence
        if position <= self._newest:
            self.misplaced[message.symbol] += 1
        self._newest = max(position, self._newest)
        if isinstance(message, _CandleMessage):
            self._keep(message)
        else:
            self.events.append(Publication(*position, STATUS, message.read()))

    def _keep(self, message: _CandleMessage) -> None:
        """Keep a candle, unless it is here already."""
        position = message.epoch, message.sequence
        known = self.candles.setdefault(message.symbol, {})
        if position not in known:
            known[position] = Publication(*position, CANDLES, message.read(self._now_us()))


class _Message(msgspec.Struct, tag_field="channel", gc=False):
    symbol: str
    epoch: int
    sequence: int


class _CandleMessage(_Message, tag=CANDLES, gc=False):
    """A candle as the channel sends it, and `GET /candles` too."""

    open_time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    first_trade_id: int
    last_trade_id: int
    complete: bool
    revision: int
    source: str
    interval: str

    def read(self, received_us: int) -> Candle:
        """Return what was published."""
        return Candle(
            self.source,
            self.symbol,
            self.interval,
            self.open_time * 1_000,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote_volume,
            self.trades,
            self.taker_buy_volume,
            self.taker_buy_quote_volume,
            self.first_trade_id,
            self.last_trade_id,
            self.complete,
            self.revision,
            0,
            received_us,
        )


class _StatusMessage(_Message, tag=STATUS, gc=False):
    """Any event of the data itself; what its kind does not have is left out."""

    event: str
    time: int
    reason: str = ""
    way: str = ""
    until: int | None = None
    first_trade_id: int = 0
    last_trade_id: int = 0
    from_: int = msgspec.field(name="from", default=0)
    to: int = 0

    def read(self) -> StatusEvent:
        """Return what was published, times cut to the millisecond."""
        kind = _KINDS[self.event]
        said: dict[str, Any] = {
            "symbol": self.symbol,
            "reason": self.reason,
            "way": self.way,
            "until_us": None if self.until is None else self.until * 1_000,
            "first_id": self.first_trade_id,
            "last_id": self.last_trade_id,
            "from_us": self.from_ * 1_000,
            "to_us": self.to * 1_000,
            "event_us": None,
            "received_us": self.time * 1_000,
        }
        return kind(**{name: said[name] for name in kind.__struct_fields__})


class _Page(msgspec.Struct):
    """What `GET /candles/{symbol}` answers, as far as it matters here."""

    candles: list[_CandleMessage]


_KINDS: dict[str, type[StatusEvent]] = {
    kind.__struct_config__.tag: kind for kind in get_args(StatusEvent)
}
_LIVE = msgspec.json.Decoder(_CandleMessage | _StatusMessage)
_PAGE = msgspec.json.Decoder(_Page)
