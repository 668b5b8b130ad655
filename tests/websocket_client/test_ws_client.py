"""Tests of `websocket_client/ws_client.py` as a program: what it counts, shows and is told."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typing_extensions import override

from tests.websocket_client.scripted_hub import (
    START,
    candle,
    candle_fields,
    hole,
    hole_fields,
    scripted,
    sends,
    trade,
    trade_fields,
)
from websocket_client import ws_client
from websocket_client.ws_client import (
    Disconnected,
    Gap,
    LiveTable,
    Options,
    Output,
    Position,
    Resumed,
    Subscription,
    Tally,
    Watch,
    age_text,
    make_output,
    parse,
    plain_line,
    run,
    to_json,
)

SCRIPT = Path(ws_client.__file__)


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    @override
    def isatty(self):
        return True


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


def test_counting_begins_anywhere_in_history():
    """Where history was asked for, its first candle may be a later issue."""
    tally = Tally(from_any=True)
    tally.add(5, revision=1)
    tally.add(7)
    assert (tally.received, tally.missing) == (2, 1)


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
    assert len(tally._open) <= 2 * ws_client.KEPT_PLACES


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
    assert watch.newest["BTCUSDT"] == candle(1, sequence=5, revision=1)
    watch.add(candle(0, sequence=9, revision=2))
    assert watch.newest["BTCUSDT"] == candle(1, sequence=5, revision=1)
    later = candle(1, epoch=2_000_000_000_000, sequence=1)
    watch.add(later)
    assert watch.newest["BTCUSDT"] == later


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


@pytest.mark.parametrize(
    ("interval", "step"), [("1s", 1), ("1m", 60), ("4h", 14_400), ("1d", 86_400)]
)
def test_longer_candles_are_counted_by_their_interval(interval, step):
    """One candle that is left out is one missing, however long it is."""
    watch = Watch("candles")
    for number in (0, 1, 3):
        watch.add(candle(number * step, interval=interval))
    assert watch.summary() == ["BTCUSDT: 3 candles, 1 missing, 0 twice, 0 incomplete, 0 revised"]


def test_forming_candles_are_shown_and_not_counted():
    """What is not over is no candle yet, but is among the messages that came."""
    watch = Watch("candles")
    watch.add(candle(0, interval="1m"))
    forming = [
        candle(60, interval="1m", forming=True, complete=False, sequence=sequence)
        for sequence in (7, 8)
    ]
    for one in forming:
        watch.add(one)
    assert watch.received == 3
    assert watch.newest["BTCUSDT"] == forming[-1]
    assert watch.summary() == ["BTCUSDT: 1 candles, 0 missing, 0 twice, 0 incomplete, 0 revised"]


def test_the_summary_tells_whether_resumes_were_recovered():
    """After reconnects one line says how many were whole, and why others were not."""
    subscription = Subscription("candles", None)
    watch = Watch("candles")
    watch.add(Resumed(subscription, None, None))
    assert watch.summary() == ["no candles came"]
    watch.add(Disconnected("", 0.0))
    watch.add(Resumed(subscription, Position(1, 2), Position(1, 3)))
    assert watch.summary()[-1] == "resumed 1 times: 1 recovered, 0 not"
    watch.add(Gap(subscription, "evicted", Position(1, 2), Position(1, 3)))
    watch.add(Gap(subscription, "epoch", Position(1, 2), Position(2, 3)))
    assert watch.summary()[-1] == "resumed 3 times: 1 recovered, 2 not (epoch, evicted)"


# Showing.


def test_a_candle_in_words():
    """Without a terminal a candle is one line, with all digits and no exponent."""
    assert plain_line(candle()) == (
        "2024-11-10 15:30:45 IST  BTCUSDT      O 43250.50 H 43275.00 L 43240.20 C 43260.75 "
        "V 0.00000000  87 trades  complete  revision 0  binance"
    )
    assert "INCOMPLETE" in plain_line(candle(complete=False))
    longer = plain_line(candle(complete=False, forming=True, interval="15m"))
    assert "BTCUSDT      15m O 43250.50" in longer
    assert "  forming  " in longer


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
    assert age_text(candle(-59, interval="1m"), START + later) == shown
    assert age_text(trade(1), START + later - 1) == shown
    assert age_text(candle(forming=True), START + later) == "forming"


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
        assert ws_client.digits(getattr(one, name)) in picture
    for name in ("open", "high", "low"):
        assert (ws_client.digits(getattr(one, name)) in picture) is (width >= 72)
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


# The command line.


def test_arguments():
    """Symbols are in upper case and each once."""
    options = parse(["--symbols", "btcusdt, ethusdt,BTCUSDT,", "--count", "3", "--raw"])
    assert options == Options(symbols=("BTCUSDT", "ETHUSDT"), count=3, raw=True)
    assert parse([]) == Options()
    assert parse(["--since", "1731232800000-42"]).since == Position(1_731_232_800_000, 42)
    assert parse(["--since", "1731232845000"]).since == 1_731_232_845_000
    more = parse(
        ["--interval", "1m", "--forming", "--batch", "--format", "protobuf", "--last", "9"]
    )
    assert more == Options(interval="1m", forming=True, batch=True, format="protobuf", last=9)


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
        ["--url", "ws://127.0.0.1:8765/?symbols=BTCUSDT"],
        ["--since", "yesterday"],
        ["--last", "3", "--since", "4"],
    ],
)
def test_bad_arguments(arguments, capsys):
    """A mistake on the command line ends with a word on it."""
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


# Over real sockets, with a hub that does what the test says.


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


@pytest.mark.parametrize("batch", [False, True])
async def test_raw_lines_are_the_messages_as_they_came(batch):
    """Standard output holds one JSON object a line, byte for byte as sent, and nothing else."""
    messages = [candle_fields(second, new={"field": [Decimal("1.50"), "é"]}) for second in range(3)]

    async def script(session):
        await session.answer()
        await (session.send_batch if batch else session.send)(*messages)
        await session.stay()

    async with scripted(script) as hub:
        code, out, news = await ran(Options(hub.url, raw=True, count=3, batch=batch))
    assert out == [to_json(message) for message in messages]
    assert news == ["connected", "BTCUSDT: 3 candles, 0 missing, 0 twice, 0 incomplete, 0 revised"]
    assert code == 0
    assert hub.said == [{"op": "subscribe", "id": 1, "channel": "candles", "interval": "1s"}]
    assert hub.paths == ["/?symbols=&batch=true" if batch else "/?symbols="]


async def test_the_program_comes_back_to_where_it_was():
    """After a reconnect the rest is asked for, and the summary says that it came."""
    again = sends(candle_fields(1), recovered=True)
    async with scripted(sends(candle_fields(0), close=1012), again) as hub:
        options = Options(hub.url, symbols=("BTCUSDT",), check=True, count=2)
        code, out, news = await ran(options)
    wish = {
        "op": "subscribe",
        "id": 1,
        "channel": "candles",
        "symbols": ["BTCUSDT"],
        "interval": "1s",
    }
    since = {"epoch": candle().position.epoch, "sequence": 1}
    assert hub.said == [wish, {**wish, "id": 2, "since": since}]
    assert code == 0
    assert out == [
        "BTCUSDT: 2 candles, 0 missing, 0 twice, 0 incomplete, 0 revised",
        "resumed 1 times: 1 recovered, 0 not",
    ]
    assert news == ["connected", "reconnecting: the hub restarts", "connected"]


async def test_status_is_followed_beside_the_candles():
    """With --status both channels are asked for, and only candles are counted."""
    messages = [
        hole_fields(),
        candle_fields(0, sequence=2),
        candle_fields(0, sequence=3, revision=1),
    ]
    async with scripted(sends(*messages, requests=2)) as hub:
        code, out, news = await ran(Options(hub.url, status=True, raw=True, count=2))
    assert hub.said == [
        {"op": "subscribe", "id": 1, "channel": "candles", "interval": "1s"},
        {"op": "subscribe", "id": 2, "channel": "status"},
    ]
    assert out == [to_json(message) for message in messages]
    assert news[-1] == "BTCUSDT: 1 candles, 0 missing, 0 twice, 0 incomplete, 1 revised"
    assert code == 0


async def test_everything_that_can_be_asked_for():
    """Interval, forming candles and history are asked for in the request."""
    position = Position(1_731_232_800_000, 42)
    asked = Options(interval="1m", forming=True, since=position, status=True, seconds=0.3)
    async with scripted(sends(requests=2)) as hub:
        await ran(Options(**{**vars(asked), "url": hub.url}))
    since = {"epoch": 1_731_232_800_000, "sequence": 42}
    candles, status = hub.said
    assert candles.items() >= {"interval": "1m", "forming": True, "since": since}.items()
    assert status["since"] == since
    async with scripted(sends()) as hub:
        await ran(Options(hub.url, last=60, seconds=0.3))
    assert hub.said[0]["last"] == 60


async def test_a_check_allows_what_is_issued_again():
    """A second that is revised is fine; how many were, and what is still incomplete, is told."""
    issues = [candle_fields(0, complete=False), candle_fields(1, complete=False), candle_fields(2)]
    repaired = candle_fields(0, revision=1, sequence=9)
    async with scripted(sends(*issues, repaired)) as hub:
        code, out, _ = await ran(Options(hub.url, check=True, count=4))
    assert (code, out) == (0, ["BTCUSDT: 3 candles, 0 missing, 0 twice, 1 incomplete, 1 revised"])


async def test_a_check_fails_when_a_candle_is_missing():
    """What was lost in between is counted, and the exit code says so."""
    rest = sends(candle_fields(2), recovered=False, reason="evicted")
    async with scripted(sends(candle_fields(0), close=4008), rest) as hub:
        code, out, _ = await ran(Options(hub.url, check=True, count=2))
    assert code == 1
    assert out == [
        "BTCUSDT: 2 candles, 1 missing, 0 twice, 0 incomplete, 0 revised",
        "resumed 1 times: 0 recovered, 1 not (evicted)",
    ]


async def test_a_check_fails_when_a_candle_comes_twice():
    """What the hub sends twice is not hidden by the client."""
    async with scripted(sends(candle_fields(0), candle_fields(0))) as hub:
        code, out, _ = await ran(Options(hub.url, check=True, count=2))
    assert (code, out) == (1, ["BTCUSDT: 1 candles, 0 missing, 1 twice, 0 incomplete, 0 revised"])


async def test_trades_in_words_for_so_many_seconds():
    """Another channel is asked for by name, and time ends it too."""
    async with scripted(sends(trade_fields(1))) as hub:
        code, out, _ = await ran(Options(hub.url, channel="trades", seconds=0.3))
    assert hub.said == [{"op": "subscribe", "id": 1, "channel": "trades"}]
    assert out == [plain_line(trade(1)), "BTCUSDT: 1 trades, 0 missing, 0 twice"]
    assert code == 0


async def test_a_close_for_good_ends_the_client():
    """After 4009 the client does not come back."""
    async with scripted(sends(candle_fields(0), close=4009)) as hub:
        code, _, news = await ran(Options(hub.url))
    assert code == 1
    assert "more requests than allowed" in news[-1]


async def test_an_error_reply_ends_the_client_with_its_words():
    """A symbol that cannot be followed is told, not retried."""

    async def refuses(session):
        await session.refuse("UnknownSymbol", "NOSUCH is not listed")
        await session.stay()

    async with scripted(refuses) as hub:
        code, out, news = await ran(Options(hub.url, symbols=("NOSUCH",)))
    assert code == 1
    assert news[-1] == "UnknownSymbol: NOSUCH is not listed"
    assert out == []


async def test_a_hub_that_is_not_ready_is_asked_again():
    """While the hub's list of symbols is unknown the client tries again."""

    async def not_yet(session):
        await session.refuse("SymbolsNotLoaded", "not known yet")
        await session.stay()

    async with scripted(not_yet, sends(candle_fields(0))) as hub:
        code, _, news = await ran(Options(hub.url, symbols=("BTCUSDT",), raw=True, count=1))
    assert code == 0
    assert news[1] == "reconnecting: SymbolsNotLoaded: not known yet"


async def test_nobody_there_is_waited_for():
    """A hub that is not up yet is tried again and again until the time is over."""
    async with scripted() as hub:
        url = hub.url
    code, out, news = await ran(Options(url, check=True, seconds=0.2))
    assert (code, out) == (1, ["no candles came"])
    assert news[0].startswith("reconnecting: cannot reach the hub: ")


async def test_the_table_follows_a_hub():
    """On a terminal the table is drawn while data comes, and the summary stands below it."""
    screen = Terminal()
    async with scripted(sends(candle_fields(0))) as hub:
        assert await run(Options(hub.url, seconds=0.4), screen, io.StringIO()) == 0
    assert "BTCUSDT" in screen.getvalue()
    assert screen.getvalue().rstrip().endswith("0 missing, 0 twice, 0 incomplete, 0 revised")


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
    async with scripted(sends(candle_fields(0))) as hub:
        program = started("--url", hub.url)
        first = await asyncio.to_thread(program.stdout.readline)
        program.send_signal(way)
        out, news = await asyncio.to_thread(ended, program)
    assert "BTCUSDT" in first
    assert out == "BTCUSDT: 1 candles, 0 missing, 0 twice, 0 incomplete, 0 revised\n"
    assert news == "connected\n"
    assert program.returncode == 0


async def test_ctrl_c_is_quiet_while_nobody_is_there():
    """Ctrl-C between two attempts ends the program as well."""
    async with scripted() as hub:
        url = hub.url
    program = started("--url", url)
    first = await asyncio.to_thread(program.stderr.readline)
    program.send_signal(signal.SIGINT)
    out, news = await asyncio.to_thread(ended, program)
    assert first.startswith("reconnecting: cannot reach the hub")
    assert (out, news) == ("no candles came\n", "")
    assert program.returncode == 0


async def test_a_reader_that_has_seen_enough():
    """A closed pipe, as `head` leaves it, ends the program quietly."""

    async def endless(session):
        await session.answer()
        second = 0
        while True:
            await session.send(candle_fields(second))
            second += 1
            await asyncio.sleep(0.001)

    async with scripted(endless) as hub:
        program = started("--url", hub.url, "--raw")
        await asyncio.to_thread(program.stdout.readline)
        program.stdout.close()
        assert await asyncio.to_thread(program.wait, 10) == 0
        assert await asyncio.to_thread(program.stderr.read) == "connected\n"
        program.stderr.close()
