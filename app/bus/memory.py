"""The bus within one process: plain calls, in order, one failing subscriber harming no other."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from app.market.events import MarketEvent, Publication
from app.ports import RAW_TOPICS

log = logging.getLogger(__name__)


class MemoryBus:
    """Numbers every event and hands it to the subscribers of its topic at once.

    `epoch` is the start of this numbering in ms; sequences begin at 1. Implements `app.ports.Bus`.
    """

    def __init__(self, *, epoch: int) -> None:
        self.epoch = epoch
        self.sequence = 0
        self.failures = 0
        self._subscriptions: dict[str, tuple[MemorySubscription, ...]] = {}
        self._delivering = False
        self._following: deque[Publication] = deque()  # what was published while delivering

    def publish(self, topic: str, event: MarketEvent) -> None:
        """Give `event` a number and hand it to the subscribers of `topic`; never wait or raise.

        What a subscriber publishes while it receives goes out after what it is receiving has
        reached everybody: nobody sees a later number first.
        """
        subscriptions = self._subscriptions.get(topic)
        if not subscriptions:
            if topic not in RAW_TOPICS:
                self.sequence += 1
            return
        self.sequence += 1
        publication = Publication(self.epoch, self.sequence, topic, event)
        if self._delivering:
            self._following.append(publication)
            return
        self._delivering = True
        try:
            self._deliver(subscriptions, publication)
            while self._following:
                publication = self._following.popleft()
                self._deliver(self._subscriptions.get(publication.topic, ()), publication)
        finally:
            self._delivering = False

    def _deliver(
        self, subscriptions: tuple[MemorySubscription, ...], publication: Publication
    ) -> None:
        for subscription in subscriptions:
            try:
                subscription.receive(publication)
            except Exception:
                self.failures += 1
                subscription.failures += 1
                if subscription.failures == 1:  # one traceback tells it; the counter tells the rest
                    log.exception("subscriber failed topic=%s", publication.topic)

    def subscribe(self, topic: str, receive: Callable[[Publication], None]) -> MemorySubscription:
        """Call `receive` with each publication of `topic` from now on, in order."""
        subscription = MemorySubscription(self, topic, receive)
        self._subscriptions[topic] = (*self._subscriptions.get(topic, ()), subscription)
        return subscription

    def unsubscribe(self, subscription: MemorySubscription) -> None:
        """Forget `subscription`; harmless when it is forgotten already."""
        kept = self._subscriptions.get(subscription.topic, ())
        self._subscriptions[subscription.topic] = tuple(
            each for each in kept if each is not subscription
        )


class MemorySubscription:
    """A standing wish to receive; implements `app.ports.Subscription`."""

    def __init__(self, bus: MemoryBus, topic: str, receive: Callable[[Publication], None]) -> None:
        self.topic = topic
        self.receive = receive
        self.failures = 0
        self._bus = bus

    def cancel(self) -> None:
        """Receive no more, not even what is being handed out just now."""
        self.receive = _nobody
        self._bus.unsubscribe(self)


def _nobody(publication: Publication) -> None:
    """Receive for a subscription that is cancelled."""
