"""Tests of `websocket_client/ws_client.py`."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typing_extensions import override
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from websocket_client import ws_client
from websocket_client.ws_client import (
    CannotGoOn,
    Follower,
    LiveTable,
    Options,
    Output,
    Tally,
    Watch,
    age_text,
    make_output,
    parse,
    pause_s,
    plain_line,
    read,
    refused,
    run,
    why_closed,
)

SCRIPT = Path(ws_client.__file__)
START = 1_731_232_845


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    @override
    def isatty(self):
        return True


def candle(second=0, symbol="BTCUSDT", **changes):
    """Return a message of the candles channel."""
    return {
        "symbol": symbol,
        "timestamp": "2024-11-10 15:30:45 IST",
        "open": Decimal("43250.50"),
        "high": Decimal("43275.00"),
        "low": Decimal("43240.20"),
        "close": Decimal("43260.75"),
        "open_time": (START + second) * 1_000,
        "volume": Decimal("0.00000000"),
        "trades": 87,
        "complete": True,
        "revision": 0,
        "source": "binance",
        "channel": "candles",
        "interval": "1s",
        "epoch": 1,
        "sequence": 1,
        **changes,
    }


def trade(number, **changes):
    """Return a message of the trades channel."""
    return {
        "symbol": "BTCUSDT",
        "id": number,
        "price": Decimal("43250.50"),
        "quantity": Decimal("0.05234"),
        "timestamp": "2024-11-10 15:30:45 IST",
        "time": START * 1_000,
        "buyer_is_maker": True,
        "channel": "trades",
        "source": "binance",
        "epoch": 1,
        "sequence": 1,
        **changes,
    }


def hole(**changes):
    """Return a message of the status channel."""
    return {
        "symbol": "BTCUSDT",
        "event": "hole_found",
        "first_trade_id": 5,
        "last_trade_id": 9,
        "from": START * 1_000,
        "to": (START + 2) * 1_000,
        "timestamp": "2024-11-10 15:30:48 IST",
        "time": (START + 3) * 1_000,
        "channel": "status",
        "source": "binance",
        "epoch": 1,
        "sequence": 1,
        **changes,
    }


def text_of(message):
    """Return a message as it is sent."""
    return json.dumps(message, default=float)


def tally_of(*seconds):
    """Count some places."""
    tally = Tally()
    for second in seconds:
        tally.add(second)
    return tally


# Counting.


@pytest.mark.parametrize(
    ("seconds", "missing", "twice"),
    [
        pytest.param([], 0, 0, id="nothing"),
        pytest.param([5], 0, 0, id="one"),
        pytest.param([5, 6, 7], 0, 0, id="all"),
        pytest.param([5, 8], 2, 0, id="a hole"),
        pytest.param([5, 8, 7, 6], 0, 0, id="a hole filled late"),
        pytest.param([5, 6, 6], 0, 1, id="one twice"),
        pytest.param([5, 6, 2], 0, 0, id="a repair of what was before"),
    ],
)
def test_holes_and_repeats_are_counted(seconds, missing, twice):
    """What lies between the first and the last and never came is missing."""
    tally = tally_of(*seconds)
    assert (tally.missing, tally.twice) == (missing, twice)


def test_a_revision_replaces_and_is_no_repeat():
    """A later issue takes the place of the earlier, and says whether it is complete now."""
    tally = Tally()
    tally.add(5, epoch=1, complete=False)
    assert tally.incomplete == 1
    tally.add(5, epoch=1, revision=1)
    assert (tally.places, tally.incomplete, tally.twice, tally.revised) == (1, 0, 0, 1)
    tally.add(6, epoch=1)
    tally.add(7, epoch=1, complete=False)
    tally.add(7, epoch=1, revision=1, complete=False)
    tally.add(7, epoch=1, revision=2, complete=False)
    assert (tally.places, tally.incomplete, tally.twice, tally.revised) == (3, 1, 0, 2)
    tally.add(5, epoch=1, revision=1)
    tally.add(5, epoch=1, revision=0)
    assert tally.twice == 2
    tally.add(5, epoch=2, revision=0)
    assert tally.twice == 2


def test_counting_begins_with_a_first_issue():
    """A second of long ago that is issued again when we come is no hole until now."""
    tally = Tally()
    tally.add(5, revision=1)
    assert (tally.received, tally.places) == (0, 0)
    tally.add(100)
    tally.add(6, revision=1)
    tally.add(101)
    tally.add(100, revision=1)
    assert (tally.places, tally.missing, tally.twice) == (2, 0, 0)


def test_counting_needs_bounded_memory():
    """After days the counts are right, and only the newest places are kept."""
    tally = Tally()
    for second in range(50_000):
        if second not in (100, 40_000):
            tally.add(second, complete=second % 1_000 != 0)
            if second % 10_000 == 9:
                tally.add(second, revision=1)
    tally.add(5)
    assert (tally.places, tally.missing, tally.twice) == (49_998, 2, 0)
    assert (tally.incomplete, tally.revised) == (49, 5)
    assert len(tally._open) <= 2 * ws_client.KEPT


@given(st.lists(st.integers(0, 30), max_size=60))
def test_counts_add_up(seconds):
    """Whatever the order, places and repeats are what was received after the first."""
    tally = tally_of(*seconds)
    counted = [second for second in seconds if second >= seconds[0]]
    assert tally.received == len(counted)
    assert tally.places == len(set(counted))
    assert tally.twice == len(counted) - len(set(counted))
    assert tally.missing == (max(counted) - seconds[0] + 1 - len(set(counted)) if counted else 0)


def test_the_summary_is_the_documented_line():
    """One line a symbol, sorted; trades have no completeness."""
    watch = Watch("candles")
    for second in range(300):
        watch.add(candle(second))
    watch.add(candle(0, "ADAUSDT", complete=False))
    assert watch.summary() == [
        "ADAUSDT: 1 candles, 0 missing, 0 twice, 1 incomplete, 0 revised",
        "BTCUSDT: 300 candles, 0 missing, 0 twice, 0 incomplete, 0 revised",
    ]
    trades = Watch("trades")
    trades.add(trade(5))
    trades.add(trade(7))
    assert trades.summary() == ["BTCUSDT: 2 trades, 1 missing, 0 twice"]


def test_what_happens_to_the_data_is_not_counted():
    """Messages of the status channel are kept apart, and only the last few."""
    watch = Watch("candles")
    for _ in range(9):
        watch.add(hole())
    assert (watch.received, watch.tallies, watch.newest) == (0, {}, {})
    assert len(watch.events) == 5


def test_a_later_issue_of_the_newest_second_is_shown():
    """Replace by key: of one second the larger (epoch, sequence) stays, in any order."""
    watch = Watch("candles")
    watch.add(candle(1, sequence=5, revision=1))
    watch.add(candle(1, sequence=4))
    assert watch.newest["BTCUSDT"]["revision"] == 1
    watch.add(candle(0, sequence=9, revision=2))
    assert watch.newest["BTCUSDT"]["revision"] == 1
    watch.add(candle(1, epoch=2, sequence=1))
    assert watch.newest["BTCUSDT"]["epoch"] == 2


@pytest.mark.parametrize(
    ("symbols", "messages", "flawless"),
    [
        pytest.param((), [], False, id="nothing came"),
        pytest.param((), [candle(0), candle(1)], True, id="all came"),
        pytest.param((), [candle(0, complete=False)], True, id="incomplete and honest"),
        pytest.param((), [candle(0), candle(2)], False, id="a hole"),
        pytest.param((), [candle(0), candle(0)], False, id="twice"),
        pytest.param(
            (),
            [candle(0, complete=False), candle(1), candle(0, revision=1), candle(0, revision=2)],
            True,
            id="issued again",
        ),
        pytest.param(("BTCUSDT", "ETHUSDT"), [candle(0)], False, id="a symbol stayed silent"),
    ],
)
def test_flawless(symbols, messages, flawless):
    """Only a series of each symbol without hole and repeat is flawless."""
    watch = Watch("candles", symbols)
    for message in messages:
        watch.add(message)
    assert watch.flawless is flawless


# Reading and showing.


def test_no_digit_is_lost():
    """Numbers are read as the decimals that they say."""
    assert str(read('{"open":43250.50,"volume":0.123456789012345678}')["open"]) == "43250.50"


def test_a_candle_in_words():
    """Without a terminal a candle is one line, with all digits and no exponent."""
    assert plain_line(candle()) == (
        "2024-11-10 15:30:45 IST  BTCUSDT      O 43250.50 H 43275.00 L 43240.20 C 43260.75 "
        "V 0.00000000  87 trades  complete  revision 0  binance"
    )
    assert "INCOMPLETE" in plain_line(candle(complete=False))


def test_a_trade_in_words():
    """A trade says which side took."""
    assert plain_line(trade(7)) == (
        "2024-11-10 15:30:45 IST  BTCUSDT      sell 0.05234 at 43250.50  id 7  binance"
    )
    assert " buy " in plain_line(trade(7, buyer_is_maker=False))


def test_a_status_in_words():
    """What is missing is told with every field that the kind of event has."""
    assert plain_line(hole()) == (
        "2024-11-10 15:30:48 IST  BTCUSDT      hole found  first_trade_id 5  last_trade_id 9  "
        "from 1731232845000  to 1731232847000  binance"
    )
    refusal = hole(symbol="", event="exchange_refusal")
    assert "  all          exchange refusal  " in plain_line(refusal)


@pytest.mark.parametrize(
    ("later", "shown"),
    [(1.25, "0.2 s"), (61, "60.0 s"), (301, "5 min"), (7_201, "2 h"), (864_001, "10 d")],
)
def test_the_age_counts_from_the_end_of_the_second(later, shown):
    """A candle is as old as the end of its second."""
    assert age_text(candle(), START + later) == shown
    assert age_text(trade(1), START + later - 1) == shown


def drawn(watch, state="connected", width=140):
    """Return the table as it looks on a screen of so many columns."""
    screen = io.StringIO()
    table = LiveTable(screen, io.StringIO(), watch, "ws://hub", width)
    table.state = state
    Console(file=screen, width=width).print(table.picture(START + 2.0))
    return screen.getvalue()


@pytest.mark.parametrize("width", [50, 72, 80, 140])
def test_numbers_are_whole_on_any_terminal(width):
    """A narrow terminal costs columns, never digits."""
    watch = Watch("candles")
    one = candle(0, open=Decimal("70557.01"), high=Decimal("70558.02"), close=Decimal("70557.03"))
    watch.add(one)
    picture = drawn(watch, width=width)
    for name in ("close", "volume"):
        assert ws_client.digits(one[name]) in picture
    for name in ("open", "high", "low"):
        assert (ws_client.digits(one[name]) in picture) is (width >= 72)
    assert "…" not in picture
    assert ("15:30:45" in picture) is (width == 140)


def test_the_table_shows_the_newest_of_each_symbol():
    """One row a symbol, newest second, and the state of the connection."""
    watch = Watch("candles")
    watch.add(candle(0, "ETHUSDT", complete=False))
    watch.add(candle(1, close=Decimal("1.00")))
    watch.add(candle(0, close=Decimal("2.00")))
    picture = drawn(watch, "reconnecting: the hub restarts")
    assert "reconnecting: the hub restarts" in picture
    assert picture.index("BTCUSDT") < picture.index("ETHUSDT")
    assert "1.00" in picture
    assert "2.00" not in picture
    assert "NOT THE REAL MARKET" not in picture


def test_what_is_missing_stands_below_the_table():
    """The last events are shown under the rows."""
    watch = Watch("candles")
    watch.add(candle())
    watch.add(hole())
    picture = drawn(watch)
    assert picture.index("43260.75") < picture.index("hole found  first_trade_id 5")


def test_simulated_data_is_never_mistaken():
    """A source that is not the market is shouted."""
    watch = Watch("trades")
    watch.add(trade(1, source="simulated"))
    assert "SIMULATED: NOT THE REAL MARKET" in drawn(watch)


def test_the_output_fits_where_it_goes():
    """A pipe gets lines, a terminal the table, a check the summary alone."""
    watch = Watch("candles")
    assert type(make_output(Options(), watch, io.StringIO(), io.StringIO())) is ws_client.Lines
    assert type(make_output(Options(), watch, Terminal(), io.StringIO())) is LiveTable
    assert type(make_output(Options(check=True), watch, Terminal(), io.StringIO())) is Output
    assert (
        type(make_output(Options(raw=True), watch, Terminal(), io.StringIO())) is ws_client.RawLines
    )


# Coming back.


def test_pauses_grow_are_random_and_bounded(monkeypatch):
    """A pause is anything up to 1, 2, 4, … 30 seconds."""
    monkeypatch.setattr(ws_client, "FIRST_PAUSE_S", 1.0)
    assert [pause_s(failures, lambda: 1.0) for failures in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert pause_s(10_000, lambda: 0.5) == 15
    assert pause_s(3, lambda: 0.0) == 0


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 4008])
def test_codes_to_come_back_after(code):
    """What passes is a reason to come back."""
    assert why_closed(code)


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1009, 4009, 4999])
def test_codes_to_stay_away_after(code):
    """What would only happen again is not tried again."""
    with pytest.raises(CannotGoOn):
        why_closed(code)


def test_the_hubs_table_is_obeyed():
    """The client comes back after exactly those codes that the hub's own table says so of."""
    from app.gateways.live.close_codes import CLOSE_CODES  # noqa: PLC0415 - only this test may know

    assert {entry.code for entry in CLOSE_CODES if entry.come_back} == {
        entry.code for entry in CLOSE_CODES if entry.code in ws_client.COME_BACK
    }


def test_a_full_hub_says_when():
    """503 is waited out as it says; what is wrong with the request is told and final."""
    full = InvalidStatus(Response(503, "", Headers({"Retry-After": "5"}), b"too many\n"))
    reason, wait = refused(full)
    assert reason == "HTTP 503: too many"
    assert wait is not None
    assert 5 <= wait <= 6
    assert refused(InvalidStatus(Response(502, "", Headers(), b"")))[1] is None
    with pytest.raises(CannotGoOn, match="HTTP 403"):
        refused(InvalidStatus(Response(403, "", Headers(), b"no")))
    with pytest.raises(CannotGoOn, match="maybe it is the REST port"):
        refused(InvalidStatus(Response(200, "", Headers(), b"active")))


# The command line.


def test_arguments():
    """Symbols are in upper case and each once."""
    options = parse(["--symbols", "btcusdt, ethusdt,BTCUSDT,", "--count", "3", "--raw"])
    assert options == Options(symbols=("BTCUSDT", "ETHUSDT"), count=3, raw=True)
    assert parse([]) == Options()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seconds", "0"],
        ["--count", "-1"],
        ["--channel", "x"],
        ["--seconds", "x"],
        ["--url", "foo"],
        ["--url", "http://127.0.0.1:8765"],
        ["--url", "ws://"],
        ["--url", "ws://127.0.0.1:99999"],
        ["--url", "ws://[::1"],
    ],
)
def test_bad_arguments(arguments, capsys):
    """A mistake on the command line ends with a word on it."""
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


# Over real sockets, with a hub that does what the test says.


class Hub:
    """A small hub: each connection runs the next script, and what clients say is kept."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.said = []
        self.paths = []
        self.url = ""

    async def serve(self, connection):
        """Run the next script."""
        self.paths.append(connection.request.path)
        script = self.scripts.pop(0)
        await script(self, connection)

    async def heard(self, connection):
        """Take one request and answer it."""
        request = json.loads(await connection.recv())
        self.said.append(request)
        await connection.send(json.dumps({"id": request["id"], "result": {}}))


@asynccontextmanager
async def hub(*scripts):
    """Run a small hub on a free port."""
    one = Hub(*scripts)
    async with websockets.serve(one.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        one.url = f"ws://127.0.0.1:{port}"
        yield one


def sends(*messages, close=None, requests=1):
    """Return a script that sends messages and closes, or waits for the client to go."""

    async def script(hub, connection):
        if "symbols=" in connection.request.path:
            for _ in range(requests):
                await hub.heard(connection)
        for message in messages:
            await connection.send(text_of(message))
        if close is None:
            await connection.wait_closed()
        else:
            await connection.close(close)

    return script


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Come back at once, and by no proxy."""
    monkeypatch.setattr(ws_client, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")


async def ran(options):
    """Run the client and return its exit code, output and news."""
    out, news = io.StringIO(), io.StringIO()
    async with asyncio.timeout(10):
        code = await run(options, out, news)
    return code, out.getvalue().splitlines(), news.getvalue().splitlines()


async def test_raw_lines_are_the_messages_as_they_came():
    """Standard output holds one JSON object a line and nothing else."""
    messages = [candle(second) for second in range(3)]
    async with hub(sends(*messages)) as one:
        code, out, news = await ran(Options(one.url, raw=True, count=3))
    assert out == [text_of(message) for message in messages]
    assert news == ["connected", "BTCUSDT: 3 candles, 0 missing, 0 twice, 0 incomplete, 0 revised"]
    assert code == 0
    assert one.said == []
    assert one.paths == ["/"]


async def test_symbols_are_subscribed_to_on_each_connection():
    """A client that comes back subscribes again, and gets nothing that it did not ask for."""
    async with hub(sends(candle(0), close=1012), sends(candle(1))) as one:
        options = Options(one.url, symbols=("BTCUSDT",), check=True, count=2)
        code, out, news = await ran(options)
    wish = {"op": "subscribe", "id": 1, "channel": "candles", "symbols": ["BTCUSDT"]}
    assert one.said == [wish, wish]
    assert one.paths == ["/?symbols="] * 2
    assert (code, out) == (0, ["BTCUSDT: 2 candles, 0 missing, 0 twice, 0 incomplete, 0 revised"])
    assert news == ["connected", "reconnecting: the hub restarts", "connected"]


async def test_status_is_followed_beside_the_candles():
    """With --status both channels are asked for, and only candles are counted."""
    messages = [hole(), candle(0), candle(0, revision=1)]
    async with hub(sends(*messages, requests=2)) as one:
        code, out, news = await ran(Options(one.url, status=True, raw=True, count=2))
    assert one.said == [
        {"op": "subscribe", "id": 1, "channel": "candles"},
        {"op": "subscribe", "id": 2, "channel": "status"},
    ]
    assert out == [text_of(message) for message in messages]
    assert news[-1] == "BTCUSDT: 1 candles, 0 missing, 0 twice, 0 incomplete, 1 revised"
    assert code == 0


async def test_a_check_allows_what_is_issued_again():
    """A second that is revised is fine; how many were, and what is still incomplete, is told."""
    issues = [candle(0, complete=False), candle(1, complete=False), candle(2)]
    async with hub(sends(*issues, candle(0, revision=1))) as one:
        code, out, _ = await ran(Options(one.url, check=True, count=4))
    assert (code, out) == (0, ["BTCUSDT: 3 candles, 0 missing, 0 twice, 1 incomplete, 1 revised"])


async def test_a_check_fails_when_a_candle_is_missing():
    """What was lost in between is counted, and the exit code says so."""
    async with hub(sends(candle(0), close=4008), sends(candle(2))) as one:
        code, out, _ = await ran(Options(one.url, check=True, count=2))
    assert (code, out) == (1, ["BTCUSDT: 2 candles, 1 missing, 0 twice, 0 incomplete, 0 revised"])


async def test_trades_in_words_for_so_many_seconds():
    """Another channel is asked for by name, and time ends it too."""
    async with hub(sends(trade(1))) as one:
        options = Options(f"{one.url}/?interval=1s", channel="trades", seconds=0.3)
        code, out, _ = await ran(options)
    assert one.said == [{"op": "subscribe", "id": 1, "channel": "trades"}]
    assert one.paths == ["/?interval=1s&symbols="]
    assert out == [plain_line(read(text_of(trade(1)))), "BTCUSDT: 1 trades, 0 missing, 0 twice"]
    assert code == 0


async def test_a_close_for_good_ends_the_client():
    """After 4009 the client does not come back."""
    async with hub(sends(candle(0), close=4009)) as one:
        code, _, news = await ran(Options(one.url))
    assert code == 1
    assert "more requests than allowed" in news[-1]


async def test_an_error_reply_ends_the_client_with_its_words():
    """A symbol that cannot be followed is told, not retried."""

    async def refuses(hub, connection):
        hub.said.append(await connection.recv())
        error = {"code": "UnknownSymbol", "message": "NOSUCH is not listed"}
        await connection.send(json.dumps({"id": 1, "error": error}))
        await connection.wait_closed()

    async with hub(refuses) as one:
        code, out, news = await ran(Options(one.url, symbols=("NOSUCH",)))
    assert code == 1
    assert news[-1] == "UnknownSymbol: NOSUCH is not listed"
    assert out == []


async def test_a_hub_that_is_not_ready_is_asked_again():
    """While the hub's list of symbols is unknown the client tries again."""

    async def not_yet(hub, connection):
        await connection.recv()
        error = {"code": "SymbolsNotLoaded", "message": "not known yet"}
        await connection.send(json.dumps({"id": 1, "error": error}))
        await connection.wait_closed()

    async with hub(not_yet, sends(candle(0))) as one:
        code, _, news = await ran(Options(one.url, symbols=("BTCUSDT",), raw=True, count=1))
    assert code == 0
    assert news[1] == "reconnecting: SymbolsNotLoaded: not known yet"


async def test_nobody_there_is_waited_for():
    """A hub that is not up yet is tried again and again until the time is over."""
    async with hub() as one:
        url = one.url
    code, out, news = await ran(Options(url, check=True, seconds=0.2))
    assert (code, out) == (1, ["no candles came"])
    assert news[0].startswith("reconnecting: cannot reach the hub: ")


async def test_a_wrong_address_ends_the_client():
    """What is no WebSocket address is told at once."""
    code, _, news = await ran(Options("http://127.0.0.1:1"))
    assert code == 1
    assert "http://127.0.0.1:1" in news[-1]


async def test_the_table_follows_a_hub():
    """On a terminal the table is drawn while data comes, and the summary stands below it."""
    screen = Terminal()
    async with hub(sends(candle(0))) as one:
        assert await run(Options(one.url, seconds=0.4), screen, io.StringIO()) == 0
    assert "BTCUSDT" in screen.getvalue()
    assert screen.getvalue().rstrip().endswith("0 missing, 0 twice, 0 incomplete, 0 revised")


async def test_data_ends_the_row_of_failures():
    """Pauses begin small again once data has come."""
    async with hub(sends(candle(0))) as one:
        follower = Follower(
            Options(one.url, count=1), Watch("candles"), Output(io.StringIO(), io.StringIO())
        )
        follower.failures = 9
        await follower.follow()
    assert follower.failures == 0


def started(*arguments):
    """Start the script as people do, as a program of its own."""
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", SCRIPT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_PROXY": "*"},
    )


def ended(program):
    """Return what a program that is to end prints; where it hangs, fail with where it does."""
    try:
        return program.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        program.send_signal(signal.SIGABRT)
        pytest.fail(f"it did not end: {program.communicate(timeout=20)}")


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_is_quiet(way):
    """Ctrl-C ends the program with the summary, code 0 and no traceback."""
    async with hub(sends(candle(0))) as one:
        program = started("--url", one.url)
        first = await asyncio.to_thread(program.stdout.readline)
        program.send_signal(way)
        out, news = await asyncio.to_thread(ended, program)
    assert "BTCUSDT" in first
    assert out == "BTCUSDT: 1 candles, 0 missing, 0 twice, 0 incomplete, 0 revised\n"
    assert news == "connected\n"
    assert program.returncode == 0


async def test_a_reader_that_has_seen_enough():
    """A closed pipe, as `head` leaves it, ends the program quietly."""

    async def endless(hub, connection):
        second = 0
        while True:
            await connection.send(text_of(candle(second)))
            second += 1
            await asyncio.sleep(0.001)

    async with hub(endless) as one:
        program = started("--url", one.url, "--raw")
        await asyncio.to_thread(program.stdout.readline)
        program.stdout.close()
        assert await asyncio.to_thread(program.wait, 10) == 0
        assert await asyncio.to_thread(program.stderr.read) == "connected\n"
        program.stderr.close()
