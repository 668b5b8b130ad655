"""What one listener and each of its sessions may use; every bound in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_LEAST = {
    "max_message_bytes": 1,
    "max_fragments": 1,
    "max_connections": 1,
    "max_connections_per_ip": 0,
    "max_handshakes": 1,
    "max_handshakes_per_ip": 0,
    "max_head_bytes": 256,
    "handshake_timeout_s": 0.001,
    "ping_interval_s": 0,
    "pong_timeout_s": 0.001,
    "close_timeout_s": 0.001,
    "write_high_water": 0,
    "max_paused_bytes": 0,
    "retry_after_s": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """Bounds of a listener. Sizes are bytes, times seconds.

    `max_message_bytes`: of one message, reassembled and inflated; more ends the session with 1009.
    `max_fragments`: of one message, since empty ones cost time and no size; more ends it with 1009.
    `max_connections`: open ones and handshakes together; more are answered 503.
    `max_connections_per_ip`: the same for one client address (one /64 of IPv6); 0 is no bound.
    `max_handshakes`: connections that are no sessions yet; more are answered 503.
    `max_handshakes_per_ip`: the same for one address; 0 is no bound.
    `max_head_bytes`: of a request before its empty line; more is answered 431.
    `handshake_timeout_s`: from the TCP connection to the 101, TLS included.
    `ping_interval_s`: from one ping to the next; 0 sends none.
    `pong_timeout_s`: from a ping to the pong with its payload; later ends the session with 1011.
    `close_timeout_s`: from our Close, or a refusal, to the end of TCP; then it is aborted.
    `write_high_water`: waiting bytes from which a session is not writable.
    `max_paused_bytes`: what may be written to a session that is not writable; more ends it with
    `too_slow_code`. Who writes should stop long before.
    `send_buffer`: SO_SNDBUF of each connection; `None` leaves it to the kernel, which lets it grow.
    `retry_after_s`: the Retry-After of our 503.
    """

    max_message_bytes: int = 65_536
    max_fragments: int = 256
    max_connections: int = 10_000
    max_connections_per_ip: int = 0
    max_handshakes: int = 1_000
    max_handshakes_per_ip: int = 0
    max_head_bytes: int = 16_384
    handshake_timeout_s: float = 10.0
    ping_interval_s: float = 20.0
    pong_timeout_s: float = 20.0
    close_timeout_s: float = 5.0
    write_high_water: int = 65_536
    max_paused_bytes: int = 1_048_576
    too_slow_code: int = 4008
    send_buffer: int | None = None
    retry_after_s: int = 5

    def __post_init__(self) -> None:
        """Raise `ValueError` for a bound that would be none, or that nothing could keep."""
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value < least:
                message = f"{name}={value}: expected at least {least}"
                raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """How one session is kept alive, where a protocol has rules of its own for that.

    A ping `interval_s` after the one before, 0 sends none; without a pong with its `payload` within
    `timeout_s` the session ends with `code` and `reason`.
    """

    interval_s: float
    timeout_s: float
    payload: Callable[[], bytes]
    code: int
    reason: str
