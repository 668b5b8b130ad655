"""Market data over gRPC: `proto/market_data.proto`, health and reflection."""
