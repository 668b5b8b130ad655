"""Tests of what `make bench SUITE=books` decides by itself."""

from __future__ import annotations

import gzip

import pytest

from benchmarks.books import CANDIDATES, Row, agree, best_rarely, ratio
from benchmarks.books_parts.recorded import RECORDINGS, Recording, read, unpack
from benchmarks.books_parts.timing import shown, timed

FULL = [[[[3.0, 1.0], [2.0, 1.0]], [[4.0, 1.0], [5.0, 1.0]]]]
SHORT = [[[[3.0, 1.0]], [[4.0, 1.0], [5.0, 1.0]]]]
OTHER = [[[[3.0, 1.0], [1.0, 1.0]], [[4.0, 1.0], [5.0, 1.0]]]]


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        pytest.param(FULL, FULL, True, id="equal"),
        pytest.param(SHORT, FULL, True, id="ours ends where it is not known any more"),
        pytest.param(FULL, SHORT, False, id="theirs ends earlier"),
        pytest.param(FULL, OTHER, False, id="another level"),
        pytest.param(FULL + FULL, FULL, False, id="another number of diffs"),
    ],
)
def test_tops_agree_when_ours_are_the_first_of_theirs(ours: object, theirs: object, same: bool):
    """Levels, not lengths, decide; a single diff that differs is enough to say no."""
    assert agree([ours], [theirs]) is same


def test_ratios_are_taken_within_a_repetition():
    """A slow moment of the machine hits both."""
    assert ratio([1.0, 10.0, 1.0], [2.0, 20.0, 4.0]) == 0.5
    assert ratio([1.0], []) is None


def test_the_best_of_the_others_is_one_that_is_used_so():
    """What stands aside, and what failed, is not compared with."""
    rows = [Row(each) for each in CANDIDATES]
    assert best_rarely(rows) == (None, "")
    for row in rows:
        row.cpu_us[100] = [6.0 if row.candidate.aside else 20.0]
    rows[1].cpu_us[100], rows[3].cpu_us[100] = [15.0], []
    rows[0].cpu_us[100] = [12.0]
    assert best_rarely(rows) == (12.0 / 15.0, rows[1].candidate.name)


def test_recordings_are_unpacked_from_the_snapshot_on(tmp_path):
    """Diffs that the snapshot holds already are left out, and so is all that is no depth."""
    lines = [
        b'1 {"stream":"x@depth@100ms","data":{"e":"depthUpdate","u":4}}',
        b'2 {"lastUpdateId":5,"bids":[],"asks":[]}',
        b'3 {"stream":"x@depth@100ms","data":{"e":"depthUpdate","u":5}}',
        b'4 {"stream":"x@trade","data":{"e":"trade"}}',
        b'5 {"stream":"x@depth@100ms","data":{"e":"depthUpdate","u":9}}',
    ]
    assert not unpack(tmp_path, tmp_path)
    for name in RECORDINGS.values():
        (tmp_path / name).write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    assert unpack(tmp_path, tmp_path)
    assert read(tmp_path) == [
        Recording(symbol, lines[1][2:], [lines[4][2:]]) for symbol in RECORDINGS
    ]


class Counting:
    """A keeper that counts what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []

    def take(self, frame: bytes) -> None:
        """Note a frame."""
        self.calls.append(frame)

    def top(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Note a read."""
        self.calls.append(b"read")
        return [("1.5", "2")], []


def test_the_top_is_read_as_often_as_is_said():
    """After each frame, or after each so-and-so-many and once for the rest."""
    frames = [b"a", b"b", b"c"]
    keeper = Counting()
    assert timed(keeper, frames, 1) >= 0
    assert keeper.calls == [b"a", b"read", b"b", b"read", b"c", b"read"]
    keeper = Counting()
    assert timed(keeper, frames, 2) >= 0
    assert keeper.calls == [b"a", b"b", b"read", b"c", b"read"]


def test_tops_are_shown_as_numbers():
    """So that text, floats and Decimals can be compared."""
    assert shown(Counting(), Recording("X", b"", [b"a"])) == [[[(1.5, 2.0)], []]]
