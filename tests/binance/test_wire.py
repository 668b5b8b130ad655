from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from app.binance import wire
from app.binance.wire import Millis, TimeUnit, listed_symbol, parse_time_unit
from app.market.symbols import SymbolInfo

# Every payload type whose docstring shows an example, as it is decoded.
GENERIC: dict[str, Any] = {
    name: getattr(wire, name)
    for name in ("TradePayload", "AggTradePayload", "KlinePayload", "ServerShutdownPayload")
}
EXAMPLES: dict[str, Any] = {name: payload[Millis] for name, payload in GENERIC.items()} | {
    name: getattr(wire, name)
    for name in (
        "BookTickerPayload",
        "ControlRequest",
        "ControlError",
        "ControlResult",
        "ControlRefusal",
        "TradeRow",
        "AggTradeRow",
        "KlineRow",
        "ServerTime",
    )
}


def example(name):
    """Return the payload that a type's docstring shows, without its line breaks."""
    text = "".join(line.strip() for line in getattr(wire, name).__doc__.splitlines())
    found = re.search(r"`([{\[].*?[}\]])`", text)
    assert found is not None
    return found[1].replace("…", "...").encode()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_documented_payload_is_what_the_type_reads_and_writes(name):
    """The example in a type's docstring decodes, and encodes to the same bytes."""
    payload = example(name)
    assert msgspec.json.encode(msgspec.json.decode(payload, type=EXAMPLES[name])) == payload


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("MILLISECOND", TimeUnit.MILLISECOND),
        ("millisecond", TimeUnit.MILLISECOND),
        ("MICROSECOND", TimeUnit.MICROSECOND),
        ("microsecond", TimeUnit.MICROSECOND),
        ("Microsecond", None),
        ("us", None),
        ("", None),
    ],
)
def test_a_time_unit_has_two_spellings(text, unit):
    """Upper and lower case are known, anything else is not."""
    assert parse_time_unit(text) is unit


def test_a_time_unit_knows_its_length():
    """A millisecond has a thousand microseconds."""
    assert [unit.us for unit in TimeUnit] == [1000, 1]


def test_a_listed_symbol_has_the_filters_in_the_live_order():
    """PRICE_FILTER comes first, tick and step are those of the symbol."""
    info = SymbolInfo("SOLUSDT", "TRADING", "SOL", "USDT", Decimal("0.01"), Decimal("0.001"))
    row = listed_symbol(info)
    assert [found["filterType"] for found in row.filters] == [
        "PRICE_FILTER",
        "LOT_SIZE",
        "ICEBERG_PARTS",
        "MARKET_LOT_SIZE",
        "TRAILING_DELTA",
        "PERCENT_PRICE_BY_SIDE",
        "NOTIONAL",
        "MAX_NUM_ORDERS",
        "MAX_NUM_ORDER_LISTS",
        "MAX_NUM_ALGO_ORDERS",
        "MAX_NUM_ORDER_AMENDS",
    ]
    assert row.filters[0]["tickSize"] == "0.01000000"
    assert row.filters[1]["stepSize"] == "0.00100000"


@pytest.mark.parametrize(
    ("quote", "step", "least", "most"),
    [
        ("USDT", "0.001", "5.00000000", "9000000.00000000"),
        ("USDT", "1", "5.00000000", "9000000000.00000000"),
        ("BTC", "0.0001", "0.00010000", "9000000.00000000"),
        ("ETH", "0.1", "0.00100000", "9000000.00000000"),
    ],
)
def test_bounds_of_orders_fit_the_symbol(quote, step, least, most):
    """What is traded on a symbol keeps to its own filters, whatever it is quoted in."""
    info = SymbolInfo("X" + quote, "TRADING", "X", quote, Decimal("0.01"), Decimal(step))
    filters = {found["filterType"]: found for found in listed_symbol(info).filters}
    assert filters["NOTIONAL"]["minNotional"] == least
    assert filters["LOT_SIZE"]["maxQty"] == most


def test_unknown_steps_restrict_nothing():
    """A symbol without known steps is listed with zeros, which switch a filter off."""
    row = listed_symbol(SymbolInfo("SOLUSDT", "TRADING", "SOL", "USDT"))
    assert row.filters[0] == {
        "filterType": "PRICE_FILTER",
        "minPrice": "0.00000000",
        "maxPrice": "0.00000000",
        "tickSize": "0.00000000",
    }
