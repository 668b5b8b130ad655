"""What the REST service is told when it is made: addresses, limits, who may call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RestConfig:
    """Everything the REST service can be told; each field is a setting.

    `websocket_port` is only told, in the documentation.

    `limits` maps the name of a route (`index`, `tick`, …: see `app.gateways.rest.operations`) to
    its limit per address, such as `10/second` or `10/second;100/minute`; `0` means none. A route
    that is not in it has `default_limit`.

    `allowed_hosts` are names besides loopback and the bound address under which changing calls may
    reach the hub; `allowed_origins` are web pages (`https://dash.example`) that may call it from a
    browser. `*` in either means any. Only the addresses and networks in `trusted_proxies` are
    believed when they say whom they forward for. `machine_name` is this machine's own name;
    `None` means: ask the machine. `max_connections` and `max_connections_per_ip` are those open at
    once, `max_streams` and `max_streams_per_ip` those of `/events`; 0 means any number.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    websocket_port: int = 8765
    default_limit: str = "10/second"
    limits: Mapping[str, str] = field(default_factory=dict)
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    machine_name: str | None = None
    title: str = "Candlewire"
    version: str = "0.1.0"
    source: str = ""
    max_connections: int = 1_000
    max_connections_per_ip: int = 100
    max_streams: int = 500
    max_streams_per_ip: int = 50
    max_subscriptions: int = 1_024
    max_body_bytes: int = 65_536
    max_head_bytes: int = 65_536
    receive_timeout_s: float = 10.0
    retry_after_s: int = 2
