"""The mirror's REST side: the exchange's own calls, answered out of what the hub holds.

What the hub does not hold is asked of the exchange, within the hub's own limits and once for all.
Clients have limits of their own, by their address, which are told in the exchange's headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from app.binance.limits import IpBudget
from app.binance.server.rest import OF_THE_EXCHANGE, RestReply, RestServer
from app.binance.wire import TimeUnit
from app.gateways.binance.asked_depth import AskedDepth
from app.gateways.binance.asking import Asking, AskingConfig, unreadable
from app.gateways.binance.held_data import HeldData, LastTrades, Listed
from app.gateways.binance.held_klines import HeldCandles, KlinesConfig
from app.gateways.binance.kline_texts import KlineTexts
from app.gateways.binance.listing import EXCHANGE_INFO, told_now
from app.gateways.binance.passed_snapshots import PassedSnapshots
from app.ports import (
    CANDLES,
    TRADES,
    Books,
    Bus,
    Clock,
    ExchangeCalls,
    ExchangeClock,
    Subscription,
)


@dataclass(frozen=True)
class MirrorRestConfig:
    """The bounds of what is asked, and of what is kept."""

    asking: AskingConfig = field(default_factory=AskingConfig)
    klines: KlinesConfig = field(default_factory=KlinesConfig)


class MirrorRest:
    """Answers calls of `/api/v3`. `start` it, `stop` it, tell it what to `forget`."""

    def __init__(
        self,
        *,
        bus: Bus,
        listed: Listed,
        candles: HeldCandles,
        view: LastTrades,
        books: Books,
        calls: ExchangeCalls | None,
        exchange: ExchangeClock,
        budget: IpBudget,
        clock: Clock,
        snapshots: PassedSnapshots | None = None,
        config: MirrorRestConfig | None = None,
    ) -> None:
        """Serve the symbols that are `listed`; `calls` is `None` where no exchange can be asked.

        `snapshots` is told of each that is passed on, so that diffs of the hub's own fit it.
        """
        config = config or MirrorRestConfig()
        self._bus = bus
        self._exchange = exchange
        self._clock = clock
        self._budget = budget
        self._asking = Asking(calls, clock=clock, config=config.asking)
        self._depth = AskedDepth(
            self._asking, books=books, snapshots=snapshots or PassedSnapshots(), clock=clock
        )
        self._data = HeldData(
            listed=listed,
            candles=candles,
            view=view,
            books=books,
            ask=self._asking,
            now_us=self._now_us,
            clock=clock,
            hear_trades=self._hear_trades,
            config=config.klines,
        )
        self._server = RestServer(
            self._data,
            budget,
            elsewhere=self._elsewhere,
            # The list of symbols is known even where nobody can be asked.
            passed_on=OF_THE_EXCHANGE - (frozenset({EXCHANGE_INFO}) if calls is None else set()),
            encode_klines=KlineTexts(most=config.klines.rows),
        )
        self._subscriptions: dict[str, Subscription] = {}
        self._answers = 0

    def start(self) -> None:
        """Hear what is published from now on: trades from the first call on that needs them."""
        self._subscriptions = {CANDLES: self._bus.subscribe(CANDLES, self._data.seen_candle)}

    def stop(self) -> None:
        """Hear no more. Calling it twice is harmless."""
        for subscription in self._subscriptions.values():
            subscription.cancel()
        self._subscriptions = {}

    def forget(self, symbol: str) -> None:
        """Hold nothing of the stream of a symbol that is wanted no longer."""
        self._data.forget(symbol)
        self._depth.forget(symbol)

    async def answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str], ip: str
    ) -> RestReply:
        """Answer one request; `query` is as it came, `ip` what the caller is counted under."""
        self._answers += 1
        return await self._server.handle(method, path, query, headers, ip, self._now_us())

    def report(self) -> dict[str, object]:
        """Return what `/status` shows."""
        return {
            "answers": self._answers,
            "refused": self._budget.refused,
            "asked": dict(self._asking.report()),
            "held": self._data.report(),
        }

    def _hear_trades(self) -> None:
        if self._subscriptions and TRADES not in self._subscriptions:
            self._subscriptions[TRADES] = self._bus.subscribe(TRADES, self._data.seen_trade)

    async def _elsewhere(
        self, path: str, parameters: Mapping[str, str], time_unit: TimeUnit
    ) -> bytes:
        """Return what the exchange answers; raise `RestRefusal`."""
        body = await self._depth(path, parameters, time_unit)
        if path != EXCHANGE_INFO:
            return body
        try:  # it may have been kept for a while
            return told_now(
                body, now_us=self._now_us(), time_unit=time_unit, weight=self._budget.weight
            )
        except msgspec.MsgspecError as error:
            raise unreadable(str(error)) from error

    def _now_us(self) -> int:
        """Return the exchange's time as far as it is known, else ours."""
        exchange_us = self._exchange.exchange_us()
        return self._clock.now_us() if exchange_us is None else exchange_us
