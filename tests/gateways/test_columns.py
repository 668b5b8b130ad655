"""Tests of `app.gateways.columns`; that nothing is lost is tested in `test_protobuf`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from app.gateways.columns import (
    CandleTable,
    Row,
    TradeTable,
    candle_rows,
    scaled,
    trade_rows,
    unscaled,
)
from app.gateways.messages import AggTradeMessage, CandleMessage, TradeMessage
from app.proto import candlewire_pb2 as pb

SHARED: dict[str, Any] = {
    "timestamp": "2024-11-10 15:30:45 IST",
    "source": "binance",
    "epoch": 1_731_232_800_000,
    "sequence": 42,
}
CANDLE = CandleMessage(
    **SHARED,
    symbol="BTCUSDT",
    channel="candles",
    interval="1s",
    open=Decimal("43250.50"),
    high=Decimal("43275.00"),
    low=Decimal("43240.20"),
    close=Decimal("43260.75"),
    open_time=1_731_232_845_000,
    volume=Decimal("12.34567"),
    quote_volume=Decimal("533960.3475"),
    trades=87,
    taker_buy_volume=Decimal("6.12000"),
    taker_buy_quote_volume=Decimal("264700.12"),
    first_trade_id=4_123_456_789,
    last_trade_id=4_123_456_875,
    complete=True,
    revision=0,
)
TRADE = TradeMessage(
    **SHARED,
    symbol="BTCUSDT",
    channel="trades",
    id=4_123_456_789,
    price=Decimal("43250.50"),
    quantity=Decimal("0.05234"),
    time=1_731_232_845_123,
    buyer_is_maker=True,
)


def candle(**changes: object) -> CandleMessage:
    """Return a candle with `changes`."""
    return msgspec.structs.replace(CANDLE, **changes)


def trade(**changes: object) -> TradeMessage:
    """Return a trade with `changes`."""
    return msgspec.structs.replace(TRADE, **changes)


def next_candle(**changes: object) -> CandleMessage:
    """Return the candle of the second after, three publications later, with `changes`."""
    return candle(
        sequence=45,
        open_time=CANDLE.open_time + 1_000,
        open=Decimal("43260.76"),
        first_trade_id=4_123_456_876,
        last_trade_id=4_123_456_962,
        **changes,
    )


def table_of(*candles: CandleMessage) -> pb.Candles:
    """Return the table of candles that all fit."""
    table = CandleTable(42)
    assert [table.add(each, 0) for each in candles] == [True] * len(candles)
    built = table.build()
    assert built is not None
    return built


def test_a_candle_is_written_as_differences():
    """Each column holds what the schema says of it, and what is 0 is not there."""
    assert table_of(CANDLE) == pb.Candles(
        instruments=pb.Instruments(symbols="BTCUSDT", scales=[5 << 4 | 2]),
        intervals=["1s"],
        open_time=[1_731_232_845],
        trades=[87],
        first_trade_id=[4_123_456_789],
        open=[4_325_050],
        close=[1_025],
        above=[1_425],
        below=[1_030],
        buy_volume=[612_000],
        sell_volume=[622_567],
        buy_discount=[612_000 * 4_327_500 - 2_647_001_200_000],
        sell_premium=[5_339_603_475_000 - 2_647_001_200_000 - 622_567 * 4_324_020],
    )


def test_the_next_candle_of_a_symbol_costs_next_to_nothing():
    """Open, time, ids and sequence follow from the candle before."""
    table = table_of(CANDLE, next_candle())
    assert list(table.instrument) == [0, 0]
    assert list(table.sequence) == [0, 2]
    assert list(table.open_time) == [1_731_232_845, 1]
    assert list(table.open) == [4_325_050, 1]
    assert list(table.first_trade_id) == [4_123_456_789, 0]


def test_an_empty_second_leaves_the_ids_where_they_were():
    """The ids go on behind a second without trades."""
    empty = candle(
        sequence=43,
        **dict.fromkeys(("open", "high", "low", "close"), CANDLE.close),
        **dict.fromkeys(("volume", "taker_buy_volume"), Decimal("0.00000")),
        **dict.fromkeys(("quote_volume", "taker_buy_quote_volume"), Decimal(0)),
        trades=0,
        **dict.fromkeys(("first_trade_id", "last_trade_id"), -1),
    )
    table = table_of(CANDLE, empty, next_candle())
    assert list(table.first_trade_id) == [4_123_456_789, 0, 0]
    ids = [(row.own["first_trade_id"], row.own["last_trade_id"]) for row in candle_rows(table, 42)]
    assert ids == [(4_123_456_789, 4_123_456_875), (-1, -1), (4_123_456_876, 4_123_456_962)]


def test_flags_say_what_is_unusual():
    """Incomplete, forming, and numbers without trailing zeros."""
    unusual = candle(
        complete=False,
        forming=True,
        high=Decimal(43275),
        taker_buy_volume=Decimal("6.12"),
    )
    bare = candle(symbol="ETHUSDT", sequence=43, high=Decimal(43275), open=Decimal("43250.5"))
    bare = msgspec.structs.replace(bare, low=Decimal("43240.2"))
    assert CandleTable(42).add(unusual, 0) is False  # 43250.50 beside 43275
    assert list(table_of(bare).flags) == [4]
    assert list(table_of(candle(complete=False, forming=True)).flags) == [3]
    assert list(table_of(candle(taker_buy_volume=Decimal("6.12"))).flags) == [8]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sequence": 41}, id="an earlier sequence"),
        pytest.param({"open_time": 1_731_232_845_001}, id="parts of a second"),
        pytest.param({"symbol": "BTC USDT"}, id="a space"),
        pytest.param({"symbol": "=BTC"}, id="an equals sign"),
        pytest.param({"open": Decimal("43250.5000000000000000")}, id="a long scale"),
        pytest.param({"quote_volume": Decimal("533960.347500")}, id="trailing zeros"),
        pytest.param({"quote_volume": Decimal("533960.34750001")}, id="too many digits"),
        pytest.param({"quote_volume": Decimal(533_000)}, id="sold below the low"),
        pytest.param({"taker_buy_quote_volume": Decimal(264_844)}, id="bought above the high"),
        pytest.param({"taker_buy_volume": Decimal("12.34568")}, id="bought more than there was"),
        pytest.param({"high": Decimal("43260.74")}, id="a high below the close"),
        pytest.param({"low": Decimal("43250.51")}, id="a low above the open"),
        pytest.param({"low": Decimal("-1.00")}, id="a negative price"),
        pytest.param({"first_trade_id": -1, "last_trade_id": -1}, id="trades without ids"),
        pytest.param({"trades": 0}, id="ids without trades"),
        pytest.param({"revision": -1}, id="a negative revision"),
        pytest.param({"volume": Decimal("123456789012.34567")}, id="a product of over 63 bits"),
        pytest.param({"trades": 1 << 63}, id="a number of over 63 bits"),
    ],
)
def test_what_does_not_fit_is_left_to_others(changes):
    """A candle that would not come back the same is not taken, and leaves no trace."""
    table = CandleTable(42)
    assert table.add(candle(**changes), 0) is False
    assert table.build() is None
    assert table.add(CANDLE, 0)
    assert table.build() == table_of(CANDLE)


@pytest.mark.parametrize(
    ("symbols", "joined", "suffix"),
    [
        (["BTCUSDT", "ETHUSDT", "ETHBTC"], "BTC ETH =ETHBTC", "USDT"),
        (["BTCUSDC", "ETHUSDC", "USDC", "XRPBTC"], "BTCU ETHU U =XRPBTC", "SDC"),
        (["ABCD", "EFGH"], "ABCD EFGH", ""),
        (["A", "B"], "A B", ""),
    ],
)
def test_symbols_leave_out_the_usual_ending(symbols, joined, suffix):
    """The ending that saves most is said once; symbols without it are marked."""
    table = table_of(*(candle(symbol=name, sequence=42 + n) for n, name in enumerate(symbols)))
    assert (table.instruments.symbols, table.instruments.suffix) == (joined, suffix)
    assert [row.symbol for row in candle_rows(table, 42)] == symbols


def test_a_trade_is_written_as_differences():
    """The next trade of a symbol costs its quantity and little more."""
    table = TradeTable(40)
    later = trade(sequence=43, id=4_123_456_790, price=Decimal("43250.49"), time=TRADE.time + 7)
    assert table.add(TRADE, 0)
    assert table.add(later, 1)
    built = table.build()
    assert built == pb.Trades(
        instruments=pb.Instruments(symbols="BTCUSDT", scales=[82]),
        sequence=[2, 0],
        time=[1_731_232_845_123, 7],
        id=[4_123_456_789, 0],
        price=[4_325_050, -1],
        quantity=[5_234, 5_234],
        flags=[1, 1],
        instrument=[0, 0],
        zone=[0, 1],
    )
    assert [row[:4] for row in trade_rows(built, 40, aggregates=False)] == [
        ("BTCUSDT", 42, 0, TRADE.time),
        ("BTCUSDT", 43, 1, TRADE.time + 7),
    ]


def test_an_aggregate_also_names_its_trades():
    """Its ids follow from the aggregate before, too."""
    fields = msgspec.structs.asdict(TRADE) | {"first_trade_id": 100, "last_trade_id": 102}
    first = AggTradeMessage(**fields)
    second = AggTradeMessage(
        **(fields | {"sequence": 43, "first_trade_id": 103, "last_trade_id": 103})
    )
    table = TradeTable(42)
    assert table.add(first, 0)
    assert table.add(second, 0)
    built = table.build()
    assert built is not None
    assert (list(built.first_trade_id), list(built.more_trades)) == ([100, 0], [2, 0])
    rows: list[Row] = list(trade_rows(built, 42, aggregates=True))
    assert [row.own["last_trade_id"] for row in rows] == [102, 103]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sequence": 41}, id="an earlier sequence"),
        pytest.param({"symbol": "BTC USDT"}, id="a space"),
        pytest.param({"price": Decimal("1.0000000000000000")}, id="a long scale"),
        pytest.param({"quantity": Decimal(1 << 63)}, id="a number of over 63 bits"),
        pytest.param({"id": -1}, id="a negative id"),
    ],
)
def test_a_trade_that_does_not_fit_is_left_to_others(changes):
    """A trade that would not come back the same is not taken."""
    table = TradeTable(42)
    assert table.add(trade(**changes), 0) is False
    assert table.build() is None


@pytest.mark.parametrize(
    ("text", "digits", "scale"),
    [
        ("43250.50", 4_325_050, 2),
        ("0.00000012", 12, 8),
        ("1E+3", 1_000, 0),
        ("0.00", 0, 2),
        ("0", 0, 0),
        ("-1.5", -15, 1),
        ("123456789012345678901234567890.5", 1_234_567_890_123_456_789_012_345_678_905, 1),
    ],
)
def test_numbers_are_digits_and_a_scale(text, digits, scale):
    """Every digit is kept, zeros behind the point too."""
    assert scaled(Decimal(text)) == (digits, scale)
    assert format(unscaled(digits, scale), "f") == format(Decimal(text), "f")


@pytest.mark.parametrize("text", ["-0.00", "NaN", "Infinity"])
def test_what_has_no_digits_is_refused(text):
    """Neither a sign without a number, nor what is no number."""
    with pytest.raises(ValueError, match=r"."):
        scaled(Decimal(text))
