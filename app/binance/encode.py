"""Events to bytes as the exchange writes them: stream payloads, envelopes, REST bodies, requests.

Keys come in the documents' order, numbers as text with 8 decimals, times in the unit asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UnsetType

from app.binance.numbers import exchange_text, percent_text, quote_amount
from app.binance.statistics import AVERAGE_MINUTES, Statistics, average
from app.binance.wire import (
    AggTradePayload,
    AggTradeRow,
    AveragePricePayload,
    AveragePriceRow,
    BookPayload,
    BookTickerPayload,
    BookTickerRow,
    ControlError,
    ControlRefusal,
    ControlRequest,
    ControlResult,
    DaySumsRow,
    DayTickerPayload,
    DepthPayload,
    FourHourTickerPayload,
    HourTickerPayload,
    KlineBar,
    KlinePayload,
    KlineRow,
    MiniTickerPayload,
    PriceRow,
    RequestId,
    ServerShutdownPayload,
    ServerTime,
    ShortSumsRow,
    SumsRow,
    TickerPayload,
    TimeUnit,
    TradePayload,
    TradeRow,
    WindowTickerPayload,
)
from app.market.events import (
    AggTrade,
    AveragePrice,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    ExchangeEvent,
    Kline,
    Level,
    MiniTicker,
    PartialDepth,
    ServerShutdown,
    Ticker,
    Trade,
    WindowTicker,
)

_encode = msgspec.json.Encoder().encode


def encode_event(event: ExchangeEvent, *, time_unit: TimeUnit = TimeUnit.MILLISECOND) -> bytes:
    """Return the payload of one stream event; `wrap` puts it into a combined frame.

    A kline from REST, which has no event time, is sent with the time at which it was received.
    """
    return _encode(_PAYLOADS[type(event)](event, time_unit.us))


def encode_events(
    events: Iterable[ExchangeEvent], *, time_unit: TimeUnit = TimeUnit.MILLISECOND
) -> bytes:
    """Return the payload of a stream of lists, such as `!miniTicker@arr`."""
    return b"[%b]" % b",".join(encode_event(event, time_unit=time_unit) for event in events)


def wrap(stream: str, payload: bytes) -> bytes:
    """Return the combined frame of a payload; `stream` is the subscribed name, as it was given."""
    return b'{"stream":%b,"data":%b}' % (_encode(stream), payload)


def wrap_api(payload: bytes) -> bytes:
    """Return a payload in the shape of the WebSocket API."""
    return b'{"event":%b}' % payload


def encode_request(method: str, params: Sequence[str | bool], id: RequestId) -> bytes:  # noqa: A002 - the wire's word
    """Return a control request; keep a SUBSCRIBE below about 200 names (4 kB)."""
    if not params:
        return _encode(ControlRequest(method=method, id=id))
    return _encode(ControlRequest(method=method, params=tuple(params), id=id))


def encode_result(result: bool | list[str] | None, id: RequestId) -> bytes:  # noqa: A002, FBT001 - the wire's word; a flag is one of the results
    """Return the reply to a control request that was accepted."""
    return _encode(ControlResult(result=result, id=id))


def encode_refusal(code: int, message: str, id: RequestId | UnsetType) -> bytes:  # noqa: A002 - the wire's word
    """Return the reply to a control request that was refused; `UNSET` leaves the id out."""
    return _encode(ControlRefusal(error=ControlError(code=code, msg=message), id=id))


def encode_error(code: int, message: str) -> bytes:
    """Return the body of a REST error."""
    return _encode(ControlError(code=code, msg=message))


def encode_server_time(now_us: int, *, time_unit: TimeUnit = TimeUnit.MILLISECOND) -> bytes:
    """Return the body of `time`."""
    return _encode(ServerTime(server_time=now_us // time_unit.us))


def encode_best_prices(book: DepthSnapshot) -> bytes:
    """Return one row of `ticker/bookTicker`; an empty side has a price and a quantity of zero."""
    return _encode(BookTickerRow(book.symbol, *_best(book.bids), *_best(book.asks)))


def encode_price(symbol: str, price: Decimal) -> bytes:
    """Return one row of `ticker/price`."""
    return _encode(PriceRow(symbol, exchange_text(price)))


def encode_average_price(sums: Statistics, *, time_unit: TimeUnit = TimeUnit.MILLISECOND) -> bytes:
    """Return the body of `avgPrice`."""
    told = average(sums, event_us=sums.close_time_us, received_us=sums.close_time_us)
    price = exchange_text(told.price)
    return _encode(AveragePriceRow(AVERAGE_MINUTES, price, told.last_trade_us // time_unit.us))


def encode_day_sums(
    sums: Statistics, book: DepthSnapshot | None, *, time_unit: TimeUnit = TimeUnit.MILLISECOND
) -> bytes:
    """Return one row of `ticker/24hr`; an empty side and an unknown book are zeros."""
    bid, ask = _best(book.bids if book else ()), _best(book.asks if book else ())
    unit = time_unit.us
    return _encode(
        DaySumsRow(
            symbol=sums.symbol,
            price_change=exchange_text(sums.price_change),
            price_change_percent=percent_text(sums.price_change_percent),
            weighted_average=exchange_text(sums.weighted_average),
            previous_close=exchange_text(sums.previous_close),
            last=exchange_text(sums.last),
            last_quantity=exchange_text(sums.last_quantity),
            bid_price=bid[0],
            bid_quantity=bid[1],
            ask_price=ask[0],
            ask_quantity=ask[1],
            open=exchange_text(sums.open),
            high=exchange_text(sums.high),
            low=exchange_text(sums.low),
            volume=exchange_text(sums.volume),
            quote_volume=exchange_text(sums.quote_volume),
            open_time=sums.open_time_us // unit,
            close_time=sums.close_time_us // unit,
            first_trade_id=sums.first_trade_id,
            last_trade_id=sums.last_trade_id,
            trades=sums.trades,
        )
    )


def encode_sums(sums: Statistics, *, time_unit: TimeUnit = TimeUnit.MILLISECOND) -> bytes:
    """Return one row of `ticker` and `ticker/tradingDay`."""
    unit = time_unit.us
    return _encode(
        SumsRow(
            symbol=sums.symbol,
            price_change=exchange_text(sums.price_change),
            price_change_percent=percent_text(sums.price_change_percent),
            weighted_average=exchange_text(sums.weighted_average),
            open=exchange_text(sums.open),
            high=exchange_text(sums.high),
            low=exchange_text(sums.low),
            last=exchange_text(sums.last),
            volume=exchange_text(sums.volume),
            quote_volume=exchange_text(sums.quote_volume),
            open_time=sums.open_time_us // unit,
            close_time=sums.close_time_us // unit,
            first_trade_id=sums.first_trade_id,
            last_trade_id=sums.last_trade_id,
            trades=sums.trades,
        )
    )


def encode_short_sums(sums: Statistics, *, time_unit: TimeUnit = TimeUnit.MILLISECOND) -> bytes:
    """Return one row of `ticker/24hr`, `ticker` and `ticker/tradingDay` with `type=MINI`."""
    unit = time_unit.us
    return _encode(
        ShortSumsRow(
            symbol=sums.symbol,
            open=exchange_text(sums.open),
            high=exchange_text(sums.high),
            low=exchange_text(sums.low),
            last=exchange_text(sums.last),
            volume=exchange_text(sums.volume),
            quote_volume=exchange_text(sums.quote_volume),
            open_time=sums.open_time_us // unit,
            close_time=sums.close_time_us // unit,
            first_trade_id=sums.first_trade_id,
            last_trade_id=sums.last_trade_id,
            trades=sums.trades,
        )
    )


def _best(levels: Sequence[Level]) -> Level:
    return levels[0] if levels else ("0.00000000", "0.00000000")


def encode_depth(book: DepthSnapshot | PartialDepth) -> bytes:
    """Return the body of `depth`, which is the payload of a partial book, too."""
    return _encode(BookPayload(book.last_update_id, book.bids, book.asks))


def encode_trades(trades: Iterable[Trade], *, time_unit: TimeUnit = TimeUnit.MILLISECOND) -> bytes:
    """Return the body of `trades` and `historicalTrades`."""
    unit = time_unit.us
    return _encode(
        [
            TradeRow(
                id=trade.id,
                price=exchange_text(trade.price),
                quantity=exchange_text(trade.quantity),
                quote_quantity=exchange_text(quote_amount(trade.price, trade.quantity)),
                time=trade.time_us // unit,
                buyer_is_maker=trade.buyer_is_maker,
            )
            for trade in trades
        ]
    )


def encode_agg_trades(
    trades: Iterable[AggTrade], *, time_unit: TimeUnit = TimeUnit.MILLISECOND
) -> bytes:
    """Return the body of `aggTrades`."""
    unit = time_unit.us
    return _encode(
        [
            AggTradeRow(
                id=trade.id,
                price=exchange_text(trade.price),
                quantity=exchange_text(trade.quantity),
                first_trade_id=trade.first_trade_id,
                last_trade_id=trade.last_trade_id,
                time=trade.time_us // unit,
                buyer_is_maker=trade.buyer_is_maker,
            )
            for trade in trades
        ]
    )


def encode_klines(klines: Iterable[Kline], *, time_unit: TimeUnit = TimeUnit.MILLISECOND) -> bytes:
    """Return the body of `klines` and `uiKlines`."""
    unit = time_unit.us
    return _encode(
        [
            KlineRow(
                open_time=kline.open_time_us // unit,
                open=exchange_text(kline.open),
                high=exchange_text(kline.high),
                low=exchange_text(kline.low),
                close=exchange_text(kline.close),
                volume=exchange_text(kline.volume),
                close_time=kline.close_time_us // unit,
                quote_volume=exchange_text(kline.quote_volume),
                trades=kline.trades,
                taker_buy_volume=exchange_text(kline.taker_buy_volume),
                taker_buy_quote_volume=exchange_text(kline.taker_buy_quote_volume),
            )
            for kline in klines
        ]
    )


def _trade(event: Trade, unit: int) -> TradePayload[int]:
    return TradePayload(
        event_time=event.event_us // unit,
        symbol=event.symbol,
        id=event.id,
        price=exchange_text(event.price),
        quantity=exchange_text(event.quantity),
        time=event.time_us // unit,
        buyer_is_maker=event.buyer_is_maker,
    )


def _agg_trade(event: AggTrade, unit: int) -> AggTradePayload[int]:
    return AggTradePayload(
        event_time=event.event_us // unit,
        symbol=event.symbol,
        id=event.id,
        price=exchange_text(event.price),
        quantity=exchange_text(event.quantity),
        first_trade_id=event.first_trade_id,
        last_trade_id=event.last_trade_id,
        time=event.time_us // unit,
        buyer_is_maker=event.buyer_is_maker,
    )


def _kline(event: Kline, unit: int) -> KlinePayload[int]:
    made_us = event.received_us if event.event_us is None else event.event_us
    return KlinePayload(
        event_time=made_us // unit,
        symbol=event.symbol,
        bar=KlineBar(
            open_time=event.open_time_us // unit,
            close_time=event.close_time_us // unit,
            symbol=event.symbol,
            interval=event.interval,
            first_trade_id=event.first_trade_id,
            last_trade_id=event.last_trade_id,
            open=exchange_text(event.open),
            close=exchange_text(event.close),
            high=exchange_text(event.high),
            low=exchange_text(event.low),
            volume=exchange_text(event.volume),
            trades=event.trades,
            closed=event.closed,
            quote_volume=exchange_text(event.quote_volume),
            taker_buy_volume=exchange_text(event.taker_buy_volume),
            taker_buy_quote_volume=exchange_text(event.taker_buy_quote_volume),
        ),
    )


def _book_ticker(event: BookTicker, _unit: int) -> BookTickerPayload:
    return BookTickerPayload(
        update_id=event.update_id,
        symbol=event.symbol,
        bid_price=exchange_text(event.bid_price),
        bid_quantity=exchange_text(event.bid_quantity),
        ask_price=exchange_text(event.ask_price),
        ask_quantity=exchange_text(event.ask_quantity),
    )


def _depth(event: DepthUpdate, unit: int) -> DepthPayload[int]:
    return DepthPayload(
        event_time=event.event_us // unit,
        symbol=event.symbol,
        first_update_id=event.first_update_id,
        last_update_id=event.last_update_id,
        bids=event.bids,
        asks=event.asks,
    )


def _partial_depth(event: PartialDepth, _unit: int) -> BookPayload:
    return BookPayload(event.last_update_id, event.bids, event.asks)


def _server_shutdown(event: ServerShutdown, unit: int) -> ServerShutdownPayload[int]:
    return ServerShutdownPayload(event_time=event.event_us // unit)


def _mini_ticker(event: MiniTicker, unit: int) -> MiniTickerPayload[int]:
    return MiniTickerPayload(
        event_time=event.event_us // unit,
        symbol=event.symbol,
        close=exchange_text(event.close),
        open=exchange_text(event.open),
        high=exchange_text(event.high),
        low=exchange_text(event.low),
        volume=exchange_text(event.volume),
        quote_volume=exchange_text(event.quote_volume),
    )


def _ticker(event: Ticker, unit: int) -> TickerPayload[int]:
    return TickerPayload(
        event_time=event.event_us // unit,
        symbol=event.symbol,
        price_change=exchange_text(event.price_change),
        price_change_percent=percent_text(event.price_change_percent),
        weighted_average=exchange_text(event.weighted_average),
        previous_close=exchange_text(event.previous_close),
        last=exchange_text(event.last),
        last_quantity=exchange_text(event.last_quantity),
        bid_price=exchange_text(event.bid_price),
        bid_quantity=exchange_text(event.bid_quantity),
        ask_price=exchange_text(event.ask_price),
        ask_quantity=exchange_text(event.ask_quantity),
        open=exchange_text(event.open),
        high=exchange_text(event.high),
        low=exchange_text(event.low),
        volume=exchange_text(event.volume),
        quote_volume=exchange_text(event.quote_volume),
        open_time=event.open_time_us // unit,
        close_time=event.close_time_us // unit,
        first_trade_id=event.first_trade_id,
        last_trade_id=event.last_trade_id,
        trades=event.trades,
    )


_WINDOWS: dict[str, type[WindowTickerPayload[int]]] = {
    "1h": HourTickerPayload,
    "4h": FourHourTickerPayload,
    "1d": DayTickerPayload,
}


def _window_ticker(event: WindowTicker, unit: int) -> WindowTickerPayload[int]:
    return _WINDOWS[event.window](
        event_time=event.event_us // unit,
        symbol=event.symbol,
        price_change=exchange_text(event.price_change),
        price_change_percent=percent_text(event.price_change_percent),
        open=exchange_text(event.open),
        high=exchange_text(event.high),
        low=exchange_text(event.low),
        last=exchange_text(event.last),
        weighted_average=exchange_text(event.weighted_average),
        volume=exchange_text(event.volume),
        quote_volume=exchange_text(event.quote_volume),
        open_time=event.open_time_us // unit,
        close_time=event.close_time_us // unit,
        first_trade_id=event.first_trade_id,
        last_trade_id=event.last_trade_id,
        trades=event.trades,
    )


def _average_price(event: AveragePrice, unit: int) -> AveragePricePayload[int]:
    return AveragePricePayload(
        event_time=event.event_us // unit,
        symbol=event.symbol,
        interval=event.interval,
        price=exchange_text(event.price),
        last_trade_time=event.last_trade_us // unit,
    )


# One row for each kind of event.
_PAYLOADS: dict[type, Callable[[Any, int], msgspec.Struct]] = {
    Trade: _trade,
    AggTrade: _agg_trade,
    Kline: _kline,
    BookTicker: _book_ticker,
    DepthUpdate: _depth,
    PartialDepth: _partial_depth,
    ServerShutdown: _server_shutdown,
    MiniTicker: _mini_ticker,
    Ticker: _ticker,
    WindowTicker: _window_ticker,
    AveragePrice: _average_price,
}
