"""Tests of `app.gateways.live.config`."""

from __future__ import annotations

from app.gateways.live.config import LiveConfig


def test_the_defaults_are_the_documented_ones():
    """Ten messages a second, 64 KiB a message, a hundred connections per address, and so on."""
    config = LiveConfig()
    assert config.messages_per_second == 10
    assert config.max_message_bytes == 64 * 1024
    assert config.max_connections_per_ip == 100
    assert (config.messages_per_second_per_ip, config.messages_per_second_total) == (100, 20_000)
    assert (config.max_handshakes, config.max_handshakes_per_ip) == (1_000, 50)
