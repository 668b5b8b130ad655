"""Replaying recordings."""

from __future__ import annotations

import csv
import random
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.errors import BadCapture
from app.market.book import decimals
from app.market.events import SECOND_US, AggTrade, BookTicker, DepthUpdate, Kline, MiniTicker, Trade
from app.simulator.market import Happening
from app.simulator.recorded import RecordedMarket
from tests.simulator.traded import by_hand

BEGIN_MS = 1_700_000_000_000


def line(at_ms: int, data: str, stream: str = "btcusdt@trade") -> str:
    """Return a recorded frame, received `at_ms` after the beginning."""
    return f'{(BEGIN_MS + at_ms) * 1_000_000} {{"stream":"{stream}","data":{data}}}'


def trade(at_ms: int, number: int, price: str = "10.50", lag_ms: int = 5, symbol: str = "BTCUSDT"):
    """Return a recorded trade matched `at_ms` after the beginning."""
    stamp = BEGIN_MS + at_ms
    return line(
        at_ms + lag_ms,
        f'{{"e":"trade","E":{stamp},"s":"{symbol}","t":{number},"p":"{price}","q":"2.00000000",'
        f'"T":{stamp},"m":false,"M":true}}',
        f"{symbol.lower()}@trade",
    )


def a_second(at_ms: int) -> str:
    """Return a recorded kline of the second that begins `at_ms` after the beginning."""
    open_ms = BEGIN_MS + at_ms
    return line(
        at_ms + 1_010,
        f'{{"e":"kline","E":{open_ms + 1_004},"s":"BTCUSDT",'
        f'"k":{{"t":{open_ms},"T":{open_ms + 999},'
        '"s":"BTCUSDT","i":"1s","f":2,"L":2,"o":"10.50000000","c":"10.50000000",'
        '"h":"10.50000000","l":"10.50000000","v":"2.00000000","n":1,"x":true,'
        '"q":"21.00000000","V":"2.00000000","Q":"21.00000000","B":"0"}}',
        "btcusdt@kline_1s",
    )


def recorded(folder: Path, *lines: str, name: str = "capture") -> Path:
    """Return the path of a recording of these lines."""
    path = folder / name
    path.write_text("".join(text + "\n" for text in lines))
    return path


def play(market: RecordedMarket) -> list[Happening]:
    """Return everything of a recording."""
    return list(market.take(1 << 62, 1 << 30))


def of(happenings: list[Happening], kind: type, symbol: str) -> list[Any]:
    """Return the events of one kind of one symbol."""
    return [h.event for h in happenings if isinstance(h.event, kind) and h.symbol == symbol]


@pytest.fixture(scope="module")
def both(recordings):
    """Return the two files of 2024 played to the end, as (market, happenings)."""
    market = RecordedMarket(
        [recordings / f"spot_{name}usdt_20240808.gz" for name in ("btc", "eth")]
    )
    return market, play(market)


@pytest.fixture(scope="module")
def mixed(recordings):
    """Return the file of 2021 played to the end, as (market, happenings)."""
    market = RecordedMarket([recordings / "BINANCE-b38f7c.0.gz"])
    return market, play(market)


def test_every_real_trade_is_published_in_order(both):
    """9,757 and 6,106 trades come with consecutive ids, at their own pace, both files as one."""
    market, happenings = both
    for symbol, count in (("BTCUSDT", 9_757), ("ETHUSDT", 6_106)):
        ids = [event.id for event in of(happenings, Trade, symbol)]
        assert ids == list(range(ids[0], ids[0] + count))
    assert all(a.at_us <= b.at_us for a, b in pairwise(happenings))
    assert market.next_us() is None
    sent = frozenset({"trade", "bookTicker", "depth@100ms", "kline_1s"})
    assert market.streams() == {"BTCUSDT": sent, "ETHUSDT": sent}


def rebuilt(market: RecordedMarket) -> tuple[dict[str, list[int]], Counter[tuple[str, bool]]]:
    """Play a recording; return every diff's last id, and how often tops and tickers agreed.

    At the end of each diff the top of what REST answers is compared with the `bookTicker` that
    names the same update.
    """
    ids: dict[str, list[int]] = {}
    tickers: dict[tuple[str, int], BookTicker] = {}
    agreed = Counter[tuple[str, bool]]()
    while taken := market.take(1 << 62, 1):
        event = taken[0].event
        if isinstance(event, BookTicker):
            tickers[event.symbol, event.update_id] = event
        elif isinstance(event, DepthUpdate):
            symbol = event.symbol
            ids.setdefault(symbol, []).append(event.last_update_id)
            ticker = tickers.get((symbol, event.last_update_id))
            answer = market.depth(symbol, limit=1) if ticker is not None else None
            if (
                ticker is not None
                and answer is not None
                and answer.last_update_id == ids[symbol][-1]
            ):
                bid, ask = decimals((*answer.bids, *answer.asks))
                best = (
                    ticker.bid_price,
                    ticker.bid_quantity,
                    ticker.ask_price,
                    ticker.ask_quantity,
                )
                agreed[symbol, (*bid, *ask) == best] += 1
    return ids, agreed


def test_every_diff_is_served_once_and_the_book_is_what_the_exchange_said(recordings):
    """Of 2024: one snapshot each; every top that a bookTicker names is the same, 564 and 577."""
    names = [f"spot_{name}usdt_20240808.gz" for name in ("btc", "eth")]
    market = RecordedMarket([recordings / name for name in names])
    ids, agreed = rebuilt(market)
    assert {symbol: len(found) for symbol, found in ids.items()} == {
        "BTCUSDT": 3_451,
        "ETHUSDT": 3_434,
    }
    assert all(found == sorted(set(found)) for found in ids.values())
    assert agreed == {("BTCUSDT", True): 564, ("ETHUSDT", True): 577}
    assert market.status()["books"] == ["BTCUSDT", "ETHUSDT"]
    assert market.status()["gaps"] == 0


def test_ten_books_are_rebuilt_together(recordings):
    """Of 2021: ten snapshots, some ahead of their stream, some behind; no top differs."""
    market = RecordedMarket([recordings / "BINANCE-b38f7c.0.gz"])
    assert all(market.expects_book(symbol) for symbol in market.symbols())
    ids, agreed = rebuilt(market)
    assert len(ids) == len(market.status()["books"]) == 10
    assert not any(market.expects_book(symbol) for symbol in market.symbols())
    assert sum(agreed.values()) > 1_150
    assert all(same for _, same in agreed)


def test_rest_tells_of_the_rebuilt_book_now_and_earlier(both):
    """As deep as its snapshot reached; the book of each of the last diffs is known too."""
    market, happenings = both
    diffs = [h for h in happenings if isinstance(h.event, DepthUpdate) and h.symbol == "BTCUSDT"]
    answer = market.depth("BTCUSDT", limit=1_000)
    assert answer.last_update_id == diffs[-1].event.last_update_id
    assert len(answer.bids) == 1_000
    assert market.book_at("BTCUSDT", answer.last_update_id, limit=1_000) == (
        answer.bids,
        answer.asks,
    )
    then = diffs[-50].event
    earlier = market.as_of(then.event_us).depth("BTCUSDT", limit=30)
    assert earlier.last_update_id == then.last_update_id
    assert market.book_at("BTCUSDT", then.last_update_id, limit=30) == (earlier.bids, earlier.asks)
    with pytest.raises(LookupError):
        market.book_at("BTCUSDT", then.last_update_id + 1, limit=30)
    with pytest.raises(LookupError):
        market.book_at("NOTHING", 1, limit=30)


def test_diffs_that_another_file_repeats_are_served_once(tmp_path):
    """And applied once, by their last id."""
    first, last = (
        line(
            at,
            f'{{"e":"depthUpdate","E":{BEGIN_MS + at},"s":"BTCUSDT","U":{at},"u":{at},'
            f'"b":[["10.0","{at}.0"]],"a":[]}}',
            "btcusdt@depth@100ms",
        )
        for at in (1, 2)
    )
    paths = [recorded(tmp_path, first, last, name=name) for name in ("one", "other")]
    market = RecordedMarket(paths)
    assert [diff.last_update_id for diff in of(play(market), DepthUpdate, "BTCUSDT")] == [1, 2]
    assert market.duplicates == 2


def test_a_snapshot_belongs_to_the_file_s_symbol(tmp_path):
    """Of several symbols in bare frames nobody can tell whose it is; other answers are no books."""
    depth = '{{"e":"depthUpdate","E":{at},"s":"{s}","U":1,"u":2,"b":[],"a":[["11.0","1.0"]]}}'
    answers = [
        f"{(BEGIN_MS + 50) * 1_000_000} {body}"
        for body in ('{"serverTime":1}', '{"lastUpdateId":2,"bids":[["10.25","1.5"]],"asks":[]}')
    ]
    one = line(9, depth.format(at=BEGIN_MS, s="BTCUSDT"), "btcusdt@depth")
    two = line(9, depth.format(at=BEGIN_MS, s="ETHUSDT"), "ethusdt@depth@100ms")
    alone = RecordedMarket([recorded(tmp_path, one, *answers)])
    assert alone.streams() == {"BTCUSDT": frozenset({"depth", "kline_1s"})}
    assert alone.symbols()["BTCUSDT"].tick_size == Decimal("0.01")
    assert alone.depth("BTCUSDT", limit=5) is None
    assert [h.stream for h in play(alone)] == ["btcusdt@depth"]
    book = alone.depth("BTCUSDT", limit=5)
    assert book is not None
    assert book.bids == (("10.25", "1.5"),)
    both = RecordedMarket([recorded(tmp_path, one, two, *answers)])
    assert not both.expects_book("BTCUSDT")
    play(both)
    assert both.depth("BTCUSDT", limit=5) is None


def test_the_made_klines_sum_up_to_the_exchange_s_own_minutes(both, recordings):
    """Ten complete minutes of 2024 equal the exchange's candles to the last digit."""
    market, happenings = both
    with (recordings / "klines_1m_spot_20240808.csv").open() as opened:
        rows = {(row["symbol"], int(row["open_time_ms"])): row for row in csv.DictReader(opened)}
    compared = 0
    for symbol in ("BTCUSDT", "ETHUSDT"):
        minutes = market.klines(symbol, "1m", start_us=None, end_us=None, offset_us=0, limit=1000)
        for kline in minutes:
            row = rows.get((symbol, kline.open_time_us // 1000))
            if row is None or not kline.closed:
                continue
            compared += 1
            for column in ("open", "high", "low", "close", "volume"):
                assert getattr(kline, column) == Decimal(row[column])
    assert compared == 10
    for kline in of(happenings, Kline, "BTCUSDT"):
        assert kline.trades == (
            kline.last_trade_id - kline.first_trade_id + 1 if kline.trades else 0
        )


def test_one_kline_a_second_from_the_first_whole_second_on(both):
    """No kline is made for the second in which a recording begins, one for each that follows."""
    _, happenings = both
    for symbol in ("BTCUSDT", "ETHUSDT"):
        klines = of(happenings, Kline, symbol)
        assert all(b.open_time_us == a.open_time_us + SECOND_US for a, b in pairwise(klines))
        first_trade = of(happenings, Trade, symbol)[0]
        assert klines[0].open_time_us // SECOND_US == first_trade.time_us // SECOND_US + 1
        assert klines[-1].close_time_us < of(happenings, Trade, symbol)[-1].time_us + SECOND_US
        assert len(klines) > 340
        assert klines[0].first_trade_id > first_trade.id


def test_made_klines_come_when_the_exchange_would_send_them(both):
    """A kline is sent 2 to 24 ms after its second, in the time of its own file."""
    _, happenings = both
    for happening in happenings:
        if isinstance(happening.event, Kline):
            assert happening.event.event_us is not None
            lag_us = happening.event.event_us - happening.event.close_time_us - 1
            assert 2_000 <= lag_us <= 24_000
            assert 0 <= happening.at_us - happening.event.event_us < SECOND_US


def test_every_real_aggregate_trade_is_published_in_order(mixed):
    """The recording of 2021 has only aggTrade: ids and ranges follow each other."""
    market, happenings = mixed
    counts = {"DENTUSDT": 716, "ZILUSDT": 331, "MANAUSDT": 98, "BTCAUD": 20, "QTUMETH": 3}
    for symbol, count in counts.items():
        aggs = of(happenings, AggTrade, symbol)
        assert len(aggs) == count
        assert all(b.first_trade_id == a.last_trade_id + 1 for a, b in pairwise(aggs))
    streams = market.streams()
    assert len(streams) == 10
    assert all("aggTrade" in sent for sent in streams.values()), "silent ones have their file's"
    assert not any("trade" in sent for sent in streams.values())


def test_candles_of_aggregate_trades_count_by_id_ranges(mixed):
    """n, f and L of a made kline come from [f, l] of its aggregate trades."""
    _, happenings = mixed
    aggs = of(happenings, AggTrade, "DENTUSDT")
    klines = of(happenings, Kline, "DENTUSDT")
    assert len(klines) > 100
    for kline in klines:
        second = kline.open_time_us // SECOND_US
        inside = [agg for agg in aggs if agg.time_us // SECOND_US == second]
        assert kline.trades == sum(a.last_trade_id - a.first_trade_id + 1 for a in inside)
        assert kline.volume == sum(a.quantity for a in inside)
        assert kline.first_trade_id == (inside[0].first_trade_id if inside else -1)
        assert kline.last_trade_id == (inside[-1].last_trade_id if inside else -1)


def test_a_symbol_that_never_trades_has_no_klines(mixed):
    """Nothing is invented where no price is known; its quotes are replayed all the same."""
    market, happenings = mixed
    assert of(happenings, Kline, "NEOUSDC") == []
    assert len(of(happenings, BookTicker, "NEOUSDC")) == 508
    assert market.symbols()["NEOUSDC"].quote_asset == "USDC"


def test_steps_are_inferred_from_the_digits_seen(both):
    """The most decimals of the file become tick and step."""
    info = both[0].symbols()["BTCUSDT"]
    assert (info.tick_size, info.step_size) == (Decimal("0.01"), Decimal("0.00001"))
    assert (info.base_asset, info.quote_asset) == ("BTC", "USDT")


def test_answers_hold_what_was_played_and_nothing_before(tmp_path):
    """Before the first frame everything is empty; afterwards trades are found by id."""
    path = recorded(tmp_path, *(trade(100 * n, 50 + n) for n in range(30)))
    market = RecordedMarket([path])
    assert market.trades("BTCUSDT", from_id=None, limit=10) == []
    market.take(market.starts_us + 1_000_000, 1000)
    held = market.trades("BTCUSDT", from_id=None, limit=1000)
    assert [t.id for t in held] == list(range(50, 50 + len(held)))
    assert 8 < len(held) < 13
    assert [t.id for t in market.trades("BTCUSDT", from_id=52, limit=2)] == [52, 53]
    assert [t.id for t in market.trades("BTCUSDT", from_id=1, limit=1)] == [50]
    assert market.agg_trades("BTCUSDT", from_id=None, start_us=None, end_us=None, limit=10) == []


def test_an_earlier_recording_is_as_it_was(tmp_path):
    """Trades and bars hold what the exchange had sent by then."""
    lines = [trade(100 * number, number) for number in range(1, 50)]
    market = RecordedMarket([recorded(tmp_path, *lines)])
    asked: dict[str, Any] = {"start_us": None, "end_us": None, "offset_us": 0, "limit": 9}
    until_us = BEGIN_MS * 1000 + 3_550_000
    market.take(until_us, 1000)
    before = (
        market.trades("BTCUSDT", from_id=None, limit=9),
        market.klines("BTCUSDT", "1s", **asked),
    )
    play(market)
    earlier = market.as_of(until_us)
    assert earlier.trades("BTCUSDT", from_id=None, limit=9) == before[0]
    assert earlier.klines("BTCUSDT", "1s", **asked) == before[1]
    assert earlier.trades("BTCUSDT", from_id=36, limit=9) == []
    assert market.trades("BTCUSDT", from_id=None, limit=1)[-1].id == 49


def test_only_wholly_known_bars_are_answered(tmp_path):
    """Neither the first, partial second nor a minute that begins before the file has a row."""
    path = recorded(tmp_path, *(trade(500 + 400 * n, 50 + n) for n in range(10)))
    market = RecordedMarket([path])
    play(market)
    ask: Any = {"start_us": None, "end_us": None, "offset_us": 0, "limit": 100}
    rows = market.klines("BTCUSDT", "1s", **ask)
    opens = [(kline.open_time_us // 1000 - BEGIN_MS) // 1000 for kline in rows]
    assert opens == [1, 2, 3, 4]
    assert [kline.closed for kline in rows] == [True, True, True, False]
    assert sum(kline.trades for kline in rows) == 8
    late = {**ask, "start_us": (BEGIN_MS + 2_001) * 1000}
    assert [k.open_time_us // 1000 - BEGIN_MS for k in market.klines("BTCUSDT", "1s", **late)] == [
        3_000,
        4_000,
    ]
    assert market.klines("BTCUSDT", "1h", **ask) == []


def test_empty_seconds_carry_the_close(tmp_path):
    """A second without a trade inside the recording has a kline with ids -1."""
    lines = [trade(100, 1, "10.00"), trade(1_200, 2, "11.00"), trade(4_500, 3), trade(5_100, 4)]
    klines = of(play(RecordedMarket([recorded(tmp_path, *lines)])), Kline, "BTCUSDT")
    assert [kline.trades for kline in klines] == [1, 0, 0, 1]
    assert {klines[1].open, klines[1].low, klines[2].close} == {Decimal("11.00")}
    assert (klines[1].first_trade_id, klines[1].last_trade_id) == (-1, -1)


def test_no_kline_is_made_across_missing_ids(tmp_path):
    """Where the recording misses trades, the sums of the seconds around are not known."""
    lines = [trade(100, 1), trade(1_200, 2), trade(2_200, 3), trade(4_500, 9), trade(5_100, 10)]
    lines.append(trade(6_100, 11))
    klines = of(play(RecordedMarket([recorded(tmp_path, *lines)])), Kline, "BTCUSDT")
    assert [kline.open_time_us // 1000 - BEGIN_MS for kline in klines] == [1_000, 5_000]


def test_overlapping_files_repeat_nothing(tmp_path):
    """Two recordings of the same minutes are one: each id is published and counted once."""
    lines = [trade(300 * n, 50 + n) for n in range(20)]
    early = recorded(tmp_path, *lines[:14], name="early")
    late = recorded(tmp_path, *lines[7:], name="late")
    market = RecordedMarket([late, early])
    happenings = play(market)
    assert [t.id for t in of(happenings, Trade, "BTCUSDT")] == list(range(50, 70))
    assert market.duplicates == 7
    klines = of(happenings, Kline, "BTCUSDT")
    assert all(b.open_time_us == a.open_time_us + SECOND_US for a, b in pairwise(klines))
    assert sum(kline.trades for kline in klines) == 17


def test_recorded_klines_are_not_made_again(tmp_path):
    """A recording that holds kline_1s is replayed as it is, and answers with those."""
    open_ms = BEGIN_MS + 1_000
    lines = [
        trade(100, 1),
        trade(1_100, 2),
        a_second(1_000),
        trade(3_900, 3),
    ]
    market = RecordedMarket([recorded(tmp_path, *lines)])
    klines = of(play(market), Kline, "BTCUSDT")
    assert [k.first_trade_id for k in klines] == [2]
    ask: Any = {"start_us": None, "end_us": (open_ms + 999) * 1000, "offset_us": 0, "limit": 5}
    assert [k.volume for k in market.klines("BTCUSDT", "1s", **ask)] == [Decimal(2)]


def test_a_file_of_a_late_recorder_gets_its_klines_late(tmp_path):
    """Each file's klines are late by that file's own smallest (receive - E)."""
    near = recorded(tmp_path, *(trade(400 * n, n, lag_ms=5) for n in range(1, 20)), name="near")
    far = recorded(
        tmp_path,
        *(trade(400 * n, n, lag_ms=705, symbol="ETHUSDT") for n in range(1, 20)),
        name="far",
    )
    delays: dict[str, set[int]] = {"BTCUSDT": set(), "ETHUSDT": set()}
    for happening in play(RecordedMarket([near, far])):
        if isinstance(happening.event, Kline) and happening.event.event_us:
            delays[happening.symbol].add(happening.at_us - happening.event.event_us)
    assert delays == {"BTCUSDT": {0}, "ETHUSDT": {700_000}}


def test_bad_frames_are_counted_and_passed_over(tmp_path):
    """A frame that the protocol does not allow is no reason to stop."""
    path = recorded(tmp_path, trade(0, 1), line(5, '{"e":"trade","E":"x"}'), trade(50, 2))
    market = RecordedMarket([path])
    assert len(of(play(market), Trade, "BTCUSDT")) == 2
    assert market.status()["bad_frames"] == 1


def test_a_file_without_frames_is_refused(tmp_path):
    """An empty recording has no time, so it cannot be played."""
    with pytest.raises(BadCapture, match="no frame"):
        RecordedMarket([recorded(tmp_path)])


@pytest.mark.parametrize("files", ["both", "mixed"])
def test_statistics_are_the_sum_of_what_was_played(files, request):
    """Whatever the window, they are what the recorded trades in it add up to, one by one."""
    market, happenings = request.getfixturevalue(files)
    traded = [h.event for h in happenings if isinstance(h.event, Trade | AggTrade)]
    symbol = traded[0].symbol
    trades = [event for event in traded if event.symbol == symbol]
    assert len(trades) > 100
    begin, end = trades[0].time_us, trades[-1].time_us
    chance = random.Random(3)
    windows = [(begin - 86_400 * SECOND_US, end), (end - 60 * SECOND_US, end), (end, end + 1)]
    while len(windows) < 40:
        step = chance.choice([1_000, SECOND_US, 60 * SECOND_US])
        first, last = sorted(chance.randrange(begin, end) // step * step for _ in range(2))
        windows.append((first, last))
    for start_us, end_us in windows:
        expected = by_hand(trades, start_us=start_us, end_us=end_us)
        assert market.statistics(symbol, start_us=start_us, end_us=end_us) == expected
    middle = (begin + end) // 2
    known = [trade for trade in trades if trade.event_us <= middle]
    for start_us, end_us in windows:
        expected = by_hand(known, start_us=start_us, end_us=end_us)
        earlier = market.as_of(middle).statistics(symbol, start_us=start_us, end_us=end_us)
        assert earlier == expected


def test_statistics_of_a_day_are_added_up_by_hours(tmp_path):
    """Trades of 26 hours, a minute apart: any window is right, and old trades need not be held."""
    lines = [trade(number * 60_000, number + 1, f"{10 + number % 7}.50") for number in range(1_560)]
    # With one kline of its own, no others are made of the recording.
    market = RecordedMarket([recorded(tmp_path, *lines, a_second(93_600_000))])
    trades = of(play(market), Trade, "BTCUSDT")
    end = trades[-1].time_us
    for hours in (1, 4, 24, 25):
        window = {"start_us": end - hours * 3_600 * SECOND_US - 1, "end_us": end}
        assert market.statistics("BTCUSDT", **window) == by_hand(trades, **window)
    market._trades["BTCUSDT"] = trades[-100:]
    whole = (BEGIN_MS // 60_000 + 120) * 60 * SECOND_US  # a minute's beginning
    window = {"start_us": whole, "end_us": end}
    assert market.statistics("BTCUSDT", **window) == by_hand(trades, **window)


def test_what_was_not_played_is_in_no_statistics(tmp_path):
    """They grow as the recording is played, and there are none before its first trade."""
    market = RecordedMarket([recorded(tmp_path, *(trade(n * 100, n + 1) for n in range(50)))])
    window = {"start_us": 0, "end_us": 1 << 60}
    assert market.statistics("BTCUSDT", **window) is None
    for count in range(1, 40):
        while len(market.trades("BTCUSDT", from_id=None, limit=1000)) < count:
            market.take(1 << 62, 1)
        found = market.statistics("BTCUSDT", **window)
        assert found is not None
        assert found.trades == count


MINI = (
    '{{"e":"24hrMiniTicker","E":{at},"s":"BTCUSDT","c":"10.50000000","o":"9.00000000",'
    '"h":"11.00000000","l":"8.00000000","v":"5.00000000","q":"50.00000000"}}'
)


def test_recorded_tickers_are_replayed(tmp_path):
    """A symbol's own come as they were recorded, with and without an envelope; those of all do not.

    A recording of bare frames has them too.
    """
    mini = MINI.format(at=BEGIN_MS + 10)
    lines = [
        trade(0, 1),
        line(15, mini, "btcusdt@miniTicker"),
        line(16, f"[{mini}]", "!miniTicker@arr"),
        f"{(BEGIN_MS + 17) * 1_000_000} {mini}",
    ]
    market = RecordedMarket([recorded(tmp_path, *lines)])
    happenings = play(market)
    tickers = [h for h in happenings if isinstance(h.event, MiniTicker)]
    assert [h.stream for h in tickers] == ["btcusdt@miniTicker"] * 2
    assert market.sends("BTCUSDT", "miniTicker")
    assert not market.sends("BTCUSDT", "ticker")
    assert market.status()["bad_frames"] == 0
