"""Writes what the bus publishes as text, once, and gives it to the broadcaster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from app.gateways.fanout.broadcaster import Broadcaster
from app.market.book_views import view_name
from app.market.codec import JsonCodec
from app.market.events import (
    AggTrade,
    BookMetrics,
    BookView,
    Candle,
    Publication,
    StatusEvent,
    Trade,
)
from app.market.ring import Key, Outgoing
from app.ports import BOOK, BOOK_METRICS, CANDLES, FORMING, STATUS, TRADES, Bus, Subscription

_TOPICS = (CANDLES, TRADES, STATUS, FORMING, BOOK, BOOK_METRICS)


class Encoder:
    """Stands between the bus and the broadcaster, from `start` to `stop`.

    Candles and status events are always written, since they are held for who comes later; trades
    only while somebody follows them, and so the figures of each change of a book; those of each
    second always, as who comes is told the newest; books as they come, since only those that are
    followed do. `published` counts what came, `encoded` what was written, `skipped` what has no
    text.
    """

    def __init__(self, *, bus: Bus, codec: JsonCodec, broadcaster: Broadcaster) -> None:
        self.published = 0
        self.encoded = 0
        self.skipped = 0
        self._bus = bus
        self._codec = codec
        self._broadcaster = broadcaster
        self._keys: dict[Key, Key] = {}
        self._subscriptions: list[Subscription] = []

    def start(self) -> None:
        """Begin to listen to the bus."""
        self._subscriptions = [self._bus.subscribe(topic, self.receive) for topic in _TOPICS]

    def stop(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            subscription.cancel()
        self._subscriptions = []

    def receive(self, publication: Publication) -> None:
        """Take one publication of the bus. Plain and quick; nobody is awaited."""
        self.published += 1
        event = publication.event
        if isinstance(event, Candle):
            key = (publication.topic, event.symbol, event.interval)
            text = self._codec.candle(publication, event)
            self._add(publication, key, text, event.open_time_us)
        elif isinstance(event, Trade | AggTrade):
            key = (TRADES, event.symbol, "")
            if self._broadcaster.has_takers(key):
                self._add(publication, key, self._codec.trade(publication, event))
        elif isinstance(event, BookView):
            self._add_view(publication, event)
        elif isinstance(event, BookMetrics):
            key = (BOOK_METRICS, event.symbol, str(event.every_ms))
            if event.every_ms or self._broadcaster.has_takers(key):
                self._add(publication, key, self._codec.book_metrics(publication, event))
        elif isinstance(event, StatusEvent):
            key = (STATUS, event.symbol, "")
            self._add(publication, key, self._codec.status(publication, event))
        else:
            self.skipped += 1

    def _add_view(self, publication: Publication, view: BookView) -> None:
        """Give on a view of a book: what is new of it, or all of it where somebody needs that."""
        key = (BOOK, view.symbol, view_name(view.depth, view.every_ms))
        whole = partial(self._codec.book, publication, view)
        if view.previous is None:
            self._add(publication, key, whole())
        else:
            text = self._codec.book_update(publication, view, view.previous)
            self._add(publication, key, text, make_whole=whole)

    def _add(
        self,
        publication: Publication,
        key: Key,
        text: bytes,
        open_time_us: int | None = None,
        make_whole: Callable[[], bytes] | None = None,
    ) -> None:
        self.encoded += 1
        key = self._keys.setdefault(key, key)  # one object for all of them
        item = Outgoing(
            key, publication.epoch, publication.sequence, text, open_time_us, make_whole
        )
        self._broadcaster.add(item)
