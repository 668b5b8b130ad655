"""The REST side of a Binance-shaped server, without I/O: a request's parts in, a reply out.

The order of the checks: path, budget of the address, time unit, parameters, symbol, data. So every
call that reaches an endpoint costs its weight, refused ones too.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NoReturn

import msgspec

from app.binance.encode import (
    encode_agg_trades,
    encode_best_prices,
    encode_depth,
    encode_error,
    encode_klines,
    encode_server_time,
    encode_trades,
)
from app.binance.intervals import HOUR_US, MINUTE_US, SPANS_US
from app.binance.limits import (
    DEPTH_LIMIT,
    LARGEST_DEPTH,
    Charge,
    IpBudget,
    weight_of,
)
from app.binance.percent import query_pairs
from app.binance.server.data import Elsewhere, ExchangeData
from app.binance.wire import (
    RATE_LIMITS,
    ExchangeInfo,
    ListedSymbol,
    TimeUnit,
    parse_time_unit,
)

API: Final = "/api/v3"
DEFAULT_LIMIT: Final = 500
MAX_LIMIT: Final = 1000

OF_THE_EXCHANGE: Final = frozenset(
    f"{API}/{name}"
    for name in (
        *("exchangeInfo", "avgPrice", "ticker/24hr", "ticker/tradingDay", "ticker"),
        *("executionRules", "historicalBlockTrades"),
        *("referencePrice", "referencePrice/calculation"),
    )
)
"""What the exchange alone can tell: never answered out of our data where it can be asked."""

JSON_TYPE: Final = "application/json;charset=UTF-8"
TIME_UNIT_HEADER: Final = "X-MBX-TIME-UNIT"

_EARLIEST_US = 1_483_228_800_000_000  # 2017-01-01: earlier bounds are moved up to it
_AHEAD_US = 10_000_000  # later bounds than 10 s from now are moved back to that
_SMALLEST_US_TIME = 10**14  # as milliseconds the year 5138: larger ones are microseconds

_SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"
_NUMBER_RANGE = "^[0-9]{1,20}$"
_symbol_text = re.compile(r"[\w.\-]{1,50}").fullmatch
_lower_case = re.compile("[a-z]").search
_number = re.compile(r"[0-9]{1,20}", re.ASCII).fullmatch
_time_zone = re.compile(r"(-?)([0-9]{1,2})(?::([0-9]{2}))?", re.ASCII).fullmatch
_EASTMOST_US = 14 * HOUR_US
_WESTMOST_US = -12 * HOUR_US

_UNABLE = (-1001, "Internal error; unable to process your request. Please try again.")

_STATUSES = frozenset({"TRADING", "HALT", "BREAK", "CANCEL_ONLY"})
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


_Answer = Callable[[], Awaitable[bytes | None]]
"""Gets the body of a call that has been judged; `None` where the data here do not tell it."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One path: which parameters it reads, which it must have, and what judges and answers it."""

    judge: Callable[[_Call], _Answer]
    reads: frozenset[str] = field(default_factory=frozenset)
    mandatory: tuple[str, ...] = ()


class RestServer:
    """Answers the market-data calls of `/api/v3` out of an `ExchangeData`.

    With `elsewhere`, calls that the data do not tell are passed on to it, and so is each of
    `OF_THE_EXCHANGE`. Only calls that the exchange itself would answer are.
    """

    def __init__(
        self, data: ExchangeData, budget: IpBudget, *, elsewhere: Elsewhere | None = None
    ) -> None:
        self._data = data
        self._budget = budget
        self._elsewhere = elsewhere
        trades = _Endpoint(self._trades, frozenset({"symbol", "limit"}), ("symbol",))
        historical = _Endpoint(
            self._historical_trades, frozenset({"symbol", "limit", "fromId"}), ("symbol",)
        )
        agg_trades = _Endpoint(
            self._agg_trades,
            frozenset({"symbol", "fromId", "startTime", "endTime", "limit"}),
            ("symbol",),
        )
        klines = _Endpoint(
            self._klines,
            frozenset({"symbol", "interval", "startTime", "endTime", "timeZone", "limit"}),
            ("symbol", "interval"),
        )
        info = _Endpoint(
            self._exchange_info,
            frozenset({"symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"}),
        )
        depth = _Endpoint(self._depth, frozenset({"symbol", "limit", "symbolStatus"}), ("symbol",))
        best_prices = _Endpoint(self._best_prices, frozenset({"symbol", "symbols", "symbolStatus"}))
        no_symbols = _Endpoint(_no_symbols)
        # Average prices and other tickers each add a row here and one to `limits.WEIGHTS`.
        self._endpoints: dict[str, _Endpoint] = {
            f"{API}/ping": _Endpoint(_ping),
            f"{API}/time": _Endpoint(_time),
            f"{API}/exchangeInfo": info,
            f"{API}/depth": depth,
            f"{API}/ticker/bookTicker": best_prices,
            f"{API}/trades": trades,
            f"{API}/historicalTrades": historical,
            f"{API}/aggTrades": agg_trades,
            f"{API}/klines": klines,
            f"{API}/uiKlines": klines,
            # Clients that know several markets ask for the futures too.
            "/fapi/v1/exchangeInfo": no_symbols,
            "/dapi/v1/exchangeInfo": no_symbols,
        }

    def serves(self, path: str) -> bool:
        """Whether `path` is one of the endpoints."""
        return path in self._endpoints

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
        endpoint = self._endpoints.get(path)
        pairs = query_pairs(query)
        charge = self._budget.charge(ip, weight_of(path, dict(pairs)), now_us)
        if charge.status != 200:
            return _reply(charge.status, _over_budget(charge), charge)
        if endpoint is None:
            return _not_found(headers, charge)
        if method not in {"GET", "HEAD"}:
            body = encode_error(-1020, "This operation is not supported.")
            return _reply(405, body, charge, {"Allow": "GET"})
        try:
            unit = _unit(headers)
            parameters = _parameters(endpoint, pairs)
            call = _Call(path, parameters, unit, now_us)
            body = await self._answered(endpoint.judge(call), call)
        except RestRefusal as refusal:
            return _refused(refusal, charge)
        return _reply(200, body, charge)

    async def _answered(self, answer: _Answer, call: _Call) -> bytes:
        """Return the body for a call that has been judged; raise `RestRefusal`."""
        elsewhere = self._elsewhere
        if elsewhere is None or call.path not in OF_THE_EXCHANGE:
            body = await answer()
            if body is not None:
                return body
        if elsewhere is None:
            raise RestRefusal(*_UNABLE, status=500)
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

    def _best_prices(self, call: _Call) -> _Answer:
        """Return one object for `symbol`, else a list, which leaves out other statuses."""
        parameters = call.parameters
        if "symbol" in parameters and "symbols" in parameters:
            _bad_combination()
        status = _status(parameters)
        if "symbol" in parameters:
            row = self._listed_as(parameters["symbol"], status)
            return partial(self._tell_best_price, row.symbol)
        rows: Iterable[ListedSymbol] = self._data.symbols().values()
        if "symbols" in parameters:
            rows = [self._listed(name, "symbols") for name in _names(parameters["symbols"])]
        names = [row.symbol for row in rows if status in {None, row.status}]
        return partial(self._tell_best_prices, names)

    async def _tell_best_price(self, symbol: str) -> bytes | None:
        book = await self._data.depth(symbol, limit=1)
        return None if book is None else encode_best_prices(book)

    async def _tell_best_prices(self, symbols: Sequence[str]) -> bytes | None:
        """Return a list; a symbol without a book is left out, unless somebody else may know it."""
        told = []
        for symbol in symbols:
            body = await self._tell_best_price(symbol)
            if body is not None:
                told.append(body)
            elif self._elsewhere is not None:
                return None
        return b"[%b]" % b",".join(told)

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

        async def tell() -> bytes | None:
            klines = await self._data.klines(
                symbol, interval, start_us=start_us, end_us=end_us, offset_us=offset_us, limit=limit
            )
            return None if klines is None else encode_klines(klines, time_unit=call.time_unit)

        return tell


async def _tell(body: bytes) -> bytes:
    return body


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


def _parameters(endpoint: _Endpoint, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
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
    return int(text)


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
    if status is not None and status not in _STATUSES:
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


def _names(text: str) -> list[str]:
    names = _json_list("symbols", text)
    if not names:
        raise RestRefusal(-1105, "Parameter 'symbols' was empty.")
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
