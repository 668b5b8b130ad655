"""Tests of app.feed.book_keeper."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.errors import ExchangeUnavailable
from app.feed.book_keeper import BUFFERED, HOLD_MOST, BookKeeper, Wish
from app.feed.feed_clock import FeedClock
from app.market.events import BookState, DepthUpdate, Trade
from app.ports import BOOK_CHANGES
from tests.fakes import FakeBus, ManualClock, a_trade
from tests.feed.books import Follower, TrueBook
from tests.feed.fakes import LongestWaits

IN_STEP, STALE, SYNCING = BookState.IN_STEP, BookState.STALE, BookState.SYNCING


class Scene:
    """A keeper, the book that it follows, and whoever follows the keeper."""

    def __init__(self, *, depth: int = 30, seed: int = 1, number: int = 0):
        self.clock = ManualClock()
        self.truth = TrueBook(seed=seed)
        self.bus = FakeBus()
        self.follower = Follower(self.truth)
        self.bus.subscribe(BOOK_CHANGES, lambda publication: self.follower.take(publication.event))
        self.crashes: list[str] = []
        self.keeper = BookKeeper(
            "BTCUSDT",
            bus=self.bus,
            clock=self.clock,
            feed_clock=FeedClock(self.clock),
            random=LongestWaits(),
            depth=depth,
            number=number,
            crashed=lambda part, _error: self.crashes.append(part),
        )

    def take(self, *updates: DepthUpdate) -> None:
        """Let events come, 100 ms apart."""
        for update in updates:
            self.clock.step(0.1)
            self.keeper.take(update)

    def go_on(self, count: int = 5) -> None:
        """Let the book change, and all of it come."""
        self.take(*self.truth.diffs(count))

    def seconds(self, count: float, trade: Trade | None = None) -> None:
        """Let seconds pass as the feed does."""
        for _ in range(round(count)):
            self.clock.step(1)
            self.keeper.look(trade)

    def sync(self) -> None:
        """Give it the snapshot that it wants."""
        for _ in range(100):
            if self.keeper.wish() is Wish.RESYNC:
                break
            self.clock.step(0.1)
            self.keeper.look()
        self.keeper.answer(self.truth.snapshot(self.keeper.depth), self.keeper.ask())

    def told(self) -> tuple[BookState, str]:
        """Return what the newest change says of the state."""
        return self.follower.last.state, self.follower.last.reason

    def report(self, *names: str) -> tuple[object, ...]:
        """Return some numbers of its report."""
        report = self.keeper.report()
        return tuple(report[name] for name in names)


def in_step(**options: int) -> Scene:
    """Return a scene whose book is in step."""
    scene = Scene(**options)
    scene.keeper.restored()
    scene.go_on(3)
    scene.sync()
    scene.go_on(3)
    assert scene.keeper.state is IN_STEP
    return scene


def test_events_wait_for_a_snapshot_and_are_joined_to_it():
    """The first thing that is told is that nothing is known yet; then the book, whole."""
    scene = Scene()
    assert scene.keeper.wish() is None
    scene.keeper.restored()
    assert (scene.told()[0], scene.keeper.book) == (SYNCING, None)
    assert scene.keeper.wish() is None, "no event has come yet"
    scene.go_on(3)
    assert scene.keeper.wish() is Wish.RESYNC
    asked = scene.keeper.ask()
    assert scene.keeper.wish() is None
    snapshot = scene.truth.snapshot()
    scene.go_on(3)
    scene.keeper.answer(snapshot, asked)
    assert [change.state for change in scene.follower.changes] == [SYNCING, IN_STEP]
    assert scene.follower.last.whole
    assert scene.follower.last.update_id == scene.truth.update_id
    scene.go_on(5)
    assert scene.follower.in_step == 6
    assert not any(change.whole for change in scene.follower.changes[2:])
    assert scene.report("resyncs", "updates", "gaps") == (1, 5, 0)


@pytest.mark.parametrize("back", range(5))
def test_a_snapshot_may_be_of_the_middle_of_an_event(back: int):
    """Its id lies within an event, or on its very end."""
    scene = Scene()
    scene.keeper.restored()
    scene.go_on(4)
    middle = scene.truth.update_id - back
    scene.keeper.answer(scene.truth.snapshot(update_id=middle), scene.keeper.ask())
    assert (scene.keeper.state, scene.follower.last.update_id) == (IN_STEP, scene.truth.update_id)
    scene.go_on(2)
    assert scene.report("gaps", "duplicates") == (0, 0)


def test_a_snapshot_that_is_older_than_the_stream_is_asked_for_again_after_a_pause():
    """Ever longer ones, and it is never joined."""
    scene = Scene()
    old = scene.truth.snapshot()
    scene.truth.diffs(1)  # nobody heard it
    scene.keeper.restored()
    scene.go_on(3)
    waits = []
    for _ in range(4):
        scene.keeper.answer(old, scene.keeper.ask())
        assert scene.keeper.wish() is None
        waited = 0
        while scene.keeper.wish() is None:
            scene.clock.step(0.125)
            waited += 1
        waits.append(waited * 0.125)
    assert waits == [0.5, 1, 2, 4]
    assert (scene.keeper.state, scene.report("snapshots_too_old")) == (SYNCING, (4,))
    scene.sync()
    assert scene.keeper.state is IN_STEP


def test_a_snapshot_that_cannot_be_had_is_asked_for_again_later():
    """Each failure is counted; events go on waiting."""
    scene = Scene()
    scene.keeper.restored()
    scene.go_on(3)
    scene.keeper.fail(ExchangeUnavailable("no answer"), scene.keeper.ask())
    assert scene.keeper.wish() is None
    scene.clock.step(1.1)
    assert scene.keeper.wish() is Wish.RESYNC
    scene.sync()
    assert (scene.keeper.state, scene.report("snapshots_failed")) == (IN_STEP, (1,))


def test_a_book_that_does_not_change_is_in_step_after_some_silence():
    """No event may come for long; the snapshot is asked for once the stream has been silent."""
    scene = Scene()
    scene.keeper.restored()
    scene.seconds(4)
    assert scene.keeper.wish() is None
    scene.seconds(2)
    scene.sync()
    assert scene.keeper.state is IN_STEP
    scene.seconds(600)
    scene.go_on(3)
    assert (scene.follower.states, scene.report("gaps")) == ([SYNCING, IN_STEP], (0,))


def test_repeated_events_are_ignored_and_counted():
    """Two connections bring each of them twice while one replaces the other."""
    scene = in_step()
    updates = scene.truth.diffs(5)
    for update in updates:
        scene.take(update, update)
    scene.take(*updates)
    assert (scene.follower.states, scene.report("duplicates")) == ([SYNCING, IN_STEP], (10,))


def test_an_event_that_overlaps_what_is_held_is_applied():
    """Another connection may fold the same updates into other events."""
    scene = in_step()
    first = scene.truth.diffs(1)[0]
    second = scene.truth.diffs(1)[0]
    bids = {**dict(first.bids), **dict(second.bids)}
    asks = {**dict(first.asks), **dict(second.asks)}
    both = replace(
        second,
        first_update_id=first.first_update_id,
        bids=tuple(bids.items()),
        asks=tuple(asks.items()),
    )
    scene.take(first, both, second)
    assert (scene.told(), scene.report("duplicates")) == ((IN_STEP, ""), (1,))
    assert scene.follower.last.update_id == second.last_update_id


def test_events_that_come_too_early_wait_for_those_before():
    """Whatever their order, the book goes on in step."""
    scene = in_step()
    updates = scene.truth.diffs(6)
    scene.take(updates[2], updates[1], updates[5], updates[0])
    assert scene.follower.last.update_id == updates[2].last_update_id
    scene.take(updates[4], updates[3])
    assert scene.follower.last.update_id == updates[5].last_update_id
    assert scene.follower.states == [SYNCING, IN_STEP]
    assert scene.report("gaps", "reordered") == (0, 4)


def test_a_gap_makes_the_book_stale_until_another_snapshot():
    """After a second, in which nothing is published; the levels stay as they were."""
    scene = in_step()
    held, last = dict(scene.follower.bids), scene.follower.last
    scene.truth.diffs(1)
    scene.go_on(3)
    assert scene.follower.last is last
    scene.seconds(1)
    first = last.update_id + 1
    assert scene.told() == (STALE, f"updates {first} to {first + 2} are missing")
    assert (scene.follower.last.update_id, scene.follower.bids) == (last.update_id, held)
    assert (scene.keeper.wish(), scene.report("gaps")) == (None, (1,))
    scene.sync()
    scene.go_on(3)
    assert scene.follower.states == [SYNCING, IN_STEP, STALE, IN_STEP]


def test_too_many_events_behind_a_gap_are_not_waited_for():
    """They could be as many as come within a second at any speed."""
    scene = in_step()
    scene.truth.diffs(1)
    for update in scene.truth.diffs(HOLD_MOST):
        scene.keeper.take(update)
    assert scene.keeper.state is IN_STEP
    scene.keeper.take(scene.truth.diffs(1)[0])
    assert scene.keeper.state is STALE


def test_a_lost_stream_makes_the_book_stale_at_once():
    """And it goes on without a snapshot if by the ids nothing was missed."""
    scene = in_step()
    scene.keeper.lost("cut")
    assert scene.told() == (STALE, "the stream is lost: cut")
    scene.keeper.take(scene.truth.diff())
    assert scene.keeper.wish() is None
    scene.keeper.restored()
    assert scene.keeper.state is STALE
    scene.go_on(2)
    assert (scene.told(), scene.report("resumed", "resyncs")) == ((IN_STEP, ""), (1, 1))
    assert scene.follower.states == [SYNCING, IN_STEP, STALE, IN_STEP]


def test_what_was_missed_while_the_stream_was_lost_needs_a_snapshot():
    """It is asked for as soon as the first event tells of it."""
    scene = in_step()
    scene.keeper.lost("cut")
    scene.truth.diffs(3)
    scene.seconds(7)
    scene.keeper.restored()
    assert scene.keeper.wish() is None
    scene.go_on(1)
    assert scene.keeper.wish() is Wish.RESYNC
    scene.sync()
    scene.go_on(1)
    assert (scene.told(), scene.report("resumed", "resyncs")) == ((IN_STEP, ""), (0, 2))


def test_an_answer_of_before_the_stream_was_lost_is_not_taken():
    """It says nothing of what was missed."""
    scene = Scene()
    scene.keeper.restored()
    scene.go_on(3)
    asked, snapshot = scene.keeper.ask(), scene.truth.snapshot()
    scene.keeper.lost("cut")
    scene.truth.diffs(3)
    scene.keeper.restored()
    scene.keeper.answer(snapshot, asked)
    scene.go_on(3)
    assert scene.keeper.state is SYNCING
    assert scene.keeper.wish() is Wish.RESYNC


def test_what_waits_for_a_snapshot_is_bounded():
    """The oldest events go; a snapshot that is older than what is left is too old."""
    scene = Scene()
    scene.keeper.restored()
    scene.go_on(BUFFERED + 10)
    assert scene.report("dropped") == (10,)
    old = scene.truth.snapshot(update_id=scene.truth.update_id - 3 * (BUFFERED + 5))
    scene.keeper.answer(old, scene.keeper.ask())
    assert scene.report("snapshots_too_old") == (1,)
    scene.sync()
    assert scene.keeper.state is IN_STEP


# -- what others tell of the book ----------------------------------------------------------------


def test_the_top_is_compared_with_every_ticker_of_the_same_update():
    """Whichever comes first; one of an update within an event cannot be compared."""
    scene = in_step()
    for _ in range(10):
        scene.truth.move(2)
        scene.keeper.take_ticker(scene.truth.ticker())
        scene.truth.move(1)
        scene.keeper.take_ticker(scene.truth.ticker())
        scene.take(scene.truth.diff())
    for _ in range(10):
        scene.truth.move(3)
        scene.take(scene.truth.diff())
        scene.keeper.take_ticker(scene.truth.ticker())
    assert scene.report("top_checked", "top_differed") == (20, 0)
    assert scene.follower.states == [SYNCING, IN_STEP]


def wrong_top(update: DepthUpdate, truth: TrueBook) -> DepthUpdate:
    """Return an event that says that there is more at the best bid than there is."""
    best = int(truth.ticker().bid_price)
    bids = {**dict(update.bids), str(best): "999"}
    return replace(update, bids=tuple(bids.items()))


def test_a_top_that_the_ticker_contradicts_is_never_published_as_in_step():
    """A snapshot decides: here the event was wrong."""
    scene = in_step()
    scene.truth.move(3)
    scene.keeper.take_ticker(scene.truth.ticker())
    before = scene.follower.in_step
    scene.take(wrong_top(scene.truth.diff(), scene.truth))
    assert scene.keeper.state is STALE
    assert "the ticker says" in scene.told()[1]
    assert scene.follower.in_step == before
    scene.go_on(1)
    scene.sync()
    scene.go_on(3)
    assert scene.follower.states == [SYNCING, IN_STEP, STALE, IN_STEP]
    assert scene.report("top_differed", "ticker_wrong") == (1, 0)


def test_a_wrong_event_that_waits_for_a_snapshot_is_not_taken_either():
    """Nor with the next snapshot: one that is newer than it is needed."""
    scene = Scene()
    scene.keeper.restored()
    scene.go_on(2)
    asked, snapshot = scene.keeper.ask(), scene.truth.snapshot()
    scene.truth.move(3)
    scene.keeper.take_ticker(scene.truth.ticker())
    scene.take(wrong_top(scene.truth.diff(), scene.truth))
    scene.keeper.answer(snapshot, asked)
    assert scene.keeper.state is SYNCING
    scene.go_on(1)
    scene.seconds(2)
    scene.keeper.answer(snapshot, scene.keeper.ask())
    assert scene.keeper.state is SYNCING
    scene.sync()
    scene.go_on(1)
    assert scene.keeper.state is IN_STEP


def test_a_ticker_that_is_wrong_costs_a_snapshot_and_no_more():
    """The snapshot agrees with the book, so the ticker was wrong."""
    scene = in_step()
    scene.truth.move(3)
    scene.keeper.take_ticker(replace(scene.truth.ticker(), ask_quantity=Decimal(999)))
    scene.take(scene.truth.diff())
    assert scene.keeper.state is STALE
    scene.go_on(2)
    scene.sync()
    scene.go_on(2)
    assert scene.keeper.state is IN_STEP
    assert scene.report("top_differed", "ticker_wrong") == (1, 1)


def test_differences_one_after_the_other_cost_ever_fewer_snapshots():
    """A ticker that is always wrong must not use up what the exchange allows."""
    scene = in_step()
    asked = 0
    for _ in range(600):
        scene.truth.move(3)
        scene.keeper.take_ticker(replace(scene.truth.ticker(), ask_quantity=Decimal(999)))
        scene.take(scene.truth.diff())
        scene.keeper.look()
        if scene.keeper.wish() is Wish.RESYNC:
            asked += 1
            scene.keeper.answer(scene.truth.snapshot(), scene.keeper.ask())
    assert 5 <= asked <= 11


def test_bids_that_meet_asks_are_never_published_as_in_step():
    """Neither of a stream nor of a snapshot."""
    scene = in_step()
    scene.truth.move(3)
    update = scene.truth.diff()
    ask = scene.truth.ticker().ask_price
    scene.take(replace(update, bids=(*update.bids, (str(ask), "1"))))
    assert scene.keeper.state is STALE
    assert "is not below" in scene.told()[1]
    scene.seconds(1)
    scene.go_on(1)
    good = scene.truth.snapshot()
    bad = replace(good, bids=((str(ask + 5), "1"), *good.bids))
    scene.keeper.answer(bad, scene.keeper.ask())
    assert (scene.keeper.state, scene.report("crossed")) == (STALE, (2,))
    scene.go_on(1)
    scene.sync()
    assert scene.keeper.state is IN_STEP


def test_a_stream_that_falls_silent_alone_is_noticed_by_its_tickers():
    """The book is stale, another connection is wanted, and no snapshot: it would not last."""
    scene = in_step()
    scene.truth.move(3)
    scene.keeper.take_ticker(scene.truth.ticker())
    told = []
    for _ in range(20):
        scene.clock.step(1)
        scene.truth.move(3)
        scene.keeper.take_ticker(scene.truth.ticker())
        told.append(scene.keeper.look())
        assert scene.keeper.wish() is None
    assert scene.told() == (STALE, "the stream of its updates is silent")
    assert [number for number, silent in enumerate(told) if silent] == [4, 9, 19]
    scene.take(scene.truth.diff())
    assert (scene.told()[0], scene.report("silences", "resumed")) == (IN_STEP, (3, 1))


def test_a_stream_that_falls_silent_alone_is_noticed_by_trades():
    """Where no tickers are followed: each trade changes the book."""
    scene = in_step()
    for number in range(10):
        scene.seconds(1, a_trade(id=number))
    assert scene.told() == (STALE, "the stream of its updates is silent")


def test_one_trade_or_a_quiet_book_is_no_silence():
    """What is traded against an iceberg may leave a book as it was."""
    scene = in_step()
    trade = a_trade()
    scene.seconds(60, trade)
    assert scene.keeper.state is IN_STEP


def test_ids_that_begin_anew_are_noticed():
    """Later events with smaller ids: they are no repetition. Their book is had anew."""
    scene = in_step()
    scene.seconds(5)
    scene.truth.now_us += 5_000_000
    scene.truth.begin_anew()
    scene.go_on(3)
    assert scene.told() == (STALE, "update ids begin anew")
    scene.go_on(1)
    scene.sync()
    scene.go_on(3)
    assert (scene.told(), scene.report("id_resets")) == ((IN_STEP, ""), (1,))
    assert scene.follower.last.update_id < 100


def test_late_events_are_no_ids_that_begin_anew():
    """They were made before those that are held."""
    scene = in_step()
    updates = scene.truth.diffs(40)
    scene.take(*updates)
    scene.take(*updates)
    assert (scene.keeper.state, scene.report("id_resets")) == (IN_STEP, (0,))


# -- the exact range -----------------------------------------------------------------------------


def short_of_levels() -> Scene:
    """Return a book in step in whose exact range few levels are left."""
    scene = in_step(depth=40)
    scene.truth.wander(35)
    scene.take(scene.truth.diff())
    return scene


def test_a_range_that_becomes_small_is_fetched_anew_without_leaving_step():
    """Soon where few levels are left; what came meanwhile is laid upon the newer snapshot."""
    scene = short_of_levels()
    assert scene.keeper.wish() is None
    scene.seconds(5)
    assert scene.keeper.wish() is Wish.FEW_LEVELS
    asked = scene.keeper.ask()
    scene.go_on(2)
    snapshot = scene.truth.snapshot(40)
    scene.go_on(2)
    exact_to = scene.follower.last.exact_to
    scene.keeper.answer(snapshot, asked)
    assert scene.follower.last.whole
    assert int(str(scene.follower.last.exact_to)) > int(str(exact_to))
    scene.go_on(3)
    assert scene.follower.states == [SYNCING, IN_STEP]
    assert scene.report("widened", "snapshot_differed") == (1, 0)


def test_a_snapshot_that_is_ahead_of_the_stream_waits_for_it():
    """Until both are of the same update, so that they can be compared."""
    scene = short_of_levels()
    scene.seconds(5)
    asked = scene.keeper.ask()
    updates = scene.truth.diffs(3)
    scene.keeper.answer(scene.truth.snapshot(40, update_id=scene.truth.update_id - 1), asked)
    scene.take(*updates[:2])
    assert scene.report("widened") == (0,)
    scene.take(updates[2])
    assert (scene.report("widened"), scene.follower.last.whole) == ((1,), True)
    # What the update changed is told first, so that the wider book differs in nothing but reach.
    before, last = scene.follower.changes[-2:]
    assert not before.whole
    assert before.update_id == last.update_id == updates[2].last_update_id


def test_a_snapshot_that_is_too_old_to_widen_with_is_asked_for_again():
    """The book stays as it is."""
    scene = short_of_levels()
    old = scene.truth.snapshot(40)
    scene.go_on(2)
    scene.seconds(5)
    scene.keeper.answer(old, scene.keeper.ask())
    assert (scene.keeper.state, scene.report("snapshots_too_old", "widened")) == (IN_STEP, (1, 0))
    assert scene.keeper.wish() is None
    scene.clock.step(0.5)
    assert scene.keeper.wish() is Wish.FEW_LEVELS


@pytest.mark.parametrize("snapshot_is_wrong", [True, False])
def test_where_a_snapshot_differs_two_of_three_must_agree(*, snapshot_is_wrong: bool):
    """The book is stale until another snapshot tells which was right."""
    scene = short_of_levels()
    if not snapshot_is_wrong:  # deep within, where no ticker tells
        price = sorted(scene.truth.at(scene.truth.update_id)[0], reverse=True)[3]
        scene.truth.move(1)
        update = scene.truth.diff()
        bids = {**dict(update.bids), str(price): "999"}
        scene.follower.judges = False  # a book that nobody can see to be wrong is published
        scene.take(replace(update, bids=tuple(bids.items())))
    scene.seconds(5)
    good = scene.truth.snapshot(40)
    bad = replace(good, asks=(*good.asks[:3], (good.asks[3][0], "999"), *good.asks[4:]))
    scene.keeper.answer(bad if snapshot_is_wrong else good, scene.keeper.ask())
    assert scene.keeper.state is STALE
    assert "a snapshot differs" in scene.told()[1]
    scene.go_on(2)
    scene.sync()
    scene.go_on(2)
    assert scene.keeper.state is IN_STEP
    counts = (1, 1, 0) if snapshot_is_wrong else (1, 0, 1)
    assert scene.report("snapshot_differed", "snapshot_wrong", "book_wrong") == counts


def test_a_side_that_is_known_whole_is_never_too_short():
    """There is no more to fetch."""
    scene = in_step(depth=1_000)
    assert (scene.follower.last.exact_from, scene.follower.last.exact_to) == (None, None)
    scene.seconds(600)
    assert scene.keeper.wish() is None


# -- the rest ------------------------------------------------------------------------------------


def test_numbers_go_on_where_an_earlier_keeper_ended():
    """A symbol that is removed and added again."""
    assert in_step(number=41).follower.changes[0].number == 42


def test_nothing_is_published_or_held_once_it_is_closed():
    """Its connection may still bring something."""
    scene = in_step()
    scene.keeper.lost("removed")
    scene.keeper.close()
    last = scene.follower.last
    scene.keeper.restored()
    scene.go_on(3)
    assert (scene.follower.last, scene.keeper.book) == (last, None)


def test_a_bug_is_told_and_the_book_begun_anew(monkeypatch: pytest.MonkeyPatch):
    """Nothing of it is trusted any more."""
    scene = in_step()
    scene.keeper.failed(RuntimeError("broken"))
    assert (scene.told(), scene.keeper.book) == ((STALE, "our own error"), None)
    assert scene.crashes == ["book of BTCUSDT"]
    scene.go_on(3)
    scene.sync()
    scene.go_on(3)
    assert scene.keeper.state is IN_STEP


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_whatever_comes_no_book_that_is_in_step_is_wrong(seed: int):
    """Events lost, repeated, late, in any order, streams lost, snapshots old: each is judged."""
    chance = random.Random(seed)
    scene = Scene(seed=seed, depth=chance.choice([5, 20, 100]))
    late: list[DepthUpdate] = []
    keeper, truth = scene.keeper, scene.truth
    asked: tuple[int, int] | None = None
    keeper.restored()
    for step in range(550):
        calm = step > 300
        scene.clock.step(0.1)
        truth.now_us += 100_000
        if chance.random() < 0.02 and not calm:
            keeper.lost("cut")
            keeper.restored()
        if chance.random() < 0.05:
            truth.wander(chance.randint(-8, 8))
        truth.move(chance.randint(1, 4))
        if chance.random() < 0.4:
            keeper.take_ticker(truth.ticker())
        update = truth.diff()
        fate = 1.0 if calm else chance.random()
        if fate < 0.05:
            pass  # lost
        elif fate < 0.1:
            late.append(update)
        else:
            keeper.take(update)
        if fate < 0.15 and late:
            keeper.take(late.pop(chance.randrange(len(late))))
        if 0.15 < fate < 0.2:
            keeper.take(update)
        if asked is None and keeper.wish() is not None:
            at = truth.update_id if calm else truth.update_id - chance.choice([0, 0, 1, 2, 9])
            asked = keeper.ask(), max(1_000, at)
        elif asked is not None and chance.random() < 0.5:
            keeper.answer(truth.snapshot(keeper.depth, update_id=asked[1]), asked[0])
            asked = None
        if step % 10 == 0:
            keeper.look()
    assert (keeper.state, scene.follower.last.update_id) == (IN_STEP, truth.update_id)
    assert scene.report("snapshot_differed", "top_differed", "crossed") == (0, 0, 0)
