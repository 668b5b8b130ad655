"""Access rules: which Host names and which Origins may make changing calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.rest.access import AccessRules

LOOPBACK = AccessRules("127.0.0.1", ("hub.example",), ("https://dash.example",), "desk")
WIDE = AccessRules("0.0.0.0", ("hub.example:8443",), ("https://dash.example/",), "Desk")
OPEN = AccessRules("0.0.0.0", ("*",), ("*",))


@pytest.mark.parametrize(
    ("host", "loopback", "wide"),
    [
        ("localhost:8000", True, True),
        ("127.0.0.1:8000", True, True),
        ("127.8.9.10", True, True),
        ("[::1]:8000", True, True),
        ("app.localhost", True, True),
        ("hub.example", True, True),
        ("192.168.1.5:8000", False, True),
        ("[fe80::1]", False, True),
        ("0.0.0.0:8000", False, True),
        ("desk:8000", False, True),
        ("evil.example", False, False),
        ("localhost.evil.example", False, False),
        ("", False, False),
        ("a b", False, False),
    ],
)
def test_a_rebound_name_is_refused(host: str, loopback: bool, wide: bool) -> None:
    """Bound to loopback only loopback and listed names count; bound wider also own ones."""
    assert LOOPBACK.host_allowed(host) is loopback
    assert WIDE.host_allowed(host) is wide


def test_a_machine_without_name_allows_no_empty_name() -> None:
    """An unknown machine name adds nothing."""
    assert not AccessRules("0.0.0.0").host_allowed("")
    assert not AccessRules("0.0.0.0").host_allowed("x")


def test_a_star_lets_everybody_in_but_null_and_junk() -> None:
    """`*` means any host and any origin that can be named."""
    assert OPEN.host_allowed("evil.example")
    assert OPEN.origin_allowed("https://evil.example", "x")
    assert not OPEN.origin_allowed("null", "x")
    assert not OPEN.host_allowed("a b")


@pytest.mark.parametrize(
    ("origin", "host", "loopback", "wide"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True, True),
        ("http://localhost:3000", "127.0.0.1:8000", True, False),
        ("https://dash.example", "127.0.0.1:8000", True, True),
        ("https://dash.example:443", "127.0.0.1:8000", True, True),
        ("http://dash.example", "127.0.0.1:8000", False, False),
        ("https://hub.example", "hub.example", True, True),
        ("http://hub.example:81", "hub.example", False, False),
        ("https://evil.example", "127.0.0.1:8000", False, False),
        ("https://evil.example", "junk junk", False, False),
        ("null", "127.0.0.1:8000", False, False),
        ("", "127.0.0.1:8000", False, False),
    ],
)
def test_foreign_pages_are_refused(origin: str, host: str, loopback: bool, wide: bool) -> None:
    """Own, listed and, bound to loopback, loopback pages may call; foreign ones may not."""
    assert LOOPBACK.origin_allowed(origin, host) is loopback
    assert WIDE.origin_allowed(origin, host) is wide


@given(st.text(max_size=60))
def test_any_text_is_judged(text: str) -> None:
    """No header makes the rules raise."""
    for rules in (LOOPBACK, WIDE, OPEN):
        rules.host_allowed(text)
        rules.origin_allowed(text, text)
