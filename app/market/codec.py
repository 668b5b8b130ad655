"""How what is published looks as JSON text, byte for byte; nothing about who gets it.

Numbers are JSON numbers with every digit that the exchange gave: prices with at least the digits of
the symbol's tick, quantities with at least those of its step, never in exponent form. Text times
are made here, at the edge, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal

import msgspec

from app.market.events import (
    SECOND_US,
    AggTrade,
    BookMetrics,
    BookView,
    Candle,
    ExchangeRefusal,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    Level,
    Publication,
    StatusEvent,
    StreamLost,
    StreamRestored,
    Trade,
)
from app.market.ring import CandleSpan
from app.market.symbols import SymbolInfo
from app.market.view import ONE_SECOND

# Repairs move through old seconds, so more than the newest text is kept; all go when it is full.
_KEPT_SECONDS = 4_096
_KEPT_SYMBOLS = 8_192
# The exchange writes every price and quantity with eight decimals: the usual case has a short way.
_WIRE_DIGITS = 8
_FORMING = ',"forming":true'


class JsonCodec:
    """Writes publications as JSON in the shapes that clients are promised.

    `timezone` is that of the text times. `source` is put on everything but candles, which carry it.
    `digits` returns what is known of a symbol, or `None`; it is asked each time, so a tick size
    that becomes known or changes shows at once.
    """

    def __init__(
        self, timezone: tzinfo, source: str, digits: Callable[[str], SymbolInfo | None]
    ) -> None:
        self._timezone = timezone
        self._source = source
        self._quoted_source = _quoted(source)
        self._digits = digits
        self._texts: dict[int, str] = {}
        self._styles: dict[str, _Style] = {}

    def candle(self, publication: Publication, candle: Candle) -> bytes:
        """Return a candle with its position, as the `candles` channel sends it."""
        return (
            f'{self._candle_fields(candle)},"channel":"candles","interval":"{candle.interval}",'
            f'"epoch":{publication.epoch},"sequence":{publication.sequence}}}'
        ).encode()

    def trade(self, publication: Publication, trade: Trade | AggTrade) -> bytes:
        """Return a trade with its position, as the `trades` channel sends it.

        An aggregate trade is written alike; `id` is its own, and it names its first and last trade.
        """
        style = self._style(trade.symbol)
        return (
            f'{{"symbol":{style.symbol},"id":{trade.id},"price":{style.price(trade.price)},'
            f'"quantity":{style.quantity(trade.quantity)},'
            f'"timestamp":{self._second(trade.time_us // SECOND_US)},'
            f'"time":{trade.time_us // 1_000},'
            f'"buyer_is_maker":{"true" if trade.buyer_is_maker else "false"}{_trade_range(trade)},'
            f'"channel":"trades",'
            f'"source":{self._quoted_source},"epoch":{publication.epoch},'
            f'"sequence":{publication.sequence}}}'
        ).encode()

    def status(self, publication: Publication, event: StatusEvent) -> bytes:
        """Return an event about the data itself, as the `status` channel sends it.

        `event` is the tag of its kind, `time` when this hub learned of it.
        """
        return msgspec.json.encode(
            {
                "symbol": event.symbol,
                "event": type(event).__struct_config__.tag,
                **_particulars(event),
                "timestamp": self.timestamp(event.received_us),
                "time": event.received_us // 1_000,
                "channel": "status",
                "source": self._source,
                "epoch": publication.epoch,
                "sequence": publication.sequence,
            }
        )

    def book_metrics(self, publication: Publication, event: BookMetrics) -> bytes:
        """Return figures of a book with their position, as channel `book_metrics` sends them."""
        return (
            f'{self._metrics_fields(event)},"channel":"book_metrics",'
            f'"source":{self._quoted_source},"epoch":{publication.epoch},'
            f'"sequence":{publication.sequence}}}'
        ).encode()

    def metrics_answer(self, newest: BookMetrics, history: Sequence[BookMetrics] | None) -> bytes:
        """Return what `GET /book/{symbol}/metrics` answers: the newest, and those asked for."""
        head = f'{self._metrics_fields(newest)},"source":{self._quoted_source}'
        if history is None:
            return f"{head}}}".encode()
        rows = ",".join(f"{self._metrics_fields(event)}}}" for event in history)
        return f'{head},"history":[{rows}]}}'.encode()

    def book(self, publication: Publication, view: BookView) -> bytes:
        """Return a book whole, as the `book` channel sends it to who has not seen it before."""
        style = self._style(view.symbol)
        return (
            f'{{"symbol":{style.symbol},"type":"snapshot","depth":{view.depth},'
            f'"every":{view.every_ms},"number":{view.number},'
            f"{self._book_fields(view, view.bids, view.asks)},"
            f'"epoch":{publication.epoch},"sequence":{publication.sequence}}}'
        ).encode()

    def book_update(self, publication: Publication, view: BookView, previous: int) -> bytes:
        """Return what changed in a book since its view numbered `previous`."""
        style = self._style(view.symbol)
        return (
            f'{{"symbol":{style.symbol},"type":"update","depth":{view.depth},'
            f'"every":{view.every_ms},"number":{view.number},"previous":{previous},'
            f"{self._book_fields(view, view.bid_changes, view.ask_changes)},"
            f'"epoch":{publication.epoch},"sequence":{publication.sequence}}}'
        ).encode()

    def book_answer(self, view: BookView) -> bytes:
        """Return a book as `GET /book/{symbol}` answers it: without interval and position."""
        style = self._style(view.symbol)
        return (
            f'{{"symbol":{style.symbol},"depth":{view.depth},"number":{view.number},'
            f"{self._book_fields(view, view.bids, view.asks)}}}"
        ).encode()

    def _book_fields(self, view: BookView, bids: Sequence[Level], asks: Sequence[Level]) -> str:
        """Return, as part of a JSON object, what every message about a book says."""
        style = self._style(view.symbol)
        time_us = view.received_us if view.event_us is None else view.event_us
        reason = f',"reason":{_quoted(view.reason)}' if view.reason else ""
        return (
            f'"update_id":{view.update_id},"state":"{view.state}"{reason},'
            f'"bids":{style.levels(bids)},"asks":{style.levels(asks)},'
            f'"exact_from":{style.bound(view.exact_from)},"exact_to":{style.bound(view.exact_to)},'
            f'"timestamp":{self._second(time_us // SECOND_US)},"time":{time_us // 1_000},'
            f'"channel":"book","source":{self._quoted_source}'
        )

    def ohlc(self, candle: Candle) -> bytes:
        """Return a candle as `GET /ohlc/{symbol}` answers it: without channel and position."""
        return f'{self._candle_fields(candle)},"interval":"{candle.interval}"}}'.encode()

    def candles(self, symbol: str, span: CandleSpan) -> bytes:
        """Return candles as `GET /candles/{symbol}` answers them, each as its channel sent it."""
        head: dict[str, object] = {
            "symbol": symbol,
            "interval": ONE_SECOND,
            "source": self._source,
            "start": _milliseconds(span.start_us),
            "end": _milliseconds(span.end_us),
            "reach": _milliseconds(span.reach_us),
        }
        if span.next_us is not None:
            head["next"] = _milliseconds(span.next_us)
        return msgspec.json.encode(head)[:-1] + b',"candles":[' + b",".join(span.texts) + b"]}"

    def tick(self, trade: Trade | AggTrade) -> bytes:
        """Return a trade as `GET /tick/{symbol}` answers it."""
        style = self._style(trade.symbol)
        return (
            f'{{"symbol":{style.symbol},"price":{style.price(trade.price)},'
            f'"qty":{style.quantity(trade.quantity)},'
            f'"timestamp":{self._second(trade.time_us // SECOND_US)},'
            f'"time":{trade.time_us // 1_000},"id":{trade.id}{_trade_range(trade)}}}'
        ).encode()

    def timestamp(self, time_us: int) -> str:
        """Return a time as people read it, cut to the second: `2024-11-10 15:30:45 IST`."""
        return self._second(time_us // SECOND_US)[1:-1]

    def _candle_fields(self, candle: Candle) -> str:
        """Return, as a JSON object left open, everything that belongs to the candle itself."""
        style = self._style(candle.symbol)
        price = style.price
        quantity = style.quantity
        same = candle.source == self._source
        return (
            f'{{"symbol":{style.symbol},'
            f'"timestamp":{self._second(candle.open_time_us // SECOND_US)},'
            f'"open":{price(candle.open)},"high":{price(candle.high)},'
            f'"low":{price(candle.low)},"close":{price(candle.close)},'
            f'"open_time":{candle.open_time_us // 1_000},'
            f'"volume":{quantity(candle.volume)},'
            f'"quote_volume":{plain(candle.quote_volume)},"trades":{candle.trades},'
            f'"taker_buy_volume":{quantity(candle.taker_buy_volume)},'
            f'"taker_buy_quote_volume":{plain(candle.taker_buy_quote_volume)},'
            f'"first_trade_id":{candle.first_trade_id},"last_trade_id":{candle.last_trade_id},'
            f'"complete":{"true" if candle.complete else "false"},'
            f'"revision":{candle.revision}{_FORMING if candle.forming else ""},"source":'
            f"{self._quoted_source if same else _quoted(candle.source)}"
        )

    def _metrics_fields(self, event: BookMetrics) -> str:
        """Return, as a JSON object left open, everything that belongs to the figures."""
        style = self._style(event.symbol)
        price, quantity = _or_null(style.price), _or_null(style.quantity)
        bands = ",".join(
            f'{{"bps":{band.bps},"bid_quantity":{quantity(band.bid_quantity)},'
            f'"ask_quantity":{quantity(band.ask_quantity)}}}'
            for band in event.bands
        )
        return (
            f'{{"symbol":{style.symbol},"every":{event.every_ms},"number":{event.number},'
            f'"update_id":{_number(event.update_id)},"state":"{event.state}"'
            f"{_reason(event.reason)},"
            f'"best_bid":{price(event.best_bid)},"best_bid_quantity":'
            f"{quantity(event.best_bid_quantity)},"
            f'"best_ask":{price(event.best_ask)},"best_ask_quantity":'
            f"{quantity(event.best_ask_quantity)},"
            f'"mid":{price(event.mid)},"microprice":{_or_null(plain)(event.microprice)},'
            f'"spread":{price(event.spread)},"spread_bps":{_number(event.spread_bps)},'
            f'"imbalance":{_number(event.imbalance)},"levels":{event.levels},"bands":[{bands}],'
            f'"window_s":{event.window_s},"trades":{event.trades},'
            f'"volume":{quantity(event.volume)},"quote_volume":{plain(event.quote_volume)},'
            f'"vwap":{_or_null(plain)(event.vwap)},'
            f'"realised_volatility":{_number(event.realised_volatility)}'
            f"{_volume_by_price(event)},"
            f'"timestamp":{self._second(event.time_us // SECOND_US)},'
            f'"time":{event.time_us // 1_000}'
        )

    def _style(self, symbol: str) -> _Style:
        info = self._digits(symbol)
        style = self._styles.get(symbol)
        if style is None or style.info is not info:
            if len(self._styles) >= _KEPT_SYMBOLS:
                self._styles.clear()
            style = self._styles[symbol] = _Style(symbol, info)
        return style

    def _second(self, second: int) -> str:
        """Return a second's text in quotes. A zone without letters shows its offset: `+0330`."""
        text = self._texts.get(second)
        if text is None:
            if len(self._texts) >= _KEPT_SECONDS:
                self._texts.clear()
            moment = datetime.fromtimestamp(second, self._timezone)
            text = self._texts[second] = _quoted(moment.strftime("%Y-%m-%d %H:%M:%S %Z"))
        return text


class _CandleText(msgspec.Struct, gc=False):
    """The fields of a candle's text, but those made for people."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    open_time: int
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
    forming: bool = False


_candle_text = msgspec.json.Decoder(_CandleText)


def read_candle(text: bytes) -> Candle:
    """Return the candle that was written as `text`; its `event_us` and `received_us` are 0."""
    said = _candle_text.decode(text)
    return Candle(
        said.source,
        said.symbol,
        said.interval,
        said.open_time * 1_000,
        said.open,
        said.high,
        said.low,
        said.close,
        said.volume,
        said.quote_volume,
        said.trades,
        said.taker_buy_volume,
        said.taker_buy_quote_volume,
        said.first_trade_id,
        said.last_trade_id,
        said.complete,
        said.revision,
        0,
        0,
        forming=said.forming,
    )


class _Style:
    """How one symbol's numbers are written. `info` is what it was made of."""

    def __init__(self, symbol: str, info: SymbolInfo | None) -> None:
        self.symbol = _quoted(symbol)
        self.info = info
        self.price = _writer(info.price_digits if info else None)
        self.quantity = _writer(info.quantity_digits if info else None)
        self._price_text = _text_writer(info.price_digits if info else None)
        self._quantity_text = _text_writer(info.quantity_digits if info else None)

    def levels(self, levels: Sequence[Level]) -> str:
        """Return levels as a JSON array of pairs."""
        price, quantity = self._price_text, self._quantity_text
        return f"[{','.join([f'[{price(one)},{quantity(other)}]' for one, other in levels])}]"

    def bound(self, price: str | None) -> str:
        """Return a price that may be none."""
        return "null" if price is None else self._price_text(price)


def _trade_range(trade: Trade | AggTrade) -> str:
    """Return, as further JSON fields, which trades an aggregate is made of."""
    if isinstance(trade, Trade):
        return ""
    return f',"first_trade_id":{trade.first_trade_id},"last_trade_id":{trade.last_trade_id}'


def _particulars(event: StatusEvent) -> dict[str, object]:
    """Return the fields that only this kind of event has."""
    match event:
        case StreamRestored():
            return {}
        case StreamLost():
            return {"reason": event.reason}
        case HoleFound():
            return _span(event)
        case HoleRepaired():
            return {**_span(event), "way": event.way}
        case HoleAbandoned():
            return {**_span(event), "reason": event.reason}
        case ExchangeRefusal():
            return {"reason": event.reason, "until": _milliseconds(event.until_us)}


def _or_null(write: Callable[[Decimal], str]) -> Callable[[Decimal | None], str]:
    """Return a writer of numbers that may be unknown."""
    return lambda number: "null" if number is None else write(number)


def _number(number: float | None) -> str:
    return "null" if number is None else plain(Decimal(repr(number)))


def _reason(reason: str) -> str:
    """Return, as a further JSON field, why a book is not in step; nothing where it is."""
    return f',"reason":{_quoted(reason)}' if reason else ""


def _volume_by_price(event: BookMetrics) -> str:
    """Return, as further JSON fields, the volumes by price, where the event has them."""
    if event.volume_by_price is None:
        return ""
    rows = ",".join(f"[{plain(row.price)},{plain(row.volume)}]" for row in event.volume_by_price)
    width = "" if event.bucket_width is None else f',"bucket_width":{plain(event.bucket_width)}'
    return f'{width},"volume_by_price":[{rows}]'


def _milliseconds(time_us: int | None) -> int | None:
    return None if time_us is None else time_us // 1_000


def _span(hole: HoleFound | HoleRepaired | HoleAbandoned) -> dict[str, object]:
    """Return which trades a hole is made of, and the first and the last second in doubt, in ms."""
    return {
        "first_trade_id": hole.first_id,
        "last_trade_id": hole.last_id,
        "from": hole.from_us // 1_000,
        "to": hole.to_us // 1_000,
    }


def plain(number: Decimal) -> str:
    """Return every digit of `number` without trailing zeros: `1E+2` is `100`, `0.50` is `0.5`."""
    text = _positional(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_digits(number: Decimal, digits: int) -> str:
    """Return `number` with at least so many digits after the point, more where it has more."""
    whole, _, fraction = _positional(number).partition(".")
    fraction = fraction.rstrip("0").ljust(digits, "0")
    return f"{whole}.{fraction}" if fraction else whole


def _writer(digits: int | None) -> Callable[[Decimal], str]:
    """Return the quickest way to write numbers of so many digits; `None` means unknown."""
    if digits is None:
        return plain
    if digits >= _WIRE_DIGITS or digits == 0:
        return lambda number: with_digits(number, digits)
    surplus = "0" * (_WIRE_DIGITS - digits)
    cut = digits - _WIRE_DIGITS
    point = -_WIRE_DIGITS - 1

    def write(number: Decimal) -> str:
        text = str(number)
        if text.endswith(surplus) and text[point : point + 1] == "." and "E" not in text:
            return text[:cut]
        return with_digits(number, digits)

    return write


def _text_writer(digits: int | None) -> Callable[[str], str]:
    """Return the quickest way to write numbers that are text already: the exchange's own."""
    slow = _writer(digits)
    if digits is None or digits >= _WIRE_DIGITS:
        return lambda text: slow(Decimal(text))
    surplus = ("0" * (_WIRE_DIGITS - digits)) if digits else "." + "0" * _WIRE_DIGITS
    cut = -len(surplus)
    point = -_WIRE_DIGITS - 1

    def write(text: str) -> str:
        if text.endswith(surplus) and text[point : point + 1] == ".":
            return text[:cut]
        return slow(Decimal(text))

    return write


def _positional(number: Decimal) -> str:
    """Return `number` without an exponent; `str` is mostly right, and three times as quick."""
    text = str(number)
    return format(number, "f") if "E" in text else text


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
