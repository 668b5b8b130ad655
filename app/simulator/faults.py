"""The fault script: what can go wrong, read from a file or an admin call. Nothing happens here.

A script is YAML or JSON: a list of faults, or a mapping with the one key `faults`. Each fault says
what (`kind`), when (`at` seconds after the start, or `after_trades`, or at once), to whom (`symbol`
or `stream`, else everybody) and how. `config/faults.example.yaml` shows every kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import formatdate
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec

from app.errors import InvalidSetting
from app.market.events import SECOND_US
from app.simulator.chance import Draws, key_of
from app.sockets.frames import close_frame


class Kind(StrEnum):
    """What can go wrong."""

    # Once, to every connection that matches:
    CLOSE = "close"  # a close frame with `code` and `reason`
    RESET = "reset"  # TCP is reset
    CUT = "cut"  # TCP ends in the middle of the next frame that is meant, without a close frame
    HALF_OPEN = "half_open"  # the socket stays open, but nothing is read, answered or sent any more
    SLOW_READER = "slow_reader"  # for `duration` seconds nothing is read of it; data goes on
    SERVER_SHUTDOWN = "server_shutdown"  # the notice, and after `lead` seconds the close
    GARBAGE = "garbage"  # `count` broken messages of one `form`
    # Once, to a symbol:
    ID_RESET = "id_reset"  # trade ids begin anew at 1, as when the testnet is wiped
    ID_JUMP = "id_jump"  # the next trade's id is `count` higher; those between never exist
    UPDATE_ID_RESET = "update_id_reset"  # the book's update ids begin anew, trade ids go on
    SYMBOL_STATUS = (
        "symbol_status"  # exchangeInfo says `symbol_status`; BREAK stops all its streams
    )
    # For `duration` seconds, or `count` times, each time with `probability`:
    STALL = "stall"  # nothing is sent, pings are answered
    DROP = "drop"  # frames are lost
    DUPLICATE = "duplicate"  # frames come twice
    DELAY = "delay"  # frames come `delay` seconds late, so others overtake them
    REORDER = "reorder"  # a frame changes places with the next one of its stream
    BAD_TRADE = "bad_trade"  # a trade's frame cannot be read: its price is no number
    TRADE_WRONG = "trade_wrong"  # a trade's price and quantity are wrong; REST has the right ones
    KLINE_WRONG = "kline_wrong"  # a second's volume is wrong, on the stream, over REST or on both
    DEPTH_WRONG = "depth_wrong"  # a diff's or a partial book's best quantities are wrong
    TICKER_WRONG = "ticker_wrong"  # the quantities of a `bookTicker` are wrong
    ACK_SILENT = "ack_silent"  # who subscribes meanwhile gets the reply and never any data
    REST_STATUS = "rest_status"  # REST answers `status`
    REST_LAG = "rest_lag"  # REST's market data is as of `delay` seconds ago
    REST_DELAY = "rest_delay"  # REST's answer, made when it was asked, comes `delay` seconds late
    SNAPSHOT_WRONG = "snapshot_wrong"  # the best quantities that `depth` answers are wrong
    DIAL_STATUS = "dial_status"  # a new stream connection is answered `status` instead of 101


LASTING = frozenset(
    {
        Kind.STALL,
        Kind.DROP,
        Kind.DUPLICATE,
        Kind.DELAY,
        Kind.REORDER,
        Kind.BAD_TRADE,
        Kind.TRADE_WRONG,
        Kind.KLINE_WRONG,
        Kind.DEPTH_WRONG,
        Kind.TICKER_WRONG,
        Kind.ACK_SILENT,
        Kind.REST_STATUS,
        Kind.REST_LAG,
        Kind.REST_DELAY,
        Kind.SNAPSHOT_WRONG,
        Kind.DIAL_STATUS,
    }
)
OF_A_SYMBOL = frozenset({Kind.ID_RESET, Kind.ID_JUMP, Kind.UPDATE_ID_RESET, Kind.SYMBOL_STATUS})


class Form(StrEnum):
    """How a garbage message is broken."""

    TRUNCATED = "truncated"  # JSON that breaks off
    BINARY = "binary"  # a binary frame of noise
    EMPTY = "empty"  # a text frame of no characters
    HUGE = "huge"  # a text frame of `size` bytes
    NESTED = "nested"  # JSON of `size` opening brackets
    WRONG_TYPES = "wrong_types"  # a trade whose fields are of other types
    NOT_A_NUMBER = "not_a_number"  # a trade whose price is NaN
    INVALID_FRAME = "invalid_frame"  # bytes that are no WebSocket frame


class Where(StrEnum):
    """Who tells a wrong number."""

    STREAM = "stream"
    REST = "rest"
    BOTH = "both"  # the same one


class RetryAs(StrEnum):
    """In which of its two forms `Retry-After` is sent."""

    SECONDS = "seconds"
    DATE = "date"


class SymbolStatus(StrEnum):
    """What `exchangeInfo` can say of a symbol."""

    TRADING = "TRADING"
    END_OF_DAY = "END_OF_DAY"
    HALT = "HALT"
    BREAK = "BREAK"
    CANCEL_ONLY = "CANCEL_ONLY"


Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong. Times are seconds; what a kind does not use is ignored."""

    kind: Kind
    at: NotNegative | None = None
    after_trades: Count | None = None
    every: Positive | None = None
    symbol: str | None = None
    stream: str | None = None
    path: str | None = None
    duration: Positive | None = None
    count: Count | None = None
    probability: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    code: Annotated[int, msgspec.Meta(ge=1000, le=4999)] = 1001
    reason: Annotated[str, msgspec.Meta(max_length=120)] = ""
    lead: NotNegative = 10.0
    delay: Positive = 1.0
    form: Form = Form.TRUNCATED
    size: Annotated[int, msgspec.Meta(ge=1, le=64 * 1024 * 1024)] = 100_000
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 429
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | None = None  # `None`: without the header
    retry_as: RetryAs = RetryAs.SECONDS
    where: Where = Where.STREAM
    symbol_status: SymbolStatus = SymbolStatus.BREAK

    @property
    def lasts(self) -> bool:
        """Whether it lasts, rather than happening once."""
        return self.kind in LASTING

    def concerns(self, stream: str) -> bool:
        """Tell whether a stream, like `btcusdt@trade`, is meant."""
        if self.symbol is not None and not stream.startswith(f"{self.symbol.lower()}@"):
            return False
        return self.stream is None or fnmatchcase(stream, self.stream)

    def concerns_any(self, streams: Iterable[str]) -> bool:
        """Tell whether a connection with these streams is meant."""
        if self.symbol is None and self.stream is None:
            return True
        return any(self.concerns(stream) for stream in streams)

    def concerns_call(self, path: str, symbol: str) -> bool:
        """Tell whether a REST call is meant, which asks about `symbol` (empty for none)."""
        if self.symbol is not None and self.symbol.upper() != symbol:
            return False
        return path.startswith(self.path or "/")


class Lasting:
    """A fault that lasts: its end, what is left of its count, and its own chance.

    `hits` counts how often it struck.
    """

    def __init__(self, fault: Fault, *, now: float, seed: int) -> None:
        self.fault = fault
        self.hits = 0
        no_bound = fault.duration is None and fault.count is None
        length = 10.0 if no_bound else fault.duration
        self.ends = float("inf") if length is None else now + length
        self._left = fault.count
        self._draws = Draws(key_of(seed, fault.kind, fault.stream or "", fault.symbol or ""))

    def over(self, now: float) -> bool:
        """Tell whether it has ended."""
        return now >= self.ends or self._left == 0

    def strikes(self, now: float) -> bool:
        """Tell whether it strikes this time, and count it."""
        if self.over(now) or self._draws.fraction() >= self.fault.probability:
            return False
        if self._left is not None:
            self._left -= 1
        self.hits += 1
        return True


def read_script(path: Path) -> list[Fault]:
    """Return the faults of a file; raise `InvalidSetting` with the reason."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidSetting(
            key="--faults", value=path, expected=f"a readable file ({error.strerror})"
        ) from error
    try:
        return parse_script(content)
    except ValueError as error:
        raise InvalidSetting(
            key="--faults", value=path, expected=f"a fault script ({error})"
        ) from error


def parse_script(content: bytes) -> list[Fault]:
    """Return the faults of a YAML or JSON text: one, a list, or `{faults: [...]}`.

    Raises `ValueError` naming the place and what was expected there.
    """
    try:
        script = msgspec.yaml.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        message = " ".join(str(error).split())[:200]
        raise ValueError(message) from error
    if isinstance(script, dict) and "faults" in script:
        script = script["faults"]
    faults = msgspec.convert([script] if isinstance(script, dict) else script or [], list[Fault])
    for number, fault in enumerate(faults):
        if fault.kind in OF_A_SYMBOL and fault.symbol is None:
            message = f"kind {fault.kind}: expected a symbol - at `$[{number}]`"
            raise ValueError(message)
        try:
            close_frame(fault.code)
        except ValueError as error:
            message = f"{error} - at `$[{number}].code`"
            raise ValueError(message) from None
    return faults


def garbage(fault: Fault) -> tuple[bytes, bool]:
    """Return a broken message's payload and whether it is binary; for all but `invalid_frame`."""
    symbol = (fault.symbol or "BTCUSDT").upper()
    trade = '{"e":"trade","E":1,"s":"%s","t":%s,"p":%s,"q":"1.00000000","T":1,"m":true,"M":true}'
    payloads = {
        Form.TRUNCATED: (trade % (symbol, "7", '"1.00000000"'))[:-20],
        Form.BINARY: "",
        Form.EMPTY: "",
        Form.HUGE: '{"e":"trade","s":"' + "X" * fault.size + '"}',
        Form.NESTED: "[" * fault.size,
        Form.WRONG_TYPES: trade % (symbol, '"7"', "true"),
        Form.NOT_A_NUMBER: trade % (symbol, "7", '"NaN"'),
    }
    if fault.form is Form.BINARY:
        return bytes(range(256)) * 2, True
    return payloads[fault.form].encode(), False


def unreadable(frame: bytes) -> bytes:
    """Return a trade's frame with a price that is no number."""
    return _PRICE.sub(b'"p":"?"', frame, count=1)


_PRICE = re.compile(rb'"p":"[^"]*"')

INVALID_FRAME = b"\x93\x7e\xff"  # a reserved opcode with a reserved bit, cut off in its length

_NOT_HERE = (
    '{"code":0,"msg":"Service unavailable from a restricted location according to '
    "'b. Eligibility' in the terms of use.\"}"
)
_TOO_MUCH = (
    '{"code":-1003,"msg":"Too much request weight used; current limit is 6000 request weight per '
    '1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."}'
)
_BANNED = (
    '{"code":-1003,"msg":"Way too much request weight used; IP banned until %d. '
    'Please use WebSocket Streams for live updates to avoid bans."}'
)
_FIREWALL = "<html><head><title>403 Forbidden</title></head><body>403 Forbidden</body></html>"
_BROKEN = '{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}'


def refusal(fault: Fault, now_us: int) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body with which the exchange answers the fault's status.

    A date in `Retry-After` has whole seconds, so it is up to a second later than asked for.
    """
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
        if fault.retry_as is RetryAs.DATE:
            until_s = -(-now_us // SECOND_US) + fault.retry_after
            headers["Retry-After"] = formatdate(until_s, usegmt=True)
    if fault.status == 403:
        headers["Content-Type"] = "text/html"
        return headers, _FIREWALL.encode()
    if fault.status == 418:
        return headers, (_BANNED % (now_us // 1000 + 1000 * (fault.retry_after or 120))).encode()
    bodies = {429: _TOO_MUCH, 451: _NOT_HERE}
    return headers, bodies.get(fault.status, _BROKEN).encode()
