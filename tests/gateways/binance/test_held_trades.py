"""The newest trades of a symbol, without a hole."""

from __future__ import annotations

from app.gateways.binance.held_trades import TradeRun, consecutive
from tests.gateways.binance.exchange import START_US, trades_of

TRADES = trades_of(START_US, 60)


def run_of(trades, **said) -> TradeRun:
    """Return a run of these trades."""
    run = TradeRun(**said)
    for trade in trades:
        run.add(trade)
    return run


def test_the_newest_are_told_once_there_are_enough():
    """Fewer than were asked for are no answer."""
    run = run_of(TRADES[:20])
    assert run.newest(20) == TRADES[:20]
    assert run.newest(5) == TRADES[15:20]
    assert run.newest(21) is None


def test_a_hole_begins_a_new_run_and_what_is_older_changes_nothing():
    """Only what follows without a hole is held; a repaired trade that comes late is not taken."""
    run = run_of([*TRADES[:10], *TRADES[12:15], TRADES[11], TRADES[13]])
    assert (run.first_id, run.last) == (TRADES[12].id, TRADES[14])
    assert len(run) == 3


def test_ids_that_begin_anew_are_taken():
    """After a reset of the exchange a newer trade has a smaller id."""
    again = trades_of(START_US + 3_600_000_000, 5, first_id=1)
    assert run_of([*TRADES[:10], *again]).newest(len(again)) == again


def test_a_run_is_bounded():
    """The oldest go out, and the rest stays as it was."""
    run = run_of(TRADES, most=10)
    assert len(run) < 20
    assert run.newest(10) == TRADES[-10:]


def test_what_the_exchange_told_joins_in_front():
    """Its newest trades reach the run, or begin one; a hole between is left alone."""
    run = run_of(TRADES[20:30])
    run.join(TRADES[5:25])
    assert run.newest(25) == TRADES[5:30]
    apart = run_of(TRADES[20:30])
    apart.join(TRADES[5:18])
    assert apart.first_id == TRADES[20].id
    behind = run_of(TRADES[5:10])
    behind.join(TRADES[8:30])
    assert behind.newest(22) == TRADES[8:30]
    empty = TradeRun()
    empty.join([])
    empty.join(TRADES[:4])
    assert empty.newest(4) == TRADES[:4]


def test_by_id_and_by_time():
    """A page is told if all of it is held; times from before the run are not known."""
    run = run_of(TRADES[10:40])
    assert run.from_id(TRADES[12].id, 5) == TRADES[12:17]
    assert run.from_id(TRADES[38].id, 5) is None
    assert run.from_id(TRADES[9].id, 5) is None
    second_us = TRADES[20].time_us // 1_000_000 * 1_000_000
    assert run.since(second_us) == [t for t in TRADES[10:40] if t.time_us >= second_us]
    assert run.since(TRADES[10].time_us) is None
    assert TradeRun().since(0) is None


def test_only_trades_that_follow_one_another_are_consecutive():
    """A hole in what the exchange told is one."""
    assert consecutive([*TRADES[:5], *TRADES[7:9]]) == TRADES[7:9]
    assert consecutive(TRADES) == TRADES
    assert list(consecutive([])) == []
