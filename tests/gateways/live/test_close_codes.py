"""Tests of `app.gateways.live.close_codes`."""

from __future__ import annotations

import re
from pathlib import Path

from app.gateways.live.close_codes import CLOSE_CODES, CUT, CloseCode
from app.sockets.frames import close_frame

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "websocket.md").read_text(encoding="utf-8")


def test_each_code_is_there_once_in_order():
    """One table, no code twice."""
    codes = [entry.code for entry in CLOSE_CODES]
    assert codes == sorted(set(codes))


def test_each_code_may_be_sent():
    """Every code is legal in a close frame, and its meaning fits in whole."""
    for entry in CLOSE_CODES:
        if entry is CUT:
            continue  # nobody was left to send it
        assert close_frame(entry.code, entry.meaning)[4:].decode() == entry.meaning


def test_who_is_told_to_come_back():
    """Cuts, restarts, full hubs, faults of ours and slowness pass; a client's mistakes do not."""
    assert {entry.code for entry in CLOSE_CODES if entry.come_back} == {
        1006,
        1011,
        1012,
        1013,
        4008,
    }


def test_the_documented_table_is_this_one():
    """The page for clients has every code with its name, its meaning and what to do, in order."""
    rows = re.findall(r"^\| (\d{4}) \| (.+) \| (.+) \| (yes|no) \|$", PAGE, re.MULTILINE)
    assert [
        CloseCode(int(code), name, meaning, back == "yes") for code, name, meaning, back in rows
    ] == list(CLOSE_CODES)
