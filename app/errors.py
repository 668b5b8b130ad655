"""Every error that Candlewire raises on purpose, in one tree.

::

    CandlewireError
    ├── InvalidSetting          a setting has a wrong value: start-up ends with one line
    ├── PortInUse               an address cannot be bound: start-up ends with one line
    ├── StateUnreadable         the kept state cannot be opened or is of an unknown version
    ├── BadCapture              a recording cannot be read
    ├── BadFrame                an exchange's frame is not what its protocol says: counted, skipped
    ├── BadRequest              a client asked for something malformed
    │   ├── InvalidSymbol       the text cannot be a symbol
    │   ├── UnknownChannel      there is no such channel
    │   ├── InvalidRequest      a message is not JSON, or not of the shape of its kind
    │   ├── UnknownOp           there is no such operation
    │   ├── UnsupportedInterval the channel has no candles of that interval
    │   ├── NotSupported        a part of the protocol that this hub does not have
    │   ├── NotSubscribed       the client does not follow what it wants to leave
    │   └── TooManySubscriptions  the client would follow more than one may
    ├── SymbolError             a symbol exists or not, is held or not
    │   ├── UnknownSymbol       the exchange does not list it
    │   ├── SymbolNotFollowedThere  the hub that this one follows does not follow it
    │   ├── SymbolNotTrading    the exchange lists it, but it is not TRADING
    │   ├── SymbolAlreadyActive it is in the wanted set already
    │   ├── SymbolNotActive     it is not in the wanted set
    │   ├── SymbolsNotLoaded    the exchange's list is not known yet (retryable)
    │   ├── PollBudgetExceeded  polling its book too would take more weight than polls may
    │   └── SymbolNotKept       the disk did not take the change, so nothing was changed
    └── FeedError               the exchange cannot be reached or answers with an error
        ├── ConnectionFailed    a stream connection could not be opened (retryable)
        ├── ExchangeUnavailable a call failed: network, 5xx, time-out (retryable)
        ├── RateLimited         429 or 418 with the time to wait (retryable, later)
        ├── AccessDenied        451 or 403: this address is refused
        └── ExchangeRefused     the exchange answered with an error code of its own

`retryable` says whether the same call may succeed later without anybody changing anything.
"""

from __future__ import annotations

from typing_extensions import override


class CandlewireError(Exception):
    """The root: anything that Candlewire raises on purpose."""

    retryable: bool = False


class InvalidSetting(CandlewireError):
    """Raised when a setting cannot be used; names the key, the value and what was expected."""

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(key, value, expected)
        self.key = key
        self.value = value
        self.expected = expected

    @override
    def __str__(self) -> str:
        return f"{self.key}={self.value!s}: expected {self.expected}"


class PortInUse(CandlewireError):
    """Raised when an address cannot be bound."""

    def __init__(self, setting: str, host: str, port: int, reason: str) -> None:
        super().__init__(setting, host, port, reason)
        self.setting = setting
        self.host = host
        self.port = port
        self.reason = reason

    @override
    def __str__(self) -> str:
        return f"{self.setting}: cannot listen on {self.host}:{self.port} ({self.reason})"


class StateUnreadable(CandlewireError):
    """Raised when the kept state cannot be opened, or was written by a newer version."""


class BadCapture(CandlewireError):
    """Raised when a recording cannot be read; `line` is 0 where it is not about a line."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(path, line, reason)
        self.path = path
        self.line = line
        self.reason = reason

    @override
    def __str__(self) -> str:
        where = f"{self.path}, line {self.line}" if self.line else self.path
        return f"{where}: {self.reason}"


class BadFrame(CandlewireError):
    """Raised when a frame is not what the protocol says; `reason` is short and bounded."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadRequest(CandlewireError):
    """Raised when a client's request is malformed."""


class InvalidSymbol(BadRequest):
    """Raised when a text cannot be a symbol."""

    def __init__(self, text: str) -> None:
        super().__init__(text[:60])
        self.text = text

    @override
    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 40 else f"{self.text[:40]}… ({len(self.text)} chars)"
        return f"{shown!r} is not a symbol: expected 1 to 50 letters, digits, '-', '_' or '.'"


class UnknownChannel(BadRequest):
    """Raised when a client names a channel that does not exist."""

    def __init__(self, channel: str, known: tuple[str, ...]) -> None:
        super().__init__(channel[:60])
        self.channel = channel
        self.known = known

    @override
    def __str__(self) -> str:
        return f"unknown channel {self.channel[:60]!r}: expected one of {', '.join(self.known)}"


class InvalidRequest(BadRequest):
    """Raised when a client's message is not JSON, or has not the shape of its kind."""


class UnknownOp(BadRequest):
    """Raised when a client asks for an operation that does not exist."""

    def __init__(self, op: object, known: tuple[str, ...]) -> None:
        what = "op is missing" if op is None else f"unknown op {str(op)[:60]!r}"
        super().__init__(f"{what}: expected one of {', '.join(known)}")
        self.op = op
        self.known = known


class UnsupportedInterval(BadRequest):
    """Raised when a channel is not there in the interval that a client names."""

    def __init__(self, interval: str, available: tuple[str, ...]) -> None:
        super().__init__(f"interval {interval[:60]!r}: available are {', '.join(available)}")
        self.interval = interval
        self.available = available


class NotSupported(BadRequest):
    """Raised for a field or parameter that has a meaning, but not here, or not yet."""

    def __init__(self, name: str, value: object, instead: str) -> None:
        super().__init__(f"{name}={str(value)[:60]} is not supported: {instead}")
        self.name = name
        self.value = value


class NotSubscribed(BadRequest):
    """Raised when a client leaves what it does not follow."""

    def __init__(self, channel: str, symbol: str, *, all_symbols: bool = False) -> None:
        super().__init__(
            f"you follow all symbols of {channel} as one, so {symbol} alone cannot leave: "
            "unsubscribe the channel, then subscribe to the symbols that you want"
            if all_symbols
            else f"{symbol} is not among your {channel} subscriptions; op list shows them"
        )
        self.channel = channel
        self.symbol = symbol


class TooManySubscriptions(BadRequest):
    """Raised when a client would follow more than one client may."""

    def __init__(self, wanted: int, most: int) -> None:
        super().__init__(
            f"{wanted} subscriptions: expected at most {most}; "
            "leave symbols out to follow all of them with one"
        )
        self.wanted = wanted
        self.most = most


class SymbolError(CandlewireError):
    """A request about a symbol that cannot be met; carries the symbol."""

    template = "{symbol}"

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol)
        self.symbol = symbol

    @override
    def __str__(self) -> str:
        return self.template.format(symbol=self.symbol)


class UnknownSymbol(SymbolError):
    """Raised when the exchange does not list the symbol."""

    template = "{symbol} is not listed by the exchange; GET /symbols/available lists all"


class SymbolNotFollowedThere(SymbolError):
    """Raised when the hub that this one follows knows the symbol, but does not follow it."""

    template = "{symbol} is not followed by the hub that this one follows; add it there first"


class SymbolNotTrading(SymbolError):
    """Raised when the exchange lists the symbol, but it is not TRADING."""

    def __init__(self, symbol: str, status: str) -> None:
        super().__init__(symbol)
        self.status = status

    @override
    def __str__(self) -> str:
        return f"{self.symbol} is listed but not trading (status {self.status})"


class SymbolAlreadyActive(SymbolError):
    """Raised when the symbol is in the wanted set already."""

    template = "{symbol} is already subscribed"


class SymbolNotActive(SymbolError):
    """Raised when the symbol is not in the wanted set."""

    template = "{symbol} is not subscribed; POST /add_symbol adds it"


class SymbolsNotLoaded(SymbolError):
    """Raised while the exchange's list of symbols is not known yet; `problem` says why, if known.

    A refusal of the exchange is such a problem: its text says what to do about it. `symbol` is
    empty when nobody asked about one.
    """

    retryable = True

    def __init__(self, symbol: str = "", problem: str | None = None) -> None:
        super().__init__(symbol)
        self.problem = problem

    @override
    def __str__(self) -> str:
        consequence = f", so {self.symbol} cannot be checked" if self.symbol else ""
        cause = f": {self.problem}" if self.problem else ""
        return f"the exchange's list of symbols is not known yet{consequence}{cause}"


class PollBudgetExceeded(SymbolError):
    """Raised when the books of all symbols could not be polled any more with one more of them.

    `problem` shows the arithmetic.
    """

    def __init__(self, symbol: str, problem: str) -> None:
        super().__init__(symbol)
        self.problem = problem

    @override
    def __str__(self) -> str:
        return f"{self.symbol} cannot be polled as well: {self.problem}"


class SymbolNotKept(SymbolError):
    """Raised when a change of the wanted set cannot be written to disk; nothing was changed."""

    def __init__(self, symbol: str, reason: str) -> None:
        super().__init__(symbol)
        self.reason = reason

    @override
    def __str__(self) -> str:
        return f"{self.symbol}: nothing was changed, as it cannot be kept on disk: {self.reason}"


class FeedError(CandlewireError):
    """The exchange cannot be reached, or answers with an error."""


class ConnectionFailed(FeedError):
    """Raised when a stream connection could not be opened or did not stay open."""

    retryable = True


class ExchangeUnavailable(FeedError):
    """Raised when a call failed for reasons that pass: the network, a time-out, a 5xx answer."""

    retryable = True


class RateLimited(FeedError):
    """Raised on 429 and 418. `retry_after` is in seconds; `banned` is true for 418.

    `named` is false where the exchange did not say how long to wait, so that it is our guess.
    """

    retryable = True

    def __init__(self, retry_after: float, *, banned: bool, named: bool = True) -> None:
        super().__init__(retry_after, banned, named)
        self.retry_after = retry_after
        self.banned = banned
        self.named = named

    @property
    def what(self) -> str:
        """What has happened, without the time to wait."""
        what = (
            "HTTP 418: the exchange has banned this address"
            if self.banned
            else "HTTP 429: the exchange's limit for this address is reached"
        )
        return what if self.named else f"{what}; it did not say for how long"

    @override
    def __str__(self) -> str:
        return f"{self.what}: next call in {self.retry_after:.0f} s at the earliest"


class AccessDenied(FeedError):
    """Raised on 451 and 403: the exchange refuses this address; waiting alone does not help."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    @override
    def __str__(self) -> str:
        if self.status == 451:
            return (
                "HTTP 451: the exchange does not serve this location; use "
                "MARKET_SOURCE=binance-us, testnet or simulated, or hosts that serve you "
                "(BINANCE_REST_URL, BINANCE_STREAM_URL); it is asked again every few minutes"
            )
        return (
            f"HTTP {self.status}: the exchange's firewall refuses this address; check "
            "BINANCE_REST_URL, BINANCE_STREAM_URL and any proxy in between, and whether others "
            "ask much from here; it is asked again every few minutes"
        )


class ExchangeRefused(FeedError):
    """Raised when the exchange answers a call with an error code of its own."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message

    @override
    def __str__(self) -> str:
        return f"HTTP {self.status}, code {self.code}: {self.message}"
