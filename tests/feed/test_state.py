"""Tests of app.feed.state."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import StateUnreadable
from app.feed.state import VERSION, Ban, KeptState, kept_ban
from app.market.ledger import Hole
from app.market.position import Position

S = 1_000_000
NOW_US = 1_731_232_845_000_000
ROOT = Path(__file__).resolve().parents[2]
DYING = """
import os, sys
from pathlib import Path
from app.feed.state import KeptState
KeptState(Path(sys.argv[1])).want(["BTCUSDT"], now_us=1)
os._exit(0)
"""
# Keeps the positions of 40 symbols again and again, and says each time how far it has come.
KEEPING = """
import sys
from decimal import Decimal
from itertools import count
from pathlib import Path
from app.feed.state import Position, KeptState
from app.market.ledger import Hole
from app.market.position import Position
S = 1_000_000
state = KeptState(Path(sys.argv[1]))
symbols = [f"SYMBOL{n}" for n in range(40)]
state.want(symbols, now_us=1)
for number in count(1):
    holes = tuple(Hole(at, at, at * S, at * S) for at in range(number % 7))
    kept = Position(number * S, number, Decimal(number), holes)
    state.keep_positions(dict.fromkeys(symbols, kept), now_us=number)
    state.keep_ban(number, "ban")
    print(number, flush=True)
"""
# Written by the program whose state had version 1: three symbols wanted, one of them forgotten.
VERSION_1 = Path(__file__).with_name("state-of-version-1.sqlite3")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], KeptState]]:
    """Return what opens the state of one folder, and close it all in the end."""
    states: list[KeptState] = []

    def again() -> KeptState:
        states.append(KeptState(tmp_path / "data" / "binance"))
        return states[-1]

    yield again
    for state in states:
        state.close()


def written(path: Path, script: str) -> None:
    """Change the file behind the program's back."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)


def a_position(second: int = 5, *holes: Hole, last_id: int = 77, close: str = "1.50") -> Position:
    """Return a position at some second."""
    return Position(second * S, last_id, Decimal(close), holes)


def test_the_wanted_set_survives(opened: Callable[[], KeptState]) -> None:
    """What is wanted when the program ends is wanted when it starts again."""
    state = opened()
    assert state.wanted() == []
    state.want(["ETHUSDT", "BTCUSDT", "币安人生USDT"], now_us=NOW_US)
    state.forget("ETHUSDT")
    state.close()
    state.close()
    assert opened().wanted() == ["BTCUSDT", "币安人生USDT"]


def test_it_survives_a_death(opened: Callable[[], KeptState]) -> None:
    """A program that died without closing the file has lost nothing, and left nothing locked."""
    state = opened()
    state.close()
    subprocess.run([sys.executable, "-c", DYING, state.path.parent], check=True, cwd=ROOT)
    assert opened().wanted() == ["BTCUSDT"]


def test_two_hubs_do_not_share_it(opened: Callable[[], KeptState]) -> None:
    """While one hub has the file, a second one is told so; afterwards it may have it."""
    first = opened()
    with pytest.raises(StateUnreadable, match=r"another hub uses it.*DATA_DIR"):
        opened()
    first.want(["BTCUSDT"], now_us=NOW_US)
    first.close()
    assert opened().wanted() == ["BTCUSDT"]


def test_wanting_twice_and_forgetting_what_is_not_there_is_harmless(
    opened: Callable[[], KeptState],
) -> None:
    """Repetition changes nothing: a symbol keeps the time since when it is wanted."""
    state = opened()
    state.want(["BTCUSDT"], now_us=NOW_US)
    state.want(["BTCUSDT", "ETHUSDT"], now_us=NOW_US + 5)
    state.forget("BNBUSDT")
    state.close()
    with closing(sqlite3.connect(state.path)) as database:
        rows = dict(database.execute("SELECT symbol, added_us FROM wanted"))
    assert rows == {"BTCUSDT": NOW_US, "ETHUSDT": NOW_US + 5}


def test_each_epoch_is_larger_than_the_last(opened: Callable[[], KeptState]) -> None:
    """An epoch is the time of day in ms, or one more than the last where our clock went back."""
    now_ms = NOW_US // 1_000
    state = opened()
    assert state.next_epoch(now_us=NOW_US) == now_ms
    assert state.next_epoch(now_us=NOW_US) == now_ms + 1
    assert state.next_epoch(now_us=0) == now_ms + 2
    state.close()
    state = opened()
    assert state.next_epoch(now_us=NOW_US - 86_400_000_000) == now_ms + 3
    assert state.next_epoch(now_us=NOW_US + 1_000_000) == now_ms + 1_000


# -- positions ----------------------------------------------------------------------------------


def test_positions_survive(opened: Callable[[], KeptState]) -> None:
    """How far each symbol had come, and what it lacked, is known after a restart, to the digit."""
    state = opened()
    assert state.positions() == {}
    rows = {
        "BTCUSDT": a_position(1_731_232_845, close="43250.50000000"),
        "币安人生USDT": a_position(3, Hole(4, 4, 0, S), Hole(9, 12, 2 * S, 2 * S), close="1E-8"),
        "NEWUSDT": a_position(0, last_id=-1),
    }
    state.want(rows, now_us=NOW_US)
    state.keep_positions(rows, now_us=NOW_US)
    assert state.positions() == rows
    state.close()
    found = opened().positions()
    assert found == rows
    assert str(found["BTCUSDT"].close) == "43250.50000000"


def test_a_later_position_takes_the_place_of_the_one_before(
    opened: Callable[[], KeptState],
) -> None:
    """Position and holes of the symbols that are given are replaced; the others stay."""
    state = opened()
    state.want(["BTCUSDT", "ETHUSDT"], now_us=NOW_US)
    before = a_position(5, Hole(1, 2, 0, S), Hole(4, 5, S, S))
    state.keep_positions({"BTCUSDT": before, "ETHUSDT": before}, now_us=NOW_US)
    after = a_position(6, Hole(4, 4, S, S), last_id=80)
    state.keep_positions({"BTCUSDT": after}, now_us=NOW_US)
    assert state.positions() == {"BTCUSDT": after, "ETHUSDT": before}
    state.keep_positions({"ETHUSDT": a_position(7)}, now_us=NOW_US)
    state.keep_positions({}, now_us=NOW_US)
    assert state.positions() == {"BTCUSDT": after, "ETHUSDT": a_position(7)}


def test_a_symbol_that_is_forgotten_leaves_nothing(opened: Callable[[], KeptState]) -> None:
    """Its position and holes go with it, and one that is kept too late is passed over."""
    state = opened()
    state.want(["BTCUSDT", "ETHUSDT"], now_us=NOW_US)
    kept = a_position(5, Hole(1, 2, 0, S))
    state.keep_positions({"BTCUSDT": kept, "ETHUSDT": kept}, now_us=NOW_US)
    state.forget("BTCUSDT")
    state.keep_positions({"BTCUSDT": kept, "NEVERUSDT": kept}, now_us=NOW_US)
    assert state.positions() == {"ETHUSDT": kept}
    state.want(["BTCUSDT"], now_us=NOW_US)
    state.close()
    assert opened().positions() == {"ETHUSDT": kept}


def test_positions_are_kept_wholly_or_not_at_all(opened: Callable[[], KeptState]) -> None:
    """When the disk fails at the last hole of the last symbol, all are as they were before."""
    state = opened()
    state.want(["BTCUSDT", "ETHUSDT"], now_us=NOW_US)
    before = a_position(5, Hole(1, 2, 0, S))
    state.keep_positions({"BTCUSDT": before, "ETHUSDT": before}, now_us=NOW_US)
    state.close()
    written(
        state.path,
        "CREATE TRIGGER full BEFORE INSERT ON holes WHEN NEW.first_id = 9 "
        "BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    )
    state = opened()
    after = a_position(6, Hole(3, 3, 0, S), Hole(9, 9, S, S))
    with pytest.raises(StateUnreadable, match="disk full"):
        state.keep_positions({"BTCUSDT": a_position(6), "ETHUSDT": after}, now_us=NOW_US)
    assert state.positions() == {"BTCUSDT": before, "ETHUSDT": before}


HOLES = st.lists(
    st.builds(Hole, st.integers(0, 1 << 62), st.just((1 << 63) - 1), st.just(0), st.just(9 * S)),
    max_size=4,
    unique_by=lambda hole: hole.first_id,
)
POSITIONS = st.builds(
    Position,
    st.integers(0, 1 << 40).map(lambda second: second * S),
    st.integers(-1, (1 << 63) - 1),
    st.decimals(min_value="0.000000000000000001", max_value="1e30", places=18),
    HOLES.map(lambda holes: tuple(sorted(holes, key=lambda hole: hole.first_id))),
)


@settings(max_examples=30, deadline=None)
@given(changes=st.lists(st.dictionaries(st.sampled_from("ABCD"), POSITIONS), max_size=5))
def test_what_is_kept_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, changes: list[dict[str, Position]]
) -> None:
    """Any positions, kept in any order, are read as they were given last."""
    expected: dict[str, Position] = {}
    folder = tmp_path_factory.mktemp("state")
    with closing(KeptState(folder)) as state:
        state.want("ABCD", now_us=NOW_US)
        for rows in changes:
            state.keep_positions(rows, now_us=NOW_US)
            expected.update(rows)
        assert state.positions() == expected
    with closing(KeptState(folder)) as state:
        assert state.positions() == expected


@pytest.mark.parametrize("rounds", [1, 2, 9, 30])
def test_a_kill_while_writing_loses_nothing(tmp_path: Path, rounds: int) -> None:
    """Killed at any moment, it holds all that was acknowledged, and every symbol is of one time."""
    with subprocess.Popen(
        [sys.executable, "-c", KEEPING, tmp_path], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        for _ in range(rounds):
            acknowledged = int(process.stdout.readline())
        process.kill()
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    with closing(KeptState(tmp_path)) as state:
        positions = state.positions()
        ban = state.ban()
    assert len(positions) == len(set(positions)) == 40
    (kept,) = set(positions.values())
    assert kept.last_id in (acknowledged, acknowledged + 1)
    assert len(kept.holes) == kept.last_id % 7
    assert ban is not None
    assert ban.until_us in (kept.last_id - 1, kept.last_id)


# -- a ban --------------------------------------------------------------------------------------


def test_the_last_ban_is_kept(opened: Callable[[], KeptState]) -> None:
    """Until when nothing may be asked, and why, is known after a restart; the newest counts."""
    state = opened()
    assert state.ban() is None
    state.keep_ban(NOW_US + 120 * S, "banned")
    state.keep_ban(NOW_US + 60 * S, "limit")
    state.close()
    state = opened()
    assert state.ban() == Ban(NOW_US + 60 * S, "limit")
    assert state.wanted() == []


# -- versions -----------------------------------------------------------------------------------


def test_the_ban_can_be_read_without_opening_the_state(tmp_path: Path) -> None:
    """Where nothing was ever kept there is none, and nothing is made."""
    folder = tmp_path / "binance"
    assert kept_ban(folder) is None
    assert not folder.exists()
    with closing(KeptState(folder)) as state:
        state.keep_ban(7, "HTTP 418")
        with pytest.raises(StateUnreadable):
            kept_ban(folder)  # another hub uses it
    assert kept_ban(folder) == Ban(7, "HTTP 418")


def test_a_file_of_version_1_is_taken_over(tmp_path: Path) -> None:
    """Wanted symbols and numbering of an older program go on; what it did not keep begins empty."""
    shutil.copy(VERSION_1, tmp_path / "state.sqlite3")
    with closing(sqlite3.connect(tmp_path / "state.sqlite3")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    for _ in range(2):
        with closing(KeptState(tmp_path)) as state:
            assert state.wanted() == ["BTCUSDT", "币安人生USDT"]
            assert state.ban() is None
            assert state.positions() == {}
    with closing(KeptState(tmp_path)) as state:
        assert state.next_epoch(now_us=0) == 1_731_232_845_000 + 1
        state.keep_positions({"BTCUSDT": a_position(5, Hole(1, 2, 0, S))}, now_us=NOW_US)
        state.keep_ban(NOW_US, "banned")
    with closing(sqlite3.connect(tmp_path / "state.sqlite3")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_taking_over_is_wholly_or_not_at_all(tmp_path: Path) -> None:
    """A file of version 1 that cannot be taken over stays one: nothing in it has changed."""
    path = tmp_path / "state.sqlite3"
    shutil.copy(VERSION_1, path)
    written(path, "CREATE TABLE ban (something); INSERT INTO ban VALUES ('else')")
    before = path.read_bytes()
    assert "move the file away" in refusal(tmp_path)
    assert path.read_bytes() == before
    written(path, "DROP TABLE ban")
    with closing(KeptState(tmp_path)) as state:
        assert state.wanted() == ["BTCUSDT", "币安人生USDT"]


def test_sources_do_not_mix(tmp_path: Path) -> None:
    """Each folder has a wanted set of its own."""
    with (
        closing(KeptState(tmp_path / "binance")) as real,
        closing(KeptState(tmp_path / "simulated")) as simulated,
    ):
        real.want(["BTCUSDT"], now_us=NOW_US)
        assert simulated.wanted() == []


def test_many_threads_may_use_it(opened: Callable[[], KeptState]) -> None:
    """Calls from several threads at once are kept apart: nothing is lost, no epoch given twice."""
    state = opened()
    epochs: list[int] = []

    def work(number: int) -> None:
        state.want([f"SYMBOL{number}"], now_us=NOW_US)
        epochs.append(state.next_epoch(now_us=NOW_US))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(state.wanted()) == 8
    assert sorted(epochs) == list(range(NOW_US // 1_000, NOW_US // 1_000 + 8))


def refusal(folder: Path) -> str:
    """Return why the state in `folder` is refused: one line that names the file."""
    with pytest.raises(StateUnreadable) as caught:
        KeptState(folder)
    text = str(caught.value)
    assert str(folder / "state.sqlite3") in text
    assert "\n" not in text
    return text


def test_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """A file of a newer program is neither read nor changed, and what to do is said."""
    KeptState(tmp_path).close()
    path = tmp_path / "state.sqlite3"
    written(path, f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    assert "DATA_DIR" in refusal(tmp_path)
    assert path.read_bytes() == before


def test_an_empty_file_is_a_new_one(tmp_path: Path) -> None:
    """Version 0, the time before the first, holds nothing: the tables are made."""
    (tmp_path / "state.sqlite3").touch()
    with closing(KeptState(tmp_path)) as state:
        assert state.wanted() == []


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("PRAGMA user_version = -1", id="a version that never was"),
        pytest.param(f"PRAGMA user_version = {VERSION}", id="the version without its tables"),
        pytest.param("CREATE TABLE wanted (something)", id="somebody else's tables"),
        pytest.param(
            "CREATE TABLE wanted (symbol, added_us); CREATE TABLE numbering (epoch_ms);"
            f"PRAGMA user_version = {VERSION}",
            id="no epoch",
        ),
        pytest.param(
            "CREATE TABLE wanted (symbol, added_us); PRAGMA user_version = 1",
            id="the older version without all its tables",
        ),
        pytest.param(
            "CREATE TABLE wanted (symbol, added_us); CREATE TABLE numbering (epoch_ms);"
            "INSERT INTO wanted VALUES (CAST(x'ff' AS TEXT), 1); PRAGMA user_version = 1",
            id="text that is none",
        ),
    ],
)
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, script: str) -> None:
    """A database that merely has our file's name stops the start-up, not the first use."""
    written(tmp_path / "state.sqlite3", script)
    refusal(tmp_path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        pytest.param("UPDATE positions SET close = 'NaN'", "price", id="no number"),
        pytest.param("UPDATE positions SET close = '0'", "price", id="a price of nothing"),
        pytest.param("UPDATE positions SET close = 'Infinity'", "price", id="an endless price"),
        pytest.param("UPDATE positions SET close = 'cheap'", "price", id="a word"),
        pytest.param("UPDATE positions SET close = x'00'", "str", id="a price that is no text"),
        pytest.param("UPDATE positions SET second_us = 5", "multiple", id="no whole second"),
        pytest.param("UPDATE positions SET second_us = -1000000", ">= 0", id="before 1970"),
        pytest.param("UPDATE positions SET last_id = 'x'", "int", id="an id that is a word"),
        pytest.param("UPDATE positions SET last_id = 1.5", "int", id="half an id"),
        pytest.param("UPDATE positions SET last_id = -2", ">= -1", id="an id below all"),
        pytest.param("UPDATE positions SET symbol = x'ff'", "str", id="a symbol of bytes"),
        pytest.param("DELETE FROM positions", "no position", id="holes of nobody"),
        pytest.param("UPDATE holes SET last_id = 0", "before its", id="a hole the wrong way"),
        pytest.param("UPDATE holes SET to_us = 0", "before its", id="its seconds the wrong way"),
        pytest.param("UPDATE holes SET from_us = 7", "multiple", id="half a second missing"),
        pytest.param("UPDATE holes SET first_id = -3", ">= 0", id="an id that cannot be"),
        pytest.param("UPDATE ban SET until_us = 'soon'", "int", id="a ban until some time"),
        pytest.param("UPDATE ban SET reason = x'07'", "str", id="a reason that is no text"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused(tmp_path: Path, change: str, word: str) -> None:
    """A row that we cannot have written stops the start-up, and is shown with its table."""
    with closing(KeptState(tmp_path)) as state:
        state.want(["BTCUSDT"], now_us=NOW_US)
        kept = a_position(5, Hole(1, 2, S, 2 * S))
        state.keep_positions({"BTCUSDT": kept}, now_us=NOW_US)
        state.keep_ban(NOW_US, "banned")
    written(tmp_path / "state.sqlite3", change)
    text = refusal(tmp_path)
    assert word in text
    assert "a row of" in text
    assert len(text) < 500


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x" * 900]
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is no database is refused, with the advice to move it away."""
    (tmp_path / "state.sqlite3").write_bytes(content)
    assert "move the file away" in refusal(tmp_path)


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A file where the folder should be, or a folder where the file should be, names DATA_DIR."""
    (tmp_path / "file").touch()
    assert "DATA_DIR" in refusal(tmp_path / "file")
    assert "DATA_DIR" in refusal(tmp_path / "file" / "below")
    (tmp_path / "state.sqlite3").mkdir()
    assert "DATA_DIR" in refusal(tmp_path)


def test_a_failing_disk_is_told_by_name(opened: Callable[[], KeptState]) -> None:
    """What goes wrong later names the file as well, and changes nothing."""
    state = opened()
    state.want(["BTCUSDT"], now_us=NOW_US)
    state.close()
    written(
        state.path,
        "CREATE TRIGGER full BEFORE INSERT ON wanted BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    )
    state = opened()
    with pytest.raises(StateUnreadable, match="disk full"):
        state.want(["ETHUSDT"], now_us=NOW_US)
    assert state.wanted() == ["BTCUSDT"]
    state.close()
    with pytest.raises(StateUnreadable):
        state.wanted()
