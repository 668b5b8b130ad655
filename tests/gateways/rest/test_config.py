"""RestConfig: what holds when nothing is said."""

from __future__ import annotations

import dataclasses

import pytest

from app.gateways.rest.config import RestConfig


def test_nothing_is_open_unless_asked_for() -> None:
    """By default the service is on loopback, limited, and trusts no page, name or proxy."""
    config = RestConfig()
    assert (config.host, config.port, config.default_limit) == ("127.0.0.1", 8000, "10/second")
    assert config.limits == {}
    assert config.allowed_origins == config.allowed_hosts == config.trusted_proxies == ()


def test_it_cannot_be_changed() -> None:
    """A configuration is read once and then stays as it is."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        RestConfig().port = 1  # type: ignore[misc]
