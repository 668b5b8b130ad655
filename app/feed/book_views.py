"""Publishes what clients follow of the books: each view as often as it allows, and no other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from app.alarm import Alarm
from app.market.book_views import BookViewer, read_view_name, view_name
from app.market.events import BookChange, BookState, Publication
from app.ports import BOOK, BOOK_CHANGES, Books, Bus, Clock

_Spec = tuple[int, int]  # depth and interval in ms
_EVERY_SYMBOL = "*"


class _View:
    """A view that somebody follows, and when it may be published again (monotonic)."""

    __slots__ = ("due_s", "state", "viewer", "waits")

    def __init__(self, viewer: BookViewer) -> None:
        self.viewer = viewer
        self.due_s = -math.inf
        self.waits = False
        self.state: BookState | None = None


class BookViews:
    """Makes the views that `wanted` names, of `books`, out of their changes on the bus.

    `wanted` returns the keys (channel, symbol, interval) that are followed; call `look_soon` when
    that may have changed. `dropped` is told the key of a view that is made no more. A view is
    published at once when it may be, else when its time has come; a change of its state always at
    once. Who comes to a view that is made already is told the newest by whoever delivers it.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        books: Books,
        clock: Clock,
        wanted: Callable[[], Iterable[tuple[str, str, str]]],
        dropped: Callable[[tuple[str, str, str]], None] = lambda _key: None,
    ) -> None:
        self.published = 0
        self._bus = bus
        self._books = books
        self._clock = clock
        self._wanted = wanted
        self._dropped = dropped
        self._specs: dict[str, frozenset[_Spec]] = {}
        self._views: dict[str, dict[_Spec, _View]] = {}  # of every symbol that has a book
        self._waiting: dict[_View, None] = {}
        self._looks = False
        self._alarm = Alarm(clock)

    def start(self) -> None:
        """Hear every change of a book from now on."""
        self._bus.subscribe(BOOK_CHANGES, self._take_change)

    async def run(self) -> None:
        """Publish what has become due until cancelled."""
        while True:
            if self._looks:
                self._looks = False
                self._look()
            now_s = self._clock.monotonic()
            for view in [one for one in self._waiting if one.due_s <= now_s]:
                self._publish(view)
            due_s = min((view.due_s for view in self._waiting), default=math.inf)
            await self._alarm.wait(max(0.0, due_s - self._clock.monotonic()))

    def look_soon(self) -> None:
        """Learn that other views may be followed now."""
        self._looks = True
        self._alarm.ring()

    def forget(self, symbol: str) -> None:
        """Hold nothing of `symbol` any longer. Forgetting what is not held is harmless."""
        for view in self._views.pop(symbol, {}).values():
            self._waiting.pop(view, None)

    def report(self) -> dict[str, int]:
        """Return what `/status` shows."""
        return {
            "views": sum(len(views) for views in self._views.values()),
            "published": self.published,
        }

    # -- who follows what ----------------------------------------------------------------------

    def _look(self) -> None:
        """Begin the views that are followed newly, end those that are followed no more."""
        specs: dict[str, set[_Spec]] = {}
        for channel, symbol, interval in self._wanted():
            spec = read_view_name(interval) if channel == BOOK else None
            if spec is not None:
                specs.setdefault(symbol, set()).add(spec)
        self._specs = {symbol: frozenset(found) for symbol, found in specs.items()}
        for symbol in {*self._views, *self._specs} - {_EVERY_SYMBOL}:
            if self._books.book(symbol) is not None:
                self._reconcile(symbol)

    def _reconcile(self, symbol: str) -> dict[_Spec, _View]:
        """Let the views of a symbol be those that are followed, and publish the new ones."""
        nobody: frozenset[_Spec] = frozenset()
        wanted = self._specs.get(symbol, nobody) | self._specs.get(_EVERY_SYMBOL, nobody)
        views = self._views.setdefault(symbol, {})
        for spec in [one for one in views if one not in wanted]:
            self._waiting.pop(views.pop(spec), None)
            self._dropped((BOOK, symbol, view_name(*spec)))
        for spec in sorted(wanted - views.keys()):
            view = views[spec] = _View(BookViewer(symbol, *spec))
            self._publish(view)
        return views

    # -- what changes --------------------------------------------------------------------------

    def _take_change(self, publication: Publication) -> None:
        change = publication.event
        if not isinstance(change, BookChange):
            return
        views = self._views.get(change.symbol)
        if views is None:
            self._reconcile(change.symbol)
            return
        if not views:
            return
        now_s = self._clock.monotonic()
        for view in views.values():
            if view.due_s <= now_s or view.state is not change.state:
                self._publish(view)
            elif not view.waits:
                view.waits = True
                self._waiting[view] = None
                self._alarm.ring()

    def _publish(self, view: _View) -> None:
        """Publish what is new of a view."""
        self._waiting.pop(view, None)
        view.waits = False
        viewer = view.viewer
        kept = self._books.book(viewer.symbol)
        if kept is None or kept.book is None:
            return
        view.state = kept.state
        news = viewer.look(
            kept.number, kept.state, kept.reason, kept.book, kept.event_us, kept.received_us
        )
        if news is not None:
            view.due_s = self._clock.monotonic() + viewer.every_ms / 1_000
            self.published += 1
            self._bus.publish(BOOK, news)
