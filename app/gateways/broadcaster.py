"""One publication in, the same bytes out to everybody who wants it; nobody waits for anybody.

Three things are kept apart. *Encoding*: a publication is written as text, deflated and framed at
most once, and not at all when nobody wants it. *Interest*: who wants which symbols of which
channel. *Delivery*: how what one wants gets to him when he reads slowly. What the peers say, and
which channels they may ask for, is no business of this module.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from app.gateways.live.close_codes import INTERNAL_ERROR, TOO_SLOW
from app.mailbox import Mailbox, Overflow
from app.market.codec import JsonCodec
from app.market.events import AggTrade, Candle, Publication, StatusEvent, Trade
from app.market.view import ONE_SECOND
from app.ports import CANDLES, STATUS, TRADES, Bus, Clock, Subscription
from app.sockets.frames import PreparedMessage, prepare

ANY_SYMBOL = "*"
"""Every symbol of a channel, those that are added later too."""

CHANNELS = (CANDLES, TRADES, STATUS)
"""What there is to follow."""

Sendable = Candle | Trade | AggTrade | StatusEvent
"""The events that have a text."""

log = logging.getLogger(__name__)

Wish = tuple[str, str]
"""A channel, and a symbol or `ANY_SYMBOL`."""


class Peer(Protocol):
    """The connection of one client, as far as delivery needs it; `app.sockets` has it."""

    @property
    def is_open(self) -> bool:
        """Whether messages still leave; false from the moment a close has begun."""

    @property
    def writable(self) -> bool:
        """Whether the transport's buffer is below its mark."""

    def write(self, message: PreparedMessage) -> None:
        """Hand a message to the transport, which never blocks and never drops."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close. The peer is gone by itself if it does not answer."""


_CROWDED = 4  # an outbox of which more than the fourth part is taken: who can wait should


@dataclass(frozen=True)
class OutboxLimits:
    """How far one client may fall behind before it is closed as too slow (4008).

    An outbox holds what does not fit the transport's buffer. `grace_s` is how long it may take to
    catch up. Messages are shared between outboxes, so the bytes are not a client's own memory.
    """

    messages: int = 32_768
    payload_bytes: int = 16_777_216
    grace_s: float = 10.0


class Delivered(Enum):
    """What became of a message on its way to one client."""

    SENT = auto()
    QUEUED = auto()
    GONE = auto()
    GIVEN_UP = auto()


class Follower:
    """One client: what it wants, and its way through slow times. Made by `Broadcaster.join`.

    Everything for the client goes through `deliver`, answers too, so that it all stays in order.
    """

    def __init__(self, peer: Peer, limits: OutboxLimits, clock: Clock) -> None:
        self.peer = peer
        self.wishes: set[Wish] = set()
        self.sent = 0
        self.behind_since: float | None = None
        self._limits = limits
        self._clock = clock
        # Few clients are ever slow, and thousands are connected: made when first needed.
        self._outbox: Mailbox[PreparedMessage] | None = None

    def deliver(self, message: PreparedMessage) -> Delivered:
        """Send now, or later in order, or never and say so."""
        peer = self.peer
        if not peer.is_open:
            return Delivered.GONE
        if self.behind_since is None:
            if peer.writable:
                peer.write(message)
                self.sent += 1
                return Delivered.SENT
            self.behind_since = self._clock.monotonic()
        if self._outbox is None:
            self._outbox = Mailbox(
                capacity=self._limits.messages,
                overflow=Overflow.CLOSE,
                max_weight=self._limits.payload_bytes,
                weigh=_plain_size,
            )
        if self._outbox.put(message):
            return Delivered.QUEUED
        self.give_up()
        return Delivered.GIVEN_UP

    def drain(self) -> None:
        """Send what waits, in order, for as long as the transport takes it."""
        peer = self.peer
        while self._outbox and peer.writable and peer.is_open:
            peer.write(self._outbox.take())
            self.sent += 1
        if not self._outbox and peer.writable:
            self.behind_since = None

    def overdue(self, now: float) -> bool:
        """Whether it has been behind for longer than the grace."""
        return self.behind_since is not None and now - self.behind_since >= self._limits.grace_s

    def give_up(self) -> None:
        """Close a client that is too slow. What waits is thrown away, and the code says so."""
        if self._outbox is not None:
            self._outbox.clear()
        self.peer.close(TOO_SLOW.code, TOO_SLOW.meaning)

    @property
    def crowded(self) -> bool:
        """Whether a good part of the outbox is taken."""
        if not self._outbox:
            return False
        limits = self._limits
        return (
            len(self._outbox) > limits.messages // _CROWDED
            or self._outbox.weight > limits.payload_bytes // _CROWDED
        )

    @property
    def waiting(self) -> int:
        """Messages in the outbox."""
        return len(self._outbox) if self._outbox is not None else 0


class Interests:
    """Who wants what, asked from both sides."""

    def __init__(self) -> None:
        # Dicts without values are sets that keep their order.
        self._wanting: dict[Wish, dict[Follower, None]] = {}

    def add(self, follower: Follower, wish: Wish) -> None:
        """Let `follower` want `wish`; repeated, it changes nothing."""
        follower.wishes.add(wish)
        self._wanting.setdefault(wish, {})[follower] = None

    def discard(self, follower: Follower, wish: Wish) -> None:
        """Let `follower` not want `wish`."""
        follower.wishes.discard(wish)
        wanting = self._wanting.get(wish)
        if wanting is not None:
            wanting.pop(follower, None)
            if not wanting:
                del self._wanting[wish]

    def wanting(self, channel: str, symbol: str) -> list[Follower]:
        """Return a snapshot of those who want it, each once however it asked."""
        every = self._wanting.get((channel, ANY_SYMBOL))
        named = self._wanting.get((channel, symbol))
        if not named:
            return list(every) if every else []
        if not every:
            return list(named)
        return list(every | named)

    def wanting_any(self, channel: str) -> list[Follower]:
        """Return a snapshot of those who want some symbol of a channel, each once.

        It looks at every wish there is, so it is for what is rarely said.
        """
        found: dict[Follower, None] = {}
        for wish, wanting in self._wanting.items():
            if wish[0] == channel:
                found |= wanting
        return list(found)


class Broadcaster:
    """Carries what the bus publishes to every follower that wants it.

    A follower that cannot keep up is closed, by the bounds in `limits`; the others never notice.
    Counters: `published` from the bus, `encoded`, `sent` and `queued` messages, `closed_slow`
    followers, `crashed` deliveries (a bug: logged with its traceback, that follower closed with
    1011), `skipped` events of a kind that has no text.
    """

    def __init__(
        self, *, bus: Bus, codec: JsonCodec, clock: Clock, limits: OutboxLimits | None = None
    ) -> None:
        self.published = 0
        self.encoded = 0
        self.sent = 0
        self.queued = 0
        self.closed_slow = 0
        self.crashed = 0
        self.skipped = 0
        self._bus = bus
        self._codec = codec
        self._clock = clock
        self._limits = limits or OutboxLimits()
        self._interests = Interests()
        self._followers: dict[Follower, None] = {}
        self._subscriptions: list[Subscription] = []

    def start(self) -> None:
        """Begin to listen to the bus."""
        self._subscriptions = [self._bus.subscribe(channel, self.receive) for channel in CHANNELS]

    def stop(self) -> None:
        """Listen no more. The followers stay connected; whoever owns their sockets closes them."""
        for subscription in self._subscriptions:
            subscription.cancel()
        self._subscriptions = []

    def is_wanted(self, channel: str, symbol: str) -> bool:
        """Whether anybody follows a symbol of a channel now."""
        return bool(self._interests.wanting(channel, symbol))

    @property
    def crowded(self) -> bool:
        """Whether so much waits for somebody that as much again could be too much."""
        return any(one.crowded for one in self._followers)

    def join(self, peer: Peer, wishes: Iterable[Wish] = ()) -> Follower:
        """Take `peer` in; it gets what it wishes from now on."""
        follower = Follower(peer, self._limits, self._clock)
        self._followers[follower] = None
        self.follow(follower, wishes)
        return follower

    def leave(self, follower: Follower) -> None:
        """Forget a follower; calling it twice is harmless."""
        self._followers.pop(follower, None)
        self.unfollow(follower, tuple(follower.wishes))

    def follow(self, follower: Follower, wishes: Iterable[Wish]) -> None:
        """Send `follower` what it wishes too, from now on. One who has left stays out."""
        if follower in self._followers:
            for wish in wishes:
                self._interests.add(follower, wish)

    def unfollow(self, follower: Follower, wishes: Iterable[Wish]) -> None:
        """Send `follower` this no more."""
        for wish in wishes:
            self._interests.discard(follower, wish)

    def answer(self, follower: Follower, payload: bytes) -> None:
        """Send one follower a text of its own, in order with everything else."""
        self._deliver(follower, prepare(payload))

    def receive(self, publication: Publication) -> None:
        """Send one publication to everybody who wants it. Plain and quick; nobody is awaited.

        An event that names no symbol concerns them all, so whoever follows any of its channel.
        """
        self.published += 1
        event = publication.event
        is_bar = isinstance(event, Candle) and event.interval != ONE_SECOND
        if is_bar or not isinstance(event, Sendable):
            self.skipped += 1
            return
        if event.symbol:
            followers = self._interests.wanting(publication.topic, event.symbol)
        else:
            followers = self._interests.wanting_any(publication.topic)
        if not followers:
            return
        message = prepare(self._encode(publication, event))
        for follower in followers:
            self._deliver(follower, message)

    def resume(self, follower: Follower) -> None:
        """Send a follower what waits for it: its transport has room again."""
        before = follower.sent
        follower.drain()
        self.sent += follower.sent - before

    def close_stalled(self) -> None:
        """Close those who have been behind for longer than the grace; call it once a second."""
        now = self._clock.monotonic()
        for follower in tuple(self._followers):
            if follower.overdue(now):
                follower.give_up()
                self.closed_slow += 1
                self.leave(follower)

    def counters(self) -> Mapping[str, int]:
        """Return the counters by name."""
        return {
            "followers": len(self._followers),
            "behind": sum(1 for one in self._followers if one.behind_since is not None),
            "published": self.published,
            "encoded": self.encoded,
            "sent": self.sent,
            "queued": self.queued,
            "closed_slow": self.closed_slow,
            "crashed": self.crashed,
            "skipped": self.skipped,
        }

    def _encode(self, publication: Publication, event: Sendable) -> bytes:
        self.encoded += 1
        if isinstance(event, Candle):
            return self._codec.candle(publication, event)
        if isinstance(event, Trade | AggTrade):
            return self._codec.trade(publication, event)
        return self._codec.status(publication, event)

    def _deliver(self, follower: Follower, message: PreparedMessage) -> None:
        try:
            delivered = follower.deliver(message)
        except Exception:  # one client's bug must not cost the others their data
            log.exception("delivery_crashed")
            self.crashed += 1
            self.leave(follower)
            follower.peer.close(INTERNAL_ERROR.code, "internal error")
            return
        if delivered is Delivered.SENT:
            self.sent += 1
        elif delivered is Delivered.QUEUED:
            self.queued += 1
        elif delivered is Delivered.GIVEN_UP:
            self.closed_slow += 1
            self.leave(follower)


def _plain_size(message: PreparedMessage) -> int:
    return len(message.plain)
