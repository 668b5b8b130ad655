"""Tests of `app.sockets.addresses`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sockets.addresses import TrustedProxies, counting_key, plain_ip


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        pytest.param("9.9.9.9", "1.1.1.1", "9.9.9.9", id="a stranger is not believed"),
        pytest.param("10.0.0.1", None, "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("10.0.0.1", "1.1.1.1", "1.1.1.1", id="one proxy"),
        pytest.param("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1", id="made up at the left"),
        pytest.param("10.0.0.1", "1.1.1.1, 10.0.0.2", "1.1.1.1", id="two proxies"),
        pytest.param("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3", id="a client at home"),
        pytest.param("10.0.0.1", "1.1.1.1:4711", "1.1.1.1", id="with a port"),
        pytest.param("10.0.0.1", "[2001:db8::1]:80", "2001:db8::1", id="IPv6 with a port"),
        pytest.param("10.0.0.1", "::ffff:1.1.1.1", "1.1.1.1", id="IPv4 within IPv6"),
        pytest.param("10.0.0.1", "1.1.1.1, unknown", "10.0.0.1", id="no address"),
        pytest.param("10.0.0.1", "", "10.0.0.1", id="empty"),
        pytest.param("::1", "1.1.1.1", "1.1.1.1", id="a single trusted address"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded: str | None, client: str) -> None:
    """The client is the rightmost address that no trusted proxy has."""
    assert TrustedProxies(["10.0.0.0/8", "::1"]).client(peer, forwarded) == client


@given(st.text(max_size=60), st.text(max_size=20))
def test_no_forwarded_text_raises(forwarded: str, peer: str) -> None:
    """Whatever is in the header, the outcome is an address that somebody has."""
    proxies = TrustedProxies(["10.0.0.0/8"])
    assert proxies.client("10.0.0.1", forwarded)
    assert proxies.client(peer, forwarded) == peer or proxies.trust(peer)
    plain_ip(peer)
    counting_key(peer)


def test_a_trusted_proxy_that_is_no_address_is_an_error() -> None:
    """It is named."""
    with pytest.raises(ValueError, match="nonsense"):
        TrustedProxies(["nonsense"])


def test_clients_are_counted_by_address_or_network_of_64_bits() -> None:
    """Whoever has an IPv6 network has 2**64 addresses, and counts as one."""
    assert counting_key("1.2.3.4") == "1.2.3.4"
    assert counting_key("2001:db8:1:2:3::4") == counting_key("2001:db8:1:2:ffff::9")
    assert counting_key("2001:db8:1:2::4") != counting_key("2001:db8:1:3::4")
    assert counting_key("::1") == "::/64"
    assert counting_key("fe80::1%eth0") == "fe80::/64"
    assert counting_key("::ffff:1.2.3.4") == "1.2.3.4"
    assert counting_key("") == ""
