"""What the feed of one symbol can be doing, as `/status` names it."""

from __future__ import annotations

from enum import StrEnum


class FeedState(StrEnum):
    """What a symbol's feed is doing."""

    CONNECTING = "connecting"
    SUBSCRIBED = "subscribed"  # connected, no data yet
    LIVE = "live"
    QUIET = "quiet"  # live, and nothing trades
    STALLED = "stalled"  # no data although there should be: being replaced
    WAITING = "waiting"  # for the next try
    CRASHED = "crashed"  # an error of ours; about to be restarted
    DELISTED = "delisted"  # the exchange does not list it
    HALTED = "halted"  # it lists it, and does not trade it now
    ENDED = "ended"  # the source has no more data: a replay came to its end
    STOPPED = "stopped"


HALTED = (FeedState.DELISTED, FeedState.HALTED, FeedState.STOPPED)
