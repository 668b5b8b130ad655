"""The mirror: the hub speaks the exchange's own protocol."""
