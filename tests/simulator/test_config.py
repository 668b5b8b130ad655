"""What a simulated exchange can be told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidSetting
from app.simulator.config import SimulatorConfig


def test_the_defaults_are_the_exchange_s_own_rules():
    """24 hours, a ping every 20 s, a pong within a minute."""
    config = SimulatorConfig()
    config.check()
    assert (config.life_s, config.ping_interval_s, config.pong_timeout_s) == (86_400, 20, 60)
    assert config.kind == "seeded"
    assert SimulatorConfig(replay=(Path("a"),), speed=math.inf).kind == "recorded"


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"speed": 0}, "--speed"),
        ({"speed": -1.0}, "--speed"),
        ({"speed": math.nan}, "--speed"),
        ({"rest_port": 70_000}, "--rest-port"),
        ({"rest_port": 9080, "stream_port": 9080}, "--stream-port"),
        ({"tls_port": 70_000}, "--tls-port"),
        ({"stream_port": 9443, "tls_port": 9443}, "--tls-port"),
        ({"tls_certificate": Path("a")}, "--tls-cert"),
        ({"tls_port": 9443, "tls_key": Path("a")}, "--tls-key"),
        ({"life_s": 0}, "--life"),
        ({"settle_s": -1}, "--settle"),
        ({"history_s": -1}, "--history"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, Any], key: str):
    """What cannot work is refused with the option's name."""
    with pytest.raises(InvalidSetting) as caught:
        SimulatorConfig(**wrong).check()
    assert caught.value.key == key
