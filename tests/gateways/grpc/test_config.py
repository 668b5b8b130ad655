"""What may be set about the gRPC service."""

from __future__ import annotations

from app.gateways.grpc.config import GrpcLimits


def test_limits_are_set_by_grpcs_own_names() -> None:
    """Sizes, numbers and keepalive are never left to the library's defaults."""
    options = dict(GrpcLimits(max_connections=7, keepalive_time_s=1.5).options())
    assert options["grpc.max_allowed_incoming_connections"] == 7
    assert options["grpc.keepalive_time_ms"] == 1_500
    assert options["grpc.max_receive_message_length"] == 65_536
    assert options["grpc.so_reuseport"] == 0
