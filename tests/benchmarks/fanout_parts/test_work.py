"""Tests of `benchmarks.fanout_parts.work` and of the file that payloads travel in."""

from __future__ import annotations

import json

from benchmarks.fanout_parts.candidates import OURS
from benchmarks.fanout_parts.measuring import Load, plan_of
from benchmarks.fanout_parts.payloads import read_payloads, read_symbols
from benchmarks.fanout_parts.work import EPOCH, Work, read_work, texts, write_folder

WORK = Work(symbols=20, rounds=3, start_s=1_762_000_000)


def test_who_reads_and_writes_a_text_gets_the_same_bytes():
    """Peers that send objects send what the others send."""
    for text in (text for each in texts(WORK) for text in each):
        assert json.dumps(json.loads(text), separators=(",", ":")).encode() == text


def test_texts_are_numbered_as_a_bus_numbers_them():
    """Round after round, symbol after symbol, with a second from round to round."""
    found = [[json.loads(text) for text in each] for each in texts(WORK)]
    flat = [candle for each in found for candle in each]
    assert [candle["sequence"] for candle in flat] == list(range(1, 61))
    assert {candle["epoch"] for candle in flat} == {EPOCH}
    assert [candle["symbol"] for candle in found[2]] == WORK.names
    assert [each[0]["open_time"] - found[0][0]["open_time"] for each in found] == [0, 1000, 2000]


def test_a_folder_is_read_as_it_was_written(tmp_path):
    """Every program of a run works on the same candles."""
    write_folder(tmp_path, WORK, [("/", range(20))])
    assert read_payloads(tmp_path / "texts.bin") == texts(WORK)
    assert read_symbols(tmp_path) == WORK.names
    assert read_work(tmp_path) == WORK


def test_each_client_asks_for_the_symbols_that_are_expected_for_it():
    """The URL names what the numbers stand for, in the same order."""
    names = Work(symbols=200, rounds=1, start_s=0).names
    plan = plan_of(Load(50, 200, own=True), OURS, names)
    assert len(plan) == 50
    for target, wanted in plan:
        assert target == "/?symbols=" + ",".join(names[number] for number in wanted)
        assert list(wanted) == sorted(set(wanted))
        assert len(wanted) == 10
