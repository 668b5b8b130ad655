"""What may be set about the streams of the mirror; the values come from settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Bounds of the mirror's streams, and what it does about symbols that are not held.

    `auto_subscribe`: a listed symbol is followed as soon as somebody subscribes to a stream of it,
    at most `auto_symbols` of them, and until nobody has for `idle_s`. `linger_s` is how long a
    stream that was asked of the exchange for clients is followed after the last of them.
    A client whose connection takes nothing for `slow_s`, or for whom more than
    `most_waiting_bytes` wait, is closed. `on_loopback`: only this machine reaches the port.
    """

    auto_subscribe: bool = False
    auto_symbols: int = 50
    idle_s: float = 300.0
    linger_s: float = 30.0
    slow_s: float = 10.0
    most_waiting_bytes: int = 2_000_000
    ping_interval_s: float = 20.0
    pong_timeout_s: float = 60.0
    allowed_origins: tuple[str, ...] = ()
    on_loopback: bool = False
