"""One client of the broadcaster: what it wants, and how far it has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.gateways.fanout.formats import Format
from app.gateways.fanout.wishes import Wishes
from app.market.ring import Key, Outgoing


class Peer(Protocol):
    """The connection of one client, as far as delivery needs it; `app.sockets` has it."""

    window_bits: int
    """The window in which it takes deflated messages, 0 for none."""

    @property
    def is_open(self) -> bool:
        """Whether messages still leave; false from the moment a close has begun."""

    @property
    def writable(self) -> bool:
        """Whether what waits to be sent is below its mark."""

    def write_raw(self, data: bytes) -> None:
        """Hand over bytes, which never blocks and never drops; nothing when it is not open."""

    def send(self, payload: bytes) -> None:
        """Hand over one text message."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close. The peer is gone by itself if it does not answer."""


class Group:
    """Those who get the same bytes: the same wishes, in the same format."""

    __slots__ = ("format", "live", "members", "window_bits", "wishes")

    def __init__(self, wishes: Wishes, form: Format, *, window_bits: int) -> None:
        self.wishes = wishes
        self.format = form
        self.window_bits = window_bits
        self.members = 0
        # Those who get each flush at once; a dict without values keeps the order.
        self.live: dict[Follower, None] = {}

    def join(self, items: Sequence[Outgoing]) -> bytes:
        """Return publications as this group reads them."""
        return self.format.join(items, window_bits=self.window_bits)


@dataclass(slots=True)
class Answer:
    """A reply that must wait for what comes before it."""

    payload: bytes


@dataclass(slots=True)
class Missed:
    """All that `group` wants which was published after `after`, up to `until`.

    `fresh` are newest-wins values among them, which no log holds. With `asked` a client asked for
    it as history; with `from_oldest` it knows that some of it is not held, so that its part begins
    with the oldest that is held when its turn comes. With `opens_from` only the newest issues of
    candles count, and those only that open at their key's time or later, in µs.
    """

    group: Group
    after: int
    until: int
    fresh: deque[Outgoing]
    asked: bool = False
    from_oldest: bool = False
    opens_from: Mapping[Key, int] | None = None


@dataclass(slots=True)
class Picked:
    """Publications chosen one by one, ascending by sequence: history that a client asked for."""

    group: Group
    items: Sequence[Outgoing]
    done: int = 0


Step = Answer | Missed | Picked


class Follower:
    """One client. Made by `Broadcaster.join`; only the broadcaster changes it.

    While it is live it gets each flush at once. Else it is behind: `backlog` holds, in order, what
    it has to get first, and after that comes everything published since `served`. One that comes
    from another process of the hub, which is a moment further, may be `served` more than is here.
    """

    __slots__ = ("backlog", "behind_since_s", "group", "is_live", "peer", "queued", "served")

    def __init__(self, peer: Peer, group: Group) -> None:
        self.peer = peer
        self.group = group
        self.served = 0
        self.is_live = False
        self.behind_since_s = 0.0
        self.queued = False  # for its turn to catch up
        self.backlog: deque[Step] | None = None  # few are ever behind: made when first needed

    @property
    def wishes(self) -> Wishes:
        """What it wants."""
        return self.group.wishes

    @property
    def position(self) -> int:
        """Up to which sequence it has got everything."""
        for step in self.backlog or ():
            if isinstance(step, Missed) and not step.asked:
                return step.after
        return self.served

    @property
    def reads_history(self) -> bool:
        """Whether it has still to get history that it asked for."""
        return any(
            isinstance(step, Picked) or (isinstance(step, Missed) and step.asked)
            for step in self.backlog or ()
        )
