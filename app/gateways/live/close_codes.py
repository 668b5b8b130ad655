"""Why a connection ends: one table of codes, what each means, and whether to come back."""

from __future__ import annotations

from typing import NamedTuple


class CloseCode(NamedTuple):
    """One reason to close. `come_back` says whether a client should connect again by itself."""

    code: int
    name: str
    meaning: str
    come_back: bool


NORMAL = CloseCode(1000, "normal", "the client said goodbye", come_back=False)
PROTOCOL_ERROR = CloseCode(1002, "protocol", "a frame breaks the WebSocket rules", come_back=False)
UNSUPPORTED_DATA = CloseCode(
    1003, "binary", "a binary message came: requests are JSON text", come_back=False
)
INVALID_TEXT = CloseCode(1007, "text", "a text message is not UTF-8", come_back=False)
TOO_LARGE = CloseCode(1009, "size", "a message is larger than allowed", come_back=False)
INTERNAL_ERROR = CloseCode(
    1011, "internal", "the hub failed, or the client left a ping unanswered", come_back=True
)
RESTARTING = CloseCode(1012, "restart", "the hub restarts", come_back=True)
TRY_LATER = CloseCode(
    1013, "too many", "all clients together ask more than the hub allows; try later", come_back=True
)
TOO_SLOW = CloseCode(
    4008,
    "too slow",
    "the client read slower than the data came, and misses what came after its last message",
    come_back=True,
)
TOO_MANY_REQUESTS = CloseCode(
    4009,
    "limits",
    "this client, or all of its address, ask more than allowed; slow down before coming back",
    come_back=False,
)

CUT = CloseCode(1006, "cut", "no code came: the network, or either side, broke off", come_back=True)

CLOSE_CODES = (
    NORMAL,
    PROTOCOL_ERROR,
    UNSUPPORTED_DATA,
    CUT,
    INVALID_TEXT,
    TOO_LARGE,
    INTERNAL_ERROR,
    RESTARTING,
    TRY_LATER,
    TOO_SLOW,
    TOO_MANY_REQUESTS,
)
"""Every way in which a connection of the hub ends, in order of the codes; 1006 is never sent."""
