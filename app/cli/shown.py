"""What came, as people read it and as programs do: one line an event. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import singledispatchmethod

import msgspec
from rich.text import Text

from app.market.events import (
    AggTrade,
    BookState,
    BookTicker,
    BookView,
    Candle,
    DepthSnapshot,
    DepthUpdate,
    Kline,
    Level,
    PartialDepth,
    StatusEvent,
    SymbolEvent,
    Trade,
)
from app.market.symbols import SymbolInfo

UP, DOWN, QUIET, WARNING, BAD = "green", "red", "bright_black", "yellow", "bold red"
LOUD = "bold black on yellow"
STATE_STYLES = {
    BookState.IN_STEP: "bold green",
    BookState.POLLED: "bold cyan",
    BookState.SYNCING: "bold yellow",
    BookState.STALE: "bold red",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Shown = SymbolEvent | Candle | BookView | StatusEvent | DepthSnapshot

InfoOf = Callable[[str], SymbolInfo | None]

_json = msgspec.json.Encoder(decimal_format="number")


def as_json(event: Shown) -> str:
    """Return an event as one line of JSON: its kind as `type`, its fields, times in µs."""
    return _json.encode(event).decode()


def trimmed(number: Decimal | str, digits: int | None = None) -> str:
    """Return a number with so many digits after the point, or more if it has more.

    Without `digits` zeros at its end are cut.
    """
    whole, _, rest = f"{Decimal(number):f}".partition(".")
    rest = rest.rstrip("0").ljust(digits or 0, "0")
    return f"{whole}.{rest}" if rest else whole


class Digits:
    """Writes the numbers of symbols; `info_of` tells how many digits they have."""

    def __init__(self, info_of: InfoOf) -> None:
        self._info_of = info_of

    def price(self, symbol: str, number: Decimal | str) -> str:
        """Return a price with the digits of the symbol's tick, or more."""
        info = self._info_of(symbol)
        return trimmed(number, None if info is None else info.price_digits)

    def quantity(self, symbol: str, number: Decimal | str) -> str:
        """Return a quantity with the digits of the symbol's step, or more."""
        info = self._info_of(symbol)
        return trimmed(number, None if info is None else info.quantity_digits)


def notice(name: str, *, simulated: bool) -> Text:
    """Return what must be said of where data comes from."""
    if simulated:
        return Text(f" SIMULATED: source {name}, an invented market ", LOUD)
    if name == "replay":
        return Text(" RECORDED: source replay, not live ", LOUD)
    if name == "testnet":
        return Text(" TESTNET: source testnet, not the real market ", LOUD)
    return Text(f"source {name}", UP)


class Lines:
    """Makes lines of events. `info_of` tells how many digits the numbers of a symbol have."""

    def __init__(self, info_of: InfoOf, zone: tzinfo) -> None:
        self._digits = Digits(info_of)
        self._zone = zone

    def line(self, event: Shown) -> Text:
        """Return an event as one line: its time, its symbol, what it says."""
        return Text.assemble(
            (self.time_of(event), QUIET),
            f"  {event.symbol or 'all':<9} ",
            (f"{self.kind(event):<13} ", QUIET),
            self.body(event),
        )

    def time_of(self, event: Shown) -> str:
        """Return the time of day that an event is about, with its milliseconds."""
        return self._clock_time(_time_us(event))

    def _clock_time(self, time_us: int) -> str:
        at = (_EPOCH + timedelta(microseconds=time_us)).astimezone(self._zone)
        return f"{at:%H:%M:%S}.{at.microsecond // 1_000:03}"

    def kind(self, event: Shown) -> str:
        """Return what an event is called."""
        if isinstance(event, Kline):
            return f"kline {event.interval}"
        if isinstance(event, Candle):
            return f"candle {event.interval}"
        if isinstance(event, PartialDepth):
            return f"depth{event.levels}"
        if isinstance(event, DepthSnapshot):
            return "snapshot"
        if isinstance(event, BookView):
            return "book"
        return str(event.__struct_config__.tag).replace("_", " ")

    @singledispatchmethod
    def body(self, event: Shown) -> Text:
        """Return what an event says. This is for what happens to the data itself."""
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        said = [f"{name} {fields[name]}" for name in ("reason", "way") if fields.get(name)]
        if fields.get("first_id") is not None:
            said.insert(0, f"trades {fields['first_id']}..{fields['last_id']}")
        if fields.get("until_us") is not None:
            said.append(f"until {self._clock_time(fields['until_us'])}")
        return Text("  ".join(said), WARNING)

    @body.register
    def _trade(self, event: Trade) -> Text:
        return self._traded(event).append(f"  id {event.id}", QUIET)

    @body.register
    def _agg_trade(self, event: AggTrade) -> Text:
        ids = f"  trades {event.first_trade_id}..{event.last_trade_id}"
        return self._traded(event).append(ids, QUIET)

    def _traded(self, event: Trade | AggTrade) -> Text:
        side = ("sell", DOWN) if event.buyer_is_maker else ("buy ", UP)
        quantity = self._digits.quantity(event.symbol, event.quantity)
        return Text.assemble(
            side, f" {quantity:>12} at ", (self._digits.price(event.symbol, event.price), side[1])
        )

    @body.register
    def _candle(self, event: Candle) -> Text:
        text = self._bar(event)
        if event.forming:
            text.append("  … forming", QUIET)
        elif event.complete:
            text.append("  ✔ complete", UP)
        else:
            text.append("  ✘ INCOMPLETE", "bold yellow")
        if event.revision:
            text.append(f"  revision {event.revision}", WARNING)
        return text

    @body.register
    def _kline(self, event: Kline) -> Text:
        return self._bar(event).append("  closed" if event.closed else "  … open", QUIET)

    def _bar(self, event: Candle | Kline) -> Text:
        style = UP if event.close >= event.open else DOWN
        text = Text()
        for letter, name in zip("OHLC", ("open", "high", "low", "close"), strict=True):
            text.append(f"{letter} ", QUIET)
            text.append(
                f"{self._digits.price(event.symbol, getattr(event, name))} ",
                style if letter == "C" else "",
            )
        text.append("V ", QUIET).append(self._digits.quantity(event.symbol, event.volume))
        return text.append(f"  {event.trades} trade{'' if event.trades == 1 else 's'}", QUIET)

    @body.register
    def _ticker(self, event: BookTicker) -> Text:
        bid = (trimmed(event.bid_price), trimmed(event.bid_quantity))
        return self._best(
            event.symbol, bid, (str(event.ask_price), str(event.ask_quantity))
        ).append(f"  update {event.update_id}", QUIET)

    @body.register
    def _update(self, event: DepthUpdate) -> Text:
        text = Text.assemble(
            (f"{len(event.bids)} bids", UP), ", ", (f"{len(event.asks)} asks", DOWN)
        )
        return text.append(f"  updates {event.first_update_id}..{event.last_update_id}", QUIET)

    @body.register
    def _partial(self, event: PartialDepth) -> Text:
        return self._levels(event)

    @body.register
    def _snapshot(self, event: DepthSnapshot) -> Text:
        return self._levels(event)

    def _levels(self, event: PartialDepth | DepthSnapshot) -> Text:
        best = [side[0] if side else None for side in (event.bids, event.asks)]
        return self._best(event.symbol, *best).append(
            f"  {len(event.bids)} + {len(event.asks)} levels  update {event.last_update_id}", QUIET
        )

    @body.register
    def _view(self, event: BookView) -> Text:
        state = Text(f"{event.state:<8} ", STATE_STYLES[event.state])
        best = [side[0] if side else None for side in (event.bids, event.asks)]
        text = state.append(self._best(event.symbol, *best))
        text.append(f"  update {event.update_id}", QUIET)
        return text.append(f"  {event.reason}", WARNING) if event.reason else text

    def _best(self, symbol: str, bid: Level | None, ask: Level | None) -> Text:
        text = Text()
        for name, level, style in (("bid", bid, UP), ("  ask", ask, DOWN)):
            text.append(f"{name} ", QUIET)
            if level is None:
                text.append("none", WARNING)
                continue
            text.append(self._digits.price(symbol, level[0]), style)
            text.append(f" x {self._digits.quantity(symbol, level[1])}")
        if bid is not None and ask is not None:
            spread = Decimal(ask[0]) - Decimal(bid[0])
            text.append("  spread ", QUIET).append(self._digits.price(symbol, spread))
        return text


def _time_us(event: Shown) -> int:
    """Return the time that an event is about, else when it came."""
    if isinstance(event, Candle | Kline):
        return event.open_time_us
    if isinstance(event, Trade | AggTrade):
        return event.time_us
    return event.event_us or event.received_us
