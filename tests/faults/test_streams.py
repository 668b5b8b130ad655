"""Whatever streams are followed: nothing is restarted for nothing, and what stalls is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from app.simulator.faults import Fault, Kind
from tests.faults.scenario import check_conduct, check_flawless, play
from tests.simulated.judge import SimulatedHub

SYMBOLS = ("BTCUSDT", "QTUMETH")


@pytest.mark.parametrize(
    ("streams", "has_candles", "has_book"),
    [
        pytest.param(("depth@100ms", "bookTicker"), False, True, id="the book alone"),
        pytest.param(("depth20@100ms",), False, False, id="a part of it alone"),
        pytest.param(("kline_1m", "kline_1h"), False, False, id="longer klines alone"),
        pytest.param(("kline_1s", "depth"), False, True, id="no trades"),
        pytest.param(("aggTrade", "kline_1s", "depth"), True, True, id="aggregates"),
        pytest.param(("trade", "depth@100ms"), True, True, id="no klines"),
        pytest.param(
            ("trade", "aggTrade", "kline_1s", "kline_1m", "depth@100ms", "depth5", "bookTicker"),
            True,
            True,
            id="many",
        ),
    ],
)
def test_any_streams_may_be_followed(
    tmp_path: Path, streams: Sequence[str], *, has_candles: bool, has_book: bool
):
    """Their connection is left alone while it is well, and replaced when it falls silent."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(60)
        assert [hub.status(symbol).reconnects for symbol in SYMBOLS] == [0, 0]
        books = hub.core.inbound.books
        assert [books.book(symbol) is not None for symbol in SYMBOLS] == [has_book, has_book]
        if has_candles:
            proved = SYMBOLS if "kline_1s" in streams else SYMBOLS[:1]  # the other trades rarely
            check_flawless(hub, proved, settled_s=15)
        else:
            assert [hub.status(symbol).candles for symbol in SYMBOLS] == [0, 0]
        hub.strike(Fault(kind=Kind.STALL, symbol="BTCUSDT", duration=40))
        await hub.pass_time(60)
        assert hub.status("BTCUSDT").reconnects > 0
        await hub.until_live()
        await hub.pass_time(10)
        assert hub.books.in_step(SYMBOLS) or not has_book
        assert hub.books.wrong == []
        check_conduct(hub)

    play(SYMBOLS, tmp_path, main, streams=streams)
