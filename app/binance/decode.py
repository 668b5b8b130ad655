"""Bytes of the exchange to events: stream frames and REST bodies.

Everything here raises `BadFrame` and nothing else. Unknown extra fields are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from app.binance.numbers import (
    BOUND,
    ZERO,
    parse_amount,
    parse_narrow,
    parse_positive,
    parse_signed,
    parse_step,
    parse_sum,
)
from app.binance.streams import DEPTH, parse_stream
from app.binance.wire import (
    AggTradePayload,
    AggTradeRow,
    AveragePricePayload,
    BookPayload,
    BookTickerEnvelope,
    BookTickerPayload,
    ControlError,
    ControlRefusal,
    ControlReply,
    ControlResult,
    DayTickerPayload,
    DepthPayload,
    Envelope,
    FlatRefusal,
    FourHourTickerPayload,
    HourTickerPayload,
    KlinePayload,
    KlineRow,
    Levels,
    Micros,
    Millis,
    MiniTickerPayload,
    Outline,
    ServerShutdownPayload,
    ServerTime,
    SymbolRow,
    SymbolRows,
    TaggedPayload,
    TickerPayload,
    TimeUnit,
    TradePayload,
    TradeRow,
    WindowTickerPayload,
)
from app.errors import BadFrame, InvalidSymbol
from app.market.events import (
    NO_TRADE_ID,
    SECOND_US,
    AggTrade,
    AveragePrice,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    ExchangeEvent,
    Kline,
    MiniTicker,
    PartialDepth,
    ServerShutdown,
    Ticker,
    Trade,
    WindowTicker,
)
from app.market.symbols import SymbolInfo, parse_symbol

MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""The largest frames of the exchange (all tickers at once) stay below 1 MB."""

_MAX_REASON = 160
_LATEST_US = 253_402_300_799_999_999  # the end of the year 9999, as far as dates go

_S, _E, _U, _QUOTE = b'seu"'

T = TypeVar("T")
Bytes = bytes | memoryview

# What msgspec raises on bad input: its own errors and bad UTF-8 are ValueErrors.
_BAD_INPUT = (ValueError, RecursionError)

_WINDOWS: dict[type, str] = {
    HourTickerPayload: "1h",
    FourHourTickerPayload: "4h",
    DayTickerPayload: "1d",
}
_KINDS = frozenset(
    {
        *("trade", "aggTrade", "kline", "depthUpdate", "serverShutdown"),
        *("24hrTicker", "24hrMiniTicker", "1hTicker", "4hTicker", "1dTicker", "avgPrice"),
    }
)

_DIGITS = b"0123456789"
_PLAIN_LENGTH = 5  # of what stands for each sign of that, at most, on the average
_LEVELS = b'[".","."],' * 5_000  # what is left of levels without their digits
_number = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,18})?", re.ASCII).fullmatch

_outline: Callable[[Bytes], Outline] = msgspec.json.Decoder(Outline).decode
_array: Callable[[Bytes], list[Raw]] = msgspec.json.Decoder(list[Raw]).decode
_text: Callable[[Bytes], str] = msgspec.json.Decoder(str).decode
_book_ticker: Callable[[Bytes], BookTickerPayload] = msgspec.json.Decoder(BookTickerPayload).decode
_book_ticker_envelope: Callable[[Bytes], BookTickerEnvelope] = msgspec.json.Decoder(
    BookTickerEnvelope
).decode
_book: Callable[[Bytes], BookPayload] = msgspec.json.Decoder(BookPayload).decode
_result: Callable[[Bytes], ControlResult] = msgspec.json.Decoder(ControlResult).decode
_refusal: Callable[[Bytes], ControlRefusal] = msgspec.json.Decoder(ControlRefusal).decode
_flat_refusal: Callable[[Bytes], FlatRefusal] = msgspec.json.Decoder(FlatRefusal).decode
_error: Callable[[Bytes], ControlError] = msgspec.json.Decoder(ControlError).decode
_symbols: Callable[[Bytes], SymbolRows] = msgspec.json.Decoder(SymbolRows).decode
_server_time: Callable[[Bytes], ServerTime] = msgspec.json.Decoder(ServerTime).decode
_trade_rows: Callable[[Bytes], list[TradeRow]] = msgspec.json.Decoder(list[TradeRow]).decode
_agg_trade_rows: Callable[[Bytes], list[AggTradeRow]] = msgspec.json.Decoder(
    list[AggTradeRow]
).decode
_kline_rows: Callable[[Bytes], list[KlineRow]] = msgspec.json.Decoder(list[KlineRow]).decode


class Decoder:
    """Turns the frames of one connection into events; `time_unit` is the connection's own.

    The kind of a frame is guessed from two of its bytes, so that a trade costs one typed parse and
    two conversions. Only a frame that does not fit the guess is looked into more closely: the guess
    decides how fast a frame is decoded, never what comes out.
    """

    def __init__(self, *, time_unit: TimeUnit = TimeUnit.MILLISECOND) -> None:
        self._scale = time_unit.us
        self._last_part_us = time_unit.us - 1  # a close time names the last instant before the next
        # Which type an annotation gives is decided here at run time: static types cannot follow.
        times: Any = Millis if time_unit is TimeUnit.MILLISECOND else Micros
        tagged: Any = TaggedPayload
        self._tagged: Callable[[Bytes], Any] = msgspec.json.Decoder(tagged[times]).decode
        self._envelope: Callable[[Bytes], Any] = msgspec.json.Decoder(Envelope[times]).decode
        # One row for each payload type; `decode` itself handles the usual trade.
        self._events: dict[type, Callable[[Any, int], ExchangeEvent]] = {
            TradePayload: self._trade,
            AggTradePayload: self._agg_trade,
            KlinePayload: self._kline,
            BookTickerPayload: self._book_ticker_event,
            DepthPayload: self._depth,
            ServerShutdownPayload: self._server_shutdown,
            MiniTickerPayload: self._mini_ticker,
            TickerPayload: self._ticker,
            **dict.fromkeys(_WINDOWS, self._window_ticker),
            AveragePricePayload: self._average_price,
        }

    def decode(self, frame: Bytes, received_us: int) -> ExchangeEvent | ControlReply | None:
        """Return what a frame says, raw or combined; `None` for a kind that we do not know.

        Raises `BadFrame`, with a short reason, for everything that the protocol does not allow.
        """
        if len(frame) > MAX_FRAME_BYTES:
            _bad(f"expected at most {MAX_FRAME_BYTES} bytes, got {len(frame)}")
        payload: Any
        try:
            first = frame[2]
            if first == _S:  # {"stream":…
                if frame[-3] == _QUOTE:  # …"A":"14.05000000"}}
                    payload = _book_ticker_envelope(frame).data
                else:
                    payload = self._envelope(frame).data
            elif first == _E:  # {"e":…
                payload = self._tagged(frame)
            elif first == _U:  # {"u":…
                payload = _book_ticker(frame)
            else:
                return self._look_closer(frame, received_us)
            if type(payload) is TradePayload:
                price = parse_narrow(payload.price)
                quantity = parse_narrow(payload.quantity)
                if ZERO < price < BOUND and ZERO < quantity < BOUND:
                    scale = self._scale
                    return Trade(
                        payload.symbol,
                        payload.id,
                        price,
                        quantity,
                        payload.time * scale,
                        payload.buyer_is_maker,
                        payload.event_time * scale,
                        received_us,
                    )
            if type(payload) is DepthPayload and _has_plain_levels(frame, payload):
                return self._depth_update(payload, received_us)
        except (*_BAD_INPUT, IndexError, ArithmeticError):
            return self._look_closer(frame, received_us)
        return self._events[type(payload)](payload, received_us)

    def _look_closer(self, frame: Bytes, received_us: int) -> ExchangeEvent | ControlReply | None:
        """Decode a frame in any order of keys and with any white space, or say what is wrong."""
        try:
            if _first_character(frame) == "[":
                _array(frame)
                return None  # a raw array of a kind that we do not know
            outline = _outline(frame)
            if outline.stream is not UNSET:
                if isinstance(outline.data, UnsetType):
                    _bad("expected `data` beside `stream`")
                stream = _text(_bytes(outline.stream))
                return self._payload(_bytes(outline.data), received_us, stream)
            if outline.event is not UNSET:  # the shape of the WebSocket API
                return self._payload(_bytes(outline.event), received_us)
            if reply := _reply(frame, outline):
                return reply
            return self._payload(frame, received_us)
        except _BAD_INPUT as error:
            raise _bad_frame(error) from None

    def _payload(self, payload: Bytes, received_us: int, stream: str = "") -> ExchangeEvent | None:
        if _first_character(payload) == "[":
            _array(payload)
            return None
        outline = _outline(payload)
        if outline.e is not UNSET:
            if _text(_bytes(outline.e)) not in _KINDS:
                return None
            decoded = self._tagged(payload)
        elif outline.u is not UNSET and outline.b is not UNSET:
            decoded = _book_ticker(payload)
        elif outline.last_update_id is not UNSET:
            return _partial_depth(stream, _book(payload), received_us)
        else:
            return None
        return self._events[type(decoded)](decoded, received_us)

    def _trade(self, payload: TradePayload[int], received_us: int) -> Trade:
        return Trade(
            symbol=payload.symbol,
            id=payload.id,
            price=parse_positive(payload.price),
            quantity=parse_positive(payload.quantity),
            time_us=payload.time * self._scale,
            buyer_is_maker=payload.buyer_is_maker,
            event_us=payload.event_time * self._scale,
            received_us=received_us,
        )

    def _agg_trade(self, payload: AggTradePayload[int], received_us: int) -> AggTrade:
        _must_ascend(payload.first_trade_id, payload.last_trade_id)
        return AggTrade(
            symbol=payload.symbol,
            id=payload.id,
            price=parse_positive(payload.price),
            quantity=parse_positive(payload.quantity),
            first_trade_id=payload.first_trade_id,
            last_trade_id=payload.last_trade_id,
            time_us=payload.time * self._scale,
            buyer_is_maker=payload.buyer_is_maker,
            event_us=payload.event_time * self._scale,
            received_us=received_us,
        )

    def _kline(self, payload: KlinePayload[int], received_us: int) -> Kline:
        bar = payload.bar
        if bar.open_time * self._scale % SECOND_US:
            _bad(f"expected a bar that begins with a second, got {bar.open_time}")
        if bar.trades:
            _must_ascend(bar.first_trade_id, bar.last_trade_id)
        elif bar.first_trade_id != NO_TRADE_ID or bar.last_trade_id != NO_TRADE_ID:
            _bad(f"expected no ids where nothing traded, got {bar.first_trade_id}")
        return Kline(
            symbol=bar.symbol,
            interval=bar.interval,
            open_time_us=bar.open_time * self._scale,
            close_time_us=bar.close_time * self._scale + self._last_part_us,
            open=parse_positive(bar.open),
            high=parse_positive(bar.high),
            low=parse_positive(bar.low),
            close=parse_positive(bar.close),
            volume=parse_sum(bar.volume),
            quote_volume=parse_sum(bar.quote_volume),
            trades=bar.trades,
            taker_buy_volume=parse_sum(bar.taker_buy_volume),
            taker_buy_quote_volume=parse_sum(bar.taker_buy_quote_volume),
            first_trade_id=bar.first_trade_id,
            last_trade_id=bar.last_trade_id,
            closed=bar.closed,
            event_us=payload.event_time * self._scale,
            received_us=received_us,
        )

    def _book_ticker_event(self, payload: BookTickerPayload, received_us: int) -> BookTicker:
        return BookTicker(
            payload.symbol,
            payload.update_id,
            parse_positive(payload.bid_price),
            parse_positive(payload.bid_quantity),
            parse_positive(payload.ask_price),
            parse_positive(payload.ask_quantity),
            None,
            received_us,
        )

    def _depth(self, payload: DepthPayload[int], received_us: int) -> DepthUpdate:
        _check_levels(payload.bids)
        _check_levels(payload.asks)
        return self._depth_update(payload, received_us)

    def _depth_update(self, payload: DepthPayload[int], received_us: int) -> DepthUpdate:
        """Return a diff whose levels are looked at already."""
        if payload.first_update_id > payload.last_update_id:
            _bad(
                "expected update ids that ascend, got "
                f"{payload.first_update_id} to {payload.last_update_id}"
            )
        return DepthUpdate(
            payload.symbol,
            payload.first_update_id,
            payload.last_update_id,
            payload.bids,
            payload.asks,
            payload.event_time * self._scale,
            received_us,
        )

    def _mini_ticker(self, payload: MiniTickerPayload[int], received_us: int) -> MiniTicker:
        return MiniTicker(
            symbol=payload.symbol,
            close=parse_amount(payload.close),
            open=parse_amount(payload.open),
            high=parse_amount(payload.high),
            low=parse_amount(payload.low),
            volume=parse_sum(payload.volume),
            quote_volume=parse_sum(payload.quote_volume),
            event_us=payload.event_time * self._scale,
            received_us=received_us,
        )

    def _ticker(self, payload: TickerPayload[int], received_us: int) -> Ticker:
        """Prices may be 0: those of a symbol that never traded, and of an empty side of a book."""
        return Ticker(
            symbol=payload.symbol,
            price_change=parse_signed(payload.price_change),
            price_change_percent=parse_signed(payload.price_change_percent),
            weighted_average=parse_amount(payload.weighted_average),
            previous_close=parse_amount(payload.previous_close),
            last=parse_amount(payload.last),
            last_quantity=parse_amount(payload.last_quantity),
            bid_price=parse_amount(payload.bid_price),
            bid_quantity=parse_amount(payload.bid_quantity),
            ask_price=parse_amount(payload.ask_price),
            ask_quantity=parse_amount(payload.ask_quantity),
            open=parse_amount(payload.open),
            high=parse_amount(payload.high),
            low=parse_amount(payload.low),
            volume=parse_sum(payload.volume),
            quote_volume=parse_sum(payload.quote_volume),
            open_time_us=payload.open_time * self._scale,
            close_time_us=payload.close_time * self._scale + self._last_part_us,
            first_trade_id=payload.first_trade_id,
            last_trade_id=payload.last_trade_id,
            trades=payload.trades,
            event_us=payload.event_time * self._scale,
            received_us=received_us,
        )

    def _window_ticker(self, payload: WindowTickerPayload[int], received_us: int) -> WindowTicker:
        return WindowTicker(
            symbol=payload.symbol,
            window=_WINDOWS[type(payload)],
            price_change=parse_signed(payload.price_change),
            price_change_percent=parse_signed(payload.price_change_percent),
            open=parse_amount(payload.open),
            high=parse_amount(payload.high),
            low=parse_amount(payload.low),
            last=parse_amount(payload.last),
            weighted_average=parse_amount(payload.weighted_average),
            volume=parse_sum(payload.volume),
            quote_volume=parse_sum(payload.quote_volume),
            open_time_us=payload.open_time * self._scale,
            close_time_us=payload.close_time * self._scale + self._last_part_us,
            first_trade_id=payload.first_trade_id,
            last_trade_id=payload.last_trade_id,
            trades=payload.trades,
            event_us=payload.event_time * self._scale,
            received_us=received_us,
        )

    def _average_price(self, payload: AveragePricePayload[int], received_us: int) -> AveragePrice:
        return AveragePrice(
            symbol=payload.symbol,
            interval=payload.interval,
            price=parse_amount(payload.price),
            last_trade_us=payload.last_trade_time * self._scale,
            event_us=payload.event_time * self._scale,
            received_us=received_us,
        )

    def _server_shutdown(
        self, payload: ServerShutdownPayload[int], received_us: int
    ) -> ServerShutdown:
        return ServerShutdown(event_us=payload.event_time * self._scale, received_us=received_us)


def decode_exchange_info(body: bytes) -> dict[str, SymbolInfo]:
    """Return the listed symbols by name, in the exchange's order.

    A name that cannot be a symbol is left out. A step of zero or no number is unknown.
    """
    rows = _decoded(_symbols, body).symbols
    return {row.symbol: _symbol_info(row) for row in rows if _is_symbol(row.symbol)}


def decode_server_time(body: bytes, *, time_unit: TimeUnit = TimeUnit.MILLISECOND) -> int:
    """Return the exchange's clock in microseconds."""
    return _us(_decoded(_server_time, body).server_time, time_unit)


def decode_trades(
    body: bytes,
    symbol: str,
    *,
    received_us: int,
    time_unit: TimeUnit = TimeUnit.MILLISECOND,
) -> list[Trade]:
    """Return the rows of `trades` or `historicalTrades`, ascending as they came.

    A row names no event time: `event_us` is the match time.
    """
    return [
        Trade(
            symbol=symbol,
            id=row.id,
            price=parse_positive(row.price),
            quantity=parse_positive(row.quantity),
            time_us=_us(row.time, time_unit),
            buyer_is_maker=row.buyer_is_maker,
            event_us=_us(row.time, time_unit),
            received_us=received_us,
        )
        for row in _decoded(_trade_rows, body)
    ]


def decode_agg_trades(
    body: bytes,
    symbol: str,
    *,
    received_us: int,
    time_unit: TimeUnit = TimeUnit.MILLISECOND,
) -> list[AggTrade]:
    """Return the rows of `aggTrades`, ascending as they came; annulled ones are left out.

    A row names no event time: `event_us` is the match time.
    """
    return [
        AggTrade(
            symbol=symbol,
            id=row.id,
            price=parse_positive(row.price),
            quantity=parse_positive(row.quantity),
            first_trade_id=row.first_trade_id,
            last_trade_id=row.last_trade_id,
            time_us=_us(row.time, time_unit),
            buyer_is_maker=row.buyer_is_maker,
            event_us=_us(row.time, time_unit),
            received_us=received_us,
        )
        for row in _decoded(_agg_trade_rows, body)
        if row.first_trade_id != NO_TRADE_ID and _must_ascend(row.first_trade_id, row.last_trade_id)
    ]


def decode_klines(
    body: bytes,
    symbol: str,
    interval: str,
    *,
    received_us: int,
    as_of_us: int,
    time_unit: TimeUnit = TimeUnit.MILLISECOND,
) -> list[Kline]:
    """Return the rows of `klines`, ascending as they came, all with `from_rest` true and no ids.

    The newest row may still be forming: it is `closed` when it ended before `as_of_us`, the
    exchange's time when it was asked.
    """
    klines = []
    for row in _decoded(_kline_rows, body):
        close_time_us = _us(row.close_time, time_unit) + time_unit.us - 1
        klines.append(
            Kline(
                symbol=symbol,
                interval=interval,
                open_time_us=_us(row.open_time, time_unit),
                close_time_us=close_time_us,
                open=parse_positive(row.open),
                high=parse_positive(row.high),
                low=parse_positive(row.low),
                close=parse_positive(row.close),
                volume=parse_sum(row.volume),
                quote_volume=parse_sum(row.quote_volume),
                trades=row.trades,
                taker_buy_volume=parse_sum(row.taker_buy_volume),
                taker_buy_quote_volume=parse_sum(row.taker_buy_quote_volume),
                first_trade_id=NO_TRADE_ID,
                last_trade_id=NO_TRADE_ID,
                closed=close_time_us < as_of_us,
                event_us=None,
                received_us=received_us,
                from_rest=True,
            )
        )
    return klines


def decode_depth(body: bytes, symbol: str, *, limit: int, received_us: int) -> DepthSnapshot:
    """Return the answer of `depth`, asked for `limit` levels a side."""
    said = _decoded(_book, body)
    _check_levels(said.bids)
    _check_levels(said.asks)
    return DepthSnapshot(
        symbol, said.last_update_id, said.bids, said.asks, limit, None, received_us
    )


def decode_error(body: bytes) -> ControlError:
    """Return what a REST error says: `{"code":-1121,"msg":"Invalid symbol."}`."""
    return _decoded(_error, body)


def _decoded(decode: Callable[[Bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except _BAD_INPUT as error:
        raise _bad_frame(error) from None


def _us(time: int, time_unit: TimeUnit) -> int:
    time_us = time * time_unit.us
    if time_us > _LATEST_US:
        _bad(f"expected a time before the year 10000, got {time} {time_unit.lower()}s")
    return time_us


def _has_plain_levels(frame: Bytes, payload: DepthPayload[int]) -> bool:
    """Tell whether a diff ends with its levels, and each number has one point, else digits alone.

    Looking at each of some seventy numbers would double what a diff costs. What may pass here that
    the exchange never sends: a long number among short ones, `5.` and `.5`, and a point alone,
    which a book cannot take.
    """
    text = bytes(frame)
    levels = text[text.find(b'"b":') :]
    bids, asks = 10 * len(payload.bids), 10 * len(payload.asks)
    if len(levels) > _PLAIN_LENGTH * (bids + asks + 10):
        return False
    shape = levels.translate(None, _DIGITS)
    plain = b'"b":[%b],"a":[%b]}' % (_LEVELS[: bids and bids - 1], _LEVELS[: asks and asks - 1])
    return shape in (plain, plain + b"}")  # raw, combined


def _check_levels(levels: Levels) -> None:
    for level in levels:
        for text in level:
            if not _number(text):
                _bad(f"expected a number below 10^12 of at most 18 decimals, got {text[:40]!r}")


def _partial_depth(stream: str, said: BookPayload, received_us: int) -> PartialDepth | None:
    """Return the best levels of a book; `None` when no stream's name tells whose they are."""
    name = parse_stream(stream)
    if name is None or name.channel != DEPTH or not name.levels:
        return None
    _check_levels(said.bids)
    _check_levels(said.asks)
    return PartialDepth(
        name.symbol, said.last_update_id, said.bids, said.asks, name.levels, None, received_us
    )


def _must_ascend(first_id: int, last_id: int) -> bool:
    """Return true where two ids can be the first and the last of some trades; else raise."""
    if not 0 <= first_id <= last_id:
        _bad(f"expected ids that ascend, got {first_id} to {last_id}")
    return True


def _is_symbol(text: str) -> bool:
    try:
        return parse_symbol(text) == text
    except InvalidSymbol:
        return False


def _symbol_info(row: SymbolRow) -> SymbolInfo:
    return SymbolInfo(
        symbol=row.symbol,
        status=row.status,
        base_asset=row.base_asset,
        quote_asset=row.quote_asset,
        tick_size=_step(row, "PRICE_FILTER"),
        step_size=_step(row, "LOT_SIZE"),
    )


def _step(row: SymbolRow, filter_type: str) -> Decimal | None:
    for found in row.filters:
        if found.filter_type == filter_type:
            return parse_step(found.tick_size or found.step_size)
    return None


def _reply(frame: Bytes, outline: Outline) -> ControlReply | None:
    if outline.error is not UNSET:
        refusal = _refusal(frame)
        request_id = None if isinstance(refusal.id, UnsetType) else refusal.id
        return ControlReply(id=request_id, error=_bounded(refusal.error.code, refusal.error.msg))
    if outline.code is not UNSET:
        flat = _flat_refusal(frame)
        return ControlReply(id=flat.id, error=_bounded(flat.code, flat.msg))
    if outline.result is not UNSET:
        answer = _result(frame)
        return ControlReply(id=answer.id, result=answer.result)
    return None


def _bounded(code: int, message: str) -> ControlError:
    return ControlError(code=code, msg=message[:_MAX_REASON])


def _first_character(frame: Bytes) -> str:
    """Return the first character that is not white space; raise `BadFrame` when there is none."""
    head = bytes(frame[:64]).lstrip()
    if not head:
        _bad("expected an object or an array, got nothing")
    return chr(head[0])


def _bytes(raw: Raw | UnsetType) -> memoryview:
    return memoryview(b"" if isinstance(raw, UnsetType) else raw)


def _bad(reason: str) -> NoReturn:
    raise BadFrame(reason)


def _bad_frame(error: Exception) -> BadFrame:
    if isinstance(error, RecursionError):
        return BadFrame("nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return BadFrame("not UTF-8")
    return BadFrame(str(error)[:_MAX_REASON])
