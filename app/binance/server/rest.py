"""The REST side of a Binance-shaped server, without I/O: a request's parts in, a reply out.

The order of the checks: path, budget of the address, time unit, parameters, symbol, data. So every
call that reaches an endpoint costs its weight, refused ones too.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn, Protocol

import msgspec

from app.binance.encode import (
    encode_agg_trades,
    encode_average_price,
    encode_best_prices,
    encode_day_sums,
    encode_depth,
    encode_error,
    encode_klines,
    encode_price,
    encode_server_time,
    encode_short_sums,
    encode_sums,
    encode_trades,
)
from app.binance.intervals import DAY_US, HOUR_US, MINUTE_US, SPANS_US
from app.binance.limits import (
    DEPTH_LIMIT,
    LARGEST_DEPTH,
    Charge,
    IpBudget,
    weight_of,
)
from app.binance.percent import query_pairs
from app.binance.server.data import Elsewhere, ExchangeData
from app.binance.server.endpoints import (
    API,
    DEFAULT_LIMIT,
    DEFAULT_WINDOW,
    ENDPOINTS,
    MAX_LIMIT,
    MOST_SYMBOLS,
    OF_THE_EXCHANGE,
    STATUSES,
    TICKER_TYPES,
    Endpoint,
)
from app.binance.statistics import average_window, day_window, rolling_window, trading_day
from app.binance.wire import (
    RATE_LIMITS,
    ExchangeInfo,
    ListedSymbol,
    TimeUnit,
    parse_time_unit,
)
from app.market.events import Kline

__all__ = [
    "API",
    "DEFAULT_LIMIT",
    "JSON_TYPE",
    "MAX_LIMIT",
    "OF_THE_EXCHANGE",
    "TIME_UNIT_HEADER",
    "EncodeKlines",
    "RestRefusal",
    "RestReply",
    "RestServer",
]

JSON_TYPE: Final = "application/json;charset=UTF-8"
_BINARY = "application/sbe"
TIME_UNIT_HEADER: Final = "X-MBX-TIME-UNIT"

_EARLIEST_US = 1_483_228_800_000_000  # 2017-01-01: earlier bounds are moved up to it
_AHEAD_US = 10_000_000  # later bounds than 10 s from now are moved back to that
_SMALLEST_US_TIME = 10**14  # as milliseconds the year 5138: larger ones are microseconds

_SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"
_NUMBER_RANGE = "^[0-9]{1,20}$"
_symbol_text = re.compile(r"[\w.\-]{1,50}").fullmatch
_lower_case = re.compile("[a-z]").search
_LARGEST_INT = 2**63 - 1
_number = re.compile(r"[0-9]{1,20}", re.ASCII).fullmatch
_time_zone = re.compile(r"(-?)([0-9]{1,2})(?::([0-9]{2}))?", re.ASCII).fullmatch
_window_text = re.compile(r"([0-9]{1,2})([mhd])", re.ASCII).fullmatch
_WINDOW_UNITS = {"m": (MINUTE_US, 59), "h": (HOUR_US, 23), "d": (DAY_US, 7)}  # length, how many
_EASTMOST_US = 14 * HOUR_US
_WESTMOST_US = -12 * HOUR_US

_UNABLE = (-1001, "Internal error; unable to process your request. Please try again.")

_DEFAULT_PERMISSIONS = frozenset({"SPOT", "MARGIN", "LEVERAGED"})
_permission = re.compile(r"SPOT|MARGIN|LEVERAGED|TRD_GRP_[0-9]{3}").fullmatch

_encode = msgspec.json.Encoder().encode
_decode_list = msgspec.json.Decoder(list[str]).decode


@dataclass(frozen=True, slots=True)
class RestReply:
    """An HTTP answer: everything but its length."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RestRefusal(Exception):
    """An error answer of the exchange: HTTP 400 unless said otherwise, a code and its message.

    `retry_after_s` is told in the header `Retry-After`; 0 leaves it out.
    """

    def __init__(
        self, code: int, message: str, *, status: int = 400, retry_after_s: int = 0
    ) -> None:
        super().__init__(code, message, status)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class _Call:
    """One call past its budget: decoded parameters, all different and none empty."""

    path: str
    parameters: Mapping[str, str]
    time_unit: TimeUnit
    now_us: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which symbols a call is about; `one` where it is answered by one object, not by a list."""

    symbols: tuple[str, ...]
    one: bool


_Answer = Callable[[], Awaitable[bytes | None]]
"""Gets the body of a call that has been judged; `None` where the data here do not tell it."""


_Judge = Callable[[_Call], _Answer]
"""Judges a call: raises `RestRefusal` where it is wrong."""


class EncodeKlines(Protocol):
    """Writes klines: `app.binance.encode.encode_klines`, or what does the same more cheaply."""

    def __call__(self, klines: Iterable[Kline], *, time_unit: TimeUnit) -> bytes:
        """Return the body of `klines` and `uiKlines`."""


class RestServer:
    """Answers the market-data calls of `/api/v3` out of an `ExchangeData`.

    With `elsewhere`, calls that the data do not tell are passed on to it, and so is each of
    `passed_on`, whatever they tell. Only calls that the exchange itself would answer are.
    """

    def __init__(
        self,
        data: ExchangeData,
        budget: IpBudget,
        *,
        elsewhere: Elsewhere | None = None,
        passed_on: frozenset[str] = OF_THE_EXCHANGE,
        encode_klines: EncodeKlines = encode_klines,
    ) -> None:
        """Serve `data`; `encode_klines` writes rows as the function of that name does."""
        self._data = data
        self._encode_klines = encode_klines
        self._budget = budget
        self._elsewhere = elsewhere
        self._passed_on = passed_on
        self._judges: dict[str, _Judge] = {
            f"{API}/ping": _ping,
            f"{API}/time": _time,
            f"{API}/exchangeInfo": self._exchange_info,
            f"{API}/executionRules": self._execution_rules,
            f"{API}/depth": self._depth,
            f"{API}/trades": self._trades,
            f"{API}/historicalTrades": self._historical_trades,
            f"{API}/historicalBlockTrades": self._block_trades,
            f"{API}/aggTrades": self._agg_trades,
            f"{API}/klines": self._klines,
            f"{API}/uiKlines": self._klines,
            f"{API}/avgPrice": self._average_price,
            f"{API}/ticker/24hr": self._day_tickers,
            f"{API}/ticker/tradingDay": self._trading_days,
            f"{API}/ticker/price": self._prices,
            f"{API}/ticker/bookTicker": self._best_prices,
            f"{API}/ticker": self._window_tickers,
            f"{API}/referencePrice": self._reference_price,
            f"{API}/referencePrice/calculation": self._reference_price,
            "/fapi/v1/exchangeInfo": _no_symbols,
            "/dapi/v1/exchangeInfo": _no_symbols,
        }

    def serves(self, path: str) -> bool:
        """Whether `path` is one of the endpoints."""
        return path in self._judges

    async def handle(  # noqa: PLR0917 - a request line, read from left to right
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        ip: str,
        now_us: int,
    ) -> RestReply:
        """Answer one request; `query` is as it came, still percent-encoded. Never raises."""
        judge = self._judges.get(path)
        pairs = query_pairs(query)
        charge = self._budget.charge(ip, weight_of(path, dict(pairs)), now_us)
        if charge.status != 200:
            return _reply(charge.status, _over_budget(charge), charge)
        if judge is None:
            return _not_found(headers, charge)
        if method not in {"GET", "HEAD"}:
            body = encode_error(-1020, "This operation is not supported.")
            return _reply(405, body, charge, {"Allow": "GET"})
        try:
            unit = _unit(headers)
            _accepts_json(headers)
            parameters = _parameters(ENDPOINTS[path], pairs)
            call = _Call(path, parameters, unit, now_us)
            body = await self._answered(judge(call), call)
        except RestRefusal as refusal:
            return _refused(refusal, charge)
        return _reply(200, body, charge)

    async def _answered(self, answer: _Answer, call: _Call) -> bytes:
        """Return the body for a call that has been judged; raise `RestRefusal`."""
        elsewhere = self._elsewhere
        if elsewhere is None or call.path not in self._passed_on:
            body = await answer()
            if body is not None:
                return body
        if elsewhere is None:
            raise RestRefusal(*_UNABLE, status=503)
        return await elsewhere(call.path, call.parameters, call.time_unit)

    def _exchange_info(self, call: _Call) -> _Answer:
        rows = self._selected(call.parameters)
        if not _flag(call.parameters, "showPermissionSets", default=True):
            rows = [msgspec.structs.replace(row, permission_sets=()) for row in rows]
        return partial(_tell_info, rows, call)

    def _selected(self, parameters: Mapping[str, str]) -> list[ListedSymbol]:
        """Return the rows that `exchangeInfo` was asked for; only one way of asking at a time."""
        ways = parameters.keys() & {"symbol", "symbols"}
        filters = parameters.keys() & {"permissions", "symbolStatus"}
        if len(ways) > 1 or (ways and filters):
            _bad_combination()
        listed = self._data.symbols()
        if "symbol" in ways:
            return [self._listed(parameters["symbol"])]
        if "symbols" in ways:
            return [self._listed(name, "symbols") for name in _names(parameters["symbols"])]
        wanted = _permissions(parameters.get("permissions"))
        status = _status(parameters)
        return [
            row
            for row in listed.values()
            if not wanted.isdisjoint(_all_permissions(row)) and status in {None, row.status}
        ]

    def _listed(self, name: str, parameter: str = "symbol") -> ListedSymbol:
        if not _symbol_text(name) or _lower_case(name):
            _illegal(parameter, _SYMBOL_RANGE)
        row = self._data.symbols().get(name)
        if row is None:
            raise RestRefusal(-1121, "Invalid symbol.")
        return row

    def _listed_as(self, name: str, status: str | None) -> ListedSymbol:
        row = self._listed(name)
        if status not in {None, row.status}:
            message = "The symbol's status does not match the requested symbolStatus."
            raise RestRefusal(-1220, message)
        return row

    def _depth(self, call: _Call) -> _Answer:
        limit = _limit(call.parameters, DEPTH_LIMIT, LARGEST_DEPTH)
        status = _status(call.parameters)
        row = self._listed_as(call.parameters["symbol"], status)
        return partial(self._tell_depth, row.symbol, limit)

    async def _tell_depth(self, symbol: str, limit: int) -> bytes | None:
        book = await self._data.depth(symbol, limit=limit)
        return None if book is None else encode_depth(book)

    def _execution_rules(self, call: _Call) -> _Answer:
        """Only one way of asking at a time; no symbol here has a rule."""
        ways = call.parameters.keys() & {"symbol", "symbols", "symbolStatus"}
        if len(ways) > 1:
            _bad_combination()
        asked = self._asked(call.parameters)
        rules = [{"symbol": symbol, "rules": []} for symbol in asked.symbols]
        return partial(_tell, _encode({"symbolRules": rules}))

    def _block_trades(self, call: _Call) -> _Answer:
        """Nobody here trades blocks."""
        _limit(call.parameters)
        _integer(call.parameters, "fromId")
        self._listed(call.parameters["symbol"])
        return partial(_tell, b"[]")

    def _reference_price(self, call: _Call) -> _Answer:
        status = _status(call.parameters)
        self._listed_as(call.parameters["symbol"], status)
        return _no_reference_price

    def _best_prices(self, call: _Call) -> _Answer:
        return partial(self._tell_each, self._asked(call.parameters), self._best_price)

    async def _best_price(self, symbol: str) -> bytes | None:
        book = await self._data.depth(symbol, limit=1)
        return None if book is None else encode_best_prices(book)

    def _prices(self, call: _Call) -> _Answer:
        return partial(self._tell_each, self._asked(call.parameters), self._price)

    async def _price(self, symbol: str) -> bytes | None:
        price = await self._data.price(symbol)
        return None if price is None else encode_price(symbol, price)

    def _average_price(self, call: _Call) -> _Answer:
        symbol = self._listed(call.parameters["symbol"]).symbol
        start_us, end_us = average_window(call.now_us)

        async def tell() -> bytes | None:
            sums = await self._data.statistics(symbol, start_us=start_us, end_us=end_us)
            return None if sums is None else encode_average_price(sums, time_unit=call.time_unit)

        return tell

    def _day_tickers(self, call: _Call) -> _Answer:
        """Answer with the sums that alone name the best bid and ask, and the trade before them."""
        mini = _is_mini(call.parameters)
        asked = self._asked(call.parameters)
        start_us, end_us = day_window(call.now_us)

        async def told(symbol: str) -> bytes | None:
            sums = await self._data.statistics(symbol, start_us=start_us, end_us=end_us)
            if sums is None:
                return None
            if mini:
                return encode_short_sums(sums, time_unit=call.time_unit)
            book = await self._data.depth(symbol, limit=1)
            return encode_day_sums(sums, book, time_unit=call.time_unit)

        return partial(self._tell_each, asked, told)

    def _trading_days(self, call: _Call) -> _Answer:
        mini = _is_mini(call.parameters)
        offset_us = _offset(call.parameters.get("timeZone", "0"))
        asked = self._asked(call.parameters, must_name=True)
        return self._sums(asked, trading_day(call.now_us, offset_us), call, mini=mini)

    def _window_tickers(self, call: _Call) -> _Answer:
        mini = _is_mini(call.parameters)
        span_us = _window(call.parameters.get("windowSize", DEFAULT_WINDOW))
        asked = self._asked(call.parameters, must_name=True)
        return self._sums(asked, rolling_window(call.now_us, span_us), call, mini=mini)

    def _sums(self, asked: _Asked, window: tuple[int, int], call: _Call, *, mini: bool) -> _Answer:
        encode = encode_short_sums if mini else encode_sums
        start_us, end_us = window

        async def told(symbol: str) -> bytes | None:
            sums = await self._data.statistics(symbol, start_us=start_us, end_us=end_us)
            return None if sums is None else encode(sums, time_unit=call.time_unit)

        return partial(self._tell_each, asked, told)

    def _asked(self, parameters: Mapping[str, str], *, must_name: bool = False) -> _Asked:
        """Return what `symbol` or `symbols` name, else all; a list leaves out other statuses.

        Where they `must_name` some, one has to be there, and a list has its most.
        """
        ways = parameters.keys() & {"symbol", "symbols"}
        if len(ways) > 1:
            _bad_combination()
        if must_name and not ways:
            message = "Param 'symbol' or 'symbols' must be sent, but both were empty/null!"
            raise RestRefusal(-1102, message)
        status = _status(parameters)
        if "symbol" in ways:
            return _Asked((self._listed_as(parameters["symbol"], status).symbol,), one=True)
        rows: Iterable[ListedSymbol] = self._data.symbols().values()
        if "symbols" in ways:
            names = _names(parameters["symbols"], MOST_SYMBOLS if must_name else None)
            rows = [self._listed(name, "symbols") for name in names]
        return _Asked(tuple(row.symbol for row in rows if status in {None, row.status}), one=False)

    async def _tell_each(
        self, asked: _Asked, told: Callable[[str], Awaitable[bytes | None]]
    ) -> bytes | None:
        """Return one object for `symbol`, else a list of them.

        What is not known is left out of a list, unless somebody else may know it.
        """
        if asked.one:
            return await told(asked.symbols[0])
        bodies = []
        for symbol in asked.symbols:
            body = await told(symbol)
            if body is not None:
                bodies.append(body)
            elif self._elsewhere is not None:
                return None
        return b"[%b]" % b",".join(bodies)

    def _trades(self, call: _Call) -> _Answer:
        limit = _limit(call.parameters)
        symbol = self._listed(call.parameters["symbol"]).symbol
        return partial(self._tell_trades, symbol, None, limit, call.time_unit)

    def _historical_trades(self, call: _Call) -> _Answer:
        limit = _limit(call.parameters)
        from_id = _integer(call.parameters, "fromId")
        symbol = self._listed(call.parameters["symbol"]).symbol
        return partial(self._tell_trades, symbol, from_id, limit, call.time_unit)

    async def _tell_trades(
        self, symbol: str, from_id: int | None, limit: int, unit: TimeUnit
    ) -> bytes | None:
        trades = await self._data.trades(symbol, from_id=from_id, limit=limit)
        return None if trades is None else encode_trades(trades, time_unit=unit)

    def _agg_trades(self, call: _Call) -> _Answer:
        limit = _limit(call.parameters)
        from_id = _integer(call.parameters, "fromId")
        start_us, end_us = _bounds(call)
        if from_id is not None and (start_us is not None or end_us is not None):
            _bad_combination()
        symbol = self._listed(call.parameters["symbol"]).symbol

        async def tell() -> bytes | None:
            trades = await self._data.agg_trades(
                symbol, from_id=from_id, start_us=start_us, end_us=end_us, limit=limit
            )
            return None if trades is None else encode_agg_trades(trades, time_unit=call.time_unit)

        return tell

    def _klines(self, call: _Call) -> _Answer:
        limit = _limit(call.parameters)
        start_us, end_us = _bounds(call)
        offset_us = _offset(call.parameters.get("timeZone", "0"))
        interval = call.parameters["interval"]
        if interval not in SPANS_US:
            raise RestRefusal(-1120, "Invalid interval.")
        symbol = self._listed(call.parameters["symbol"]).symbol
        encode = self._encode_klines

        async def tell() -> bytes | None:
            klines = await self._data.klines(
                symbol, interval, start_us=start_us, end_us=end_us, offset_us=offset_us, limit=limit
            )
            return None if klines is None else encode(klines, time_unit=call.time_unit)

        return tell


async def _tell(body: bytes) -> bytes:
    return body


async def _no_reference_price() -> bytes:
    raise RestRefusal(-2043, "This symbol doesn't have a reference price.")


def _ping(_call: _Call) -> _Answer:
    return partial(_tell, b"{}")


def _time(call: _Call) -> _Answer:
    return partial(_tell, encode_server_time(call.now_us, time_unit=call.time_unit))


def _no_symbols(_call: _Call) -> _Answer:
    return partial(_tell, b'{"symbols":[]}')


async def _tell_info(rows: list[ListedSymbol], call: _Call) -> bytes:
    return _encode(
        ExchangeInfo(
            timezone="UTC",
            server_time=call.now_us // call.time_unit.us,
            rate_limits=RATE_LIMITS,
            exchange_filters=(),
            symbols=rows,
        )
    )


def _reply(
    status: int, body: bytes, charge: Charge, more: Mapping[str, str] | None = None
) -> RestReply:
    headers = {
        "Content-Type": JSON_TYPE,
        "X-MBX-USED-WEIGHT": str(charge.used),
        "X-MBX-USED-WEIGHT-1M": str(charge.used),
    }
    if charge.retry_after_s:
        headers["Retry-After"] = str(charge.retry_after_s)
    return RestReply(status, {**headers, **(more or {})}, body)


def _refused(refusal: RestRefusal, charge: Charge) -> RestReply:
    body = encode_error(refusal.code, refusal.message)
    wait_s = refusal.retry_after_s
    return _reply(refusal.status, body, charge, {"Retry-After": str(wait_s)} if wait_s else None)


def _not_found(headers: Mapping[str, str], charge: Charge) -> RestReply:
    """Return a 404: with a page only for who accepts one (since 2023-12), else without a body."""
    if "text/html" not in _header(headers, "Accept"):
        return _reply(404, b"", charge)
    page = b"<html><body><h1>404 Not Found</h1></body></html>"
    return _reply(404, page, charge, {"Content-Type": "text/html;charset=UTF-8"})


def _over_budget(charge: Charge) -> bytes:
    if charge.status == 418:
        return encode_error(
            -1003,
            f"Way too much request weight used; IP banned until {charge.banned_until_us // 1000}. "
            "Please use WebSocket Streams for live updates to avoid bans.",
        )
    what = "request weight" if charge.span_minutes == 1 else "raw requests"
    return encode_error(
        -1003,
        f"Too much request weight used; current limit is {charge.limit} {what} per "
        f"{charge.span_minutes} MINUTE. Please use WebSocket Streams for live updates to avoid "
        "polling the API.",
    )


def _header(headers: Mapping[str, str], name: str) -> str:
    """Return a header's value, empty when absent; names are compared without case."""
    lower = name.lower()
    return next((value for key, value in headers.items() if key.lower() == lower), "")


def _unit(headers: Mapping[str, str]) -> TimeUnit:
    given = _header(headers, TIME_UNIT_HEADER)
    if not given:
        return TimeUnit.MILLISECOND
    unit = parse_time_unit(given)
    if unit is None:
        message = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."
        raise RestRefusal(-1194, message)
    return unit


def _accepts_json(headers: Mapping[str, str]) -> None:
    """Refuse who takes nothing but the binary form (SBE), which is not served."""
    kinds = [each.partition(";")[0].strip() for each in _header(headers, "Accept").split(",")]
    if kinds and all(kind.lower() == _BINARY for kind in kinds):
        raise RestRefusal(-1020, "This operation is not supported.", status=406)


def _parameters(endpoint: Endpoint, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters by name, or refuse duplicates, empty, missing and unknown ones."""
    sent = list(pairs)
    found = dict(sent)
    if len(found) < len(sent):
        raise RestRefusal(-1101, "Duplicate values for a parameter detected.")
    if sent and not endpoint.reads:
        message = f"Too many parameters; expected '0' and received '{len(sent)}'."
        raise RestRefusal(-1101, message)
    for name, value in sent:
        if name in endpoint.reads and not value:
            raise RestRefusal(-1105, f"Parameter '{name}' was empty.")
    for name in endpoint.mandatory:
        if name not in found:
            raise RestRefusal(
                -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
            )
    read = len(found.keys() & endpoint.reads)
    if read < len(found):
        raise RestRefusal(
            -1104,
            f"Not all sent parameters were read; read '{read}' parameter(s) but was sent "
            f"'{len(found)}'.",
        )
    return found


def _illegal(name: str, legal_range: str) -> NoReturn:
    message = f"Illegal characters found in parameter '{name}'; legal range is '{legal_range}'."
    raise RestRefusal(-1100, message)


def _not_valid(name: str) -> NoReturn:
    raise RestRefusal(-1130, f"Data sent for parameter '{name}' is not valid.")


def _bad_combination() -> NoReturn:
    raise RestRefusal(-1128, "Combination of optional parameters invalid.")


def _integer(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if not _number(text):
        _illegal(name, _NUMBER_RANGE)
    value = int(text)
    if value > _LARGEST_INT:
        raise RestRefusal(-1108, f"Parameter '{name}' overflowed.")
    return value


def _limit(
    parameters: Mapping[str, str], default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT
) -> int:
    """Return how many rows to send. More than `most` means `most`.

    That is documented for `depth` (5000), not for the calls whose most is 1000.
    """
    text = parameters.get("limit", str(default))
    if not _number(text) or not int(text):
        _not_valid("limit")
    return min(int(text), most)


def _status(parameters: Mapping[str, str]) -> str | None:
    status = parameters.get("symbolStatus")
    if status is not None and status not in STATUSES:
        raise RestRefusal(-1122, "Invalid symbolStatus.")
    return status


def _bounds(call: _Call) -> tuple[int | None, int | None]:
    """Return `startTime` and `endTime`, sent in either unit, within 2017 and 10 s from now.

    A bound in milliseconds includes the whole of its last millisecond.
    """
    latest = call.now_us + _AHEAD_US
    start = _integer(call.parameters, "startTime")
    end = _integer(call.parameters, "endTime")
    return (
        None if start is None else _clamp(_as_us(start, last_part=0), latest),
        None if end is None else _clamp(_as_us(end, last_part=999), latest),
    )


def _as_us(time: int, *, last_part: int) -> int:
    return time if time >= _SMALLEST_US_TIME else time * 1_000 + last_part


def _clamp(time_us: int, latest_us: int) -> int:
    return max(_EARLIEST_US, min(time_us, latest_us))


def _offset(text: str) -> int:
    """Return how far east of UTC a `timeZone` is: `8`, `05:45` or `-1:00`, from -12:00 to 14:00."""
    found = _time_zone(text)
    if not found or int(found[3] or 0) > 59:
        _not_valid("timeZone")
    offset_us = int(found[2]) * HOUR_US + int(found[3] or 0) * MINUTE_US
    if found[1]:
        offset_us = -offset_us
    if not _WESTMOST_US <= offset_us <= _EASTMOST_US:
        _not_valid("timeZone")
    return offset_us


def _window(text: str) -> int:
    """Return how long a `windowSize` is: `1m` to `59m`, `1h` to `23h`, `1d` to `7d`."""
    found = _window_text(text)
    if not found or not 1 <= int(found[1]) <= _WINDOW_UNITS[found[2]][1]:
        _not_valid("windowSize")
    return int(found[1]) * _WINDOW_UNITS[found[2]][0]


def _is_mini(parameters: Mapping[str, str]) -> bool:
    kind = parameters.get("type", TICKER_TYPES[0])
    if kind not in TICKER_TYPES:
        raise RestRefusal(-1139, "Invalid ticker type.")
    return kind == "MINI"


def _flag(parameters: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = parameters.get(name, str(default)).lower()
    if text not in {"true", "false"}:
        _not_valid(name)
    return text == "true"


def _json_list(name: str, text: str) -> list[str]:
    try:
        return _decode_list(text)
    except (ValueError, RecursionError):
        raise RestRefusal(-1135, f"JSON sent for parameter '{name}' is not valid") from None


def _names(text: str, most: int | None = None) -> list[str]:
    names = _json_list("symbols", text)
    if not names:
        raise RestRefusal(-1105, "Parameter 'symbols' was empty.")
    if most is not None and len(names) > most:
        message = "Too many values sent for parameter 'symbols', maximum allowed up to"
        raise RestRefusal(-1101, f"{message} {most}.")
    if len(set(names)) < len(names):
        raise RestRefusal(-1151, "Symbol is present multiple times in the list.")
    return names


def _permissions(text: str | None) -> frozenset[str]:
    """Return the permissions asked for, one plain or several as a list; a symbol needs any."""
    if text is None:
        return _DEFAULT_PERMISSIONS
    wanted = _json_list("permissions", text) if text.startswith("[") else [text]
    if not wanted or not all(_permission(each) for each in wanted):
        _not_valid("permissions")
    return frozenset(wanted)


def _all_permissions(row: ListedSymbol) -> set[str]:
    return {permission for group in row.permission_sets for permission in group}
