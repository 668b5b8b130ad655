"""Access rules: which Host names and which Origins may make changing calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.rest.access import AccessRules, is_loopback, parse_authority, parse_origin

LOOPBACK = AccessRules("127.0.0.1", ("hub.example",), ("https://dash.example",), "desk")
WIDE = AccessRules("0.0.0.0", ("hub.example:8443",), ("https://dash.example/",), "Desk")
OPEN = AccessRules("0.0.0.0", ("*",), ("*",))


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("Hub.Example", ("hub.example", None)),
        ("hub.example.:8000", ("hub.example", 8000)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:8000", ("::1", 8000)),
        ("[::1]", ("::1", None)),
    ],
)
def test_a_host_header_is_read(text: str, authority: tuple[str, int | None]) -> None:
    """Names come out in lower case, without brackets and final dot."""
    assert parse_authority(text) == authority


@pytest.mark.parametrize("text", ["", ":80", "a b", "a/b", "a@b", "::1", "[::1", "a:x", "a:123456"])
def test_junk_is_no_host(text: str) -> None:
    """What is no host is not taken for one."""
    assert parse_authority(text) is None


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


def test_only_listed_origins_are_listed() -> None:
    """Cross-origin reading is for the list alone, not for loopback or own pages."""
    assert LOOPBACK.listed_origin("https://DASH.example")
    assert not LOOPBACK.listed_origin("http://localhost:3000")
    assert not LOOPBACK.listed_origin("null")


@given(st.text(max_size=60))
def test_any_text_is_judged(text: str) -> None:
    """No header makes the rules raise."""
    for rules in (LOOPBACK, WIDE, OPEN):
        rules.host_allowed(text)
        rules.origin_allowed(text, text)
        rules.listed_origin(text)
    parse_origin(f"http://{text}")
    is_loopback(text)
