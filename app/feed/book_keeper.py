"""Keeps one symbol's order book in step with the exchange, or says that it is not.

Buffer first, snapshot second: the events of the stream wait until a snapshot is joined to them by
the rules of `app.binance.depth`. From then on each event is applied and published. What does not
fit (a gap, a top that the ticker contradicts, bids above asks) makes this one book stale, and
another snapshot is asked for; nothing else is touched. Nothing here waits: who fetches snapshots
is `app.feed.book_sync`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import IntEnum
from random import Random

from app.binance.depth import DepthBuffer, Joint, Order, follows
from app.errors import FeedError
from app.feed.backoff import Backoff
from app.feed.book_differences import compared
from app.feed.book_report import book_report
from app.feed.book_silence import BookSilence
from app.feed.feed_clock import FeedClock
from app.feed.kept_book import change_of
from app.feed.top_check import TopCheck
from app.market.book import OrderBook
from app.market.events import (
    SECOND_US,
    BookState,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    Level,
)
from app.ports import BOOK_CHANGES, Bus, Clock

log = logging.getLogger(__name__)

SNAPSHOT_DEPTH = 1_000  # levels a side of a snapshot
BUFFERED = 300  # events that wait for a snapshot: half a minute of `depth@100ms`

HOLD_S = 1.0  # how long an event that came too early waits for those before it
HOLD_MOST = 16  # and how many of them
ANEW_AFTER = 3  # later events in a row with ids that are held: the exchange counts anew
LATER_US = SECOND_US  # by so much, or it may be one that was only late

STEADY_S = 5.0  # a book in step for so long was a success: the next wait is short again
MOST_WAIT_S = 10.0  # between two snapshots
OLD_WAITS_S = (0.5, 4.0)  # after a snapshot that was older than the stream, at first and at most
CATCH_UP_S = 2.0  # how long a snapshot that is ahead of the stream waits for it

# When the exact range is fetched anew: where fewer levels are left in it than this share of the
# snapshot's, and how long after the one before; sooner where few are left.
SHORT_SHARE = 0.25
WIDEN_EVERY_S = 60.0
FEW = 20
WIDEN_SOON_S = 5.0


class Wish(IntEnum):
    """Why a snapshot is wanted; the smaller the more urgent."""

    RESYNC = 0  # the book is not in step
    FEW_LEVELS = 1  # it is, but hardly any levels are left in the exact range
    RANGE = 2  # it is, but the exact range has become small


class BookKeeper:
    """The book of one symbol; implements `app.ports.KeptBook`.

    Who feeds it tells `restored` when the stream's data come, `take` and `take_ticker` what comes,
    `lost` when they end, and calls `look` about once a second. `wish` says whether a snapshot is
    wanted now; who fetches it calls `ask`, then `answer`, `fail` or `drop`. `wake` is called when
    one is wanted. `number` is that of the last change of an earlier keeper of the same symbol. A
    snapshot has `depth` levels a side.
    """

    def __init__(
        self,
        symbol: str,
        *,
        bus: Bus,
        clock: Clock,
        feed_clock: FeedClock,
        random: Random,
        depth: int = SNAPSHOT_DEPTH,
        number: int = 0,
        wake: Callable[[], None] = lambda: None,
        crashed: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self.symbol = symbol
        self.depth = depth
        self.state = BookState.SYNCING
        self.reason = "no snapshot yet"
        self.number = number
        self.book: OrderBook | None = None
        self.since_us = clock.now_us()
        self.event_us: int | None = None
        self.received_us = 0
        # What happened so far, see docs/books.md.
        self.updates = self.duplicates = self.reordered = self.gaps = 0
        self.resyncs = self.resumed = self.widened = 0
        self.snapshots = self.snapshots_failed = self.snapshots_too_old = 0
        self.snapshot_differed = self.snapshot_wrong = self.book_wrong = 0
        self.crossed = self.ticker_wrong = self.id_resets = 0
        self._bus = bus
        self._clock = clock
        self._feed_clock = feed_clock
        self._random = random
        self._wake = wake
        self._crashed = crashed
        self._check = TopCheck()
        self._silence = BookSilence(now_s=clock.monotonic(), rate=feed_clock.rate)
        self._backoff = Backoff(random, most_s=MOST_WAIT_S)
        self._has_stream = False
        self._told = False  # that there is a book at all
        self._closed = False
        self._since_s = clock.monotonic()  # of the state
        # What is not in the book yet.
        self._buffer = DepthBuffer(BUFFERED)
        self._ahead: list[DepthUpdate] = []
        self._ahead_since_s = 0.0
        self._resumable = False  # the book would go on with an event that follows it
        # The snapshot that is asked for, or has come.
        self._asked = False
        self._generation = 0  # of the stream: what was asked before it began is of no use
        self._not_before_s = 0.0
        self._old_in_a_row = 0
        self._pending: DepthSnapshot | None = None  # ahead of the stream
        self._pending_since_s = self._fresh_since_s = 0.0
        self._fresh: OrderBook | None = None  # a newer one that is to take the book's place
        self._witnesses: list[OrderBook] = []  # books that were doubted, carried on
        self._needs_witness = False  # a snapshot is taken only if it agrees with one of them
        self._book_is_witness = False  # the first of them was in step
        self._installed_s = 0.0
        self._short: Wish | None = None  # how the exact range was when looked at last
        # What tells that the ids begin anew.
        self._newest_event_us: int | None = None
        self._anew = 0

    # -- what the stream tells ---------------------------------------------------------------

    def restored(self) -> None:
        """Learn that data come, be it over a connection that has just been opened."""
        if self._closed or self._has_stream:
            return
        self._has_stream = True
        self._silence.begin(self._clock.monotonic())
        self._check.begin()
        if not self._told:
            self._told = True
            self._publish((), (), whole=True)
        self._wake()

    def lost(self, reason: str) -> None:
        """Learn that no more data come: the levels stay, labelled."""
        if not self._has_stream:
            return
        self._has_stream = False
        self._forget_fetched()
        if self.state is BookState.IN_STEP:
            self._turn_stale(f"the stream is lost: {reason}", resumable=True)

    def close(self) -> None:
        """Learn that the symbol is wanted no longer: nothing is published or held any more."""
        self._has_stream = False
        self._closed = True
        self.book = None
        self._forget_fetched()
        self._check.forget()

    def take(self, update: DepthUpdate) -> None:
        """Take one event of the stream."""
        if not self._has_stream:
            return
        self._silence.event(self._clock.monotonic())
        if self.state is BookState.IN_STEP and self.book is not None:
            self._follow(self.book, update)
        else:
            self._gather(update)

    def take_ticker(self, ticker: BookTicker) -> None:
        """Compare a ticker with the book of its update id, now or when that is here."""
        self._silence.ticker_id = ticker.update_id
        differs = self._check.ticker(ticker)
        if differs is not None and self.state is BookState.IN_STEP:
            self._turn_stale(f"update {ticker.update_id}: {differs}", witnesses=[self.book])

    def look(self, newest_trade: object = None) -> bool:
        """See what time has brought; tell whether the stream is silent, so that another is needed.

        `newest_trade` tells by being another one that something was traded.
        """
        if not self._has_stream:
            return False
        now_s = self._clock.monotonic()
        if self._ahead and now_s - self._ahead_since_s >= self._seconds(HOLD_S):
            self._miss()
        silent = self._silence.look(newest_trade, now_s)
        if silent and self.state is BookState.IN_STEP:
            self._turn_stale("the stream of its updates is silent", resumable=True)
        pending = self._pending
        if pending is not None and now_s - self._pending_since_s >= self._seconds(CATCH_UP_S):
            self._forget_witnesses()
            self._join(pending)
        self._short = self._too_short()
        if self._fresh is not None and now_s - self._fresh_since_s >= self._seconds(CATCH_UP_S):
            self._fresh = None
        if self.wish() is not None:
            self._wake()
        return silent

    # -- what is asked -----------------------------------------------------------------------

    def wish(self) -> Wish | None:
        """Say whether a snapshot is wanted now, and how urgently."""
        now_s = self._clock.monotonic()
        if not self._has_stream or self._asked or now_s < self._not_before_s:
            return None
        if self.state is BookState.IN_STEP:
            return self._range_wish(now_s)
        if self._pending is not None or not (len(self._buffer) or self._silence.is_quiet(now_s)):
            return None
        return Wish.RESYNC

    @property
    def waits_since_s(self) -> float:
        """Since when it is in its state, by the monotonic clock."""
        return self._since_s

    def ask(self) -> int:
        """Note that a snapshot is being asked for; return what the answer is to be given with."""
        self._asked = True
        if self.state is BookState.IN_STEP:
            self._buffer.clear()  # what comes from now on is to be laid upon it
        return self._generation

    def fail(self, error: FeedError, asked: int) -> None:
        """Learn that a snapshot could not be had."""
        if asked == self._generation:
            self._asked = False
            self.snapshots_failed += 1
            self._not_before_s = self._clock.monotonic() + self._backoff.next_wait_s()
            if self.state is not BookState.IN_STEP and self._backoff.failures == 1:
                log.warning("snapshot failed symbol=%s reason=%s", self.symbol, error)

    def drop(self, asked: int) -> None:
        """Learn that what was asked for is waited for no longer."""
        if asked == self._generation:
            self._asked = False

    def answer(self, snapshot: DepthSnapshot, asked: int) -> None:
        """Take a snapshot that was asked for."""
        if asked != self._generation or not self._has_stream:
            return
        self._asked = False
        self.snapshots += 1
        if self.state is BookState.IN_STEP and self.book is not None:
            self._widen(self.book, snapshot)
        else:
            self._join(snapshot)

    def failed(self, error: Exception) -> None:
        """Learn of a bug in here: the book is given up and begun anew, unless it is closed."""
        if self._crashed is not None:
            self._crashed(f"book of {self.symbol}", error)
        if self._closed:
            return
        self._forget_fetched()
        self._silence.begin(self._clock.monotonic())
        self.book, self._resumable = None, False
        self._not_before_s = self._clock.monotonic() + self._backoff.next_wait_s()
        self._enter(BookState.STALE, "our own error")
        self._publish((), (), whole=True)

    # -- in step -----------------------------------------------------------------------------

    def _follow(self, book: OrderBook, update: DepthUpdate) -> None:
        """Apply an event to the book that is in step, or keep it if others are missing before."""
        order = follows(update, book.update_id)
        if order is Order.APPLY:
            self._apply(book, update)
            if self._ahead:
                self._take_early()
        elif order is Order.IGNORE:
            self._repeated(update)
        else:
            if not self._ahead:
                self._ahead_since_s = self._clock.monotonic()
            self._ahead.append(update)
            if len(self._ahead) > HOLD_MOST:
                self._miss()

    def _take_early(self) -> None:
        """Apply the events that came too early, as far as nothing is missing before them."""
        while self._ahead and self.state is BookState.IN_STEP and self.book is not None:
            self._ahead.sort(key=_last_id)
            order = follows(self._ahead[0], self.book.update_id)
            if order is Order.GAP:
                return
            update = self._ahead.pop(0)
            if order is Order.APPLY:
                self.reordered += 1
                self._apply(self.book, update)
            else:
                self.duplicates += 1

    def _apply(self, book: OrderBook, update: DepthUpdate) -> None:
        """Apply an event that goes on from the book; publish it as in step only if it is right."""
        book.apply(update)
        self._note(update)
        self.updates += 1
        if self._asked:
            self._buffer.add(update)
        wrong = self._what_is_wrong(book)
        if wrong is not None:
            self._turn_stale(wrong, update=update, witnesses=[] if book.is_crossed else [book])
        elif self._fresh is None or not self._settled(book, self._fresh, update):
            self._publish(update.bids, update.asks, update=update)

    def _miss(self) -> None:
        """Give up waiting for what is missing before the events that came too early."""
        early = self._ahead
        first_id = min(update.first_update_id for update in early)
        last_id = 0 if self.book is None else self.book.update_id
        self.gaps += 1
        self._turn_stale(f"updates {last_id + 1} to {first_id - 1} are missing")
        for update in sorted(early, key=_last_id):
            self._buffer.add(update)

    def _repeated(self, update: DepthUpdate) -> None:
        """Ignore an event that is held, unless it is one of many that tell of ids begun anew."""
        self.duplicates += 1
        newest_us = self._newest_event_us
        if newest_us is None or update.event_us < newest_us + LATER_US:
            self._anew = 0
            return
        self._anew += 1
        if self._anew >= ANEW_AFTER:
            self.id_resets += 1
            self._anew = 0
            self._silence.begin_anew()
            self._newest_event_us = None
            self._check.forget()
            self._forget_fetched()  # it may be a snapshot of before
            self._turn_stale("update ids begin anew")
            self._buffer.add(update)
            self._wake()

    def _what_is_wrong(self, book: OrderBook) -> str | None:
        """Say why a book cannot be right as it is now."""
        if book.is_crossed:
            self.crossed += 1
            bid, ask = (best[0] if best else "" for best in book.presumed_top())
            return f"update {book.update_id}: bid {bid} is not below ask {ask}"
        differs = self._check.book(book)
        return None if differs is None else f"update {book.update_id}: {differs}"

    def _turn_stale(
        self,
        reason: str,
        *,
        resumable: bool = False,
        update: DepthUpdate | None = None,
        witnesses: Sequence[OrderBook | None] = (),
    ) -> None:
        """Say that the book is not in step; `update` is in it already, but not published yet.

        `witnesses` are what a newer snapshot is compared with.
        """
        if self._clock.monotonic() - self._since_s >= STEADY_S:
            self._backoff.reset()
            self._not_before_s = 0.0
        elif not resumable:
            self._not_before_s = self._clock.monotonic() + self._backoff.next_wait_s()
        self._ahead = []
        self._buffer.clear()
        self._fresh = self._pending = None
        self._resumable = resumable
        self._witnesses = [each.copy() for each in witnesses if each is not None]
        self._needs_witness = self._book_is_witness = len(witnesses) > 1
        self._check.forget_tops()
        was_in_step = self.state is BookState.IN_STEP
        self._enter(BookState.STALE, reason)
        if update is not None:
            self._publish(update.bids, update.asks, update=update)
        elif was_in_step:
            self._publish((), ())
        self._silence.begin(self._clock.monotonic())
        self._wake()

    # -- out of step -------------------------------------------------------------------------

    def _gather(self, update: DepthUpdate) -> None:
        """Keep an event for the snapshot to come, or go on with it where nothing was missed."""
        if self._resumable and self.book is not None:
            order = follows(update, self.book.update_id)
            if order is Order.APPLY:
                self._resume(self.book, update)
                return
            if order is Order.IGNORE:
                self._repeated(update)
                return
            self._resumable = False
            self.reason = f"{self.reason}; updates were missed"
        self._note(update)
        self._buffer.add(update)
        for witness in self._witnesses:
            order = follows(update, witness.update_id)
            if order is Order.APPLY:
                witness.apply(update)
            elif order is Order.GAP:
                self._forget_witnesses()
                break
        if self._pending is not None:
            self._join(self._pending)
        elif not self._asked and self.wish() is not None:
            self._wake()

    def _resume(self, book: OrderBook, update: DepthUpdate) -> None:
        """Go on with the book as it was: by the ids nothing was missed."""
        book.apply(update)
        self._note(update)
        self.updates += 1
        wrong = self._what_is_wrong(book)
        if wrong is not None:
            self._turn_stale(wrong)
            self._publish_whole(book, update)
            return
        self.resumed += 1
        self._install(book, update)

    def _join(self, snapshot: DepthSnapshot) -> None:
        """Lay the events that wait upon a snapshot, and be in step if all fits."""
        now_s = self._clock.monotonic()
        snapshot_id = snapshot.last_update_id
        joint, updates = self._buffer.join(snapshot_id)
        if joint is Joint.TOO_OLD or (
            joint is Joint.NOT_YET
            and not (self._silence.is_quiet(now_s) and snapshot_id >= self._silence.ticker_id)
        ):
            self._pending = None
            self.snapshots_too_old += 1
            self._not_before_s = now_s + self._pause_s()
            return
        if any(witness.update_id < snapshot_id for witness in self._witnesses):
            # They are compared once the stream has come as far.
            if self._pending is None:
                self._pending, self._pending_since_s = snapshot, now_s
            return
        self._pending, self._old_in_a_row = None, 0
        fresh = OrderBook(self.symbol)
        fresh.install(snapshot)
        wrong = self._what_is_wrong(fresh)
        for update in updates:
            if wrong is None:
                fresh.apply(update)
                wrong = self._what_is_wrong(fresh)
        if wrong is not None or not self._agrees(fresh):
            # Not with the same events again: a snapshot that is newer than they has it right.
            self._buffer.clear()
            self._check.forget_tops()
            self.reason = wrong or self.reason
            self._not_before_s = now_s + self._backoff.next_wait_s()
            return
        self.resyncs += 1
        self._install(fresh, updates[-1] if updates else None, snapshot)

    def _agrees(self, fresh: OrderBook) -> bool:
        """Compare a new book with those that were doubted, and count who was right.

        Where a snapshot and a book in step differed, two of three must agree.
        """
        level = [each for each in self._witnesses if each.update_id == fresh.update_id]
        agreeing = [not compared(fresh, each)[1] for each in level]
        if not self._needs_witness:
            self.ticker_wrong += any(agreeing)
            return True
        if len(level) < len(self._witnesses):
            return True  # they are of another time: the newer snapshot decides
        if not any(agreeing):
            self.snapshot_differed += 1
            self._witnesses, self._book_is_witness = [*level[-1:], fresh], False
            return False
        if self._book_is_witness and not agreeing[0]:
            self.book_wrong += 1
        else:
            self.snapshot_wrong += 1
        return True

    def _forget_witnesses(self) -> None:
        self._witnesses, self._needs_witness = [], False

    def _install(
        self, book: OrderBook, update: DepthUpdate | None, snapshot: DepthSnapshot | None = None
    ) -> None:
        """Let a book be the one, in step from now on."""
        self.book = book
        self._installed_s = self._clock.monotonic()
        self._buffer.clear()
        self._resumable = False
        self._forget_witnesses()
        self._silence.book_is_at(book.update_id)
        if snapshot is not None:
            # Events that it has already may be on their way still: they were made before now.
            asked_us = self._feed_clock.exchange_us() or snapshot.received_us
            self._newest_event_us = max(self._newest_event_us or 0, asked_us)
        self._enter(BookState.IN_STEP, "")
        self._publish_whole(book, update, snapshot)

    # -- a wider range -----------------------------------------------------------------------

    def _too_short(self) -> Wish | None:
        """Say whether too few levels are left in the exact range."""
        book = self.book
        if book is None:
            return None
        short = min(max(FEW, int(self.depth * SHORT_SHARE)), self.depth // 2)
        # A side that is known whole has no more to show.
        fewest = min(
            short if book.exact_from is None else len(book.bids(short)),
            short if book.exact_to is None else len(book.asks(short)),
        )
        if fewest >= short:
            return None
        return Wish.FEW_LEVELS if fewest < min(FEW, short) else Wish.RANGE

    def _range_wish(self, now_s: float) -> Wish | None:
        """Say whether a wider exact range is wanted now, for a book in step."""
        short = self._short
        if short is None or self._fresh is not None:
            return None
        every_s = WIDEN_SOON_S if short is Wish.FEW_LEVELS else WIDEN_EVERY_S
        return short if now_s - self._installed_s >= every_s else None

    def _widen(self, book: OrderBook, snapshot: DepthSnapshot) -> None:
        """Make a book of a newer snapshot, to take the place of the one in step."""
        joint, updates = self._buffer.join(snapshot.last_update_id)
        self._buffer.clear()
        behind = snapshot.last_update_id < book.update_id
        if joint is Joint.TOO_OLD or (behind and not updates):
            self.snapshots_too_old += 1
            self._not_before_s = self._clock.monotonic() + self._pause_s()
            return
        self._old_in_a_row = 0
        self._installed_s = self._fresh_since_s = self._clock.monotonic()
        fresh = OrderBook(self.symbol)
        fresh.install(snapshot)
        for update in updates:
            fresh.apply(update)
        self._fresh = fresh
        self._settled(book, fresh, None)

    def _settled(self, book: OrderBook, fresh: OrderBook, update: DepthUpdate | None) -> bool:
        """Put a newer book in place once it is level with the one in step, if they agree.

        `update` is in the one in step already, but not published yet; tell whether it is now.
        """
        if update is not None and follows(update, fresh.update_id) is Order.APPLY:
            fresh.apply(update)
        if fresh.update_id != book.update_id:
            return False
        self._fresh = None
        if fresh.is_crossed or compared(book, fresh)[1]:
            self.snapshot_differed += 1
            self._turn_stale(
                f"update {book.update_id}: a snapshot differs from it",
                update=update,
                witnesses=[book, fresh],
            )
            return True
        self.widened += 1
        if update is not None:  # apart: a wider book of the same update differs in nothing else
            self._publish(update.bids, update.asks, update=update)
        self.book, self._short = fresh, None
        self._publish_whole(fresh, update)
        return True

    # -- both --------------------------------------------------------------------------------

    def _note(self, update: DepthUpdate) -> None:
        self._silence.book_is_at(update.last_update_id)
        self._newest_event_us = update.event_us
        self._anew = 0

    def _forget_fetched(self) -> None:
        """Forget what was gathered for a snapshot, and the answer that is on its way."""
        self._generation += 1
        self._asked = False
        self._ahead = []
        self._buffer.clear()
        self._pending = self._fresh = None
        self._forget_witnesses()
        self._old_in_a_row = 0

    def _pause_s(self) -> float:
        """Return how long not to ask again after a snapshot that was too old."""
        first_s, most_s = OLD_WAITS_S
        wait_s: float = min(most_s, first_s * 2**self._old_in_a_row)
        self._old_in_a_row += 1
        return wait_s * self._random.uniform(0.5, 1.0)

    def _seconds(self, exchange_s: float) -> float:
        """Return how long so many seconds of the exchange take here."""
        return exchange_s / self._feed_clock.rate

    def _enter(self, state: BookState, reason: str) -> None:
        if state is not self.state:
            log.info(
                "book symbol=%s state=%s%s",
                self.symbol,
                state,
                f" reason={reason}" if reason else "",
            )
            self.since_us = self._clock.now_us()
            self._since_s = self._clock.monotonic()
        self.state, self.reason = state, reason

    def _publish_whole(
        self, book: OrderBook, update: DepthUpdate | None, snapshot: DepthSnapshot | None = None
    ) -> None:
        bids, asks = book.levels()
        self._publish(bids, asks, whole=True, update=update, snapshot=snapshot)

    def _publish(
        self,
        bids: Sequence[Level],
        asks: Sequence[Level],
        *,
        whole: bool = False,
        update: DepthUpdate | None = None,
        snapshot: DepthSnapshot | None = None,
    ) -> None:
        """Tell of one change; its times are those of what caused it."""
        if update is not None:
            self.event_us, self.received_us = update.event_us, update.received_us
        elif snapshot is not None:
            self.event_us, self.received_us = snapshot.event_us, snapshot.received_us
        else:
            self.received_us = self._feed_clock.received_us()
        self.number += 1
        self._bus.publish(BOOK_CHANGES, change_of(self, bids, asks, whole=whole))

    # -- its report --------------------------------------------------------------------------

    def report(self) -> dict[str, object]:
        """Return what `/status` shows of it, as plain JSON-able values."""
        return {
            **book_report(self),
            "updates": self.updates,
            "duplicates": self.duplicates,
            "reordered": self.reordered,
            "gaps": self.gaps,
            "resyncs": self.resyncs,
            "resumed": self.resumed,
            "widened": self.widened,
            "snapshots": self.snapshots,
            "snapshots_failed": self.snapshots_failed,
            "snapshots_too_old": self.snapshots_too_old,
            "snapshot_differed": self.snapshot_differed,
            "snapshot_wrong": self.snapshot_wrong,
            "book_wrong": self.book_wrong,
            "top_checked": self._check.checked,
            "top_differed": self._check.differed,
            "between_checked": self._check.between_checked,
            "between_differed": self._check.between_differed,
            "ticker_wrong": self.ticker_wrong,
            "crossed": self.crossed,
            "silences": self._silence.count,
            "id_resets": self.id_resets,
            "dropped": self._buffer.dropped,
        }


def _last_id(update: DepthUpdate) -> int:
    return update.last_update_id
