"""Tests of `app.gateways.origins`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.origins import (
    is_loopback,
    listed,
    origin_allowed,
    parse_authority,
    parse_origin,
)

LISTED = ("https://charts.example/", "http://10.0.0.5:3000", "chrome-extension://abcdef")


def allowed(origin, host="hub.example:8765", *, on_loopback=False, any_port=True):
    """Ask about a page that comes to a hub."""
    return origin_allowed(origin, host, on_loopback=on_loopback, allowed=LISTED, any_port=any_port)


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param("http://hub.example:8765", id="own host"),
        pytest.param("http://hub.example:8000", id="own host, the REST port's page"),
        pytest.param("https://HUB.example", id="own host in capitals"),
        pytest.param("https://charts.example", id="listed"),
        pytest.param("HTTPS://Charts.Example", id="listed, written otherwise"),
        pytest.param("https://charts.example:443", id="listed, its own port named"),
        pytest.param("http://10.0.0.5:3000", id="listed with a port"),
        pytest.param("chrome-extension://abcdef", id="listed with another scheme"),
    ],
)
def test_allowed(origin):
    """These pages may come in."""
    assert allowed(origin)


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param("null", id="sandboxed page or file"),
        pytest.param("", id="empty"),
        pytest.param("https://evil.example", id="foreign"),
        pytest.param("http://hub.example.evil.example", id="own host as a prefix"),
        pytest.param("http://evilhub.example", id="own host as a suffix"),
        pytest.param("http://hub.example@evil.example", id="own host as a user"),
        pytest.param("http://evil.example@hub.example", id="a user before the own host"),
        pytest.param("https://charts.example:444", id="listed host, other port"),
        pytest.param("http://charts.example", id="listed host, other scheme"),
        pytest.param("file://hub.example", id="other scheme"),
        pytest.param("http://localhost:8765", id="this machine, but the hub is public"),
        pytest.param("http://[::1", id="broken"),
        pytest.param("http://hub.example, http://evil.example", id="two"),
    ],
)
def test_refused(origin):
    """These pages may not."""
    assert not allowed(origin)


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://hub.example:8000", "hub.example:8000", True),
        ("http://hub.example:81", "hub.example:8000", False),
        ("http://hub.example", "hub.example", True),
        ("https://hub.example", "hub.example", True),
        ("https://hub.example:80", "hub.example", False),
        ("http://hub.example", "", False),
        ("http://hub.example", "junk junk", False),
    ],
)
def test_the_own_port_counts_unless_any_does(origin, host, same):
    """A page is the hub's own by host and port, where a scheme's usual port need not be named."""
    assert allowed(origin, host, any_port=False) is same


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:80"])
def test_pages_of_this_machine_when_only_it_can_connect(origin):
    """A hub bound to loopback lets this machine's pages in, and still no others."""
    assert allowed(origin, "127.0.0.1:8765", on_loopback=True)
    assert not allowed("http://evil.example", "127.0.0.1:8765", on_loopback=True)
    assert not allowed("null", "127.0.0.1:8765", on_loopback=True)


def test_a_star_lets_every_page_in_that_can_be_named():
    """`*` lists every origin, and still not `null`."""
    assert listed("https://evil.example", ["*"])
    assert not listed("null", ["*"])
    assert not listed("https://evil.example", [])


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
def test_a_host_header_is_read(text, authority):
    """Names come out in lower case, without brackets and final dot."""
    assert parse_authority(text) == authority


@pytest.mark.parametrize("text", ["", ":80", "a b", "a/b", "a@b", "::1", "[::1", "a:x", "a:123456"])
def test_junk_is_no_host(text):
    """What is no host is not taken for one."""
    assert parse_authority(text) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("hub.example", False),
        ("", False),
    ],
)
def test_loopback(host, expected):
    """Only addresses of this machine alone are loopback."""
    assert is_loopback(host) is expected


@given(st.text())
def test_junk_is_foreign(junk):
    """Whatever a client puts into Origin or Host, nothing is raised."""
    assert isinstance(allowed(junk, junk), bool)
    assert not allowed(f"http://evil.example/{junk}", "hub.example")
    parse_origin(f"http://{junk}")
    is_loopback(junk)
