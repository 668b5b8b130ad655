from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.decode import decode_exchange_info
from app.binance.encode import encode_agg_trades, encode_klines, encode_trades
from app.binance.intervals import HOUR_US, MINUTE_US
from app.binance.limits import WEIGHTS, IpBudget, weight_of
from app.binance.server.endpoints import ENDPOINTS
from app.binance.server.rest import JSON_TYPE, OF_THE_EXCHANGE, RestRefusal, RestServer
from app.binance.statistics import Statistics
from app.binance.wire import TimeUnit, listed_symbol
from app.market.events import AggTrade, DepthSnapshot, Kline, Trade
from app.market.symbols import SymbolInfo

NOW = 1_784_620_805_000_000
NOW_MS = NOW // 1000
IP = "192.0.2.1"
US = TimeUnit.MICROSECOND

MANDATORY_SYMBOL = "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
BAD_LIMIT = "Data sent for parameter 'limit' is not valid."
OTHER_STATUS = "The symbol's status does not match the requested symbolStatus."

TRADE = Trade("SOLUSDT", 900001, Decimal("182.41"), Decimal("3.2"), NOW, False, NOW, NOW)
AGG_TRADE = AggTrade(
    "SOLUSDT", 510001, Decimal("182.41"), Decimal("3.2"), 900001, 900001, NOW, False, NOW, NOW
)
KLINE = Kline(
    symbol="SOLUSDT",
    interval="1s",
    open_time_us=NOW,
    close_time_us=NOW + 999_999,
    open=Decimal("182.41"),
    high=Decimal("182.42"),
    low=Decimal("182.38"),
    close=Decimal("182.38"),
    volume=Decimal("8.25"),
    quote_volume=Decimal("1504.773"),
    trades=3,
    taker_buy_volume=Decimal("4.25"),
    taker_buy_quote_volume=Decimal("775.253"),
    first_trade_id=900001,
    last_trade_id=900003,
    closed=True,
    event_us=None,
    received_us=NOW,
)


SUMS = Statistics(
    symbol="SOLUSDT",
    open=Decimal("179.9"),
    high=Decimal("184.1"),
    low=Decimal("178.02"),
    last=Decimal("182.38"),
    last_quantity=Decimal(4),
    previous_close=Decimal("179.89"),
    volume=Decimal("1204331.55"),
    quote_volume=Decimal("218340112.8012"),
    open_time_us=0,
    close_time_us=0,
    first_trade_id=512000,
    last_trade_id=900003,
    trades=388004,
    last_trade_us=NOW - 229_000,
)
DAY = (
    b'{"symbol":"%b","priceChange":"2.48000000","priceChangePercent":"1.379",'
    b'"weightedAvgPrice":"181.29568457","prevClosePrice":"179.89000000",'
    b'"lastPrice":"182.38000000","lastQty":"4.00000000","bidPrice":"182.38000000",'
    b'"bidQty":"61.20000000","askPrice":"182.39000000","askQty":"14.05000000",'
    b'"openPrice":"179.90000000","highPrice":"184.10000000","lowPrice":"178.02000000",'
    b'"volume":"1204331.55000000","quoteVolume":"218340112.80120000",'
    b'"openTime":1784534404999,"closeTime":1784620804999,"firstId":512000,"lastId":900003,'
    b'"count":388004}'
)
WINDOW = (
    b'{"symbol":"SOLUSDT","priceChange":"2.48000000","priceChangePercent":"1.379",'
    b'"weightedAvgPrice":"181.29568457","openPrice":"179.90000000","highPrice":"184.10000000",'
    b'"lowPrice":"178.02000000","lastPrice":"182.38000000","volume":"1204331.55000000",'
    b'"quoteVolume":"218340112.80120000","openTime":%d,"closeTime":%d,"firstId":512000,'
    b'"lastId":900003,"count":388004}'
)
MINI = (
    b'{"symbol":"SOLUSDT","openPrice":"179.90000000","highPrice":"184.10000000",'
    b'"lowPrice":"178.02000000","lastPrice":"182.38000000","volume":"1204331.55000000",'
    b'"quoteVolume":"218340112.80120000","openTime":%d,"closeTime":%d,"firstId":512000,'
    b'"lastId":900003,"count":388004}'
)
MINUTE_MS = 60_000
DAY_MS = 86_400_000


BIDS = (("182.38000000", "61.20000000"), ("182.37000000", "4.00000000"))
ASKS = (("182.39000000", "14.05000000"),)


class FakeData:
    """An ExchangeData of one row each, which remembers what it was asked."""

    def __init__(self):
        self.asked = None
        infos = [
            SymbolInfo("SOLUSDT", "TRADING", "SOL", "USDT", Decimal("0.01"), Decimal("0.001")),
            SymbolInfo("BTCUSDT", "TRADING", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001")),
            SymbolInfo("OLDUSDT", "BREAK", "OLD", "USDT"),
        ]
        self.rows = {info.symbol: listed_symbol(info) for info in infos}
        self.rows["LEVUSDT"] = msgspec.structs.replace(
            listed_symbol(SymbolInfo("LEVUSDT", "TRADING", "LEV", "USDT")),
            permission_sets=(("TRD_GRP_004",),),
        )

    def symbols(self):
        return self.rows

    async def trades(self, symbol, *, from_id, limit):
        self.asked = {"symbol": symbol, "from_id": from_id, "limit": limit}
        return [TRADE]

    async def agg_trades(self, symbol, *, from_id, start_us, end_us, limit):
        self.asked = {
            "symbol": symbol,
            "from_id": from_id,
            "start_us": start_us,
            "end_us": end_us,
            "limit": limit,
        }
        return [AGG_TRADE]

    async def klines(self, symbol, interval, *, start_us, end_us, offset_us, limit):
        self.asked = {
            "symbol": symbol,
            "interval": interval,
            "start_us": start_us,
            "end_us": end_us,
            "offset_us": offset_us,
            "limit": limit,
        }
        return [KLINE]

    async def depth(self, symbol, *, limit):
        self.asked = {"symbol": symbol, "limit": limit}
        if symbol == "BTCUSDT":
            return None
        levels = () if symbol == "OLDUSDT" else BIDS[:limit]
        return DepthSnapshot(symbol, 77310042, levels, ASKS[:1], limit, None, NOW)

    async def price(self, symbol):
        return None if symbol == "BTCUSDT" else Decimal("182.38")

    async def statistics(self, symbol, *, start_us, end_us):
        self.asked = {"symbol": symbol, "start_us": start_us, "end_us": end_us}
        if symbol == "BTCUSDT":
            return None
        return msgspec.structs.replace(
            SUMS, symbol=symbol, open_time_us=start_us, close_time_us=end_us
        )


@pytest.fixture
def data():
    """Return a market of one row each."""
    return FakeData()


@pytest.fixture
def server(data):
    """Return a server with a fresh budget."""
    return RestServer(data, IpBudget())


async def get(server, path, query="", *, now_us=NOW, **headers):
    """Return the answer to a GET from the one address."""
    return await server.handle("GET", path, query, headers, IP, now_us)


async def test_ping_and_time(server):
    """Ping is an empty object, time the clock in milliseconds."""
    assert (await get(server, "/api/v3/ping")).body == b"{}"
    assert (await get(server, "/api/v3/time")).body == b'{"serverTime":1784620805000}'


@pytest.mark.parametrize("unit", ["MICROSECOND", "microsecond"])
@pytest.mark.parametrize("header", ["X-MBX-TIME-UNIT", "x-mbx-time-unit"])
async def test_the_time_unit_header_changes_every_time(server, header, unit):
    """Answers come in microseconds when the header asks for them."""
    assert (
        await get(server, "/api/v3/time", **{header: unit})
    ).body == b'{"serverTime":1784620805000000}'
    klines = await get(server, "/api/v3/klines", "symbol=SOLUSDT&interval=1s", **{header: unit})
    assert klines.body.startswith(b"[[1784620805000000,")
    assert b",1784620805999999," in klines.body


async def test_every_answer_names_its_type_and_the_used_weight(server):
    """Headers of a good, a refused and an unknown call."""
    good = await get(server, "/api/v3/exchangeInfo")
    assert good.status == 200
    assert good.headers == {
        "Content-Type": JSON_TYPE,
        "X-MBX-USED-WEIGHT": "20",
        "X-MBX-USED-WEIGHT-1M": "20",
    }
    refused = await get(server, "/api/v3/trades", "symbol=NOSUCH")
    assert refused.status == 400
    assert refused.headers["X-MBX-USED-WEIGHT-1M"] == "45"
    unknown = await get(server, "/api/v3/nothing")
    assert (unknown.status, unknown.body) == (404, b"")
    assert unknown.headers["X-MBX-USED-WEIGHT-1M"] == "45"


async def test_a_404_is_a_page_for_who_accepts_one(server):
    """HTML is sent only where Accept has it."""
    reply = await get(server, "/nothing", accept="text/html,*/*")
    assert reply.status == 404
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.body.startswith(b"<html>")


async def test_only_get_is_supported(server):
    """Other methods are refused, HEAD is answered like GET."""
    reply = await server.handle("POST", "/api/v3/ping", "", {}, IP, NOW)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET")
    head = await server.handle("HEAD", "/api/v3/ping", "", {}, IP, NOW)
    assert head.status == 200


async def test_the_futures_lists_are_empty(server):
    """Clients that load several markets find no futures."""
    for path in ("/fapi/v1/exchangeInfo", "/dapi/v1/exchangeInfo"):
        assert server.serves(path)
        assert (await get(server, path)).body == b'{"symbols":[]}'
    assert not server.serves("/fapi/v1/time")


async def test_above_the_budget_an_address_gets_429_and_then_418(server):
    """Both carry Retry-After and the documented code and message."""
    for _ in range(300):
        assert (await get(server, "/api/v3/exchangeInfo")).status == 200
    refused = await get(server, "/api/v3/ping")
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "55"
    assert refused.headers["X-MBX-USED-WEIGHT-1M"] == "6001"
    assert msgspec.json.decode(refused.body) == {
        "code": -1003,
        "msg": (
            "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        ),
    }
    while refused.status == 429:
        refused = await get(server, "/api/v3/ping")
    assert refused.status == 418
    assert refused.headers["Retry-After"] == "120"
    assert msgspec.json.decode(refused.body) == {
        "code": -1003,
        "msg": (
            f"Way too much request weight used; IP banned until {NOW_MS + 120_000}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        ),
    }
    assert (await get(server, "/api/v3/ping", now_us=NOW + 2 * MINUTE_US)).status == 200


# exchangeInfo


async def listed(server, query=""):
    """Return the names that exchangeInfo lists."""
    reply = await get(server, "/api/v3/exchangeInfo", query)
    assert reply.status == 200, reply.body
    return [row["symbol"] for row in msgspec.json.decode(reply.body)["symbols"]]


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("", ["SOLUSDT", "BTCUSDT", "OLDUSDT"]),
        ("symbol=BTCUSDT", ["BTCUSDT"]),
        ('symbols=["BTCUSDT","SOLUSDT"]', ["BTCUSDT", "SOLUSDT"]),
        ("symbols=%5B%22BTCUSDT%22%2C%22SOLUSDT%22%5D", ["BTCUSDT", "SOLUSDT"]),
        ("symbol=LEVUSDT", ["LEVUSDT"]),
        ("permissions=SPOT", ["SOLUSDT", "BTCUSDT", "OLDUSDT"]),
        ('permissions=["MARGIN","TRD_GRP_004"]', ["LEVUSDT"]),
        ("permissions=MARGIN", []),
        ("symbolStatus=BREAK", ["OLDUSDT"]),
        ("symbolStatus=TRADING&permissions=SPOT", ["SOLUSDT", "BTCUSDT"]),
        ("symbolStatus=HALT", []),
    ],
)
async def test_exchange_info_lists_what_was_asked_for(server, query, symbols):
    """By symbol, symbols, permissions or status; by default what is SPOT, MARGIN or LEVERAGED."""
    assert await listed(server, query) == symbols


async def test_exchange_info_has_the_documented_shape(server):
    """Keys in the documents' order, PRICE_FILTER first, the limits that are served."""
    reply = await get(server, "/api/v3/exchangeInfo", "symbol=SOLUSDT")
    info = msgspec.json.decode(reply.body)
    assert list(info) == ["timezone", "serverTime", "rateLimits", "exchangeFilters", "symbols"]
    assert info["serverTime"] == NOW_MS
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 6000,
    }
    row = info["symbols"][0]
    assert list(row)[:6] == [
        "symbol",
        "status",
        "baseAsset",
        "baseAssetPrecision",
        "quoteAsset",
        "quotePrecision",
    ]
    assert row["permissions"] == []
    assert row["permissionSets"] == [["SPOT"]]
    assert row["filters"][0] == {
        "filterType": "PRICE_FILTER",
        "minPrice": "0.01000000",
        "maxPrice": "922327.00000000",
        "tickSize": "0.01000000",
    }
    assert decode_exchange_info(reply.body)["SOLUSDT"].step_size == Decimal("0.001")


async def test_permission_sets_can_be_left_empty(server):
    """With showPermissionSets=false the field is there and empty."""
    reply = await get(server, "/api/v3/exchangeInfo", "symbol=SOLUSDT&showPermissionSets=false")
    assert msgspec.json.decode(reply.body)["symbols"][0]["permissionSets"] == []


# Rows


@pytest.mark.parametrize(
    ("path", "query", "asked"),
    [
        ("trades", "symbol=SOLUSDT", {"symbol": "SOLUSDT", "from_id": None, "limit": 500}),
        (
            "trades",
            "limit=7&symbol=SOLUSDT",
            {"symbol": "SOLUSDT", "from_id": None, "limit": 7},
        ),
        (
            "trades",
            "limit=5000&symbol=SOLUSDT",
            {"symbol": "SOLUSDT", "from_id": None, "limit": 1000},
        ),
        (
            "historicalTrades",
            "symbol=SOLUSDT&fromId=900001",
            {"symbol": "SOLUSDT", "from_id": 900001, "limit": 500},
        ),
    ],
)
async def test_trades_are_served(server, data, path, query, asked):
    """The newest trades, or those from an id; a limit above 1000 means 1000."""
    reply = await get(server, f"/api/v3/{path}", query)
    assert reply.body == encode_trades([TRADE])
    assert data.asked == asked


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", {"from_id": None, "start_us": None, "end_us": None}),
        ("&fromId=5", {"from_id": 5, "start_us": None, "end_us": None}),
        (
            f"&startTime={NOW_MS}&endTime={NOW_MS}",
            {"from_id": None, "start_us": NOW, "end_us": NOW + 999},
        ),
        (f"&endTime={NOW + 5}", {"from_id": None, "start_us": None, "end_us": NOW + 5}),
        (
            "&startTime=0&endTime=99999999999999",
            {"from_id": None, "start_us": 1_483_228_800_000_000, "end_us": NOW + 10_000_000},
        ),
    ],
)
async def test_aggregate_trades_are_served(server, data, query, asked):
    """By id or by times in either unit, which are clamped to 2017 and 10 s from now."""
    reply = await get(server, "/api/v3/aggTrades", f"symbol=SOLUSDT{query}")
    assert reply.body == encode_agg_trades([AGG_TRADE])
    assert data.asked == {"symbol": "SOLUSDT", "limit": 500, **asked}


@pytest.mark.parametrize(
    ("query", "limit", "weight"),
    [
        ("", 100, 5),
        ("&limit=1", 1, 5),
        ("&limit=101", 101, 25),
        ("&limit=777", 777, 50),
        ("&limit=5000", 5_000, 250),
        ("&limit=70000", 5_000, 250),
        ("&limit=5&symbolStatus=TRADING", 5, 5),
    ],
)
async def test_depth_is_as_deep_as_is_asked(server, data, query, limit, weight):
    """100 levels by default, 5000 at most whatever is asked, at a weight that grows with them."""
    reply = await get(server, "/api/v3/depth", f"symbol=SOLUSDT{query}")
    assert data.asked == {"symbol": "SOLUSDT", "limit": limit}
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)
    assert msgspec.json.decode(reply.body) == {
        "lastUpdateId": 77310042,
        "bids": [list(level) for level in BIDS[:limit]],
        "asks": [list(level) for level in ASKS],
    }
    assert reply.body.startswith(b'{"lastUpdateId":77310042,"bids":[["182.38000000",')


async def test_a_book_that_is_not_known_is_an_error_of_the_exchange(server):
    """It may be known later: 500, as for anything that it cannot do just now."""
    reply = await get(server, "/api/v3/depth", "symbol=BTCUSDT")
    assert reply.status == 503
    assert msgspec.json.decode(reply.body)["code"] == -1001


async def test_best_prices_of_one_symbol_and_of_several(server):
    """An object for `symbol`, else a list; unknown books and other statuses are left out of it."""
    path = "/api/v3/ticker/bookTicker"
    sol = {
        "symbol": "SOLUSDT",
        "bidPrice": "182.38000000",
        "bidQty": "61.20000000",
        "askPrice": "182.39000000",
        "askQty": "14.05000000",
    }
    one = await get(server, path, "symbol=SOLUSDT")
    assert msgspec.json.decode(one.body) == sol
    assert one.headers["X-MBX-USED-WEIGHT-1M"] == "2"
    several = await get(server, path, 'symbols=["SOLUSDT","OLDUSDT","BTCUSDT"]')
    old = {**sol, "symbol": "OLDUSDT", "bidPrice": "0.00000000", "bidQty": "0.00000000"}
    assert msgspec.json.decode(several.body) == [sol, old]
    assert several.headers["X-MBX-USED-WEIGHT-1M"] == "6"
    trading = msgspec.json.decode((await get(server, path, "symbolStatus=TRADING")).body)
    assert [row["symbol"] for row in trading] == ["SOLUSDT", "LEVUSDT"]
    broken = msgspec.json.decode(
        (await get(server, path, 'symbols=["SOLUSDT"]&symbolStatus=BREAK')).body
    )
    assert broken == []


@pytest.mark.parametrize("path", ["klines", "uiKlines"])
@pytest.mark.parametrize(
    ("zone", "offset_us"),
    [
        ("", 0),
        ("&timeZone=0", 0),
        ("&timeZone=8", 8 * HOUR_US),
        ("&timeZone=08:00", 8 * HOUR_US),
        ("&timeZone=-1:30", -HOUR_US - 30 * MINUTE_US),
        ("&timeZone=05%3A45", 5 * HOUR_US + 45 * MINUTE_US),
        ("&timeZone=14:00", 14 * HOUR_US),
        ("&timeZone=-12:00", -12 * HOUR_US),
    ],
)
async def test_klines_are_served(server, data, path, zone, offset_us):
    """By interval, bounds and zone; the zone does not touch the bounds."""
    query = f"symbol=SOLUSDT&interval=1d&startTime={NOW_MS}&limit=3{zone}"
    reply = await get(server, f"/api/v3/{path}", query)
    assert reply.body == encode_klines([KLINE])
    assert data.asked == {
        "symbol": "SOLUSDT",
        "interval": "1d",
        "start_us": NOW,
        "end_us": None,
        "offset_us": offset_us,
        "limit": 3,
    }


# Errors


SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"


@pytest.mark.parametrize(
    ("path", "query", "code", "message"),
    [
        ("trades", "symbol=NOSUCH", -1121, "Invalid symbol."),
        (
            "trades",
            "symbol=solusdt",
            -1100,
            f"Illegal characters found in parameter 'symbol'; legal range is '{SYMBOL_RANGE}'.",
        ),
        (
            "trades",
            "",
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
        ("trades", "symbol=", -1105, "Parameter 'symbol' was empty."),
        (
            "trades",
            "symbol=SOLUSDT&symbol=SOLUSDT",
            -1101,
            "Duplicate values for a parameter detected.",
        ),
        (
            "trades",
            "symbol=SOLUSDT&x=1",
            -1104,
            "Not all sent parameters were read; read '1' parameter(s) but was sent '2'.",
        ),
        (
            "trades",
            "symbol=SOLUSDT&fromId=1",
            -1104,
            "Not all sent parameters were read; read '1' parameter(s) but was sent '2'.",
        ),
        ("ping", "x=1", -1101, "Too many parameters; expected '0' and received '1'."),
        (
            "trades",
            "symbol=SOLUSDT&limit=0",
            -1130,
            "Data sent for parameter 'limit' is not valid.",
        ),
        (
            "trades",
            "symbol=SOLUSDT&limit=-1",
            -1130,
            "Data sent for parameter 'limit' is not valid.",
        ),
        (
            "trades",
            "symbol=SOLUSDT&limit=many",
            -1130,
            "Data sent for parameter 'limit' is not valid.",
        ),
        (
            "historicalTrades",
            "symbol=SOLUSDT&fromId=x",
            -1100,
            "Illegal characters found in parameter 'fromId'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "aggTrades",
            "symbol=SOLUSDT&startTime=-5",
            -1100,
            "Illegal characters found in parameter 'startTime'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "aggTrades",
            "symbol=SOLUSDT&fromId=1&startTime=5",
            -1128,
            "Combination of optional parameters invalid.",
        ),
        (
            "klines",
            "symbol=SOLUSDT",
            -1102,
            "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
        ),
        ("klines", "symbol=SOLUSDT&interval=7m", -1120, "Invalid interval."),
        ("klines", "symbol=SOLUSDT&interval=1D", -1120, "Invalid interval."),
        ("klines", "symbol=NOSUCH&interval=1m", -1121, "Invalid symbol."),
        (
            "klines",
            "symbol=SOLUSDT&interval=1m&timeZone=14:01",
            -1130,
            "Data sent for parameter 'timeZone' is not valid.",
        ),
        (
            "klines",
            "symbol=SOLUSDT&interval=1m&timeZone=x",
            -1130,
            "Data sent for parameter 'timeZone' is not valid.",
        ),
        ("exchangeInfo", "symbol=NOSUCH", -1121, "Invalid symbol."),
        ("depth", "limit=5", -1102, MANDATORY_SYMBOL),
        ("depth", "symbol=NOSUCH", -1121, "Invalid symbol."),
        ("depth", "symbol=SOLUSDT&limit=0", -1130, BAD_LIMIT),
        ("depth", "symbol=SOLUSDT&limit=-5", -1130, BAD_LIMIT),
        ("depth", "symbol=SOLUSDT&symbolStatus=ODD", -1122, "Invalid symbolStatus."),
        ("depth", "symbol=SOLUSDT&symbolStatus=BREAK", -1220, OTHER_STATUS),
        ("ticker/bookTicker", "symbol=OLDUSDT&symbolStatus=TRADING", -1220, OTHER_STATUS),
        ("ticker/bookTicker", "symbol=NOSUCH", -1121, "Invalid symbol."),
        (
            "ticker/bookTicker",
            'symbol=SOLUSDT&symbols=["SOLUSDT"]',
            -1128,
            "Combination of optional parameters invalid.",
        ),
        ("exchangeInfo", 'symbols=["SOLUSDT","NOSUCH"]', -1121, "Invalid symbol."),
        (
            "exchangeInfo",
            'symbol=SOLUSDT&symbols=["SOLUSDT"]',
            -1128,
            "Combination of optional parameters invalid.",
        ),
        (
            "exchangeInfo",
            "symbol=SOLUSDT&permissions=SPOT",
            -1128,
            "Combination of optional parameters invalid.",
        ),
        (
            "exchangeInfo",
            "symbol=SOLUSDT&symbolStatus=TRADING",
            -1128,
            "Combination of optional parameters invalid.",
        ),
        (
            "exchangeInfo",
            "symbols=SOLUSDT",
            -1135,
            "JSON sent for parameter 'symbols' is not valid",
        ),
        (
            "exchangeInfo",
            'symbols=["SOLUSDT","SOLUSDT"]',
            -1151,
            "Symbol is present multiple times in the list.",
        ),
        ("exchangeInfo", "symbols=[]", -1105, "Parameter 'symbols' was empty."),
        (
            "exchangeInfo",
            'symbols=["solusdt"]',
            -1100,
            f"Illegal characters found in parameter 'symbols'; legal range is '{SYMBOL_RANGE}'.",
        ),
        ("exchangeInfo", "symbolStatus=OPEN", -1122, "Invalid symbolStatus."),
        (
            "exchangeInfo",
            "permissions=NONE",
            -1130,
            "Data sent for parameter 'permissions' is not valid.",
        ),
        (
            "historicalTrades",
            "symbol=SOLUSDT&fromId=9223372036854775808",
            -1108,
            "Parameter 'fromId' overflowed.",
        ),
        (
            "klines",
            "symbol=SOLUSDT&interval=1m&endTime=99999999999999999999",
            -1108,
            "Parameter 'endTime' overflowed.",
        ),
        (
            "exchangeInfo",
            "showPermissionSets=maybe",
            -1130,
            "Data sent for parameter 'showPermissionSets' is not valid.",
        ),
    ],
)
async def test_wrong_parameters_get_the_exchanges_errors(server, path, query, code, message):
    """Each mistake has its own code and message, and HTTP 400."""
    reply = await get(server, f"/api/v3/{path}", query)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == JSON_TYPE
    assert msgspec.json.decode(reply.body) == {"code": code, "msg": message}


async def test_a_bad_time_unit_is_refused(server):
    """Only the four listed spellings are units."""
    reply = await get(server, "/api/v3/time", **{"X-MBX-TIME-UNIT": "Second"})
    assert reply.status == 400
    assert msgspec.json.decode(reply.body) == {
        "code": -1194,
        "msg": "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.",
    }


@given(
    st.sampled_from([path.removeprefix("/api/v3/") for path in ENDPOINTS] + ["x"]),
    st.lists(
        st.tuples(
            st.sampled_from(
                sorted({name for endpoint in ENDPOINTS.values() for name in endpoint.reads} | {"x"})
            ),
            st.text(max_size=8) | st.sampled_from(["SOLUSDT", "1m", '["SOLUSDT"]', "5", "MINI"]),
        ),
        max_size=4,
    ),
)
async def test_any_query_is_answered(path, pairs):
    """Whatever is sent, the answer is a 200, a 400 with a code, or a 404."""
    query = "&".join(f"{name}={value}" for name, value in pairs)
    reply = await get(RestServer(FakeData(), IpBudget()), f"/api/v3/{path}", query)
    assert reply.status in {200, 400, 404}
    if reply.status == 400:
        assert msgspec.json.decode(reply.body)["code"] < 0


# Sums of trades


def a_list(*names):
    """Return the text of `symbols`."""
    return "symbols=" + msgspec.json.encode(names).decode()


async def test_the_average_price_is_of_five_minutes(server, data):
    """Its close time is that of the last trade."""
    reply = await get(server, "/api/v3/avgPrice", "symbol=SOLUSDT")
    assert reply.body == b'{"mins":5,"price":"181.29568457","closeTime":1784620804771}'
    assert data.asked == {"symbol": "SOLUSDT", "start_us": NOW - 300_000_000, "end_us": NOW}
    in_us = await get(server, "/api/v3/avgPrice", "symbol=SOLUSDT", **{"X-MBX-TIME-UNIT": US})
    assert b'"closeTime":1784620804771000}' in in_us.body


async def test_the_ticker_of_a_day(server):
    """An object for one symbol, a list for several, with every key in its place."""
    one = await get(server, "/api/v3/ticker/24hr", "symbol=SOLUSDT")
    assert one.body == DAY % b"SOLUSDT"
    assert one.headers["X-MBX-USED-WEIGHT-1M"] == "2"
    some = await get(server, "/api/v3/ticker/24hr", a_list("LEVUSDT", "SOLUSDT"))
    assert some.body == b"[" + DAY % b"LEVUSDT" + b"," + DAY % b"SOLUSDT" + b"]"
    single = await get(server, "/api/v3/ticker/24hr", a_list("SOLUSDT"))
    assert single.body == b"[" + DAY % b"SOLUSDT" + b"]"
    mini = await get(server, "/api/v3/ticker/24hr", "symbol=SOLUSDT&type=MINI")
    assert mini.body == MINI % (NOW_MS - 1 - DAY_MS, NOW_MS - 1)


async def test_the_tickers_of_all_symbols(server):
    """What is not known is left out where nobody else can be asked; a status leaves out others."""
    every = await get(server, "/api/v3/ticker/24hr")
    names = [row["symbol"] for row in msgspec.json.decode(every.body)]
    assert names == ["SOLUSDT", "OLDUSDT", "LEVUSDT"]
    assert every.headers["X-MBX-USED-WEIGHT-1M"] == "80"
    resting = await get(server, "/api/v3/ticker/24hr", "symbolStatus=BREAK")
    [row] = msgspec.json.decode(resting.body)
    assert (row["symbol"], row["bidPrice"], row["bidQty"]) == (
        "OLDUSDT",
        "0.00000000",
        "0.00000000",
    )
    none = await get(server, "/api/v3/ticker/24hr", "symbolStatus=HALT")
    assert none.body == b"[]"


@pytest.mark.parametrize(
    ("size", "open_ms"),
    [
        ("", NOW_MS // MINUTE_MS * MINUTE_MS - DAY_MS),
        ("&windowSize=1m", NOW_MS // MINUTE_MS * MINUTE_MS - MINUTE_MS),
        ("&windowSize=59m", NOW_MS // MINUTE_MS * MINUTE_MS - 59 * MINUTE_MS),
        ("&windowSize=23h", NOW_MS // MINUTE_MS * MINUTE_MS - 23 * 60 * MINUTE_MS),
        ("&windowSize=7d", NOW_MS // MINUTE_MS * MINUTE_MS - 7 * DAY_MS),
    ],
)
async def test_the_ticker_of_a_window(server, size, open_ms):
    """It begins with a whole minute and ends now."""
    full = await get(server, "/api/v3/ticker", f"symbol=SOLUSDT{size}")
    assert full.body == WINDOW % (open_ms, NOW_MS)
    mini = await get(server, "/api/v3/ticker", a_list("SOLUSDT") + f"{size}&type=MINI")
    assert mini.body == b"[" + MINI % (open_ms, NOW_MS) + b"]"


@pytest.mark.parametrize(
    ("zone", "open_ms"),
    [
        ("", 1_784_592_000_000),  # 2026-07-21 00:00 UTC
        ("&timeZone=8", 1_784_592_000_000 - 8 * 3_600_000),
        ("&timeZone=-12:00", 1_784_592_000_000 - 12 * 3_600_000),
    ],
)
async def test_the_ticker_of_a_trading_day(server, zone, open_ms):
    """From one midnight of the zone to the next; it is 08:00 in Greenwich."""
    full = await get(server, "/api/v3/ticker/tradingDay", f"symbol=SOLUSDT{zone}")
    assert full.body == WINDOW % (open_ms, open_ms + DAY_MS - 1)
    assert full.headers["X-MBX-USED-WEIGHT-1M"] == "4"


async def test_the_price_of_the_last_trade(server):
    """An object for one symbol, else a list of what is known."""
    one = await get(server, "/api/v3/ticker/price", "symbol=SOLUSDT")
    assert one.body == b'{"symbol":"SOLUSDT","price":"182.38000000"}'
    every = await get(server, "/api/v3/ticker/price", "symbolStatus=TRADING")
    assert [row["symbol"] for row in msgspec.json.decode(every.body)] == ["SOLUSDT", "LEVUSDT"]


@pytest.mark.parametrize("path", ["avgPrice", "ticker/24hr", "ticker/price", "ticker"])
async def test_one_symbol_that_is_not_known_is_an_internal_error(server, path):
    """Where nobody else can be asked."""
    reply = await get(server, f"/api/v3/{path}", "symbol=BTCUSDT")
    assert (reply.status, msgspec.json.decode(reply.body)["code"]) == (503, -1001)


async def test_there_are_no_rules_blocks_or_reference_prices(server):
    """What no market here has is told in the exchange's own way."""
    rules = await get(server, "/api/v3/executionRules", a_list("SOLUSDT", "OLDUSDT"))
    assert rules.body == (
        b'{"symbolRules":[{"symbol":"SOLUSDT","rules":[]},{"symbol":"OLDUSDT","rules":[]}]}'
    )
    resting = await get(server, "/api/v3/executionRules", "symbolStatus=BREAK")
    assert resting.body == b'{"symbolRules":[{"symbol":"OLDUSDT","rules":[]}]}'
    blocks = await get(server, "/api/v3/historicalBlockTrades", "symbol=SOLUSDT&fromId=1")
    assert blocks.body == b"[]"
    for path in ("referencePrice", "referencePrice/calculation"):
        reply = await get(server, f"/api/v3/{path}", "symbol=SOLUSDT")
        assert reply.status == 400
        assert msgspec.json.decode(reply.body) == {
            "code": -2043,
            "msg": "This symbol doesn't have a reference price.",
        }


MANY = msgspec.json.encode([f"A{n}" for n in range(101)]).decode()
BOTH = "symbol=SOLUSDT&" + a_list("BTCUSDT")
NO_NAME = "Param 'symbol' or 'symbols' must be sent, but both were empty/null!"
COMBINATION = "Combination of optional parameters invalid."


@pytest.mark.parametrize(
    ("path", "query", "code", "message"),
    [
        ("avgPrice", "", -1102, MANDATORY_SYMBOL),
        ("avgPrice", "symbol=NOSUCH", -1121, "Invalid symbol."),
        ("ticker/24hr", BOTH, -1128, COMBINATION),
        ("ticker/24hr", "symbol=SOLUSDT&type=mini", -1139, "Invalid ticker type."),
        ("ticker/24hr", "symbol=SOLUSDT&symbolStatus=BREAK", -1220, OTHER_STATUS),
        ("ticker/24hr", "symbol=SOLUSDT&symbolStatus=X", -1122, "Invalid symbolStatus."),
        ("ticker/24hr", a_list("NOSUCH"), -1121, "Invalid symbol."),
        (
            "ticker/24hr",
            "windowSize=1d",
            -1104,
            "Not all sent parameters were read; read '0' parameter(s) but was sent '1'.",
        ),
        ("ticker", "", -1102, NO_NAME),
        ("ticker", "windowSize=1d", -1102, NO_NAME),
        ("ticker", BOTH, -1128, COMBINATION),
        (
            "ticker",
            f"symbols={MANY}",
            -1101,
            "Too many values sent for parameter 'symbols', maximum allowed up to 100.",
        ),
        *(
            (
                "ticker",
                f"symbol=SOLUSDT&windowSize={size}",
                -1130,
                "Data sent for parameter 'windowSize' is not valid.",
            )
            for size in ("0m", "60m", "24h", "8d", "1w", "1M", "h", "-1h", "1h30m", "x")
        ),
        ("ticker/tradingDay", "", -1102, NO_NAME),
        (
            "ticker/tradingDay",
            "symbol=SOLUSDT&timeZone=15",
            -1130,
            "Data sent for parameter 'timeZone' is not valid.",
        ),
        (
            "ticker/tradingDay",
            f"symbols={MANY}",
            -1101,
            "Too many values sent for parameter 'symbols', maximum allowed up to 100.",
        ),
        ("ticker/price", BOTH, -1128, COMBINATION),
        ("ticker/price", "symbol=solusdt", -1100, None),
        (
            "ticker/price",
            a_list("SOLUSDT", "SOLUSDT"),
            -1151,
            "Symbol is present multiple times in the list.",
        ),
        (
            "ticker/price",
            "symbols=SOLUSDT",
            -1135,
            "JSON sent for parameter 'symbols' is not valid",
        ),
        ("executionRules", BOTH, -1128, COMBINATION),
        ("executionRules", "symbol=SOLUSDT&symbolStatus=TRADING", -1128, COMBINATION),
        (
            "historicalBlockTrades",
            "symbol=SOLUSDT",
            -1102,
            "Mandatory parameter 'fromId' was not sent, was empty/null, or malformed.",
        ),
        ("historicalBlockTrades", "symbol=SOLUSDT&fromId=1&limit=0", -1130, BAD_LIMIT),
        ("historicalBlockTrades", "symbol=SOLUSDT&fromId=x", -1100, None),
        ("referencePrice", "symbol=NOSUCH", -1121, "Invalid symbol."),
        ("referencePrice/calculation", "symbol=SOLUSDT&symbolStatus=BREAK", -1220, OTHER_STATUS),
    ],
)
async def test_wrong_calls_of_tickers_are_refused(server, path, query, code, message):
    """With the documented code and message, and before anybody else is asked."""
    away = Away()
    for one in (server, RestServer(FakeData(), IpBudget(), elsewhere=away)):
        reply = await get(one, f"/api/v3/{path}", query)
        assert reply.status == 400
        said = msgspec.json.decode(reply.body)
        assert said["code"] == code
        assert message in {None, said["msg"]}
    assert away.asked == []


async def test_the_table_of_endpoints_is_what_is_served(server):
    """Every row is answered by the server and has a weight, and nothing else is."""
    for path, endpoint in ENDPOINTS.items():
        assert server.serves(path)
        assert path == endpoint.path
        assert weight_of(path, {}) > 0
    assert set(ENDPOINTS) == set(WEIGHTS)
    assert set(ENDPOINTS) > OF_THE_EXCHANGE


@pytest.mark.parametrize("accept", ["application/sbe", "Application/SBE;v=1, application/sbe"])
async def test_the_binary_form_is_not_served(server, accept):
    """Who takes nothing else is told so; who takes JSON as well gets JSON."""
    reply = await get(server, "/api/v3/ping", accept=accept)
    assert (reply.status, msgspec.json.decode(reply.body)["code"]) == (406, -1020)
    both = await get(server, "/api/v3/ping", accept=f"{accept}, application/json")
    assert (both.status, both.body) == (200, b"{}")


class Away:
    """Who knows what is not here: remembers what it is asked, tells or refuses."""

    def __init__(self, refusal=None):
        self.refusal = refusal
        self.asked = []

    async def __call__(self, path, parameters, time_unit):
        self.asked.append((path, dict(parameters), time_unit))
        if self.refusal:
            raise self.refusal
        return b"[elsewhere]"


async def test_what_is_not_known_here_is_asked_elsewhere(data):
    """With the call as it was judged; where nobody can be asked it is an internal error."""
    away = Away()
    server = RestServer(data, IpBudget(), elsewhere=away)
    reply = await get(server, "/api/v3/depth", "symbol=BTCUSDT&limit=5", **{"X-MBX-TIME-UNIT": US})
    assert (reply.status, reply.body) == (200, b"[elsewhere]")
    assert away.asked == [("/api/v3/depth", {"symbol": "BTCUSDT", "limit": "5"}, US)]
    alone = await get(RestServer(data, IpBudget()), "/api/v3/depth", "symbol=BTCUSDT&limit=5")
    assert (alone.status, msgspec.json.decode(alone.body)["code"]) == (503, -1001)


async def test_one_unknown_book_of_a_list_is_asked_elsewhere(data):
    """The whole list is."""
    away = Away()
    server = RestServer(data, IpBudget(), elsewhere=away)
    for query in ("", "symbols=%5B%22SOLUSDT%22,%22BTCUSDT%22%5D"):
        assert (await get(server, "/api/v3/ticker/bookTicker", query)).body == b"[elsewhere]"
    known = await get(server, "/api/v3/ticker/bookTicker", "symbol=SOLUSDT")
    assert msgspec.json.decode(known.body)["symbol"] == "SOLUSDT"
    assert len(away.asked) == 2


async def test_what_the_exchange_alone_can_tell_is_judged_first(data):
    """A call that the exchange would refuse is not passed on."""
    away = Away()
    server = RestServer(data, IpBudget(), elsewhere=away)
    assert (await get(server, "/api/v3/exchangeInfo", "symbol=NOSUCH")).status == 400
    assert away.asked == []
    calls = [
        ("exchangeInfo", {"symbol": "SOLUSDT"}),
        ("avgPrice", {"symbol": "SOLUSDT"}),
        ("ticker/24hr", {}),
        ("executionRules", {"symbolStatus": "TRADING"}),
        ("historicalBlockTrades", {"symbol": "SOLUSDT", "fromId": "5"}),
        ("referencePrice", {"symbol": "SOLUSDT"}),
        ("referencePrice/calculation", {"symbol": "SOLUSDT"}),
    ]
    for path, parameters in calls:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        assert (await get(server, f"/api/v3/{path}", query)).body == b"[elsewhere]"
    unit = TimeUnit.MILLISECOND
    assert away.asked == [(f"/api/v3/{path}", sent, unit) for path, sent in calls]
    assert {path for path, _, _ in away.asked} == OF_THE_EXCHANGE


async def test_a_refusal_from_elsewhere_is_the_answer(data):
    """Its status, code and message, and how long to wait."""
    away = Away(RestRefusal(-1003, "Too many requests queued.", status=429, retry_after_s=7))
    reply = await get(
        RestServer(data, IpBudget(), elsewhere=away), "/api/v3/depth", "symbol=BTCUSDT"
    )
    assert (reply.status, reply.headers["Retry-After"]) == (429, "7")
    assert msgspec.json.decode(reply.body) == {"code": -1003, "msg": "Too many requests queued."}
