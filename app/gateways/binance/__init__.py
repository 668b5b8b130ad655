"""The mirror: the hub speaks the exchange's own protocol, of what it holds and what it can ask."""
