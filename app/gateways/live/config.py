"""What may be set about the WebSocket gateway; the values come from settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LiveConfig:
    """Bounds of the gateway and of each of its clients; 0 switches a limit off where it says so."""

    allowed_origins: tuple[str, ...] = ()  # beside the hub's own host
    messages_per_second: int = 10  # of one client; 0 = off
    messages_per_second_per_ip: int = 100  # of all clients of one address; 0 = off
    messages_per_second_total: int = 20_000  # of all clients; 0 = off
    max_message_bytes: int = 65_536
    max_subscriptions: int = 1_024  # of one client; a channel as a whole counts as one
    max_connections: int = 10_000
    max_connections_per_ip: int = 100  # 0 = off
    max_handshakes: int = 1_000  # connections that are no sessions yet
    max_handshakes_per_ip: int = 50  # 0 = off
    mirror: bool = True  # the exchange's own protocol is served, if not by this process
    trusted_proxies: tuple[str, ...] = ()  # whose X-Forwarded-For is believed
    handshake_timeout_s: float = 10.0
    ping_interval_s: float = 20.0  # 0 = off
    pong_timeout_s: float = 20.0
    close_timeout_s: float = 5.0
    stop_within_s: float = 1.5
    # The kernel would let the buffer of a client that reads nothing grow to megabytes.
    send_buffer_bytes: int | None = 262_144
