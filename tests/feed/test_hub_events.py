"""What another hub publishes, read back."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadFrame
from app.feed.hub_events import BookStep, exact, read_publication
from app.gateways.protobuf import decode_publication
from app.market.events import (
    BookState,
    BookView,
    Candle,
    ExchangeRefusal,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    Level,
    StatusEvent,
    StreamLost,
    StreamRestored,
    Trade,
)
from app.proto import candlewire_pb2 as pb
from tests.fakes import START_US, a_candle, a_trade, an_aggregate
from tests.feed.hub_texts import told

NOW_US = START_US + 5_000_000
SECOND_US = 1_000_000
BIDS: tuple[Level, ...] = (("43250.50000000", "1.25000000"), ("43250.49000000", "0.00120000"))
ASKS: tuple[Level, ...] = (("43250.51000000", "0.75000000"), ("43251.00000000", "3.10000000"))


def test_a_candle_is_what_it_was() -> None:
    """Every digit, complete and revision; the times are those of its arrival here."""
    candle = a_candle(source="simulated", complete=False, revision=3)
    read = read_publication(told(candle), NOW_US)
    assert read == msgspec.structs.replace(candle, event_us=NOW_US, received_us=NOW_US)
    empty = a_candle(trades=0, first_trade_id=-1, last_trade_id=-1, volume=Decimal(0))
    again = read_publication(told(empty), NOW_US)
    assert again is not None
    assert (again.trades, again.first_trade_id) == (0, -1)  # type: ignore[union-attr] # a candle


def test_a_trade_and_an_aggregate_are_what_they_were() -> None:
    """To the millisecond."""
    for trade in (a_trade(), an_aggregate()):
        expected = msgspec.structs.replace(trade, event_us=trade.time_us, received_us=NOW_US)
        assert read_publication(told(trade), NOW_US) == expected


@pytest.mark.parametrize(
    "event",
    [
        StreamLost("BTCUSDT", "cut", START_US, NOW_US),
        StreamRestored("BTCUSDT", START_US, NOW_US),
        HoleFound("BTCUSDT", 1, 9, START_US, START_US + SECOND_US, START_US, NOW_US),
        HoleRepaired("BTCUSDT", -1, -1, START_US, START_US, "trades", START_US, NOW_US),
        HoleAbandoned("BTCUSDT", 1, 9, START_US, START_US, "gone", START_US, NOW_US),
        ExchangeRefusal("banned", START_US + SECOND_US, START_US, NOW_US),
        ExchangeRefusal("denied", None, START_US, NOW_US),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_status_event_is_what_it_was(event: StatusEvent) -> None:
    """Its time is when the other hub learned of it."""
    # A hub tells when it learned of it, not when the exchange said so.
    there = msgspec.structs.replace(event, received_us=event.event_us)
    assert read_publication(told(there), NOW_US) == event


def a_view(previous: int | None, **changes: object) -> BookView:
    """Return a view of a book, or what changed in it."""
    view = BookView(
        "BTCUSDT", 20, 0, 8, previous, 99, BookState.IN_STEP, "",
        BIDS, ASKS, BIDS[:1], (("43250.51000000", "0"),),
        "42960.10000000", None, START_US, START_US,
    )  # fmt: skip
    return msgspec.structs.replace(view, **changes)


def test_a_book_is_what_it_was_text_by_text() -> None:
    """Its levels are written as the exchange writes them, best first."""
    read = read_publication(told(a_view(None)), NOW_US)
    assert read == BookStep(
        "BTCUSDT", 20, 0, 8, None, 99, BookState.IN_STEP, "",
        BIDS, ASKS, "42960.10000000", None, START_US, NOW_US,
    )  # fmt: skip


def test_what_changed_in_a_book_is_what_changed() -> None:
    """A quantity of zero deletes; its state and reason come along."""
    view = a_view(7, state=BookState.STALE, reason="a gap")
    read = read_publication(told(view), NOW_US)
    assert isinstance(read, BookStep)
    assert (read.previous, read.state, read.reason) == (7, BookState.STALE, "a gap")
    assert read.bids == BIDS[:1]
    assert [(price, Decimal(quantity)) for price, quantity in read.asks] == [
        ("43250.51000000", Decimal(0))
    ]


@given(
    st.lists(
        st.tuples(
            st.decimals(0, 10**6, places=8, allow_nan=False).map(lambda n: f"{n:.8f}"),
            st.decimals(0, 10**6, places=8, allow_nan=False).map(lambda n: f"{n:.8f}"),
        ),
        max_size=6,
        unique_by=lambda level: level[0],
    )
)
def test_levels_are_exact_whatever_their_digits(levels: list[Level]) -> None:
    """Prices need not ascend, and numbers of each length come back as the same number."""
    read = read_publication(told(a_view(None, bids=tuple(levels))), NOW_US)
    assert isinstance(read, BookStep)
    assert [tuple(map(Decimal, level)) for level in read.bids] == [
        tuple(map(Decimal, level)) for level in levels
    ]


def test_numbers_that_are_too_long_are_text() -> None:
    """Digits that need more than 64 bits are kept, too."""
    assert exact(pb.Decimal(text="123456789012345678901.5")) == Decimal("123456789012345678901.5")
    assert str(exact(pb.Decimal(digits=4325050, scale=2))) == "43250.50"


@pytest.mark.parametrize(
    "event",
    [
        a_candle(volume=Decimal("0.123456789012345678901")),
        a_trade(quantity=Decimal("0.123456789012345678901")),
        an_aggregate(id=-5),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_does_not_fit_its_fields_is_read_from_its_text(event: Candle | Trade) -> None:
    """Nothing is lost that the other hub said."""
    publication = told(event)
    publication = pb.Publication(symbol=event.symbol, extra=_json(publication))
    read = read_publication(publication, NOW_US)
    assert read is not None
    assert msgspec.structs.replace(read, event_us=0, received_us=0) == msgspec.structs.replace(
        event, event_us=0, received_us=0
    )


def _json(publication: pb.Publication) -> str:
    fields = decode_publication(publication.SerializeToString())
    return msgspec.json.Encoder(decimal_format="number").encode(fields).decode()


def test_kinds_that_are_not_known_are_passed_over() -> None:
    """A later hub may publish more."""
    assert read_publication(pb.Publication(symbol="BTCUSDT", extra='{"channel":"x"}'), 0) is None
    assert read_publication(pb.Publication(symbol="BTCUSDT", book_metrics={}), 0) is None


@pytest.mark.parametrize(
    "body",
    [
        {"book_snapshot": {"state": "dancing"}},
        {"book_snapshot": {"state": "stale", "bids": {"prices": [1], "quantities": []}}},
        {"trade": {"price": {"text": "much"}}},
        {"extra": '{"channel":"book"}'},
        {"extra": "no text of ours"},
    ],
)
def test_what_cannot_be_is_a_bad_frame(body: dict[str, object]) -> None:
    """It is named by its kind."""
    with pytest.raises(BadFrame, match=next(iter(body)).replace("extra", "text")):
        read_publication(pb.Publication(symbol="BTCUSDT", **body), 0)  # type: ignore[arg-type] # a field
