"""What may be set about the gRPC service; the values come from settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tls:
    """PEM files: a certificate with its chain, and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True)
class GrpcLimits:
    """Bounds of the service, of each connection and of each stream. `…_per_ip`: 0 is no bound.

    What waits for one stream, beside its connection's own, pauses it past `high_water` bytes, and
    ends it past `most_waiting`, which the whole books of many instruments fit. A stream that is to
    end has `close_timeout_s` to read so.
    """

    max_connections: int = 1_000
    max_streams: int = 1_000
    max_streams_per_ip: int = 100
    max_streams_per_connection: int = 200
    trusted_proxies: tuple[str, ...] = ()  # whose x-forwarded-for is believed
    max_subscriptions: int = 1_024  # of one stream; a kind of all instruments counts as one
    requests_per_second: int = 10  # of one stream; what comes faster is read later
    max_request_bytes: int = 65_536
    message_bytes: int = 1_048_576  # a batch is cut there; one publication is never cut
    retry_after_s: int = 2
    high_water: int = 65_536
    most_waiting: int = 67_108_864
    close_timeout_s: float = 2.0
    # Of connections: both ends notice one that is dead, and a client may ask whether it is.
    keepalive_time_s: float = 20.0
    keepalive_timeout_s: float = 20.0
    least_ping_interval_s: float = 5.0

    def options(self) -> list[tuple[str, int]]:
        """Return how gRPC's own names for them are set; nothing is left to its defaults."""
        return [
            ("grpc.so_reuseport", 0),  # or a port that is in use would be shared in silence
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.max_concurrent_streams", self.max_streams_per_connection),
            ("grpc.max_receive_message_length", self.max_request_bytes),
            ("grpc.max_send_message_length", -1),  # what we send is bounded where it is made
            ("grpc.keepalive_time_ms", round(self.keepalive_time_s * 1_000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_timeout_s * 1_000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            (
                "grpc.http2.min_ping_interval_without_data_ms",
                round(self.least_ping_interval_s * 1_000),
            ),
        ]
