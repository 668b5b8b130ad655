"""Reading recordings."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.captures import reader
from app.captures.reader import Capture, Record, merged
from app.errors import BadCapture

FRAME = b'{"stream":"btcusdt@trade","data":{"e":"trade"}}'
FIRST = b"1723161254087896568 " + FRAME + b"\n"
SECOND = b"1723161254116723068 " + FRAME + b"\n"


def written(folder: Path, content: bytes, name: str = "capture") -> Capture:
    """Return the capture of a file with this content."""
    path = folder / name
    path.write_bytes(content)
    return Capture(path)


def test_frames_keep_their_bytes_and_every_nanosecond(tmp_path):
    """A frame line yields the exact receive time and the frame byte for byte."""
    records = list(written(tmp_path, FIRST + SECOND))
    assert records == [Record(1723161254087896568, FRAME), Record(1723161254116723068, FRAME)]
    assert records[0].received_us == 1723161254087896


def test_seconds_become_exact_nanoseconds(tmp_path):
    """Receive times in seconds are read digit by digit, never through a float."""
    capture = written(tmp_path, b"1617647603.4249449: {}\n1617647604: {}\n1617647605.1: {}\n")
    times = [record.received_ns for record in capture]
    assert times == [1617647603424944900, 1617647604000000000, 1617647605100000000]


def test_answers_are_told_from_frames(tmp_path):
    """REST answers are marked in both formats, with the URL where the recording names it."""
    url = b"https://www.binance.com/api/v1/depth?symbol=ZILUSDT&limit=1000"
    body = b'{"lastUpdateId":5,"bids":[],"asks":[]}'
    content = url + b" -> 1617647603.8164911: " + body + b"\n1723161254206652067 " + body + b"\n"
    mixed, bare = written(tmp_path, content)
    assert mixed == Record(1617647603816491100, body, True, url.decode())
    assert bare == Record(1723161254206652067, body, True)


def test_remarks_are_passed_over(tmp_path):
    """Configuration lines, dialled URLs and empty lines carry no message."""
    content = b'configuration: {"a":[]}\nwss://host/stream?streams=a <-> 1617647602.62\n\n' + FIRST
    capture = written(tmp_path, content)
    assert len(list(capture)) == 1
    assert capture.lines == 4


def test_a_gzipped_file_reads_like_a_plain_one(tmp_path):
    """Compression is recognised by the content, not by the name."""
    plain = written(tmp_path, FIRST + SECOND, "a")
    packed = written(tmp_path, gzip.compress(FIRST + SECOND), "b")
    assert list(plain) == list(packed)


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(SECOND[:12], id="in the time"),
        pytest.param(SECOND[:21], id="at the first brace"),
        pytest.param(SECOND[:40], id="in the frame"),
        pytest.param(b"htt", id="in a URL"),
    ],
)
def test_a_torn_tail_is_cut_and_counted(tmp_path, tail):
    """A last line without its end that is no whole record is cut off."""
    capture = written(tmp_path, FIRST + tail)
    assert len(list(capture)) == 1
    assert capture.torn == 1


def test_a_whole_last_line_without_line_end_counts(tmp_path):
    """Only the line's end may be missing: the record is kept."""
    capture = written(tmp_path, FIRST + SECOND.rstrip())
    assert len(list(capture)) == 2
    assert capture.torn == 0


def test_a_gzip_file_without_its_end_yields_what_it_holds(tmp_path):
    """A killed recorder's gzip file is read up to where it breaks off."""
    packed = gzip.compress(b"".join(FIRST for _ in range(2000)))
    capture = written(tmp_path, packed[:-20])
    assert len(list(capture)) > 100
    assert capture.torn == 1
    assert len(list(capture)) > 100, "a second pass reads it again"


def test_a_foreign_line_is_named(tmp_path):
    """A line of neither format raises BadCapture with path and line number."""
    with pytest.raises(BadCapture) as caught:
        list(written(tmp_path, FIRST + b"hello\n" + SECOND))
    assert (caught.value.path, caught.value.line) == (str(tmp_path / "capture"), 2)


def test_damaged_compression_is_named(tmp_path):
    """A gzip file with a flipped byte raises BadCapture, not a library's error."""
    packed = bytearray(gzip.compress(bytes(range(256)) * 50 + FIRST * 50))
    packed[60] ^= 0xFF
    with pytest.raises(BadCapture):
        list(written(tmp_path, bytes(packed)))


def test_a_missing_file_is_named(tmp_path):
    """A file that cannot be opened raises BadCapture with the system's reason."""
    with pytest.raises(BadCapture, match="No such file") as caught:
        list(Capture(tmp_path / "nowhere.gz"))
    assert "line" not in str(caught.value)


def test_an_endless_line_is_refused(tmp_path, monkeypatch):
    """A line longer than the bound ends the reading instead of filling the memory."""
    monkeypatch.setattr(reader, "MAX_LINE_BYTES", 100)
    with pytest.raises(BadCapture, match="longer"):
        list(written(tmp_path, b"1723161254087896568 {" + b"x" * 200))


def test_captures_are_merged_by_receive_time():
    """Several recordings come out as one, by receive time."""
    left = [Record(1, b"{}"), Record(5, b"{}")]
    right = [Record(2, b"[]"), Record(5, b"[]")]
    assert [(r.received_ns, r.body) for r in merged([left, right])] == [
        (1, b"{}"),
        (2, b"[]"),
        (5, b"{}"),
        (5, b"[]"),
    ]


def test_the_real_recordings_are_read_whole(recordings):
    """Every line of both real formats is understood."""
    frames = Capture(recordings / "spot_btcusdt_20240808.gz")
    assert sum(1 for _ in frames) == frames.lines == 41_249
    mixed = list(Capture(recordings / "BINANCE-b38f7c.0.gz"))
    assert sum(record.is_answer for record in mixed) == 10
    assert len(mixed) == 11_367


@given(st.binary(max_size=200))
def test_junk_raises_nothing_but_bad_capture(tmp_path_factory, content):
    """Whatever a file holds, reading it yields records or raises BadCapture."""
    path = tmp_path_factory.getbasetemp() / "junk"
    path.write_bytes(content)
    with contextlib.suppress(BadCapture):
        list(Capture(path))


@given(st.binary(max_size=80))
def test_parse_takes_any_line(line):
    """A single line of anything is a record, a remark or nothing."""
    reader.parse(line)
