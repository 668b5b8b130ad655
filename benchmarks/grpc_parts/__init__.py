"""The programs of `make bench SUITE=grpc`: the hub's gateways, and their subscribers."""
