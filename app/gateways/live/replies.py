"""What the hub answers: the shapes of replies, for the protocol's document. Nothing is made here.

`app.gateways.live.client` and `app.gateways.rest.events` write them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from app.gateways.live.requests import RequestId
from app.gateways.messages import Epoch, Sequence

ReplyId = Annotated[
    RequestId,
    Meta(
        description="That of the request; null where it had none, and for the reply to what the "
        "address asked for."
    ),
]


class Position(Struct, kw_only=True):
    """How far the client has got everything it follows; data that follow are newer.

    History that was asked for is older, and comes after this.
    """

    epoch: Epoch
    sequence: Sequence


class Subscription(Struct, kw_only=True):
    """What is followed of one channel, of one length, depth or rate."""

    channel: str
    symbols: Annotated[list[str], Meta(description="`*` alone means all, later ones too.")]
    interval: Annotated[str | UnsetType, Meta(description="Of the channel candles.")] = UNSET
    depth: Annotated[int | UnsetType, Meta(description="Levels a side, of the channel book.")] = (
        UNSET
    )
    every: Annotated[
        int | UnsetType,
        Meta(description="How often at most, in ms, of the channels book and book_metrics."),
    ] = UNSET
    forming: Annotated[
        Literal[True] | UnsetType, Meta(description="Where candles come that are not closed, too.")
    ] = UNSET


Recovered = Annotated[
    bool | UnsetType,
    Meta(description="Where history was asked for: whether all of it is there, and follows."),
]
Reason = Annotated[
    Literal["epoch", "evicted"] | UnsetType,
    Meta(
        description="Why not all: the hub has begun to number anew since that position (all that "
        "is in memory follows), or what was asked for is not in memory, any more or yet (what is "
        "follows)."
    ),
]


class Subscribed(Subscription, kw_only=True):
    """Followed from now on."""

    position: Position
    recovered: Recovered = UNSET
    reason: Reason = UNSET


class Connected(Struct, kw_only=True):
    """The reply to an address that asks for history."""

    position: Position
    recovered: Recovered = UNSET
    reason: Reason = UNSET


class Unsubscribed(Struct, kw_only=True):
    """Followed no longer."""

    unsubscribed: list[Subscription]


class Listed(Struct, kw_only=True):
    """What is followed."""

    subscriptions: list[Subscription]
    default: Annotated[
        bool, Meta(description="Whether it is what a client gets that has not asked for anything.")
    ]


class Pong(Struct, kw_only=True):
    """The hub is there."""

    time: Annotated[int, Meta(description="The hub's clock, in ms since 1970 UTC.")]
    position: Position


class Error(Struct, kw_only=True):
    """What was wrong; nothing of the request was done, and the connection stays."""

    code: Annotated[str, Meta(description="For programs.", examples=["UnknownSymbol"])]
    message: Annotated[str, Meta(description="For people.")]


class SubscribeReply(Struct, kw_only=True):
    """Answers `subscribe`; history comes next, then what is new."""

    id: ReplyId
    result: Subscribed


class ConnectReply(Struct, kw_only=True):
    """Comes first where the address asks for history; history comes next, then what is new."""

    id: ReplyId
    result: Connected


class UnsubscribeReply(Struct, kw_only=True):
    """Answers `unsubscribe`."""

    id: ReplyId
    result: Unsubscribed


class ListReply(Struct, kw_only=True):
    """Answers `list`."""

    id: ReplyId
    result: Listed


class PingReply(Struct, kw_only=True):
    """Answers `ping`."""

    id: ReplyId
    result: Pong


class ErrorReply(Struct, kw_only=True):
    """Answers what could not be done."""

    id: ReplyId
    error: Error


class StreamSubscribed(Connected, kw_only=True):
    """The first event of a stream of Server-Sent Events, `subscribed`."""

    subscriptions: list[Subscription]


class StreamClosed(Struct, kw_only=True):
    """The last event of a stream that the hub ends, `closed`."""

    code: Annotated[int, Meta(description="As a WebSocket is closed with.", examples=[1012])]
    reason: str
