"""CandleRing: the newest issue of each recent second, whatever comes in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.events import SECOND_US, Candle, Publication
from app.market.ring import ISSUE_BYTES, CandleRing, CandleSpan
from tests.fakes import a_candle, a_trade

SECOND = 1_731_232_845


def issue(
    second: int, symbol: str = "BTCUSDT", *, epoch: int = 1, sequence: int = 1, interval: str = "1s"
) -> Publication:
    """Return an issue of the candle so many seconds after the first."""
    candle = a_candle(symbol, open_time_us=(SECOND + second) * SECOND_US, interval=interval)
    return Publication(epoch, sequence, "candles", candle)


def text(publication: Publication, candle: Candle) -> bytes:
    """Write a candle as a text of 100 bytes that names it."""
    second = candle.open_time_us // SECOND_US - SECOND
    return f"{second}:{publication.epoch}:{publication.sequence}".ljust(100).encode()


def ring_of(
    *publications: Publication, seconds: int = 10, max_bytes: int = 1_000_000
) -> CandleRing:
    """Return a ring that was given these."""
    ring = CandleRing(text, seconds=seconds, max_bytes=max_bytes)
    for publication in publications:
        ring.apply(publication)
    return ring


def held(ring: CandleRing, symbol: str = "BTCUSDT") -> list[str]:
    """Return everything that a ring holds of a symbol, as `second:epoch:sequence`."""
    return told(ring.between(symbol, limit=1_000))


def told(span: CandleSpan) -> list[str]:
    """Return what a span names."""
    return [one.decode().rstrip() for one in span.texts]


def at(second: float) -> int:
    """Return the time so many seconds after the first, in µs."""
    return round((SECOND + second) * SECOND_US)


def test_nothing_is_held_at_first() -> None:
    """Of a symbol that never came there is no candle and no reach."""
    assert ring_of().between("BTCUSDT", limit=10) == CandleSpan((), None, None, None)
    asked = ring_of().between("BTCUSDT", limit=10, start_us=5, end_us=7)
    assert asked == CandleSpan((), 5, 7, None)


def test_seconds_are_given_in_their_order() -> None:
    """Whatever order they came in, candles are ascending by open time."""
    assert held(ring_of(issue(3), issue(1), issue(2))) == ["1:1:1", "2:1:1", "3:1:1"]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        pytest.param((1, 1), (1, 2), "0:1:2", id="a later issue replaces"),
        pytest.param((1, 2), (1, 1), "0:1:2", id="an earlier one does not"),
        pytest.param((1, 9), (2, 1), "0:2:1", id="a newer epoch replaces"),
        pytest.param((2, 1), (1, 9), "0:2:1", id="an older epoch does not"),
        pytest.param((1, 5), (1, 5), "0:1:5", id="a repetition changes nothing"),
    ],
)
def test_the_newer_position_stays(first: tuple[int, int], second: tuple[int, int], kept: str):
    """Per second the larger (epoch, sequence) is held, and counted once."""
    issues = [issue(0, epoch=epoch, sequence=sequence) for epoch, sequence in (first, second)]
    ring = ring_of(*issues)
    assert held(ring) == [kept]
    assert ring.bytes == 100 + ISSUE_BYTES


def test_a_repaired_second_is_kept_while_it_is_recent() -> None:
    """A second older than all others comes in if it is within the symbol's last seconds."""
    ring = ring_of(issue(10), issue(0), issue(1))
    assert held(ring) == ["1:1:1", "10:1:1"]
    assert ring.between("BTCUSDT", limit=1).reach_us == at(1)


def test_old_seconds_leave_as_new_ones_come() -> None:
    """Exactly the last seconds before the newest are held, over gaps of any length."""
    ring = ring_of(*(issue(second) for second in range(12)))
    assert held(ring)[0] == "2:1:1"
    ring.apply(issue(16))
    assert held(ring)[0] == "7:1:1"
    ring.apply(issue(1_000_000_000))
    assert held(ring) == ["1000000000:1:1"]
    assert ring.bytes == 100 + ISSUE_BYTES
    assert ring.counters()["reach_us"] == at(1_000_000_000)


def test_each_symbol_has_seconds_of_its_own() -> None:
    """A symbol that was silent for long keeps its last seconds."""
    ring = ring_of(issue(0, "ETHUSDT"), *(issue(second) for second in range(30)))
    assert held(ring, "ETHUSDT") == ["0:1:1"]
    assert ring.counters()["candles"] == 11


def test_memory_is_bounded_for_all_symbols_together() -> None:
    """Past the bound the oldest seconds go first, of whichever symbol, and the count stays true."""
    room_for_five = 5 * (100 + ISSUE_BYTES)
    ring = ring_of(issue(0, "OLDUSDT"), max_bytes=room_for_five)
    for second in range(1, 4):
        for symbol in ("BTCUSDT", "ETHUSDT"):
            ring.apply(issue(second, symbol))
    assert held(ring, "OLDUSDT") == []
    assert held(ring, "BTCUSDT") == held(ring, "ETHUSDT") == ["2:1:1", "3:1:1"]
    assert ring.counters() == {
        "candles": 4,
        "bytes": 4 * (100 + ISSUE_BYTES),
        "max_bytes": room_for_five,
        "seconds": 10,
        "reach_us": at(2),
    }
    ring.apply(issue(0, "OLDUSDT"))
    assert held(ring, "OLDUSDT") == ["0:1:1"]
    ring.apply(issue(4))
    assert held(ring, "OLDUSDT") == []


def test_room_for_nothing_holds_nothing() -> None:
    """A candle that is larger than the bound is not held, and does no harm."""
    ring = ring_of(issue(0), issue(1), max_bytes=10)
    assert held(ring) == []
    assert ring.bytes == 0


def test_a_forgotten_symbol_frees_its_memory() -> None:
    """After `forget` nothing is held, and forgetting twice is harmless."""
    ring = ring_of(issue(0), issue(5), issue(0, "ETHUSDT"))
    ring.forget("BTCUSDT")
    ring.forget("BTCUSDT")
    assert held(ring) == []
    assert held(ring, "ETHUSDT") == ["0:1:1"]
    assert ring.bytes == 100 + ISSUE_BYTES
    ring.apply(issue(0))
    assert held(ring) == ["0:1:1"]


def test_other_events_and_intervals_are_not_held() -> None:
    """Only 1-second candles are."""
    ring = ring_of(Publication(1, 1, "trades", a_trade()), issue(0, interval="1m"))
    assert ring.counters()["candles"] == 0
    assert ring.counters()["reach_us"] is None


@pytest.mark.parametrize(
    ("start", "end", "limit", "found", "following"),
    [
        pytest.param(None, None, 9, [0, 1, 2, 5, 6], None, id="everything"),
        pytest.param(None, None, 2, [5, 6], None, id="the newest"),
        pytest.param(None, 5, 2, [2, 5], None, id="the newest up to a time"),
        pytest.param(None, 4.9, 2, [1, 2], None, id="a time within a second that is missing"),
        pytest.param(1, None, 2, [1, 2], 5, id="the oldest from a time, and where to go on"),
        pytest.param(5, None, 2, [5, 6], None, id="the limit met exactly"),
        pytest.param(1, 2, 2, [1, 2], None, id="both bounds are included"),
        pytest.param(1, 4, 2, [1, 2], None, id="what is missing is not what follows"),
        pytest.param(0.001, 5, 9, [1, 2, 5], None, id="a second that opened before is not in"),
        pytest.param(-500, 900, 9, [0, 1, 2, 5, 6], None, id="far beyond what is held"),
        pytest.param(7, 9, 9, [], None, id="after everything"),
        pytest.param(-9, -1, 9, [], None, id="before everything"),
        pytest.param(3, 4, 9, [], None, id="in a hole"),
    ],
)
def test_spans(
    start: float | None, end: float | None, limit: int, found: list[int], following: int | None
) -> None:
    """Bounds are open times and belong to the span; from a start it is cut at the end."""
    ring = ring_of(*(issue(second) for second in (0, 1, 2, 5, 6)))
    span = ring.between(
        "BTCUSDT",
        limit=limit,
        start_us=None if start is None else at(start),
        end_us=None if end is None else at(end),
    )
    assert told(span) == [f"{second}:1:1" for second in found]
    assert span.next_us == (None if following is None else at(following))
    assert span.start_us == (at(found[0]) if start is None else at(start))
    assert span.end_us == (at(6) if end is None else at(end))
    assert span.reach_us == at(0)


def test_a_span_of_nothing_has_no_start() -> None:
    """Without a start and without a candle there is nothing to say about where it begins."""
    span = ring_of(issue(5)).between("BTCUSDT", limit=5, end_us=at(3))
    assert (span.texts, span.start_us, span.reach_us) == ([], None, at(5))


ISSUES = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C"]), st.integers(0, 40), st.integers(1, 2), st.integers(1, 9)
    ),
    max_size=80,
)


@given(ISSUES)
def test_a_ring_is_what_a_plain_table_would_be(issues: list[tuple[str, int, int, int]]) -> None:
    """In any order of any issues, the ring holds what looking at each of them anew would leave."""
    ring = ring_of(seconds=10)
    table: dict[str, dict[int, tuple[int, int]]] = {}
    for symbol, second, epoch, sequence in issues:
        ring.apply(issue(second, symbol, epoch=epoch, sequence=sequence))
        rows = table.setdefault(symbol, {})
        if second > max(rows, default=second) - 10:
            rows[second] = max(rows.get(second, (0, 0)), (epoch, sequence))
        table[symbol] = {one: rows[one] for one in rows if one > max(rows) - 10}
    for symbol, rows in table.items():
        expected = [f"{one}:{rows[one][0]}:{rows[one][1]}" for one in sorted(rows)]
        assert held(ring, symbol) == expected
    assert ring.bytes == sum(len(rows) for rows in table.values()) * (100 + ISSUE_BYTES)


@given(ISSUES)
def test_the_bound_holds_and_the_newest_stay(issues: list[tuple[str, int, int, int]]) -> None:
    """However full it gets, it keeps to the bound, and nothing that left is newer than what is."""
    ring = ring_of(seconds=100, max_bytes=7 * (100 + ISSUE_BYTES))
    for symbol, second, epoch, sequence in issues:
        ring.apply(issue(second, symbol, epoch=epoch, sequence=sequence))
        counters = ring.counters()
        assert ring.bytes <= 7 * (100 + ISSUE_BYTES)
        assert ring.bytes == (counters["candles"] or 0) * (100 + ISSUE_BYTES)
        oldest = [ring.between(one, limit=1, start_us=0).reach_us for one in ("A", "B", "C")]
        assert counters["reach_us"] == min(
            (reach for reach in oldest if reach is not None), default=None
        )
    newest = max((second for _, second, _, _ in issues), default=None)
    everything = [one for symbol in ("A", "B", "C") for one in held(ring, symbol)]
    assert newest is None or any(one.startswith(f"{newest}:") for one in everything)
