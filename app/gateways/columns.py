"""Candles and trades as columns of integers, and back: the tables of `proto/candlewire.proto`.

What each column holds is said there. A row is only taken if it comes back with the same digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from app.gateways.messages import AggTradeMessage, CandleMessage, TradeMessage
from app.market.events import NO_TRADE_ID
from app.proto import candlewire_pb2 as pb

_LIMIT = 1 << 63
_MOST_DIGITS = 15  # of a scale: two of them are packed into one number
_POWERS = [10**n for n in range(2 * _MOST_DIGITS + 1)]

# Flags of a row.
_INCOMPLETE = 1
_BUYER_IS_MAKER = 1
_FORMING = 2
BARE_PRICES = 4
BARE_QUANTITIES = 8

# The order of a row's values in the code below.
_CANDLE_COLUMNS = (
    *("instrument", "zone", "interval", "sequence", "open_time", "flags", "revision"),
    *("trades", "first_trade_id", "absent_ids", "open", "close", "above", "below"),
    *("buy_volume", "sell_volume", "buy_discount", "sell_premium"),
)
_TRADE_COLUMNS = (
    *("instrument", "zone", "sequence", "time", "flags", "id", "price", "quantity"),
    *("first_trade_id", "more_trades"),
)

_Key = tuple[str, int, int]
"""An instrument: its symbol, and the scales of its prices and quantities."""


class Row(NamedTuple):
    """One message out of a table: what it shares with every message, and `own` with its kind."""

    symbol: str
    sequence: int
    zone: int
    time_ms: int
    own: dict[str, Any]


class Aligned(NamedTuple):
    """Numbers times 10^`scale`. `bare`: as text none of them ends in a zero after the point."""

    digits: Sequence[int]
    scale: int
    bare: bool


def scaled(number: Decimal) -> tuple[int, int]:
    """Return the digits of `number` and how many of them are after the point: 4.50 is (450, 2).

    Raises `ValueError` for what has no digits, and for a zero with a sign.
    """
    text = str(number)
    if "E" in text:
        text = format(number, "f")
    whole, _, fraction = text.partition(".")
    digits = int(whole + fraction)
    if not digits and number.is_signed():
        raise ValueError(text)
    return digits, len(fraction)


def unscaled(digits: int, scale: int) -> Decimal:
    """Return the number with so many digits after the point, zeros included."""
    return Decimal(f"{digits}E-{scale}")


class CandleTable:
    """Gathers candles, ascending by sequence, of one source and epoch."""

    def __init__(self, sequence: int) -> None:
        """`sequence` is that of the batch."""
        self._rows: list[tuple[int, ...]] = []
        self._instruments: dict[_Key, int] = {}
        self._intervals: dict[str, int] = {}
        self._next_sequence = sequence
        self._open_time = 0
        self._next_ids: dict[str, int] = {}
        self._closes: dict[int, int] = {}

    def add(self, message: CandleMessage, zone: int) -> bool:
        """Take a candle as the next row, or tell that no row can hold it."""
        prices = aligned(message.open, message.high, message.low, message.close)
        volumes = aligned(message.volume, message.taker_buy_volume)
        if prices is None or volumes is None or message.open_time % 1000:
            return False
        if not _is_joinable(message.symbol):
            return False
        scale = prices.scale + volumes.scale
        quote_volume = _bare_at(message.quote_volume, scale)
        buy_quote_volume = _bare_at(message.taker_buy_quote_volume, scale)
        if quote_volume is None or buy_quote_volume is None:
            return False

        open_, high, low, close = prices.digits
        volume, buy_volume = volumes.digits
        sell_volume = volume - buy_volume
        first_id, last_id = message.first_trade_id, message.last_trade_id
        unsigned = (
            message.sequence - self._next_sequence,
            message.revision,
            message.trades,
            high - max(open_, close),
            min(open_, close) - low,
            buy_volume,
            sell_volume,
            buy_volume * high - buy_quote_volume,
            quote_volume - buy_quote_volume - sell_volume * low,
        )
        largest = max(*unsigned, high, volume, high * volume, quote_volume, last_id)
        if min(*unsigned, low, first_id + 1) < 0 or largest >= _LIMIT:
            return False

        if message.trades:
            if first_id < 0:
                return False
            id_step = first_id - self._next_ids.get(message.symbol, 0)
            absent_ids = last_id - first_id + 1 - message.trades
            self._next_ids[message.symbol] = last_id + 1
        elif first_id == last_id == NO_TRADE_ID:
            id_step = absent_ids = 0
        else:
            return False
        key = (message.symbol, prices.scale, volumes.scale)
        instrument = self._instruments.setdefault(key, len(self._instruments))
        interval = self._intervals.setdefault(message.interval, len(self._intervals))
        flags = (
            (0 if message.complete else _INCOMPLETE)
            | (_FORMING if message.forming is True else 0)
            | (BARE_PRICES if prices.bare else 0)
            | (BARE_QUANTITIES if volumes.bare else 0)
        )
        open_time = message.open_time // 1000
        sequence, revision, trades, *rest = unsigned
        self._rows.append(
            (
                *(instrument, zone, interval, sequence, open_time - self._open_time),
                *(flags, revision, trades, id_step, absent_ids),
                *(open_ - self._closes.get(instrument, 0), close - open_, *rest),
            )
        )
        self._next_sequence = message.sequence + 1
        self._open_time = open_time
        self._closes[instrument] = close
        return True

    def build(self) -> pb.Candles | None:
        """Return the table; `None` if it has no row."""
        if not self._rows:
            return None
        return pb.Candles(
            instruments=_instruments(self._instruments),
            intervals=list(self._intervals),
            **_columns(_CANDLE_COLUMNS, self._rows),
        )


def candle_rows(table: pb.Candles, sequence: int) -> Iterator[Row]:
    """Return what `CandleTable` was given, in its order; `sequence` is the batch's."""
    instruments = _keys(table.instruments)
    next_ids: dict[str, int] = {}
    closes: dict[int, int] = {}
    open_time = 0
    for row in _rows(table, _CANDLE_COLUMNS, len(instruments)):
        symbol, price_scale, quantity_scale = instruments[row["instrument"]]
        sequence += row["sequence"]
        open_time += row["open_time"]
        open_ = closes.get(row["instrument"], 0) + row["open"]
        close = closes[row["instrument"]] = open_ + row["close"]
        high = max(open_, close) + row["above"]
        low = min(open_, close) - row["below"]
        volume = row["buy_volume"] + row["sell_volume"]
        buy_quote_volume = row["buy_volume"] * high - row["buy_discount"]
        quote_volume = buy_quote_volume + row["sell_volume"] * low + row["sell_premium"]
        first_id = last_id = NO_TRADE_ID
        if row["trades"]:
            first_id = next_ids.get(symbol, 0) + row["first_trade_id"]
            last_id = first_id + row["trades"] - 1 + row["absent_ids"]
            next_ids[symbol] = last_id + 1
        flags = row["flags"]
        price = bare if flags & BARE_PRICES else unscaled
        quantity = bare if flags & BARE_QUANTITIES else unscaled
        own = {
            "open": price(open_, price_scale),
            "high": price(high, price_scale),
            "low": price(low, price_scale),
            "close": price(close, price_scale),
            "open_time": open_time * 1000,
            "volume": quantity(volume, quantity_scale),
            "quote_volume": bare(quote_volume, price_scale + quantity_scale),
            "trades": row["trades"],
            "taker_buy_volume": quantity(row["buy_volume"], quantity_scale),
            "taker_buy_quote_volume": bare(buy_quote_volume, price_scale + quantity_scale),
            "first_trade_id": first_id,
            "last_trade_id": last_id,
            "complete": not flags & _INCOMPLETE,
            "revision": row["revision"],
            "forming": bool(flags & _FORMING),
            "interval": table.intervals[row["interval"]],
        }
        yield Row(symbol, sequence, row["zone"], open_time * 1000, own)
        sequence += 1


class TradeTable:
    """Gathers trades or aggregate trades, ascending by sequence, of one source and epoch."""

    def __init__(self, sequence: int) -> None:
        """`sequence` is that of the batch."""
        self._rows: list[tuple[int, ...]] = []
        self._instruments: dict[_Key, int] = {}
        self._next_sequence = sequence
        self._time = 0
        self._next_ids: dict[str, int] = {}
        self._next_trade_ids: dict[str, int] = {}
        self._prices: dict[int, int] = {}

    def add(self, message: TradeMessage | AggTradeMessage, zone: int) -> bool:
        """Take a trade as the next row, or tell that no row can hold it."""
        prices = aligned(message.price)
        quantities = aligned(message.quantity)
        if prices is None or quantities is None or not _is_joinable(message.symbol):
            return False
        (price,), (quantity,) = prices.digits, quantities.digits
        symbol = message.symbol
        first_id = last_id = 0
        if isinstance(message, AggTradeMessage):
            first_id, last_id = message.first_trade_id, message.last_trade_id
        sequence = message.sequence - self._next_sequence
        given = (sequence, message.time, message.id, price, quantity, first_id, last_id)
        if min(given) < 0 or max(given) >= _LIMIT:
            return False
        key = (symbol, prices.scale, quantities.scale)
        instrument = self._instruments.setdefault(key, len(self._instruments))
        self._rows.append(
            (
                *(instrument, zone, sequence, message.time - self._time),
                _BUYER_IS_MAKER if message.buyer_is_maker else 0,
                message.id - self._next_ids.get(symbol, 0),
                *(price - self._prices.get(instrument, 0), quantity),
                *(first_id - self._next_trade_ids.get(symbol, 0), last_id - first_id),
            )
        )
        self._next_sequence = message.sequence + 1
        self._time = message.time
        self._next_ids[symbol] = message.id + 1
        self._prices[instrument] = price
        if isinstance(message, AggTradeMessage):
            self._next_trade_ids[symbol] = last_id + 1
        return True

    def build(self) -> pb.Trades | None:
        """Return the table; `None` if it has no row."""
        if not self._rows:
            return None
        return pb.Trades(
            instruments=_instruments(self._instruments), **_columns(_TRADE_COLUMNS, self._rows)
        )


def trade_rows(table: pb.Trades, sequence: int, *, aggregates: bool) -> Iterator[Row]:
    """Return what `TradeTable` was given, in its order; `sequence` is the batch's."""
    instruments = _keys(table.instruments)
    next_ids: dict[str, int] = {}
    next_trade_ids: dict[str, int] = {}
    prices: dict[int, int] = {}
    time = 0
    for row in _rows(table, _TRADE_COLUMNS, len(instruments)):
        symbol, price_scale, quantity_scale = instruments[row["instrument"]]
        sequence += row["sequence"]
        time += row["time"]
        trade_id = next_ids.get(symbol, 0) + row["id"]
        next_ids[symbol] = trade_id + 1
        price = prices[row["instrument"]] = prices.get(row["instrument"], 0) + row["price"]
        own: dict[str, Any] = {
            "id": trade_id,
            "price": unscaled(price, price_scale),
            "quantity": unscaled(row["quantity"], quantity_scale),
            "time": time,
            "buyer_is_maker": bool(row["flags"] & _BUYER_IS_MAKER),
        }
        if aggregates:
            first_id = next_trade_ids.get(symbol, 0) + row["first_trade_id"]
            last_id = first_id + row["more_trades"]
            next_trade_ids[symbol] = last_id + 1
            own |= {"first_trade_id": first_id, "last_trade_id": last_id}
        yield Row(symbol, sequence, row["zone"], time, own)
        sequence += 1


def aligned(*numbers: Decimal) -> Aligned | None:
    """Return numbers at one scale, if their texts can be told from it; else `None`."""
    pairs = [scaled(number) for number in numbers]
    scales = {scale for _, scale in pairs}
    scale = max(scales)
    if scale > _MOST_DIGITS:
        return None
    if len(scales) == 1:
        return Aligned([digits for digits, _ in pairs], scale, bare=False)
    if all(_is_bare(digits, own) for digits, own in pairs):
        at_scale = [digits * _POWERS[scale - own] for digits, own in pairs]
        return Aligned(at_scale, scale, bare=True)
    return None


def _bare_at(number: Decimal, scale: int) -> int | None:
    """Return a number without trailing zeros times 10^`scale`; `None` if it is no such number."""
    digits, own = scaled(number)
    return digits * _POWERS[scale - own] if own <= scale and _is_bare(digits, own) else None


def _is_bare(digits: int, scale: int) -> bool:
    return scale == 0 or digits % 10 != 0


def bare(digits: int, scale: int) -> Decimal:
    """Return the number without trailing zeros after the point."""
    while scale and digits % 10 == 0:
        digits //= 10
        scale -= 1
    return unscaled(digits, scale)


def _columns(names: Sequence[str], rows: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """Return those columns that say something."""
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    instrument = columns.pop("instrument")
    found = {name: values for name, values in columns.items() if any(values)}
    if instrument != tuple(range(len(rows))):
        found["instrument"] = instrument
    return found


def _rows(
    table: pb.Candles | pb.Trades, names: Sequence[str], instruments: int
) -> Iterator[dict[str, int]]:
    """Return the rows; raise `ValueError` where the columns are not equally long."""
    given = list(table.instrument) or list(range(instruments))
    columns = [list(getattr(table, name)) or [0] * len(given) for name in names[1:]]
    for values in zip(given, *columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _instruments(keys: dict[_Key, int]) -> pb.Instruments:
    symbols, suffix = _joined(tuple(symbol for symbol, _, _ in keys))
    return pb.Instruments(
        symbols=symbols,
        suffix=suffix,
        scales=[quantity_scale << 4 | price_scale for _, price_scale, quantity_scale in keys],
    )


def _keys(instruments: pb.Instruments) -> list[_Key]:
    names = instruments.symbols.split(" ")
    return [
        (
            name[1:] if name.startswith("=") else name + instruments.suffix,
            scales & 15,
            scales >> 4,
        )
        for name, scales in zip(names, instruments.scales, strict=True)
    ]


def _is_joinable(symbol: str) -> bool:
    return " " not in symbol and symbol[:1] != "="


@lru_cache(maxsize=256)
def _joined(symbols: tuple[str, ...]) -> tuple[str, str]:
    """Return the symbols as one text, and the ending that is left out: mostly the quote asset."""
    counts = Counter(
        symbol[-length:] for symbol in symbols for length in range(3, min(6, len(symbol)))
    )
    # Each symbol without the ending is marked, and the ending itself takes its bytes and two.
    gains = {
        ending: count * len(ending) - (len(symbols) - count) - len(ending) - 2
        for ending, count in counts.items()
    }
    suffix = max(gains, key=gains.__getitem__, default="")
    if gains.get(suffix, 0) <= 0:
        suffix = ""
    names = [
        symbol.removesuffix(suffix)
        if symbol.endswith(suffix) and symbol != suffix
        else f"={symbol}"
        for symbol in symbols
    ]
    return " ".join(names), suffix
