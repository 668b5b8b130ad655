"""What binance-sdk-spot gets from an exchange, or from what looks like one: see `telling`.

Nothing of the library is changed but the addresses, and how long it waits for an answer. Wishes:
`until_ms`, the time of the exchange up to which it listens, and `span`, two times in ms of the past
of which it asks.

The library reads answers into models with strict types, and complains on stderr where they do not
fit. Fields that a model has and an answer lacks it lets pass, and fields that it does not know as
well: these are shown as `gaps`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from binance_common.configuration import (  # type: ignore[import-not-found]  # its own environment
    ConfigurationRestAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.constants import TimeUnit  # type: ignore[import-not-found]
from binance_common.errors import Error  # type: ignore[import-not-found]
from binance_sdk_spot.rest_api.models import (  # type: ignore[import-not-found]
    DepthSymbolStatusEnum,
    KlinesIntervalEnum,
    Ticker24hrTypeEnum,
    TickerTradingDayTypeEnum,
    TickerTypeEnum,
    TickerWindowSizeEnum,
    UiKlinesIntervalEnum,
)
from binance_sdk_spot.spot import Spot  # type: ignore[import-not-found]
from binance_sdk_spot.websocket_streams.models import (  # type: ignore[import-not-found]
    AllMarketRollingWindowTickerWindowSizeEnum,
    DiffBookDepthUpdateSpeedEnum,
    KlineIntervalEnum,
    KlineOffsetIntervalEnum,
    PartialBookDepthLevelsEnum,
    PartialBookDepthUpdateSpeedEnum,
    RollingWindowTickerWindowSizeEnum,
)
from pydantic import BaseModel

from tests.clients.mirror.telling import Place, visit

SYMBOL, OTHER, QUIET = "BTCUSDT", "ETHUSDT", "QTUMETH"
PATIENCE_MS = 15_000
SECOND = KlinesIntervalEnum.INTERVAL_1s
MINUTE = KlinesIntervalEnum.INTERVAL_1m

Subscribe = Callable[[Any], Awaitable[Any]]
Call = Callable[[Any], Any]

# By the name under which each is shown.
STREAMS: dict[str, Subscribe] = {
    "trade": lambda to: to.trade(SYMBOL),
    "agg trade": lambda to: to.agg_trade(SYMBOL),
    "kline 1s of quiet": lambda to: to.kline(QUIET, KlineIntervalEnum.INTERVAL_1s.value),
    "kline 1m": lambda to: to.kline(SYMBOL, KlineIntervalEnum.INTERVAL_1m.value),
    "kline 1d +8": lambda to: to.kline_offset(SYMBOL, KlineOffsetIntervalEnum.INTERVAL_1d.value),
    "book ticker": lambda to: to.book_ticker(SYMBOL),
    "diff": lambda to: to.diff_book_depth(
        SYMBOL, update_speed=DiffBookDepthUpdateSpeedEnum.UPDATE_SPEED_100ms.value
    ),
    "partial": lambda to: to.partial_book_depth(
        SYMBOL,
        PartialBookDepthLevelsEnum.LEVELS_20.value,
        update_speed=PartialBookDepthUpdateSpeedEnum.UPDATE_SPEED_100ms.value,
    ),
    "ticker": lambda to: to.ticker(SYMBOL),
    "mini ticker": lambda to: to.mini_ticker(SYMBOL),
    "rolling": lambda to: to.rolling_window_ticker(
        SYMBOL, RollingWindowTickerWindowSizeEnum.WINDOW_SIZE_1h.value
    ),
    "average": lambda to: to.avg_price(SYMBOL),
    "all mini": lambda to: to.all_mini_ticker(),
    "all rolling": lambda to: to.all_market_rolling_window_ticker(
        AllMarketRollingWindowTickerWindowSizeEnum.WINDOW_SIZE_4h.value
    ),
    "block trade": lambda to: to.block_trade(SYMBOL),
    "reference price": lambda to: to.reference_price(SYMBOL),
}


async def view(place: Place) -> None:
    """Listen up to a time and ask meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listen(place))
        tasks.create_task(listen_in_microseconds(place))
        tasks.create_task(ask(place))


def tell(place: Place, name: str, value: object) -> None:
    """Tell what the library gave, and where it lacks or does not know something."""
    place.tell(name, plain(value))
    for gap in dict.fromkeys(gaps(value)):
        place.tell("gaps", [name, gap])


async def listen(place: Place) -> None:
    """Subscribe to all streams, one after the other, and at the end to one less."""
    streams = Spot(
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=place.stream)
    ).websocket_streams
    await streams.create_connection()
    ended = await follow_seconds(place, streams)
    handles = {}
    for name, subscribe in STREAMS.items():
        handles[name] = await subscribe(streams)
        handles[name].on("message", partial(tell, place, name))
    await ended.wait()
    place.tell("subscribed", await streams.list_subscribe())
    await handles.pop("trade").unsubscribe()
    place.tell("subscribed less", await streams.list_subscribe())
    await streams.close_connection()


async def listen_in_microseconds(place: Place) -> None:
    """Subscribe to some streams that are to tell times more finely."""
    configuration = ConfigurationWebSocketStreams(
        stream_url=place.stream, time_unit=TimeUnit.MICROSECOND
    )
    streams = Spot(config_ws_streams=configuration).websocket_streams
    await streams.create_connection()
    ended = await follow_seconds(place, streams)
    trades = await streams.trade(SYMBOL)
    trades.on("message", partial(tell, place, "trade in microseconds"))
    await ended.wait()
    await streams.close_connection()


async def follow_seconds(place: Place, streams: Any) -> asyncio.Event:
    """Subscribe to seconds; return what is set once the one that begins at `until_ms` came."""
    there = asyncio.Event()
    klines = await streams.kline(SYMBOL, KlineIntervalEnum.INTERVAL_1s.value)

    finely = streams.configuration.time_unit is not None
    name = "seconds in microseconds" if finely else "seconds"

    def take(kline: Any) -> None:
        tell(place, name, kline)
        if kline.k.t // (1_000 if finely else 1) >= place.wishes["until_ms"]:
            there.set()

    klines.on("message", take)
    return there


async def ask(place: Place) -> None:
    """Make every call of market data that the library has."""
    span = place.wishes["span"]
    for name, call in calls(*span):
        await make_call(place, name, call, None)
    for name, call in calls(*(1_000 * time for time in span)):
        if "since" in name or name == "time":
            told = f"{name} in microseconds"
            await make_call(place, told, call, TimeUnit.MICROSECOND.value)


async def make_call(place: Place, name: str, call: Call, unit: str | None) -> None:
    """Tell the answer, what of the limits it used, or how it was refused."""
    configuration = ConfigurationRestAPI(base_path=place.rest, timeout=PATIENCE_MS, time_unit=unit)
    api = Spot(config_rest_api=configuration).rest_api
    try:
        answer = await asyncio.to_thread(call, api)
    except Error as error:
        what = [type(error).__name__, error.status_code, error.error_message]
        place.tell(f"refusal of {name}", what)
        return
    tell(place, name, answer.data())
    limits = [[each.interval, each.intervalNum, each.count] for each in answer.rate_limits]
    place.tell("limits", [name, limits])


def calls(start: int, end: int) -> Iterator[tuple[str, Call]]:
    """Yield each call under the name that it is told with.

    Those with `since` ask of the past between two times, so whoever asks gets the same.
    """
    some = [SYMBOL, OTHER, QUIET]
    yield "ping", lambda api: api.ping()
    yield "time", lambda api: api.time()
    yield "information", lambda api: api.exchange_info()
    yield "information of one", lambda api: api.exchange_info(symbol=SYMBOL)
    yield "information of some", lambda api: api.exchange_info(symbols=some)
    yield "rules", lambda api: api.execution_rules(symbol=SYMBOL)
    yield "rules of some", lambda api: api.execution_rules(symbols=some)
    yield "depth", lambda api: api.depth(SYMBOL, limit=100)
    yield (
        "depth by status",
        lambda api: api.depth(SYMBOL, limit=5, symbol_status=DepthSymbolStatusEnum.TRADING),
    )
    yield "trades", lambda api: api.get_trades(SYMBOL, limit=30)
    yield "historical trades", lambda api: api.historical_trades(SYMBOL, limit=30)
    yield "block trades", lambda api: api.historical_block_trades(SYMBOL, from_id=0)
    yield "aggregates", lambda api: api.agg_trades(SYMBOL, limit=30)
    yield "aggregates since", lambda api: api.agg_trades(SYMBOL, start_time=start, end_time=end)
    yield "klines", lambda api: api.klines(SYMBOL, SECOND, limit=50)
    yield "klines since", lambda api: api.klines(SYMBOL, SECOND, start_time=start, end_time=end)
    yield (
        "minutes since",
        lambda api: api.klines(SYMBOL, MINUTE, start_time=start, end_time=end),
    )
    yield (
        "klines elsewhere",
        lambda api: api.klines(SYMBOL, KlinesIntervalEnum.INTERVAL_1d, time_zone="+08:00", limit=1),
    )
    yield (
        "chart since",
        lambda api: api.ui_klines(
            SYMBOL, UiKlinesIntervalEnum.INTERVAL_1s, start_time=start, end_time=end
        ),
    )
    yield "average price", lambda api: api.avg_price(SYMBOL)
    yield "ticker of a day", lambda api: api.ticker24hr(SYMBOL)
    yield "tickers of a day", lambda api: api.ticker24hr(symbols=some)
    yield "all tickers of a day", lambda api: api.ticker24hr()
    yield "mini of a day", lambda api: api.ticker24hr(SYMBOL, type=Ticker24hrTypeEnum.MINI)
    yield "ticker of today", lambda api: api.ticker_trading_day(SYMBOL, time_zone="8")
    yield "tickers of today", lambda api: api.ticker_trading_day(symbols=some)
    yield (
        "mini of today",
        lambda api: api.ticker_trading_day(SYMBOL, type=TickerTradingDayTypeEnum.MINI),
    )
    yield (
        "ticker of a window",
        lambda api: api.ticker(SYMBOL, window_size=TickerWindowSizeEnum.WINDOW_SIZE_1m),
    )
    yield "tickers of a window", lambda api: api.ticker(symbols=some)
    yield (
        "mini of a window",
        lambda api: api.ticker(
            SYMBOL, window_size=TickerWindowSizeEnum.WINDOW_SIZE_1m, type=TickerTypeEnum.MINI
        ),
    )
    yield "price", lambda api: api.ticker_price(SYMBOL)
    yield "prices", lambda api: api.ticker_price(symbols=some)
    yield "all prices", lambda api: api.ticker_price()
    yield "best", lambda api: api.ticker_book_ticker(SYMBOL)
    yield "best of some", lambda api: api.ticker_book_ticker(symbols=some)
    yield "all best", lambda api: api.ticker_book_ticker()
    yield "reference price", lambda api: api.reference_price(SYMBOL)
    yield "calculation", lambda api: api.reference_price_calculation(SYMBOL)
    yield "a stranger", lambda api: api.klines("NOSUCH", SECOND)
    yield "too many", lambda api: api.exchange_info(symbol=SYMBOL, symbols=some)
    yield "a bad limit", lambda api: api.depth(SYMBOL, limit=-1)


def plain(value: object) -> Any:
    """Return what the library gave as JSON has it."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, BaseModel):
        return value
    # The models have a method of their own beside pydantic's; some show an inner field of theirs.
    told = value.to_dict()  # type: ignore[attr-defined]  # that one
    if isinstance(told, list):
        return plain(told)
    return {name: inner for name, inner in told.items() if name != "additional_properties"}


def gaps(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of each field that a model has and an answer lacks; `+` before the others."""
    if isinstance(value, list):
        for each in value:
            yield from gaps(each, f"{path}[]")
    elif isinstance(value, BaseModel):
        fields = type(value).model_fields
        # One that can be of several kinds holds the one that fits.
        for name in ["actual_instance"] if "one_of_schemas" in fields else fields:
            inner = getattr(value, name)
            if name == "actual_instance":
                yield from gaps(inner, path)
            elif name == "additional_properties":
                yield from (f"+{path}.{unknown}" for unknown in inner)
            elif inner is None:
                yield f"{path}.{fields[name].alias or name}"
            else:
                yield from gaps(inner, f"{path}.{fields[name].alias or name}")


if __name__ == "__main__":
    visit(view)
