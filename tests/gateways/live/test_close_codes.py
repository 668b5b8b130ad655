"""Tests of `app.gateways.live.close_codes`."""

from __future__ import annotations

from app.gateways.live.close_codes import CLOSE_CODES
from app.sockets.frames import close_frame


def test_each_code_is_there_once_in_order():
    """One table, no code twice."""
    codes = [entry.code for entry in CLOSE_CODES]
    assert codes == sorted(set(codes))


def test_each_code_may_be_sent():
    """Every code is legal in a close frame, and its meaning fits in whole."""
    for entry in CLOSE_CODES:
        assert close_frame(entry.code, entry.meaning)[4:].decode() == entry.meaning


def test_who_is_told_to_come_back():
    """A restart, a full hub, a fault of ours and slowness pass; mistakes of the client do not."""
    assert {entry.code for entry in CLOSE_CODES if entry.come_back} == {1011, 1012, 1013, 4008}
