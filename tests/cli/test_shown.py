"""Tests of app.cli.shown: events as lines for people and as JSON for programs."""

from __future__ import annotations

import json
from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from rich.text import Text

from app.cli.shown import Lines, Shown, as_json, notice, trimmed
from app.market.events import (
    BookState,
    BookTicker,
    BookView,
    DepthSnapshot,
    DepthUpdate,
    ExchangeRefusal,
    HoleFound,
    Kline,
    PartialDepth,
)
from tests.fakes import START_US, a_candle, a_trade, an_aggregate, symbol_info

D = Decimal
LINES = Lines(
    lambda symbol: (
        symbol_info(symbol, tick="0.01", step="0.00001") if symbol == "BTCUSDT" else None
    ),
    UTC,
)


def a_view(**changes: object) -> BookView:
    """Return a view of a small book."""
    values: dict[str, object] = {
        "symbol": "BTCUSDT",
        "depth": 5,
        "every_ms": 0,
        "number": 7,
        "previous": None,
        "update_id": 42,
        "state": BookState.IN_STEP,
        "reason": "",
        "bids": (("100.10000000", "1.00000000"), ("100.00000000", "2.00000000")),
        "asks": (("100.20000000", "3.00000000"),),
        "bid_changes": (),
        "ask_changes": (),
        "exact_from": None,
        "exact_to": None,
        "event_us": START_US,
        "received_us": START_US,
    }
    return BookView(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [
        (D("56087.17000000"), 2, "56087.17"),
        (D("56084"), 2, "56084.00"),
        ("0.00001000", None, "0.00001"),
        (D("1E-7"), None, "0.0000001"),
        (D("100"), None, "100"),
        (D("0.125"), 2, "0.125"),  # never less than it is
        ("5.000", 0, "5"),
    ],
)
def test_numbers_keep_every_digit_that_says_something(
    number: D | str, digits: int | None, text: str
) -> None:
    """As many digits as the symbol has, more where the number has more, no exponents."""
    assert trimmed(number, digits) == text


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            a_candle(complete=True, revision=0),
            ["candle 1s", "O 43250.50", "C 43260.75", "87 trades", "✔ complete"],
        ),
        (a_candle(complete=False, revision=0), ["✘ INCOMPLETE"]),
        (a_candle(complete=True, revision=2), ["✔ complete", "revision 2"]),
        (a_candle(forming=True, complete=False, interval="1m"), ["candle 1m", "… forming"]),
        (a_trade(buyer_is_maker=True, id=77), ["trade", "sell", "id 77"]),
        (a_trade(buyer_is_maker=False), ["buy"]),
        (an_aggregate(first_trade_id=5, last_trade_id=9), ["agg trade", "trades 5..9"]),
        (
            Kline(
                "BTCUSDT", "1m", START_US, START_US, D(1), D(2), D(1), D(2), D(3), D(4), 1, D(0),
                D(0), 1, 1, False, START_US, START_US,
            ),
            ["kline 1m", "C 2.00", "V 3.00000", "1 trade ", "… open"],
        ),
        (
            BookTicker("BTCUSDT", 9, D("1.10"), D("5"), D("1.2"), D("6"), None, START_US),
            ["book ticker", "bid 1.10 x 5.00000", "ask 1.20 x 6.00000", "spread 0.10", "update 9"],
        ),
        (
            DepthUpdate("BTCUSDT", 3, 8, (("1", "0"),), (), START_US, START_US),
            ["depth update", "1 bids, 0 asks", "updates 3..8"],
        ),
        (
            PartialDepth("BTCUSDT", 8, (("1.5", "2"),), (), 5, None, START_US),
            ["depth5", "bid 1.50 x 2.00000", "ask none", "1 + 0 levels"],
        ),
        (
            DepthSnapshot("BTCUSDT", 8, (("1.5", "2"),), (("1.6", "2"),), 100, None, START_US),
            ["snapshot", "spread 0.10", "update 8"],
        ),
        (a_view(), ["book ", "in_step", "bid 100.10 x 1.00000", "spread 0.10", "update 42"]),
        (a_view(state=BookState.STALE, reason="stream lost"), ["stale", "stream lost"]),
        (
            HoleFound("BTCUSDT", 5, 6, START_US, START_US, None, START_US),
            ["hole found", "trades 5..6"],
        ),
        (
            ExchangeRefusal("HTTP 418", START_US, None, START_US),
            ["all ", "reason HTTP 418", "until 10:00:45.000"],
        ),
    ],
)  # fmt: skip
def test_a_line_says_what_came(event: Shown, said: list[str]) -> None:
    """Its time and symbol first, then all that matters of it."""
    line = LINES.line(event).plain + " "
    assert line.startswith("10:00:45.")
    assert [text for text in said if text not in line] == []


def test_times_are_of_the_zone_that_is_set() -> None:
    """The time of day, with its milliseconds."""
    trade = a_trade(time_us=START_US + 7_000)
    assert Lines(lambda _symbol: None, ZoneInfo("Asia/Kolkata")).time_of(trade) == "15:30:45.007"


def test_unknown_symbols_have_no_needless_zeros() -> None:
    """Where the digits of a symbol are not known, zeros at the end are cut."""
    assert " at 100 " in LINES.line(a_trade("ETHUSDT", price=D("100.00000000"))).plain + " "


def test_json_has_all_fields_and_all_digits() -> None:
    """One object a line: the kind, every field, numbers as the exchange gave them."""
    line = as_json(a_trade(price=D("100.10000000")))
    assert '"price":100.10000000' in line
    assert "\n" not in line
    read = json.loads(line)
    assert read["type"] == "trade"
    assert read["time_us"] == START_US + 123_000
    assert json.loads(as_json(a_view()))["bids"][0] == ["100.10000000", "1.00000000"]


@pytest.mark.parametrize(
    ("name", "simulated", "loud"),
    [
        ("simulated", True, True),
        ("grpc@127.0.0.1:50051", True, True),
        ("replay", False, True),
        ("testnet", False, True),
        ("binance", False, False),
    ],
)
def test_what_is_not_the_market_is_said_loudly(name: str, simulated: bool, loud: bool) -> None:
    """Everything but a real market stands out, and every source is named."""
    text = notice(name, simulated=simulated)
    assert isinstance(text, Text)
    assert name in text.plain
    assert ("on yellow" in str(text.style)) is loud
