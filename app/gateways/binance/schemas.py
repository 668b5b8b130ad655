"""The exchange's answers as JSON schemas, by path: what the documentation of the mirror says.

Fields that the exchange may add are no violation: the hub passes on what it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.binance.server.endpoints import API, STATUSES

Schema = dict[str, Any]

_NUMBER: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,18})?$"}
_WHOLE: Schema = {"type": "integer"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TIME: Schema = {"type": "integer", "minimum": 0, "description": "In the unit that was asked for"}
_FLAG: Schema = {"type": "boolean"}
_TEXT: Schema = {"type": "string"}
_SYMBOL: Schema = {"type": "string", "examples": ["BTCUSDT"]}
_ID: Schema = {"type": "integer", "minimum": -1}

ERROR: Final[Schema] = {
    "type": "object",
    "title": "ExchangeError",
    "properties": {
        "code": {"type": "integer", "maximum": 0, "description": "The exchange's own code"},
        "msg": _TEXT,
    },
    "required": ["code", "msg"],
}
"""The body of every refusal."""


def _object(properties: Mapping[str, Schema], optional: Sequence[str] = ()) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
    }


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _one_or_list(of: Schema) -> Schema:
    """One object for `symbol`, else a list of them."""
    return {"anyOf": [of, _list(of)]}


def _numbers(*names: str) -> dict[str, Schema]:
    return dict.fromkeys(names, _NUMBER)


_LEVELS = _list({"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2})

_TRADE = _object(
    {
        "id": _COUNT,
        **_numbers("price", "qty", "quoteQty"),
        "time": _TIME,
        "isBuyerMaker": _FLAG,
        "isBestMatch": _FLAG,
    }
)

_BLOCK_TRADE = _object(
    {
        "id": _COUNT,
        **_numbers("price", "qty", "quoteQty"),
        "time": _TIME,
        "isBuyerMaker": _FLAG,
    }
)

_AGG_TRADE = _object(
    {"a": _ID, "p": _NUMBER, "q": _NUMBER, "f": _ID, "l": _ID, "T": _TIME, "m": _FLAG, "M": _FLAG}
)

_KLINE: Schema = {
    "type": "array",
    "description": (
        "Open time, open, high, low, close, volume, close time, quote volume, trades, volume and "
        "quote volume of takers that bought, nothing"
    ),
    "prefixItems": [
        _TIME,
        *[_NUMBER] * 5,
        _TIME,
        _NUMBER,
        _COUNT,
        *[_NUMBER] * 3,
    ],
    "minItems": 12,
    "maxItems": 12,
}

_WINDOW: dict[str, Schema] = {
    "openTime": _TIME,
    "closeTime": _TIME,
    "firstId": _ID,
    "lastId": _ID,
    "count": _COUNT,
}

_MINI = _object(
    {
        "symbol": _SYMBOL,
        **_numbers("openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"),
        **_WINDOW,
    }
)

_SUMS = _object(
    {
        "symbol": _SYMBOL,
        **_numbers("priceChange", "priceChangePercent", "weightedAvgPrice"),
        **_numbers("openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"),
        **_WINDOW,
    }
)

_DAY = _object(
    {
        "symbol": _SYMBOL,
        **_numbers("priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice"),
        **_numbers("lastPrice", "lastQty", "bidPrice", "bidQty", "askPrice", "askQty"),
        **_numbers("openPrice", "highPrice", "lowPrice", "volume", "quoteVolume"),
        **_WINDOW,
    }
)


def _tickers(full: Schema) -> Schema:
    return {"anyOf": [full, _MINI, _list(full), _list(_MINI)]}


_LISTED = _object(
    {
        "symbol": _SYMBOL,
        "status": {"type": "string", "examples": list(STATUSES)},
        "baseAsset": _TEXT,
        "baseAssetPrecision": _COUNT,
        "quoteAsset": _TEXT,
        "quotePrecision": _COUNT,
        "orderTypes": _list(_TEXT),
        "isSpotTradingAllowed": _FLAG,
        "filters": _list(_object({"filterType": _TEXT})),
        "permissions": _list(_TEXT),
        "permissionSets": _list(_list(_TEXT)),
    },
    optional=["permissionSets"],
)

_INFO = _object(
    {
        "timezone": _TEXT,
        "serverTime": _TIME,
        "rateLimits": _list(
            _object(
                {
                    "rateLimitType": _TEXT,
                    "interval": _TEXT,
                    "intervalNum": _COUNT,
                    "limit": _COUNT,
                }
            )
        ),
        "exchangeFilters": _list({"type": "object"}),
        "symbols": _list(_LISTED),
    }
)

_RULES = _object(
    {
        "symbolRules": _list(
            _object({"symbol": _SYMBOL, "rules": _list(_object({"ruleType": _TEXT}))})
        )
    }
)

_CALCULATION = _object(
    {
        "symbol": _SYMBOL,
        "calculationType": _TEXT,
        "bucketCount": _COUNT,
        "bucketWidthMs": _COUNT,
        "externalCalculationId": _WHOLE,
    },
    optional=["bucketCount", "bucketWidthMs", "externalCalculationId"],
)

_NO_FUTURES = _object({"symbols": {"type": "array", "maxItems": 0}})

ANSWERS: Final[Mapping[str, Schema]] = {
    f"{API}/ping": {"type": "object", "maxProperties": 0},
    f"{API}/time": _object({"serverTime": _TIME}),
    f"{API}/exchangeInfo": _INFO,
    f"{API}/executionRules": _RULES,
    f"{API}/depth": _object({"lastUpdateId": _COUNT, "bids": _LEVELS, "asks": _LEVELS}),
    f"{API}/trades": _list(_TRADE),
    f"{API}/historicalTrades": _list(_TRADE),
    f"{API}/historicalBlockTrades": _list(_BLOCK_TRADE),
    f"{API}/aggTrades": _list(_AGG_TRADE),
    f"{API}/klines": _list(_KLINE),
    f"{API}/uiKlines": _list(_KLINE),
    f"{API}/avgPrice": _object({"mins": _COUNT, "price": _NUMBER, "closeTime": _TIME}),
    f"{API}/ticker/24hr": _tickers(_DAY),
    f"{API}/ticker/tradingDay": _tickers(_SUMS),
    f"{API}/ticker/price": _one_or_list(_object({"symbol": _SYMBOL, "price": _NUMBER})),
    f"{API}/ticker/bookTicker": _one_or_list(
        _object({"symbol": _SYMBOL, **_numbers("bidPrice", "bidQty", "askPrice", "askQty")})
    ),
    f"{API}/ticker": _tickers(_SUMS),
    f"{API}/referencePrice": _object(
        {
            "symbol": _SYMBOL,
            "referencePrice": {"anyOf": [_NUMBER, {"type": "null"}]},
            "timestamp": _TIME,
        }
    ),
    f"{API}/referencePrice/calculation": _CALCULATION,
    "/fapi/v1/exchangeInfo": _NO_FUTURES,
    "/dapi/v1/exchangeInfo": _NO_FUTURES,
}
"""What an answer of status 200 holds, by path."""
