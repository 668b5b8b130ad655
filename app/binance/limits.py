"""What the exchange allows: request weights, windows, and the budget of an address.

Both sides use it: the server side to refuse as the exchange does (`IpBudget`, fixed windows aligned
to the clock), our own client to stay clear of that (`RollingWindow`, which is never more generous
than any fixed one, and `ReportedWindow`, what the exchange itself says that it has counted). Times
are microseconds and come in as arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from app.market.events import SECOND_US

MINUTE_US = 60 * SECOND_US

WEIGHT_LIMIT = 6000  # per minute and address, since 2023-08-25
RAW_REQUEST_LIMIT = 300_000  # per 5 minutes and address, since 2026-04-02
DIAL_LIMIT = 300  # stream connections per 5 minutes and address
LONG_WINDOW_US = 5 * MINUTE_US

MESSAGE_LIMIT = 5  # incoming messages per second and connection; PING and PONG count
MESSAGE_WINDOW_US = SECOND_US
STREAM_LIMIT = 1024  # streams per connection

_CLOCKS_DIFFER_US = SECOND_US  # how far the exchange's minute may be from ours

FIRST_BAN_US = 2 * MINUTE_US
LONGEST_BAN_US = 3 * 24 * 60 * MINUTE_US

Weight = int | Callable[[Mapping[str, str]], int]

DEPTH_LIMIT = 100  # levels a side when none are named
LARGEST_DEPTH = 5_000  # larger ones are answered with so many
_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1_000, 50))
_LARGEST_DEPTH_WEIGHT = 250


def depth_weight(limit: int | str) -> int:
    """Return what `depth` costs for `limit` levels a side; a text that is no number is the default.

    Source: `rest-api.md`, "Order book".
    """
    if isinstance(limit, str):
        limit = int(limit[:9]) if limit.isascii() and limit.isdigit() else DEPTH_LIMIT
    return next((cost for most, cost in _DEPTH_WEIGHTS if limit <= most), _LARGEST_DEPTH_WEIGHT)


_DAY_WEIGHTS = ((20, 2), (100, 40))
_WHOLE_DAY_WEIGHT = 80
_SUMS_WEIGHT, _LARGEST_SUMS_WEIGHT = 4, 200
_RULES_WEIGHT, _LARGEST_RULES_WEIGHT = 2, 40

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _number_of_symbols(parameters: Mapping[str, str]) -> int:
    """Return how many symbols a call names, at least 1; 0 where it names none: it means all."""
    if "symbols" not in parameters:
        return 1 if "symbol" in parameters else 0
    try:
        return max(1, len(_decode_list(parameters["symbols"])))
    except (ValueError, RecursionError):
        return 1  # no list: the call will be refused


def _day_weight(parameters: Mapping[str, str]) -> int:
    count = _number_of_symbols(parameters)
    if not count:
        return _WHOLE_DAY_WEIGHT
    return next((cost for most, cost in _DAY_WEIGHTS if count <= most), _WHOLE_DAY_WEIGHT)


def _sums_weight(parameters: Mapping[str, str]) -> int:
    """Return what rolling windows and trading days cost, of a call that must name symbols."""
    return min(_SUMS_WEIGHT * max(1, _number_of_symbols(parameters)), _LARGEST_SUMS_WEIGHT)


def _rules_weight(parameters: Mapping[str, str]) -> int:
    count = _number_of_symbols(parameters)
    return min(_RULES_WEIGHT * count, _LARGEST_RULES_WEIGHT) if count else _LARGEST_RULES_WEIGHT


# The weight of one call, by path; where it depends on the parameters, a function of them.
WEIGHTS: dict[str, Weight] = {
    "/api/v3/ping": 1,
    "/api/v3/time": 1,
    "/api/v3/exchangeInfo": 20,
    "/api/v3/trades": 25,
    "/api/v3/historicalTrades": 25,
    "/api/v3/historicalBlockTrades": 25,
    "/api/v3/aggTrades": 4,
    "/api/v3/avgPrice": 2,
    "/api/v3/ticker/24hr": _day_weight,
    "/api/v3/ticker/tradingDay": _sums_weight,
    "/api/v3/ticker": _sums_weight,
    "/api/v3/ticker/price": lambda parameters: 2 if "symbol" in parameters else 4,
    "/api/v3/ticker/bookTicker": lambda parameters: 2 if "symbol" in parameters else 4,
    "/api/v3/executionRules": _rules_weight,
    "/api/v3/referencePrice": 2,
    "/api/v3/referencePrice/calculation": 2,
    "/api/v3/depth": lambda parameters: depth_weight(parameters.get("limit", "")),
    "/api/v3/klines": 2,
    "/api/v3/uiKlines": 2,
    "/fapi/v1/exchangeInfo": 1,
    "/dapi/v1/exchangeInfo": 1,
}


def weight_of(path: str, parameters: Mapping[str, str]) -> int:
    """Return what a call costs; a path that is not in the table costs nothing."""
    weight = WEIGHTS.get(path, 0)
    return weight if isinstance(weight, int) else weight(parameters)


class FixedWindow:
    """Counts within windows of `span_us` that begin at multiples of it, as the exchange counts."""

    __slots__ = ("_count", "_window", "limit", "span_us")

    def __init__(self, limit: int, span_us: int) -> None:
        self.limit = limit
        self.span_us = span_us
        self._window = -1
        self._count = 0

    def add(self, amount: int, now_us: int) -> int:
        """Count `amount` and return the sum of the window, which may pass the limit."""
        self._count = self.used(now_us) + amount
        self._window = now_us // self.span_us
        return self._count

    def used(self, now_us: int) -> int:
        """Return what the window of `now_us` has counted."""
        return self._count if now_us // self.span_us == self._window else 0

    def left_us(self, now_us: int) -> int:
        """Return how long the window of `now_us` still lasts, at least 1."""
        return self.span_us - now_us % self.span_us


class RollingWindow:
    """Allows `limit` within any span of `span_us`, wherever it begins.

    What keeps to it keeps to every fixed window too. Entries are forgotten as they leave the span,
    so at most `limit` entries are held when each is worth at least 1 and `wait_us` is obeyed.
    """

    __slots__ = ("_entries", "_used", "limit", "span_us")

    def __init__(self, limit: int, span_us: int) -> None:
        self.limit = limit
        self.span_us = span_us
        self._entries: deque[tuple[int, int]] = deque()  # (time, amount), oldest first
        self._used = 0

    def add(self, amount: int, now_us: int) -> None:
        """Count `amount` as spent now, also beyond the limit."""
        self._forget(now_us)
        self._entries.append((now_us, amount))
        self._used += amount

    def used(self, now_us: int) -> int:
        """Return what was spent within the span that ends now."""
        self._forget(now_us)
        return self._used

    def wait_us(self, amount: int, now_us: int) -> int:
        """Return how long to wait until `amount` may be spent: 0 when now.

        Raises `ValueError` when it never may, being more than the limit.
        """
        if amount > self.limit:
            reason = f"expected an amount of at most {self.limit}, got {amount}"
            raise ValueError(reason)
        self._forget(now_us)
        excess = self._used + amount - self.limit
        for time_us, spent in self._entries:
            if excess <= 0:
                break
            excess -= spent
            if excess <= 0:
                return time_us + self.span_us - now_us
        return 0

    def _forget(self, now_us: int) -> None:
        entries = self._entries
        while entries and entries[0][0] + self.span_us <= now_us:
            self._used -= entries.popleft()[1]


class ReportedWindow:
    """Allows `limit` within a fixed window of the exchange, which reports what it has counted.

    A report covers all that was spent from this address in that window, by whomever. So the newest
    one takes the place of those before, nothing is added up from them, and it is forgotten when its
    window ends: at a multiple of `span_us` of the wall clock, and `_CLOCKS_DIFFER_US` later to be
    sure. What was under way when a report was made may be missing in it.
    """

    __slots__ = ("_ends_us", "_used", "limit", "span_us")

    def __init__(self, limit: int, span_us: int) -> None:
        self.limit = limit
        self.span_us = span_us
        self._used = 0
        self._ends_us = 0  # by the clock of `now_us`: the wall clock may step meanwhile

    def report(self, used: int, now_us: int, *, wall_us: int) -> None:
        """Learn what the exchange had counted; `wall_us` is the time of day now."""
        self._used = used
        left_us = self.span_us - wall_us % self.span_us
        if left_us <= _CLOCKS_DIFFER_US:
            left_us += self.span_us  # by the exchange's clock the next window may have begun
        self._ends_us = now_us + left_us + _CLOCKS_DIFFER_US

    def add(self, amount: int) -> None:
        """Count `amount` as spent after the last report."""
        self._used += amount

    def used(self, now_us: int) -> int:
        """Return what the window has counted, as far as it is known; 0 after its end."""
        return self._used if now_us < self._ends_us else 0

    def wait_us(self, amount: int, now_us: int) -> int:
        """Return how long to wait until `amount` may be spent: 0 when now, else until the end."""
        used = self.used(now_us)
        return self._ends_us - now_us if used and used + amount > self.limit else 0


@dataclass(frozen=True, slots=True)
class Charge:
    """What became of a charge: `status` is 200, 429 or 418.

    `used` is the weight of this minute so far, the refused call included. `retry_after_s` is 0 for
    200. `limit` and `span_minutes` name the limit that was broken; `banned_until_us` is 0 unless
    `status` is 418.
    """

    status: int
    used: int
    retry_after_s: int = 0
    limit: int = 0
    span_minutes: int = 0
    banned_until_us: int = 0


@dataclass(slots=True)
class _Account:
    """What one address has used, and how it has behaved."""

    weight: FixedWindow
    requests: FixedWindow
    dials: FixedWindow
    refusals: int = 0  # calls in a row that came after the first 429
    bans: int = 0
    banned_until_us: int = 0


class IpBudget:
    """Charges every call to its address: 429 above a limit, 418 for who goes on after that.

    The first `patience` refused calls get 429 with `Retry-After`, the next one a ban of 2 minutes.
    Each further ban is twice as long, up to 3 days, and lasts as it was announced: calls during it
    get 418 and change nothing. Calls that keep to the limits end the row of refusals, a clean
    stretch of 3 days after a ban forgets the bans. (How many calls the exchange tolerates is not
    documented; only that bans scale from 2 minutes to 3 days.)

    `weight` is the limit of a minute, `dials` that of five; 0 is none. Without a limit of weight
    calls are counted and never refused, however many.

    At most `addresses` accounts are kept; the one unused for longest makes room for a new one.
    """

    def __init__(
        self,
        *,
        weight: int = WEIGHT_LIMIT,
        dials: int = DIAL_LIMIT,
        patience: int = 10,
        addresses: int = 10_000,
    ) -> None:
        self.weight = weight
        self._dials = dials
        self._patience = patience
        self._addresses = addresses
        self._accounts: dict[str, _Account] = {}  # the longest unused first
        self.refused = 0
        self.bans = 0

    def charge(self, ip: str, weight: int, now_us: int) -> Charge:
        """Charge one REST call of `weight` and say whether it may be answered."""
        account = self._account(ip, now_us)
        if banned := self._banned(account, now_us):
            return banned
        used = account.weight.add(weight, now_us)
        requests = account.requests.add(1, now_us)
        if self.weight and used > self.weight:
            return self._refuse(account, account.weight, now_us)
        if self.weight and requests > RAW_REQUEST_LIMIT:
            return self._refuse(account, account.requests, now_us)
        account.refusals = 0
        return Charge(200, used)

    def dial(self, ip: str, now_us: int) -> Charge:
        """Charge one new stream connection and say whether it may be opened.

        What the exchange answers above 300 in 5 minutes is not documented; here it is a 429.
        """
        account = self._account(ip, now_us)
        if banned := self._banned(account, now_us):
            return banned
        dials = account.dials.add(1, now_us)
        if self._dials and dials > self._dials:
            return self._refuse(account, account.dials, now_us)
        return Charge(200, account.weight.used(now_us))

    def used(self, ip: str, now_us: int) -> int:
        """Return the weight that an address has used in this minute."""
        account = self._accounts.get(ip)
        return account.weight.used(now_us) if account else 0

    def _account(self, ip: str, now_us: int) -> _Account:
        account = self._accounts.pop(ip, None)
        if account is None:
            account = _Account(
                weight=FixedWindow(self.weight, MINUTE_US),
                requests=FixedWindow(RAW_REQUEST_LIMIT, LONG_WINDOW_US),
                dials=FixedWindow(self._dials, LONG_WINDOW_US),
            )
            if len(self._accounts) >= self._addresses:
                del self._accounts[next(iter(self._accounts))]
        elif account.bans and now_us - account.banned_until_us > LONGEST_BAN_US:
            account.bans = 0
        self._accounts[ip] = account
        return account

    def _banned(self, account: _Account, now_us: int) -> Charge | None:
        if now_us >= account.banned_until_us:
            return None
        self.refused += 1
        return self._ban_notice(account, now_us)

    def _refuse(self, account: _Account, broken: FixedWindow, now_us: int) -> Charge:
        self.refused += 1
        account.refusals += 1
        if account.refusals > self._patience:
            length = min(FIRST_BAN_US << min(account.bans, 20), LONGEST_BAN_US)
            account.bans += 1
            account.refusals = 0
            account.banned_until_us = now_us + length
            self.bans += 1
            return self._ban_notice(account, now_us)
        return Charge(
            429,
            account.weight.used(now_us),
            retry_after_s=_whole_seconds(broken.left_us(now_us)),
            limit=broken.limit,
            span_minutes=broken.span_us // MINUTE_US,
        )

    def _ban_notice(self, account: _Account, now_us: int) -> Charge:
        return Charge(
            418,
            account.weight.used(now_us),
            retry_after_s=_whole_seconds(account.banned_until_us - now_us),
            banned_until_us=account.banned_until_us,
        )


def _whole_seconds(span_us: int) -> int:
    """Round up: who waits that long is never too early."""
    return -(-span_us // SECOND_US)
