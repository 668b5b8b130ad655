"""Tests of app.feed.state."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.errors import StateUnreadable
from app.feed.state import VERSION, KeptState

NOW_US = 1_731_232_845_000_000
ROOT = Path(__file__).resolve().parents[2]
DYING = """
import os, sys
from pathlib import Path
from app.feed.state import KeptState
KeptState(Path(sys.argv[1])).want(["BTCUSDT"], now_us=1)
os._exit(0)
"""


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
    ],
)
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, script: str) -> None:
    """A database that merely has our file's name stops the start-up, not the first use."""
    written(tmp_path / "state.sqlite3", script)
    refusal(tmp_path)


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
