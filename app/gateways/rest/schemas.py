"""The shapes of bodies and answers: strict for what comes in, documentation for what goes out.

Answers are not made from these models. They go out as prepared bytes, so that every digit of a
price stays as the exchange gave it; the models say in the documentation what those bytes hold.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Number = Annotated[Decimal, WithJsonSchema({"type": "number"})]
"""A JSON number with exact digits: read it as a decimal to keep them."""


class AddSymbol(BaseModel):
    """The body of `POST /add_symbol`: this one field and no other."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"symbol": "btcusdt"}]}
    )

    symbol: str = Field(description="The symbol to follow, in upper or lower case")


class ErrorAnswer(BaseModel):
    """Every error: a name for programs, a sentence for people."""

    error: str = Field(description="What went wrong, as a name that does not change")
    detail: str = Field(description="What went wrong, with the value and what was expected")


class NotReadyAnswer(ErrorAnswer):
    """Why the hub is not ready."""

    reasons: list[str] = Field(description="Each reason by itself")


class MessageAnswer(BaseModel):
    """One sentence."""

    message: str


class AddedAnswer(MessageAnswer):
    """A symbol that is followed from now on."""

    symbol: str


class SymbolsAnswer(BaseModel):
    """The symbols that are followed, sorted."""

    symbols: list[str]


class AvailableAnswer(SymbolsAnswer):
    """The symbols that may be added, sorted, and how many they are."""

    count: int


class TickAnswer(BaseModel):
    """The last trade of a symbol."""

    symbol: str
    price: Number = Field(description="In the quote currency")
    qty: Number = Field(description="In the base currency")
    timestamp: str = Field(description="`time` in DISPLAY_TIMEZONE, cut to the second")
    time: int = Field(description="When it was matched, in ms since 1970 UTC")
    id: int = Field(description="The exchange's id of the trade, or of the aggregate trade")
    first_trade_id: int | None = Field(
        default=None, description="Only where the source has aggregate trades alone"
    )
    last_trade_id: int | None = Field(
        default=None, description="Only where the source has aggregate trades alone"
    )


class OhlcAnswer(BaseModel):
    """The newest closed 1-second candle of a symbol."""

    symbol: str
    timestamp: str = Field(description="`open_time` in DISPLAY_TIMEZONE")
    open: Number
    high: Number
    low: Number
    close: Number
    open_time: int = Field(description="The second's start, in ms since 1970 UTC")
    volume: Number = Field(description="In the base currency")
    quote_volume: Number = Field(description="In the quote currency")
    trades: int = Field(description="How many trades the second had")
    taker_buy_volume: Number
    taker_buy_quote_volume: Number
    first_trade_id: int = Field(description="-1 when nothing was traded")
    last_trade_id: int = Field(description="-1 when nothing was traded")
    complete: bool = Field(description="True only when proved that no trade is missing")
    revision: int = Field(description="Counts the issues of this candle; the highest one counts")
    source: str = Field(description="Where the data comes from, such as binance or simulated")
    interval: str


class LiveAnswer(BaseModel):
    """The process runs."""

    status: str


class StatusAnswer(BaseModel):
    """The whole report of the hub; it grows, so read what you need and ignore the rest."""

    model_config = ConfigDict(extra="allow")

    source: str = Field(description="Where the data comes from")
    simulated: bool = Field(description="True when the market is made up: no real prices")
    symbols: list[dict[str, Any]] = Field(description="One report per followed symbol")
