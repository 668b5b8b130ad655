"""Tests of app.errors."""

from __future__ import annotations

import inspect
import re

import pytest

from app import errors
from app.errors import CandlewireError

LONG = "x" * 10_000

EXAMPLES: list[tuple[CandlewireError, list[str]]] = [
    (errors.InvalidSetting("SERVER_PORT", "abc", "a port"), ["SERVER_PORT=abc", "a port"]),
    (
        errors.PortInUse("SERVER_PORT", "127.0.0.1", 8000, "already in use"),
        ["SERVER_PORT", "127.0.0.1:8000", "already in use"],
    ),
    (errors.StateUnreadable("state.sqlite3: locked"), ["state.sqlite3: locked"]),
    (errors.BadCapture("capture.gz", 7, "not JSON"), ["capture.gz", "line 7", "not JSON"]),
    (errors.BadFrame("expected a price"), ["expected a price"]),
    (errors.InvalidSymbol("a b"), ["'a b'", "1 to 50"]),
    (errors.InvalidSymbol(LONG), ["10000 chars"]),
    (errors.UnknownChannel("tradez", ("candles", "trades")), ["tradez", "candles, trades"]),
    (errors.UnknownChannel(LONG, ("candles",)), ["candles"]),
    (errors.InvalidRequest("not JSON"), ["not JSON"]),
    (errors.UnknownOp("go", ("list", "ping")), ["'go'", "list, ping"]),
    (errors.UnknownOp(LONG, ("list",)), ["list"]),
    (errors.UnknownOp(None, ("list", "ping")), ["op is missing", "list, ping"]),
    (errors.UnsupportedInterval("7s", ("1s",)), ["7s", "1s"]),
    (errors.UnsupportedInterval(LONG, ("1s",)), ["1s"]),
    (errors.NotSupported("last", 5, "ask REST"), ["last=5", "ask REST"]),
    (errors.NotSupported("last", LONG, "ask REST"), ["ask REST"]),
    (errors.NotSubscribed("trades", "BTCUSDT"), ["BTCUSDT", "trades"]),
    (
        errors.NotSubscribed("trades", "BTCUSDT", all_symbols=True),
        ["BTCUSDT", "all symbols of trades"],
    ),
    (errors.TooManySubscriptions(2000, 1024), ["2000", "1024"]),
    (errors.UnknownSymbol("NOSUCH"), ["NOSUCH", "/symbols/available"]),
    (errors.SymbolNotTrading("OLDUSDT", "BREAK"), ["OLDUSDT", "BREAK"]),
    (errors.SymbolAlreadyActive("BTCUSDT"), ["BTCUSDT", "already"]),
    (errors.SymbolNotActive("BTCUSDT"), ["BTCUSDT", "/add_symbol"]),
    (errors.SymbolNotFollowedThere("BTCUSDT"), ["BTCUSDT", "add it there"]),
    (errors.SymbolsNotLoaded("BTCUSDT"), ["BTCUSDT cannot be checked", "not known yet"]),
    (errors.SymbolsNotLoaded("BTCUSDT", "HTTP 451: …"), ["BTCUSDT cannot", "checked: HTTP 451"]),
    (errors.SymbolsNotLoaded(problem="HTTP 451: …"), ["not known yet: HTTP 451"]),
    (errors.PollBudgetExceeded("BTCUSDT", "4 > 3"), ["BTCUSDT cannot be polled", "4 > 3"]),
    (errors.SymbolNotKept("BTCUSDT", "disk full"), ["BTCUSDT", "disk full", "nothing was changed"]),
    (errors.ConnectionFailed("reset"), ["reset"]),
    (errors.ExchangeUnavailable("timed out"), ["timed out"]),
    (errors.RateLimited(61.0, banned=False), ["61 s", "limit"]),
    (errors.RateLimited(120.0, banned=True), ["120 s", "banned"]),
    (errors.RateLimited(120.0, banned=True, named=False), ["120 s", "did not say"]),
    (errors.AccessDenied(451), ["451", "MARKET_SOURCE=binance-us", "BINANCE_STREAM_URL", "again"]),
    (errors.AccessDenied(403), ["403", "BINANCE_REST_URL", "proxy", "again"]),
    (errors.ExchangeRefused(400, -1121, "Invalid symbol."), ["400", "-1121", "Invalid symbol."]),
]

RETRYABLE = {
    errors.ConnectionFailed,
    errors.ExchangeUnavailable,
    errors.RateLimited,
    errors.SymbolsNotLoaded,
}


def classes() -> list[type[CandlewireError]]:
    """Return every error class of the module."""
    found = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    return [each for each in found if issubclass(each, CandlewireError)]


@pytest.mark.parametrize(
    ("error", "words"), EXAMPLES, ids=lambda each: type(each).__name__ if each else ""
)
def test_an_error_names_the_value_and_what_was_expected(
    error: CandlewireError, words: list[str]
) -> None:
    """The text of an error is one line, bounded, and says what was found and what is right."""
    text = str(error)
    for word in words:
        assert word in text
    assert "\n" not in text
    assert len(text) < 300


def test_every_error_can_be_told_by_its_class() -> None:
    """Each class that has no children has an example here; the others only gather them."""
    leaves = {each for each in classes() if not each.__subclasses__()}
    assert {type(error) for error, _ in EXAMPLES} == leaves


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_retryable_is_what_passes_by_itself(kind: type[CandlewireError]) -> None:
    """Only what may succeed later without anybody's doing is retryable."""
    assert kind.retryable is (kind in RETRYABLE)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """The module's docstring shows every class once, below its parent, and no other."""
    lines = [
        (match.start(1), match[1])
        for line in (errors.__doc__ or "").splitlines()
        if (match := re.match(r"[ │]*(?:[├└]── )?(\w+)(?= |$)", line))
        and ("──" in line or line.strip() == "CandlewireError")
    ]
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for column, name in lines:
        while above and above[-1][0] >= column:
            above.pop()
        assert name not in parents
        parents[name] = above[-1][1] if above else "Exception"
        above.append((column, name))
    assert parents == {each.__name__: each.__bases__[0].__name__ for each in classes()}
