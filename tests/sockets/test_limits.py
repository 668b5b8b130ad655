from __future__ import annotations

import pytest

from app.sockets.limits import SessionLimits


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_message_bytes", 0),
        ("max_connections", 0),
        ("max_handshakes", 0),
        ("max_head_bytes", 10),
        ("pong_timeout_s", 0),
    ],
)
def test_a_bound_that_bounds_nothing_is_refused(name: str, value: int) -> None:
    """The error names the bound and its value."""
    with pytest.raises(ValueError, match=f"{name}={value}"):
        SessionLimits(**{name: value})


def test_zero_turns_off_what_may_be_off() -> None:
    """Pings and the bound per address may be off."""
    limits = SessionLimits(ping_interval_s=0, max_connections_per_ip=0)
    assert (limits.ping_interval_s, limits.max_connections_per_ip) == (0, 0)
